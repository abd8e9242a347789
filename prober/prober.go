// Package prober shakes hands with TLS servers, as a client would that trusts nothing but
// what a bundle is about to hold.
//
// # What counts
//
// A probe has passed when the server showed a chain that ends in one of the anchors, for the
// name that was asked for, valid now and for servers, and proved that it has the leaf's key:
// a TLS 1.2 or 1.3 handshake (RFC 5246, RFC 8446) by Go's own client. No client certificate
// is shown. A server that insists on one breaks the connection off after it has shown and
// proved its own chain: that counts too, for it is the client's trust that is asked for.
//
//	refused, no route, no answer in time    "connection refused", "no answer within 5s"
//	no TLS at the other end                 "it does not speak TLS", "it hangs up …"
//	signed by something else                "its chain ends in none of the anchors: …"
//	another name, too old, too young        in words of its own, the same each time
//	a client certificate is wanted          passes, if its chain and name do
//
// What is said of a failure stays the same while the failure does: no port of ours and no
// time of day is in it, for it ends up in a status that is written when it changes. Nothing
// but public certificates is ever told.
//
// TLS is spoken from the first byte: no STARTTLS. An address that no server of a network has,
// a link-local one such as that of a cloud's metadata service, is not dialled.
package prober

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Timeout is how long a server may take for one handshake, and abreast how many are shaken
// hands with at once.
const (
	Timeout = 5 * time.Second
	abreast = 8
)

// Prober shakes hands. Its zero value is ready, and its methods may be called concurrently.
type Prober struct {
	// Resolver of the names in addresses; the system's if nil.
	Resolver *net.Resolver
	// Timeout of one handshake, the look-up of its name included; [Timeout] if 0.
	Timeout time.Duration
}

// Probe shakes hands with all servers, a few at a time. now is when it does, for the
// results and for the validity of what is shown. There is a result for every probe, in
// their order, whatever happens; one that ctx cut short says so.
func (p *Prober) Probe(ctx context.Context, probes []planner.Probe, now time.Time) []planner.ProbeResult {
	results := make([]planner.ProbeResult, len(probes))
	places := make(chan struct{}, abreast)
	var all sync.WaitGroup
	for i, probe := range probes {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			results[i] = p.shakeHands(ctx, probe, now)
		})
	}
	all.Wait()
	return results
}

func (p *Prober) shakeHands(ctx context.Context, probe planner.Probe, now time.Time) planner.ProbeResult {
	timeout := Timeout
	if p.Timeout > 0 {
		timeout = p.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	seen := &seen{}
	err := p.dial(ctx, probe, seen.config(probe, now))
	result := planner.ProbeResult{
		Bundle: probe.Bundle, Name: probe.Name, Address: probe.Address, ServerName: probe.ServerName,
		Anchors: probe.Anchors.SHA256(), At: now, Presented: seen.leaf(err),
	}
	switch {
	case err == nil, seen.onlyWantsACertificate(ctx, err):
		result.OK = true
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		result.Problem = fmt.Sprintf("no answer within %s", timeout)
	default:
		result.Problem = describe(err, probe)
	}
	return result
}

// dial connects, shakes hands and hangs up.
func (p *Prober) dial(ctx context.Context, probe planner.Probe, config *tls.Config) error {
	dialer := net.Dialer{Resolver: p.Resolver, Control: refuseLinkLocal}
	connection, err := dialer.DialContext(ctx, "tcp", probe.Address)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }() // all that was wanted of it is known
	return tls.Client(connection, config).HandshakeContext(ctx)
}

var errLinkLocal = errors.New("it is a link-local address, which no server of a network has")

// refuseLinkLocal is asked about the address that a name was resolved to.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	if parsed, err := netip.ParseAddrPort(address); err == nil && parsed.Addr().Unmap().IsLinkLocalUnicast() {
		return errLinkLocal
	}
	return nil
}

// seen is what a server showed.
type seen struct {
	// verified is the leaf of a chain that verifies; asked reports that the server wanted a
	// client certificate after that.
	verified *x509.Certificate
	asked    bool
}

func (s *seen) config(probe planner.Probe, now time.Time) *tls.Config {
	roots := x509.NewCertPool()
	for _, anchor := range probe.Anchors {
		roots.AddCert(anchor.X509())
	}
	return &tls.Config{
		RootCAs:    roots,
		ServerName: probe.ServerName,
		MinVersion: tls.VersionTLS12,
		Time:       func() time.Time { return now },
		VerifyConnection: func(state tls.ConnectionState) error {
			s.verified = state.PeerCertificates[0]
			return nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			s.asked = true
			return &tls.Certificate{}, nil // none is shown
		},
	}
}

// onlyWantsACertificate reports whether a server broke off for want of a client certificate.
// When it is asked for one, the client has checked the chain and the proof of the key.
func (s *seen) onlyWantsACertificate(ctx context.Context, err error) bool {
	var alert *net.OpError
	brokeOff := errors.As(err, &alert) && alert.Op == "remote error" || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	return s.verified != nil && s.asked && brokeOff && ctx.Err() == nil
}

// leaf is the one that was shown, verified or not.
func (s *seen) leaf(err error) pki.Fingerprint {
	var refused *tls.CertificateVerificationError
	switch {
	case s.verified != nil:
		return pki.Of(s.verified).Fingerprint()
	case errors.As(err, &refused) && len(refused.UnverifiedCertificates) > 0:
		return pki.Of(refused.UnverifiedCertificates[0]).Fingerprint()
	}
	return pki.Fingerprint{}
}

// describe says what is wrong in words that stay the same while it is.
func describe(err error, probe planner.Probe) string {
	var (
		unresolved *net.DNSError
		record     tls.RecordHeaderError
		refused    *tls.CertificateVerificationError
		operation  *net.OpError
	)
	switch {
	case errors.Is(err, errLinkLocal):
		return errLinkLocal.Error()
	case errors.As(err, &unresolved):
		return "its name is not found in DNS"
	case errors.As(err, &refused):
		return describeChain(refused, probe)
	case errors.As(err, &record):
		return "it does not speak TLS"
	case errors.Is(err, io.EOF):
		return "it hangs up in the middle of the handshake"
	case errors.Is(err, context.Canceled):
		return "it was not asked to the end"
	case errors.As(err, &operation) && operation.Op == "remote error":
		return "it refuses: " + brief(operation.Err.Error())
	}
	return brief(innermost(err).Error())
}

// describeChain says why a chain that was shown is not accepted.
func describeChain(refused *tls.CertificateVerificationError, probe planner.Probe) string {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
	)
	leaf := refused.UnverifiedCertificates[0]
	switch {
	case errors.As(refused.Err, &name):
		return fmt.Sprintf("its certificate is not for %s, but for %s", probe.ServerName, brief(strings.Join(namesOf(leaf), ", ")))
	case errors.As(refused.Err, &unknown):
		return fmt.Sprintf("its chain ends in none of the anchors: %s signed it", brief(leaf.Issuer.String()))
	case errors.As(refused.Err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("%s is valid from %s to %s alone", brief(invalid.Cert.Subject.String()), instant(invalid.Cert.NotBefore), instant(invalid.Cert.NotAfter))
	}
	return brief(refused.Err.Error())
}

// namesOf are those that a certificate is for; "nothing" if none.
func namesOf(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	for _, address := range leaf.IPAddresses {
		names = append(names, address.String())
	}
	if len(names) == 0 {
		return []string{"nothing"}
	}
	return names
}

func instant(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// innermost is the cause of an error without the addresses that connections add.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// longest is how much is told of what somebody else wrote, in runes.
const longest = 160

// brief is one short line.
func brief(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}
