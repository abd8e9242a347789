package simulation_test

import (
	"testing"

	"pgregory.net/rapid"
)

// TestEmergency: a key of any authority is compromised, in the middle of whatever. Whoever is
// cut off was named before (that is asked after every write), and in the end nobody trusts
// the thief, everybody accepts everybody again, and nothing is left of the key.
func TestEmergency(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := settledSite(t, alone(), rapid.Bool().Draw(t, "record"))
		world.Disorder = rapid.Bool().Draw(t, "disorder")
		keys := site.first()
		if rapid.Bool().Draw(t, "another rollover is under way") {
			keys = site.keysTo("k3")
			world.Desired = site.desired(keys)
			for range rapid.IntRange(0, 60).Draw(t, "turns before") {
				world.Turn()
				failOnViolation(t, world)
			}
		}
		thieves := rapid.SliceOfNDistinct(rapid.SampledFrom(site.authorities), 1, len(site.authorities), rapid.ID).Draw(t, "stolen")
		for _, name := range thieves {
			keys[name] = []state{compromised("k1"), retired("k3"), signing("k2")}
		}
		world.Desired = site.desired(keys)
		for range rapid.IntRange(0, 60).Draw(t, "turns") {
			if rapid.IntRange(0, 20).Draw(t, "forget") == 0 {
				world.ForgetStatus()
			}
			world.Turn()
			failOnViolation(t, world)
		}
		world.Disorder = false
		settle(t, world)
		failUnlessReached(t, world)
		if who := world.StillTrusted(); len(who) > 0 {
			t.Fatalf("trust the thief in the end: %v\n%s", who, world.Log())
		}
		if refused := world.RefusedNow(); len(refused) > 0 {
			t.Fatalf("do not accept each other in the end: %v\n%s", refused, world.Log())
		}
	})
}
