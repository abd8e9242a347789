package reconciler

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
)

// newRecordWorld is a world whose domain keeps a record.
func newRecordWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack = v1alpha1.WriteBack{} })
	return w
}

// onOwnBranch is one whose record has a branch of its own.
func onOwnBranch(t *testing.T) *world {
	t.Helper()
	w := newRecordWorld(t)
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Branch = "anchors" })
	w.anchors.revision, w.anchors.files = "anchors@sha1:aaaa", fstest.MapFS{"README.md": {}}
	return w
}

// commitAs lets somebody else commit to the source's branch.
func (w *world) commitAs(revision string, files map[string][]byte) {
	w.files = commitTo(maps.Clone(w.files), Commit{Files: files})
	w.revision, w.changed = revision, slices.Sorted(maps.Keys(files))
}

func (w *world) ready() metav1.Condition {
	w.t.Helper()
	return *apimeta.FindStatusCondition(w.domain().Status.Conditions, meta.ReadyCondition)
}

// wantGiven checks the keys that the planner was given.
func wantGiven(t *testing.T, w *world, paths ...string) {
	t.Helper()
	if got := recordedPaths(w.given.Keys); !w.given.Enabled || !slices.Equal(got, paths) {
		t.Errorf("the planner was given the record %q (enabled: %t), want %q", got, w.given.Enabled, paths)
	}
}

func TestTheRecordIsWrittenLast(t *testing.T) {
	w := newRecordWorld(t)
	w.plan.Actions = []planner.Action{{Kind: planner.ActionProve}}
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	result := w.turn()
	expectCalls(t, w, "pull", "check site/kustomization.yaml", "record site", "load site", "observe cached", "plan",
		"observe uncached", "plan", "render", "check", "apply prune=true", "act 1", "push 1")
	wantGiven(t, w)
	if result.RequeueAfter != soon {
		t.Errorf("the next turn comes after %s, want at once: it must read the record", result.RequeueAfter)
	}
	pushed := w.pushed[0]
	if pushed.base != "main@sha1:aaaa" || pushed.to.Name != "main" || pushed.to.Record || pushed.to.URL != "https://git.example/fleet.git" {
		t.Errorf("pushed to %+v, decided on %s", pushed.to, pushed.base)
	}
	commit := pushed.commit
	if commit.Author != (v1alpha1.CommitAuthor{Name: "reanchor", Email: "noreply@reanchor.dev"}) || !commit.When.Equal(epoch) ||
		!strings.HasPrefix(commit.Message, "Record root 2026\n\nsite/anchors/root/2026.pem\n") {
		t.Errorf("the commit is %+v", commit)
	}
	told := bare(w.told())
	if want := "Normal ReconciliationSucceeded recorded 1: anchors/root/2026.pem, from main@sha1:aaaa"; !slices.Contains(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestTheAuthorOfTheRecord(t *testing.T) {
	w := newRecordWorld(t)
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Author = v1alpha1.CommitAuthor{Name: "PKI bot"} })
	if got := committerOf(w.domain().Spec); got.Name != "PKI bot" {
		t.Errorf("without a committer it is %+v", got)
	}
	w.edit(func(d *v1alpha1.TrustDomain) {
		d.Spec.WriteBack.Committer = &v1alpha1.CommitAuthor{Name: "site 7", Email: "7@plant.example"}
	})
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	w.turn()
	if got := w.pushed[0].commit.Author; got != (v1alpha1.CommitAuthor{Name: "PKI bot", Email: "noreply@reanchor.dev"}) {
		t.Errorf("the author is %+v", got)
	}
	if got := w.pushed[0].commit.Committer; got != (v1alpha1.CommitAuthor{Name: "site 7", Email: "7@plant.example"}) {
		t.Errorf("the committer is %+v", got)
	}
}

