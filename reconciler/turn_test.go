package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
)

func expectCalls(t *testing.T, w *world, want ...string) {
	t.Helper()
	if !slices.Equal(w.calls, want) {
		t.Errorf("the turn was\n\t%s\nwant\n\t%s", strings.Join(w.calls, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// A turn reads like the list in the package's comment. With nothing to write it ends
// with the trial; whatever is written is planned at the API server.
func TestATurnReadsLikeTheList(t *testing.T) {
	again := []string{"observe uncached", "plan", "render", "check", "apply prune=true"}
	for name, test := range map[string]struct {
		set  func(*world)
		want []string // after the plan from the cache
	}{
		"nothing to write": {func(*world) {}, []string{"render", "check", "try prune=true"}},
		"a difference":     {func(w *world) { w.result.Applied = []string{"Bundle trust"} }, append([]string{"render", "check", "try prune=true"}, again...)},
		"one to prune":     {func(w *world) { w.result.Pruned = []string{"Issuer plant/x"} }, append([]string{"render", "check", "try prune=true"}, again...)},
		"an action":        {func(w *world) { w.plan.Actions = []planner.Action{{Kind: planner.ActionProve}} }, append(slices.Clone(again), "act 1")},
		"a decisive plan":  {func(w *world) { w.plan.Decisive = true }, again},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.set(w)
			w.turn()
			expectCalls(t, w, append([]string{"pull", "check site/kustomization.yaml", "load site", "observe cached", "plan"}, test.want...)...)
			if status := w.domain().Status; status.LastAppliedRevision != "main@sha1:aaaa" {
				t.Errorf("lastAppliedRevision is %q", status.LastAppliedRevision)
			}
		})
	}
}

// lagging gives each plan its own manifest, by which it is known again: the first is
// made from the cache, the second at the API server.
func (w *world) lagging(plans ...planner.Plan) {
	var made int
	w.reconciler.Parts.Plan = func(desired planner.Desired, observed planner.Observed, now time.Time) planner.Plan {
		w.plan = plans[min(made, len(plans)-1)]
		made++
		w.manifests = []*unstructured.Unstructured{manifest("v1", "ConfigMap")}
		w.manifests[0].SetName(fmt.Sprintf("plan-%d", made))
		return w.next(desired, observed, now)
	}
}

// wantApplied checks which plans' manifests were applied.
func wantApplied(t *testing.T, w *world, want ...string) {
	t.Helper()
	var got []string
	for _, manifests := range w.applied {
		got = append(got, manifests[0].GetName())
	}
	if !slices.Equal(got, want) {
		t.Errorf("applied %q, want %q", got, want)
	}
}

// The cache does not know yet what the last turn wrote: its plan would take it back.
func TestAStaleViewIsNeverWritten(t *testing.T) {
	restart := planner.Action{Kind: planner.ActionRestart, Workload: "Deployment", Subject: planner.Ref{Namespace: "plant", Name: "broker"}}
	for name, test := range map[string]struct {
		cached, live planner.Plan
		differs      bool
		started      []planner.Action
	}{
		"a target that differs":      {cached: planner.Plan{}, live: planner.Plan{}, differs: true},
		"an action that was started": {cached: planner.Plan{Actions: []planner.Action{restart}}, live: planner.Plan{}},
		"an action that is new":      {cached: planner.Plan{}, live: planner.Plan{Actions: []planner.Action{restart}}, differs: true, started: []planner.Action{restart}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.lagging(test.cached, test.live)
			if test.differs {
				w.result.Applied = []string{"Bundle trust"}
			}
			w.turn()
			wantApplied(t, w, "plan-2")
			if !slices.Equal(w.started, test.started) {
				t.Errorf("started %v, want %v", w.started, test.started)
			}
		})
	}
}

// In a stale view the documents may render to what no policy allows, or not at all.
func TestAStaleViewFailsNoTurn(t *testing.T) {
	denied := policies.Violation{Rule: policies.RuleAnchorChanged, Severity: policies.Deny, Subject: "Bundle trust"}
	unwise := policies.Violation{Rule: "r", Severity: policies.Warn, Subject: "Certificate plant/x", Message: "lives long", Mend: "shorten it"}
	for name, spoil := range map[string]func(*world){
		"denied":       func(w *world) { w.violations = append(w.violations, denied) },
		"not rendered": func(w *world) { w.renderErr = errors.New("overlay") },
		"not compared": func(w *world) { w.trialErr = errors.New("list Bundles: no cache of them") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.violations = []policies.Violation{unwise}
			spoil(w)
			observe := w.reconciler.Parts.Observe
			w.reconciler.Parts.Observe = func(ctx context.Context, reader client.Reader, domain planner.Ref, desired planner.Desired, since []planner.Gate) (Observation, error) {
				if _, live := reader.(uncached); live {
					w.violations, w.renderErr, w.trialErr = []policies.Violation{unwise}, nil, nil
				}
				return observe(ctx, reader, domain, desired, since)
			}
			w.turn()
			if ready := w.ready(); ready.Status != metav1.ConditionTrue || w.calls[len(w.calls)-1] != "apply prune=true" {
				t.Errorf("Ready is %+v after %q", ready, w.calls)
			}
			if told := bare(w.told()); !slices.Contains(told, "Normal Warning "+unwise.String()) {
				t.Errorf("told %q, want each warning once", told)
			}
		})
	}
}

