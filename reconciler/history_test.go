package reconciler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// history is a Source that knows which head comes after which: each branch's commits, the
// newest last.
type history struct {
	*world
	commits map[string][]string
}

func (h history) Pull(ctx context.Context, from Branch, after After) (Snapshot, error) {
	snapshot, err := h.world.Pull(ctx, from, after)
	if err != nil {
		return nil, err
	}
	is := snapshot.Revision()
	if after.Revision == "" || after.Accept == is || slices.Contains(h.commits[from.Name], after.Revision) {
		return snapshot, nil
	}
	return nil, &RewrittenError{Was: after.Revision, Is: is}
}

// rewrite makes a head of main's whose history holds nothing of before.
func (h history) rewrite(revision string) {
	h.revision, h.commits["main"] = revision, []string{revision}
}

// newHistory is a world in which a first turn took main@sha1:aaaa in.
func newHistory(t *testing.T) history {
	t.Helper()
	h := history{newWorld(t), map[string][]string{"main": {"main@sha1:aaaa"}}}
	h.reconciler.Parts.Source = h
	h.turn()
	h.told()
	return h
}

// Heads that somebody has put in the place of others.
var (
	headB    = "main@sha1:" + strings.Repeat("b", 40)
	headC    = "main@sha1:" + strings.Repeat("c", 40)
	anchorsB = "anchors@sha1:" + strings.Repeat("b", 40)
)

var howToAcceptB = "the history was rewritten: " + headB + " is no descendant of main@sha1:aaaa, which was read last: put the branch back, or, " +
	"if whoever may has meant it, accept exactly this head: kubectl annotate --overwrite trustdomain -n plant fleet reanchor.dev/accept-revision=" + headB

func (w *world) accept(revision string) {
	w.edit(func(d *v1alpha1.TrustDomain) {
		d.Annotations = map[string]string{v1alpha1.AnnotationAcceptRevision: revision}
	})
}

func TestARewrittenHistoryIsNotFollowed(t *testing.T) {
	h := newHistory(t)
	h.rewrite(headB)
	h.turn()
	if ready := h.ready(); ready.Reason != ReasonHistoryRewritten || ready.Message != howToAcceptB+"; revision main@sha1:aaaa stays in force" {
		t.Errorf("Ready is %+v", ready)
	}
	if stalled := apimeta.FindStatusCondition(h.domain().Status.Conditions, meta.StalledCondition); stalled == nil || stalled.Reason != ReasonHistoryRewritten {
		t.Errorf("Stalled is %+v", stalled)
	}
	if told := h.told(); len(told) != 1 {
		t.Errorf("told %q", told)
	}

	h.restart()
	h.turn()
	if ready := h.ready(); ready.Message != howToAcceptB {
		t.Errorf("after a restart Ready is %+v", ready)
	}
	if status := h.domain().Status; status.LastAttemptedRevision != "main@sha1:aaaa" || status.LastAppliedRevision != "main@sha1:aaaa" {
		t.Errorf("the status tells of %s and %s", status.LastAttemptedRevision, status.LastAppliedRevision)
	}
	if last := h.calls[len(h.calls)-1]; last != "pull" {
		t.Errorf("after a restart the turn went on to %q", last)
	}

	for _, other := range []string{"main@sha1:" + strings.Repeat("c", 40), "main@sha1:bbbb", "bbbb", headB + "b"} {
		h.accept(other)
		h.turn()
		if ready := h.ready(); ready.Message != howToAcceptB+" (it says "+other+" now)" {
			t.Errorf("with %s accepted Ready is %+v", other, ready)
		}
	}

	h.accept(" " + headB + "\n")
	h.turn()
	if ready := h.ready(); ready.Status != "True" || h.domain().Status.LastAttemptedRevision != headB {
		t.Errorf("after it was accepted Ready is %+v", ready)
	}
	h.rewrite("main@sha1:dddd")
	h.turn()
	if ready := h.ready(); ready.Reason != ReasonHistoryRewritten || strings.Contains(ready.Message, "it says main@sha1:aaaa") {
		t.Errorf("a second rewrite after the first was accepted: Ready is %+v", ready)
	}
}

