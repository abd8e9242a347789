package simulation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// leafOf is a leaf of the world as it is presented.
func leafOf(t *testing.T, world *simulation.World) []pki.Certificate {
	t.Helper()
	return world.Observe().Leaves[0].Chain
}

// Whoever slept through three rollovers is let in by the links of all of them, and by none
// that ended meanwhile.
func TestLinksCompose(t *testing.T) {
	world := settledIn(t, fleet(signing("2024")))
	world.KeepRecord()
	var anchors []pki.Certificate
	anchors = append(anchors, world.Secret(rootKey("2024")))
	for _, commit := range []planner.Desired{
		fleet(retired("2024"), signing("2025")),
		fleet(retired("2024"), retired("2025"), signing("2026")),
		fleet(retired("2025"), retired("2026"), signing("2027")),
	} {
		world.Desired = commit
		if log, err := world.Settle(200); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		keys := commit.Authorities[0].Spec.Keys
		anchors = append(anchors, world.Secret(rootKey(keys[len(keys)-1].Name)))
	}
	if left := world.Observe().Links; len(left) > 0 {
		t.Errorf("requests of links are left: %v", left)
	}
	for missed, anchor := range anchors {
		bridges := world.Record().LinksTo(anchor, world.Now)
		if missed == len(anchors)-1 {
			if len(bridges) > 0 {
				t.Errorf("who knows the root that signs is given %v", bridges)
			}
			continue
		}
		if len(bridges) != 1 || bridges[0].Root.Name != "2027" || len(bridges[0].Links) != len(anchors)-1-missed {
			t.Fatalf("to %s there are the bridges %v", anchor, bridges)
		}
		alone, leaf := pki.NewAnchors(anchor), leafOf(t, world)
		if err := pki.Verify(slices.Concat(leaf, bridges[0].Links), alone, world.Now); err != nil {
			t.Errorf("who knows %s alone: %v", anchor, err)
		}
		if pki.Verify(leaf, alone, world.Now) == nil {
			t.Errorf("who knows %s alone needs no link", anchor)
		}
		if late := world.Record().LinksTo(anchor, anchor.NotAfter().Add(time.Second)); len(late) > 0 {
			t.Errorf("after %s has ended there are the bridges %v", anchor, late)
		}
	}
}

func rootKey(key string) planner.Ref {
	return planner.Ref{Namespace: "cert-manager", Name: planner.KeyObjectName("fleet-root", key)}
}

// settledIn is a world that has come to what is desired.
func settledIn(t *testing.T, desired planner.Desired) *simulation.World {
	t.Helper()
	world := simulation.New(1, desired, plant())
	world.KeepRecord()
	if log, err := world.Settle(200); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	return world
}

// A link that is refused holds Retire and nothing before it, is asked for rarely, and ends
// the hold when it comes.
func TestARefusedLinkHoldsRetireAlone(t *testing.T) {
	world := settledIn(t, fleet(signing("2025")))
	world.Stuck = map[string]bool{"link 2026": true}
	world.Desired = fleet(retired("2025"), signing("2026"))
	asked := 0
	var plan planner.Plan
	for range 300 {
		plan = world.Turn()
		for _, action := range plan.Actions {
			if action.Kind == planner.ActionLink {
				asked++
			}
		}
	}
	hold := planner.Hold{}
	if holds := plan.Rollovers[0].Holds; len(holds) == 1 {
		hold = holds[0]
	}
	if plan.Rollovers[0].Phase != planner.Retire || hold.Gate != "link" || hold.Subject != "anchors/fleet-root/links/2026.2025.pem" {
		t.Fatalf("the plan is %v, with %v", plan.Rollovers[0], plan.Rollovers[0].Holds)
	}
	if most := int(300*10*time.Second/(10*time.Minute)) + 1; asked > most {
		t.Errorf("in 50m it was asked for %d times, more than %d", asked, most)
	}
	world.Stuck = nil
	if log, err := world.Settle(200); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if bridges := world.Record().LinksTo(world.Record().Keys[0].Certificate, world.Now); len(bridges) != 1 {
		t.Errorf("to 2025 there are the bridges %v", bridges)
	}
}