// The cache is one write behind: a gate that the last turn dropped is still in it.
// No step is taken on that, be it only an action or a repair.
func TestNothingIsWrittenFromAStaleDomain(t *testing.T) {
	steps := map[string]func(*world){
		"decisive":     func(w *world) { w.plan.Decisive = true },
		"an action":    func(w *world) { w.plan.Actions = []planner.Action{{Kind: planner.ActionReissue}} },
		"a difference": func(w *world) { w.result.Applied = []string{"Bundle trust"} },
	}
	for name, change := range map[string]func(*world){
		"a gate was dropped": func(w *world) { w.plan.Gates = nil; w.restart(); w.turn() },
		"its spec was changed": func(w *world) {
			w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Prune = false })
		},
		"it is gone": func(w *world) {
			if err := w.client.Delete(t.Context(), w.domain()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.plan.Gates = []planner.Gate{{Name: "soak", Since: epoch.Add(-25 * time.Hour)}}
			w.turn()
			stale := w.domain()
			change(w)
			w.behind(stale)
			w.restart()
			w.told()
			plan := w.plan
			for step, set := range steps {
				w.plan, w.result, w.writes = plan, Result{}, 0
				set(w)
				result := w.turn()
				if slices.Contains(w.calls, "observe uncached") || slices.Contains(w.calls, "apply prune=true") || slices.Contains(w.calls, "act 1") {
					t.Errorf("%s: the turn was %q", step, w.calls)
				}
				if told := w.told(); result.RequeueAfter != soon || w.writes > 0 || len(told) > 0 {
					t.Errorf("%s: the next turn comes after %s, after %d writes and %q told; want it soon, after none", step, result.RequeueAfter, w.writes, told)
				}
			}
		})
	}
}

// A turn that ends for a stale TrustDomain tells nothing; the next one does.
func TestWarningsOutliveATurnThatWasOutdated(t *testing.T) {
	w := newWorld(t)
	w.warnings = []string{"site/root.yaml:8: spec.rollover.skew: 0s is below 5m0s"}
	stale := w.domain()
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Prune = false })
	w.behind(stale)
	w.plan.Decisive = true
	w.turn()
	if told := w.told(); len(told) > 0 {
		t.Fatalf("told %q", told)
	}
	w.reconciler.Client = w.client
	w.turn()
	if told := bare(w.told()); !slices.Contains(told, "Normal Warning "+w.warnings[0]) {
		t.Errorf("told %q, want the warning", told)
	}
}

func TestADecisivePlanWaitsForTheCache(t *testing.T) {
	w := newWorld(t)
	w.plan.Gates = []planner.Gate{{Name: "soak", Since: epoch.Add(-25 * time.Hour)}}
	w.turn()
	stale := w.domain()
	w.plan.Gates = nil
	w.restart()
	w.turn()
	w.behind(stale)
	w.restart()
	w.plan.Decisive = true
	w.turn()
	w.reconciler.Client = w.client
	w.turn()
	expectCalls(t, w, "pull", "observe cached", "plan", "observe uncached", "plan", "render", "check", "apply prune=true")
	if len(w.since) > 0 {
		t.Errorf("the decisive observation was given %v, a gate that was dropped", w.since)
	}
}

func TestTheAPIServerMustAnswerBeforeAnythingIsWritten(t *testing.T) {
	w := newWorld(t)
	w.plan.Decisive = true
	w.reconciler.APIReader = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("no route to the API server")
		},
	})
	w.plan.Gates = []planner.Gate{{Name: "soak", Since: epoch}}
	w.turn()
	if last := w.calls[len(w.calls)-1]; last != "plan" || w.ready().Reason != ReasonObserveFailed {
		t.Errorf("the turn ended with %q, Ready is %+v", last, w.ready())
	}
	if gates := w.domain().Status.Gates; len(gates) > 0 {
		t.Errorf("a plan that was not made again left %v", gates)
	}
}

