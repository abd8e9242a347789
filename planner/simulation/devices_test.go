package simulation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// withDevices are the shapes that have any.
func withDevices() []shape {
	return slices.DeleteFunc(slices.Clone(shapes), func(s shape) bool { return len(s.groups) == 0 })
}

// TestSilentDeviceHoldsRetire: a device that is silent holds the old root for as long as it
// takes, by name; nothing that it trusts or presents breaks. Waived in Git, it is retired
// over, and named as one who drops; or it comes back, and nobody drops.
func TestSilentDeviceHoldsRetire(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := settledSite(t, withDevices(), rapid.Bool().Draw(t, "record"))
		for range 5 { // every device comes by once
			world.Turn()
		}
		world.Silent = map[string]bool{"sensors/0": true}
		world.Desired = site.desired(site.keysTo("k2"))
		world.Disorder = rapid.Bool().Draw(t, "disorder")
		named := false
		for range rapid.IntRange(100, 200).Draw(t, "turns of silence") {
			named = names(world.Turn(), "DeviceGroup sensors", "0 (seen at ") || named
			failOnViolation(t, world)
		}
		for world.Disorder = false; !named && len(world.Violations()) == 0; {
			plan := world.Turn()
			named = names(plan, "DeviceGroup sensors", "0 (seen at ")
			if len(plan.Rollovers) == 0 || world.Now.Sub(simulation.Epoch) > 3*time.Hour {
				break
			}
		}
		if !named {
			t.Fatalf("the silent device is not named:\n%s", world.Log())
		}
		waived := rapid.Bool().Draw(t, "waived")
		if waived {
			world.Desired.Authorities[0].Spec.Rollover.Waivers = []v1alpha1.Waiver{{Key: "k1", Devices: []string{"sensors/0"}, Reason: "scrapped"}}
		} else {
			world.Silent = nil
		}
		drops := map[string]bool{}
		world.Disorder = false
		for range 200 {
			for _, drop := range world.Turn().Drops {
				drops[drop.Who] = true
			}
			failOnViolation(t, world)
		}
		settle(t, world)
		failUnlessReached(t, world)
		if waived && !drops["Device sensors/0"] {
			t.Fatalf("it is retired over, and said to drop are %v\n%s", drops, world.Log())
		}
	})
}

// names reports whether a hold of the plan has that subject and that text.
func names(plan planner.Plan, subject, text string) bool {
	return slices.ContainsFunc(plan.Rollovers, func(r planner.Rollover) bool {
		return slices.ContainsFunc(r.Holds, func(h planner.Hold) bool { return h.Subject == subject && strings.Contains(h.Why, text) })
	})
}

// TestDeviceThatEnrolsInTheMiddle gets both anchors, whenever it comes (invariant 17).
func TestDeviceThatEnrolsInTheMiddle(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := settledSite(t, withDevices(), false)
		world.Desired = site.desired(site.keysTo("k2"))
		for n := range rapid.IntRange(0, 40).Draw(t, "turns before") {
			if rapid.IntRange(0, 5).Draw(t, "enrols") == 0 {
				world.Enrol(simulation.Device{Group: "sensors", Name: fmt.Sprintf("late-%d", n)})
			}
			world.Turn()
			failOnViolation(t, world)
		}
		settle(t, world)
		failUnlessReached(t, world)
	})
}
