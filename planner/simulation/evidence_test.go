package simulation_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// settledSite is a random site at rest, on its first keys.
func settledSite(t *rapid.T, among []shape, record bool) (*simulation.World, shape) {
	site := rapid.SampledFrom(among).Draw(t, "shape")
	world := site.world(t, site.drawUsers(t))
	world.Recreate = true
	if record {
		world.KeepRecord()
	}
	settle(t, world)
	return world, site
}

func settle(t *rapid.T, world *simulation.World) {
	if log, err := world.Settle(600); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
}

// keysTo are the lists by which every authority moves from k1 to a key.
func (s shape) keysTo(key string) map[string][]state {
	keys := map[string][]state{}
	for _, name := range s.authorities {
		keys[name] = []state{retired("k1"), signing(key)}
	}
	return keys
}

// holdsOf are all holds of a plan.
func holdsOf(plan planner.Plan) []planner.Hold {
	holds := slices.Clone(plan.Holds)
	for _, rollover := range plan.Rollovers {
		holds = append(holds, rollover.Holds...)
	}
	return holds
}

func named(plan planner.Plan, subject string) bool {
	return slices.ContainsFunc(holdsOf(plan), func(h planner.Hold) bool {
		return strings.Contains(h.Subject, subject) || strings.Contains(h.Why, subject)
	})
}

// phaseOf is where an authority stands.
func phaseOf(plan planner.Plan, authority string) planner.Phase {
	at := slices.IndexFunc(plan.Rollovers, func(r planner.Rollover) bool { return r.Authority.Name == authority })
	return plan.Rollovers[at].Phase
}

// TestFailClosed (invariant 4): whatever it is that nothing more comes of, from the
// beginning of a rollover on, the rollover gets no further than the phase that needs it,
// and a hold names it.
func TestFailClosed(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := settledSite(t, homely(), rapid.Bool().Draw(t, "record"))
		users := world.Observe()
		stuck, phase := drawStuck(t, users, site)
		world.Stuck = map[string]bool{stuck: true}
		world.Desired = site.desired(site.keysTo("k2"))
		var plan planner.Plan
		for range 120 {
			plan = world.Turn()
			failOnViolation(t, world)
		}
		subject := stuck[strings.Index(stuck, " ")+1:]
		reached := slices.ContainsFunc(plan.Rollovers, func(r planner.Rollover) bool { return r.Phase == phase })
		if !reached || !named(plan, subject) {
			t.Fatalf("with %s stuck, no authority is at %s, or nothing names it:\n%s", stuck, phase, world.Log())
		}
		world.Stuck = nil
		settle(t, world)
		failUnlessReached(t, world)
	})
}

// drawStuck draws something that a rollover of every root needs, and the phase that
// needs it.
func drawStuck(t *rapid.T, users planner.Observed, site shape) (string, planner.Phase) {
	verifiers := slices.DeleteFunc(slices.Clone(users.Workloads), func(w planner.Workload) bool {
		return w.Kind == "Pod" || w.Reloads > 0 && !slices.ContainsFunc(w.Bundles, func(m planner.Mount) bool { return m.Kind != planner.MountVolume })
	})
	choices := []string{"copy", "leaf", "canary", "ca"}
	if len(verifiers) > 0 {
		choices = append(choices, "verifier")
	}
	switch rapid.SampledFrom(choices).Draw(t, "stuck") {
	case "copy":
		c := rapid.SampledFrom(users.Copies).Draw(t, "copy")
		return "ConfigMap " + c.Namespace + "/" + c.Bundle, planner.Distribute
	case "verifier":
		return rapid.SampledFrom(verifiers).Draw(t, "verifier").String(), planner.Distribute
	case "leaf":
		return "Certificate " + rapid.SampledFrom(users.Leaves).Draw(t, "leaf").Ref.String(), planner.Reissue
	case "canary":
		return "canary " + rapid.SampledFrom(users.Issuers).Draw(t, "issuer").Ref.String(), planner.Switch
	}
	return "Certificate cert-manager/" + planner.KeyObjectName(site.authorities[0], "k2"), planner.Introduce
}

