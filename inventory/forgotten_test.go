package inventory

import (
	"slices"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// blockedAndBack is a device whose key cert-manager makes, with a Certificate that was made
// anew over the Secret with the certificate of before: cert-manager finds it good, and asks
// for nothing.
func blockedAndBack(t *testing.T) (*plant, *certmanagerv1.Certificate) {
	t.Helper()
	p := newPlant(t, root(t, "2025"))
	p.list("sensors", "one", document("sensors", "one", ""))
	made := certificateOf(t, p.keeping(v1alpha1.KeysCluster).Apply[0])
	made.CreationTimestamp = metav1.Time{Time: p.now}
	made.Status.NotBefore = &metav1.Time{Time: p.now.Add(-time.Hour)}
	made.Status.NotAfter = &metav1.Time{Time: p.now.Add(2159 * time.Hour)}
	p.lane.See(made)
	return p, made
}

func TestACertificateWithoutRequestsIsIssuedAnew(t *testing.T) {
	p, made := blockedAndBack(t)
	made = made.DeepCopy()
	made.Annotations[v1alpha1.AnnotationConfirmed] = Confirmation{Older: made.Status.NotAfter.Time}.String()
	p.lane.See(made)
	work := p.keeping(v1alpha1.KeysCluster)
	if !work.Idle() || !work.Due.Equal(p.now.Add(askedWithin)) {
		t.Fatalf("while the request may only be late: %+v", work)
	}
	p.now = work.Due
	if work = p.keeping(v1alpha1.KeysCluster); len(work.Reissue) != 1 || !strings.Contains(work.Reissue[0].Why, "CertificateRequest is gone") {
		t.Fatalf("%+v", work)
	}
	issuing := made.DeepCopy()
	issuing.Status.Conditions = []certmanagerv1.CertificateCondition{{Type: certmanagerv1.CertificateConditionIssuing, Status: certmanagermeta.ConditionTrue}}
	p.lane.See(issuing)
	if work = p.keeping(v1alpha1.KeysCluster); !work.Idle() {
		t.Errorf("while it is issued: %+v", work)
	}
	// Of one that was issued a moment ago the request is late, not gone.
	issued := made.DeepCopy()
	issued.Status.NotBefore = &metav1.Time{Time: p.now}
	p.lane.See(issued)
	if work = p.keeping(v1alpha1.KeysCluster); !work.Idle() {
		t.Errorf("just issued: %+v", work)
	}
}

// Nobody can tell which key signed a certificate whose request is gone: it may be any, until
// it has ended or the device was seen with another.
func TestACertificateWithoutRequestsHoldsEveryKey(t *testing.T) {
	p, made := blockedAndBack(t)
	old := p.signer
	p.expect("without a request", old.Key, tally{active: 1, chaining: 1})

	p.now = p.now.Add(askedWithin)
	p.signer = root(t, "2026")
	asked := p.issued("one", 1, p.signer)
	waits := asked.DeepCopy()
	waits.Status = certmanagerv1.CertificateRequestStatus{}
	p.lane.See(waits)
	p.expect("asked anew", old.Key, tally{active: 1, chaining: 1})
	p.lane.See(asked)
	p.expect("answered", old.Key, tally{active: 1, chaining: 1})
	p.expect("answered, the new key", p.signer.Key, tally{active: 1, chaining: 1})

	p.now = slices.MaxFunc([]time.Time{made.Status.NotAfter.Time, readRequest(asked).ends()}, time.Time.Compare)
	p.now = p.now.Add(time.Second)
	if got := p.tally(old.Key).chaining; got != 0 {
		t.Errorf("when all have ended, %d may show it", got)
	}

	p.now = epoch.Add(time.Hour)
	seen := made.DeepCopy()
	seen.Annotations[v1alpha1.AnnotationConfirmed] = Confirmation{Presented: readRequest(asked).chain[0].Fingerprint(), Seen: p.now}.String()
	p.lane.See(seen)
	p.expect("seen with the new one", old.Key, tally{active: 1})
}

// A device that is taken back may show what it had before, however soon cert-manager asks for
// another: its Secret does not fit the Certificate, say.
func TestWhoIsTakenBackHoldsEveryKeyThoughAnotherIsAskedForAtOnce(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		p, made := blockedAndBack(t)
		old := p.signer
		if restarted { // what was seen is written down, and read again
			work := p.keeping(v1alpha1.KeysCluster)
			if len(work.Confirm) != 1 || !work.Confirm[0].Certificate {
				t.Fatalf("it is not written down: %+v", work)
			}
			made = made.DeepCopy()
			made.Annotations[v1alpha1.AnnotationConfirmed] = work.Confirm[0].Text
			p.lane.See(made)
			if work := p.keeping(v1alpha1.KeysCluster); !work.Idle() {
				t.Errorf("it is written down again: %+v", work)
			}
		}
		p.now = p.now.Add(10 * time.Second)
		p.signer = root(t, "2026")
		issued := p.issued("one", 1, p.signer)
		revision, next := 1, made.DeepCopy()
		next.Status.Revision, next.Status.NotBefore, next.Status.NotAfter = &revision, &metav1.Time{Time: p.now}, &metav1.Time{Time: p.now.Add(2160 * time.Hour)}
		if restarted {
			p.lane = NewLane()
		}
		p.lane.See(next)
		p.lane.See(issued)
		p.keeping(v1alpha1.KeysCluster)
		p.expect("asked for at once", old.Key, tally{active: 1, chaining: 1})

		now := p.now
		p.now = made.Status.NotAfter.Add(time.Second)
		p.expect("when that has ended", old.Key, tally{active: 1})
		p.now = now
		seen := next.DeepCopy()
		known := ConfirmationIn(next.Annotations)
		known.Presented, known.Seen = readRequest(issued).chain[0].Fingerprint(), p.now
		seen.Annotations[v1alpha1.AnnotationConfirmed] = known.String()
		p.lane.See(seen)
		p.expect("seen with the new one", old.Key, tally{active: 1})
	}
}

