package inventory

import (
	"fmt"
	"slices"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// tally of the group "sensors": how many are active, and how many may show a certificate that
// leads through the key, and trust it.
type tally struct{ active, chaining, trusting int }

func (p *plant) tally(key Key) tally {
	ledger := p.lane.Ledger(desiredBy(), []Key{key}, p.now)[0]
	return tally{ledger.Active, ledger.Keys[0].Chaining.Count, ledger.Keys[0].Trusting.Count}
}

func (p *plant) expect(what string, key Key, want tally) {
	p.t.Helper()
	if got := p.tally(key); got != want {
		p.t.Errorf("%s: the ledger has %+v, want %+v", what, got, want)
	}
}

// restart the lane: it is told of the cluster, and reads Git anew.
func (p *plant) restart() Work {
	p.t.Helper()
	p.lane = NewLane()
	for _, object := range p.objects {
		p.lane.See(object)
	}
	return p.turn()
}

// keeping has the group's keys made by these, and looks at what is to be done.
func (p *plant) keeping(keys v1alpha1.DeviceKeys) Work {
	p.t.Helper()
	group := groupNamed("sensors", keys)
	read, err := Read(tree(p.files), ".", []v1alpha1.DeviceGroup{group}, p.lane.Listed())
	if err != nil {
		p.t.Fatal(err)
	}
	p.lane.List(read, ".")
	rule := p.rule()
	rule.Group = group
	if keys == v1alpha1.KeysCluster {
		rule.Template.SetKind(certmanagerv1.CertificateKind)
		unstructured.RemoveNestedField(rule.Template.Object, "spec", "request")
	}
	p.lane.Obey([]Rule{rule})
	return p.lane.Work(p.now)
}

// certificate of a device whose key cert-manager makes.
func (p *plant) certificate(id string) *certmanagerv1.Certificate {
	labels := p.rule().Template.GetLabels()
	return &certmanagerv1.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: v1alpha1.DeviceObjectName("sensors", id), Labels: labels, Annotations: map[string]string{v1alpha1.AnnotationDevice: id}, CreationTimestamp: metav1.Time{Time: epoch}},
	}
}

// issued is what cert-manager made of such a certificate.
func (p *plant) issued(id string, revision int, signer authority) *certmanagerv1.CertificateRequest {
	p.t.Helper()
	of := p.certificate(id)
	request := &certmanagerv1.CertificateRequest{ObjectMeta: metav1.ObjectMeta{
		Namespace: "plant", Name: fmt.Sprintf("%s-%d", of.Name, revision), Labels: of.Labels, CreationTimestamp: metav1.Time{Time: p.now},
		Annotations:     map[string]string{v1alpha1.AnnotationDevice: id, certmanagerv1.CertificateRequestRevisionAnnotationKey: fmt.Sprint(revision)},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(of, certmanagerv1.SchemeGroupVersion.WithKind(certmanagerv1.CertificateKind))},
	}}
	request.Spec.Request = []byte(csr(p.t, fmt.Sprint(id, revision)))
	p.signer, signer = signer, p.signer
	request.Status.Certificate = p.issue(request).PEM()
	p.signer = signer
	request.Status.Conditions = []certmanagerv1.CertificateRequestCondition{{Type: certmanagerv1.CertificateRequestConditionReady, Status: certmanagermeta.ConditionTrue}}
	return request
}

// fleet is a plant of devices with certificates.
func fleet(t *testing.T, ids ...string) *plant {
	p := newPlant(t, root(t, "2025"))
	for _, id := range ids {
		p.list("sensors", id, active(t, "sensors", id))
	}
	p.turn()
	p.sign(nobody)
	p.turn()
	return p
}