// TestUnknownLeavesHold (invariant 4): a leaf of which it is not known what it was issued
// is named, and nothing that it may chain to goes.
func TestUnknownLeavesHold(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := settledSite(t, homely(), rapid.Bool().Draw(t, "record"))
		lost := rapid.SampledFrom(world.Observe().Leaves).Draw(t, "lost").Ref
		world.LoseRequest(lost)
		world.Desired = site.desired(site.keysTo("k2"))
		var plan planner.Plan
		for range 120 {
			plan = world.Turn()
			failOnViolation(t, world)
		}
		if !named(plan, lost.String()) {
			t.Fatalf("nothing names %s:\n%s", lost, world.Log())
		}
		world.RenewLeaf(lost)
		settle(t, world)
		failUnlessReached(t, world)
	})
}

// TestIdentityIsTheFingerprint (invariant 6): keys are told apart by what they are. One
// without a key identifier, or with another's, is held in Introduce and enters no bundle;
// one that shares its predecessor's subject alone breaks nothing.
func TestIdentityIsTheFingerprint(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world := simulation.New(rapid.Uint64().Draw(t, "seed"), fleet(signing("2025")), plant())
		world.KeepRecord()
		settle(t, world)
		first := world.Observe().Keys[0].Certificate
		quirks := map[string]func(*x509.Certificate){
			"no identifier":                 withoutSKI,
			"the predecessor's identifier":  func(c *x509.Certificate) { c.SubjectKeyId = first.SubjectKeyID() },
			"the predecessor's subject":     func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: first.CommonName()} },
			"its subject and no identifier": func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: first.CommonName()}; withoutSKI(c) },
		}
		quirk := rapid.SampledFrom(slices.Sorted(maps.Keys(quirks))).Draw(t, "quirk")
		world.Quirk = quirks[quirk]
		world.Desired = fleet(retired("2025"), signing("2026"))
		if quirk == "the predecessor's subject" {
			settle(t, world)
			failUnlessReached(t, world)
			return
		}
		var plan planner.Plan
		for range 60 {
			plan = world.Turn()
			failOnViolation(t, world)
		}
		held := slices.ContainsFunc(holdsOf(plan), func(h planner.Hold) bool { return h.Gate == "identity" })
		if anchors := world.Observe().Bundles[0].Anchors; phaseOf(plan, "fleet-root") != planner.Introduce || !held || len(anchors) != 1 {
			t.Fatalf("a key with %s is at %s, the bundle holds %v:\n%s", quirk, phaseOf(plan, "fleet-root"), anchors, world.Log())
		}
	})
}

// withoutSKI leaves the subject key identifier out: the extension that says CA is
// written by hand, so that crypto/x509 adds none.
func withoutSKI(template *x509.Certificate) {
	template.IsCA, template.BasicConstraintsValid = false, false
	value, err := asn1.Marshal(struct{ IsCA bool }{true})
	if err != nil {
		panic(err)
	}
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: value}}
}

