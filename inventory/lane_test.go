package inventory

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// authority is a root with its private key.
type authority struct {
	Key
	private ed25519.PrivateKey
}

func root(t testing.TB, name string) authority {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root " + name}, NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
	}
	return authority{Key{planner.Ref{Namespace: "cert-manager", Name: "root"}, name, certified(t, template, template, public, private)}, private}
}

func certified(t testing.TB, template, parent *x509.Certificate, public any, by ed25519.PrivateKey) pki.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(nil, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := pki.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// plant is a lane, and a cluster beside it in which requests are signed.
type plant struct {
	t       testing.TB
	lane    *Lane
	now     time.Time
	signer  authority
	objects map[string]*certmanagerv1.CertificateRequest
	serial  int64
	files   map[string]string
}

func newPlant(t testing.TB, signer authority) *plant {
	return &plant{t: t, lane: NewLane(), now: epoch, signer: signer, objects: map[string]*certmanagerv1.CertificateRequest{}, files: map[string]string{}}
}

func (p *plant) list(group, id, text string) { p.files[v1alpha1.DevicePath(group, id)] = text }

// turn takes in Git and the rule, and does the work.
func (p *plant) turn() Work {
	p.t.Helper()
	read, err := Read(tree(p.files), ".", groups, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.lane.List(read, ".")
	p.lane.Obey([]Rule{p.rule()})
	work := p.lane.Work(p.now)
	for _, stamped := range work.Apply {
		request := &certmanagerv1.CertificateRequest{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stamped.Object, request); err != nil {
			p.t.Fatal(err)
		}
		if p.objects[request.Name] == nil {
			request.UID, request.CreationTimestamp = types.UID(request.Name), metav1.Time{Time: p.now}
			p.objects[request.Name] = request
			p.lane.See(request)
		}
	}
	for _, confirm := range work.Confirm {
		p.annotate(confirm.Request.Name, v1alpha1.AnnotationConfirmed, confirm.Text)
	}
	for _, gone := range work.Remove {
		delete(p.objects, gone.GetName())
		p.lane.Forget(gone)
	}
	return work
}

func (p *plant) rule() Rule {
	template := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest",
		"metadata": map[string]any{"namespace": "plant", "name": "any", "labels": map[string]any{v1alpha1.LabelDeviceGroup: "sensors", v1alpha1.LabelDomainName: "d", v1alpha1.LabelDomainNamespace: "n"}},
		"spec":     map[string]any{"request": "", "issuerRef": map[string]any{"name": "fleet"}, "duration": "2160h0m0s"},
	}}
	return Rule{Group: groups[0], Authority: p.signer.Authority, Key: p.signer.Name, Signer: p.signer.Key, Template: template}
}

func (p *plant) annotate(name, key, value string) {
	next := p.objects[name].DeepCopy()
	next.Annotations[key] = value
	p.objects[name] = next
	p.lane.See(next)
}

// sign answers every request that waits, but for those that refuse says why.
func (p *plant) sign(refuse func(id string) string) {
	p.t.Helper()
	for name, request := range p.objects {
		if readRequest(request).isPending() {
			next := request.DeepCopy()
			condition := certmanagerv1.CertificateRequestCondition{Type: certmanagerv1.CertificateRequestConditionReady, Status: certmanagermeta.ConditionTrue, Reason: "Issued", LastTransitionTime: &metav1.Time{Time: p.now}}
			if why := refuse(request.Annotations[v1alpha1.AnnotationDevice]); why != "" {
				condition.Status, condition.Reason, condition.Message = certmanagermeta.ConditionFalse, certmanagerv1.CertificateRequestReasonFailed, why
			} else {
				next.Status.Certificate = p.issue(request).PEM()
			}
			next.Status.Conditions = []certmanagerv1.CertificateRequestCondition{condition}
			p.objects[name] = next
			p.lane.See(next)
		}
	}
}

func nobody(string) string { return "" }

func (p *plant) issue(request *certmanagerv1.CertificateRequest) pki.Certificate {
	p.t.Helper()
	block, _ := pem.Decode(request.Spec.Request)
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		p.t.Fatal(err)
	}
	p.serial++
	template := &x509.Certificate{SerialNumber: big.NewInt(p.serial), Subject: parsed.Subject, NotBefore: p.now, NotAfter: p.now.Add(2160 * time.Hour)}
	return certified(p.t, template, p.signer.Certificate.X509(), parsed.PublicKey, p.signer.private)
}

// held are the requests of a device, the oldest first.
func (p *plant) held(id string) []*request {
	var all []*request
	for _, r := range p.objects {
		if r.Annotations[v1alpha1.AnnotationDevice] == id {
			all = append(all, readRequest(r))
		}
	}
	slices.SortFunc(all, (*request).compare)
	return all
}