// Whoever makes the keys from now on: nothing goes before its successor is in use.
func TestAGroupThatChangesWhoMakesTheKeysLosesNothing(t *testing.T) {
	p := fleet(t, "a", "b", "c", "d", "e")
	trusts := Confirmation{Anchors: []pki.Fingerprint{p.signer.Certificate.Fingerprint()}, At: p.now}
	p.annotate(p.held("a")[0].Name, v1alpha1.AnnotationConfirmed, trusts.String())
	p.turn()
	if work := p.keeping(v1alpha1.KeysCluster); !work.Idle() || work.Standing != 5 || work.Leaving != 0 {
		t.Fatalf("with files that do not fit the group any more: %+v", work)
	}
	p.expect("files that do not fit", p.signer.Key, tally{5, 5, 1})

	// Mended file by file, each gets a Certificate, and keeps what it has.
	p.list("sensors", "a", document("sensors", "a", ""))
	work := p.keeping(v1alpha1.KeysCluster)
	if len(work.Apply) != 1 || len(work.Remove) != 0 {
		t.Fatalf("the mended file: %+v", work)
	}
	made := certificateOf(t, work.Apply[0])
	p.lane.See(made)
	if work = p.keeping(v1alpha1.KeysCluster); len(work.Remove) != 0 || len(work.Confirm) != 1 || !work.Confirm[0].Certificate || work.Confirm[0].Text != trusts.String() {
		t.Fatalf("what is known is carried over: %+v", work)
	}
	made = made.DeepCopy()
	made.Annotations[v1alpha1.AnnotationConfirmed] = trusts.String()
	p.lane.See(made)
	issued := p.issued("a", 1, p.signer)
	p.lane.See(issued)
	if work = p.keeping(v1alpha1.KeysCluster); !work.Idle() {
		t.Fatalf("issued, and not in use: %+v", work)
	}
	p.expect("issued, and not in use", p.signer.Key, tally{5, 5, 1})
	trusts.Presented, trusts.Seen = readRequest(issued).chain[0].Fingerprint(), p.now
	made = made.DeepCopy()
	made.Annotations[v1alpha1.AnnotationConfirmed] = trusts.String()
	p.lane.See(made)
	if work = p.keeping(v1alpha1.KeysCluster); len(work.Remove) != 1 || work.Leaving != 0 {
		t.Fatalf("in use: %+v", work)
	}
}

func certificateOf(t *testing.T, stamped *unstructured.Unstructured) *certmanagerv1.Certificate {
	t.Helper()
	made := &certmanagerv1.Certificate{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stamped.Object, made); err != nil {
		t.Fatal(err)
	}
	return made
}

// The same the other way.
func TestACertificateStaysUntilTheDevicesOwnKeyIsInUse(t *testing.T) {
	device := Device{Group: "sensors", ID: "one", State: v1alpha1.DeviceActive, Request: csr(t, "own"), Key: keyOf(csr(t, "own"))}
	ends := epoch.Add(2160 * time.Hour)
	for name, test := range map[string]struct {
		successor, used bool
		at              time.Time
		want            int
	}{
		"no successor":                {false, false, epoch, 0},
		"no successor, and it ended":  {false, false, ends.Add(time.Second), 0},
		"a successor, and not in use": {true, false, epoch, 0},
		"a successor in use":          {true, true, epoch, 1},
		"a successor, and it ended":   {true, false, ends.Add(time.Second), 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, root(t, "2025"))
			seen := standing{certificate: p.certificate("one"), issued: []*request{readRequest(p.issued("one", 1, p.signer))}}
			if test.successor {
				p.now = test.at
				own := p.issued("one", 2, p.signer)
				own.Spec.Request = []byte(device.Request)
				own.Status.Certificate = p.issue(own).PEM()
				seen.requests = []*request{readRequest(own)}
			}
			if test.used {
				known := Confirmation{Presented: seen.requests[0].chain[0].Fingerprint(), Seen: epoch}
				seen.requests[0].Annotations[v1alpha1.AnnotationConfirmed] = known.String()
			}
			if d := decide(device, seen, p.rule(), test.at); len(d.remove) != test.want {
				t.Errorf("removes %d, want %d", len(d.remove), test.want)
			}
		})
	}
}