// The turn after a push reads what it pulls, and only that: nothing that a
// kustomization could see has changed.
func TestTheNextTurnSeesItsOwnPush(t *testing.T) {
	for name, between := range map[string]func(*world){
		"in memory":       func(*world) {},
		"after a restart": func(w *world) { w.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newRecordWorld(t)
			w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
			w.turn()
			between(w)
			w.plan.Record = nil
			w.now = epoch.Add(soon)
			w.turn()
			wantGiven(t, w, "anchors/root/2026.pem")
			if slices.Contains(w.calls, "push 1") {
				t.Error("it was pushed again")
			}
			if name == "in memory" {
				expectCalls(t, w, "pull", "check site/anchors/root/2026.pem", "record site", "observe cached", "plan", "render", "check", "try prune=true")
			}
			if got := w.domain().Status.LastAppliedRevision; got != "main@sha1:push1" {
				t.Errorf("lastAppliedRevision is %q, want the revision of the push", got)
			}
			w.turn()
			expectCalls(t, w, "pull")
		})
	}
}

// A push landed and the program died before it could say so.
func TestACrashAfterThePush(t *testing.T) {
	w := newRecordWorld(t)
	w.turn()
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	w.plan.Gates = []planner.Gate{{Name: "soak", Since: epoch}}
	w.reconciler.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		SubResourcePatch: conflicting, // the status cannot be written
	})
	w.now = epoch.Add(wholeTurnEvery)
	w.turn()
	if len(w.pushed) != 1 {
		t.Fatalf("pushed %d times", len(w.pushed))
	}
	w.restart()
	w.reconciler.Client, w.plan.Record = w.client, nil
	w.turn()
	wantGiven(t, w, "anchors/root/2026.pem")
	if got := w.domain().Status.LastAppliedRevision; got != "main@sha1:push1" || len(w.pushed) != 1 {
		t.Errorf("lastAppliedRevision is %q after %d pushes", got, len(w.pushed))
	}
}

func TestARetiredKeyMovesInTheRecord(t *testing.T) {
	w := newRecordWorld(t)
	w.commitAs("main@sha1:aaaa", recordFiles("site", []planner.RecordedKey{recordedKey(t, "2025"), recordedKey(t, "2026")}))
	w.changed = nil
	w.turn()
	wantGiven(t, w, "anchors/root/2025.pem", "anchors/root/2026.pem")
	w.now, w.plan.Record = epoch.Add(wholeTurnEvery), []planner.RecordedKey{retiredKey(t, "2025")}
	w.turn()
	expectCalls(t, w, "pull", "observe cached", "plan", "observe uncached", "plan", "render", "check", "apply prune=true", "push 2")
	w.plan.Record = nil
	w.turn()
	if last := w.calls[len(w.calls)-1]; last != "try prune=true" || !slices.Contains(w.calls, "load site") {
		t.Errorf("the turn was %q: with another retired key the documents are to be validated again", w.calls)
	}
	wantGiven(t, w, "anchors/root/retired/2025.pem", "anchors/root/2026.pem")
	if got := recordedPaths(w.loadedWith.Keys); !slices.Equal(got, recordedPaths(w.given.Keys)) {
		t.Errorf("loaded beside the record %q", got)
	}
}

func TestADomainWithoutARecord(t *testing.T) {
	w := newWorld(t)
	w.files["site/anchors/root/2025.pem"] = &fstest.MapFile{Data: []byte("not read")}
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	w.turn()
	expectCalls(t, w, "pull", "check site/anchors/root/2025.pem", "check site/kustomization.yaml", "load site", "observe cached", "plan", "render", "check", "try prune=true")
	if w.given.Enabled || w.given.Keys != nil || w.given.Problem != "" {
		t.Errorf("the planner was given the record %+v", w.given)
	}
}