// What could not be read looks as if it were not there: nothing may be made of it.
func TestABlindPlanWritesNothing(t *testing.T) {
	pods := planner.Hold{Gate: planner.GateUnknown, Subject: "Pods of namespace plant", Why: "forbidden: grant list on pods"}
	copies := planner.Hold{Gate: planner.GateUnknown, Subject: "ConfigMaps of namespace line", Why: "the API server did not answer"}
	blind := planner.Plan{
		Blind: true, Decisive: true, Holds: []planner.Hold{pods},
		Rollovers: []planner.Rollover{distributing("not known", pods, copies)},
		Gates:     []planner.Gate{{Name: "soak", Since: epoch}},
	}
	const why = "nothing is written, for not everything could be read: Pods of namespace plant: forbidden: grant list on pods; " +
		"ConfigMaps of namespace line: the API server did not answer: see that the API server answers and that the controller's role grants get, list and watch on it"
	for name, test := range map[string]struct {
		set    func(*world)
		reason string
		words  string
	}{
		"of a good snapshot": {func(*world) {}, ReasonObserveFailed, "nothing is written"},
		"of the last good snapshot": {
			func(w *world) { w.pullErr = errors.New("no route to git.example") }, ReasonGitOperationFailed,
			"no route to git.example; and revision main@sha1:aaaa could not be kept in force: nothing is written",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.turn()
			w.told()
			w.plan = blind
			test.set(w)
			w.now = epoch.Add(wholeTurnEvery)
			result := w.turn()
			if last := w.calls[len(w.calls)-1]; last != "plan" || result.RequeueAfter != 20*time.Second {
				t.Errorf("the turn ended with %q, the next comes after %s; want it to end with its plan and be tried again after retryInterval", last, result.RequeueAfter)
			}
			status := w.domain().Status
			ready := apimeta.FindStatusCondition(status.Conditions, meta.ReadyCondition)
			if ready.Status != metav1.ConditionFalse || ready.Reason != test.reason || !strings.HasPrefix(ready.Message, test.words) || !strings.HasSuffix(ready.Message, why) {
				t.Errorf("Ready is %+v, want False, %s, %q … %q", ready, test.reason, test.words, why)
			}
			if len(status.Gates) != 1 || status.Rollovers[0].Phase != "Distribute" || status.LastAppliedRevision != "main@sha1:aaaa" {
				t.Errorf("the status does not tell of the plan: %+v", status)
			}
			if told := w.told(); len(told) != 2 || !strings.HasPrefix(told[0], "Normal Distribute ") || !strings.HasPrefix(told[1], "Warning "+test.reason) {
				t.Errorf("told %q, want the phase, and what could not be read once", told)
			}
		})
	}
}

// An observation at the API server may see less than the cache.
func TestADecisivePlanThatIsBlindWritesNothing(t *testing.T) {
	w := newWorld(t)
	plans := []planner.Plan{{Decisive: true}, {Decisive: true, Blind: true}}
	w.reconciler.Parts.Plan = func(planner.Desired, planner.Observed, time.Time) planner.Plan {
		w.plan, plans = plans[0], plans[1:]
		return w.next(planner.Desired{}, planner.Observed{}, w.now)
	}
	w.turn()
	expectCalls(t, w, "pull", "check site/kustomization.yaml", "load site", "observe cached", "plan", "observe uncached", "plan")
}

