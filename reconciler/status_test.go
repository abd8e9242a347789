package reconciler

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/planner"
)

// The life of a domain, turn by turn, as its status tells it and as kstatus reads
// that.
func TestStatusTransitions(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Options.DisableEarlyExit = true
	rollingOver := func(rollover planner.Rollover) func() {
		return func() { w.plan.Rollovers = []planner.Rollover{rollover} }
	}
	waiting := planner.Hold{Gate: "copies", Subject: "ConfigMap plant/trust", Why: "does not hold 2026"}
	alarm := planner.Hold{Gate: "key", Subject: "Certificate cert-manager/root-2026", Why: "it holds another key: restore its Secret, or add a key", Alarm: true}
	steps := []struct {
		name string
		set  func()
	}{
		{"the first turn", func() {}},
		{"a new key is distributed", func() {
			w.revision = "main@sha1:bbbb"
			w.plan.Gates = []planner.Gate{{Name: "soak", Since: epoch}}
			rollingOver(distributing("1 of 2 copies hold 2026", waiting))()
		}},
		{"one copy more", rollingOver(distributing("2 of 2 copies hold 2026", planner.Hold{Gate: "soak", Why: "until 12:10"}))},
		{"a bundle is held", func() {
			w.plan.Holds = []planner.Hold{{Gate: "bundle", Subject: "Bundle fleet", Why: "its target was changed in Git: name it anew"}}
		}},
		{"Git does not answer", func() { w.pullErr = errors.New("pull main: no route to git.example: see that it runs") }},
		{"a commit that does not load", func() {
			w.pullErr, w.revision = nil, "main@sha1:cccc"
			w.loadErr = errors.Join(errors.New("site/ca.yaml:7: spec.keys: missing"), errors.New("site/ca.yaml:9: spec.key: unknown field"))
		}},
		{"it is mended, and the rollover is over", func() {
			w.loadErr, w.revision, w.plan.Gates = nil, "main@sha1:dddd", nil
			rollingOver(settled("2026"))()
		}},
		{"two bundles are held", func() {
			w.plan.Holds = append(w.plan.Holds, planner.Hold{Gate: "bundle", Subject: "Bundle line", Why: "somebody mounts it"})
		}},
		{"something cannot be read", func() {
			w.plan.Blind = true
			w.plan.Holds = []planner.Hold{{Gate: "unknown", Subject: "Pods", Why: "forbidden: grant list on pods"}}
		}},
		{"all can be read, and nothing is held", func() { w.plan.Blind, w.plan.Holds = false, nil }},
		{"a key was changed without a plan", func() { w.plan.Holds = []planner.Hold{waiting, alarm} }},
		{"a rollover begins in spite of it", func() {
			w.plan.Holds = nil
			rollingOver(distributing("0 of 2 copies hold 2027", waiting, alarm))()
		}},
		{"the key was put back", rollingOver(settled("2026"))},
		{"the record cannot be written", func() {
			w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Mode = v1alpha1.WriteBackEnabled })
			w.plan.Record = []planner.RecordedKey{recordedKey(t, "2027")}
			w.pushErr = errRejected
		}},
		{"it can be written", func() { w.pushErr = nil }},
		{"the record is read", func() { w.plan.Record = nil }},
		{"the spec is broken", func() {
			w.edit(func(d *v1alpha1.TrustDomain) { d.Generation, d.Spec.Source.Path = 2, "../other" })
		}},
		{"the spec is mended", func() {
			w.edit(func(d *v1alpha1.TrustDomain) { d.Generation, d.Spec.Source.Path = 3, "site" })
		}},
	}
	var story strings.Builder
	for i, step := range steps {
		w.now = epoch.Add(time.Duration(i) * time.Minute)
		step.set()
		w.turn()
		fmt.Fprintf(&story, "# %s, %s\n# kstatus: %s\n", w.now.Format("15:04"), step.name, kstatus(t, w.domain()))
		text, err := yaml.Marshal(w.domain().Status)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&story, "%s\n", text)
	}
	golden.File(t, "testdata/status.golden", story.String())
}

// kstatus reads a domain as Flux, kubectl and others do.
func kstatus(t *testing.T, domain *v1alpha1.TrustDomain) string {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(domain)
	if err != nil {
		t.Fatal(err)
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: fields})
	if err != nil {
		t.Fatal(err)
	}
	return result.Status.String()
}

func TestHoldsInTheStatusAreBounded(t *testing.T) {
	var holds []planner.Hold
	for i := range 500 {
		holds = append(holds, planner.Hold{Gate: "copies", Subject: fmt.Sprintf("ConfigMap plant-%03d/trust", i), Why: "missing"})
	}
	w := newWorld(t)
	w.plan.Rollovers, w.plan.Holds = []planner.Rollover{distributing("0 of 500", holds...)}, holds
	w.turn()
	status := w.domain().Status
	if got := len(status.Rollovers[0].Holds); got != maxListed {
		t.Errorf("the status lists %d holds of the rollover, want %d", got, maxListed)
	}
	if got := len(status.Holds); got != maxListed {
		t.Errorf("the status lists %d holds of no authority, want %d", got, maxListed)
	}
	if ready := status.Conditions[0].Message; !strings.Contains(ready, "; 500 holds: ") || !strings.HasSuffix(ready, "; and 490 more") {
		t.Errorf("Ready says %q", ready)
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		message string
		size    int
		want    string
	}{
		{"short", 10, "short"},
		{"exactly10!", 10, "exactly10!"},
		{"more than ten", 10, "more th…"},
		{"2025 → 2026 → 2027", 10, "2025 …"},
	} {
		if got := cut(test.message, test.size); got != test.want || len(got) > test.size {
			t.Errorf("cut(%q, %d) = %q, want %q", test.message, test.size, got, test.want)
		}
	}
}
