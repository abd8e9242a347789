package importer

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Repository is what describes the cluster.
type Repository struct {
	// Authorities, parents first; Bindings and Bundles by their names.
	Authorities []v1alpha1.Authority
	Bindings    []v1alpha1.IssuerBinding
	Bundles     []v1alpha1.TrustBundle
	// Taken is what was taken over, sorted.
	Taken []Taken
	// Files of the repository, by their paths, sorted.
	Files []File
}

// File is one file of the repository.
type File struct {
	Path    string
	Content []byte
}

// Describe writes the repository of what was seen, and says what is left. Equal input gives
// equal bytes, in whatever order it was listed.
func Describe(seen Seen) (Repository, []Left) {
	d := newDescription(seen)
	d.gatherAuthorities()
	d.judge()
	d.findParents()
	d.nameAll()
	d.leftAuthorities()
	d.leftUnused()
	d.describeAuthorities()
	d.describeBundles()
	d.describeConfigMaps()
	left := d.sortedLeft()
	slices.SortFunc(d.repository.Taken, func(a, b Taken) int { return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.As, b.As)) })
	d.repository.Files = d.repository.files(left)
	return d.repository, left
}

// A description is a repository as it is written.
type description struct {
	evidence
	seen        Seen
	authorities []*authority
	// bundleNames are those of all Bundles.
	bundleNames map[string]bool
	repository  Repository
	left        []Left
}

func newDescription(seen Seen) *description {
	seen.Certificates = sortedBy(seen.Certificates)
	seen.Requests = sortedBy(seen.Requests)
	seen.ConfigMaps = sortedBy(seen.ConfigMaps)
	seen.Bundles = sortedBy(seen.Bundles)
	return &description{evidence: newEvidence(seen), seen: seen, bundleNames: map[string]bool{}}
}

// sortedBy sorts objects by namespace and name.
func sortedBy[T any, P interface {
	*T
	metav1.Object
}](objects []T) []T {
	sorted := slices.Clone(objects)
	slices.SortFunc(sorted, func(a, b T) int {
		return cmp.Or(cmp.Compare(P(&a).GetNamespace(), P(&b).GetNamespace()), cmp.Compare(P(&a).GetName(), P(&b).GetName()))
	})
	return sorted
}

// describeAuthorities writes the documents of what is taken over.
func (d *description) describeAuthorities() {
	for _, a := range d.taken() {
		d.repository.Authorities = append(d.repository.Authorities, a.document())
		d.take(d.placeOf(a), "Authority "+a.name+", key "+a.key, d.noteOn(a))
		for _, by := range a.kept {
			d.repository.Bindings = append(d.repository.Bindings, binding(by, a.name))
			d.take(by.String(), "IssuerBinding "+by.Name, "")
		}
	}
	slices.SortFunc(d.repository.Bindings, func(a, b v1alpha1.IssuerBinding) int {
		return cmp.Or(cmp.Compare(a.Metadata.Namespace, b.Metadata.Namespace), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
}

// placeOf names where an authority's key is.
func (d *description) placeOf(a *authority) string {
	switch {
	case a.secret != "":
		return "Secret " + a.namespace + "/" + a.secret
	case a.spec != "":
		return "the key behind " + a.issuers[0].String()
	}
	return a.subject()
}

// noteOn is what a person should know of an authority that is taken over.
func (d *description) noteOn(a *authority) string {
	switch n := d.outliving(a.issuers, a.certificate.NotAfter()); {
	case a.secret == "" && a.spec == "":
		return "only its certificate is here, so that nothing here can sign with it"
	case n > 0:
		return fmt.Sprintf("%s ends at %s, before %s that it signed: roll it over soon", a.certificate, instant(a.certificate.NotAfter()), counted(n, "leaf does", "leaves do"))
	case len(a.makers) == 1 && renews(a):
		return fmt.Sprintf("Certificate %s/%s renews its certificate, with the same key: set renewal.policy: Disabled there, or roll over before", a.namespace, a.makers[0].Name)
	}
	return ""
}

func renews(a *authority) bool {
	renewal := a.makers[0].Spec.Renewal
	return renewal == nil || renewal.Policy != "Disabled"
}

func binding(by issuer, authority string) v1alpha1.IssuerBinding {
	scope := v1alpha1.ScopeNamespace
	if by.Namespace == "" {
		scope = v1alpha1.ScopeCluster
	}
	return v1alpha1.IssuerBinding{Metadata: toAdopt(by.Name, by.Namespace), Spec: v1alpha1.IssuerBindingSpec{Scope: scope, Authority: authority}}
}

// toAdopt is the metadata of a document that asks for what stands in the cluster.
func toAdopt(name, namespace string) v1alpha1.Metadata {
	return v1alpha1.Metadata{Name: name, Namespace: namespace, Annotations: map[string]string{v1alpha1.AnnotationAdopt: v1alpha1.Adopt}}
}

func rawJSON(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func fromUnstructured(object *unstructured.Unstructured, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into)
}
