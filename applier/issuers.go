package applier

import (
	"cmp"
	"encoding/json"
	"fmt"
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
			found[ref] = w.readBinding(issuer)
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

// readBinding is an issuer with whose it is, and how it fares. Of an external one its spec
// tells whether it is the one that Git gives it.
func (w *world) readBinding(issuer certmanagerv1.GenericIssuer) planner.Issuer {
	read := w.readIssuer(issuer)
	read.Ours = belongs(issuer, w.domain)
	read.SignsWith = issuer.GetAnnotations()[v1alpha1.AnnotationSignsWith]
	if read.Ready = readyAs(issuer, isTrue); !read.Ready {
		read.Problem = unreadyMessage(issuer)
	}
	if issuer.GetSpec().CA != nil {
		return read
	}
	spec, err := canonicalSpec(issuer.GetSpec())
	if err != nil {
		w.note(fmt.Sprintf("the issuer %s", read.Ref), fmt.Sprintf("its spec cannot be written as JSON: %v", err))
	}
	read.Spec = spec
	return read
}

// unreadyMessage is why an issuer is not ready, in cert-manager's words.
func unreadyMessage(issuer certmanagerv1.GenericIssuer) string {
	for _, condition := range issuer.GetStatus().Conditions {
		if condition.Type == certmanagerv1.IssuerConditionReady && condition.ObservedGeneration == issuer.GetGeneration() {
			return cmp.Or(condition.Message, "cert-manager does not say why")
		}
	}
	return "cert-manager has not looked at it yet"
}

// canonicalSpec is a spec as JSON: without blanks, with the fields of each object sorted.
func canonicalSpec(spec *certmanagerv1.IssuerSpec) (string, error) {
	raw, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return "", err
	}
	sorted, err := json.Marshal(fields)
	return string(sorted), err
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
