package policies_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
	"github.com/reanchor/reanchor/policies"
)

// rolling declares a root and an intermediate below it, each with such keys.
func rolling(rootKeys, issuingKeys []v1alpha1.AuthorityKey) planner.Desired {
	authority := func(name string, keys []v1alpha1.AuthorityKey) v1alpha1.Authority {
		a := v1alpha1.Authority{
			Metadata: v1alpha1.Metadata{Name: name, Namespace: "cert-manager"},
			Spec: v1alpha1.AuthoritySpec{
				Subject: v1alpha1.Subject{CommonName: name}, PrivateKey: v1alpha1.PrivateKey{Algorithm: v1alpha1.Ed25519},
				Keys: keys, Rollover: v1alpha1.Rollover{Soak: &metav1.Duration{Duration: time.Minute}},
			},
		}
		a.Default()
		return a
	}
	issuing := authority("issuing", issuingKeys)
	issuing.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: "root"}
	issuing.Spec.Duration = &metav1.Duration{Duration: 43800 * time.Hour}
	binding := func(name, authority string) v1alpha1.IssuerBinding {
		return v1alpha1.IssuerBinding{Metadata: v1alpha1.Metadata{Name: name}, Spec: v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: authority}}
	}
	return planner.Desired{
		Authorities: []v1alpha1.Authority{issuing, authority("root", rootKeys)},
		Bindings:    []v1alpha1.IssuerBinding{binding("direct", "root"), binding("fleet", "issuing")},
		Bundles: []v1alpha1.TrustBundle{{Metadata: v1alpha1.Metadata{Name: "trust"}, Spec: v1alpha1.TrustBundleSpec{
			Authorities: []string{"root"}, Via: v1alpha1.ViaBundle, Target: v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}},
		}}},
	}
}

func users() simulation.Users {
	leaf := func(name, issuer string) planner.Leaf {
		return planner.Leaf{Ref: planner.Ref{Namespace: "plant", Name: name}, Issuer: planner.Ref{Name: issuer}, SecretName: name}
	}
	mounts := func(name string) []planner.Mount { return []planner.Mount{{Name: name, Kind: planner.MountVolume}} }
	return simulation.Users{
		Namespaces: []string{"plant"},
		Leaves:     []planner.Leaf{leaf("broker", "fleet"), leaf("press", "direct")},
		Workloads: []planner.Workload{
			{Kind: "Deployment", Ref: planner.Ref{Namespace: "plant", Name: "broker"}, Bundles: mounts("trust"), Secrets: mounts("broker")},
			{Kind: "Deployment", Ref: planner.Ref{Namespace: "plant", Name: "press"}, Bundles: mounts("trust"), Secrets: mounts("press")},
		},
	}
}

// The guards stand beside the planner and are not in its way: of all that it plans from the
// first key to the retired one, of a root and of an intermediate, they deny nothing, whatever
// is lost or late.
func TestGuardsLetThePlannerWork(t *testing.T) {
	key := func(name string, state v1alpha1.KeyState) v1alpha1.AuthorityKey {
		return v1alpha1.AuthorityKey{Name: name, State: state}
	}
	before := rolling([]v1alpha1.AuthorityKey{key("2025", v1alpha1.KeySigning)}, []v1alpha1.AuthorityKey{key("a", v1alpha1.KeySigning)})
	after := rolling(
		[]v1alpha1.AuthorityKey{key("2025", v1alpha1.KeyRetired), key("2026", v1alpha1.KeySigning)},
		[]v1alpha1.AuthorityKey{key("a", v1alpha1.KeyRetired), key("b", v1alpha1.KeySigning)},
	)
	emergency := rolling(
		[]v1alpha1.AuthorityKey{key("2025", v1alpha1.KeyCompromised), key("2026", v1alpha1.KeySigning)},
		[]v1alpha1.AuthorityKey{key("a", v1alpha1.KeySigning)},
	)
	for name, goal := range map[string]planner.Desired{"a rollover": after, "an emergency": emergency} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) { roll(t, seed, before, goal) })
		}
	}
}

// roll goes from one end state to another, and ends when the old keys are gone.
func roll(t *testing.T, seed uint64, before, goal planner.Desired) {
	t.Helper()
	const begins, ends = 100, 1500
	w := simulation.New(seed, before, users())
	w.KeepRecord()
	w.Disorder = seed > 0
	for turn := range ends {
		if turn == begins {
			w.Desired = goal
		}
		judge(t, w)
		w.Turn()
		if turn > begins && len(w.Observe().Keys) == 2 {
			return
		}
	}
	t.Fatal("the old keys are not gone")
}

// judge holds what the planner would do now against the rules about what stands.
func judge(t *testing.T, w *simulation.World) {
	t.Helper()
	observed := w.Observe()
	input := policies.Input{Plan: planner.Next(w.Desired, observed, w.Now), Observed: observed, Now: w.Now}
	for i := range w.Desired.Authorities {
		input.Documents = append(input.Documents, &w.Desired.Authorities[i])
	}
	for _, violation := range policies.Denied(policies.Check(input)) {
		if violation.Rule != policies.RuleAnchorChanged { // there are no manifests
			t.Fatal(violation)
		}
	}
}
