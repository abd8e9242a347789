package forecast_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/simulation"
)

// TestWhatIsForecastHappens: from any moment of a world, the phases that are forecast for
// each authority are those that then come, tick by tick.
func TestWhatIsForecastHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		deep := rapid.Bool().Draw(t, "intermediate")
		first := site(deep, keys(signing("k1")), keys(signing("k1")))
		world := simulation.New(rapid.Uint64().Draw(t, "seed"), first, plant())
		world.KeepRecord()
		if log, err := world.Settle(500); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		world.Desired = site(deep, drawKeys(t, "root"), drawKeys(t, "issuing"))
		for range rapid.IntRange(0, 60).Draw(t, "turns") {
			world.Turn()
		}
		observed := world.Observe()
		f := forecast.Run(seen(world.Desired, world.Desired, observed, world.Now))
		standing := map[string]string{} // a stage may be over with the next tick
		for _, rollover := range planner.Next(world.Desired, observed, world.Now).Rollovers {
			standing[rollover.Authority.Name] = phaseName(rollover.Phase, rollover.From, rollover.To)
		}
		happened := phases(world)
		if broken := world.Violations(); len(broken) > 0 {
			t.Fatalf("the world is broken: %s\n%s", broken[0], world.Log())
		}
		foretold := map[string][]string{}
		for _, stage := range f.Stages {
			name, phase := stage.Authority.Name, phaseName(stage.Phase, stage.From, stage.To)
			if slices.Contains(happened[name], phase) || phase != standing[name] {
				foretold[name] = append(foretold[name], phase)
			}
		}
		for _, authority := range world.Desired.Authorities {
			name := authority.Metadata.Name
			if !slices.Equal(foretold[name], happened[name]) {
				t.Fatalf("of %s it was forecast %v, and %v came\n%s\n%s", name, foretold[name], happened[name], f.Summary, world.Log())
			}
		}
	})
}

func site(deep bool, rootKeys, issuingKeys []state) planner.Desired {
	if deep {
		return swift(chain(rootKeys, issuingKeys))
	}
	return swift(fleet(rootKeys...))
}

// drawKeys draws who signs, and what becomes of the others.
func drawKeys(t *rapid.T, of string) []state {
	signer := rapid.IntRange(1, 2).Draw(t, "signer of "+of)
	var drawn []state
	for n := 1; n <= 2; n++ {
		switch name := fmt.Sprintf("k%d", n); {
		case n == signer:
			drawn = append(drawn, signing(name))
		case rapid.Bool().Draw(t, name+" of "+of+" is trusted"):
			drawn = append(drawn, trusted(name))
		default:
			drawn = append(drawn, retired(name))
		}
	}
	return drawn
}

// phases are those that come until a world rests, each once, without those in which an
// authority only waits for another.
func phases(world *simulation.World) map[string][]string {
	came := map[string][]string{}
	for range 3000 {
		plan := world.Turn()
		resting := true
		for _, rollover := range plan.Rollovers {
			if rollover.Phase == planner.Settled {
				continue
			}
			resting = false
			name := phaseName(rollover.Phase, rollover.From, rollover.To)
			waits := !slices.ContainsFunc(rollover.Holds, func(h planner.Hold) bool { return h.Gate != "parent" && h.Gate != "intermediate" })
			if at := rollover.Authority.Name; !waits && !slices.Contains(came[at], name) {
				came[at] = append(came[at], name)
			}
		}
		if resting && len(world.Pending()) == 0 {
			return came
		}
	}
	return came
}

func phaseName(phase planner.Phase, from, to string) string {
	if phase == planner.Retire {
		return fmt.Sprintf("%s %s", phase, from)
	}
	return fmt.Sprintf("%s %s", phase, to)
}