func desiredBy(keys ...v1alpha1.AuthorityKey) planner.Desired {
	a := v1alpha1.Authority{Metadata: v1alpha1.Metadata{Namespace: "cert-manager", Name: "root"}}
	a.Spec.Keys = keys
	return planner.Desired{Authorities: []v1alpha1.Authority{a}, Groups: groups[:1]}
}

func TestADeviceThroughItsLife(t *testing.T) {
	old, next := root(t, "2025"), root(t, "2026")
	p := newPlant(t, old)
	p.list("sensors", "one", active(t, "sensors", "one"))
	if work := p.turn(); len(work.Apply) != 1 || work.States[StatePending] != 1 {
		t.Fatalf("the first turn does %+v", work)
	}
	if work := p.turn(); !work.Idle() {
		t.Fatalf("while it waits: %+v", work)
	}
	p.sign(nobody)
	if work := p.turn(); !work.Idle() || work.States[StateIssued] != 1 || !work.Due.Equal(epoch.Add(1440*time.Hour)) {
		t.Fatalf("issued: %+v", work)
	}

	// It is renewed from the same request before its certificate ends, and what came before is kept.
	p.now = epoch.Add(1440 * time.Hour)
	p.turn()
	p.sign(nobody)
	p.turn()
	held := p.held("one")
	if !held[len(held)-1].since.Equal(epoch) {
		t.Errorf("it is told to have certificates since %s", held[len(held)-1].since)
	}
	told := p.lane.Ledger(desiredBy(v1alpha1.AuthorityKey{Name: "2025", State: v1alpha1.KeySigning}), []Key{old.Key}, p.now)
	if behind := told[0].Keys[0].Distrusting.First; len(behind) != 1 || !behind[0].Since.Equal(epoch) || !behind[0].Seen.IsZero() {
		t.Errorf("the ledger tells of %+v", behind)
	}
	if len(held) != 2 || held[1].renewal != 2 || string(held[1].Spec.Request) != string(held[0].Spec.Request) {
		t.Fatalf("after the renewal it has %d requests", len(held))
	}
	// Once it is seen with the new one, the old one goes, and what is known of it is kept.
	known := Confirmation{Anchors: []pki.Fingerprint{old.Certificate.Fingerprint()}, At: p.now, Presented: held[1].chain[0].Fingerprint(), Seen: p.now}
	p.annotate(held[0].Name, v1alpha1.AnnotationConfirmed, known.String())
	if work := p.turn(); len(work.Confirm) != 1 || len(work.Remove) != 0 {
		t.Fatalf("what is known is not carried over first: %+v", work)
	}
	if work := p.turn(); len(work.Remove) != 1 {
		t.Fatalf("the old request stays: %+v", work)
	}
	if held = p.held("one"); len(held) != 1 || ConfirmationIn(held[0].Annotations).String() != known.String() {
		t.Fatalf("what is left is %v", held)
	}

	// Another key signs: a new certificate, and the old one counts until the device is seen with the new.
	p.signer = next
	p.turn()
	p.sign(nobody)
	p.turn()
	keys := []Key{old.Key, next.Key}
	git := desiredBy(v1alpha1.AuthorityKey{Name: "2025", State: v1alpha1.KeyRetired}, v1alpha1.AuthorityKey{Name: "2026", State: v1alpha1.KeySigning})
	ledger := p.lane.Ledger(git, keys, p.now)[0]
	if ledger.Active != 1 || ledger.Keys[0].Chaining.Count != 1 || ledger.Keys[1].Elsewhere.Count != 0 || ledger.Keys[1].Distrusting.Count != 1 || ledger.Keys[0].Trusting.Count != 1 {
		t.Fatalf("the ledger is %+v", ledger)
	}
	// Waived, it counts for nothing but that.
	git.Authorities[0].Spec.Rollover.Waivers = []v1alpha1.Waiver{{Key: "2025", Devices: []string{"sensors/one"}}}
	if ledger := p.lane.Ledger(git, keys, p.now)[0]; ledger.Keys[0].Waived.Count != 1 || ledger.Keys[0].Chaining.Count+ledger.Keys[1].Distrusting.Count != 0 {
		t.Fatalf("waived, the ledger is %+v", ledger)
	}
	git.Authorities[0].Spec.Rollover.Waivers = nil
	held = p.held("one")
	newest := held[len(held)-1]
	known = Confirmation{Anchors: []pki.Fingerprint{next.Certificate.Fingerprint()}, At: p.now.Add(1), Presented: newest.chain[0].Fingerprint(), Seen: p.now.Add(1)}
	p.annotate(newest.Name, v1alpha1.AnnotationConfirmed, known.String())
	p.turn()
	if ledger := p.lane.Ledger(git, keys, p.now)[0]; ledger.Keys[0].Chaining.Count+ledger.Keys[1].Distrusting.Count != 0 || len(p.held("one")) != 1 {
		t.Fatalf("seen with the new one, the ledger is %+v", ledger)
	}

	// Git says no more of it than that it cannot be read: it stays. Blocked, it goes.
	p.list("sensors", "one", "a: [")
	if work := p.turn(); !work.Idle() || work.Standing != 1 {
		t.Fatalf("of one that cannot be read: %+v", work)
	}
	p.list("sensors", "one", document("sensors", "one", "  state: Blocked\n"))
	if work := p.turn(); work.Leaving != 1 || len(p.held("one")) != 0 {
		t.Fatalf("blocked: %+v", work)
	}
}

