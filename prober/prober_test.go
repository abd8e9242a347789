package prober

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// noon is when every handshake happens; certificates are valid for an hour before and after.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const serverName = "broker.plant.svc"

// entity is a certificate with its key, and what is sent with it.
type entity struct {
	certificate *x509.Certificate
	private     *ecdsa.PrivateKey
	above       [][]byte
}

func newEntity(t *testing.T, name string, by *entity, change ...func(*x509.Certificate)) *entity {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, edit := range change {
		edit(template)
	}
	made := &entity{private: private}
	parent, signer := template, private
	if by != nil {
		parent, signer = by.certificate, by.private
		if by.certificate.Issuer.CommonName != by.certificate.Subject.CommonName {
			made.above = append([][]byte{by.certificate.Raw}, by.above...)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if made.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return made
}

func aCA(template *x509.Certificate) {
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
}

func forServer(template *x509.Certificate) {
	template.DNSNames, template.ExtKeyUsage = []string{serverName}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}

func (e *entity) pair() tls.Certificate {
	return tls.Certificate{Certificate: append([][]byte{e.certificate.Raw}, e.above...), PrivateKey: e.private}
}

func anchors(entities ...*entity) pki.Anchors {
	var all []pki.Certificate
	for _, e := range entities {
		all = append(all, pki.Of(e.certificate))
	}
	return pki.NewAnchors(all...)
}

// listen serves every connection on loopback until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = connection.Close() }()
				serve(connection)
			}()
		}
	}()
	return listener.Addr().String()
}

// tlsServer is a server that reads a byte after the handshake, as one does.
func tlsServer(t *testing.T, config *tls.Config) string {
	t.Helper()
	config.Time = func() time.Time { return noon }
	return listen(t, func(connection net.Conn) {
		_, _ = tls.Server(connection, config).Read(make([]byte, 1))
	})
}

func probeOf(address string, trusted pki.Anchors) planner.Probe {
	return planner.Probe{Bundle: "fleet-trust", Name: "broker", Address: address, ServerName: serverName, Anchors: trusted}
}

