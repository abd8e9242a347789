package registrar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/reanchor/reanchor/pki"
)

// Serving is what the endpoint shows of itself. It does not change once it was handed out.
type Serving struct {
	// Certificate of the ordinary name, and of all names but the proof's: leaf and
	// intermediates, and its key.
	Certificate tls.Certificate
	// Links follow it in the chain, so that a device that knows only an old root finds its
	// way to it (see pki.Bridge).
	Links []pki.Certificate
	// ProofName is the TLS name of the proof; empty: there is none now.
	ProofName string
	// Proof is its certificate, whose chain ends in ProofAnchor and in no other anchor: who
	// completes a handshake with it trusts that anchor.
	Proof       tls.Certificate
	ProofAnchor pki.Certificate
}

// errNotProof refuses the proof name while there is nothing to prove.
var errNotProof = errors.New("the proof name is not served now")

// doors makes the TLS configuration of each handshake from what is served then. Connections
// that stand are left as they are.
type doors struct {
	serving func() (*Serving, error)
	// mu guards what was made of the last that was served.
	mu       sync.Mutex
	made     *Serving
	ordinary *tls.Config
	proof    *tls.Config
}

// config of a handshake, by the name that the peer asks for.
func (d *doors) config(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	serving, err := d.serving()
	if err != nil {
		return nil, err
	}
	ordinary, proof := d.configs(serving)
	if serving.ProofName == "" || hello.ServerName != serving.ProofName {
		return ordinary, nil
	}
	if proof == nil {
		return nil, errNotProof
	}
	if connection, ok := hello.Conn.(*connection); ok {
		anchor := serving.ProofAnchor.Fingerprint()
		connection.anchor.Store(&anchor)
	}
	return proof, nil
}

func (d *doors) configs(serving *Serving) (ordinary, proof *tls.Config) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made == serving {
		return d.ordinary, d.proof
	}
	d.made = serving
	chain := serving.Certificate
	for _, link := range serving.Links {
		chain.Certificate = append(chain.Certificate[:len(chain.Certificate):len(chain.Certificate)], link.X509().Raw)
	}
	d.ordinary, d.proof = tlsConfig(chain), nil
	if provesOnly(serving) {
		d.proof = tlsConfig(serving.Proof)
	}
	return d.ordinary, d.proof
}

// provesOnly reports whether the proof's chain leads to its anchor by signatures, and holds
// no link that leads on to another: a CA's certificate of the anchor's own key.
func provesOnly(serving *Serving) bool {
	if len(serving.Proof.Certificate) == 0 || serving.ProofAnchor.IsZero() {
		return false
	}
	var last pki.Certificate
	for _, der := range serving.Proof.Certificate {
		certificate, err := pki.Parse(der)
		if err != nil || (!last.IsZero() && !last.SignedBy(certificate)) {
			return false
		}
		if certificate.SPKI() == serving.ProofAnchor.SPKI() && !certificate.Equal(serving.ProofAnchor) {
			return false
		}
		last = certificate
	}
	return last.Equal(serving.ProofAnchor) || last.SignedBy(serving.ProofAnchor)
}

// tlsConfig asks for a client certificate and verifies none: that is done where it can be
// answered with a reason. It names no CAs, so that clients send what they have. No session is
// resumed: each connection shows both certificates anew, and that is what they prove.
func tlsConfig(certificate tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		Certificates:           []tls.Certificate{certificate},
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
		VerifyPeerCertificate:  bounded,
		// strongSwan reads a record at a time, and takes its end for the answer's.
		DynamicRecordSizingDisabled: true,
		NextProtos:                  []string{"http/1.1"},
	}
}

// The bounds of what a client shows of itself: what is kept for as long as its connection is
// there. A chain of some reason is answered with one.
const (
	maxShown      = 16
	maxShownBytes = 64 << 10
)

var errTooMuchShown = fmt.Errorf("the client shows more than %d certificates, or %d bytes of them: show the device's own and those between it and its root", maxShown, maxShownBytes)

// bounded ends a handshake in which a client shows too much.
func bounded(shown [][]byte, _ [][]*x509.Certificate) error {
	size := 0
	for _, der := range shown {
		size += len(der)
	}
	if len(shown) > maxShown || size > maxShownBytes {
		return errTooMuchShown
	}
	return nil
}

type connectionKey struct{}

// withConnection lets requests find their connection.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	if secured, ok := c.(*tls.Conn); ok {
		return context.WithValue(ctx, connectionKey{}, secured.NetConn())
	}
	return ctx
}

// connection is one that was accepted.
type connection struct {
	net.Conn
	anchor atomic.Pointer[pki.Fingerprint]
	close  func()
}

// proved is the anchor that the handshake proves trust in; zero: none.
func (c *connection) proved() pki.Fingerprint {
	if anchor := c.anchor.Load(); anchor != nil {
		return *anchor
	}
	return pki.Fingerprint{}
}

// Close gives the connection's place back.
func (c *connection) Close() error {
	c.close()
	return c.Conn.Close()
}

// listener counts connections, and closes those that are too many.
type listener struct {
	net.Listener
	limits  Limits
	metrics *Metrics

	mu        sync.Mutex
	all       int
	byAddress map[string]int
}

// Accept the next connection that there is room for.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := addressOf(accepted.RemoteAddr().String())
		if !l.enter(address) {
			_ = accepted.Close() // there is no room, and nobody to tell it
			continue
		}
		return &connection{Conn: accepted, close: sync.OnceFunc(func() { l.leave(address) })}, nil
	}
}

func (l *listener) enter(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.limits.Connections || l.byAddress[address] >= l.limits.ConnectionsPerAddress {
		return false
	}
	l.all++
	l.byAddress[address]++
	l.metrics.connected(1)
	return true
}

func (l *listener) leave(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.byAddress[address]--; l.byAddress[address] == 0 {
		delete(l.byAddress, address)
	}
	l.metrics.connected(-1)
}
