package reconciler

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// declaring is what documents with one bundle declare.
func declaring(bundle string) planner.Desired {
	return planner.Desired{Bundles: []v1alpha1.TrustBundle{{Metadata: v1alpha1.Metadata{Name: bundle}}}}
}

const (
	planA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	planB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// commits puts a commit on the branch, with other documents.
func (w *world) commits(revision, bundle string, messages ...string) {
	w.revision, w.desired, w.changed, w.messages = revision, declaring(bundle), []string{"site/pki.yaml"}, messages
}

func TestACommitIsHeldToItsPlan(t *testing.T) {
	for name, test := range map[string]struct {
		mode     v1alpha1.PlanTrailer
		messages []string
		live     string
		blocked  string
		asks     bool   // for a forecast
		refused  string // what it says
		digest   string // in the status
	}{
		"no trailer":               {messages: []string{"Roll"}},
		"no trailer, and required": {mode: v1alpha1.PlanTrailerRequired, messages: []string{"Roll"}, refused: "no commit since the last one that was applied has the trailer Reanchor-Plan, and spec.planTrailer is Required"},
		"as planned":               {messages: []string{"Roll\n\nReanchor-Plan: " + planA}, live: planA, asks: true, digest: planA},
		"as planned, and required": {mode: v1alpha1.PlanTrailerRequired, messages: []string{"Roll\n\nReanchor-Plan: " + planA}, live: planA, asks: true, digest: planA},
		"another plan":             {messages: []string{"Roll\n\nReanchor-Plan: " + planA}, live: planB, asks: true, refused: "it was merged for the plan " + planA + ", and what would be done now is the plan " + planB + ": Rolls root from 2025 to 2026."},
		"ignored":                  {mode: v1alpha1.PlanTrailerIgnored, messages: []string{"Roll\n\nReanchor-Plan: " + planA}, live: planB},
		"below another commit":     {messages: []string{"Register 3 devices", "Roll\n\nReanchor-Plan: " + planA}, live: planB, asks: true, refused: "merged for the plan " + planA},
		"the newest counts":        {messages: []string{"Again\n\nReanchor-Plan: " + planB, "Roll\n\nReanchor-Plan: " + planA}, live: planB, asks: true, digest: planB},
		"as planned, and blocked":  {messages: []string{"Roll\n\nReanchor-Plan: " + planA}, live: planA, blocked: "Plant Root 2026: it ends too soon", asks: true, refused: "what would be done now is blocked: It must not be merged: Plant Root 2026: it ends too soon."},
		"no digest":                {messages: []string{"Roll\n\nReanchor-Plan: ok"}, refused: `is "ok": write it as sha256:`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.PlanTrailer = v1alpha1.PlanTrailerIgnored })
			w.desired = declaring("first")
			w.turn()
			w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.PlanTrailer = test.mode })
			w.commits("main@sha1:bbbb", "second", test.messages...)
			w.live, w.blocked = test.live, test.blocked
			w.turn()
			if asked := slices.Contains(w.calls, "forecast main@sha1:bbbb"); asked != test.asks {
				t.Errorf("the calls are %q, want a forecast: %t", w.calls, test.asks)
			}
			status := w.domain().Status
			ready := apimeta.FindStatusCondition(status.Conditions, meta.ReadyCondition)
			if test.refused != "" {
				if ready.Status != metav1.ConditionFalse || ready.Reason != ReasonPlanDiffers || !strings.Contains(ready.Message, test.refused) || !strings.HasSuffix(ready.Message, "revision main@sha1:aaaa stays in force") {
					t.Errorf("Ready is %+v, want False, PlanDiffers, %q, and the revision that stays in force", ready, test.refused)
				}
				if status.LastAppliedRevision != "main@sha1:aaaa" {
					t.Errorf("%s was applied", status.LastAppliedRevision)
				}
				return
			}
			documents, _ := declaring("second").Digest()
			if ready.Status != metav1.ConditionTrue || status.LastAppliedRevision != "main@sha1:bbbb" || status.Plan == nil || *status.Plan != (v1alpha1.LetInPlan{Documents: documents, Digest: test.digest}) {
				t.Errorf("Ready is %+v, the plan %+v, want %s applied for %q", ready, status.Plan, w.revision, test.digest)
			}
			if test.mode != v1alpha1.PlanTrailerIgnored && w.messagesSince != "main@sha1:aaaa" {
				t.Errorf("the history was read since %q, want since what was applied", w.messagesSince)
			}
		})
	}
}