// What was accepted counts once: it is no permit to go back to it later, not after a restart
// either. Whoever removes the annotation may accept the same revision anew.
func TestAnAcceptedRevisionCountsOnce(t *testing.T) {
	h := newHistory(t)
	h.rewrite(headB)
	h.accept(headB)
	h.turn()
	if status := h.domain().Status; status.LastAcceptedRevision != headB || status.LastAttemptedRevision != headB {
		t.Fatalf("the status tells that %q was accepted and %q read", status.LastAcceptedRevision, status.LastAttemptedRevision)
	}
	h.revision, h.commits["main"] = headC, []string{headB, headC}
	h.turn()
	back := func(when string) {
		t.Helper()
		h.rewrite(headB)
		h.turn()
		if ready := h.ready(); ready.Reason != ReasonHistoryRewritten || !strings.Contains(ready.Message, "="+headB+" (that was accepted once already, and counts no more: remove the annotation first)") {
			t.Errorf("%s, back at what was accepted before, Ready is %+v", when, ready)
		}
	}
	back("running on")
	h.restart()
	back("after a restart")

	h.edit(func(d *v1alpha1.TrustDomain) { d.Annotations = nil })
	h.turn()
	if status := h.domain().Status; status.LastAcceptedRevision != "" || h.ready().Reason != ReasonHistoryRewritten {
		t.Errorf("without the annotation the status holds %q, and Ready is %+v", status.LastAcceptedRevision, h.ready())
	}
	h.accept(headB)
	h.turn()
	if ready := h.ready(); ready.Status != "True" {
		t.Errorf("accepted anew, Ready is %+v", ready)
	}
}

// An acceptance that was not needed is used up as well, by a turn that has else nothing to do.
func TestAnAcceptanceThatIsNotNeededIsUsedUp(t *testing.T) {
	h := newHistory(t)
	h.accept(headB)
	h.turn()
	if got := h.domain().Status.LastAcceptedRevision; got != headB {
		t.Errorf("the status tells that %q was answered", got)
	}
	h.rewrite(headB)
	h.turn()
	if ready := h.ready(); ready.Reason != ReasonHistoryRewritten {
		t.Errorf("Ready is %+v", ready)
	}
}

// A turn that did not get to read the branch has not answered for it.
func TestAnAcceptanceWaitsForThePull(t *testing.T) {
	h := newHistory(t)
	h.rewrite(headB)
	h.accept(headB)
	h.pullErr = errors.New("no route")
	h.turn()
	h.pullErr = nil
	h.turn()
	if ready := h.ready(); ready.Status != "True" {
		t.Errorf("Ready is %+v", ready)
	}
}

// Whatever else of the spec was changed while the controller was not there, or had no turns,
// the same repository's branch goes on from where it was read last.
func TestTheHistoryOutlivesSuspensionAndRestart(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.TrustDomain){
		"suspended":          func(d *v1alpha1.TrustDomain) { d.Spec.Suspend = true },
		"another interval":   func(d *v1alpha1.TrustDomain) { d.Spec.Interval.Duration *= 2 },
		"the URL with slash": func(d *v1alpha1.TrustDomain) { d.Spec.Source.URL = "https://GIT.example/fleet/" },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			h.edit(func(d *v1alpha1.TrustDomain) { change(d); d.Generation++ })
			if h.domain().Spec.Suspend {
				h.turn()
			}
			h.restart()
			h.rewrite(headB)
			h.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Suspend = false; d.Generation++ })
			h.turn()
			if ready := h.ready(); ready.Reason != ReasonHistoryRewritten || h.domain().Status.LastAttemptedRevision != "main@sha1:aaaa" {
				t.Errorf("Ready is %+v", ready)
			}
		})
	}
}

func TestABranchThatIsPutBackHeals(t *testing.T) {
	h := newHistory(t)
	h.rewrite(headB)
	h.turn()
	h.rewrite("main@sha1:aaaa")
	h.turn()
	if ready := h.ready(); ready.Status != "True" {
		t.Errorf("Ready is %+v", ready)
	}
}