// A restart that was not asked for must not be waited for.
func TestGatesOfRestartsThatWereNotAskedForAreDropped(t *testing.T) {
	action := func(kind, name string) planner.Action {
		return planner.Action{Kind: planner.ActionRestart, Workload: kind, Subject: planner.Ref{Namespace: "plant", Name: name}}
	}
	gates := []planner.Gate{
		{Name: "restart Deployment plant/broker 0123456789ab", Since: epoch},
		{Name: "restart Deployment plant/broker-2 0123456789ab", Since: epoch},
		{Name: "restart StatefulSet plant/earlier 0123456789ab", Since: epoch.Add(-time.Minute)},
		{Name: "soak", Since: epoch},
	}
	for name, test := range map[string]struct {
		set  func(*world)
		want []string
	}{
		"all were asked for": {
			func(w *world) { w.acted = w.plan.Actions },
			[]string{"restart Deployment plant/broker 0123456789ab", "restart Deployment plant/broker-2 0123456789ab", "restart StatefulSet plant/earlier 0123456789ab", "soak"},
		},
		"one failed": {
			func(w *world) {
				w.acted, w.actErr = w.plan.Actions[:1], errors.New("Restart plant/broker-2: forbidden")
			},
			[]string{"restart Deployment plant/broker 0123456789ab", "restart StatefulSet plant/earlier 0123456789ab", "soak"},
		},
		"none was reached": {
			func(w *world) { w.applyErr = errors.New("apply Bundle trust: forbidden") },
			[]string{"restart StatefulSet plant/earlier 0123456789ab", "soak"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.plan.Gates, w.plan.Actions = gates[2:3], []planner.Action{action("StatefulSet", "earlier")}
			w.acted = w.plan.Actions
			w.turn()
			w.restart()
			w.plan.Gates, w.plan.Actions = gates, []planner.Action{action("Deployment", "broker"), action("Deployment", "broker-2")}
			w.acted = nil
			test.set(w)
			w.turn()
			var got []string
			for _, gate := range w.domain().Status.Gates {
				got = append(got, gate.Name)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("the status holds\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(test.want, "\n\t"))
			}
		})
	}
}

// A failure ends the turn where it happens, is told with its reason, and the next
// turn comes after retryInterval.
func TestFailures(t *testing.T) {
	broken := errors.New("broken: mend it")
	denied := policies.Violation{Rule: policies.RuleAnchorChanged, Severity: policies.Deny, Subject: "Bundle trust", Message: "holds another anchor", Mend: "mend the overlay"}
	for name, test := range map[string]struct {
		set    func(*world)
		reason string
		last   string // the turn's last call
		words  string
	}{
		"pull":       {func(w *world) { w.pullErr = broken }, ReasonGitOperationFailed, "pull", "broken: mend it"},
		"file":       {func(w *world) { w.secrets = map[string]bool{"site/kustomization.yaml": true} }, ReasonPolicyViolation, "check site/kustomization.yaml", "denied by policy: private-key: site/kustomization.yaml:1: a private key: take it out of Git and make a new one"},
		"load":       {func(w *world) { w.loadErr = errors.New("site/ca.yaml:7: spec.keys: missing") }, ReasonBuildFailed, "load site", "site/ca.yaml:7: spec.keys: missing"},
		"observe":    {func(w *world) { w.observeErr = broken }, ReasonObserveFailed, "observe cached", "broken"},
		"render":     {func(w *world) { w.renderErr = broken }, ReasonBuildFailed, "render", "broken"},
		"violation":  {func(w *world) { w.violations = []policies.Violation{denied} }, ReasonPolicyViolation, "check", "denied by policy: anchor-changed: Bundle trust: holds another anchor: mend the overlay"},
		"apply":      {func(w *world) { w.applyErr = broken }, ReasonApplyFailed, "apply prune=true", "broken"},
		"act":        {func(w *world) { w.plan.Actions = []planner.Action{{}}; w.actErr = broken }, ReasonApplyFailed, "act 1", "broken"},
		"conflict":   {func(w *world) { w.result.Conflicts = []string{"Issuer plant/x: spec.ca is kubectl's"} }, ReasonApplyFailed, "apply prune=true", "spec.ca is kubectl's"},
		"taken":      {func(w *world) { w.result.Taken = []string{"Service plant/x belongs to TrustDomain pki/a"} }, ReasonOwnedByAnother, "apply prune=true", "left as it is, though the repository declares it: Service plant/x belongs to TrustDomain pki/a"},
		"deep error": {func(w *world) { w.applyErr = fmt.Errorf("apply: %w", broken) }, ReasonApplyFailed, "apply prune=true", "apply: broken"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.set(w)
			result := w.turn()
			if result.RequeueAfter != 20*time.Second {
				t.Errorf("the next turn comes after %s, want retryInterval", result.RequeueAfter)
			}
			if last := w.calls[len(w.calls)-1]; last != test.last {
				t.Errorf("the turn ended with %q, want %q", last, test.last)
			}
			ready := apimeta.FindStatusCondition(w.domain().Status.Conditions, meta.ReadyCondition)
			if ready == nil || ready.Status != metav1.ConditionFalse || ready.Reason != test.reason || !strings.Contains(ready.Message, test.words) {
				t.Errorf("Ready is %+v, want False, %s, %q", ready, test.reason, test.words)
			}
			if status := w.domain().Status; status.LastAppliedRevision != "" {
				t.Errorf("lastAppliedRevision is %q after a failed turn", status.LastAppliedRevision)
			}
			first := w.told()
			if len(first) == 0 || !strings.HasPrefix(first[len(first)-1], "Warning ") {
				t.Errorf("events %q, want a warning at the end", first)
			}
			w.turn()
			if again := w.told(); len(again) > 0 {
				t.Errorf("the same failure was told twice: %q", again)
			}
		})
	}
}

