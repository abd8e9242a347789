package simulation_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// brought declares one root of these keys, each "<name> <state>", from where they come.
func brought(via v1alpha1.BundleVia, keys ...v1alpha1.AuthorityKey) planner.Desired {
	desired := fleet()
	desired.Authorities[0].Spec.Subject = v1alpha1.Subject{}
	desired.Authorities[0].Spec.Keys = keys
	desired.Bundles[0].Spec.Via = via
	return desired
}

func as(key v1alpha1.AuthorityKey, name string, state v1alpha1.KeyState) v1alpha1.AuthorityKey {
	key.Name, key.State = name, state
	return key
}

func secretOf(name string) planner.Ref { return planner.Ref{Namespace: "cert-manager", Name: name} }

// TestNarrativesOfOutside runs rollovers of keys from elsewhere to their ends, and compares
// what happened, and why, with logs that a person has read.
func TestNarrativesOfOutside(t *testing.T) {
	outside := simulation.NewOutside()
	inSecret := func(year string) v1alpha1.AuthorityKey {
		return outside.InSecret("Plant "+year, secretOf("plant-ca-"+year))
	}
	behindOne := func(year string) v1alpha1.AuthorityKey { return outside.Behind("acme-" + year) }
	root := func(year string) v1alpha1.AuthorityKey { return outside.Offline("Safe " + year) }
	under := func(year string) v1alpha1.AuthorityKey {
		return outside.Under("Issuing "+year, root(year), secretOf("issuing-"+year))
	}
	safe := func(roots, keys []v1alpha1.AuthorityKey) planner.Desired {
		desired := chain(nil, nil)
		desired.Authorities[0].Spec.Keys, desired.Authorities[1].Spec.Keys = keys, roots
		desired.Bundles[0].Spec.Via = v1alpha1.ViaObserved
		return desired
	}
	tests := map[string][]planner.Desired{
		"outside-in-a-secret": {
			brought(v1alpha1.ViaConfigMap, as(inSecret("2025"), "2025", v1alpha1.KeySigning)),
			brought(v1alpha1.ViaConfigMap, as(inSecret("2025"), "2025", v1alpha1.KeyRetired), as(inSecret("2026"), "2026", v1alpha1.KeySigning)),
			brought(v1alpha1.ViaConfigMap, as(inSecret("2026"), "2026", v1alpha1.KeySigning)),
		},
		"outside-behind-an-issuer": {
			brought(v1alpha1.ViaBundle, as(behindOne("2025"), "2025", v1alpha1.KeySigning)),
			brought(v1alpha1.ViaBundle, as(behindOne("2025"), "2025", v1alpha1.KeyRetired), as(behindOne("2026"), "2026", v1alpha1.KeySigning)),
		},
		"outside-offline-root": {
			safe([]v1alpha1.AuthorityKey{as(root("2025"), "2025", v1alpha1.KeySigning)}, []v1alpha1.AuthorityKey{as(under("2025"), "a", v1alpha1.KeySigning)}),
			safe(
				[]v1alpha1.AuthorityKey{as(root("2025"), "2025", v1alpha1.KeyRetired), as(root("2026"), "2026", v1alpha1.KeySigning)},
				[]v1alpha1.AuthorityKey{as(under("2025"), "a", v1alpha1.KeyRetired), as(under("2026"), "b", v1alpha1.KeySigning)},
			),
		},
	}
	for name, commits := range tests {
		t.Run(name, func(t *testing.T) {
			world := simulation.New(1, commits[0], plant())
			world.KeepRecord()
			world.Join(outside)
			for _, commit := range commits {
				world.Desired = commit
				world.Say("commit")
				if log, err := world.Settle(400); err != nil {
					t.Fatalf("%v\n%s", err, log)
				}
			}
			golden.File(t, filepath.Join("testdata", name+".log"), world.Log())
		})
	}
}

// settleOutside settles a world of one root from elsewhere.
func settleOutside(t *testing.T, outside *simulation.Outside, desired planner.Desired) *simulation.World {
	t.Helper()
	world := simulation.New(1, desired, plant())
	world.KeepRecord()
	world.Join(outside)
	if log, err := world.Settle(400); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	return world
}

// takeSafeTurns takes turns in which nothing may break, and returns the last plan.
func takeSafeTurns(t *testing.T, world *simulation.World, turns int) planner.Plan {
	t.Helper()
	var plan planner.Plan
	for range turns {
		plan = world.Turn()
		if broken := world.Violations(); len(broken) > 0 {
			t.Fatalf("%s\n%s", broken[0], world.Log())
		}
	}
	return plan
}