// What stands beside the documents counts as in the plan that was approved: a Certificate that
// comes with the commit, and one that goes.
func TestAPlanKnowsWhatStandsBesideTheDocuments(t *testing.T) {
	w := newWorld(t)
	stays, goes, comes := planner.Leaf{Ref: planner.Ref{Namespace: "plant", Name: "broker"}}, planner.Leaf{Ref: planner.Ref{Namespace: "plant", Name: "press"}}, planner.Leaf{Ref: planner.Ref{Namespace: "plant", Name: "line"}}
	before := &besides{w, []planner.Leaf{stays, goes}}
	w.asLoaded = before
	w.turn()
	w.commits("main@sha1:bbbb", "second", "Roll\n\nReanchor-Plan: "+planA)
	w.asLoaded, w.live = &besides{w, []planner.Leaf{stays, comes}}, planA
	w.turn()
	if got := w.foreseen.Users; len(got) != 2 || got[1].Ref != comes.Ref {
		t.Errorf("the forecast knows of %+v", got)
	}
	if got := w.foreseen.Beside; len(got) != 1 || got[0].Object != "Certificate plant/press" {
		t.Errorf("the forecast knows that %+v goes", got)
	}
}

// besides are documents with Certificates beside them.
type besides struct {
	*world
	leaves []planner.Leaf
}

func (b *besides) Users() ([]planner.Leaf, []string) { return b.leaves, nil }

// What was let in is not asked about again, not after a restart either: in the middle of a
// rollover another plan is left than the one that was approved.
func TestWhatWasLetInIsNotAskedAbout(t *testing.T) {
	w := newWorld(t)
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.PlanTrailer = v1alpha1.PlanTrailerRequired })
	w.commits("main@sha1:bbbb", "second", "Roll\n\nReanchor-Plan: "+planA)
	w.live = planA
	w.turn()
	w.live = planB
	w.restart()
	w.turn()
	w.revision, w.changed, w.messages = "main@sha1:cccc", []string{"site/kustomization.yaml"}, []string{"Sort a list"}
	w.turn()
	if status := w.domain().Status; status.LastAppliedRevision != "main@sha1:cccc" || slices.Contains(w.calls, "forecast main@sha1:cccc") {
		t.Errorf("applied is %s, by %q: want equal documents let in without a look", status.LastAppliedRevision, w.calls)
	}
	w.commits("main@sha1:dddd", "third", "Again")
	w.turn()
	if status := w.domain().Status; status.LastAppliedRevision != "main@sha1:cccc" {
		t.Errorf("applied is %s: want other documents refused without a plan", status.LastAppliedRevision)
	}
}

// A domain that was in force before anybody asked stays so.
func TestWhatWasInForceIsLetIn(t *testing.T) {
	w := newWorld(t)
	w.turn()
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.PlanTrailer = v1alpha1.PlanTrailerRequired })
	domain := w.domain()
	domain.Status.Plan = nil
	if err := w.client.Status().Update(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.turn()
	if status := w.domain().Status; status.Plan == nil || !apimeta.IsStatusConditionTrue(status.Conditions, meta.ReadyCondition) {
		t.Errorf("the status is %+v, want it in force", status)
	}
}

// The plan is told in the status before the first object is written: a crash after that finds
// it there.
func TestThePlanIsToldBeforeItIsCarriedOut(t *testing.T) {
	w := newWorld(t)
	w.commits("main@sha1:bbbb", "second", "Roll\n\nReanchor-Plan: "+planA)
	w.live = planA
	w.result.Applied = []string{"Bundle second"}
	var told *v1alpha1.LetInPlan
	w.whenApplied = func() { told = w.domain().Status.Plan }
	w.turn()
	if told == nil || told.Digest != planA {
		t.Errorf("when it was applied, the status told of the plan %+v", told)
	}
}

// A history that cannot be read may hold a trailer: the commit waits.
func TestAHistoryThatCannotBeReadHolds(t *testing.T) {
	w := newWorld(t)
	w.desired = declaring("first")
	w.turn()
	w.commits("main@sha1:bbbb", "second")
	w.messagesErr = &SourceError{Reason: ReasonRemoteUnreachable, Err: errors.New("no route to git.example")}
	w.turn()
	status := w.domain().Status
	ready := apimeta.FindStatusCondition(status.Conditions, meta.ReadyCondition)
	if ready.Reason != ReasonRemoteUnreachable || status.LastAppliedRevision != "main@sha1:aaaa" {
		t.Errorf("Ready is %+v, and applied is %s", ready, status.LastAppliedRevision)
	}
	w.messagesErr = nil
	w.turn()
	if applied := w.domain().Status.LastAppliedRevision; applied != "main@sha1:bbbb" {
		t.Errorf("applied is %s after the history could be read", applied)
	}
}
