package simulation_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// stormy runs a random site through random commits, each somewhere in the middle of what
// the one before began, with neighbours as slow as they like, stale and refused
// observations, any subset of a turn's writes carried out in any order, and the status
// lost now and then. It asks after every turn, and returns the world when the storm is
// over: nothing has settled.
func stormy(t *rapid.T, ask func(*simulation.World)) (*simulation.World, shape) {
	site := rapid.SampledFrom(shapes).Draw(t, "shape")
	users := site.drawUsers(t)
	world := site.world(t, users)
	if rapid.Bool().Draw(t, "record") {
		world.KeepRecord()
	}
	site.care = site.drawCare(t, users)
	world.Disorder, world.Recreate = true, true
	for range rapid.IntRange(1, 4).Draw(t, "commits") {
		world.Desired = site.desired(site.drawn(t))
		if rapid.IntRange(0, 4).Draw(t, "another writer") == 0 {
			world.Desired.Bundles[0].Spec.Via = rapid.SampledFrom([]v1alpha1.BundleVia{v1alpha1.ViaBundle, v1alpha1.ViaConfigMap, v1alpha1.ViaObserved}).Draw(t, "via")
		}
		disturbDevices(t, world, site)
		world.Desired.Authorities[0].Spec.Rollover.Paused = rapid.IntRange(0, 9).Draw(t, "paused") == 0
		for range rapid.IntRange(0, 60).Draw(t, "turns") {
			if rapid.IntRange(0, 40).Draw(t, "forget") == 0 {
				world.ForgetStatus()
			}
			if rapid.IntRange(0, 40).Draw(t, "restart") == 0 {
				world.Restart()
			}
			world.Turn()
			ask(world)
		}
	}
	return world, site
}

// disturbDevices silences some devices, wakes others, and lists new ones, or blocks one.
func disturbDevices(t *rapid.T, world *simulation.World, site shape) {
	for _, name := range slices.Sorted(maps.Keys(site.groups)) {
		world.Silent = map[string]bool{}
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 4), 0, 2, rapid.ID).Draw(t, "silent") {
			world.Silent[fmt.Sprintf("%s/%d", name, n)] = true
		}
		switch rapid.IntRange(0, 5).Draw(t, "devices change") {
		case 0:
			world.Enrol(simulation.Device{Group: name, Name: fmt.Sprintf("late-%d", rapid.IntRange(0, 99).Draw(t, "late"))})
		case 1:
			world.Block(name, "0")
		}
	}
}

// calm ends the storm with new keys for everyone, and lets the world settle.
func calm(t *rapid.T, world *simulation.World, site shape) {
	world.Disorder, world.Silent = false, nil
	world.Desired = site.desired(site.fresh())
	for i := range world.Desired.Bundles { // whoever writes a bundle goes on writing it
		for _, standing := range world.Observe().Bundles {
			if standing.Name == world.Desired.Bundles[i].Metadata.Name && standing.Via != "" {
				world.Desired.Bundles[i].Spec.Via = standing.Via
			}
		}
	}
	if log, err := world.Settle(settling(site)); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
}

// settling is how many turns a site has to settle in.
func settling(site shape) int {
	if len(site.care.windows) > 0 {
		return 4000 // most of them outside the windows
	}
	return 600
}

// TestInvariants runs the storms, and asks after every write of every turn for every
// invariant; each is a property by its own name.
func TestInvariants(t *testing.T) {
	t.Parallel()
	broken := map[simulation.Invariant]string{}
	t.Run("storms", func(t *testing.T) {
		inWorlds(t, func(t *rapid.T) {
			stormy(t, func(world *simulation.World) {
				for _, violation := range world.Violations() {
					broken[violation.Invariant] = violation.Evidence
				}
				failOnViolation(t, world)
			})
		})
	})
	for _, invariant := range simulation.Invariants {
		t.Run(string(invariant), func(t *testing.T) {
			if evidence, is := broken[invariant]; is {
				t.Error(evidence)
			}
		})
	}
}

// TestAnySubsetConverges: whatever was committed, and whichever writes were lost on the
// way, new keys for everyone end the storm: the world settles on what Git says, and
// nothing was broken.
func TestAnySubsetConverges(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := stormy(t, func(world *simulation.World) { failOnViolation(t, world) })
		calm(t, world, site)
		failOnViolation(t, world)
		failUnlessReached(t, world)
	})
}

