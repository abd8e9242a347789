package planner_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestARolloverStageByStage tells, for a person to read, what the planner says at each
// stage of a rollover from 2025 to 2026, what it wants the cluster to hold then, and
// which gates it hands to the next turn.
func TestARolloverStageByStage(t *testing.T) {
	var told strings.Builder
	for _, stage := range []string{"empty", "settled", "introduced", "distributed", "soaked", "switched", "reissued", "drained", "released"} {
		s := stages[stage]()
		plan := s.next()
		fmt.Fprintf(&told, "== %s\n%s\n", stage, strings.Join(tell(plan, s.now), "\n"))
		for _, line := range targets(plan) {
			fmt.Fprintf(&told, "    %s\n", line)
		}
		for _, gate := range plan.Gates {
			fmt.Fprintf(&told, "    gate %s since %s\n", gate.Name, gate.Since.Format("15:04:05"))
		}
	}
	golden(t, "stages.txt", strings.Join(named([]string{told.String()}), ""))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is planned any more; read the difference, then `make golden`:\n%s", path, got)
	}
}
