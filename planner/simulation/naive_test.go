package simulation

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var (
	rootRef   = planner.Ref{Namespace: "cert-manager", Name: "fleet-root"}
	issuerRef = planner.Ref{Name: "fleet"}
	brokerRef = planner.Ref{Namespace: "operations", Name: "broker"}
	clientRef = planner.Ref{Namespace: "operations", Name: "client"}
)

func objectOf(key string) planner.Ref {
	return planner.Ref{Namespace: rootRef.Namespace, Name: planner.KeyObjectName(rootRef.Name, key)}
}

// rolling is a world in which 2025 signs, a broker presents a leaf and verifies, a
// client verifies, and 2026 is committed to take over.
func rolling(t *testing.T) *World {
	t.Helper()
	trust := []planner.Mount{{Name: "fleet-trust", Kind: planner.MountVolume}}
	w := New(1, planner.Desired{
		Authorities: []v1alpha1.Authority{{
			Metadata: v1alpha1.Metadata{Name: rootRef.Name, Namespace: rootRef.Namespace},
			Spec: v1alpha1.AuthoritySpec{
				Subject:  v1alpha1.Subject{CommonName: "Fleet Root"},
				Duration: &metav1.Duration{Duration: 87600 * time.Hour},
				Keys:     []v1alpha1.AuthorityKey{{Name: "2025", State: v1alpha1.KeySigning}},
			},
		}},
		Bindings: []v1alpha1.IssuerBinding{{Metadata: v1alpha1.Metadata{Name: "fleet"}, Spec: v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: rootRef.Name}}},
		Bundles:  []v1alpha1.TrustBundle{{Metadata: v1alpha1.Metadata{Name: "fleet-trust"}, Spec: v1alpha1.TrustBundleSpec{Authorities: []string{rootRef.Name}}}},
	}, Users{
		Namespaces: []string{"operations"},
		Leaves:     []planner.Leaf{{Ref: brokerRef, Issuer: issuerRef, SecretName: "broker-tls"}},
		Workloads: []planner.Workload{
			{Ref: brokerRef, Bundles: trust, Secrets: []planner.Mount{{Name: "broker-tls", Kind: planner.MountVolume}}},
			{Ref: clientRef, Bundles: trust},
		},
	})
	w.KeepRecord()
	if log, err := w.Settle(200); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	w.commit(v1alpha1.KeyRetired)
	return w
}

// commit lets 2026 sign and gives 2025 a state.
func (w *World) commit(old v1alpha1.KeyState) {
	w.Desired.Authorities[0].Spec.Keys = []v1alpha1.AuthorityKey{{Name: "2025", State: old}, {Name: "2026", State: v1alpha1.KeySigning}}
}

// reach lets the planner go on until a phase holds it with that gate, and carries
// out nothing of that turn.
func (w *World) reach(t *testing.T, phase planner.Phase, gate string) {
	t.Helper()
	for range 200 {
		rollover := planner.Next(w.Desired, w.Observe(), w.Now).Rollovers[0]
		if rollover.Phase == phase && len(rollover.Holds) > 0 && rollover.Holds[0].Gate == gate {
			return
		}
		w.Turn()
	}
	t.Fatalf("%s is never held by %s:\n%s", phase, gate, w.Log())
}

// wait lets the neighbours act, as somebody who sleeps for a while does.
func (w *World) wait(turns int) {
	for range turns {
		w.Now = w.Now.Add(tick)
		w.neighbours()
		w.checkPairs()
	}
}

// rewrite makes the bundle hold the certificates of these keys and no others.
func (w *World) rewrite(keys ...string) {
	next := standing(w.bundles["fleet-trust"])
	next.Anchors = nil
	for _, key := range keys {
		next.Anchors = next.Anchors.Union(pki.NewAnchors(w.secrets[objectOf(key)].certificate))
	}
	carryOut(w.bundleWrites([]planner.TargetBundle{next}))
}

func carryOut(writes []write) {
	for _, write := range writes {
		write.do()
	}
}

func (w *World) pointTo(key string) {
	w.point(issuerRef, issuer{authority: rootRef, secretName: objectOf(key).Name})
}

func (w *World) restartNow(ref planner.Ref, digest string) {
	w.act(planner.Action{Kind: planner.ActionRestart, Workload: "Deployment", Subject: ref, BundleDigest: digest})
}