func TestTheLastGoodSnapshotStaysInForce(t *testing.T) {
	for name, spoil := range map[string]func(*world){
		"pull": func(w *world) { w.pullErr = errors.New("no route to git.example") },
		"load": func(w *world) {
			w.revision, w.loadErr = "main@sha1:bbbb", errors.New("site/ca.yaml:7: spec.keys: missing")
		},
		"file": func(w *world) {
			w.revision, w.changed = "main@sha1:bbbb", []string{"site/kustomization.yaml"}
			w.secrets = map[string]bool{"site/kustomization.yaml": true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.turn()
			spoil(w)
			w.plan.Actions = []planner.Action{{Kind: planner.ActionRestart}}
			w.turn()
			if last := w.calls[len(w.calls)-1]; last != "try prune=false" {
				t.Errorf("the turn ended with %q, want no action", last)
			}
			w.result.Applied = []string{"Bundle trust"}
			w.turn()
			if end := w.calls[len(w.calls)-6:]; !slices.Equal(end, []string{"try prune=false", "observe uncached", "plan", "render", "check", "apply prune=false"}) {
				t.Errorf("the turn ended with %q, want drift repaired without prune or actions", end)
			}
			status := w.domain().Status
			ready := apimeta.FindStatusCondition(status.Conditions, meta.ReadyCondition)
			if ready.Status != metav1.ConditionFalse || !strings.HasSuffix(ready.Message, "; revision main@sha1:aaaa stays in force") {
				t.Errorf("Ready is %+v", ready)
			}
			if status.LastAppliedRevision != "main@sha1:aaaa" {
				t.Errorf("lastAppliedRevision is %q", status.LastAppliedRevision)
			}

			w.plan.Decisive = true
			w.turn()
			if last := w.calls[len(w.calls)-1]; last != "plan" {
				t.Errorf("the turn ended with %q: a decisive plan must not be carried out from an old snapshot", last)
			}
			w.lagging(planner.Plan{}, planner.Plan{Decisive: true})
			w.turn()
			if end := w.calls[len(w.calls)-3:]; !slices.Equal(end, []string{"try prune=false", "observe uncached", "plan"}) {
				t.Errorf("the turn ended with %q: a plan that is decisive only at the API server must not be carried out either", end)
			}
		})
	}
}

func TestAnInvalidSpecStalls(t *testing.T) {
	w := newWorld(t)
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Source.URL = "https://user:hunter2@git.example/fleet.git" })
	if result := w.turn(); result.RequeueAfter != 0 {
		t.Errorf("the next turn comes after %s, want with the next generation", result.RequeueAfter)
	}
	expectCalls(t, w)
	stalled := apimeta.FindStatusCondition(w.domain().Status.Conditions, meta.StalledCondition)
	if stalled == nil || stalled.Reason != ReasonInvalidSpec || !strings.Contains(stalled.Message, "spec.source.secretRef") {
		t.Errorf("Stalled is %+v", stalled)
	}
	if strings.Contains(fmt.Sprint(w.domain().Status, w.told()), "hunter2") {
		t.Error("the password is told")
	}
}

func TestNoOpTurnsWriteNothing(t *testing.T) {
	for _, disabled := range []bool{false, true} {
		t.Run(fmt.Sprintf("early exit disabled=%t", disabled), func(t *testing.T) {
			w := newWorld(t)
			w.reconciler.Options.DisableEarlyExit = disabled
			w.manifests = []*unstructured.Unstructured{manifest("v1", "ConfigMap")}
			w.result.Kinds = []string{"v1/ConfigMap"}
			w.plan.Gates = []planner.Gate{{Name: "soak", Since: epoch.Add(-time.Minute - 300*time.Millisecond)}}
			w.plan.Rollovers = []planner.Rollover{distributing("1 of 2 copies hold 2026", planner.Hold{Gate: "copies", Subject: "ConfigMap plant/trust", Why: "not yet"})}
			w.turn()
			w.turn() // the one that the new gate brings
			w.told()
			w.writes = 0
			for range 100 {
				w.now = w.now.Add(time.Second)
				w.turn()
				want := []string{"pull"}
				if disabled {
					want = []string{"pull", "observe cached", "plan", "render", "check", "try prune=true"}
				}
				expectCalls(t, w, want...)
			}
			if told := w.told(); w.writes > 0 || len(told) > 0 {
				t.Errorf("100 turns without change wrote %d times and told %q", w.writes, told)
			}
		})
	}
}

func TestNoOpTurnsAfterARestartWriteNothing(t *testing.T) {
	w := newWorld(t)
	w.plan.Rollovers = []planner.Rollover{distributing("1 of 2", planner.Hold{Gate: "copies", Subject: "ConfigMap plant/trust", Why: "1 of 2"})}
	w.turn()
	w.told()
	w.writes = 0
	w.now = w.now.Add(time.Minute)
	w.restart()
	w.turn()
	if told := w.told(); w.writes > 0 || len(told) > 0 {
		t.Errorf("a restart wrote %d times and told %q", w.writes, told)
	}
}

// What ends the calm: each must bring a whole turn.
func TestWhatBringsAWholeTurn(t *testing.T) {
	for name, disturb := range map[string]func(*world){
		"a new revision": func(w *world) { w.revision = "main@sha1:bbbb" },
		"something moved": func(w *world) {
			w.reconciler.memories.of(types.NamespacedName{Namespace: "plant", Name: "fleet"}).moved.Store(true)
		},
		"a new generation": func(w *world) { w.edit(func(d *v1alpha1.TrustDomain) { d.Generation++ }) },
		"requestedAt": func(w *world) {
			w.edit(func(d *v1alpha1.TrustDomain) {
				d.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
			})
		},
		"LookAgain":     func(w *world) { w.now = epoch.Add(30 * time.Second) },
		"a restart":     func(w *world) { w.restart() },
		"a failed turn": func(w *world) { w.pullErr = errors.New("x"); w.turn(); w.pullErr = nil },
		"a lost status": func(w *world) {
			domain := w.domain()
			domain.Status = v1alpha1.TrustDomainStatus{}
			if err := w.client.Status().Update(t.Context(), domain); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.plan.LookAgain = epoch.Add(30 * time.Second)
			if result := w.turn(); result.RequeueAfter != 30*time.Second {
				t.Errorf("the next turn comes after %s, want at LookAgain", result.RequeueAfter)
			}
			w.now = epoch.Add(10 * time.Second)
			w.turn()
			expectCalls(t, w, "pull")
			disturb(w)
			w.turn()
			if last := w.calls[len(w.calls)-1]; last != "try prune=true" {
				t.Errorf("the turn was %q, want a whole one", w.calls)
			}
		})
	}
}

