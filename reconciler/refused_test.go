package reconciler

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/planner"
)

var listener = planner.Field{APIVersion: "example.com/v1", Kind: "Listener", Object: planner.Ref{Namespace: "plant", Name: "default"}, Path: "spec.issuer"}

// What the API server does not let be changed fails no turn: the planner is told, for as
// long as it is not to be tried again.
func TestARefusedFieldIsAPersons(t *testing.T) {
	w := newWorld(t)
	w.plan.Actions = []planner.Action{{Kind: planner.ActionRepoint, Field: listener}}
	w.observed.References = []planner.Reference{{Field: listener, Value: "old"}}
	w.actErr = errors.Join(nil, &RefusedError{Field: listener, Words: "an admission policy says no"})
	w.turn()
	if got := w.ready(); got.Status != "True" || len(w.givenReferences) != 1 || w.givenReferences[0].Refused != "" {
		t.Fatalf("the turn ended with %v, and the planner was given %v", got, w.givenReferences)
	}
	w.actErr, w.revision = nil, "main@sha1:bbbb"
	w.turn()
	if got := w.givenReferences[0].Refused; got != "an admission policy says no" {
		t.Errorf("the planner was told %q", got)
	}
	w.now, w.revision = w.now.Add(refusedFor), "main@sha1:cccc"
	w.turn()
	if got := w.givenReferences[0].Refused; got != "" {
		t.Errorf("when it is to be tried again, the planner is told %q", got)
	}
}

// Another failure beside it is the turn's.
func TestAnotherFailureBesideARefusal(t *testing.T) {
	w := newWorld(t)
	w.plan.Actions = []planner.Action{{Kind: planner.ActionRepoint, Field: listener}}
	w.actErr = errors.Join(errors.New("no route"), &RefusedError{Field: listener, Words: "no"})
	w.turn()
	if got := w.ready(); got.Status != "False" || !strings.Contains(got.Message, "no route") || strings.Contains(got.Message, "spec.issuer") {
		t.Errorf("the turn ended with %v", got)
	}
	if !slices.Contains(w.calls, "act 1") {
		t.Errorf("the turn was %q", w.calls)
	}
}
