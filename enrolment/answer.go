package enrolment

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/smallstep/pkcs7"

	"github.com/reanchor/reanchor/pki"
)

// Refusal is an answer other than what was asked for. What the server says of it ends in what
// to do next.
type Refusal struct {
	// Operation that was asked for.
	Operation string
	// Status of the answer (RFC 9110, section 15); 202 if it is to be asked for again.
	Status int
	// Problem is the last part of the problem's type (RFC 9457), "key-changed" say; empty:
	// none was told, as by EST.
	Problem string
	// Detail for people.
	Detail string
	// RetryAfter is how long to wait before it is asked for again; 0: nothing was said.
	RetryAfter time.Duration
}

// Error gives the server's words.
func (r *Refusal) Error() string {
	verdict := "is refused"
	if r.Status == http.StatusAccepted {
		verdict = "has to wait"
	}
	problem := strings.TrimSpace(fmt.Sprint(r.Status, " ", r.Problem))
	return fmt.Sprintf("%s %s (%s): %s", r.Operation, verdict, problem, r.Detail)
}

// Temporary reports whether the same may be granted later, without a person's help.
func (r *Refusal) Temporary() bool {
	switch r.Status {
	case http.StatusAccepted, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return r.Status != http.StatusConflict || r.Problem == problemWrongBundle
	case http.StatusNotImplemented:
		return false
	}
	return r.Status >= http.StatusInternalServerError
}

// The problems that this side acts upon; the names are the endpoint's.
const (
	problemWrongBundle = "wrong-bundle"
	problemExpired     = "expired-certificate"
	problemUnknownCA   = "unknown-ca"
)

// excludes reports whether the device, as it has shown itself, gets nothing.
func (r *Refusal) excludes() bool {
	return r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden
}

// unwelcome reports whether the certificate that was shown is not accepted any more, and
// another one may be. EST tells no problem, so that there it is tried.
func (r *Refusal) unwelcome() bool {
	return r.excludes() && (r.Problem == "" || r.Problem == problemExpired || r.Problem == problemUnknownCA)
}

// maxDetail is how many characters of a server's words are passed on.
const maxDetail = 600

// refusalOf an answer: a problem document (RFC 9457), or a line of text as EST has it.
func refusalOf(operation string, a answer, now time.Time) *Refusal {
	r := &Refusal{Operation: operation, Status: a.status, RetryAfter: retryAfter(a.header.Get("Retry-After"), now)}
	var document struct{ Type, Detail string }
	switch kind := a.header.Get("Content-Type"); {
	case strings.HasPrefix(kind, "application/"):
		if json.Unmarshal(a.body, &document) == nil {
			r.Problem = plain(document.Type[strings.LastIndex(document.Type, ":")+1:], 60)
			r.Detail = plain(document.Detail, maxDetail)
		}
	case strings.HasPrefix(kind, "text/plain"):
		r.Detail = plain(string(a.body), maxDetail)
	}
	if r.Detail == "" {
		r.Detail = "the server does not say why: see that its address is that of a registration endpoint, and ask whoever runs it"
	}
	if a.status >= 300 && a.status < 400 {
		r.Detail = "the server sends the device elsewhere, which it does not follow: give the address of the endpoint itself"
	}
	return r
}

// plain is a text of others as one line of bounded length, without what steers a terminal.
func plain(text string, most int) string {
	words := strings.Fields(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, text))
	cut := []rune(strings.Join(words, " "))
	return string(cut[:min(len(cut), most)])
}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header of that name (RFC 9110, section 10.2.3): seconds or a date; 0 if
// it says nothing.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, min(at.Sub(now), maxRetryAfter))
	}
	return 0
}

// parseRegistered reads the certificate and the chain in the answer to a registration.
func parseRegistered(body []byte) ([]pki.Certificate, error) {
	var told struct{ Certificate, Chain string }
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, errors.New("the answer is no JSON of a registration")
	}
	return pki.ParsePEM([]byte(told.Certificate + told.Chain))
}

// parseNewest reads the fingerprint of the device's newest certificate; empty: it has none.
func parseNewest(body []byte) (string, error) {
	var told struct {
		Certificate struct {
			SHA256 string `json:"sha256"`
		} `json:"certificate"`
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return "", errors.New("the answer is no JSON of a device")
	}
	return told.Certificate.SHA256, nil
}

// maxGroup is how many characters the name of a group has at most.
const maxGroup = 253

// parseGroup reads the name of the device's group in the answer to a registration, or about a
// device; empty: it tells none.
func parseGroup(body []byte) string {
	var told struct{ Group string }
	if json.Unmarshal(body, &told) != nil || plain(told.Group, maxGroup) != told.Group {
		return ""
	}
	return told.Group
}

// parseBundle reads a trust bundle. Its ETag is its hash: what was cut off or put together by
// somebody on the way is not taken.
func parseBundle(body []byte, etag string) (pki.Anchors, error) {
	certificates, err := pki.ParsePEM(body)
	if err != nil {
		return nil, err
	}
	anchors := pki.NewAnchors(certificates...)
	if strings.Trim(strings.TrimPrefix(etag, "W/"), `"`) != anchors.SHA256().String() {
		return nil, errors.New("its hash is not its ETag: it is not whole")
	}
	if slices.ContainsFunc(anchors, func(c pki.Certificate) bool { return !c.IsCA() }) {
		return nil, errors.New("it holds a certificate that is no CA's")
	}
	return anchors, nil
}

// blanks may stand anywhere in base64.
var blanks = strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "")

// parseCertsOnly reads a PKCS#7 message of certificates in base64 (RFC 7030, section 4.1.3).
func parseCertsOnly(body []byte) ([]pki.Certificate, error) {
	der, err := base64.StdEncoding.DecodeString(blanks.Replace(string(body)))
	if err != nil {
		return nil, errors.New("the answer is no base64")
	}
	message, err := pkcs7.Parse(der)
	if err != nil || len(message.Certificates) == 0 {
		return nil, errors.New("the answer is no PKCS#7 with certificates")
	}
	return ofX509(message.Certificates), nil
}

func ofX509(parsed []*x509.Certificate) []pki.Certificate {
	var all []pki.Certificate
	for _, certificate := range parsed {
		all = append(all, pki.Of(certificate))
	}
	return all
}

// chainOf puts behind a leaf what leads from it to a root: EST's answer is the leaf alone, and
// cacerts has the rest, in no order, with roots and links among it. Links are left out: those
// who verify the device know the root that it is under, or get a link from elsewhere.
func chainOf(leaf pki.Certificate, cacerts []pki.Certificate) []pki.Certificate {
	chain := []pki.Certificate{leaf}
	for range cacerts {
		last := chain[len(chain)-1]
		next := slices.IndexFunc(cacerts, func(ca pki.Certificate) bool {
			return ca.IsCA() && last.SignedBy(ca) && !isRoot(ca, cacerts) && !slices.ContainsFunc(chain, ca.Equal)
		})
		if next < 0 {
			break
		}
		chain = append(chain, cacerts[next])
	}
	return chain
}

// isRoot reports whether a CA is a root, or a link: another's certificate for a root's key.
func isRoot(ca pki.Certificate, cacerts []pki.Certificate) bool {
	return slices.ContainsFunc(cacerts, func(c pki.Certificate) bool { return c.SelfSigned() && c.SPKI() == ca.SPKI() })
}
