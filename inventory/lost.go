package inventory

import (
	"fmt"
	"slices"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

	"github.com/reanchor/reanchor/planner"
)

// A Certificate is lost when it was issued and cert-manager's CertificateRequests for it are
// gone: it was made anew over a Secret that stayed, say, or somebody deletes requests. What
// nobody can read cannot be handed out, and nobody can tell who signed it. So it is issued
// anew; where that brings no request either, ever more seldom.

// lostAtOnce is how many lost Certificates are being issued anew at a time: of a fleet whose
// requests were all deleted, not everyone gets a new key in one turn.
const lostAtOnce = 20

// isWithoutRequest reports whether a Certificate that has no request is to be issued anew.
func isWithoutRequest(certificate *certmanagerv1.Certificate, now time.Time, d *decision) bool {
	if !isIssued(certificate) || isIssuing(certificate) {
		return false
	}
	until := certificate.CreationTimestamp.Add(askedWithin)
	if certificate.Status.NotBefore != nil && certificate.Status.NotBefore.After(certificate.CreationTimestamp.Time) {
		until = certificate.Status.NotBefore.Add(askedWithin)
	}
	if now.Before(until) {
		d.by(until)
		return false
	}
	return true
}

func isIssued(certificate *certmanagerv1.Certificate) bool {
	return certificate != nil && certificate.Status.NotAfter != nil
}

// reissues is what the work says of a Certificate that is to be issued anew.
func (d decision) reissues(certificate planner.Ref) Reissue {
	why := "the device's certificate is of another key than the one that shall sign"
	if d.lost {
		why = fmt.Sprintf("the CertificateRequest is gone of which the device's certificate was issued, so nobody can tell which key signed it (at most %d such at a time)", lostAtOnce)
	}
	return Reissue{certificate, why, d.lost}
}

// lostIssuing counts the lost Certificates that are being issued anew.
func (l *Lane) lostIssuing() int {
	count := 0
	for _, m := range l.members {
		if isIssued(m.certificate) && isIssuing(m.certificate) && !slices.ContainsFunc(m.issued, (*request).isSigned) {
			count++
		}
	}
	return count
}

// ration leaves of the lost Certificates as many as there is room for beside those that are
// being issued.
func (w *Work) ration(issuing int, now time.Time) {
	room := max(lostAtOnce-issuing, 0)
	left := w.Reissue[:0]
	for _, reissue := range w.Reissue {
		if reissue.lost && room == 0 {
			w.by(now.Add(askedWithin)) // that it goes on, should the watch tell of nothing
			continue
		}
		if reissue.lost {
			room--
		}
		left = append(left, reissue)
	}
	w.Reissue = left
}
