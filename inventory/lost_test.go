package inventory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// waiting is the work while so many percent of the devices, whose keys cert-manager makes, keep
// what another key signed.
func (p *plant) waiting(later int) Work {
	p.t.Helper()
	rule := p.rule()
	rule.Group, rule.Later = groupNamed("sensors", v1alpha1.KeysCluster), later
	rule.Template.SetKind(certmanagerv1.CertificateKind)
	delete(rule.Template.Object["spec"].(map[string]any), "request")
	p.lane.Obey([]Rule{rule})
	return p.lane.Work(p.now)
}

// Who keeps what another key signed for now is not issued anew, whoever signed that.
func TestWhoIsKeptBackIsNotIssuedAnew(t *testing.T) {
	p, _ := blockedAndBack(t)
	p.now = p.now.Add(askedWithin)
	if work := p.waiting(100); len(work.Reissue) != 0 {
		t.Errorf("one without a request: %+v", work)
	}
	if work := p.waiting(0); len(work.Reissue) != 1 {
		t.Errorf("and at last: %+v", work)
	}

	for _, keys := range []v1alpha1.DeviceKeys{v1alpha1.KeysCluster, v1alpha1.KeysDevice} {
		p = strangersAnswer(t, keys)
		p.now = p.now.Add(2 * time.Hour)
		rule := p.waiting
		if keys == v1alpha1.KeysDevice {
			rule = p.later
		}
		if work := rule(100); !work.Idle() || work.States[StateIssued] != 1 {
			t.Errorf("keys: %s, one that a stranger signed: %+v", keys, work)
		}
		if work := rule(0); len(work.Reissue)+len(work.Apply) != 1 {
			t.Errorf("keys: %s, and at last: %+v", keys, work)
		}
	}
}

// strangersAnswer is a device that was to be signed for by 2026, and was by 2025.
func strangersAnswer(t *testing.T, keys v1alpha1.DeviceKeys) *plant {
	t.Helper()
	p := newPlant(t, root(t, "2025"))
	next := root(t, "2026")
	if keys == v1alpha1.KeysDevice {
		p.list("sensors", "one", active(t, "sensors", "one"))
		p.signer, next = next, p.signer
		p.turn()
		p.signer, next = next, p.signer
		p.sign(nobody)
		p.signer = next
		return p
	}
	p.list("sensors", "one", document("sensors", "one", ""))
	old := p.signer
	p.signer = next
	p.lane.See(certificateOf(t, p.keeping(keys).Apply[0]))
	issued := p.issued("one", 1, old)
	issued.Annotations[v1alpha1.AnnotationSignsWith] = p.rule().signsWith()
	p.lane.See(issued)
	return p
}

// Of a fleet whose CertificateRequests were all deleted, not everyone gets a new key at once.
func TestAFleetWithoutRequestsIsIssuedAnewLittleByLittle(t *testing.T) {
	p := newPlant(t, root(t, "2025"))
	for n := range 50 {
		id := fmt.Sprint(n)
		p.list("sensors", id, document("sensors", id, ""))
	}
	made := map[string]*certmanagerv1.Certificate{}
	for _, stamped := range p.keeping(v1alpha1.KeysCluster).Apply {
		certificate := certificateOf(t, stamped)
		certificate.CreationTimestamp = metav1.Time{Time: p.now}
		certificate.Status.NotAfter = &metav1.Time{Time: p.now.Add(2160 * time.Hour)}
		made[certificate.Name] = certificate
		p.lane.See(certificate)
	}
	p.now = p.now.Add(askedWithin)
	issuing := func(name string, is certmanagermeta.ConditionStatus) {
		next := made[name].DeepCopy()
		next.Status.Conditions = []certmanagerv1.CertificateCondition{{Type: certmanagerv1.CertificateConditionIssuing, Status: is}}
		p.lane.See(next)
	}
	var asked []string
	for _, want := range []int{20, 20, 10, 0} {
		work := p.keeping(v1alpha1.KeysCluster)
		if len(work.Reissue) != want || len(asked)+want < 50 && !work.Due.Equal(p.now.Add(askedWithin)) {
			t.Fatalf("after %d, %d are issued anew, and it is looked again at %s", len(asked), len(work.Reissue), work.Due)
		}
		for _, reissue := range work.Reissue {
			if slices.Contains(asked, reissue.Certificate.Name) {
				t.Errorf("%s is issued anew twice", reissue.Certificate)
			}
			asked = append(asked, reissue.Certificate.Name)
			issuing(reissue.Certificate.Name, certmanagermeta.ConditionTrue)
		}
		if work = p.keeping(v1alpha1.KeysCluster); len(work.Reissue) != 0 {
			t.Errorf("while %d are issued, %d more are", want, len(work.Reissue))
		}
		for _, reissue := range asked[len(asked)-want:] { // each with a request of its own by now
			made[reissue].Status.NotBefore = &metav1.Time{Time: p.now}
			issuing(reissue, certmanagermeta.ConditionFalse)
		}
	}
}

// Where the requests never become visible, it is told who hides them, and the device gets
// another key ever more seldom.
func TestACertificateThatStaysWithoutRequestsIsIssuedAnewEverMoreSeldom(t *testing.T) {
	p, made := blockedAndBack(t)
	var times []time.Duration
	for end := epoch.Add(10 * 24 * time.Hour); p.now.Before(end); {
		work := p.keeping(v1alpha1.KeysCluster)
		if len(work.Reissue) == 1 { // answered at once, by a request that nobody is shown
			times = append(times, p.now.Sub(epoch))
			made = made.DeepCopy()
			made.Status.NotBefore, made.Status.NotAfter = &metav1.Time{Time: p.now}, &metav1.Time{Time: p.now.Add(2160 * time.Hour)}
			p.lane.See(made)
			if work = p.keeping(v1alpha1.KeysCluster); work.States[StatePending] != 1 || !work.Due.Equal(p.now.Add(askedWithin)) {
				t.Errorf("issued a moment ago: %+v", work)
			}
			p.now = p.now.Add(askedWithin)
			work = p.keeping(v1alpha1.KeysCluster)
			if work.States[StateFailed] != 1 || !strings.Contains(work.Failed[0].Why, "--copied-annotation-prefixes") {
				t.Errorf("and without a request: %+v", work)
			}
		}
		if work = p.keeping(v1alpha1.KeysCluster); !work.Due.After(p.now) {
			t.Fatalf("at %s it is to be looked at again at %s", p.now, work.Due)
		}
		p.now = work.Due
	}
	if len(times) < 8 || len(times) > 20 || times[0] != askedWithin || times[1] != askedWithin+retryAfter || times[2]-times[1] <= retryAfter || times[len(times)-1]-times[len(times)-2] > maxLostPause {
		t.Errorf("within ten days it is issued anew at %s", times)
	}
}
