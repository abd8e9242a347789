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

// maxLostPause is how long a lost Certificate is left at most before it is issued anew once more.
const maxLostPause = 24 * time.Hour

// lose a Certificate: it is issued anew, if that may be. Of one that was issued since it was
// made, the request ought to be there: who deletes it, or keeps cert-manager from marking it,
// is named, and the pause grows with each time, since every time brings another key.
func (d *decision) lose(certificate *certmanagerv1.Certificate, mayBe bool, now time.Time) {
	made, issued := certificate.CreationTimestamp.Time, certificate.Status.NotBefore
	late := made.Add(askedWithin)
	until := late
	again := issued != nil && issued.After(made)
	if again {
		late = issued.Add(askedWithin)
		until = issued.Add(min(max(retryAfter, issued.Sub(made)), maxLostPause))
	}
	if now.Before(late) {
		d.by(late)
		return
	}
	if again {
		d.state, d.why = StateFailed, lostWhy
	}
	if now.Before(until) {
		d.by(until)
		return
	}
	d.reissue, d.lost = mayBe, mayBe
}

// lostWhy is what people are told of a Certificate that was issued and has no request again.
const lostWhy = "its certificate was issued, and cert-manager's CertificateRequest for it is not there, or is not marked as the device's, so nobody can hand the certificate out: " +
	"let cert-manager copy annotations that begin with reanchor.dev/ (its option --copied-annotation-prefixes), and stop whatever deletes CertificateRequests that are done; " +
	"then it is issued anew within a day, or at once by cmctl renew"

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