func TestARecordOnItsOwnBranch(t *testing.T) {
	w := onOwnBranch(t)
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	w.turn()
	expectCalls(t, w, "pull", "pull anchors", "check site/kustomization.yaml", "record site", "load site", "observe cached", "plan",
		"observe uncached", "plan", "render", "check", "apply prune=true", "push 1")
	if to := w.pushed[0].to; to.Name != "anchors" || !to.Record || w.pushed[0].base != "anchors@sha1:aaaa" {
		t.Errorf("pushed to %+v, decided on %s", to, w.pushed[0].base)
	}
	w.plan.Record = nil
	w.turn()
	expectCalls(t, w, "pull", "pull anchors", "record site", "observe cached", "plan", "render", "check", "try prune=true")
	wantGiven(t, w, "anchors/root/2026.pem")
	if got := w.domain().Status.LastAppliedRevision; got != "main@sha1:aaaa" {
		t.Errorf("lastAppliedRevision is %q, want that of the documents", got)
	}
	for range 3 {
		if result := w.turn(); result.RequeueAfter != time.Minute {
			t.Errorf("the next turn comes after %s", result.RequeueAfter)
		}
		expectCalls(t, w, "pull", "pull anchors")
	}

	w.anchors.revision = "anchors@sha1:bbbb" // somebody else's commit
	w.turn()
	expectCalls(t, w, "pull", "pull anchors", "record site", "observe cached", "plan", "render", "check", "try prune=true")
}

func TestTheSourcesBranchMayBeNamed(t *testing.T) {
	w := newRecordWorld(t)
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Branch = "main" })
	w.turn()
	w.turn()
	expectCalls(t, w, "pull")
}

func TestARecordBranchThatCannotBePulled(t *testing.T) {
	w := onOwnBranch(t)
	w.anchors.pullErr = errors.New("pull anchors of https://git.example/fleet.git: branch not found: create it: git push origin HEAD:anchors")
	w.turn()
	expectCalls(t, w, "pull", "pull anchors")
	const want = "the record, on the branch in spec.writeBack.branch: pull anchors of https://git.example/fleet.git: branch not found: create it: git push origin HEAD:anchors"
	if ready := w.ready(); ready.Reason != ReasonGitOperationFailed || ready.Message != want {
		t.Errorf("Ready is %s, %q, want %q", ready.Reason, ready.Message, want)
	}

	w.anchors.pullErr = nil
	w.turn()
	w.anchors.pullErr, w.revision = errors.New("no route"), "main@sha1:bbbb"
	w.plan.Record, w.result.Applied = []planner.RecordedKey{recordedKey(t, "2026")}, []string{"Bundle trust"}
	w.turn()
	expectCalls(t, w, "pull", "pull anchors", "observe cached", "plan", "render", "check", "try prune=false",
		"observe uncached", "plan", "render", "check", "apply prune=false")
	if w.domain().Status.LastAttemptedRevision != "main@sha1:bbbb" || !strings.HasSuffix(w.ready().Message, "revision main@sha1:aaaa stays in force") {
		t.Errorf("the status is %+v", w.domain().Status)
	}
}

// Another branch's record is not remembered under this one's name.
func TestAnotherRecordBranchIsAnotherRecord(t *testing.T) {
	w := onOwnBranch(t)
	w.anchors.files = commitTo(w.anchors.files, Commit{Files: recordFiles("site", []planner.RecordedKey{recordedKey(t, "2026")})})
	w.turn()
	wantGiven(t, w, "anchors/root/2026.pem")
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Branch, d.Generation = "", 2 })
	w.turn()
	wantGiven(t, w)
	w.edit(func(d *v1alpha1.TrustDomain) {
		d.Spec.WriteBack.Mode, d.Generation = v1alpha1.WriteBackDisabled, 3
	})
	w.turn()
	if w.given.Enabled || !slices.Contains(w.calls, "plan") {
		t.Errorf("with mode Disabled the turn was %q, and the planner was given %+v", w.calls, w.given)
	}
}

