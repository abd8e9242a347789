package service_test

import (
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
	"github.com/reanchor/reanchor/registrar/service"
)

// Devices register, all at once, and Git is where they land.
func TestDevicesRegister(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	b.serve()
	const fleet = 8
	var sensors []*sensor
	var registering sync.WaitGroup
	for n := range fleet {
		s := b.sensor(fmt.Sprintf("sensor-%d", n))
		sensors = append(sensors, s)
		registering.Go(func() {
			if status, answer := s.register(); status != http.StatusCreated {
				t.Errorf("%s: answered %d %s", s.id, status, answer)
			}
		})
	}
	registering.Wait()
	if t.Failed() {
		t.FailNow()
	}
	landed := len(b.landed)
	for _, s := range sensors {
		document, err := b.writer.Get(t.Context(), v1alpha1.DevicePath("sensors", s.id))
		if err != nil || !strings.Contains(string(document.Content), "state: Active") {
			t.Errorf("%s: %s %v", s.id, document.Content, err)
		}
		// The same key again: no commit, and the same certificate.
		if status, answer := s.register(); status != http.StatusCreated {
			t.Errorf("%s again: answered %d %s", s.id, status, answer)
		}
	}
	if landed > fleet || len(b.landed) != landed {
		t.Errorf("%d registrations made %d commits, and again %d", fleet, landed, len(b.landed))
	}
}

// Of registrations that are handed over at once, two of them for one key and two for one
// device, one each comes to be.
func TestOneOfTwoThatComeTogether(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	of := func(id string, key crypto.Signer) registrar.Registration {
		return registrar.Registration{Decision: admission.Decision{
			Verdict: admission.Register, Request: registrartest.PEM(registrartest.CSR(key, id, []string{id + ".sensors.example"})),
			Device: admission.Device{Group: "sensors", ID: id, State: v1alpha1.DeviceActive, Key: registrartest.KeyID(key.Public())},
		}}
	}
	for round := range 10 {
		shared, one, other := registrartest.Key(), registrartest.Key(), registrartest.Key()
		id := fmt.Sprintf("sensor-%d-", round)
		asked := []registrar.Registration{of(id+"a", shared), of(id+"b", shared), of(id+"c", one), of(id+"c", other)}
		results := make([]error, len(asked))
		var registering sync.WaitGroup
		for i := range asked {
			registering.Go(func() { _, results[i] = b.git.Commit(t.Context(), asked[i]) })
		}
		registering.Wait()
		for _, pair := range [][]error{results[:2], results[2:]} {
			if (pair[0] == nil) == (pair[1] == nil) || !errors.Is(errors.Join(pair...), registrar.ErrChanged) {
				t.Errorf("round %d: two came to %v", round, pair)
			}
		}
	}
}

// A recovery takes the old key out of force, a second one is refused, and a key of another
// device is.
func TestRecovery(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	b.serve()
	first, lost := b.sensor("sensor-1"), b.sensor("sensor-1")
	if status, answer := first.register(); status != http.StatusCreated {
		t.Fatalf("answered %d %s", status, answer)
	}
	lost.key = registrartest.Key()
	if status, answer := lost.register(); status != http.StatusCreated {
		t.Fatalf("with a new key: answered %d %s", status, answer)
	}
	if status, answer := first.register(); status != http.StatusForbidden || !strings.Contains(answer, "superseded") {
		t.Errorf("the old certificate: answered %d %s", status, answer)
	}
	if status, answer := b.sensor("sensor-1").register(); status != http.StatusForbidden {
		t.Errorf("beyond the quota: answered %d %s", status, answer)
	}
	thief := b.sensor("sensor-2")
	thief.key = lost.key
	if status, answer := thief.register(); status != http.StatusConflict {
		t.Errorf("another's key: answered %d %s", status, answer)
	}
}

