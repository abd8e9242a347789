package inventory

import (
	"slices"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// takesIn Git with these groups.
func (p *plant) takesIn(groups ...v1alpha1.DeviceGroup) {
	p.t.Helper()
	read, err := Read(tree(p.files), ".", groups, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.lane.List(read, ".")
	var rules []Rule
	for _, group := range groups {
		rule := p.rule()
		rule.Group = group
		rule.Template.SetLabels(map[string]string{v1alpha1.LabelDeviceGroup: group.Metadata.Name, v1alpha1.LabelDomainName: "d", v1alpha1.LabelDomainNamespace: "n"})
		rules = append(rules, rule)
	}
	p.lane.Obey(rules)
}

// declared takes in Git with these groups, and does the work as cert-manager would answer it.
func (p *plant) declared(groups ...v1alpha1.DeviceGroup) Work {
	p.t.Helper()
	p.takesIn(groups...)
	work := p.lane.Work(p.now)
	for _, stamped := range work.Apply {
		p.lane.See(p.answered(stamped))
	}
	for _, gone := range slices.Concat(work.Remove, work.Discard) {
		p.lane.Forget(gone)
	}
	return work
}

// answered is a stamped request with the certificate that came back.
func (p *plant) answered(stamped *unstructured.Unstructured) *certmanagerv1.CertificateRequest {
	p.t.Helper()
	request := &certmanagerv1.CertificateRequest{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stamped.Object, request); err != nil {
		p.t.Fatal(err)
	}
	request.CreationTimestamp = metav1.Time{Time: p.now}
	request.Status.Certificate = p.issue(request).PEM()
	request.Status.Conditions = []certmanagerv1.CertificateRequestCondition{{Type: certmanagerv1.CertificateRequestConditionReady, Status: "True"}}
	return request
}

// see the device with the newest certificate that it has in a group.
func (p *plant) see(group, id string) {
	p.t.Helper()
	m := p.lane.members[name{group, id}]
	newest := m.requests[len(m.requests)-1]
	next := newest.DeepCopy()
	next.Annotations[v1alpha1.AnnotationConfirmed] = Confirmation{Presented: newest.chain[0].Fingerprint(), Seen: p.now}.String()
	p.lane.See(next)
}

// chaining are the devices of each group that may show a certificate of the key.
func (p *plant) chaining(key Key, groups ...v1alpha1.DeviceGroup) map[string]int {
	p.t.Helper()
	counts := map[string]int{}
	for _, ledger := range p.lane.Ledger(planner.Desired{Groups: groups}, []Key{key}, p.now) {
		counts[ledger.Group] = ledger.Keys[0].Chaining.Count
	}
	return counts
}

func named(group, namespace string) v1alpha1.DeviceGroup {
	made := groupNamed(group, v1alpha1.KeysDevice)
	made.Spec.Namespace = namespace
	return made
}

// Whatever a commit makes of a group or of the place of a device, a certificate that the
// device may still show holds the key that it leads through, until the device is seen with
// what came after it.
func TestWhatLiesElsewhereCountsUntilTheDeviceHasMovedOn(t *testing.T) {
	for name, test := range map[string]struct {
		group v1alpha1.DeviceGroup
		key   string
	}{
		"another namespace":                       {named("sensors", "hall"), "sensors/one"},
		"another name":                            {named("probes", "plant"), "sensors/one"},
		"another name and namespace":              {named("probes", "hall"), "sensors/one"},
		"another group, and a new key":            {named("probes", "plant"), "new"},
		"another namespace, and a new key":        {named("sensors", "hall"), "new"},
		"another name, namespace, and a new  key": {named("probes", "hall"), "new"},
	} {
		t.Run(name, func(t *testing.T) {
			p := fleet(t, "one")
			old, group := p.signer.Key, test.group
			p.signer, p.now = root(t, "2026"), epoch.Add(time.Hour)
			delete(p.files, v1alpha1.DevicePath("sensors", "one"))
			p.list(group.Metadata.Name, "one", document(group.Metadata.Name, "one", withRequest(csr(t, test.key))))

			if work := p.declared(group); len(work.Apply) != 1 || len(work.Remove)+len(work.Discard) != 0 {
				t.Fatalf("the first turn does %+v", work)
			}
			if work := p.declared(group); !work.Idle() {
				t.Fatalf("while the device has not come by: %+v", work)
			}
			if got := p.chaining(old, group)[group.Metadata.Name]; got != 1 {
				t.Errorf("%d devices are told to need the old key, which one has a certificate of", got)
			}
			p.see(group.Metadata.Name, "one")
			if got := p.chaining(old, group)[group.Metadata.Name]; got != 0 {
				t.Errorf("%d devices are told to need the old key, and the one was seen with its new certificate", got)
			}
			if work := p.declared(group); len(work.Discard) != 1 || len(work.Remove) != 0 || work.Leaving != 0 {
				t.Errorf("once it has come by: %+v", work)
			}
			if work := p.declared(group); !work.Idle() {
				t.Errorf("at last: %+v", work)
			}
		})
	}
}

// A certificate that has ended holds nothing.
func TestWhatLiesElsewhereEnds(t *testing.T) {
	p := fleet(t, "one")
	old, group := p.signer.Key, named("sensors", "hall")
	p.signer = root(t, "2026")
	p.declared(group)
	p.now = epoch.Add(2161 * time.Hour)
	if got := p.chaining(old, group)["sensors"]; got != 0 {
		t.Errorf("%d devices need a key of which every certificate has ended", got)
	}
	if work := p.declared(group); len(work.Discard) != 1 {
		t.Errorf("the work is %+v", work)
	}
}

// The devices of a group that is declared no more count while their files stand.
func TestTheDevicesOfAGroupThatIsGoneCountWhileTheyAreListed(t *testing.T) {
	p := fleet(t, "one", "two")
	other := named("probes", "plant")
	for what, turn := range map[string]func(){"running": func() { p.declared(other) }, "restarted": func() {
		p.lane = NewLane()
		for _, object := range p.objects {
			p.lane.See(object)
		}
		p.declared(other)
	}} {
		turn()
		if got := p.chaining(p.signer.Key, other); got["sensors"] != 2 || got["probes"] != 0 {
			t.Errorf("%s: devices with a certificate of the key: %v", what, got)
		}
	}
	p.files = map[string]string{}
	if work := p.declared(other); work.Leaving != 2 || len(work.Remove) != 2 {
		t.Errorf("gone from Git: %+v", work)
	}
	if got := p.chaining(p.signer.Key, other); got["sensors"] != 0 {
		t.Errorf("gone from Git, they count: %v", got)
	}
}

// What is said of a device elsewhere than in its group's namespace confirms nothing.
func TestWhatLiesElsewhereMovesNoDevice(t *testing.T) {
	p := fleet(t, "one")
	old, next := p.signer.Key, root(t, "2026")
	forged := p.held("one")[0].DeepCopy()
	forged.Namespace = "tenant"
	p.signer = next
	leaf := p.issue(forged)
	forged.Status.Certificate = leaf.PEM()
	forged.Annotations[v1alpha1.AnnotationConfirmed] = Confirmation{Anchors: []pki.Fingerprint{next.Certificate.Fingerprint()}, At: p.now, Presented: leaf.Fingerprint(), Seen: p.now}.String()
	p.lane.See(forged)
	p.expect("the old key", old, tally{active: 1, chaining: 1})
	p.expect("the new key", next.Key, tally{active: 1, chaining: 1})
	ledger := p.lane.Ledger(desiredBy(), []Key{next.Key}, p.now)[0]
	if ledger.Keys[0].Elsewhere.Count != 1 {
		t.Error("the device has followed to the new key by what somebody made in another namespace")
	}
}

// In the group's own namespace a certificate counts for what it is: one for another key, one
// that is not the request's, and one that does not lead up to the key move no device.
func TestAForgedCertificateMovesNoDevice(t *testing.T) {
	old, next := root(t, "2025"), root(t, "2026")
	for name, forge := range map[string]func(*plant, *certmanagerv1.CertificateRequest){
		"for another key": func(p *plant, r *certmanagerv1.CertificateRequest) {
			r.Spec.Request = []byte(csr(t, "another's"))
			p.signer = next
			r.Status.Certificate = p.issue(r).PEM()
		},
		"that is not the request's": func(p *plant, r *certmanagerv1.CertificateRequest) {
			other := r.DeepCopy()
			other.Spec.Request = []byte(csr(t, "another's"))
			p.signer = next
			r.Status.Certificate = p.issue(other).PEM()
		},
		"of the old key beside a certificate of the new": func(p *plant, r *certmanagerv1.CertificateRequest) {
			leaf := p.issue(r)
			other := r.DeepCopy()
			p.signer = next
			r.Status.Certificate = slices.Concat(leaf.PEM(), p.issue(other).PEM())
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, old)
			p.list("sensors", "one", active(t, "sensors", "one"))
			p.turn()
			p.sign(nobody)
			p.turn()
			forged := p.held("one")[0].DeepCopy()
			forged.Name += "x"
			forged.Annotations[v1alpha1.AnnotationRenewal] = "9000"
			forge(p, forged)
			shown, err := pki.ParsePEM(forged.Status.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			forged.Annotations[v1alpha1.AnnotationConfirmed] = Confirmation{Presented: shown[0].Fingerprint(), Seen: p.now}.String()
			p.lane.See(forged)
			ledger := p.lane.Ledger(desiredBy(), []Key{old.Key, next.Key}, p.now)[0]
			if ledger.Keys[0].Chaining.Count != 1 || ledger.Keys[1].Elsewhere.Count != 1 {
				t.Errorf("with old and new key: %+v", ledger.Keys)
			}
			p.signer = old
			for range 3 {
				p.turn()
			}
			if p.tally(old.Key).chaining != 1 {
				t.Error("after some turns, the certificate that the device has is forgotten")
			}
		})
	}
}