// What Git wants of a device whose file cannot be used is not known: its certificates count,
// whenever the process began.
func TestADeviceInAFileThatCannotBeUsedCounts(t *testing.T) {
	p := fleet(t, "one")
	p.list("sensors", "one", active(t, "sensors", "one")+"  bogus: 1\n")
	for name, turn := range map[string]func() Work{"running": p.turn, "restarted": p.restart} {
		if work := turn(); !work.Idle() || work.Standing != 1 || work.Leaving != 0 {
			t.Errorf("%s: %+v", name, work)
		}
		p.expect(name, p.signer.Key, tally{active: 1, chaining: 1})
	}
	// Mended, it is renewed as if nothing had been.
	p.list("sensors", "one", active(t, "sensors", "one"))
	p.now = epoch.Add(1500 * time.Hour)
	if work := p.turn(); len(work.Apply) != 1 {
		t.Errorf("mended: %+v", work)
	}
}

// Files that claim the key of another do not drive it out, wherever they sort.
func TestWhoHasACertificateForAContestedKeyKeepsIt(t *testing.T) {
	p := fleet(t, "one")
	claims := []string{"a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8"}
	for _, id := range claims {
		p.list("sensors", id, document("sensors", id, withRequest(csr(t, "sensors/one"))))
	}
	for name, turn := range map[string]func() Work{"running": p.turn, "restarted": p.restart} {
		work := turn()
		if !work.Idle() || work.States[StateIssued] != 1 {
			t.Errorf("%s: %+v", name, work)
		}
		p.expect(name, p.signer.Key, tally{active: 1, chaining: 1})
		var told []string
		for _, problem := range p.lane.Listed().Problems() {
			told = append(told, problem.File)
		}
		if len(told) != len(claims)+1 || !slices.Contains(told, v1alpha1.DevicePath("sensors", "one")) {
			t.Errorf("%s: problems are told of %q", name, told)
		}
	}
	p.now = epoch.Add(1500 * time.Hour)
	if work := p.turn(); len(work.Apply) != 1 || work.Apply[0].GetAnnotations()[v1alpha1.AnnotationDevice] != "one" {
		t.Errorf("when it is to be renewed: %+v", work)
	}
}

// That cert-manager issued another certificate says nothing of the device.
func TestAReissueIsNotWhatTheDeviceShows(t *testing.T) {
	p := newPlant(t, root(t, "2025"))
	next := root(t, "2026")
	p.list("sensors", "one", document("sensors", "one", ""))
	p.keeping(v1alpha1.KeysCluster)
	certificate := p.certificate("one")
	p.lane.See(certificate)
	p.lane.See(p.issued("one", 1, p.signer))
	p.expect("issued", p.signer.Key, tally{active: 1, chaining: 1})
	reissued := p.issued("one", 2, next)
	p.lane.See(reissued)
	p.expect("reissued, the old key", p.signer.Key, tally{active: 1, chaining: 1})
	p.expect("reissued, the new key", next.Key, tally{active: 1, chaining: 1})
	certificate = certificate.DeepCopy()
	certificate.Annotations[v1alpha1.AnnotationConfirmed] = Confirmation{Presented: readRequest(reissued).chain[0].Fingerprint(), Seen: p.now}.String()
	p.lane.See(certificate)
	p.expect("seen with it, the old key", p.signer.Key, tally{active: 1})
	p.expect("seen with it, the new key", next.Key, tally{active: 1, chaining: 1})
}

