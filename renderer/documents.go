package renderer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// ourDocuments are the kinds of documents, by which one is known that lacks its apiVersion.
var ourDocuments = []string{
	v1alpha1.KindAuthority, v1alpha1.KindIssuerBinding, v1alpha1.KindTrustBundle,
	v1alpha1.KindDeviceGroup, v1alpha1.KindDevice, v1alpha1.KindPolicy,
}

// isOurs reports whether an object is a document rather than a manifest.
func isOurs(apiVersion, kind string) bool {
	group, _, _ := strings.Cut(apiVersion, "/")
	if apiVersion == "" {
		return slices.Contains(ourDocuments, kind)
	}
	return group == v1alpha1.GroupVersion.Group
}

func compareSources(a, b source) int {
	return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
}

// written decodes the documents as they stand in their files. What is wrong with
// them has a real line, but a patch may yet mend it.
func (c *composition) written() ([]v1alpha1.Document, error) {
	files := map[string]bool{}
	for _, s := range c.sources {
		files[s.file] = true
	}
	var documents []v1alpha1.Document
	var problems v1alpha1.ErrorList
	for _, file := range slices.Sorted(maps.Keys(files)) {
		decoded, err := v1alpha1.Decode(file, c.files[file])
		documents = append(documents, decoded...)
		problems = append(problems, problemsOf(err)...)
	}
	return documents, problems.Err()
}

func problemsOf(err error) v1alpha1.ErrorList {
	var problems v1alpha1.ErrorList
	if errors.As(err, &problems) || err == nil {
		return problems
	}
	return v1alpha1.ErrorList{{Line: 1, Message: err.Error()}}
}

// decodeAll decodes the documents that a build made. Each keeps the lines of the
// document that it was written as.
func decodeAll(objects []object, written []v1alpha1.Document) ([]v1alpha1.Document, error) {
	var documents []v1alpha1.Document
	var problems v1alpha1.ErrorList
	for _, o := range objects {
		origin := originOf(o, written)
		document, err := decodeComposed(o)
		if err != nil {
			problems = append(problems, moved(problemsOf(err), origin)...)
			continue
		}
		origin.Object = document
		documents = append(documents, origin)
	}
	return documents, problems.Err()
}

func decodeComposed(o object) (v1alpha1.Object, error) {
	data, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	decoded, err := v1alpha1.Decode(o.file, data)
	if err != nil {
		return nil, err
	}
	if len(decoded) != 1 {
		return nil, fmt.Errorf("%s %s is not one document", o.GetKind(), o.GetName())
	}
	return decoded[0].Object, nil
}

// moved are problems of a composed document, at the line where it was written.
func moved(problems v1alpha1.ErrorList, origin v1alpha1.Document) v1alpha1.ErrorList {
	for i := range problems {
		problems[i].File, problems[i].Line = origin.File, origin.Line
		problems[i].Message += " (once the patches are applied; see the kustomizations that use this file)"
	}
	return problems
}

// originOf is the document that an object was written as: the one of its file
// and kind whose name is most of the object's, prefixes and suffixes aside.
func originOf(o object, written []v1alpha1.Document) v1alpha1.Document {
	origin, longest := v1alpha1.Document{File: o.file, Line: 1}, -1
	for _, d := range written {
		kind, metadata := identify(d.Object)
		if d.File == o.file && kind == o.GetKind() && strings.Contains(o.GetName(), metadata.Name) && len(metadata.Name) > longest {
			origin, longest = d, len(metadata.Name)
		}
	}
	return origin
}

func identify(object v1alpha1.Object) (kind string, metadata v1alpha1.Metadata) {
	switch o := object.(type) {
	case *v1alpha1.Authority:
		return v1alpha1.KindAuthority, o.Metadata
	case *v1alpha1.IssuerBinding:
		return v1alpha1.KindIssuerBinding, o.Metadata
	case *v1alpha1.TrustBundle:
		return v1alpha1.KindTrustBundle, o.Metadata
	case *v1alpha1.DeviceGroup:
		return v1alpha1.KindDeviceGroup, o.Metadata
	case *v1alpha1.Device:
		return v1alpha1.KindDevice, o.Metadata
	case *v1alpha1.Policy:
		return v1alpha1.KindPolicy, o.Metadata
	}
	return "", v1alpha1.Metadata{}
}

