package renderer

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// identity names an object of the cluster, whatever version of its kind is used.
type identity struct {
	group, kind, namespace, name string
}

func identityOf(o *unstructured.Unstructured) identity {
	gvk := o.GroupVersionKind()
	return identity{gvk.Group, gvk.Kind, o.GetNamespace(), o.GetName()}
}

// String is "Kind namespace/name", as people write it.
func (i identity) String() string {
	if i.namespace == "" {
		return i.kind + " " + i.name
	}
	return i.kind + " " + i.namespace + "/" + i.name
}

// first and last are the kinds that others need before them, and those that act
// on everything that comes after them. All else lies between.
var (
	first = []string{
		"Namespace", "CustomResourceDefinition", "ServiceAccount",
		"ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding",
		"ConfigMap", "Secret", "Issuer", "ClusterIssuer", "Certificate", "Bundle",
	}
	last = []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
)

func rank(kind string) int {
	if i := slices.Index(first, kind); i >= 0 {
		return i
	}
	return len(first) + 1 + slices.Index(last, kind)
}

// compareObjects is the order of manifests: the rank of their kind, then kind,
// group, namespace and name.
func compareObjects(a, b *unstructured.Unstructured) int {
	x, y := identityOf(a), identityOf(b)
	return cmp.Or(
		cmp.Compare(rank(x.kind), rank(y.kind)),
		cmp.Compare(x.kind, y.kind),
		cmp.Compare(x.group, y.group),
		cmp.Compare(x.namespace, y.namespace),
		cmp.Compare(x.name, y.name),
	)
}