// What a turn learned may be all that the next one waits for: no watch tells of it.
func TestWhatATurnLearnedBringsTheNext(t *testing.T) {
	w := newWorld(t)
	w.turn()
	w.turn()
	expectCalls(t, w, "pull")
	w.reconciler.memories.of(types.NamespacedName{Namespace: "plant", Name: "fleet"}).moved.Store(true)
	w.plan.Gates = []planner.Gate{{Name: "cleared plant/fleet-root 2025", Since: epoch}}
	if result := w.turn(); result.RequeueAfter != soon {
		t.Errorf("a gate is new, and the next turn comes after %s, want at once", result.RequeueAfter)
	}
	w.plan.Gates[0].Since = epoch.Add(time.Minute) // by itself nothing new
	if result := w.turn(); result.RequeueAfter != time.Minute || w.calls[len(w.calls)-1] != "try prune=true" {
		t.Errorf("the turn was %q, and the next comes after %s; want a whole one, and the next after the interval", w.calls, result.RequeueAfter)
	}
	w.turn()
	expectCalls(t, w, "pull")
}

func TestAWholeTurnComesAtLeastEveryTenMinutes(t *testing.T) {
	w := newWorld(t)
	w.turn()
	w.now = epoch.Add(wholeTurnEvery)
	w.turn()
	if last := w.calls[len(w.calls)-1]; last != "try prune=true" {
		t.Errorf("the turn was %q, want a whole one", w.calls)
	}
}

func TestRequestedAtIsAnswered(t *testing.T) {
	w := newWorld(t)
	w.turn()
	w.edit(func(d *v1alpha1.TrustDomain) {
		d.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "2026-03-01T12:00:00Z"}
	})
	w.turn()
	if handled := w.domain().Status.LastHandledReconcileAt; handled != "2026-03-01T12:00:00Z" {
		t.Errorf("lastHandledReconcileAt is %q", handled)
	}
	w.turn()
	expectCalls(t, w, "pull")
}

func TestASuspendedDomainHasNoTurns(t *testing.T) {
	w := newWorld(t)
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Suspend = true })
	if result := w.turn(); result.RequeueAfter != 0 || len(w.calls) > 0 || w.writes > 0 {
		t.Errorf("a suspended domain: %+v, calls %q, %d writes", result, w.calls, w.writes)
	}
}

func TestOnlyFilesThatChangedAreScannedAgain(t *testing.T) {
	w := newWorld(t)
	w.files["site/more.yaml"] = &fstest.MapFile{Data: []byte("a: 1\n")}
	w.turn()
	w.revision, w.changed = "main@sha1:bbbb", []string{"site/gone.yaml", "site/more.yaml"}
	w.turn()
	expectCalls(t, w, "pull", "check site/gone.yaml", "check site/more.yaml", "load site", "observe cached", "plan", "render", "check", "try prune=true")
}

func TestGatesAreTheOnlyMemory(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Options.DisableEarlyExit = true
	w.plan.Gates = []planner.Gate{{Name: "soak", Since: epoch.Add(-time.Minute + time.Nanosecond)}}
	w.turn()
	w.restart()
	w.turn()
	want := epoch.Add(-59 * time.Second)
	if len(w.since) != 1 || w.since[0].Name != "soak" || !w.since[0].Since.Equal(want) {
		t.Errorf("the planner was given %v, want soak since %s: rounded up, so that no soak is cut short", w.since, want)
	}
	w.plan.Gates, w.applyErr = nil, errors.New("no")
	w.turn()
	w.turn()
	if len(w.since) > 0 {
		t.Errorf("a gate that closed was kept over a failed turn: %v", w.since)
	}
}

func TestKindsAreStoredBeforeTheFirstWrite(t *testing.T) {
	w := newWorld(t)
	w.manifests = []*unstructured.Unstructured{manifest("v1", "ConfigMap"), manifest("cert-manager.io/v1", "Issuer")}
	w.applyErr = errors.New("killed")
	w.turn()
	want := []string{"cert-manager.io/v1/Issuer", "v1/ConfigMap"}
	if got := w.domain().Status.Kinds; !slices.Equal(got, want) || !slices.Equal(w.options.Kinds, want) {
		t.Errorf("kinds are %v in the status and %v for Apply, want %v", got, w.options.Kinds, want)
	}
	w.applyErr, w.manifests, w.result.Kinds = nil, w.manifests[:1], []string{"v1/ConfigMap"}
	w.turn()
	if got := w.domain().Status.Kinds; !slices.Equal(got, []string{"v1/ConfigMap"}) {
		t.Errorf("kinds are %v once the Issuers were pruned", got)
	}
}

