package preflight

import (
	"context"

	fluxmeta "github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

func (l *look) trustDomains(ctx context.Context) bool {
	var list v1alpha1.TrustDomainList
	err := l.List(ctx, &list, client.InNamespace(l.options.Domains))
	switch {
	case isAbsent(err):
		return true // told already
	case err != nil:
		l.unseen("the TrustDomains", err)
	case len(list.Items) == 0:
		l.warn("make a repository with reanchor init, and apply its trustdomain.yaml", "there is none")
	}
	for i := range list.Items {
		l.tell(judgeDomain(l.section, &list.Items[i]))
	}
	return true
}

// judgeDomain says how a TrustDomain is.
func judgeDomain(section string, domain *v1alpha1.TrustDomain) Result {
	name := domain.Namespace + "/" + domain.Name
	see := "see reanchor status " + domain.Name + " -n " + domain.Namespace
	ready := apimeta.FindStatusCondition(domain.Status.Conditions, fluxmeta.ReadyCondition)
	switch {
	case domain.Spec.Suspend:
		return Result{section, Warned, name + " is suspended", "let it have turns again with reanchor resume " + domain.Name + " -n " + domain.Namespace}
	case ready == nil || domain.Status.ObservedGeneration != domain.Generation:
		return Result{section, Warned, name + ": no controller has seen its latest change yet", "see that the controller runs, and try again"}
	case ready.Status != metav1.ConditionTrue:
		return Result{section, Failed, name + " is not ready: " + ready.Reason + ": " + ready.Message, see}
	}
	return Result{Section: section, Outcome: Passed, Found: name + " is ready"}
}