// TestSecretThatIsNotWhatGitSays: a Secret whose key is not that of the certificate in Git
// is named, and no bundle hears of the one and no issuer of the other.
func TestSecretThatIsNotWhatGitSays(t *testing.T) {
	outside := simulation.NewOutside()
	first := as(outside.InSecret("Plant 2025", secretOf("plant-ca-2025")), "2025", v1alpha1.KeySigning)
	world := settleOutside(t, outside, brought(v1alpha1.ViaConfigMap, first))
	before := world.Observe()
	outside.InSecret("Somebody", secretOf("plant-ca-2026"))
	world.Join(outside)
	wrong := as(outside.Offline("Plant 2026"), "2026", v1alpha1.KeySigning)
	wrong.Secret = &v1alpha1.SecretReference{Name: "plant-ca-2026"}
	first.State = v1alpha1.KeyRetired
	world.Desired = brought(v1alpha1.ViaConfigMap, first, wrong)
	plan := takeSafeTurns(t, world, 100)
	if phaseOf(plan, "fleet-root") != planner.Introduce || !named(plan, "it does not hold the key of Plant 2026") || !named(plan, "Secret cert-manager/plant-ca-2026") {
		t.Fatalf("at %s: %v", phaseOf(plan, "fleet-root"), holdsOf(plan))
	}
	after := world.Observe()
	for i, copied := range after.Copies {
		if !copied.Anchors.Equal(before.Copies[i].Anchors) {
			t.Errorf("the copy in %s was changed", copied.Namespace)
		}
	}
	if after.Issuers[0].SecretName != before.Issuers[0].SecretName {
		t.Errorf("the issuer was moved to %s", after.Issuers[0].SecretName)
	}
	for _, recorded := range world.Record().Keys {
		if recorded.Name == "2026" {
			t.Error("what nothing has shown is on record")
		}
	}
}

// TestIssuerThatSignsAsAnother: an external issuer whose CA changed behind everyone's back
// is found out by the first leaf that it signs, and by that alone; it is asked again an hour
// later, and no sooner.
func TestIssuerThatSignsAsAnother(t *testing.T) {
	outside := simulation.NewOutside()
	first := as(outside.Behind("acme-2025"), "2025", v1alpha1.KeySigning)
	second := as(outside.Behind("acme-2026"), "2026", v1alpha1.KeySigning)
	stranger := outside.Behind("somebody")
	world := settleOutside(t, outside, brought(v1alpha1.ViaBundle, first))
	world.Redirect(second, stranger)
	first.State = v1alpha1.KeyRetired
	world.Desired = brought(v1alpha1.ViaBundle, first, second)
	var plan planner.Plan
	for range 200 {
		plan = world.Turn()
	}
	strange := 0
	for _, leaf := range world.Observe().Leaves {
		if strings.Contains(leaf.Chain[len(leaf.Chain)-1].CommonName(), "somebody") {
			strange++
		}
	}
	if strange != 1 || !alarmed(plan, "came back signed by") {
		t.Fatalf("%d leaves are a stranger's; holds %v", strange, holdsOf(plan))
	}
	if asked := strings.Count(world.Log(), "does Reissue"); asked != 2 {
		t.Errorf("leaves were asked for %d times in half an hour\n%s", asked, world.Log())
	}
}

func alarmed(plan planner.Plan, why string) bool {
	for _, hold := range holdsOf(plan) {
		if hold.Alarm && strings.Contains(hold.Why, why) {
			return true
		}
	}
	return false
}

// TestStrangerInOneCopyDoesNotSpread: what somebody writes into one copy of a bundle that
// reanchor writes itself is taken out again, and gets nowhere else.
func TestStrangerInOneCopyDoesNotSpread(t *testing.T) {
	outside := simulation.NewOutside()
	first := as(outside.InSecret("Plant 2025", secretOf("plant-ca-2025")), "2025", v1alpha1.KeySigning)
	world := settleOutside(t, outside, brought(v1alpha1.ViaConfigMap, first))
	world.Smuggle("workload", "fleet-trust", outside.Offline("Mallory"))
	for range 5 {
		world.Turn()
	}
	for _, copied := range world.Observe().Copies {
		if len(copied.Anchors) != 1 || copied.Anchors[0].CommonName() != "Plant 2025" {
			t.Errorf("the copy in %s holds %v", copied.Namespace, copied.Anchors)
		}
	}
}