// TestRenewOrRekeyIsKnown (invariant 7): a root's certificate that was issued anew is
// held either way and named by both fingerprints. Of the same key it harms nobody; of
// another it is an alarm, and the bundle grows by it.
func TestRenewOrRekeyIsKnown(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world := simulation.New(rapid.Uint64().Draw(t, "seed"), fleet(signing("2025")), plant())
		if rapid.Bool().Draw(t, "record") {
			world.KeepRecord()
		}
		settle(t, world)
		before, rekeyed := world.Observe().Keys[0].Certificate, rapid.Bool().Draw(t, "rekeyed")
		object := planner.Ref{Namespace: "cert-manager", Name: "fleet-root-2025"}
		if rekeyed {
			world.DeleteSecret(object)
		} else {
			world.RenewCA(object)
		}
		for range 10 {
			world.Turn()
		}
		after := world.Observe().Keys[0].Certificate
		for range rapid.IntRange(1, 60).Draw(t, "turns") {
			plan := world.Turn()
			at := slices.IndexFunc(holdsOf(plan), func(h planner.Hold) bool {
				return h.Gate == "key" && strings.Contains(h.Why, before.Fingerprint().String()) && strings.Contains(h.Why, after.Fingerprint().String())
			})
			if at < 0 || holdsOf(plan)[at].Alarm != rekeyed || phaseOf(plan, "fleet-root") != planner.Introduce {
				t.Fatalf("rekeyed: %v, and the plan is at %s with %v\n%s", rekeyed, phaseOf(plan, "fleet-root"), holdsOf(plan), world.Log())
			}
		}
		anchors := world.Observe().Bundles[0].Anchors
		if !anchors.Has(before) || !anchors.Has(after) {
			t.Fatalf("the bundle holds %v\n%s", anchors, world.Log())
		}
		for _, broken := range world.Violations() {
			if broken.Invariant != simulation.PairwiseSafety || !rekeyed {
				t.Fatalf("%s\n%s", broken, world.Log())
			}
		}
		world.Desired = fleet(retired("2025"), signing("2026")) // the way out
		for range 400 {
			world.Turn()
		}
		failUnlessReached(t, world)
		if anchors := world.Observe().Bundles[0].Anchors; len(anchors) != 1 {
			t.Fatalf("the bundle holds %v, not the new root alone\n%s", anchors, world.Log())
		}
	})
}

// TestLifetimes (invariant 8): no issuer signs with a CA that has ended, a leaf that will
// outlive its CA is named, and so is a CA that it is getting late for.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		const day = 24 * time.Hour
		short := func(keys ...state) planner.Desired {
			desired := fleet(keys...)
			desired.Authorities[0].Spec.Duration = duration(20 * day)
			return desired
		}
		users := plant()
		users.LeafLife = 6 * day
		world := simulation.New(rapid.Uint64().Draw(t, "seed"), short(signing("2025")), users)
		settle(t, world)
		successor := rapid.IntRange(0, 30).Draw(t, "day of the successor")
		for today := range 30 {
			if today == successor {
				world.Desired = short(retired("2025"), signing("2026"))
			}
			busy := rapid.IntRange(1, 30).Draw(t, "turns a day")
			for midnight := world.Now.Add(day); world.Now.Before(midnight); busy-- {
				plan := world.Turn()
				for _, broken := range world.Violations() {
					if broken.Invariant == simulation.Lifetimes {
						t.Fatalf("%s\n%s", broken, world.Log())
					}
				}
				expectOutlivingNamed(t, world, plan)
				if busy <= 0 {
					world.SleepUntil(midnight, plan)
				}
			}
		}
	})
}

// expectOutlivingNamed demands a hold for every leaf that ends after the key that signed
// it.
func expectOutlivingNamed(t *rapid.T, world *simulation.World, plan planner.Plan) {
	observed := world.Observe()
	for _, leaf := range observed.Leaves {
		for _, key := range observed.Keys {
			outlives := len(leaf.Chain) > 0 && !key.Certificate.IsZero() && leaf.Chain[0].SignedBy(key.Certificate) && leaf.Chain[0].NotAfter().After(key.Certificate.NotAfter())
			if outlives && !named(plan, "Certificate "+leaf.Ref.String()) {
				t.Fatalf("%s outlives %s, and nothing says so: %v\n%s", leaf.Ref, key.Certificate, holdsOf(plan), world.Log())
			}
		}
	}
}

// TestCrashAnywhereConverges (invariant 10): however often the program is killed, before
// or after any of a turn's writes, with its status lost or not, the world comes to the
// same end as without.
func TestCrashAnywhereConverges(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := settledSite(t, shapes, rapid.Bool().Draw(t, "record"))
		world.Desired = site.desired(site.keysTo("k2"))
		for range 80 {
			if rapid.IntRange(0, 1).Draw(t, "crash") == 0 {
				world.TurnUpTo(rapid.IntRange(0, 4).Draw(t, "after writes"))
			} else {
				world.Turn()
			}
			if rapid.IntRange(0, 9).Draw(t, "forget") == 0 {
				world.ForgetStatus()
			}
			failOnViolation(t, world)
		}
		settle(t, world)
		failUnlessReached(t, world)
	})
}