func TestARecordThatCannotBeRead(t *testing.T) {
	w := newRecordWorld(t)
	w.commitAs("main@sha1:aaaa", recordFiles("site", []planner.RecordedKey{recordedKey(t, "2026")}))
	w.turn()
	w.commitAs("main@sha1:bbbb", map[string][]byte{"site/anchors/root/2026.pem": []byte("<<<<<<< HEAD\n")})
	w.plan.Record, w.result.Applied = []planner.RecordedKey{recordedKey(t, "2026")}, []string{"Bundle trust"}
	w.turn()
	expectCalls(t, w, "pull", "check site/anchors/root/2026.pem", "record site", "observe cached", "plan", "render", "check", "try prune=false",
		"observe uncached", "plan", "render", "check", "apply prune=false")
	wantGiven(t, w, "anchors/root/2026.pem")
	ready := w.ready()
	if ready.Reason != ReasonBuildFailed || !strings.HasPrefix(ready.Message, "the record in main@sha1:bbbb: ") || !strings.Contains(ready.Message, "site/anchors/root/2026.pem") {
		t.Errorf("Ready is %s, %q", ready.Reason, ready.Message)
	}
	w.restart()
	w.turn()
	if last := w.calls[len(w.calls)-1]; last != "record site" {
		t.Errorf("without a last good snapshot the turn ended with %q", last)
	}
}

// What is not recorded by a turn that does not come to its end, or sees too little.
func TestTurnsThatRecordNothing(t *testing.T) {
	for name, spoil := range map[string]func(*world){
		"blind":           func(w *world) { w.plan.Blind = true },
		"apply fails":     func(w *world) { w.applyErr = errors.New("forbidden") },
		"an action fails": func(w *world) { w.actErr = errors.New("forbidden") },
		"denied": func(w *world) {
			w.violations = []policies.Violation{{Severity: policies.Deny, Subject: "Bundle trust"}}
		},
		"render":                 func(w *world) { w.renderErr = errors.New("overlay") },
		"the last good stands":   func(w *world) { w.pullErr = errors.New("no route") },
		"a commit does not load": func(w *world) { w.revision, w.loadErr = "main@sha1:bbbb", errors.New("site/ca.yaml:1") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newRecordWorld(t)
			w.turn()
			w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
			w.plan.Actions = []planner.Action{{}}
			spoil(w)
			w.now = epoch.Add(wholeTurnEvery)
			w.turn()
			if len(w.pushed) > 0 {
				t.Errorf("it was recorded: %q", w.calls)
			}
		})
	}
}

var errRejected = errors.New("push to main of https://git.example/fleet.git: push rejected: a ticket is missing: do what the remote asks for")

const notRecordedMessage = "anchors/root/2026.pem cannot be recorded in Git: push to main of https://git.example/fleet.git: push rejected: a ticket is missing: do what the remote asks for; " +
	"allow pushes to site/anchors/ on branch main of https://git.example/fleet.git, name another branch in spec.writeBack.branch, or set spec.writeBack.mode to Disabled"

func TestAPushThatFails(t *testing.T) {
	w := newRecordWorld(t)
	w.pushErr = errRejected
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	w.result.Applied = []string{"Bundle trust"}
	result := w.turn()
	if result.RequeueAfter != 20*time.Second {
		t.Errorf("the next turn comes after %s, want retryInterval", result.RequeueAfter)
	}
	if ready := w.ready(); ready.Status != metav1.ConditionFalse || ready.Reason != ReasonWriteBackFailed || ready.Message != notRecordedMessage {
		t.Errorf("Ready is %s %s\n\t%s\nwant\n\t%s", ready.Status, ready.Reason, ready.Message, notRecordedMessage)
	}
	if w.given.Problem != "" {
		t.Errorf("the planner was told of a problem before there was one: %q", w.given.Problem)
	}
	told := bare(w.told())
	if len(told) != 3 || !strings.HasPrefix(told[1], "Normal ReconciliationSucceeded applied 1: Bundle trust, from") || !strings.HasPrefix(told[2], "Warning WriteBackFailed anchors/root/2026.pem cannot be recorded") {
		t.Errorf("told %q", told)
	}

	w.result.Applied = nil
	w.now = w.now.Add(result.RequeueAfter)
	w.turn()
	if w.given.Problem != notRecordedMessage || !w.given.Enabled {
		t.Errorf("the planner was told of %q, want the words of the failure", w.given.Problem)
	}
	if told := w.told(); len(w.pushed) != 2 || len(told) > 0 {
		t.Errorf("pushed %d times in two turns, and told again: %q", len(w.pushed), told)
	}

	w.pushErr = nil
	w.now = w.now.Add(20 * time.Second)
	w.turn()
	w.plan.Record = nil
	w.turn()
	wantGiven(t, w, "anchors/root/2026.pem")
	if ready := w.ready(); ready.Status != metav1.ConditionTrue || w.given.Problem != "" {
		t.Errorf("after a push that succeeded Ready is %+v, and the planner is told of %q", ready, w.given.Problem)
	}
}