// A certificate that ended holds nobody up.
func TestWhatHasEndedIsNotWaitedFor(t *testing.T) {
	p := newPlant(t, root(t, "2025"))
	p.list("sensors", "one", active(t, "sensors", "one"))
	p.turn()
	p.sign(nobody)
	p.turn()
	keys, git := []Key{p.signer.Key}, desiredBy(v1alpha1.AuthorityKey{Name: "2025", State: v1alpha1.KeySigning})
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {2160 * time.Hour, 1}, {2160*time.Hour + time.Second, 0}} {
		if got := p.lane.Ledger(git, keys, epoch.Add(test.after))[0].Keys[0].Chaining.Count; got != test.want {
			t.Errorf("after %s %d are counted, want %d", test.after, got, test.want)
		}
	}
}

func TestOneThatFailsFailsAlone(t *testing.T) {
	p := newPlant(t, root(t, "2025"))
	for _, id := range []string{"good", "bad", "worse"} {
		p.list("sensors", id, active(t, "sensors", id))
	}
	work := p.turn()
	at := slices.IndexFunc(work.Apply, func(o *unstructured.Unstructured) bool {
		return o.GetAnnotations()[v1alpha1.AnnotationDevice] == "worse"
	})
	for _, r := range p.held("worse") {
		delete(p.objects, r.Name)
		p.lane.Forget(r.CertificateRequest)
	}
	p.lane.Work(p.now)
	p.lane.Refuse(work.Apply[at], "denied the request", p.now)
	p.sign(func(id string) string {
		if id == "bad" {
			return "its CSR asks for a CA"
		}
		return ""
	})
	work = p.turn()
	if work.States[StateIssued] != 1 || work.States[StateFailed] != 2 || !work.Idle() ||
		!slices.Equal(work.Failed, []Failure{{"sensors/bad", "its CSR asks for a CA"}, {"sensors/worse", "denied the request"}}) {
		t.Fatalf("work is %+v", work)
	}
	p.now = p.now.Add(retryAfter)
	if work := p.turn(); len(work.Apply) != 2 {
		t.Fatalf("an hour later: %+v", work)
	}
	p.sign(nobody)
	p.turn()
	if held := p.held("bad"); len(held) != 1 || held[0].renewal != 2 {
		t.Errorf("what failed stays: %d", len(held))
	}
}

// An issuer that signs with another key than it shall is not asked again and again.
func TestAStrangersAnswerIsNotAskedForAgainAtOnce(t *testing.T) {
	shall, does := root(t, "2025"), root(t, "strange")
	p := newPlant(t, shall)
	p.list("sensors", "one", active(t, "sensors", "one"))
	p.turn()
	p.signer = does
	p.sign(nobody)
	p.signer = shall
	work := p.turn()
	if !work.Idle() || work.States[StateFailed] != 1 || !strings.Contains(work.Failed[0].Why, "Root strange where cert-manager/root/2025 shall sign") {
		t.Errorf("work is %+v", work)
	}
}