// Nobody is silent before his Certificate was made, whether or not a request tells of it.
func TestWhoHasNoRequestIsSilentSinceItsCertificate(t *testing.T) {
	p, made := blockedAndBack(t)
	ledger := p.lane.Ledger(desiredBy(), []Key{p.signer.Key}, p.now)[0]
	named := ledger.Keys[0].Chaining.First
	if len(named) != 1 || !named[0].Heard().Equal(made.CreationTimestamp.Time) {
		t.Errorf("named are %+v", named)
	}
}

// A device that goes back to the certificate of before, when its request is gone, may need any
// key until that certificate ends.
func TestADeviceThatWentBackHoldsEveryKey(t *testing.T) {
	for name, test := range map[string]struct {
		until time.Duration // from the epoch; zero: not written down
		at    time.Duration
		want  int
	}{
		"while that lives":            {2160 * time.Hour, 3 * time.Hour, 1},
		"when that has ended":         {2160 * time.Hour, 2160 * time.Hour, 0},
		"when nobody says when it is": {0, 3 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := fleet(t, "one")
			old, before := p.signer.Key, p.held("one")[0].chain[0]
			p.signer, p.now = root(t, "2026"), epoch.Add(time.Hour)
			p.turn()
			p.sign(nobody)
			newest := p.held("one")[1]
			p.annotate(newest.Name, v1alpha1.AnnotationConfirmed, Confirmation{Presented: newest.chain[0].Fingerprint(), Seen: p.now}.String())
			p.turn()
			if held := p.held("one"); len(held) != 1 {
				t.Fatalf("seen with the new one, it has %d requests", len(held))
			}
			p.expect("seen with the new one", old, tally{active: 1})

			p.now = p.now.Add(time.Hour)
			back := Confirmation{Presented: before.Fingerprint(), Seen: p.now}
			if test.until != 0 {
				back.PresentedUntil = epoch.Add(test.until)
			}
			p.annotate(newest.Name, v1alpha1.AnnotationConfirmed, back.String())
			p.tally(old) // counted once, it is counted anew when that ends
			p.now = epoch.Add(test.at)
			p.expect("seen with the old one", old, tally{active: 1, chaining: test.want})
		})
	}
}
