package v1alpha1

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

// notReferredGroups and notReferredKinds are what no reference leads into, and why.
var (
	notReferredGroups = map[string]string{
		GroupVersion.Group:      "documents and TrustDomains name issuers in fields of their own",
		"trust.cert-manager.io": "a Bundle names no issuer",
	}
	notReferredKinds = map[schema.GroupKind]string{
		{Kind: "Secret"}: "no Secret is read",
		{Group: certmanagerv1.SchemeGroupVersion.Group, Kind: certmanagerv1.IssuerKind}:             "an issuer names a Secret, and no other issuer",
		{Group: certmanagerv1.SchemeGroupVersion.Group, Kind: certmanagerv1.ClusterIssuerKind}:      "an issuer names a Secret, and no other issuer",
		{Group: certmanagerv1.SchemeGroupVersion.Group, Kind: certmanagerv1.CertificateRequestKind}: "a CertificateRequest is answered once and for all",
	}
)

// references checks the fields that are to name a binding's issuer.
func (v *validator) references(document Document, binding *IssuerBinding, namespace string) {
	for i, reference := range binding.Spec.References {
		field := fmt.Sprintf("spec.references[%d]", i)
		v.referredObject(document, field, reference)
		v.referredField(document, field, reference, binding)
		if binding.Spec.Scope == ScopeNamespace && reference.Namespace != namespace {
			v.refuse(document, field+".namespace", "an Issuer serves its own namespace alone, which is %s: write %s, or write scope: Cluster", namespace, namespace)
		}
	}
}

// referredObject checks the name of the object.
func (v *validator) referredObject(document Document, field string, reference FieldReference) {
	version, err := schema.ParseGroupVersion(reference.APIVersion)
	if err != nil || version.Version == "" || len(validation.IsDNS1035Label(version.Version)) > 0 || version.Group != "" && len(validation.IsDNS1123Subdomain(version.Group)) > 0 {
		v.refuse(document, field+".apiVersion", "%s is not the version of an API: write \"group/version\", or \"v1\"", quote(reference.APIVersion))
	}
	if len(validation.IsDNS1035Label(strings.ToLower(reference.Kind))) > 0 {
		v.refuse(document, field+".kind", "%s is not a kind of object", quote(reference.Kind))
	}
	if why := cmp.Or(notReferredGroups[version.Group], notReferredKinds[version.WithKind(reference.Kind).GroupKind()]); why != "" {
		v.refuse(document, field+".kind", "no reference leads into objects of kind %s, for %s: take it out", reference.Kind, why)
	}
	if len(validation.IsDNS1123Subdomain(reference.Name)) > 0 {
		v.refuse(document, field+".name", "%s is not the name of an object", quote(reference.Name))
	}
	if reference.Namespace != "" && len(validation.IsDNS1123Label(reference.Namespace)) > 0 {
		v.refuse(document, field+".namespace", "%s is not the name of a namespace", quote(reference.Namespace))
	}
}

// referredField checks the way to the field, and that no other reference leads there.
func (v *validator) referredField(document Document, field string, reference FieldReference, binding *IssuerBinding) {
	path, err := ParseFieldPath(reference.FieldPath)
	if err != nil {
		v.refuse(document, field+".fieldPath", "%s is not the path of a field, spec.ports[0].issuerRef.name say: %s", quote(reference.FieldPath), err)
		return
	}
	if !maySayIssuer(path) {
		v.refuse(document, field+".fieldPath", "%s is no field that somebody declares: give one below spec or metadata.annotations, say", quote(reference.FieldPath))
		return
	}
	object := strings.Join([]string{reference.APIVersion, reference.Kind, reference.Namespace, reference.Name}, "/")
	id := "reference " + path.String() + " of " + object
	if earlier, taken := v.claims[id]; taken {
		v.refuse(document, field+".fieldPath", "IssuerBinding %s refers to that field already (%s:%d), and it can name one issuer: take one of the two out",
			earlier.role, earlier.document.File, max(earlier.document.Line, 1))
		return
	}
	v.claims[id] = claim{document, binding.Metadata.Name}
}

// maySayIssuer reports whether a path leads to what an object's owner declares: not to what
// it is called, nor to what became of it.
func maySayIssuer(path FieldPath) bool {
	switch top := path[0].Name; top {
	case "metadata":
		return len(path) == 3 && slices.Contains([]string{"annotations", "labels"}, path[1].Name) && path[2].Name != ""
	case "status", "apiVersion", "kind", "":
		return false
	}
	return len(path) > 1 && path[len(path)-1].Name != ""
}