// followAuthorities gives references that lead to another namespace, or that name
// none, the name that their authority was given. kustomize follows a name only
// within one namespace; the document's own prefix and suffix tell what the
// authority's are.
func followAuthorities(documents, written []v1alpha1.Document) {
	authorities := map[string]bool{}
	for _, d := range documents {
		if authority, ok := d.Object.(*v1alpha1.Authority); ok {
			authorities[authority.Metadata.Name] = true
		}
	}
	for _, d := range documents {
		reference := authorityReference(d.Object)
		if reference == nil || authorities[*reference] {
			continue
		}
		if name := renamed(*reference, d, written); authorities[name] {
			*reference = name
		}
	}
}

// authorityReference is where a document names the one authority that it hangs on:
// a binding's, or an intermediate's parent. Nil if it names none.
func authorityReference(object v1alpha1.Object) *string {
	switch o := object.(type) {
	case *v1alpha1.IssuerBinding:
		return &o.Spec.Authority
	case *v1alpha1.Authority:
		if o.Spec.IssuedBy != nil {
			return &o.Spec.IssuedBy.Name
		}
	}
	return nil
}

// renamed is the name of what a document refers to under the document's own prefix
// and suffix.
func renamed(reference string, at v1alpha1.Document, written []v1alpha1.Document) string {
	kind, composed := identify(at.Object)
	for _, d := range written {
		writtenKind, metadata := identify(d.Object)
		if d.File != at.File || d.Line != at.Line || writtenKind != kind {
			continue
		}
		if prefix, suffix, found := strings.Cut(composed.Name, metadata.Name); found {
			return prefix + reference + suffix
		}
	}
	return ""
}

// desired is what valid documents declare, in order of their names.
func desired(documents []v1alpha1.Document) planner.Desired {
	var d planner.Desired
	namespaces := namespacesOf(documents)
	for _, document := range documents {
		switch object := document.Object.(type) {
		case *v1alpha1.Authority:
			d.Authorities = append(d.Authorities, *object)
		case *v1alpha1.IssuerBinding:
			place(object, namespaces)
			d.Bindings = append(d.Bindings, *object)
		case *v1alpha1.TrustBundle:
			d.Bundles = append(d.Bundles, *object)
		case *v1alpha1.DeviceGroup:
			d.Groups = append(d.Groups, *object)
		}
	}
	slices.SortFunc(d.Authorities, by(planner.AuthorityRef))
	slices.SortFunc(d.Bindings, by(planner.BindingRef))
	slices.SortFunc(d.Bundles, by(func(b v1alpha1.TrustBundle) planner.Ref { return planner.Ref{Name: b.Metadata.Name} }))
	slices.SortFunc(d.Groups, by(func(g v1alpha1.DeviceGroup) planner.Ref { return planner.Ref{Name: g.Metadata.Name} }))
	return d
}

// objectsOf are what documents declare, in order of kind and name.
func objectsOf(documents []v1alpha1.Document) []v1alpha1.Object {
	objects := make([]v1alpha1.Object, len(documents))
	for i, document := range documents {
		objects[i] = document.Object
	}
	slices.SortStableFunc(objects, func(a, b v1alpha1.Object) int {
		return cmp.Or(cmp.Compare(v1alpha1.KindOf(a), v1alpha1.KindOf(b)), cmp.Compare(v1alpha1.MetadataOf(a).Name, v1alpha1.MetadataOf(b).Name))
	})
	return objects
}

// namespacesOf are the namespaces of the authorities, by name.
func namespacesOf(documents []v1alpha1.Document) map[string]string {
	namespaces := map[string]string{}
	for _, document := range documents {
		if authority, ok := document.Object.(*v1alpha1.Authority); ok {
			namespaces[authority.Metadata.Name] = authority.Metadata.Namespace
		}
	}
	return namespaces
}

// place fills in a binding's namespace: none for a ClusterIssuer, else its
// authority's.
func place(binding *v1alpha1.IssuerBinding, namespaces map[string]string) {
	switch {
	case binding.Spec.Scope == v1alpha1.ScopeCluster:
		binding.Metadata.Namespace = ""
	case binding.Metadata.Namespace == "":
		binding.Metadata.Namespace = namespaces[binding.Spec.Authority]
	}
}

func by[T any](ref func(T) planner.Ref) func(a, b T) int {
	return func(a, b T) int { return ref(a).Compare(ref(b)) }
}