func TestProbe(t *testing.T) {
	oldRoot, newRoot := newEntity(t, "Root 2025", nil, aCA), newEntity(t, "Root 2026", nil, aCA)
	issuing := newEntity(t, "Issuing", newRoot, aCA)
	oldLeaf, newLeaf, deepLeaf := newEntity(t, "broker", oldRoot, forServer), newEntity(t, "broker", newRoot, forServer), newEntity(t, "broker", issuing, forServer)
	forgetful := newEntity(t, "broker", issuing, forServer)
	forgetful.above = nil
	expired := newEntity(t, "broker", newRoot, forServer, func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Minute) })
	elsewhere := newEntity(t, "other", newRoot, forServer, func(c *x509.Certificate) { c.DNSNames = []string{"other.plant.svc"} })
	clientOnly := newEntity(t, "broker", newRoot, forServer, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	with := func(leaf *entity, change ...func(*tls.Config)) *tls.Config {
		config := &tls.Config{Certificates: []tls.Certificate{leaf.pair()}}
		for _, edit := range change {
			edit(config)
		}
		return config
	}
	upTo := func(version uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, version }
	}
	mutual := func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert; c.ClientCAs = x509.NewCertPool() }
	wrongKey := with(newLeaf)
	wrongKey.Certificates[0].PrivateKey = oldLeaf.private
	for name, test := range map[string]struct {
		server    *tls.Config
		presented *entity
		want      string
	}{
		"a chain to the new root":            {with(newLeaf), newLeaf, ""},
		"by way of an intermediate":          {with(deepLeaf), deepLeaf, ""},
		"TLS 1.2":                            {with(newLeaf, upTo(tls.VersionTLS12)), newLeaf, ""},
		"TLS 1.1":                            {with(newLeaf, upTo(tls.VersionTLS11)), nil, "it refuses: tls: protocol version not supported"},
		"a chain to the old root":            {with(oldLeaf), oldLeaf, "its chain ends in none of the anchors: CN=Root 2025 signed it"},
		"without its intermediate":           {with(forgetful), forgetful, "its chain ends in none of the anchors: CN=Issuing signed it"},
		"expired":                            {with(expired), expired, "CN=broker is valid from 2026-03-01T11:00:00Z to 2026-03-01T11:59:00Z alone"},
		"for another name":                   {with(elsewhere), elsewhere, "its certificate is not for broker.plant.svc, but for other.plant.svc"},
		"for clients alone":                  {with(clientOnly), clientOnly, "x509: certificate specifies an incompatible key usage"},
		"wants a client certificate":         {with(newLeaf, mutual), newLeaf, ""},
		"wants one, with TLS 1.2":            {with(newLeaf, mutual, upTo(tls.VersionTLS12)), newLeaf, ""},
		"wants one, and is of the old root":  {with(oldLeaf, mutual), oldLeaf, "its chain ends in none of the anchors: CN=Root 2025 signed it"},
		"wants one, old root, with TLS 1.2":  {with(oldLeaf, mutual, upTo(tls.VersionTLS12)), oldLeaf, "its chain ends in none of the anchors: CN=Root 2025 signed it"},
		"shows a chain that is not its own":  {wrongKey, newLeaf, "tls: invalid signature by the server certificate: ECDSA verification failure"},
		"not its own, and wants one, at 1.2": {&tls.Config{Certificates: wrongKey.Certificates, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, newLeaf, "tls: invalid signature by the server certificate: ECDSA verification failure"},
	} {
		t.Run(name, func(t *testing.T) {
			probe := probeOf(tlsServer(t, test.server), anchors(newRoot))
			got := (&Prober{}).Probe(context.Background(), []planner.Probe{probe}, noon)[0]
			want := planner.ProbeResult{
				Bundle: "fleet-trust", Name: "broker", Address: probe.Address, ServerName: serverName,
				Anchors: anchors(newRoot).SHA256(), At: noon, OK: test.want == "", Problem: test.want,
			}
			if test.presented != nil {
				want.Presented = pki.Of(test.presented.certificate).Fingerprint()
			}
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestProbeWithoutTLS: what is at the other end of an address need not be a TLS server.
func TestProbeWithoutTLS(t *testing.T) {
	closed := listen(t, func(net.Conn) {})
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	defer close(held)
	slow := listen(t, func(net.Conn) { <-held })
	plain := listen(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	})
	for address, want := range map[string]string{
		nobody.Addr().String():     "connection refused",
		slow:                       "no answer within 200ms",
		plain:                      "it does not speak TLS",
		"nowhere.invalid:443":      "its name is not found in DNS",
		"169.254.169.254:443":      "it is a link-local address, which no server of a network has",
		"[::ffff:169.254.1.1]:443": "it is a link-local address, which no server of a network has",
	} {
		got := (&Prober{Timeout: 200 * time.Millisecond}).Probe(context.Background(), []planner.Probe{probeOf(address, anchors(newEntity(t, "Root", nil, aCA)))}, noon)[0]
		if got.OK || got.Problem != want || !got.Presented.IsZero() {
			t.Errorf("%s: got %+v, want %q", address, got, want)
		}
	}
	got := (&Prober{}).Probe(context.Background(), []planner.Probe{probeOf(closed, anchors(newEntity(t, "Root", nil, aCA)))}, noon)[0]
	if hangs := []string{"it hangs up in the middle of the handshake", "connection reset by peer"}; !slices.Contains(hangs, got.Problem) {
		t.Errorf("whoever hangs up: %q", got.Problem)
	}
}

// TestProbesAreFewAtATime: many servers are asked, in the order of the answers, and not all
// at once; what is cut short is no success.
func TestProbesAreFewAtATime(t *testing.T) {
	root := newEntity(t, "Root", nil, aCA)
	pair := newEntity(t, "broker", root, forServer).pair()
	var now, most atomic.Int32
	address := listen(t, func(c net.Conn) {
		if open := now.Add(1); open > most.Load() {
			most.Store(open)
		}
		defer now.Add(-1)
		_, _ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}, Time: func() time.Time { return noon }}).Read(make([]byte, 1))
	})
	var probes []planner.Probe
	for i := range 40 {
		probe := probeOf(address, anchors(root))
		probe.Name = fmt.Sprintf("probe-%02d", i)
		probes = append(probes, probe)
	}
	for i, result := range (&Prober{}).Probe(context.Background(), probes, noon) {
		if !result.OK || result.Name != probes[i].Name {
			t.Errorf("result %d is %+v", i, result)
		}
	}
	if most.Load() > 2*abreast { // a server learns of a connection's end a little later
		t.Errorf("%d at once", most.Load())
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if cut := (&Prober{}).Probe(ended, probes[:1], noon)[0]; cut.OK || cut.Problem != "it was not asked to the end" {
		t.Errorf("cut short: %+v", cut)
	}
}

// TestBriefIsBrief: what somebody else wrote ends up in a status, on one short line.
func TestBriefIsBrief(t *testing.T) {
	if got := brief("a\n b\t" + strings.Repeat("x", 300)); len([]rune(got)) != longest+1 || strings.ContainsAny(got, "\n\t") || !strings.HasPrefix(got, "a b xxx") {
		t.Errorf("got %q", got)
	}
}
