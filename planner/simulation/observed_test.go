package simulation_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// TestTwinsPlanTheSame: in any state of any storm, the world that is made of what was
// observed is planned for as the one that was observed is.
func TestTwinsPlanTheSame(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		stormy(t, func(world *simulation.World) {
			if rapid.IntRange(0, 9).Draw(t, "look") == 0 {
				failUnlessTwinsPlanTheSame(t, world)
			}
		})
	})
}

// TestTwinsOfForgottenKeys: the Secret of a key that Git has forgotten is there for as long as
// its internal issuer says so.
func TestTwinsOfForgottenKeys(t *testing.T) {
	outside := simulation.NewOutside()
	inSecret := func(year string) v1alpha1.AuthorityKey {
		return as(outside.InSecret("Plant "+year, secretOf("plant-ca-"+year)), year, v1alpha1.KeySigning)
	}
	world := settleOutside(t, outside, brought(v1alpha1.ViaBundle, inSecret("2025")))
	world.Desired = brought(v1alpha1.ViaBundle, inSecret("2026"))
	world.Join(outside)
	twin, _ := simulation.FromObserved(1, world.Observe(), world.Now, world.Desired)
	failUnlessTwinsPlanTheSame(t, world)
	for _, seen := range [][]planner.Key{world.Observe().Keys, twin.Observe().Keys} {
		if len(seen) != 1 || seen[0].Name != "2025" || !seen[0].SecretSeen {
			t.Errorf("of a Secret that is there is seen %+v", seen)
		}
	}
}

// TestTwinsOfForgottenIssuers: an external issuer of a key that Git has forgotten goes on
// signing with what signed its leaves; one whose leaves another key has signed is not taken to
// sign with that.
func TestTwinsOfForgottenIssuers(t *testing.T) {
	outside := simulation.NewOutside()
	first := as(outside.Behind("acme-2025"), "2025", v1alpha1.KeySigning)
	second := as(outside.Behind("acme-2026"), "2026", v1alpha1.KeySigning)
	world := settleOutside(t, outside, brought(v1alpha1.ViaBundle, first))
	observed := world.Observe()
	twin, _ := simulation.FromObserved(1, observed, world.Now, brought(v1alpha1.ViaBundle, second))
	if !twin.Observe().Issuers[0].Ready {
		t.Error("nothing signs behind the issuer of a key that Git has forgotten")
	}
	observed.Issuers[0].Spec, observed.Issuers[0].SignsWith = `{"acme":{"server":"https://forgotten"}}`, "cert-manager/fleet-root/2024"
	twin, _ = simulation.FromObserved(1, observed, world.Now, brought(v1alpha1.ViaBundle, first))
	if twin.Observe().Issuers[0].Ready {
		t.Error("behind an issuer of which no leaf tells, a key of Git's signs")
	}
}

// TestTwinsOfRememberedKeys: what is known of a key by its fingerprint alone is known of its
// twin, though Git's record is all that is left of the key's certificate.
func TestTwinsOfRememberedKeys(t *testing.T) {
	world := simulation.New(1, fleet(signing("k1")), plant())
	world.KeepRecord()
	if log, err := world.Settle(400); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	remembered := planner.Observed{Record: world.Record()}
	fingerprint := remembered.Record.Keys[0].Certificate.Fingerprint()
	remembered.Ledger = []planner.Ledger{{Group: "sensors", Active: 1, Keys: []planner.Tally{{Key: fingerprint}}}}
	remembered.Since = []planner.Gate{{Name: "distributed cert-manager/fleet-root k1 " + fingerprint.Short(), Since: world.Now}}
	twin, _ := simulation.FromObserved(1, remembered, world.Now, world.Desired)
	seen := twin.Observe()
	of := seen.Record.Keys[0].Certificate.Fingerprint()
	if of == fingerprint || seen.Ledger[0].Keys[0].Key != of {
		t.Errorf("the devices are counted for %s, the key's twin is %s", seen.Ledger[0].Keys[0].Key, of)
	}
	if want := "distributed cert-manager/fleet-root k1 " + of.Short(); seen.Since[0].Name != want {
		t.Errorf("remembered is %q, want %q", seen.Since[0].Name, want)
	}
}

