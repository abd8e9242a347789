package reconciler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

func clientKey(w *world) types.NamespacedName {
	return types.NamespacedName{Namespace: w.domain().Namespace, Name: w.domain().Name}
}

func TestADomainIsWrittenAsItsServiceAccount(t *testing.T) {
	for name, want := range map[string]planner.Ref{
		"":       {},
		"writer": {Namespace: "plant", Name: "writer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.ServiceAccountName = name })
			w.plan.Actions = []planner.Action{{Kind: planner.ActionProve}}
			w.turn()
			if len(w.accounts) != 2 || slices.ContainsFunc(w.accounts, func(a planner.Ref) bool { return a != want }) {
				t.Errorf("written as %v, want twice as %q", w.accounts, want)
			}
		})
	}
}

// denied is the API server's answer to a user that lacks a permission.
func denied(user, verb, group, resource, namespace, name string) error {
	where := "at the cluster scope"
	if namespace != "" {
		where = fmt.Sprintf("in the namespace %q", namespace)
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: group, Resource: resource}, name,
		fmt.Errorf("User %q cannot %s resource %q in API group %q %s", user, verb, resource, group, where))
}

func TestWhatIsForbiddenIsToldAsAGrant(t *testing.T) {
	const writer, controller = "system:serviceaccount:plant:writer", "system:serviceaccount:reanchor-system:reanchor-controller"
	patchBundles := denied(writer, "patch", "trust.cert-manager.io", "bundles", "", "trust")
	for name, test := range map[string]struct {
		err    error
		reason string
		want   string
	}{
		"one": {
			fmt.Errorf("apply Bundle trust: %w", patchBundles), ReasonForbidden,
			"the API server refused a write: grant service account plant/writer patch on bundles.trust.cert-manager.io in the whole cluster: apply Bundle trust: bundles.trust.cert-manager.io",
		},
		"several, each once": {
			errors.Join(
				fmt.Errorf("apply Bundle a: %w", patchBundles), fmt.Errorf("apply Bundle b: %w", patchBundles),
				fmt.Errorf("prune: %w", errors.Join(nil, denied(writer, "delete", "", "configmaps", "plant", "x"))),
			),
			ReasonForbidden,
			"grant service account plant/writer delete on configmaps in namespace plant; service account plant/writer patch on bundles.trust.cert-manager.io in the whole cluster: apply Bundle a",
		},
		"to impersonate": {
			denied(controller, "impersonate", "", "serviceaccounts", "plant", "writer"), ReasonForbidden,
			"grant service account reanchor-system/reanchor-controller impersonate on serviceaccounts, resourceNames [writer], in namespace plant: ",
		},
		"to impersonate, as Kubernetes 1.36 says it": {
			errors.Join(
				denied(controller, "impersonate-on:serviceaccount:patch", "cert-manager.io", "issuers", "plant", "x"),
				denied(controller, "impersonate-on:serviceaccount:patch", "trust.cert-manager.io", "bundles", "", "x"),
			), ReasonForbidden,
			"grant service account reanchor-system/reanchor-controller impersonate on serviceaccounts, resourceNames [writer], in namespace plant: ",
		},
		"a person": {denied("ada", "patch", "", "configmaps", "plant", "x"), ReasonForbidden, `grant user "ada" patch on configmaps in namespace plant`},
		"by an admission": {
			fmt.Errorf("apply Pod plant/x: %w", apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "x", errors.New("violates PodSecurity"))),
			ReasonApplyFailed, "violates PodSecurity",
		},
		"something else": {errors.New("etcd is full"), ReasonApplyFailed, "etcd is full"},
	} {
		for where, set := range map[string]func(*world){
			"apply": func(w *world) { w.applyErr = test.err },
			"act":   func(w *world) { w.plan.Actions, w.actErr = []planner.Action{{Kind: planner.ActionProve}}, test.err },
		} {
			t.Run(name+", "+where, func(t *testing.T) {
				w := newWorld(t)
				w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.ServiceAccountName = "writer" })
				set(w)
				w.turn()
				if ready := w.ready(); ready.Reason != test.reason || !strings.Contains(ready.Message, test.want) {
					t.Errorf("Ready is %s\n\t%s\nwant %s\n\t%s", ready.Reason, ready.Message, test.reason, test.want)
				}
			})
		}
	}
}

func TestAnAccountThatCannotBeHadFailsTheTurn(t *testing.T) {
	w := newWorld(t)
	w.reconciler.Parts.Cluster = func(_, _ planner.Ref) (Cluster, error) { return nil, errors.New("no certificate") }
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.ServiceAccountName = "writer" })
	w.turn()
	if ready := w.ready(); ready.Reason != ReasonApplyFailed || ready.Message != "write as service account plant/writer: no certificate" {
		t.Errorf("Ready is %+v", ready)
	}
}

// A domain that names another's object writes nothing, whatever else it has to write; the
// cache alone decides nothing.
func TestWhatBelongsToAnotherDomainRefusesTheTurn(t *testing.T) {
	const foreign = "ClusterIssuer fleet belongs to TrustDomain pki/a: give it another name"
	w := newWorld(t)
	w.foreign = []string{foreign}
	w.plan.Actions = []planner.Action{{Kind: planner.ActionRestart}}
	w.result.Applied = []string{"Bundle trust"}
	w.turn()
	if last := w.calls[len(w.calls)-1]; last != "plan" {
		t.Errorf("the turn ended with %q", last)
	}
	if ready := w.ready(); ready.Reason != ReasonOwnedByAnother || ready.Message != "nothing is written, for one TrustDomain would undo what the other does: "+foreign {
		t.Errorf("Ready is %+v", ready)
	}
	if told := failuresTold(w); len(told) != 1 {
		t.Errorf("told %q", told)
	}
	w.turn()
	if told := failuresTold(w); len(told) > 0 {
		t.Errorf("told again: %q", told)
	}
	w.foreign = nil
	w.turn()
	if ready := w.ready(); ready.Status != "True" {
		t.Errorf("once it is renamed, Ready is %+v", ready)
	}

	w.plan.Actions, w.result, w.foreign = nil, Result{}, []string{foreign}
	w.pullErr = errors.New("no route")
	w.turn()
	if ready := w.ready(); !strings.Contains(ready.Message, "could not be kept in force: nothing is written") || slices.Contains(w.calls, "apply prune=false") {
		t.Errorf("without a repository Ready is %+v after %q", ready, w.calls)
	}
}