// TestAnyAuthorityAlone: any of a site's authorities roll, wherever they stand, one after
// the other and in the middle of each other, and the others stay.
func TestAnyAuthorityAlone(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := settledSite(t, alone(), rapid.Bool().Draw(t, "record"))
		signer := map[string]int{}
		for _, name := range site.authorities {
			signer[name] = 1
		}
		for range rapid.IntRange(1, 4).Draw(t, "commits") {
			keys := map[string][]state{}
			for _, name := range site.authorities {
				signer[name] += rapid.IntRange(0, 1).Draw(t, "roll "+name)
				for n := 1; n < signer[name]; n++ {
					keys[name] = append(keys[name], retired(fmt.Sprintf("k%d", n)))
				}
				keys[name] = append(keys[name], signing(fmt.Sprintf("k%d", signer[name])))
			}
			world.Desired = site.desired(keys)
			world.Disorder = rapid.Bool().Draw(t, "disorder")
			for range rapid.IntRange(0, 60).Draw(t, "turns") {
				world.Turn()
				failOnViolation(t, world)
			}
		}
		world.Disorder = false
		settle(t, world)
		failUnlessReached(t, world)
	})
}

// TestRevertConverges: without a record, where a name may be used again, every world
// settles on whatever was committed last, going back included.
func TestRevertConverges(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world := simulation.New(rapid.Uint64().Draw(t, "seed"), fleet(signing("2025")), plant())
		world.Disorder = true
		for range rapid.IntRange(1, 4).Draw(t, "commits") {
			world.Desired = fleet(drawKeys(t, "2025", "2026", "2027")...)
			for range rapid.IntRange(0, 60).Draw(t, "turns") {
				world.Turn()
				failOnViolation(t, world)
			}
		}
		world.Disorder = false
		if log, err := world.Settle(400); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		failUnlessReached(t, world)
	})
}

// TestStructureChanges: authorities, bindings and bundles come and go from Git, in the
// middle of whatever, an authority is issued by another, everything is paused or
// retired: whoever depends on the first day's keys loses nothing.
func TestStructureChanges(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		users := plant()
		users.Leaves[1].Issuer.Name = "press"
		world := simulation.New(rapid.Uint64().Draw(t, "seed"), firstStructure(), users)
		if rapid.Bool().Draw(t, "record") {
			world.KeepRecord()
		}
		if log, err := world.Settle(300); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		world.Disorder = rapid.Bool().Draw(t, "disorder")
		for range rapid.IntRange(1, 4).Draw(t, "commits") {
			world.Desired = drawStructure(t)
			for range rapid.IntRange(0, 80).Draw(t, "turns") {
				world.Turn()
				failOnViolation(t, world)
			}
		}
	})
}

// firstStructure is two roots in one bundle, with an intermediate under one of them.
func firstStructure() planner.Desired {
	return planner.Desired{
		Authorities: []v1alpha1.Authority{issuing("fleet-issuing", "", "fleet-root", signing("k1")), root("fleet-root", signing("k1")), root("press-root", signing("k1"))},
		Bindings:    []v1alpha1.IssuerBinding{binding("fleet", "fleet-issuing"), binding("press", "press-root")},
		Bundles:     []v1alpha1.TrustBundle{bundle("fleet-trust", "fleet-root", "press-root")},
	}
}

// drawStructure draws what becomes of it.
func drawStructure(t *rapid.T) planner.Desired {
	once := func(in int, what string) bool { return rapid.IntRange(1, in).Draw(t, what) == 1 }
	desired := firstStructure()
	for i := range desired.Authorities {
		authority := &desired.Authorities[i]
		drawn := root("", drawKeys(t, "k1", "k2", "k3")...)
		authority.Spec.Keys, authority.Spec.Rollover.Paused = drawn.Spec.Keys, once(10, "paused")
	}
	if once(4, "issued by another") {
		desired.Authorities[0].Spec.IssuedBy.Name = "press-root"
	}
	if once(4, "no intermediate") {
		desired.Authorities, desired.Bindings = desired.Authorities[1:], desired.Bindings[1:]
	}
	if once(4, "no binding of the other root") {
		desired.Bindings = desired.Bindings[:len(desired.Bindings)-1]
	}
	switch rapid.IntRange(0, 5).Draw(t, "the bundle") {
	case 0:
		desired.Bundles = nil
	case 1:
		desired.Bundles[0].Spec.Authorities = []string{"fleet-root"}
	case 2:
		desired.Bundles[0].Spec.Authorities = []string{"press-root"}
	}
	if once(5, "another bundle") {
		desired.Bundles = append(desired.Bundles, bundle("more", "fleet-root", "press-root"))
	}
	return desired
}

