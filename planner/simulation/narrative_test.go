package simulation_test

import (
	"path/filepath"
	"testing"

	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// TestNarratives runs a scenario to its end and compares what happened, and why,
// with a log that a person has read.
func TestNarratives(t *testing.T) {
	type commit struct {
		says  string
		want  planner.Desired
		after int // turns after the commit before; 0: once all is settled
	}
	tests := map[string][]commit{
		"root-at-once": {
			{says: "the first key", want: fleet(signing("2025"))},
			{says: "2026 shall sign, 2025 shall go", want: fleet(retired("2025"), signing("2026"))},
		},
		"root-step-by-step": {
			{says: "the first key", want: fleet(signing("2025"))},
			{says: "2026 is trusted", want: fleet(signing("2025"), trusted("2026"))},
			{says: "2026 signs", want: fleet(trusted("2025"), signing("2026"))},
			{says: "2025 goes", want: fleet(retired("2025"), signing("2026"))},
		},
		"root-reverted": {
			{says: "the first key", want: fleet(signing("2025"))},
			{says: "2026 shall sign, 2025 shall go", want: fleet(retired("2025"), signing("2026"))},
			{says: "git revert", want: fleet(signing("2025")), after: 20},
		},
		"third-key": {
			{says: "the first key", want: fleet(signing("2025"))},
			{says: "2026 shall sign, 2025 shall go", want: fleet(retired("2025"), signing("2026"))},
			{says: "2027 shall sign, both others shall go", want: fleet(retired("2025"), retired("2026"), signing("2027")), after: 20},
		},
		"root-in-waves-and-windows": {
			{says: "the first key", want: fleet(signing("2025"))},
			{says: "2026 shall sign, 2025 shall go, in waves, within windows and after a probe", want: fleetWith(slowly, retired("2025"), signing("2026"))},
		},
		"intermediate": {
			{says: "the first keys", want: chain(keys(signing("2025")), keys(signing("a")))},
			{says: "b shall issue, a shall go", want: chain(keys(signing("2025")), keys(retired("a"), signing("b")))},
		},
		"root-with-its-intermediate": {
			{says: "the first keys", want: chain(keys(signing("2025")), keys(signing("a")))},
			{says: "2026 shall sign, 2025 shall go", want: chain(keys(retired("2025"), signing("2026")), keys(signing("a")))},
		},
		"root-compromised": {
			{says: "the first key", want: fleet(signing("2025"))},
			{says: "2025 is compromised, 2026 shall sign", want: fleet(compromised("2025"), signing("2026"))},
		},
		"root-compromised-with-its-intermediate": {
			{says: "the first keys", want: chain(keys(signing("2025")), keys(signing("a")))},
			{says: "2025 is compromised, 2026 shall sign", want: chain(keys(compromised("2025"), signing("2026")), keys(signing("a")))},
		},
		"intermediate-compromised": {
			{says: "the first keys", want: chain(keys(signing("2025")), keys(signing("a")))},
			{says: "a is compromised, b shall issue", want: chain(keys(signing("2025")), keys(compromised("a"), signing("b")))},
		},
	}
	for name, commits := range tests {
		t.Run(name, func(t *testing.T) {
			world := simulation.New(1, commits[0].want, plant())
			world.KeepRecord()
			for i, commit := range commits {
				world.Desired = commit.want
				world.Say("commit: %s", commit.says)
				if cut := i + 1; cut < len(commits) && commits[cut].after > 0 {
					takeTurns(t, world, commits[cut].after)
					continue
				}
				if log, err := world.Settle(200); err != nil {
					t.Fatalf("%v\n%s", err, log)
				}
			}
			golden.File(t, filepath.Join("testdata", name+".log"), world.Log())
		})
	}
}

func takeTurns(t *testing.T, world *simulation.World, turns int) {
	t.Helper()
	for range turns {
		world.Turn()
	}
	if broken := world.Violations(); len(broken) > 0 {
		t.Fatalf("invariant broken: %s\n%s", broken[0], world.Log())
	}
}
