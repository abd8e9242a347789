package simulation_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// ranBefore is a world that was there before reanchor was, described as it stands.
func ranBefore(t *testing.T, outside *simulation.Outside, desired planner.Desired) *simulation.World {
	t.Helper()
	world := settleOutside(t, outside, desired)
	world.RanBefore()
	return world
}

// TestAdoption: a cluster that ran before is taken over without anything new in it, and
// nobody is issued anything or restarted; then it rolls over to a key that is made here.
func TestAdoption(t *testing.T) {
	outside := simulation.NewOutside()
	old := as(outside.InSecret("Plant 2025", secretOf("plant-ca")), "2025", v1alpha1.KeySigning)
	world := ranBefore(t, outside, brought(v1alpha1.ViaBundle, old))
	before := world.Observe()
	for range 20 {
		plan := takeSafeTurns(t, world, 1)
		if len(plan.Target.Keys) > 0 || slices.ContainsFunc(plan.Actions, func(a planner.Action) bool { return a.Kind != planner.ActionProve }) {
			t.Fatalf("target %+v, actions %v", plan.Target.Keys, plan.Actions)
		}
	}
	expectSameLeaves(t, before, world.Observe())
	old.State = v1alpha1.KeyRetired
	next := fleet(state{"2026", v1alpha1.KeySigning})
	next.Authorities[0].Spec.Keys = append([]v1alpha1.AuthorityKey{old}, next.Authorities[0].Spec.Keys...)
	world.Desired = next
	world.Say("commit")
	if log, err := world.Settle(400); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if world.Secret(secretOf("plant-ca")).IsZero() {
		t.Error("the Secret that was there before is gone")
	}
	golden.File(t, filepath.Join("testdata", "adopted.log"), world.Log())
}

func expectSameLeaves(t *testing.T, before, now planner.Observed) {
	t.Helper()
	for i, leaf := range before.Leaves {
		if !slices.EqualFunc(leaf.Chain, now.Leaves[i].Chain, pki.Certificate.Equal) {
			t.Errorf("%s was issued anew", leaf.Ref)
		}
	}
}

// TestAnIntermediateUnderAnAdoptedRoot: a key that is made here under a root that was there
// before needs the root's own issuer, and only then is it made.
func TestAnIntermediateUnderAnAdoptedRoot(t *testing.T) {
	outside := simulation.NewOutside()
	root := as(outside.InSecret("Plant 2025", secretOf("plant-ca")), "2025", v1alpha1.KeySigning)
	desired := brought(v1alpha1.ViaBundle, root)
	world := ranBefore(t, outside, desired)
	if plan := takeSafeTurns(t, world, 10); len(plan.Target.Keys) > 0 {
		t.Fatalf("target %+v", plan.Target.Keys)
	}
	child := issuing("fleet-issuing", "", "fleet-root", keys(state{"a", v1alpha1.KeySigning})...)
	world.Desired.Authorities = append([]v1alpha1.Authority{child}, world.Desired.Authorities...)
	world.Desired.Bindings = append(slices.Clone(world.Desired.Bindings), binding("issuing", "fleet-issuing"))
	world.Say("commit")
	if log, err := world.Settle(400); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	made := world.Observe().Keys
	if !slices.ContainsFunc(made, func(k planner.Key) bool { return k.Name == "a.2025" && k.Issued }) ||
		!slices.ContainsFunc(made, func(k planner.Key) bool { return k.Name == "2025" && k.HasIssuer }) {
		t.Errorf("keys %+v", made)
	}
}
