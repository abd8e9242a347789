package reconciler

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.plan.Rollovers = []planner.Rollover{distributing("0 of 2",
		planner.Hold{Gate: "copies", Subject: "ConfigMap a/trust"}, planner.Hold{Gate: "copies", Subject: "ConfigMap b/trust"})}
	w.plan.Holds = []planner.Hold{{Gate: "bundle", Subject: "Bundle trust"}}
	w.turn()
	w.turn()
	w.pullErr = errors.New("x")
	w.turn()
	expectMetrics(t, w, `
# HELP reanchor_holds How many holds keep a gate shut in a trust domain.
# TYPE reanchor_holds gauge
reanchor_holds{gate="bundle",name="fleet",namespace="plant"} 1
reanchor_holds{gate="copies",name="fleet",namespace="plant"} 2
# HELP reanchor_rollover_phase 1 for the phase of its rollover that an authority is in.
# TYPE reanchor_rollover_phase gauge
reanchor_rollover_phase{authority="cert-manager/root",name="fleet",namespace="plant",phase="Distribute"} 1
# HELP reanchor_turns_total Turns of all trust domains, by how they ended.
# TYPE reanchor_turns_total counter
reanchor_turns_total{result="GitOperationFailed"} 1
reanchor_turns_total{result="quiet"} 1
reanchor_turns_total{result="succeeded"} 1
`)

	w.pullErr, w.plan.Rollovers, w.plan.Holds = nil, []planner.Rollover{settled("2026")}, nil
	w.turn()
	expectMetrics(t, w, `
# HELP reanchor_rollover_phase 1 for the phase of its rollover that an authority is in.
# TYPE reanchor_rollover_phase gauge
reanchor_rollover_phase{authority="cert-manager/root",name="fleet",namespace="plant",phase="Settled"} 1
`, "reanchor_rollover_phase", "reanchor_holds")

	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Mode, d.Generation = v1alpha1.WriteBackEnabled, 2 })
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	for _, err := range []error{errRejected, ErrConflict, nil} {
		w.pushErr = err
		w.now = w.now.Add(wholeTurnEvery)
		w.turn()
	}
	expectMetrics(t, w, `
# HELP reanchor_pushes_total Pushes of the record to Git, by how they ended.
# TYPE reanchor_pushes_total counter
reanchor_pushes_total{result="conflict"} 1
reanchor_pushes_total{result="failed"} 1
reanchor_pushes_total{result="succeeded"} 1
`, "reanchor_pushes_total")

	gone := types.NamespacedName{Namespace: "plant", Name: "fleet"}
	if err := w.client.Delete(t.Context(), w.domain()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.reconciler.Reconcile(context.Background(), ctrl.Request{NamespacedName: gone}); err != nil {
		t.Fatal(err)
	}
	expectMetrics(t, w, "", "reanchor_rollover_phase", "reanchor_holds")
}

func expectMetrics(t *testing.T, w *world, want string, names ...string) {
	t.Helper()
	if len(names) == 0 {
		names = []string{"reanchor_turns_total", "reanchor_rollover_phase", "reanchor_holds"}
	}
	if err := testutil.GatherAndCompare(w.registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}
