package renderer

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// position is where something stands in the repository.
type position struct {
	file string
	line int
}

// Origin is where in the repository a manifest comes from, as it is in Native or as
// [Loaded.Render] made it: its own document, the document that it was rendered from,
// or else the overlay's kustomization. The line counts from 1; the file is empty for
// what was rendered of an authority, say, that has left the repository.
func (l *Loaded) Origin(manifest *unstructured.Unstructured) (file string, line int) {
	for _, id := range []identity{identityOf(manifest), documentOf(manifest)} {
		if at, known := l.origins[id]; known {
			return at.file, at.line
		}
	}
	if l.overlay == nil {
		return "", 1
	}
	return l.overlay.root, 1
}

// OriginOf is where in the repository a document stands: its file, and the line on which it
// begins, from 1.
func (l *Loaded) OriginOf(document v1alpha1.Object) (file string, line int) {
	ref := planner.Ref{Name: v1alpha1.MetadataOf(document).Name}
	if binding, ok := document.(*v1alpha1.IssuerBinding); ok {
		ref = planner.BindingRef(*binding)
	}
	at := l.origins[documentID(v1alpha1.KindOf(document), ref)]
	return at.file, max(at.line, 1)
}

// documentOf is the document that a manifest was rendered from, by its labels.
func documentOf(manifest *unstructured.Unstructured) identity {
	labels := manifest.GetLabels()
	switch {
	case labels[v1alpha1.LabelBinding] != "":
		return documentID(v1alpha1.KindIssuerBinding, planner.Ref{Namespace: manifest.GetNamespace(), Name: labels[v1alpha1.LabelBinding]})
	case labels[v1alpha1.LabelAuthority] != "":
		return documentID(v1alpha1.KindAuthority, planner.Ref{Name: labels[v1alpha1.LabelAuthority]})
	}
	return documentID(v1alpha1.KindTrustBundle, planner.Ref{Name: labels[v1alpha1.LabelBundle]})
}

func documentID(kind string, ref planner.Ref) identity {
	return identity{v1alpha1.GroupVersion.Group, kind, ref.Namespace, ref.Name}
}

// origins are the places of the documents and of the native manifests.
func origins(documents []v1alpha1.Document, written []source, native []object) map[identity]position {
	places := make(map[identity]position, len(documents)+len(native))
	for _, d := range documents {
		kind, metadata := identify(d.Object)
		ref := planner.Ref{Name: metadata.Name}
		if binding, ok := d.Object.(*v1alpha1.IssuerBinding); ok {
			ref = planner.BindingRef(*binding)
		}
		places[documentID(kind, ref)] = position{d.File, max(d.Line, 1)}
	}
	for _, o := range native {
		places[identityOf(o.Unstructured)] = positionOf(o, written)
	}
	return places
}

// positionOf is where a manifest was written: the one of its file and kind whose name is
// most of its own, prefixes and suffixes aside.
func positionOf(o object, written []source) position {
	at, longest := position{o.file, 1}, -1
	for _, s := range written {
		if s.file == o.file && s.kind == o.GetKind() && strings.Contains(o.GetName(), s.name) && len(s.name) > longest {
			at.line, longest = s.line, len(s.name)
		}
	}
	return at
}

// certificateLines are the lines on which authorities give certificates of keys from
// elsewhere, by authority and key. One that a patch gives is not among them.
func (c *composition) certificateLines(documents []v1alpha1.Document) map[pair]int {
	lines := map[pair]int{}
	for _, d := range documents {
		authority, ok := d.Object.(*v1alpha1.Authority)
		if !ok || !slices.ContainsFunc(authority.Spec.Keys, v1alpha1.AuthorityKey.Given) {
			continue
		}
		nodes, err := nodesOf(d.File, c.files[d.File])
		if err != nil {
			continue // it was read before
		}
		for _, node := range nodes {
			if lineOf(node) == d.Line {
				noteCertificates(authority.Metadata.Name, node, lines)
			}
		}
	}
	return lines
}

func noteCertificates(authority string, root *yaml.Node, lines map[pair]int) {
	keys := childOf(childOf(childOf(root, "0"), "spec"), "keys")
	if keys == nil {
		return
	}
	for _, key := range keys.Content {
		if name, certificate := childOf(key, "name"), childOf(key, "certificate"); name != nil && certificate != nil {
			lines[pair{authority, name.Value}] = certificate.Line
		}
	}
}
