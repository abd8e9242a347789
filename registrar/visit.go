package registrar

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// visit is one request: who comes, by which connection, and what the audit log will say.
type visit struct {
	at        time.Time
	chain     []pki.Certificate
	forwarded bool
	tls       *tls.ConnectionState
	// proved is the anchor that the peer has shown to trust by its handshake; zero: none.
	proved pki.Fingerprint
	entry  Entry
}

type visitKey struct{}

// visitOf is the visit that a request's context belongs to.
func visitOf(ctx context.Context) *visit { return ctx.Value(visitKey{}).(*visit) }

// visit begins when a request comes.
func (d *desk) visit(r *http.Request) (*visit, *admission.Refusal) {
	v := &visit{at: d.Clock(), tls: r.TLS}
	v.entry = Entry{At: v.at.UTC(), Remote: r.RemoteAddr, Operation: operationUnknown}
	if r.TLS != nil {
		for _, certificate := range r.TLS.PeerCertificates {
			v.chain = append(v.chain, pki.Of(certificate))
		}
	}
	if connection, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		v.proved = connection.proved()
	}
	return v, d.forward(v, r)
}

// operationUnknown is asked for by what names no route.
const operationUnknown = "unknown"

// identify the device, and note who it is.
func (v *visit) identify(fleet admission.Fleet, label string, key pki.Fingerprint) (admission.Caller, *admission.Refusal) {
	caller, refusal := admission.Identify(fleet, v.chain, label, key, v.at)
	v.entry.Revision = fleet.Revision()
	v.entry.Group, v.entry.Device, v.entry.Credential = caller.Group.Name, caller.ID, string(caller.Credential)
	if len(v.chain) > 0 {
		v.entry.Certificate = v.chain[0].Fingerprint().String()
	}
	return caller, refusal
}

// result notes what became of the request.
func (v *visit) result(result string) { v.entry.Result = result }

// refused notes why it was not granted.
func (v *visit) refused(refusal *admission.Refusal) {
	v.entry.Result = string(refusal.Problem)
	v.entry.Alarm = v.entry.Alarm || refusal.Event
}