// A domain that was changed while its turn ran keeps the newer spec, and has
// another turn at once.
func TestALostRaceIsRunAgain(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Parts.Plan = func(planner.Desired, planner.Observed, time.Time) planner.Plan {
		w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Prune = !d.Spec.Prune })
		return w.plan
	}
	if result := w.turn(); result.RequeueAfter != soon {
		t.Errorf("the next turn comes after %s, want %s", result.RequeueAfter, soon)
	}
	if status := w.domain().Status; len(status.Conditions) > 0 {
		t.Errorf("the status of an outdated turn was written: %+v", status)
	}
}

func TestPhasesAndHoldsAreToldOnce(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Options.DisableEarlyExit = true
	w.turn()
	w.told()
	copies := func(subject string) planner.Hold {
		return planner.Hold{Gate: "copies", Subject: "ConfigMap " + subject, Why: "does not hold 2026"}
	}
	for _, step := range []struct {
		rollover planner.Rollover
		want     []string
	}{
		{distributing("0 of 2 copies", copies("a/trust"), copies("b/trust")), []string{
			"Normal Distribute cert-manager/root 2025 → 2026: Distribute: 0 of 2 copies",
			"Normal Held cert-manager/root: copies: ConfigMap a/trust: does not hold 2026",
		}},
		{distributing("1 of 2 copies", copies("b/trust")), nil},
		{distributing("2 of 2 copies", planner.Hold{Gate: "soak", Why: "until 12:10"}), []string{"Normal Held cert-manager/root: soak: until 12:10"}},
		{settled("2026"), []string{"Normal Settled cert-manager/root none → 2026: Settled: 2026 signs"}},
	} {
		w.plan.Rollovers = []planner.Rollover{step.rollover}
		w.turn()
		if told := bare(w.told()); !slices.Equal(told, step.want) {
			t.Errorf("%s: told %q, want %q", step.rollover.Progress, told, step.want)
		}
	}
}

// Holds that are no authority's are told as those of rollovers are: by gate, once.
func TestHoldsOfNoAuthorityAreToldOnce(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Options.DisableEarlyExit = true
	w.turn()
	w.told()
	bundle := func(name string) planner.Hold {
		return planner.Hold{Gate: "bundle", Subject: "Bundle " + name, Why: "its target was changed in Git"}
	}
	for _, step := range []struct {
		holds []planner.Hold
		want  []string
	}{
		{[]planner.Hold{bundle("a"), bundle("b")}, []string{"Normal Held bundle: Bundle a: its target was changed in Git"}},
		{[]planner.Hold{bundle("b")}, nil},
		{nil, nil},
		{[]planner.Hold{bundle("b")}, []string{"Normal Held bundle: Bundle b: its target was changed in Git"}},
	} {
		w.plan.Holds = step.holds
		w.turn()
		if told := bare(w.told()); !slices.Equal(told, step.want) {
			t.Errorf("%v: told %q, want %q", step.holds, told, step.want)
		}
	}
}

// What puts trust at risk is told as a warning, one by one, and again only when it is
// new; what only waits is told beside it as ever.
func TestRisksAreToldOnce(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Options.DisableEarlyExit = true
	w.turn()
	w.told()
	key := func(name, why string) planner.Hold {
		return planner.Hold{Gate: "key", Subject: "Certificate " + name, Why: why, Alarm: true}
	}
	calm := func(hold planner.Hold) planner.Hold { hold.Alarm = false; return hold }
	bundle := planner.Hold{Gate: "bundle", Subject: "Bundle a", Why: "changed"}
	for _, step := range []struct {
		name      string
		ofNobody  []planner.Hold
		ofTheRoot []planner.Hold
		fails     error
		want      []string
	}{
		{"a first", nil, []planner.Hold{key("a", "1 leaf")}, nil, []string{"Warning TrustAtRisk cert-manager/root: key: Certificate a: 1 leaf"}},
		{"its words change", nil, []planner.Hold{key("a", "2 leaves")}, nil, nil},
		{
			"a second, and something that waits",
			[]planner.Hold{bundle, key("c", "x")},
			[]planner.Hold{key("a", "2 leaves"), key("b", "x")},
			nil,
			[]string{"Warning TrustAtRisk cert-manager/root: key: Certificate b: x", "Normal Held bundle: Bundle a: changed", "Warning TrustAtRisk key: Certificate c: x"},
		},
		{"a turn fails", nil, []planner.Hold{key("a", "2 leaves")}, errors.New("forbidden"), []string{"Warning ApplyFailed forbidden"}},
		{"it is mended", nil, []planner.Hold{key("a", "2 leaves")}, nil, nil},
		{"it only waits now", nil, []planner.Hold{calm(key("a", "x"))}, nil, nil},
		{"it is a risk again", nil, []planner.Hold{key("a", "x")}, nil, []string{"Warning TrustAtRisk cert-manager/root: key: Certificate a: x"}},
		{"it is over", nil, nil, nil, nil},
	} {
		w.plan.Holds, w.applyErr = step.ofNobody, step.fails
		w.plan.Rollovers = []planner.Rollover{settled("2025")}
		w.plan.Rollovers[0].Holds = step.ofTheRoot
		w.turn()
		if told := bare(w.told()); !slices.Equal(told, step.want) {
			t.Errorf("%s: told %q, want %q", step.name, told, step.want)
		}
	}
}