// Whoever may create a CertificateRequest somewhere steers nobody's device with it.
func TestOnlyWhatIsMadeForADeviceCounts(t *testing.T) {
	evil := root(t, "evil")
	for name, forge := range map[string]func(*certmanagerv1.CertificateRequest){
		"in another namespace":                  func(r *certmanagerv1.CertificateRequest) { r.Namespace = "tenant" },
		"in another namespace, by another name": func(r *certmanagerv1.CertificateRequest) { r.Namespace, r.Name = "tenant", r.Name+"x" },
		"by a name that is not the device's":    func(r *certmanagerv1.CertificateRequest) { r.Name = "x" },
		"of a Certificate that is not the device's": func(r *certmanagerv1.CertificateRequest) {
			r.Name += "x"
			of := &certmanagerv1.Certificate{ObjectMeta: metav1.ObjectMeta{Name: "another"}}
			r.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(of, certmanagerv1.SchemeGroupVersion.WithKind(certmanagerv1.CertificateKind))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := fleet(t, "one")
			forged := p.held("one")[0].DeepCopy()
			forge(forged)
			signer := p.signer
			p.signer = evil
			leaf := p.issue(forged)
			p.signer = signer
			forged.Annotations[v1alpha1.AnnotationRenewal] = "9000"
			forged.Status.Certificate = leaf.PEM()
			forged.Annotations[v1alpha1.AnnotationConfirmed] = Confirmation{Anchors: []pki.Fingerprint{signer.Certificate.Fingerprint()}, At: p.now, Presented: leaf.Fingerprint(), Seen: p.now}.String()
			p.lane.See(forged)
			if work := p.turn(); !work.Idle() || work.Standing != 1 || work.States[StateIssued] != 1 {
				t.Errorf("the work is %+v", work)
			}
			p.expect("forged", signer.Key, tally{active: 1, chaining: 1})
			if answer := p.lane.Newest("sensors", "one", pki.Fingerprint{}); len(answer.Chain) != 1 || answer.Chain[0].Equal(leaf) {
				t.Error("the forged certificate is what the device gets")
			}
			p.lane.Forget(forged)
			p.expect("the forged is gone", signer.Key, tally{active: 1, chaining: 1})
			p.now = epoch.Add(1500 * time.Hour)
			if work := p.turn(); len(work.Apply) != 1 || work.Apply[0].GetAnnotations()[v1alpha1.AnnotationRenewal] != "2" {
				t.Errorf("when it is to be renewed: %+v", work)
			}
		})
	}
}

// A device that another one's object is relabelled for is that one's no longer.
func TestAnObjectIsOneDevicesAlone(t *testing.T) {
	p := fleet(t, "one")
	stray := p.held("one")[0].DeepCopy()
	delete(stray.Labels, v1alpha1.LabelDeviceGroup)
	p.lane.See(stray)
	p.expect("without its label", p.signer.Key, tally{active: 1})
}

// What is said from the future counts once that has come.
func TestAConfirmationFromTheFutureConfirmsNothingYet(t *testing.T) {
	p := fleet(t, "one")
	held := p.held("one")[0]
	later := epoch.Add(100 * time.Hour)
	early := Confirmation{Anchors: []pki.Fingerprint{p.signer.Certificate.Fingerprint()}, At: later, Presented: held.chain[0].Fingerprint(), Seen: later}
	p.annotate(held.Name, v1alpha1.AnnotationConfirmed, early.String())
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {99 * time.Hour, 0}, {100*time.Hour - maxAhead + time.Second, 1}, {100 * time.Hour, 1}} {
		p.now = epoch.Add(test.after)
		p.turn()
		p.expect(test.after.String(), p.signer.Key, tally{active: 1, chaining: 1, trusting: test.want})
	}
	// What the device says by then is not outweighed by it.
	if got := (Confirmation{Seen: epoch, Presented: held.chain[0].Fingerprint()}).With(early.By(epoch)); !got.Seen.Equal(epoch) {
		t.Errorf("what was seen is from %s", got.Seen)
	}
}

// The objects of a group that is gone are removed wherever they stand, and count for the
// guard on removing many.
func TestAGroupThatIsGoneTakesItsObjectsAlong(t *testing.T) {
	p := fleet(t, "one", "two")
	read, err := Read(tree(nil), ".", nil, p.lane.Listed())
	if err != nil {
		t.Fatal(err)
	}
	p.lane.List(read, ".")
	p.lane.Obey(nil)
	if work := p.lane.Work(p.now); work.Standing != 2 || work.Leaving != 2 || len(work.Remove) != 2 {
		t.Errorf("the work is %+v", work)
	}
}

