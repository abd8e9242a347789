package applier

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/planner"
)

// An Object is one in the cluster, by name.
type Object struct {
	schema.GroupVersionKind
	planner.Ref
}

// String is "Certificate cert-manager/fleet-root-2026".
func (o Object) String() string { return o.Kind + " " + o.Ref.String() }

func objectOf(object client.Object) Object {
	return Object{object.GetObjectKind().GroupVersionKind(), refOf(object)}
}

// An identity is an object whatever the version that it was read in.
type identity struct {
	schema.GroupKind
	planner.Ref
}

func (o Object) identity() identity { return identity{o.GroupKind(), o.Ref} }

// FormatKind writes a kind as group/version/Kind; the core group as v1/Kind.
func FormatKind(kind schema.GroupVersionKind) string {
	return kind.GroupVersion().String() + "/" + kind.Kind
}

// ParseKind reads what FormatKind wrote.
func ParseKind(text string) (schema.GroupVersionKind, error) {
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return schema.GroupVersionKind{}, fmt.Errorf("kind %q: want group/version/Kind", text)
	}
	n := len(parts)
	return schema.GroupVersionKind{Group: strings.Join(parts[:n-2], "/"), Version: parts[n-2], Kind: parts[n-1]}, nil
}
