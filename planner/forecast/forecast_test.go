package forecast_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/report"
	"github.com/reanchor/reanchor/planner/simulation"
)

// cluster is the plant as it was seen, with what Git declared applied, and so many turns of
// what it declares now.
func cluster(t *testing.T, base, head planner.Desired, turns int) (planner.Observed, time.Time) {
	t.Helper()
	world := simulation.New(1, base, plant())
	world.KeepRecord()
	settle(t, world)
	world.Desired = head
	for range turns {
		world.Turn()
	}
	return world.Observe(), world.Now
}

func settle(t *testing.T, world *simulation.World) {
	t.Helper()
	if log, err := world.Settle(20000); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
}

// seen is what a change in Git comes to in a cluster.
func seen(base, head planner.Desired, observed planner.Observed, at time.Time) forecast.Request {
	request := between(base, head)
	request.Observed, request.Seen, request.Now = &observed, at, at
	request.Record = observed.Record
	return request
}

// swift is without the waits that take a real world many turns.
func swift(desired planner.Desired) planner.Desired {
	for i := range desired.Authorities {
		desired.Authorities[i].Spec.Rollover.Soak, desired.Authorities[i].Spec.Rollover.Skew = duration(time.Minute), duration(30*time.Second)
	}
	return desired
}

func TestForecasts(t *testing.T) {
	before, after := swift(fleet(signing("2025"))), swift(fleet(retired("2025"), signing("2026")))
	settled, at := cluster(t, before, before, 0)
	middle, later := cluster(t, before, after, 30)
	whatIf := seen(before, before, settled, at)
	whatIf.WhatIf = []string{"fleet-root/2025"}
	for name, request := range map[string]forecast.Request{
		"second-key-trusted":       between(fleet(signing("2025")), fleet(signing("2025"), trusted("2026"))),
		"at-once":                  between(fleet(signing("2025")), fleet(retired("2025"), signing("2026"))),
		"new-intermediate":         between(chain(keys(signing("2025")), keys(signing("a"))), chain(keys(signing("2025")), keys(retired("a"), signing("b")))),
		"root-with-intermediate":   between(chain(keys(signing("2025")), keys(signing("a"))), chain(keys(retired("2025"), signing("2026")), keys(signing("a")))),
		"nothing-to-do":            between(fleet(signing("2025")), fleet(signing("2025"))),
		"first-commit":             between(planner.Desired{}, fleet(signing("2025"))),
		"recorded":                 recorded(t),
		"from-a-cluster":           seen(before, after, settled, at),
		"in-the-middle":            seen(after, after, middle, later),
		"reverted-in-the-middle":   seen(after, before, middle, later),
		"what-if":                  whatIf,
		"compromised":              seen(before, swift(fleet(compromised("2025"), signing("2026"))), settled, at),
		"drifted":                  drifted(before, settled, at),
		"written-by-somebody-else": observedBundle(),
		"name-used-up":             usedUp(middle.Record),
		"paused":                   paused(),
	} {
		t.Run(name, func(t *testing.T) {
			f := forecast.Run(request)
			failUnlessRepeated(t, request, f)
			text, err := report.JSON(f)
			if err != nil {
				t.Fatal(err)
			}
			golden.File(t, filepath.Join("testdata", name+".json"), text)
		})
	}
}

// failUnlessRepeated fails unless an equal request gives equal bytes.
func failUnlessRepeated(t *testing.T, request forecast.Request, f forecast.Forecast) {
	t.Helper()
	first, err := report.JSON(f)
	if err != nil {
		t.Fatal(err)
	}
	again, err := report.JSON(forecast.Run(request))
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(again) {
		t.Errorf("forecast again it is\n%s\nnot\n%s", again, first)
	}
}

// recorded is a repository that remembers its key.
func recorded(t *testing.T) forecast.Request {
	observed, _ := cluster(t, fleet(signing("2025")), fleet(signing("2025")), 0)
	request := between(fleet(signing("2025")), fleet(retired("2025"), signing("2026")))
	request.Record = observed.Record
	return request
}

// drifted is a cluster of which somebody took the bundle away.
func drifted(base planner.Desired, observed planner.Observed, at time.Time) forecast.Request {
	observed.Bundles = nil
	for i := range observed.Copies {
		observed.Copies = append([]planner.Copy{}, observed.Copies...)
		observed.Copies[i] = planner.Copy{Bundle: observed.Copies[i].Bundle, Namespace: observed.Copies[i].Namespace, Missing: true, Problem: "there is no such ConfigMap yet"}
	}
	return seen(base, base, observed, at)
}

// usedUp is a key that takes the name of one that was retired.
func usedUp(record planner.Record) forecast.Request {
	request := between(fleet(signing("2025")), fleet(retired("2025"), signing("2026")))
	for i := range record.Keys {
		record.Keys[i].Retired = record.Keys[i].Name == "2026"
	}
	request.Record = record
	return request
}

// paused is a rollover that Git holds.
func paused() forecast.Request {
	head := fleet(retired("2025"), signing("2026"))
	head.Authorities[0].Spec.Rollover.Paused = true
	return between(fleet(signing("2025")), head)
}

// observedBundle is a bundle that somebody else writes.
func observedBundle() forecast.Request {
	base, head := fleet(signing("2025")), fleet(retired("2025"), signing("2026"))
	base.Bundles[0].Spec.Via, head.Bundles[0].Spec.Via = "Observed", "Observed"
	return between(base, head)
}

// TestTheDigestIsOfWhatIsDone: a forecast from the base, and one from a cluster that is at
// the base, are of the same plan; another commit is of another.
func TestTheDigestIsOfWhatIsDone(t *testing.T) {
	base := chain(keys(signing("2025")), keys(signing("a")))
	head := chain(keys(retired("2025"), signing("2026")), keys(signing("a")))
	observed, at := cluster(t, swift(base), swift(base), 0)
	fromBase, fromCluster := forecast.Run(between(base, head)), forecast.Run(seen(base, head, observed, at))
	if fromBase.Digest != fromCluster.Digest {
		t.Errorf("from the base the digest is %s, from a cluster at it %s", fromBase.Digest, fromCluster.Digest)
	}
	if other := forecast.Run(between(base, chain(keys(signing("2025"), trusted("2026")), keys(signing("a"))))); other.Digest == fromBase.Digest {
		t.Error("another commit has the same digest")
	}
}

// TestNoStandInIsTold: the fingerprints that a forecast tells are those that were seen.
func TestNoStandInIsTold(t *testing.T) {
	base, head := swift(fleet(signing("2025"))), swift(fleet(retired("2025"), signing("2026")))
	observed, at := cluster(t, base, base, 0)
	f := forecast.Run(seen(base, head, observed, at))
	real := map[pki.Fingerprint]bool{}
	for _, key := range observed.Keys {
		real[key.Certificate.Fingerprint()] = true
	}
	for _, change := range f.Trust {
		for _, anchor := range append(change.Before, change.After...) {
			if anchor.KnownAfter == "" && !real[anchor.Fingerprint] || anchor.KnownAfter != "" && !anchor.Fingerprint.IsZero() {
				t.Errorf("%s has the fingerprint %s, and is known after %q", anchor.Key, anchor.Fingerprint, anchor.KnownAfter)
			}
		}
	}
	if len(real) != 1 || len(f.Trust) != 1 || len(f.Trust[0].After) != 1 {
		t.Errorf("%d keys were seen; the trust is %+v", len(real), f.Trust)
	}
}