// A device that was given a certificate for a new key may not have fetched it yet.
func TestTheOldKeysRequestStaysUntilTheNewKeyIsInUse(t *testing.T) {
	for name, test := range map[string]struct {
		seen bool
		now  time.Time
		held int
		want tally
	}{
		"not fetched":           {false, epoch, 2, tally{active: 1, chaining: 1}},
		"seen with it":          {true, epoch, 1, tally{active: 1}},
		"the old one has ended": {false, epoch.Add(2160*time.Hour + time.Second), 1, tally{active: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			p := fleet(t, "one")
			old := p.signer.Key
			p.signer = root(t, "2026")
			p.now = epoch.Add(time.Hour)
			p.list("sensors", "one", document("sensors", "one", withRequest(csr(t, "another key"))))
			p.turn()
			p.sign(nobody)
			p.turn()
			if test.seen {
				newest := p.held("one")[1]
				p.annotate(newest.Name, v1alpha1.AnnotationConfirmed, Confirmation{Presented: newest.chain[0].Fingerprint(), Seen: p.now}.String())
			}
			if test.now.After(p.now) {
				p.now = test.now
				p.turn() // renews
				p.sign(nobody)
			}
			p.turn()
			held := slices.DeleteFunc(p.held("one"), func(r *request) bool { return !r.chain[0].SignedBy(old.Certificate) && r.renewal == 3 })
			if len(held) != test.held {
				t.Errorf("%d are held, want %d", len(held), test.held)
			}
			p.expect(name, old, test.want)
		})
	}
}

// A request that nobody has answered yet, a person who approves say, is left alone for as long
// as it asks what Git says, and no longer.
func TestAPendingRequestIsLeftWhileItAsksWhatGitSays(t *testing.T) {
	first, next := root(t, "2025"), root(t, "2026")
	for name, test := range map[string]struct {
		signer authority
		issuer string
		lives  string
		after  time.Duration
		apply  int
	}{
		"just made":                {first, "fleet", "2160h0m0s", time.Minute, 0},
		"an hour old":              {first, "fleet", "2160h0m0s", retryAfter, 0},
		"a year old":               {first, "fleet", "2160h0m0s", 365 * 24 * time.Hour, 0},
		"another key is to sign":   {next, "fleet", "2160h0m0s", time.Minute, 1},
		"another issuer is to":     {first, "another", "2160h0m0s", time.Minute, 1},
		"it is to live longer":     {first, "fleet", "4320h0m0s", time.Minute, 1},
		"written otherwise":        {first, "fleet", "2160h", time.Minute, 0},
		"no key may sign just now": {authority{}, "fleet", "2160h0m0s", 24 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, first)
			p.list("sensors", "one", active(t, "sensors", "one"))
			p.turn()
			p.now, p.signer = epoch.Add(test.after), test.signer
			rule := p.rule()
			set(rule.Template, test.issuer, "spec", "issuerRef", "name")
			set(rule.Template, test.lives, "spec", "duration")
			p.lane.Obey([]Rule{rule})
			work := p.lane.Work(p.now)
			if len(work.Apply) != test.apply || !work.Due.IsZero() || work.States[StatePending] != 1 || len(work.Remove) != 0 {
				t.Errorf("the work is %+v", work)
			}
		})
	}
}

// However long cert-manager is silent, requests do not pile up.
func TestPendingRequestsDoNotPileUp(t *testing.T) {
	p := newPlant(t, root(t, "2025"))
	p.list("sensors", "one", active(t, "sensors", "one"))
	for range 100 {
		p.turn()
		p.turn()
		p.now = p.now.Add(retryAfter / 2)
	}
	if held := len(p.held("one")); held > 2 {
		t.Fatalf("%d requests wait", held)
	}
	p.sign(nobody)
	p.turn()
	if work := p.turn(); !work.Idle() || work.States[StateIssued] != 1 {
		t.Errorf("signed at last: %+v", work)
	}
}

