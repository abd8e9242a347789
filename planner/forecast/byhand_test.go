package forecast_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
)

// TestPeopleHelp: a rollover that waits for a paused rollout, or for a leaf of which it is not
// known what it was issued, goes on when somebody does what the plan asks for; and the plan
// says so, to the end.
func TestPeopleHelp(t *testing.T) {
	before, after := swift(fleet(signing("2025"))), swift(fleet(retired("2025"), signing("2026")))
	for name, c := range map[string]struct {
		found func(*planner.Observed)
		want  string
	}{
		"a paused rollout": {
			func(o *planner.Observed) { o.Workloads[0].Paused = true },
			": resume its rollouts, with kubectl rollout resume",
		},
		"a leaf that is not known": {
			func(o *planner.Observed) {
				o.Leaves[0].Chain, o.Leaves[0].Unknown = nil, "the CertificateRequest of revision 1 is gone; a reissue makes it known"
			},
			": renew it, with cmctl renew say",
		},
	} {
		t.Run(name, func(t *testing.T) {
			observed, at := cluster(t, before, before, 0)
			observed.Workloads, observed.Leaves = slices.Clone(observed.Workloads), slices.Clone(observed.Leaves)
			c.found(&observed)
			f := forecast.Run(seen(before, after, observed, at))
			if f.Verdict != forecast.Waits || len(f.Manual) != 1 || !strings.Contains(f.Manual[0].Subject+": "+f.Manual[0].Do, c.want) {
				t.Fatalf("%s: %s: people do %v, not %q", f.Verdict, f.Summary, f.Manual, c.want)
			}
			if last := f.Stages[len(f.Stages)-1]; last.Phase != planner.Retire || last.From != "2025" {
				t.Errorf("it ends with %s: %s", last.Title, f.Summary)
			}
		})
	}
}