// A device that showed its key and got another shows the old one until it is seen with the new.
func TestAnOldKeyIsGoodUntilTheNewOneIsInUse(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	b.serve()
	s := b.sensor("sensor-1")
	if status, answer := s.register(); status != http.StatusCreated {
		t.Fatalf("answered %d %s", status, answer)
	}
	before := *s
	s.key = registrartest.Key()
	if status, answer := s.register(); status != http.StatusCreated {
		t.Fatalf("with a new key: answered %d %s", status, answer)
	}
	shown := func(by *sensor) int {
		status, _, _, err := by.ask(serverName, "GET", "/v1/devices/sensor-1", "")
		b.must(err)
		return status
	}
	if status := shown(&before); status != http.StatusOK {
		t.Errorf("the answer may be lost yet: the old certificate is answered %d", status)
	}
	if status := shown(s); status != http.StatusOK {
		t.Errorf("the new certificate is answered %d", status)
	}
	b.eventually("the new certificate was seen, and the old one is not taken any more", func() bool {
		b.request("sensor-1")
		return shown(&before) == http.StatusForbidden
	})
}

// What somebody else pushed is seen by the commit itself: a changed device, and a key that has
// become another's.
func TestCommitsAreDecidedOnWhatStands(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	key := registrartest.Key()
	request := registrartest.PEM(registrartest.CSR(key, "sensor-1", []string{"sensor-1.sensors.example"}))
	of := func(id string) registrar.Registration {
		return registrar.Registration{Decision: admission.Decision{Verdict: admission.Register, Request: request, Device: admission.Device{
			Group: "sensors", ID: id, State: v1alpha1.DeviceActive, Key: registrartest.KeyID(&key.PublicKey),
		}}}
	}
	other := service.NewGit(service.GitOptions{Writer: b.openWriter("other", "main", ""), Folder: ".", Cluster: b.cluster})
	b.must(other.Refresh(t.Context()))
	if _, err := other.Commit(t.Context(), of("sensor-1")); err != nil {
		t.Fatal(err)
	}
	for id, why := range map[string]string{"sensor-1": "stands already", "sensor-2": "has another's key"} {
		again := of(id)
		again.Device.Recoveries = 1
		if _, err := b.git.Commit(t.Context(), again); !errors.Is(err, registrar.ErrChanged) {
			t.Errorf("a device that %s: %v", why, err)
		}
		fleet, err := b.git.Fleet()
		b.must(err)
		if holder, held := fleet.Holder(of(id).Device.Key); !held || holder.ID != "sensor-1" {
			t.Errorf("the key of %s is held by %+v after the commit was refused", id, holder)
		}
	}
	// The same again is no commit, and no error.
	if commit, err := b.git.Commit(t.Context(), of("sensor-1")); err != nil || len(commit) != 40 {
		t.Errorf("the same again: %q %v", commit, err)
	}
	b.remote.Close()
	if _, err := b.git.Commit(t.Context(), of("sensor-3")); !errors.Is(err, registrar.ErrUnreachable) {
		t.Errorf("without a server: %v", err)
	}
}

// Two replicas that write at once do not register one key for two devices: whoever comes second
// finds the key taken in the tree that it is pushed on, and hears that it has become another's.
func TestOneKeyIsOneDevicesAcrossReplicas(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	second := service.NewGit(service.GitOptions{Writer: b.openWriter("second", "main", ""), Folder: ".", Cluster: b.cluster})
	b.must(second.Refresh(t.Context()))
	replicas := []*service.Git{b.git, second}
	const rounds, rivals = 5, 4
	for round := range rounds {
		key := registrartest.Key()
		outcomes := make([]error, rivals)
		var writing sync.WaitGroup
		for rival := range rivals {
			id := fmt.Sprintf("sensor-%d-%d", round, rival)
			request := registrartest.PEM(registrartest.CSR(key, id, []string{id + ".sensors.example"}))
			writing.Go(func() {
				_, outcomes[rival] = replicas[rival%len(replicas)].Commit(t.Context(), registrar.Registration{Decision: admission.Decision{
					Verdict: admission.Register, Request: request,
					Device: admission.Device{Group: "sensors", ID: id, State: v1alpha1.DeviceActive, Key: registrartest.KeyID(&key.PublicKey)},
				}})
			})
		}
		writing.Wait()
		landed := 0
		for rival, err := range outcomes {
			switch {
			case err == nil:
				landed++
			case !errors.Is(err, registrar.ErrChanged):
				t.Errorf("round %d, rival %d: %v", round, rival, err)
			}
		}
		if landed != 1 {
			t.Errorf("round %d: %d devices were registered with one key", round, landed)
		}
	}
	for _, replica := range replicas {
		b.must(replica.Refresh(t.Context()))
	}
	listed, err := inventory.Read(b.writer.Newest().FS(), ".", []v1alpha1.DeviceGroup{{Metadata: v1alpha1.Metadata{Name: "sensors"}}}, nil)
	b.must(err)
	if active := listed.Count()["sensors"].Active; active != rounds {
		t.Errorf("Git lists %d devices after %d rounds", active, rounds)
	}
}

