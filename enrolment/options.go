package enrolment

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// Protocol is how certificates are asked for. What the device trusts is fetched and confirmed
// over REST in either case: EST has no words for that.
type Protocol string

// The protocols.
const (
	// REST is POST /v1/devices and its neighbours.
	REST Protocol = "rest"
	// EST is simpleenroll and simplereenroll of RFC 7030.
	EST Protocol = "est"
)

// KeyAlgorithm of the key that is made.
type KeyAlgorithm string

// The algorithms.
const (
	ECDSA   KeyAlgorithm = "ECDSA"   // on P-256
	Ed25519 KeyAlgorithm = "Ed25519" // RFC 8410
	RSA     KeyAlgorithm = "RSA"     // of 3072 bits
)

// The defaults of [Options].
const (
	DefaultRenewAt     = 2.0 / 3
	DefaultInterval    = time.Hour
	DefaultLoadTimeout = 5 * time.Minute
)

// Options of a device. Server, Folder and Clock are required; Anchors until the folder holds
// some, and Bootstrap until it holds a certificate.
type Options struct {
	// Server is the endpoint's address, "https://register.example.com:8443".
	Server string
	// Protocol to ask for certificates by; REST when empty.
	Protocol Protocol
	// Group is the device group, EST's label, which that requires. By REST the server tells
	// it when this is empty: it is the one that takes the certificate.
	Group string
	// Folder that holds the device's state; it is made if it is not there. One process at a
	// time keeps it.
	Folder string
	// Anchors are what the device trusts when it leaves the factory. They count until the
	// folder holds others.
	Anchors pki.Anchors
	// Bootstrap is the factory certificate, its intermediates and its key, which may be any
	// [crypto.Signer]. It is shown as long as there is no certificate that is accepted.
	Bootstrap tls.Certificate
	// Identity is the part of the factory certificate that is the device's id, as the group
	// says; SubjectCommonName when empty.
	Identity Identity
	// ID of the device, in place of what the factory certificate says.
	ID string
	// DNSNames that the certificate is for, exactly those of the group: "{{ .ID }}" stands for
	// the id, as it does there. They are asked for with the factory certificate; the device's
	// own is followed by one for the same names. Empty: those of the certificate that the
	// device has, and none before it has one.
	DNSNames []string
	// KeyAlgorithm of the key that is made; ECDSA when empty.
	KeyAlgorithm KeyAlgorithm
	// ProofName is the server's name that proves which anchor the device trusts; empty: there
	// is none.
	ProofName string
	// RenewAt is the part of a certificate's life, above 0 and below 1, after which another is
	// asked for; 2/3 when 0. A server that has another earlier is followed at the next visit.
	RenewAt float64
	// Interval between visits; an hour when 0.
	Interval time.Duration
	// Load has the device's own software load what the folder holds now. It is called after
	// each change and before that is confirmed, and again if it failed. It ends when ctx does:
	// nothing else is done meanwhile. Nil: nobody is told.
	Load func(ctx context.Context) error
	// LoadTimeout is how long Load may take each time; 5 minutes when 0.
	LoadTimeout time.Duration
	// Report is told what happens; nil: nobody is.
	Report func(Event)
	// Clock tells the time.
	Clock func() time.Time
	// Wait for a time, or until ctx ends, which is an error; nil: a timer does.
	Wait func(ctx context.Context, d time.Duration) error
	// Jitter is a random number, 0 or above and below 1; nil: math/rand has some.
	Jitter func() float64
}

// orDefault fills in what may be left out.
func (o Options) orDefault() Options {
	o.Protocol = cmp.Or(o.Protocol, REST)
	o.Identity = cmp.Or(o.Identity, SubjectCommonName)
	o.KeyAlgorithm = cmp.Or(o.KeyAlgorithm, ECDSA)
	o.RenewAt = cmp.Or(o.RenewAt, DefaultRenewAt)
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.LoadTimeout = cmp.Or(o.LoadTimeout, DefaultLoadTimeout)
	if o.Report == nil {
		o.Report = func(Event) {}
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	return o
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// validate refuses options that nobody can work with, and reads the address of the server.
func (o Options) validate() (*url.URL, error) {
	switch {
	case o.Folder == "":
		return nil, errors.New("there is no folder for the device's state: give one")
	case o.Clock == nil:
		return nil, errors.New("there is no clock: give time.Now")
	case o.Protocol != REST && o.Protocol != EST:
		return nil, fmt.Errorf("protocol %q: give %s or %s", o.Protocol, REST, EST)
	case o.Protocol == EST && o.Group == "":
		return nil, errors.New("there is no group, and no answer by EST tells it: give the group")
	case !slices.Contains(identities, o.Identity):
		return nil, fmt.Errorf("identity %q: give one of %v", o.Identity, identities)
	case !slices.Contains([]KeyAlgorithm{ECDSA, Ed25519, RSA}, o.KeyAlgorithm):
		return nil, fmt.Errorf("key algorithm %q: give %s, %s or %s", o.KeyAlgorithm, ECDSA, Ed25519, RSA)
	case o.RenewAt <= 0 || o.RenewAt >= 1:
		return nil, fmt.Errorf("renew at %g of a certificate's life: give a part above 0 and below 1", o.RenewAt)
	case o.Interval <= 0:
		return nil, fmt.Errorf("interval %s: give a time above zero", o.Interval)
	case o.LoadTimeout < 0:
		return nil, fmt.Errorf("time to load of %s: give a time above zero", o.LoadTimeout)
	}
	server, err := url.Parse(o.Server)
	if err != nil || server.Scheme != "https" || server.Hostname() == "" || server.User != nil || server.RawQuery != "" || (server.Path != "" && server.Path != "/") {
		return nil, errors.New("the server's address is not https://name:port: give such a one") // it may hold a password
	}
	return &url.URL{Scheme: server.Scheme, Host: server.Host}, nil
}

// LoadBootstrap reads a factory certificate, with the intermediates that follow it, and its
// key, both PEM.
func LoadBootstrap(certificate, key string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read the factory certificate %s and its key %s: %w: give PEM files that belong together", certificate, key, err)
	}
	return pair, nil
}
