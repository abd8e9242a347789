package applier

import (
	"slices"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// bindingIssuers are the issuers that bindings name, there or not, and those of the
// domain that no binding names any more.
func (w *world) bindingIssuers() []planner.Issuer {
	found := map[planner.Ref]planner.Issuer{}
	for _, binding := range w.desired.Bindings {
		ref := planner.BindingRef(binding)
		if w.listed(ref) {
			found[ref] = planner.Issuer{Ref: ref}
		}
	}
	for _, issuer := range w.allIssuers() {
		ref := refOf(issuer)
		_, named := found[ref]
		if named || belongs(issuer, w.domain) && issuer.GetLabels()[v1alpha1.LabelBinding] != "" {
			read := w.readIssuer(issuer)
			read.Ours = belongs(issuer, w.domain)
			found[ref] = read
		}
	}
	issuers := make([]planner.Issuer, 0, len(found))
	for _, issuer := range found {
		issuers = append(issuers, issuer)
	}
	slices.SortFunc(issuers, func(a, b planner.Issuer) int { return a.Ref.Compare(b.Ref) })
	return issuers
}

// listed reports whether the issuers of that scope are known: one that is not on a
// known list is not there.
func (w *world) listed(ref planner.Ref) bool {
	if ref.Namespace == "" {
		return w.clusterIssuersKnown
	}
	return w.issuersKnown
}

func (w *world) allIssuers() []certmanagerv1.GenericIssuer {
	all := make([]certmanagerv1.GenericIssuer, 0, len(w.issuers.Items)+len(w.clusterIssuers.Items))
	for i := range w.issuers.Items {
		all = append(all, &w.issuers.Items[i])
	}
	for i := range w.clusterIssuers.Items {
		all = append(all, &w.clusterIssuers.Items[i])
	}
	return all
}

func (w *world) readIssuer(issuer certmanagerv1.GenericIssuer) planner.Issuer {
	read := planner.Issuer{Ref: refOf(issuer), Exists: true, Generation: issuer.GetGeneration()}
	if ca := issuer.GetSpec().CA; ca != nil {
		read.SecretName = ca.SecretName
	}
	namespace := clusterNamespace(read.Ref, w.ClusterResourceNamespace)
	for _, canary := range w.requests.canaries[issuer.GetUID()] {
		if canary.Namespace != namespace || !belongs(canary, w.domain) {
			continue
		}
		told := readCanary(canary)
		if read.Canary.Name == "" {
			read.Canary = told
		}
		if told.State == planner.CanarySigned {
			read.Proof = told
			break
		}
	}
	return read
}