// What another URL or branch holds is not compared with what was read from the one before;
// another folder of the same branch is.
func TestAnotherSourceIsNoRewrite(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*v1alpha1.TrustDomain)
		restart bool
		want    string // revision that the head must come after
	}{
		"another URL":                  {func(d *v1alpha1.TrustDomain) { d.Spec.Source.URL = "https://git.example/other.git" }, false, ""},
		"another branch":               {func(d *v1alpha1.TrustDomain) { d.Spec.Source.Ref.Branch = "next" }, false, ""},
		"another folder":               {func(d *v1alpha1.TrustDomain) { d.Spec.Source.Path = "other" }, false, "main@sha1:aaaa"},
		"other credentials":            {func(d *v1alpha1.TrustDomain) { d.Spec.Source.CertSecretRef = nil }, false, "main@sha1:aaaa"},
		"a restart":                    {nil, true, "main@sha1:aaaa"},
		"another URL while it was off": {func(d *v1alpha1.TrustDomain) { d.Spec.Source.URL = "https://git.example/other.git" }, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			if test.restart {
				h.restart()
			}
			if test.change != nil {
				h.edit(func(d *v1alpha1.TrustDomain) { test.change(d); d.Generation++ })
			}
			h.turn()
			branch := h.domain().Spec.Source.Ref.Branch
			if got := h.after[branch].Revision; got != test.want {
				t.Errorf("the head must come after %q, want %q", got, test.want)
			}
		})
	}
}

// A new source that cannot be pulled leaves nothing by which its first head would be taken
// for a rewrite, not even after a restart.
func TestAnotherSourceThatFailsIsNoRewriteEither(t *testing.T) {
	h := newHistory(t)
	h.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Source.URL = "https://git.example/other.git"; d.Generation++ })
	h.pullErr = errors.New("no route")
	h.turn()
	h.pullErr = nil
	h.restart()
	h.rewrite(headB)
	h.turn()
	if ready := h.ready(); ready.Status != "True" {
		t.Errorf("Ready is %+v", ready)
	}
}

// The record's own branch is followed as the source's is.
func TestTheRecordsHistoryIsKept(t *testing.T) {
	h := history{onOwnBranch(t), map[string][]string{"main": {"main@sha1:aaaa"}, "anchors": {"anchors@sha1:aaaa"}}}
	h.reconciler.Parts.Source = h
	h.turn()
	h.anchors.revision, h.commits["anchors"] = anchorsB, nil
	refused := func(when string) {
		t.Helper()
		h.turn()
		if ready := h.ready(); ready.Reason != ReasonHistoryRewritten || !strings.HasPrefix(ready.Message, "the record, on the branch in spec.writeBack.branch: the history was rewritten: "+anchorsB+" is no descendant of anchors@sha1:aaaa") {
			t.Errorf("%s Ready is %+v", when, ready)
		}
	}
	refused("running on")
	h.restart()
	refused("after a restart")
	h.restart()
	h.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Interval.Duration *= 2; d.Generation++ })
	refused("after a restart with another spec")
	h.accept(headB) // of another branch
	refused("with another branch's head accepted")
	h.accept(anchorsB)
	h.turn()
	if ready := h.ready(); ready.Status != "True" {
		t.Errorf("after it was accepted Ready is %+v", ready)
	}
}

func TestTheNameOfABranchMayHoldAnAt(t *testing.T) {
	for revision, want := range map[string][2]string{
		"main@sha1:aaaa":   {"main", "sha1:aaaa"},
		"fix@home@sha1:aa": {"fix@home", "sha1:aa"},
	} {
		if branch, commit, ok := cutRevision(revision); !ok || branch != want[0] || commit != want[1] {
			t.Errorf("%s is %s and %s, want %q", revision, branch, commit, want)
		}
	}
	if _, _, ok := cutRevision(""); ok {
		t.Error("no revision has a branch")
	}
}

// What is accepted is the head of one branch, and of no other that may hold the same commit.
func TestAnAcceptanceIsOfOneBranch(t *testing.T) {
	domain := &v1alpha1.TrustDomain{}
	accepted := "main@sha1:" + strings.Repeat("a", 40)
	domain.Annotations = map[string]string{v1alpha1.AnnotationAcceptRevision: accepted}
	if got := AfterOf(domain, "main").Accept; got != accepted {
		t.Errorf("of main %q is accepted", got)
	}
	if got := AfterOf(domain, "record").Accept; got != "" {
		t.Errorf("of record %q is accepted", got)
	}
}
