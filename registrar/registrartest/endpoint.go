package registrartest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
)

// Endpoint is a registration endpoint on loopback, over TLS, before a world.
type Endpoint struct {
	*World
	// Address is its host and port.
	Address string
	serving atomic.Pointer[registrar.Serving]
}

// Serve a world until the test ends. Requests are held for a moment only, and no rate is
// too high, unless a change says otherwise.
func Serve(tb testing.TB, w *World, serving *registrar.Serving, changes ...func(*registrar.Options)) *Endpoint {
	tb.Helper()
	e := &Endpoint{World: w}
	e.Show(serving)
	options := registrar.Options{
		Fleet: w.Fleet, Commits: w, Certificates: w, Keys: w, Evidence: w, Clock: w.Clock,
		Serving: func() (*registrar.Serving, error) { return e.serving.Load(), nil },
		Limits:  registrar.Limits{Hold: 100 * time.Millisecond, PerDevice: 1e6, PerAddress: 1e6},
	}
	for _, change := range changes {
		change(&options)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server, done := registrar.New(options), make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx) // clients may leave connections open
		if err := <-done; err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	e.Address = listener.Addr().String()
	return e
}

// Show something else of itself from now on.
func (e *Endpoint) Show(serving *registrar.Serving) { e.serving.Store(serving) }

// ServerCredential is a certificate for a server of this name on loopback, good for years
// around a time.
func (a *Authority) ServerCredential(name string, at time.Time, chain ...pki.Certificate) tls.Certificate {
	template := Leaf(name, at.AddDate(-2, 0, 0), at.AddDate(2, 0, 0), func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses = []string{name}, []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	return a.Credential(template, Key(), chain...)
}

// Switch has another authority sign from now on, whose chain goes with what it issues. What was
// issued is issued anew, valid from now.
func (w *World) Switch(issuer *Authority, chain ...pki.Certificate) {
	w.do(func() {
		w.Issuer = issuer
		now := w.Clock()
		for holder, was := range w.issued {
			old := was.Certificate.X509()
			template := Leaf(old.Subject.CommonName, now.Add(-time.Minute), now.Add(90*24*time.Hour))
			template.RawSubject, template.DNSNames = old.RawSubject, old.DNSNames
			w.issued[holder] = registrar.Issued{Certificate: issuer.Sign(template, old.PublicKey), Chain: chain}
		}
	})
}

// TrustOf are the anchors that a group's devices shall trust, and the links between them.
func TrustOf(anchors pki.Anchors, links ...pki.Certificate) admission.Trust {
	return admission.Trust{Anchors: anchors, Links: links}
}