// A Certificate that comes back signed by a key that shall not sign is told of, and is not
// asked for at every turn: each time, one of the requests goes by which it is known what the
// device has.
func TestAStrangersAnswerToACertificateIsLeftAWhile(t *testing.T) {
	old, next := root(t, "2025"), root(t, "2026")
	const before, since = "cert-manager/root/2025", "cert-manager/root/2026"
	for name, test := range map[string]struct {
		asked   []string // which key was to sign then
		signer  authority
		apart   time.Duration
		state   State
		reissue bool
	}{
		"asked before it was to sign":            {[]string{before}, old, time.Minute, StatePending, true},
		"asked twice before":                     {[]string{before, before}, old, time.Minute, StatePending, true},
		"asked by a release that did not say":    {[]string{""}, old, time.Minute, StatePending, true},
		"asked since":                            {[]string{since}, old, time.Minute, StateFailed, false},
		"asked since, at once":                   {[]string{before, since}, old, time.Minute, StateFailed, false},
		"asked since, a long time after another": {[]string{before, since}, old, 100 * time.Hour, StateFailed, false},
		"asked since, again and again":           {[]string{since, since, since}, old, retryAfter, StateFailed, false},
		"issued, as it is to be":                 {[]string{before, since}, next, time.Minute, StateIssued, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, next)
			p.list("sensors", "one", document("sensors", "one", ""))
			work := p.keeping(v1alpha1.KeysCluster)
			p.lane.See(certificateOf(t, work.Apply[0]))
			for i, asked := range test.asked {
				p.now = p.now.Add(test.apart)
				issued := p.issued("one", i+1, test.signer)
				issued.Annotations[v1alpha1.AnnotationSignsWith] = asked
				p.lane.See(issued)
			}
			work = p.keeping(v1alpha1.KeysCluster)
			if (len(work.Reissue) == 1) != test.reissue || work.States[test.state] != 1 {
				t.Errorf("the work is %+v", work)
			}
			if test.state != StateFailed {
				return
			}
			if len(work.Failed) != 1 || work.Failed[0].Why != "it came back signed by Root 2025 where "+since+" shall sign" || !work.Due.Equal(p.now.Add(retryAfter)) {
				t.Errorf("it is told that %+v, until %s", work.Failed, work.Due)
			}
			p.now = p.now.Add(retryAfter)
			if work := p.keeping(v1alpha1.KeysCluster); len(work.Reissue) != 1 {
				t.Errorf("later, the work is %+v", work)
			}
		})
	}
}

// Of the certificates of which cert-manager has thrown the requests away, it is known how long
// they live at most, and no more.
func TestAForgottenCertificateHoldsEveryKeyUntilItHasEnded(t *testing.T) {
	old, next := root(t, "2025"), root(t, "2026")
	for name, test := range map[string]struct {
		first int
		seen  bool
		after time.Duration
		want  int
	}{
		"none is forgotten":            {1, false, time.Hour, 0},
		"one is forgotten":             {2, false, time.Hour, 1},
		"and the device seen since":    {2, true, time.Hour, 0},
		"and it has ended by now":      {2, false, 2161 * time.Hour, 0},
		"and it ends within this hour": {2, false, 2159 * time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, next)
			p.list("sensors", "one", document("sensors", "one", ""))
			p.keeping(v1alpha1.KeysCluster)
			certificate, issued := p.certificate("one"), p.issued("one", test.first, next)
			if test.seen {
				certificate.Annotations[v1alpha1.AnnotationConfirmed] = Confirmation{Presented: readRequest(issued).chain[0].Fingerprint(), Seen: p.now}.String()
			}
			p.lane.See(certificate)
			p.lane.See(issued)
			p.tally(old.Key)
			p.now = p.now.Add(test.after)
			if got := p.tally(old.Key).chaining; got != test.want {
				t.Errorf("%d devices may show a certificate of the old key, want %d", got, test.want)
			}
		})
	}
}
