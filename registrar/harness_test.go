package registrar_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// The CAs of all tests live around the time at which these run, since TLS has no other.
var (
	factoryCA = registrartest.Root("Factory", time.Now())
	fleetCA   = registrartest.Root("Fleet 2025", time.Now())
	nextCA    = registrartest.Root("Fleet 2026", time.Now())
	strangeCA = registrartest.Root("Elsewhere", time.Now())
)

// endpoint is one on loopback, before a world in memory.
type endpoint struct {
	*registrartest.World
	t        *testing.T
	address  string
	serving  atomic.Pointer[registrar.Serving]
	registry *prometheus.Registry
	// ahead is how far its clock is ahead.
	ahead atomic.Int64

	mu     sync.Mutex
	audit  []registrar.Entry
	alarms []registrar.Entry
	log    bytes.Buffer
}

const (
	serverName = "registrar.test"
	proofName  = "proof.registrar.test"
)

// open an endpoint with the groups sensors (keys of the device), boxes (of the cluster) and
// meters (another factory's).
func open(t *testing.T, changes ...func(*registrar.Options)) *endpoint {
	t.Helper()
	e := &endpoint{t: t, registry: prometheus.NewRegistry()}
	clock := func() time.Time { return time.Now().Add(time.Duration(e.ahead.Load())) }
	e.World = registrartest.NewWorld(fleetCA, clock)
	e.Group("sensors", factoryCA, func(spec *v1alpha1.DeviceGroupSpec) {
		spec.Certificate.DNSNames, spec.Recovery.Quota = []string{"{{ .ID }}.sensors.example"}, 1
	})
	e.Group("boxes", boxesCA, func(spec *v1alpha1.DeviceGroupSpec) {
		spec.Keys, spec.Certificate.DNSNames = v1alpha1.KeysCluster, []string{"{{ .ID }}.boxes.example"}
	})
	e.Group("meters", metersCA, nil)
	e.serving.Store(serving(fleetCA))
	metrics, err := registrar.NewMetrics(e.registry)
	if err != nil {
		t.Fatal(err)
	}
	options := registrar.Options{
		Fleet: e.Fleet, Commits: e.World, Certificates: e.World, Keys: e.World, Evidence: e.World,
		Serving: func() (*registrar.Serving, error) { return e.serving.Load(), nil },
		Clock:   clock, Audit: e.note(&e.audit), Metrics: metrics,
		Alarm:  func(_ context.Context, entry registrar.Entry) { e.note(&e.alarms)(entry) },
		Limits: registrar.Limits{Hold: 200 * time.Millisecond, PerDevice: 1000, PerAddress: 100000},
	}
	for _, change := range changes {
		change(&options)
	}
	e.serve(options)
	return e
}

var (
	boxesCA  = registrartest.Root("Boxes' Factory", time.Now())
	metersCA = registrartest.Root("Meters' Factory", time.Now())
)

func (e *endpoint) serve(options registrar.Options) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	server := registrar.New(options)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	e.address = listener.Addr().String()
	e.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx) // tests leave connections open
		if err := <-done; err != nil {
			e.t.Errorf("serve: %v", err)
		}
	})
}

// serving is a certificate of the endpoint's own under a root.
func serving(root *registrartest.Authority, links ...pki.Certificate) *registrar.Serving {
	return &registrar.Serving{Certificate: serverCredential(root, serverName), Links: links}
}

func serverCredential(root *registrartest.Authority, name string) tls.Certificate {
	template := registrartest.Leaf(name, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	return root.Credential(template, registrartest.Key())
}

func (e *endpoint) note(entries *[]registrar.Entry) func(registrar.Entry) {
	write := registrar.AuditLog(&e.log, func(err error) { e.t.Error(err) })
	return func(entry registrar.Entry) {
		e.mu.Lock()
		defer e.mu.Unlock()
		*entries = append(*entries, entry)
		write(entry)
	}
}

// entries of the audit log, and those of alarms.
func (e *endpoint) entries() (audit, alarms []registrar.Entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.audit), slices.Clone(e.alarms)
}

// client that shows a certificate, or none.
func (e *endpoint) client(credential *tls.Certificate, changes ...func(*tls.Config)) *http.Client {
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName}
	config.RootCAs.AddCert(fleetCA.X509())
	if credential != nil {
		config.Certificates = []tls.Certificate{*credential}
	}
	for _, change := range changes {
		change(config)
	}
	transport := &http.Transport{TLSClientConfig: config}
	e.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// reply is what came back.
type reply struct {
	*http.Response
	body []byte
}

// problem of a reply, without what all types begin with.
func (r reply) problem() string {
	var document struct{ Type string }
	_ = json.Unmarshal(r.body, &document)
	return strings.TrimPrefix(document.Type, "tag:reanchor.dev,2026:")
}

// ask sends a request. Headers are "Name: value".
func (e *endpoint) ask(client *http.Client, method, path, body string, headers ...string) reply {
	e.t.Helper()
	request, err := http.NewRequest(method, "https://"+e.address+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{response, content}
}

// factory is a factory certificate of a group's CA.
func factory(ca *registrartest.Authority, id string, change ...func(*x509.Certificate)) *tls.Certificate {
	credential := ca.Credential(registrartest.Leaf(id, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0), change...), registrartest.Key())
	return &credential
}

// own is a certificate of the fleet's.
func own(id string, key *ecdsa.PrivateKey, to time.Time) *tls.Certificate {
	template := registrartest.Leaf(id, time.Now().AddDate(0, -1, 0), to, func(c *x509.Certificate) { c.DNSNames = []string{id + ".sensors.example"} })
	credential := fleetCA.Credential(template, key)
	return &credential
}

// sensor is a device of the group sensors in Git, with its certificate.
func (e *endpoint) sensor(id string, state v1alpha1.DeviceState, superseded ...pki.Fingerprint) (*ecdsa.PrivateKey, *tls.Certificate) {
	key := registrartest.Key()
	credential := own(id, key, time.Now().AddDate(0, 3, 0))
	e.Put(admission.Device{Group: "sensors", ID: id, State: state, Key: registrartest.KeyID(&key.PublicKey), Superseded: superseded})
	leaf, err := pki.Parse(credential.Certificate[0])
	if err != nil {
		e.t.Fatal(err)
	}
	e.Issue(registrar.Holder{Group: "sensors", ID: id, Key: registrartest.KeyID(&key.PublicKey)}, leaf)
	return key, credential
}

// csr of a sensor.
func csr(key *ecdsa.PrivateKey, id string) []byte {
	return registrartest.CSR(key, id, []string{id + ".sensors.example"})
}

// registration is the body of POST /v1/devices.
func registration(group string, csr []byte) string {
	body, err := json.Marshal(map[string]string{"group": group, "request": registrartest.PEM(csr)})
	if err != nil {
		panic(err)
	}
	return string(body)
}

const jsonType = "Content-Type: application/json"
