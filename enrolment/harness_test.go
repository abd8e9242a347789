package enrolment_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/enrolment"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// The CAs of all tests live around the time at which these run.
var (
	begun     = time.Now()
	factoryCA = registrartest.Root("Factory", begun)
	oldCA     = registrartest.Root("Fleet 2025", begun)
	newCA     = registrartest.Root("Fleet 2026", begun)
	strangeCA = registrartest.Root("Elsewhere", begun)
	link      = oldCA.Link(newCA, begun)

	oldAnchor = pki.NewAnchors(oldCA.Certificate)
	newAnchor = pki.NewAnchors(newCA.Certificate)
	both      = oldAnchor.Union(newAnchor)
)

const proofName = "proof.registrar.test"

// site is a world with its endpoint and its clock.
type site struct {
	*registrartest.Endpoint
	t     *testing.T
	ahead atomic.Int64
}

func openSite(t *testing.T, changes ...func(*registrar.Options)) *site {
	t.Helper()
	s := &site{t: t}
	world := registrartest.NewWorld(oldCA, s.now)
	world.Group("sensors", factoryCA, func(spec *v1alpha1.DeviceGroupSpec) {
		spec.Certificate.DNSNames = []string{"{{ .ID }}.sensors.example"}
		spec.Certificate.KeyAlgorithms = []v1alpha1.KeyAlgorithm{v1alpha1.ECDSA, v1alpha1.Ed25519, v1alpha1.RSA}
	})
	s.Endpoint = registrartest.Serve(t, world, shownBy(oldCA), changes...)
	return s
}

func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// pass lets time pass.
func (s *site) pass(d time.Duration) { s.ahead.Add(int64(d)) }

// shownBy a root is the certificate of the endpoint, and its chain.
func shownBy(root *registrartest.Authority, links ...pki.Certificate) *registrar.Serving {
	return &registrar.Serving{
		Certificate: root.ServerCredential("registrar.test", begun), Links: links,
		ProofName: proofName, Proof: root.ServerCredential(proofName, begun), ProofAnchor: root.Certificate,
	}
}

// watched is a device of which everything is noted.
type watched struct {
	*enrolment.Device
	folder string

	mu     sync.Mutex
	waits  []time.Duration
	events []enrolment.Event
}

// options of the device sensor-1, which waits for nothing: onWait is called instead.
func (s *site) options(changes ...func(*enrolment.Options)) enrolment.Options {
	options := enrolment.Options{
		Server: "https://" + s.Address, Group: "sensors", Folder: filepath.Join(s.t.TempDir(), "state"),
		Anchors: oldAnchor, Bootstrap: factoryOf(factoryCA), DNSNames: []string{"{{ .ID }}.sensors.example"},
		Clock: s.now, Jitter: func() float64 { return 0 },
		Wait: func(context.Context, time.Duration) error { return context.DeadlineExceeded },
	}
	for _, change := range changes {
		change(&options)
	}
	return options
}

// factoryOf a CA is the factory certificate of sensor-1.
func factoryOf(ca *registrartest.Authority, change ...func(*x509.Certificate)) tls.Certificate {
	return ca.Credential(registrartest.Leaf("sensor-1", begun.Add(-time.Hour), begun.AddDate(1, 0, 0), change...), registrartest.Key())
}

// open a device, and note what it does.
func (s *site) open(changes ...func(*enrolment.Options)) *watched {
	s.t.Helper()
	return s.reopen(s.options(changes...))
}

func (s *site) reopen(options enrolment.Options) *watched {
	s.t.Helper()
	w := &watched{folder: options.Folder}
	wait := options.Wait
	options.Wait = func(ctx context.Context, d time.Duration) error {
		w.mu.Lock()
		w.waits = append(w.waits, d)
		w.mu.Unlock()
		return wait(ctx, d)
	}
	options.Report = func(event enrolment.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, event)
	}
	device, err := enrolment.Open(options)
	if err != nil {
		s.t.Fatal(err)
	}
	w.Device = device
	return w
}

// enrolled is a device with its first certificate.
func (s *site) enrolled(changes ...func(*enrolment.Options)) *watched {
	s.t.Helper()
	w := s.open(changes...)
	s.must(w.Enrol(s.t.Context()))
	return w
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// kinds of what has happened.
func (w *watched) kinds() []enrolment.Kind {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds []enrolment.Kind
	for _, event := range w.events {
		kinds = append(kinds, event.Kind)
	}
	return kinds
}

// files of a folder, by their names.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[entry.Name()] = string(content)
	}
	return found
}

// expectFiles fails unless a folder holds files of these names and no others.
func expectFiles(t *testing.T, folder string, names ...string) {
	t.Helper()
	if got := slices.Sorted(maps.Keys(files(t, folder))); !slices.Equal(got, names) {
		t.Errorf("the folder holds %v, not %v", got, names)
	}
}

// trusts reports which anchors the world has seen the device to trust last.
func (s *site) trusts() []pki.Fingerprint {
	seen := s.Seen()
	for i := range seen {
		if last := seen[len(seen)-1-i]; len(last.Trusts) > 0 {
			return last.Trusts
		}
	}
	return nil
}

// protocols to do everything by.
func protocols(t *testing.T, test func(t *testing.T, by func(*enrolment.Options))) {
	for _, protocol := range []enrolment.Protocol{enrolment.REST, enrolment.EST} {
		t.Run(string(protocol), func(t *testing.T) {
			test(t, func(o *enrolment.Options) { o.Protocol = protocol })
		})
	}
}
