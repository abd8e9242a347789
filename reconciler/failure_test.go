package reconciler

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// unread are the failures by which nothing new is read from the repository: each by the
// reason that it must be given.
func unread() map[string]func(*world) {
	named := func(reason string) func(*world) {
		return func(w *world) {
			w.pullErr = &SourceError{reason, fmt.Errorf("pull main of https://git.example/fleet.git: %s: mend it", strings.ToLower(reason))}
		}
	}
	all := map[string]func(*world){
		ReasonHistoryRewritten:   func(w *world) { w.pullErr = &RewrittenError{Was: "main@sha1:aaaa", Is: "main@sha1:bbbb"} },
		ReasonGitOperationFailed: func(w *world) { w.pullErr = errors.New("the disk is full: make room") },
		ReasonCredentialsInvalid: func(w *world) {
			w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Source.ProxySecretRef = &v1alpha1.LocalReference{Name: "gone"} })
		},
		ReasonBuildFailed: func(w *world) {
			w.revision, w.loadErr = "main@sha1:bbbb", errors.New("site/ca.yaml:7: spec.keys: missing")
		},
		ReasonPolicyViolation: func(w *world) {
			w.revision, w.changed = "main@sha1:bbbb", []string{"site/kustomization.yaml"}
			w.secrets = map[string]bool{"site/kustomization.yaml": true}
		},
	}
	for _, reason := range []string{
		ReasonBranchNotFound, ReasonRemoteUnreachable, ReasonAuthenticationFailed, ReasonHostKeyMismatch, ReasonTLSFailed,
		ReasonNotARepository, ReasonRedirected, ReasonRepositoryTooLarge, ReasonCommitNotVerified,
	} {
		all[reason] = named(reason)
	}
	return all
}

// Whatever keeps a repository from being read: the last good snapshot stays in force,
// nothing is pruned, the status keeps what was applied, and it is told once.
func TestWhateverFailsTheLastGoodSnapshotStays(t *testing.T) {
	for reason, spoil := range unread() {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t)
			w.turn()
			w.told()
			spoil(w)
			if reason == ReasonCredentialsInvalid {
				w.reconciler.memories.of(clientKey(w)).source = w.domain().Spec.Source // the Secret was deleted, not the spec changed
			}
			w.reconciler.memories.of(clientKey(w)).moved.Store(true)
			w.plan.Actions = []planner.Action{{Kind: planner.ActionRestart}}
			w.result.Applied = []string{"Bundle trust"}
			result := w.turn()
			if result.RequeueAfter != 20*time.Second {
				t.Errorf("the next turn comes after %s, want retryInterval", result.RequeueAfter)
			}
			if last := w.calls[len(w.calls)-1]; last != "apply prune=false" {
				t.Errorf("the turn ended with %q, want drift repaired, without prune or actions", last)
			}
			status := w.domain().Status
			if ready := w.ready(); ready.Status != metav1.ConditionFalse || ready.Reason != reason || !strings.HasSuffix(ready.Message, "; revision main@sha1:aaaa stays in force") {
				t.Errorf("Ready is %+v", ready)
			}
			if status.LastAppliedRevision != "main@sha1:aaaa" {
				t.Errorf("lastAppliedRevision is %q", status.LastAppliedRevision)
			}
			if stalled := apimeta.IsStatusConditionTrue(status.Conditions, meta.StalledCondition); stalled != slices.Contains(stalling, reason) {
				t.Errorf("stalled: %t", stalled)
			}
			if told := failuresTold(w); len(told) != 1 || !strings.HasPrefix(told[0], "Warning "+reason+" ") {
				t.Errorf("told %q, want the failure once", told)
			}
			w.writes = 0
			for range 3 {
				w.now = w.now.Add(20 * time.Second)
				w.turn()
			}
			if told := failuresTold(w); len(told) > 0 || w.writes > 0 {
				t.Errorf("three turns more told %q and wrote the status %d times", told, w.writes)
			}
		})
	}
}