// However many turns the cluster's changes bring, what was refused is not pushed again
// at each of them; what a user does is another matter.
func TestAPushIsTriedAgainAfterRetryInterval(t *testing.T) {
	for name, test := range map[string]struct {
		disturb func(*world)
		pushes  int
	}{
		"something moved": {func(w *world) {
			w.reconciler.memories.of(types.NamespacedName{Namespace: "plant", Name: "fleet"}).moved.Store(true)
		}, 1},
		"a turn is asked for": {func(w *world) {
			w.edit(func(d *v1alpha1.TrustDomain) {
				d.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
			})
		}, 2},
		"the spec is changed":       {func(w *world) { w.edit(func(d *v1alpha1.TrustDomain) { d.Generation++ }) }, 2},
		"retryInterval has passed":  {func(w *world) { w.now = w.now.Add(20 * time.Second) }, 2},
		"the program was restarted": {func(w *world) { w.restart() }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRecordWorld(t)
			w.pushErr = errRejected
			w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
			w.turn()
			w.told()
			w.now = w.now.Add(time.Second)
			test.disturb(w)
			w.turn()
			if len(w.pushed) != test.pushes || !slices.Contains(w.calls, "apply prune=true") {
				t.Errorf("pushed %d times, want %d; the turn was %q", len(w.pushed), test.pushes, w.calls)
			}
			if ready := w.ready(); ready.Message != notRecordedMessage {
				t.Errorf("Ready is %q", ready.Message)
			}
			if told := w.told(); len(told) > 0 {
				t.Errorf("told again: %q", told)
			}
		})
	}
}

// Somebody recorded the key by hand: what kept us from it is history.
func TestAProblemEndsWhenThereIsNothingToRecord(t *testing.T) {
	w := newRecordWorld(t)
	w.pushErr = errRejected
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	w.turn()
	w.commitAs("main@sha1:bbbb", recordFiles("site", w.plan.Record))
	w.plan.Record = nil
	w.turn()
	wantGiven(t, w, "anchors/root/2026.pem")
	w.now = w.now.Add(wholeTurnEvery)
	w.turn()
	if w.given.Problem != "" || w.ready().Status != metav1.ConditionTrue {
		t.Errorf("the planner is told of %q, Ready is %+v", w.given.Problem, w.ready())
	}
}

// Somebody else changed the very file between pull and push: it is read, not
// overwritten.
func TestARecordThatWasChangedMeanwhile(t *testing.T) {
	w := newRecordWorld(t)
	w.pushErr = errors.Join(ErrConflict, errors.New("somebody else changed site/anchors/root/2026.pem"))
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	w.result.Applied = []string{"Bundle trust"}
	if result := w.turn(); result.RequeueAfter != soon {
		t.Errorf("the next turn comes after %s, want at once", result.RequeueAfter)
	}
	if ready := w.ready(); ready.Status != metav1.ConditionTrue || w.domain().Status.LastAppliedRevision != "main@sha1:aaaa" {
		t.Errorf("Ready is %+v", ready)
	}
	if told := bare(w.told()); strings.Contains(strings.Join(told, "\n"), "recorded") {
		t.Errorf("told %q", told)
	}
	w.commitAs("main@sha1:bbbb", map[string][]byte{"site/anchors/root/2026.pem": recordFile(authority(t, "Theirs"))})
	w.pushErr, w.result.Applied = nil, nil
	w.turn()
	if w.given.Problem != "" || w.given.Keys[0].Certificate.CommonName() != "Theirs" || w.pushed[1].base != "main@sha1:bbbb" {
		t.Errorf("the next turn was given %+v and pushed on %s", w.given, w.pushed[1].base)
	}
}