// With pull requests a registration counts once it is merged.
func TestProposals(t *testing.T) {
	root := registrartest.Root("Fleet Root 2025", time.Now())
	b := open(t, root)
	b.declare("PullRequest", root)
	b.must(b.git.Refresh(t.Context()))
	b.serve()
	s := b.sensor("sensor-1")
	for range 2 {
		if status, answer := s.register(); status != http.StatusAccepted || !strings.Contains(answer, "merge") {
			t.Fatalf("answered %d %s", status, answer)
		}
	}
	file := v1alpha1.DevicePath("sensors", "sensor-1")
	if group := b.proposed.Load(); group == nil || *group != "sensors" {
		t.Errorf("a pull request was asked for of %v", group)
	}
	waits := func(want ...string) {
		t.Helper()
		if files, err := b.git.Waiting("sensors"); err != nil || !slices.Equal(files, want) {
			t.Errorf("%q wait (%v), want %q", files, err, want)
		}
	}
	waits(file)
	waiting := b.openWriter("reader", gitsource.RegistrationBranch("sensors"), "")
	t.Cleanup(waiting.Close)
	document, err := waiting.Get(t.Context(), file)
	b.must(err)
	_, err = b.remote.Commit(t.Context(), "Merge the registrations", map[string][]byte{file: document.Content})
	b.must(err)
	b.must(b.git.Refresh(t.Context()))
	waits()
	b.reconcile("")
	if status, answer := s.register(); status != http.StatusCreated {
		t.Errorf("once merged: answered %d %s", status, answer)
	}
}

// In a rollover a device is told both roots, confirms them, and proves the new one.
func TestEvidence(t *testing.T) {
	old, next := registrartest.Root("Fleet Root 2025", time.Now()), registrartest.Root("Fleet Root 2026", time.Now())
	b := open(t, old)
	b.serve()
	s := b.sensor("sensor-1")
	if status, answer := s.register(); status != http.StatusCreated {
		t.Fatalf("answered %d %s", status, answer)
	}
	b.declare("Automatic", old, next)
	b.must(b.git.Refresh(t.Context()))
	_, bundle, header, err := s.ask(serverName, "GET", "/v1/trust-bundle", "")
	b.must(err)
	anchors, err := pki.ParsePEM(bundle)
	if err != nil || len(anchors) != 2 {
		t.Fatalf("the bundle has %d anchors (%v)", len(anchors), err)
	}
	s.anchors = pki.NewAnchors(anchors...)
	confirmed := func() inventory.Confirmation { return inventory.ConfirmationIn(b.request(s.id).Annotations) }
	b.eventually("the certificate was seen", func() bool { return !confirmed().Presented.IsZero() })
	if known := confirmed(); len(known.Anchors) > 0 {
		t.Errorf("a device that has fetched a bundle is taken to trust %v", known.Anchors)
	}
	if status, answer, _, err := s.ask(serverName, "PUT", "/v1/devices/sensor-1/confirmation", fmt.Sprintf(`{"bundle":%s}`, header.Get("ETag"))); status != http.StatusNoContent || err != nil {
		t.Fatalf("confirmed: %d %s %v", status, answer, err)
	}
	b.eventually("both anchors were confirmed", func() bool { return len(confirmed().Anchors) == 2 })

	// Who proves one by a handshake does not give up the other.
	b.door.ShowProof(serverCredential(next, proofName))
	s.anchors = pki.NewAnchors(next.Certificate)
	before := confirmed().At
	if status, answer, _, err := s.ask(proofName, "GET", "/v1/devices/sensor-1", ""); status != http.StatusOK || err != nil {
		t.Fatalf("by the proof name: %d %s %v", status, answer, err)
	}
	b.eventually("the proof was written down", func() bool { return confirmed().At.After(before) })
	if known := confirmed(); len(known.Anchors) != 2 {
		t.Errorf("a proof of one anchor leaves %v", known.Anchors)
	}
}