// TestNothingIsAdoptedSilently (invariant 11): whatever changed a signing key without a
// plan, within a canary interval an alarm names the strange key, the authority is not
// settled, and no leaf is reissued over it; and bundles lose nothing.
func TestNothingIsAdoptedSilently(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := settledSite(t, homely(), rapid.Bool().Draw(t, "record"))
		authority := rapid.SampledFrom(world.Observe().Keys).Draw(t, "key").Authority
		object := planner.Ref{Namespace: authority.Namespace, Name: planner.KeyObjectName(authority.Name, site.firstPair(authority.Name))}
		before, swapped := world.Observe(), rapid.Bool().Draw(t, "swapped")
		if swapped {
			world.SwapSecret(object)
		} else {
			world.DeleteSecret(object)
		}
		for range rapid.IntRange(0, 30).Draw(t, "turns before") {
			world.Turn()
		}
		world.Sleep(time.Hour)
		var plan planner.Plan
		for range 10 {
			plan = world.Turn()
			if slices.ContainsFunc(plan.Actions, func(a planner.Action) bool { return a.Kind == planner.ActionReissue }) {
				t.Fatalf("leaves are reissued: %v\n%s", plan.Actions, world.Log())
			}
		}
		strange := world.Secret(object)
		harmless := !swapped && site.parents[authority.Name] != "" // its root signed the new one too
		told := slices.ContainsFunc(holdsOf(plan), func(h planner.Hold) bool {
			return h.Gate == "key" && h.Alarm != harmless && strings.Contains(h.Why, strange.Fingerprint().String())
		})
		if !told || phaseOf(plan, authority.Name) == planner.Settled {
			t.Fatalf("swapped: %v; no hold names %s, or %s is settled: %v\n%s", swapped, strange.Fingerprint(), authority, holdsOf(plan), world.Log())
		}
		for i, standing := range world.Observe().Bundles {
			if !standing.Anchors.Contains(before.Bundles[i].Anchors) {
				t.Fatalf("%s lost an anchor\n%s", standing.Name, world.Log())
			}
		}
	})
}

// TestAnotherClusterIsHeld (invariant 11): over an empty cluster, nothing is issued under
// a name of which Git records another key. A new key is a way out, and so is a backup of
// the keys' Secrets, with which the site goes on as it was.
func TestAnotherClusterIsHeld(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		world, site := settledSite(t, homely(), true)
		recorded := world.Record().Keys
		backup := world.Wipe()
		world.Disorder = true
		for range 60 {
			world.Turn()
			for _, key := range world.Observe().Keys {
				if key.HasCertificate {
					t.Fatalf("%s of %s is made\n%s", key.Name, key.Authority, world.Log())
				}
			}
		}
		world.Disorder = false
		plan := world.Turn()
		for _, key := range recorded {
			if root := site.parents[key.Authority] == ""; root && !named(plan, key.Certificate.Fingerprint().String()) {
				t.Fatalf("nothing names %s: %v\n%s", key.Certificate, holdsOf(plan), world.Log())
			}
		}
		if rapid.Bool().Draw(t, "there is a backup") {
			world.Restore(backup)
			settle(t, world)
			if again := world.Record().Keys; len(again) != len(recorded) {
				t.Fatalf("the record changed: %v\n%s", again, world.Log())
			}
		} else {
			world.Desired = site.desired(site.fresh())
			settle(t, world)
		}
		failUnlessReached(t, world)
	})
}