// A push that changed nothing brings no further turn: there would be no end to them.
func TestAPushThatChangesNothing(t *testing.T) {
	w := newRecordWorld(t)
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	w.reconciler.Parts.Source = idleSource{w}
	if result := w.turn(); result.RequeueAfter != time.Minute {
		t.Errorf("the next turn comes after %s", result.RequeueAfter)
	}
	if told := bare(w.told()); strings.Contains(strings.Join(told, "\n"), "recorded") {
		t.Errorf("told %q", told)
	}
	w.turn()
	expectCalls(t, w, "pull")
}

func TestConflictsDoNotKeepTheRecordFromBeingWritten(t *testing.T) {
	w := newRecordWorld(t)
	w.result.Conflicts = []string{"Issuer plant/x: spec.ca is kubectl's"}
	w.plan.Record = []planner.RecordedKey{recordedKey(t, "2026")}
	if result := w.turn(); len(w.pushed) != 1 || result.RequeueAfter != soon {
		t.Errorf("pushed %d times, the next turn comes after %s", len(w.pushed), result.RequeueAfter)
	}
	if ready := w.ready(); ready.Reason != ReasonApplyFailed {
		t.Errorf("Ready is %+v", ready)
	}

	w.pushErr = errRejected
	w.turn()
	if ready := w.ready(); ready.Reason != ReasonApplyFailed || !strings.Contains(ready.Message, "spec.ca is kubectl's") || !strings.HasSuffix(ready.Message, "; and "+notRecordedMessage) {
		t.Errorf("Ready is %+v", ready)
	}
}

// Which files bring the documents to be composed again.
func TestWhatIsComposedAgain(t *testing.T) {
	for file, composed := range map[string]bool{
		"site/anchors/root/2026.pem":       false,
		"site/anchors/README.md":           false,
		"site/devices/sensors/3f/a.yaml":   false,
		"site/kustomization.yaml":          true,
		"site/anchors.yaml":                true,
		"site/overlay/anchors/x.yaml":      true,
		"other/anchors/root/2026.pem":      true,
		"anchors/root/2026.pem":            true,
		"site/devices-and-more/x.yaml":     true,
		"base/authorities/fleet-root.yaml": true,
	} {
		w := newRecordWorld(t)
		w.turn()
		w.commitAs("main@sha1:bbbb", map[string][]byte{file: nil})
		w.turn()
		if got := slices.Contains(w.calls, "load site"); got != composed {
			t.Errorf("a change of %s: composed again %t, want %t", file, got, composed)
		}
		if got := w.domain().Status.LastAppliedRevision; got != "main@sha1:bbbb" {
			t.Errorf("a change of %s: lastAppliedRevision is %q", file, got)
		}
	}
}

// Commits that do not load do not count: what is compared with is what was loaded.
func TestTheDocumentsAreComparedWithThoseThatWereLoaded(t *testing.T) {
	w := newRecordWorld(t)
	w.turn()
	w.commitAs("main@sha1:bbbb", map[string][]byte{"site/kustomization.yaml": []byte("broken")})
	w.loadErr = errors.New("site/kustomization.yaml:1: broken")
	w.turn()
	w.turn()
	if !slices.Contains(w.calls, "load site") || w.ready().Reason != ReasonBuildFailed {
		t.Errorf("the turn was %q, Ready is %+v", w.calls, w.ready())
	}
}

// A link is recorded though no key is.
func TestALinkAloneIsPushed(t *testing.T) {
	w := newRecordWorld(t)
	w.plan.LinkRecord = []planner.RecordedLink{recordedLink(t, "2026", "2025")}
	if result := w.turn(); len(w.pushed) != 1 || result.RequeueAfter != soon {
		t.Fatalf("pushed %v, and the next turn comes after %s", w.pushed, result.RequeueAfter)
	}
	if _, is := w.pushed[0].commit.Files["site/anchors/root/links/2026.2025.pem"]; !is {
		t.Errorf("pushed %v", w.pushed[0].commit.Files)
	}
	if told, want := bare(w.told()), "Normal ReconciliationSucceeded recorded 1: anchors/root/links/2026.2025.pem, from main@sha1:aaaa"; !slices.Contains(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