// TestNaiveRolloversAreCaught proves that the simulation bites: each of these does what
// some script or controller in the field does, and the invariant that it breaks says so.
func TestNaiveRolloversAreCaught(t *testing.T) {
	for name, test := range map[string]struct {
		drive func(t *testing.T, w *World)
		want  string // how the violation begins
	}{
		"switches to a key that was never made": {
			func(_ *testing.T, w *World) { w.pointTo("2026") },
			"trust before use: an issuer moves to fleet-root-2026, of which there is no Secret",
		},
		"switches as soon as the key is there": {
			func(t *testing.T, w *World) {
				w.reach(t, planner.Distribute, "copies")
				w.pointTo("2026")
			},
			"trust before use: an issuer moves to fleet-root-2026, which the copy of fleet-trust in operations does not hold",
		},
		"writes the bundle, sleeps, and switches": {
			func(t *testing.T, w *World) {
				w.reach(t, planner.Distribute, "copies")
				w.rewrite("2025", "2026")
				w.wait(60)
				w.pointTo("2026")
			},
			"trust before use: an issuer moves to fleet-root-2026, which pod 0 of Deployment operations/broker has not loaded",
		},
		"deletes the Secret, for cert-manager to make another key, and renews the leaves": {
			func(_ *testing.T, w *World) {
				delete(w.secrets, objectOf("2025"))
				w.leaves[brokerRef].issuing = true
				w.wait(1)
			},
			"pairwise safety: pod 0 of Deployment operations/broker refuses Certificate operations/broker",
		},
		"lets the bundle follow the signing key": {
			func(t *testing.T, w *World) {
				w.commit(v1alpha1.KeyTrusted)
				w.reach(t, planner.Reissue, "leaf")
				w.rewrite("2026")
			},
			"bundles only grow: fleet-trust loses Fleet Root 2025",
		},
		"takes the old anchor out when signing has moved": {
			func(t *testing.T, w *World) {
				w.reach(t, planner.Reissue, "leaf")
				w.rewrite("2026")
			},
			"drain before retire: fleet-trust loses {Fleet Root 2025} while Certificate operations/broker needs it",
		},
		"takes the old anchor out when leaves are reissued, and nobody has loaded them": {
			func(t *testing.T, w *World) {
				w.reach(t, planner.Reissue, "reload")
				w.rewrite("2026")
			},
			"drain before retire: fleet-trust loses {Fleet Root 2025} while pod 2 of Deployment operations/broker needs it",
		},
		"deletes the old Secret before its Certificate": {
			func(t *testing.T, w *World) {
				w.reach(t, planner.Reissue, "reload")
				w.act(planner.Action{Kind: planner.ActionDeleteSecret, Subject: objectOf("2025")})
			},
			"drain before retire: Secret cert-manager/fleet-root-2025 is deleted while its Certificate is there",
		},
		"deletes the Secret that an issuer signs with": {
			func(_ *testing.T, w *World) {
				delete(w.cas, objectOf("2025"))
				w.act(planner.Action{Kind: planner.ActionDeleteSecret, Subject: objectOf("2025")})
			},
			"drain before retire: Secret cert-manager/fleet-root-2025 is deleted while issuer fleet signs with it",
		},
		"restarts everyone at once": {
			func(t *testing.T, w *World) {
				w.reach(t, planner.Distribute, "reload")
				w.restartNow(brokerRef, "new")
				w.restartNow(clientRef, "new")
			},
			"restarts are bounded: Deployment operations/client is restarted while Deployment operations/broker is rolling",
		},
		"restarts before the copies are there": {
			func(t *testing.T, w *World) {
				w.reach(t, planner.Distribute, "copies")
				w.rewrite("2025", "2026")
				w.restartNow(brokerRef, "new")
			},
			"restarts are bounded: Deployment operations/broker is restarted before its copy of fleet-trust is current",
		},
		"retires the old anchor, and forgets who was away": {
			func(t *testing.T, w *World) {
				w.Stuck = map[string]bool{"link 2026": true}
				w.reach(t, planner.Retire, "link")
				w.rewrite("2026")
			},
			"link before retire: fleet-trust loses Fleet Root 2025",
		},
		"prunes a bundle that Git lost": {
			func(_ *testing.T, w *World) { carryOut(w.bundleWrites(nil)) },
			"drain before retire: Bundle fleet-trust is deleted while pod 0 of Deployment operations/broker verifies with it",
		},
		"prunes an issuer that Git lost": {
			func(_ *testing.T, w *World) { carryOut(w.issuerWrites(nil)) },
			"drain before retire: issuer fleet is deleted while Certificate operations/broker refers to it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := rolling(t)
			test.drive(t, w)
			if broken := w.Violations(); len(broken) == 0 || !strings.HasPrefix(broken[0].String(), test.want) {
				t.Errorf("the violations are\n\t%v\nwant first\n\t%s", broken, test.want)
			}
		})
	}
}

// TestThePlannerIsNotCaught: from the same world, the planner gets to the same end, and
// breaks nothing.
func TestThePlannerIsNotCaught(t *testing.T) {
	w := rolling(t)
	if log, err := w.Settle(200); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if len(w.secrets) != 1 || w.secrets[objectOf("2026")] == nil {
		t.Errorf("the keys that are left are %v, want 2026 alone", sortedKeys(w.secrets))
	}
}

func standing(b planner.Bundle) planner.TargetBundle {
	return planner.TargetBundle{Name: b.Name, Anchors: b.Anchors, Target: b.Target}
}
