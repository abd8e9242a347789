package planner_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/fixtures/golden"
)

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
	golden.File(t, filepath.Join("testdata", "stages.txt"), strings.Join(named([]string{told.String()}), ""))
}
