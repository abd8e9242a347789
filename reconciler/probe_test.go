package reconciler

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/reanchor/reanchor/planner"
)

// probing lets the planner ask for a handshake until it is given one that it counts: of this
// very moment.
func (w *world) probing(age time.Duration) {
	w.reconciler.Parts.Plan = func(desired planner.Desired, observed planner.Observed, now time.Time) planner.Plan {
		w.plan.Probes = []planner.Probe{{Bundle: "fleet-trust", Name: "broker"}}
		if slices.ContainsFunc(observed.Probes, func(r planner.ProbeResult) bool { return now.Sub(r.At) <= age }) {
			w.plan.Probes = nil
		}
		return w.next(desired, observed, now)
	}
}

// What a plan asks for is shaken hands with at once, and planned with; it is asked for again
// when it is old, and after a restart.
func TestProbesAreMadeAndPlannedWith(t *testing.T) {
	w := newWorld(t)
	w.probing(time.Hour)
	begin := []string{"pull", "check site/kustomization.yaml", "load site"}
	asked := []string{"observe cached", "plan", "probe 1", "observe cached", "plan", "render", "check", "try prune=true"}
	w.turn()
	expectCalls(t, w, append(slices.Clone(begin), asked...)...)
	if len(w.shaken) != 1 || !w.shaken[0].OK || !w.shaken[0].At.Equal(w.now) {
		t.Errorf("the plan was given %+v", w.shaken)
	}
	w.now = w.now.Add(wholeTurnEvery)
	w.turn()
	expectCalls(t, w, "pull", "observe cached", "plan", "render", "check", "try prune=true")
	w.now = w.now.Add(time.Hour)
	w.turn()
	expectCalls(t, w, append([]string{"pull"}, asked...)...)
	w.restart()
	w.turn()
	expectCalls(t, w, append(slices.Clone(begin), asked...)...)
}

// A snapshot that stands in for a head which cannot be read takes no anchor out, and asks
// nobody.
func TestNoProbesFromTheLastGoodSnapshot(t *testing.T) {
	w := newWorld(t)
	w.turn()
	w.probing(time.Hour)
	w.pullErr = errors.New("no route to git.example")
	w.turn()
	expectCalls(t, w, "pull", "observe cached", "plan", "render", "check", "try prune=false")
}

func TestHandshakesAreKeptByWhatWasTrusted(t *testing.T) {
	var h handshakes
	result := func(name string, anchors byte, at time.Time, ok bool) planner.ProbeResult {
		r := planner.ProbeResult{Bundle: "b", Name: name, At: at, OK: ok}
		r.Anchors[0] = anchors
		return r
	}
	h.remember([]planner.ProbeResult{result("y", 1, epoch, true), result("x", 1, epoch, false)}, epoch)
	later := epoch.Add(time.Hour)
	h.remember([]planner.ProbeResult{result("x", 2, later, false), result("x", 1, later, true)}, later)
	want := []planner.ProbeResult{result("x", 1, later, true), result("x", 2, later, false), result("y", 1, epoch, true)}
	if got := h.all(); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	h.remember(nil, epoch.Add(handshakesLast+time.Second))
	if got := h.all(); !slices.Equal(got, want[:2]) {
		t.Errorf("a day later: %+v", got)
	}
}

// Of a key that was to go while a window was open and of which nothing was taken out, the
// gate is dropped: it did not begin.
func TestGatesOfKeysThatDidNotBeginToGoAreDropped(t *testing.T) {
	for name, test := range map[string]struct {
		set  func(*world)
		want int
	}{
		"taken out":      {func(w *world) { w.result.Applied = []string{"Bundle trust"} }, 1},
		"in part":        {func(w *world) { w.result.Applied, w.applyErr = []string{"Bundle trust"}, errors.New("forbidden") }, 1},
		"nothing at all": {func(w *world) { w.applyErr = errors.New("forbidden") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.plan.Gates, w.plan.Decisive = []planner.Gate{{Name: planner.GateRetiring + "cert-manager/root 2025", Since: epoch}}, true
			test.set(w)
			w.turn()
			if got := w.domain().Status.Gates; len(got) != test.want {
				t.Errorf("the status holds %v", got)
			}
		})
	}
}