func TestCertificatesOfDevicesWhoseKeysAreMadeHere(t *testing.T) {
	group := groups[1]
	group.Spec.Certificate.DNSNames = []string{"{{ .ID }}.Meters.example"}
	signer := root(t, "2025")
	rule := Rule{Group: group, Authority: signer.Authority, Key: "2025", Signer: signer.Key, Template: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
		"metadata": map[string]any{"namespace": "plant", "name": "any", "labels": map[string]any{v1alpha1.LabelDeviceGroup: "meters"}},
		"spec":     map[string]any{"secretName": "any", "commonName": "any", "issuerRef": map[string]any{"name": "fleet"}},
	}}}
	device := Device{Group: "meters", ID: "m-1", State: v1alpha1.DeviceActive}
	d := decide(device, standing{}, rule, epoch)
	text, err := json.Marshal(d.apply)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"commonName":"m-1"`, `"dnsNames":["m-1.meters.example"]`, `"secretName":"meters-m-1-`, `"reanchor.dev/device":"m-1"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	seen := &certmanagerv1.Certificate{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(d.apply.Object, seen); err != nil {
		t.Fatal(err)
	}
	p := &plant{t: t, signer: root(t, "2024"), now: epoch}
	issued := &request{renewal: 1, CertificateRequest: &certmanagerv1.CertificateRequest{}, chain: []pki.Certificate{p.issue(&certmanagerv1.CertificateRequest{Spec: certmanagerv1.CertificateRequestSpec{Request: []byte(csr(t, "m"))}})}}
	if d := decide(device, standing{certificate: seen, issued: []*request{issued}}, rule, epoch); d.apply != nil || !d.reissue {
		t.Errorf("of another key: %+v", d)
	}
	seen.Spec.SecretName = "another"
	if d := decide(device, standing{certificate: seen}, rule, epoch); d.apply == nil {
		t.Error("drift is not mended")
	}
	device.State = v1alpha1.DeviceRetired
	if d := decide(device, standing{certificate: seen}, rule, epoch); len(d.remove) != 1 {
		t.Error("a retired one stays")
	}
}

// Whatever happens in whatever order, every active device ends with exactly one current
// certificate, nobody else has any, and nothing is left to do.
func TestEveryActiveDeviceHasOneCurrentCertificate(t *testing.T) {
	keys := []authority{root(t, "2025"), root(t, "2026")}
	ids := []string{"a", "b", "SN 1", "d"}
	texts := map[string][]string{}
	for _, id := range ids {
		texts[id] = []string{active(t, "sensors", id), document("sensors", id, withRequest(csr(t, "another "+id))), document("sensors", id, "  state: Blocked\n")}
	}
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlant(t, keys[0])
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0:
				id := rapid.SampledFrom(ids).Draw(rt, "id")
				p.list("sensors", id, rapid.SampledFrom(texts[id]).Draw(rt, "text"))
			case 1:
				p.sign(nobody)
			case 2:
				p.now = p.now.Add(time.Duration(rapid.IntRange(1, 1000).Draw(rt, "hours")) * time.Hour)
			case 3:
				p.signer = rapid.SampledFrom(keys).Draw(rt, "key")
			case 4:
				p.turn()
			}
		}
		var work Work
		for range 8 {
			p.now = p.now.Add(retryAfter)
			work = p.turn()
			p.sign(nobody)
		}
		if !work.Idle() {
			rt.Fatalf("it does not rest: %+v", work)
		}
		for _, id := range ids {
			current := 0
			held := p.held(id)
			for _, r := range held {
				if r.live(p.now) && r.chain[0].SignedBy(p.signer.Certificate) && p.now.Before(RenewalOf(p.rule().Group.Spec.Certificate, r.chain[0])) && r == held[len(held)-1] {
					current++
				}
			}
			want := 0
			if text := p.files[v1alpha1.DevicePath("sensors", id)]; text != "" && !strings.Contains(text, "Blocked") {
				want = 1
			} else if len(held) > 0 {
				rt.Fatalf("%s has %d requests, and is not active", id, len(held))
			}
			if current != want {
				rt.Fatalf("%s has %d current certificates, want %d", id, current, want)
			}
		}
	})
}

// Equal input gives equal bytes, in whatever order it comes.
func TestTheOrderOfEventsDoesNotMatter(t *testing.T) {
	signer, files := root(t, "2025"), map[string]string{}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		files[v1alpha1.DevicePath("sensors", id)] = active(t, "sensors", id)
	}
	first := newPlant(t, signer)
	first.files = files
	first.turn()
	first.sign(nobody)
	var seen []*certmanagerv1.CertificateRequest
	for _, r := range first.objects {
		seen = append(seen, r)
	}
	read, err := Read(tree(files), ".", groups, nil)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for range 10 {
		mathrand.Shuffle(len(seen), func(i, j int) { seen[i], seen[j] = seen[j], seen[i] })
		lane := NewLane()
		for _, r := range seen {
			lane.See(r)
		}
		lane.List(read, ".")
		lane.Obey([]Rule{first.rule()})
		later := epoch.Add(1500 * time.Hour)
		ledger := lane.Ledger(desiredBy(v1alpha1.AuthorityKey{Name: "2025", State: v1alpha1.KeySigning}), []Key{signer.Key}, later)
		got, err := json.Marshal([]any{lane.Work(later).Apply, ledger})
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if string(got) != string(want) {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	}
}
