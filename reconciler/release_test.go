package reconciler

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// With a domain goes all that was kept for it.
func TestADomainThatIsGoneIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.turn()
	if err := w.client.Delete(context.Background(), w.domain()); err != nil {
		t.Fatal(err)
	}
	w.turn()
	if !slices.Equal(w.calls, []string{"dismiss plant/fleet", "forget plant/fleet"}) {
		t.Errorf("called %q", w.calls)
	}
}

// The copy of the record's own branch goes when the domain names none any more, though it
// did so while the controller was not there.
func TestARecordWithoutABranchOfItsOwnIsForgotten(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		w := onOwnBranch(t)
		w.turn()
		w.turn()
		if len(w.released) > 0 {
			t.Fatalf("released %v while it is in use", w.released)
		}
		w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Branch = ""; d.Generation++ })
		if restarted {
			w.restart()
		}
		w.turn()
		w.turn()
		if want := []planner.Ref{{Namespace: "plant", Name: "fleet"}}; !slices.Equal(w.released, want) {
			t.Errorf("restarted: %t: released %v, want %v", restarted, w.released, want)
		}
	}
}

// Who names no account is written as the default one of its namespace, if there is one:
// never as the controller.
func TestTheDefaultServiceAccount(t *testing.T) {
	for _, test := range []struct{ named, otherwise, want string }{
		{"", "", ""},
		{"writer", "", "plant/writer"},
		{"", "tenant", "plant/tenant"},
		{"writer", "tenant", "plant/writer"},
	} {
		w := newWorld(t)
		w.reconciler.Options.DefaultServiceAccount = test.otherwise
		w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.ServiceAccountName = test.named })
		w.manifests = []*unstructured.Unstructured{manifest("v1", "Service")}
		w.result.Applied = []string{"Service plant/x"}
		w.plan.Actions = []planner.Action{{Kind: planner.ActionRestart}}
		w.turn()
		if len(w.accounts) == 0 {
			t.Errorf("%+v: nothing was written", test)
		}
		for _, account := range w.accounts {
			if got := strings.Trim(account.String(), "/"); got != test.want {
				t.Errorf("%+v: written as %q", test, got)
			}
		}
	}
}

// heedful is an API server that answers only who still waits.
type heedful struct{ client.Reader }

func (r heedful) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.Reader.Get(ctx, key, object, options...)
}

// hung is a Source whose server takes the connection and says nothing.
type hung struct{ *world }

func (h hung) Pull(ctx context.Context, _ Branch, _ After) (Snapshot, error) {
	h.note("pull")
	<-ctx.Done()
	return nil, &SourceError{Reason: ReasonRemoteUnreachable, Err: ctx.Err()}
}

// A server that hangs is told as what it is, and leaves the turn the time to mend drift.
func TestAServerThatHangs(t *testing.T) {
	w := newWorld(t)
	if err := w.client.Create(context.Background(), secret("git", map[string]string{"username": "u", "password": "p"})); err != nil {
		t.Fatal(err)
	}
	w.edit(func(d *v1alpha1.TrustDomain) {
		d.Spec.Source.SecretRef, d.Spec.Timeout = &v1alpha1.LocalReference{Name: "git"}, metav1.Duration{Duration: 2 * time.Second}
	})
	w.reconciler.APIReader = heedful{w.reconciler.APIReader}
	w.reconciler.Parts.Observe = func(ctx context.Context, reader client.Reader, domain planner.Ref, desired planner.Desired, since []planner.Gate) (Observation, error) {
		if err := ctx.Err(); err != nil {
			return Observation{}, err
		}
		return w.observe(ctx, reader, domain, desired, since)
	}
	w.turn()
	w.turn()
	w.reconciler.Parts.Source = hung{w}
	const want = "context deadline exceeded: the pull took longer than half of spec.timeout, 1s: raise it if this happens again; revision main@sha1:aaaa stays in force"
	for _, which := range []string{"a calm turn", "the next"} {
		w.turn()
		if ready := w.ready(); ready.Reason != ReasonRemoteUnreachable || ready.Message != want {
			t.Errorf("%s: Ready is %+v", which, ready)
		}
		if pulls := slices.DeleteFunc(slices.Clone(w.calls), func(call string) bool { return call != "pull" }); len(pulls) != 1 {
			t.Errorf("%s pulled %d times", which, len(pulls))
		}
		if !slices.Contains(w.calls, "observe cached") {
			t.Errorf("%s did not look at the cluster: %q", which, w.calls)
		}
	}
}

// Credentials are read anew after a failure that others may heal, and after no other.
func TestCredentialsAreReadAnewWhereThatMayHelp(t *testing.T) {
	for reason, want := range map[string]int{
		ReasonAuthenticationFailed: 2, ReasonTLSFailed: 2, ReasonHostKeyMismatch: 2, ReasonCredentialsInvalid: 2,
		ReasonRemoteUnreachable: 1, ReasonHistoryRewritten: 1, ReasonBranchNotFound: 1, ReasonGitOperationFailed: 1,
	} {
		w := newWorld(t)
		w.turn()
		w.pullErr, w.pulledWith = &SourceError{Reason: reason, Err: context.DeadlineExceeded}, nil
		w.turn()
		if len(w.pulledWith) != want {
			t.Errorf("%s: pulled %d times, want %d", reason, len(w.pulledWith), want)
		}
	}
}