// TestOwnCAIsNoBundle (invariant 19): a workload that verifies with its leaf's own ca.crt
// is named before Switch, and no issuer moves until it verifies with the bundle.
func TestOwnCAIsNoBundle(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		site := rapid.SampledFrom(shapes).Draw(t, "shape")
		users := site.drawUsers(t)
		at := rapid.SampledFrom(presenting(users.Workloads)).Draw(t, "who trusts its own")
		users.Workloads[at].Secrets[0].OwnCA = planner.OwnCANamed
		world := site.world(t, users)
		world.Recreate = true
		settle(t, world)
		world.Desired = site.desired(site.keysTo("k2"))
		before := world.Observe().Issuers
		var plan planner.Plan
		for range 120 {
			plan = world.Turn()
			failOnViolation(t, world)
		}
		root := site.rootOf(users, at)
		if !named(plan, users.Workloads[at].String()) || phaseOf(plan, root) != planner.Distribute {
			t.Fatalf("nothing names %s, or %s is at %s\n%s", users.Workloads[at], root, phaseOf(plan, root), world.Log())
		}
		for i, issuer := range world.Observe().Issuers {
			if site.topOf(issuer.Ref) == root && issuer.SecretName+issuer.Spec != before[i].SecretName+before[i].Spec {
				t.Fatalf("%s moved\n%s", issuer.Ref, world.Log())
			}
		}
		world.MoveToBundle(users.Workloads[at].Ref)
		settle(t, world)
		failUnlessReached(t, world)
	})
}

// firstPair is an authority's key pair on the first day.
func (s shape) firstPair(name string) string {
	pair := "k1"
	for parent := s.parents[name]; parent != ""; parent = s.parents[parent] {
		pair += ".k1"
	}
	return pair
}

func presenting(workloads []planner.Workload) []int {
	var found []int
	for i, w := range workloads {
		if len(w.Secrets) > 0 {
			found = append(found, i)
		}
	}
	return found
}

// rootOf is the root that a workload's leaf chains to.
func (s shape) rootOf(users simulation.Users, workload int) string {
	secret := users.Workloads[workload].Secrets[0].Name
	at := slices.IndexFunc(users.Leaves, func(l planner.Leaf) bool { return l.SecretName == secret })
	return s.topOf(users.Leaves[at].Issuer)
}

// topOf is the root that an issuer's authority stands under.
func (s shape) topOf(issuer planner.Ref) string {
	for authority, name := range s.issuers {
		if name != issuer.Name {
			continue
		}
		for s.parents[authority] != "" {
			authority = s.parents[authority]
		}
		return authority
	}
	return ""
}

// TestCrashAroundEveryWrite (invariant 10): of a root's rollover and of an intermediate's
// with its root's, every single write is the last that is made before the program is
// killed and its status lost, once each.
func TestCrashAroundEveryWrite(t *testing.T) {
	for name, commits := range map[string][2]planner.Desired{
		"root":                  {fleet(signing("2025")), fleet(retired("2025"), signing("2026"))},
		"intermediate":          {chain(keys(signing("2025")), keys(signing("a"))), chain(keys(signing("2025")), keys(retired("a"), signing("b")))},
		"root and intermediate": {chain(keys(signing("2025")), keys(signing("a"))), chain(keys(retired("2025"), signing("2026")), keys(retired("a"), signing("b")))},
	} {
		t.Run(name, func(t *testing.T) {
			writes := 0
			for killed := true; killed; writes++ {
				world := simulation.New(1, commits[0], plant())
				world.KeepRecord()
				if log, err := world.Settle(200); err != nil {
					t.Fatalf("%v\n%s", err, log)
				}
				world.Desired = commits[1]
				world.KillAfter(writes)
				if log, err := world.Settle(200); err != nil {
					t.Fatalf("killed after %d writes: %v\n%s", writes, err, log)
				}
				if reason := reached(world); reason != "" {
					t.Fatalf("killed after %d writes: %s\n%s", writes, reason, world.Log())
				}
				killed = world.Killed()
			}
			if writes < 10 {
				t.Errorf("a rollover of %d writes is none", writes)
			}
			t.Logf("%d writes", writes-1)
		})
	}
}
