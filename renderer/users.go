package renderer

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/planner"
)

// Users are the Certificates that stand in the repository beside the documents, as the
// planner takes them: by their Ref, Issuer and SecretName. With them come the names of the
// namespaces that stand there.
func (l *Loaded) Users() (leaves []planner.Leaf, namespaces []string) {
	for _, manifest := range l.Native {
		switch gvk := manifest.GroupVersionKind(); {
		case gvk.Group == "" && gvk.Kind == "Namespace":
			namespaces = append(namespaces, manifest.GetName())
		case gvk.Group == "cert-manager.io" && gvk.Kind == "Certificate":
			leaves = append(leaves, leafOf(manifest))
		}
	}
	return leaves, namespaces
}

func leafOf(manifest *unstructured.Unstructured) planner.Leaf {
	of := func(path ...string) string {
		value, _, _ := unstructured.NestedString(manifest.Object, append([]string{"spec"}, path...)...)
		return value
	}
	leaf := planner.Leaf{
		Ref:        planner.Ref{Namespace: manifest.GetNamespace(), Name: manifest.GetName()},
		Issuer:     planner.Ref{Namespace: manifest.GetNamespace(), Name: of("issuerRef", "name")},
		SecretName: of("secretName"),
	}
	if of("issuerRef", "kind") == "ClusterIssuer" {
		leaf.Issuer.Namespace = ""
	}
	return leaf
}