// TestTwinsOfHandshakes: every handshake that was seen is one with the twins of what was trusted
// in it, whatever the bundle holds by now.
func TestTwinsOfHandshakes(t *testing.T) {
	world := simulation.New(1, fleet(signing("k1"), trusted("k2")), plant())
	if log, err := world.Settle(400); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	both := func(observed planner.Observed) (first, all pki.Anchors) {
		one, other := observed.Keys[0].Certificate, observed.Keys[1].Certificate
		return pki.NewAnchors(one), pki.NewAnchors(one, other)
	}
	observed := world.Observe()
	first, all := both(observed)
	observed.Bundles[0].Anchors = first
	for _, trusted := range []pki.Anchors{first, all, all.Minus(first)} {
		observed.Probes = append(observed.Probes, planner.ProbeResult{Bundle: "fleet-trust", Name: "broker", OK: true, At: world.Now, Anchors: trusted.SHA256()})
	}
	twin, _ := simulation.FromObserved(1, observed, world.Now, world.Desired)
	seen := twin.Observe()
	first, all = both(seen)
	for _, trusted := range []pki.Anchors{first, all, all.Minus(first)} {
		if !slices.ContainsFunc(seen.Probes, func(r planner.ProbeResult) bool { return r.OK && r.Anchors == trusted.SHA256() }) {
			t.Errorf("no handshake with %s is known: %+v", trusted, seen.Probes)
		}
	}
}

func failUnlessTwinsPlanTheSame(t interface{ Fatalf(string, ...any) }, world *simulation.World) {
	observed := world.Observe()
	twin, twins := simulation.FromObserved(1, observed, world.Now, world.Desired)
	want := comparable(planner.Next(world.Desired, observed, world.Now), func(s string) string { return s })
	plan := planner.Next(twin.Desired, twin.Observe(), twin.Now)
	plan.Target = twins.Target(plan.Target)
	if got := comparable(plan, twins.Text); got != want {
		t.Fatalf("the twins are planned for otherwise:\n%s\n%s", difference(got, want), world.Log())
	}
}

// comparable is a plan as text. The order of anchors, and so what comes first of several,
// is that of their fingerprints, which twins do not share: so it is with what is said of each
// stolen key.
func comparable(plan planner.Plan, text func(string) string) string {
	for i := range plan.Actions {
		action := &plan.Actions[i]
		action.Why = text(action.Why)
		if action.LeavesDigest != "" {
			action.LeavesDigest = "some"
		}
	}
	plan.Holds = translated(plan.Holds, text)
	slices.SortStableFunc(plan.Holds, func(a, b planner.Hold) int {
		return cmp.Or(cmp.Compare(a.Gate, b.Gate), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Why, b.Why))
	})
	for i := range plan.Rollovers {
		plan.Rollovers[i].Progress = text(plan.Rollovers[i].Progress)
		plan.Rollovers[i].Holds = translated(plan.Rollovers[i].Holds, text)
	}
	for i := range plan.Record {
		plan.Record[i].Certificate = pki.Certificate{}
	}
	for i := range plan.LinkRecord {
		plan.LinkRecord[i].Certificate = pki.Certificate{}
	}
	for i := range plan.Links {
		plan.Links[i].Why = text(plan.Links[i].Why)
	}
	for i := range plan.Probes {
		plan.Probes[i].Anchors = nil
	}
	plan.Gates = nil
	data, err := json.MarshalIndent(plan, "", " ")
	if err != nil {
		panic(err)
	}
	return string(data)
}

func translated(holds []planner.Hold, text func(string) string) []planner.Hold {
	holds = slices.Clone(holds)
	for i := range holds {
		holds[i].Why, holds[i].Subject = text(holds[i].Why), text(holds[i].Subject)
	}
	return holds
}

// difference is where two texts part.
func difference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n%s\nwant\n%s", i, strings.Join(a[i:min(i+8, len(a))], "\n"), strings.Join(b[i:min(i+8, len(b))], "\n"))
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}