// failuresTold are the warnings among what was told.
func failuresTold(w *world) []string {
	return slices.DeleteFunc(bare(w.told()), func(event string) bool { return !strings.HasPrefix(event, "Warning ") })
}

// After a restart there is no good snapshot: nothing is looked at, nothing written, and
// the status says why.
func TestWithoutAGoodSnapshotNothingIsWritten(t *testing.T) {
	for reason, spoil := range unread() {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t)
			w.turn()
			spoil(w)
			w.restart()
			w.turn()
			for _, call := range w.calls {
				if strings.HasPrefix(call, "apply") || strings.HasPrefix(call, "act") || strings.HasPrefix(call, "observe") {
					t.Errorf("the turn was %q", w.calls)
				}
			}
			if ready := w.ready(); ready.Reason != reason || strings.Contains(ready.Message, "stays in force") {
				t.Errorf("Ready is %+v", ready)
			}
			if status := w.domain().Status; status.LastAppliedRevision != "main@sha1:aaaa" {
				t.Errorf("lastAppliedRevision is %q", status.LastAppliedRevision)
			}
		})
	}
}

// A network that fails has other words each time: a port, the time. They are no news.
func TestAFlappingNetworkIsToldOnce(t *testing.T) {
	w := newWorld(t)
	w.turn()
	w.told()
	for port := range 3 {
		w.pullErr = &SourceError{ReasonRemoteUnreachable, fmt.Errorf("read udp 10.0.0.1:%d->10.0.0.10:53: i/o timeout", 40000+port)}
		w.turn()
	}
	w.pullErr = &SourceError{ReasonRemoteUnreachable, errors.New("connection refused")}
	w.turn()
	if told := failuresTold(w); len(told) != 1 {
		t.Errorf("told %q, want it once", told)
	}
	if ready := w.ready(); !strings.Contains(ready.Message, "connection refused") {
		t.Errorf("Ready is %+v, want the latest words", ready)
	}
	w.pullErr = nil
	w.turn()
	w.pullErr = &SourceError{ReasonRemoteUnreachable, errors.New("i/o timeout")}
	w.turn()
	if told := failuresTold(w); len(told) != 1 {
		t.Errorf("after it had healed, told %q, want it once more", told)
	}
}

// A server that numbers its refusals is told of once, and written to the status once.
func TestANumberedRefusalIsNoNews(t *testing.T) {
	for _, reason := range wordy {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t)
			w.turn()
			w.told()
			refuse := func(id string) {
				w.pullErr = &SourceError{reason, fmt.Errorf("the server says: forbidden (request id: %s): mend it", id)}
				w.turn()
			}
			refuse("8f3c:01")
			told, writes := failuresTold(w), w.writes
			if len(told) != 1 || !strings.Contains(told[0], "8f3c:01") {
				t.Errorf("told %q", told)
			}
			refuse("9a77:02")
			refuse("0b12:03")
			if told := failuresTold(w); len(told) > 0 || w.writes != writes {
				t.Errorf("two refusals more told %q and wrote the status %d times", told, w.writes-writes)
			}
		})
	}
}

// reasons are the constants Reason… of failure.go.
func reasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "failure.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, is := node.(*ast.ValueSpec)
		if !is || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, value)
		return true
	})
	slices.Sort(all)
	return all
}

// Every reason stands in the package's comment and in the page for those who meet one, and
// neither has another; both agree on which of them stall.
func TestReasonsAreDocumented(t *testing.T) {
	want := reasons(t)
	for file, row := range map[string]*regexp.Regexp{
		"doc.go":                           regexp.MustCompile(`(?m)^//	([A-Z]\w+) +(yes|–) `),
		"../docs/how-to/when-git-fails.md": regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (yes|–) \\|"),
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, match := range row.FindAllStringSubmatch(string(text), -1) {
			got = append(got, match[1])
			if stalls(match[1]) != (match[2] == "yes") {
				t.Errorf("%s says of %s that it stalls: %s", file, match[1], match[2])
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s documents\n\t%q\nwant\n\t%q", file, got, want)
		}
	}
}
