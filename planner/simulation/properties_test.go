package simulation_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// drawKeys draws a valid list of keys: exactly one signs, any other may be trusted,
// retired or not listed.
func drawKeys(t *rapid.T) []state {
	names := []string{"2025", "2026", "2027"}
	signer := rapid.IntRange(0, len(names)-1).Draw(t, "signer")
	var keys []state
	for i, name := range names {
		if i == signer {
			keys = append(keys, signing(name))
			continue
		}
		switch rapid.IntRange(0, 2).Draw(t, "state of "+name) {
		case 0:
			keys = append(keys, trusted(name))
		case 1:
			keys = append(keys, retired(name))
		}
	}
	return keys
}

// TestInvariantsHoldInDisorder: whatever is committed, whenever, with neighbours as
// slow as they like, any subset of a turn's writes carried out in any order, and the
// status lost now and then, no invariant is broken in any state on the way; and once
// the disorder ends, the world settles on what Git says.
func TestInvariantsHoldInDisorder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		world := simulation.New(rapid.Uint64().Draw(t, "seed"), fleet(signing("2025")), plant())
		world.Disorder = true
		for range rapid.IntRange(1, 4).Draw(t, "commits") {
			keys := drawKeys(t)
			world.Desired = fleet(keys...)
			world.Desired.Authorities[0].Spec.Rollover.Paused = rapid.IntRange(0, 9).Draw(t, "paused") == 0
			for range rapid.IntRange(0, 60).Draw(t, "turns") {
				if rapid.IntRange(0, 40).Draw(t, "forget") == 0 {
					world.ForgetStatus()
				}
				world.Turn()
				failOnViolation(t, world)
			}
		}
		world.Disorder = false
		world.Desired.Authorities[0].Spec.Rollover.Paused = false
		if log, err := world.Settle(400); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		failUnlessReached(t, world)
	})
}

// TestSettledWorldsAreLeftAlone: a turn over a settled world writes nothing, and
// plans the same bytes each time.
func TestSettledWorldsAreLeftAlone(t *testing.T) {
	world := simulation.New(1, fleet(signing("2025")), plant())
	if log, err := world.Settle(200); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	before := fmt.Sprintf("%+v", planner.Next(world.Desired, world.Observe(), world.Now))
	for range 100 {
		if again := fmt.Sprintf("%+v", planner.Next(world.Desired, world.Observe(), world.Now)); again != before {
			t.Fatalf("the plan changed:\n%s\n%s", before, again)
		}
		if writes := world.Pending(); len(writes) > 0 {
			t.Fatalf("a settled world is written to: %v", writes)
		}
	}
}

// TestWhatIsInUseIsNotRemoved: when Git loses every document, what somebody still
// depends on stays, and the plan says who that is.
func TestWhatIsInUseIsNotRemoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		world := simulation.New(rapid.Uint64().Draw(t, "seed"), fleet(signing("2025")), plant())
		if log, err := world.Settle(200); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		world.Disorder = true
		world.Desired = fleet(retired("2025"), signing("2026"))
		for range rapid.IntRange(0, 60).Draw(t, "turns") {
			world.Turn()
		}
		world.Desired = planner.Desired{}
		for range 40 {
			plan := world.Turn()
			failOnViolation(t, world)
			if len(plan.Holds) == 0 {
				t.Fatalf("nothing says why the bundle stays:\n%s", world.Log())
			}
		}
	})
}

func failOnViolation(t *rapid.T, world *simulation.World) {
	if broken := world.Violations(); len(broken) > 0 {
		t.Fatalf("invariant broken: %s\n%s", broken[0], world.Log())
	}
}

// failUnlessReached compares the keys that are left, and what they do, with Git.
func failUnlessReached(t *rapid.T, world *simulation.World) {
	left := map[string]bool{}
	observed := world.Observe()
	for _, key := range observed.Keys {
		left[key.Name] = true
	}
	signer := ""
	for _, key := range world.Desired.Authorities[0].Spec.Keys {
		if key.State == v1alpha1.KeySigning {
			signer = key.Name
		}
		if wanted := key.State != v1alpha1.KeyRetired; wanted != left[key.Name] {
			t.Fatalf("key %s is %s in Git, and there: %v\n%s", key.Name, key.State, left[key.Name], world.Log())
		}
		delete(left, key.Name)
	}
	if len(left) > 0 {
		t.Fatalf("keys that Git does not list are still there: %v\n%s", left, world.Log())
	}
	for _, issuer := range observed.Issuers {
		if want := planner.KeyObjectName("fleet-root", signer); issuer.SecretName != want {
			t.Fatalf("issuer %s signs with %s, not with %s", issuer.Ref, issuer.SecretName, want)
		}
	}
}

// TestRevertWhileTheBundleShrinks: Git goes back to a key while the Bundle without its
// anchor is on its way to the copies. Copies that still hold it are no reason to sign
// with it.
func TestRevertWhileTheBundleShrinks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		world := simulation.New(rapid.Uint64().Draw(t, "seed"), fleet(signing("2025")), plant())
		if log, err := world.Settle(200); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		world.Desired = fleet(retired("2025"), signing("2026"))
		for !shrinking(world) {
			world.Turn()
			failOnViolation(t, world)
		}
		world.Disorder = true
		world.Desired = fleet(signing("2025"))
		for range 60 {
			world.Turn()
			failOnViolation(t, world)
		}
		world.Disorder = false
		if log, err := world.Settle(400); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
	})
}

// shrinking reports whether a Bundle has lost an anchor that its copies still hold.
func shrinking(world *simulation.World) bool {
	observed := world.Observe()
	for _, standing := range observed.Bundles {
		for _, held := range observed.Copies {
			if held.Bundle == standing.Name && len(held.Anchors.Minus(standing.Anchors)) > 0 {
				return true
			}
		}
	}
	return false
}