// A risk is not lost among a hundred waits, nor told at every turn for being the last.
func TestRisksComeFirst(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Options.DisableEarlyExit = true
	for i := range 100 {
		w.plan.Holds = append(w.plan.Holds, planner.Hold{Gate: "copies", Subject: fmt.Sprintf("ConfigMap n%d/trust", i), Why: "missing"})
	}
	w.plan.Holds = append(w.plan.Holds, planner.Hold{Gate: "key", Subject: "Certificate a", Why: "changed", Alarm: true})
	w.turn()
	if first := w.domain().Status.Holds[0]; first != "key: Certificate a: changed" {
		t.Errorf("the status lists first %q", first)
	}
	if last := w.plan.Holds[100].Gate; last != "key" {
		t.Error("the plan was changed")
	}
	w.told()
	w.turn()
	if told := w.told(); len(told) > 0 {
		t.Errorf("told again: %q", told)
	}
}

// bare strips the annotations that the fake recorder appends.
func bare(events []string) []string {
	var all []string
	for _, event := range events {
		event, _, _ = strings.Cut(event, "map[")
		all = append(all, strings.TrimSpace(event))
	}
	return all
}

// What is allowed and yet unwise is told once for each revision, and stops nothing.
func TestWarningsAreToldOnceForEachRevision(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Options.DisableEarlyExit = true
	w.warnings = []string{"site/root.yaml:8: spec.rollover.skew: 0s is below 5m0s"}
	w.violations = []policies.Violation{{Rule: "r", Severity: policies.Warn, Subject: "Certificate plant/x", Message: "lives long", Mend: "shorten it"}}
	w.turn()
	want := "Normal Warning site/root.yaml:8: spec.rollover.skew: 0s is below 5m0s; r: Certificate plant/x: lives long: shorten it"
	if told := bare(w.told()); !slices.Contains(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if last := w.calls[len(w.calls)-1]; last != "try prune=true" {
		t.Errorf("the turn ended with %q", last)
	}
	w.turn()
	if told := w.told(); len(told) > 0 {
		t.Errorf("told again: %q", told)
	}
	w.pullErr = errors.New("no route to git.example")
	w.turn()
	if told := bare(w.told()); len(told) != 1 || !strings.HasPrefix(told[0], "Warning GitOperationFailed ") {
		t.Errorf("told %q, want the failure alone", told)
	}
}

func TestWhatWasWrittenIsToldWithTheRevision(t *testing.T) {
	w := newWorld(t)
	w.turn()
	w.told()
	w.revision = "main@sha1:bbbb"
	w.result.Applied, w.result.Pruned = []string{"Bundle trust"}, []string{"Certificate cert-manager/root-2025"}
	w.turn()
	told := w.told()
	if len(told) != 1 || !strings.Contains(told[0], "applied 1: Bundle trust, pruned 1: Certificate cert-manager/root-2025, from main@sha1:bbbb") ||
		!strings.Contains(told[0], "reanchor.dev/revision:main@sha1:bbbb") {
		t.Errorf("told %q", told)
	}
}

// The rules are given all that they look at: what the turn was planned from, and the
// documents.
func TestTheRulesSeeEverything(t *testing.T) {
	w := newWorld(t)
	w.observed.Issuers = []planner.Issuer{{Ref: planner.Ref{Name: "fleet"}}}
	w.documents = []v1alpha1.Object{&v1alpha1.Policy{}}
	w.manifests = []*unstructured.Unstructured{{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "x"}}}}
	domain := w.domain()
	domain.Labels = map[string]string{v1alpha1.LabelEnvironment: v1alpha1.EnvironmentProduction}
	if err := w.reconciler.Client.Update(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	w.turn()
	saw := w.judged
	if len(saw.Documents) != 1 || len(saw.Manifests) != 1 || len(saw.Observed.Issuers) != 1 || !saw.Production || saw.Now.IsZero() {
		t.Errorf("the rules saw %+v", saw)
	}
}