// TestSettledWorldsAreLeftAlone: a turn over a settled world writes nothing, and
// plans the same bytes each time.
func TestSettledWorldsAreLeftAlone(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		site := rapid.SampledFrom(shapes).Draw(t, "shape")
		world := site.world(t, site.drawUsers(t))
		world.Recreate = true
		if rapid.Bool().Draw(t, "record") {
			world.KeepRecord()
		}
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
	})
}

// TestWhatIsInUseIsNotRemoved: when Git loses every document, what somebody still
// depends on stays, and the plan says who that is.
func TestWhatIsInUseIsNotRemoved(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		site := rapid.SampledFrom(shapes).Draw(t, "shape")
		world := site.world(t, site.drawUsers(t))
		world.Recreate = true
		if log, err := world.Settle(200); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		world.Disorder = true
		world.Desired = site.desired(site.drawn(t))
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

func failUnlessReached(t *rapid.T, world *simulation.World) {
	if reason := reached(world); reason != "" {
		t.Fatalf("%s\n%s", reason, world.Log())
	}
}

// reached compares the keys that are left, and what they do, with Git; it says what is
// other than Git says.
func reached(world *simulation.World) string {
	observed, want, signer := world.Observe(), map[string]bool{}, map[string]string{}
	for _, authority := range world.Desired.Authorities {
		for _, key := range authority.Spec.Keys {
			pair := pairIn(world.Desired, authority, key.Name)
			object := planner.KeyObjectName(authority.Metadata.Name, pair)
			if !key.State.Goes() && (!key.Given() || key.Secret != nil) {
				want[object] = true
			}
			if key.State == v1alpha1.KeySigning {
				signer[authority.Metadata.Name] = signsAs(key, object)
			}
		}
	}
	for _, key := range observed.Keys {
		name := planner.KeyObjectName(key.Authority.Name, key.Name)
		if !want[name] {
			return "key " + name + " is still there, and Git does not keep it"
		}
		delete(want, name)
	}
	if len(want) > 0 {
		return fmt.Sprintf("keys that Git keeps are not there: %v", want)
	}
	if left := world.Orphans(); len(left) > 0 {
		return fmt.Sprintf("private keys are left behind: %v", left)
	}
	for _, bound := range world.Desired.Bindings {
		at := slices.IndexFunc(observed.Issuers, func(i planner.Issuer) bool { return i.Ref == planner.BindingRef(bound) })
		if at < 0 || observed.Issuers[at].SecretName+observed.Issuers[at].Spec != signer[bound.Spec.Authority] {
			return fmt.Sprintf("issuer %s does not sign with %s", planner.BindingRef(bound), signer[bound.Spec.Authority])
		}
	}
	return ""
}

// signsAs is what an issuer says that signs with the key: its Secret, or its spec.
func signsAs(key v1alpha1.AuthorityKey, object string) string {
	switch {
	case key.Secret != nil:
		return key.Secret.Name
	case key.Issuer != nil:
		return string(key.Issuer.Raw)
	}
	return object
}

// pairIn names the key pair of a key under what its parents sign with.
func pairIn(desired planner.Desired, authority v1alpha1.Authority, key string) string {
	if authority.Spec.IssuedBy == nil {
		return key
	}
	for _, parent := range desired.Authorities {
		if parent.Metadata.Name != authority.Spec.IssuedBy.Name {
			continue
		}
		for _, above := range parent.Spec.Keys {
			if above.State == v1alpha1.KeySigning {
				return v1alpha1.KeyUnder(key, pairIn(desired, parent, above.Name))
			}
		}
	}
	return ""
}

// TestRevertWhileTheBundleShrinks: Git goes back to a key while the Bundle without its
// anchor is on its way to the copies. Copies that still hold it are no reason to sign
// with it.
func TestRevertWhileTheBundleShrinks(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
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