// Where cert-manager makes the key, what is known of a device is kept on its Certificate.
func TestEvidenceOfADeviceWhoseKeyIsTheClusters(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	b.serve()
	document := "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: box-1}\nspec: {group: boxes}\n"
	_, err := b.remote.Commit(t.Context(), "List a box", map[string][]byte{v1alpha1.DevicePath("boxes", "box-1"): []byte(document)})
	b.must(err)
	b.must(b.git.Refresh(t.Context()))
	box := &sensor{b: b, id: "box-1", key: registrartest.Key(), anchors: pki.NewAnchors(b.root.Certificate)}
	leaf := b.root.Sign(registrartest.Leaf(box.id, time.Now().Add(-time.Minute), time.Now().Add(24*time.Hour)), box.key.Public())
	box.shows = registrartest.With(box.key, leaf)
	request := boxRequest(box.id, registrartest.PEM(registrartest.CSR(box.key, box.id, nil)), certmanagerv1.CertificateRequestStatus{
		Certificate: leaf.PEM(), Conditions: []certmanagerv1.CertificateRequestCondition{{Type: certmanagerv1.CertificateRequestConditionReady, Status: certmanagermeta.ConditionTrue}},
	})
	made := &certmanagerv1.Certificate{ObjectMeta: metav1.ObjectMeta{
		Namespace: "plant", Name: v1alpha1.DeviceObjectName("boxes", box.id), UID: "the box's",
		Labels: request.Labels, Annotations: map[string]string{v1alpha1.AnnotationDevice: box.id},
	}}
	b.must(b.objects.Create(t.Context(), made))
	b.must(b.objects.Create(t.Context(), request))
	b.cluster.Handler().OnAdd(made, true)
	b.cluster.Handler().OnAdd(request, true)

	hash := pki.NewAnchors(b.root.Certificate).SHA256()
	if status, answer, _, err := box.ask(serverName, "PUT", "/v1/devices/box-1/confirmation", fmt.Sprintf(`{"bundle":%q}`, hash)); status != http.StatusNoContent || err != nil {
		t.Fatalf("confirmed: %d %s %v", status, answer, err)
	}
	b.eventually("it is written on the Certificate", func() bool {
		var seen certmanagerv1.Certificate
		b.must(b.objects.Get(t.Context(), client.ObjectKeyFromObject(made), &seen))
		known := inventory.ConfirmationIn(seen.Annotations)
		return known.Presented == leaf.Fingerprint() && known.PresentedUntil.Equal(leaf.NotAfter()) && slices.Equal(known.Anchors, []pki.Fingerprint{b.root.Fingerprint()})
	})
	var seen certmanagerv1.CertificateRequest
	b.must(b.objects.Get(t.Context(), client.ObjectKeyFromObject(request), &seen))
	if known := seen.Annotations[v1alpha1.AnnotationConfirmed]; known != "" {
		t.Errorf("cert-manager's own request says %s", known)
	}
}

// Before the first key is recorded there is nothing that a device could be told to trust.
func TestNothingToTrustYet(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	_, err := b.remote.Commit(t.Context(), "Forget the record", map[string][]byte{"anchors/fleet-root/2025.pem": nil})
	b.must(err)
	b.must(b.git.Refresh(t.Context()))
	if fleet, err := b.git.Fleet(); err == nil {
		t.Errorf("the fleet is known: %v", fleet.Groups())
	}
}

// Documents that cannot be read leave what was declared before in force, and keep no device
// back.
func TestBrokenDocuments(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	b.serve()
	_, err := b.remote.Commit(t.Context(), "Break it", map[string][]byte{"pki.yaml": []byte("kind: Nothing\n")})
	b.must(err)
	if err := b.git.Refresh(t.Context()); err == nil {
		t.Error("nothing is said of documents that cannot be read")
	}
	if status, answer := b.sensor("sensor-1").register(); status != http.StatusCreated {
		t.Errorf("answered %d %s", status, answer)
	}
}
