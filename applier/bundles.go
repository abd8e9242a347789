package applier

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// standingBundles are the domain's Bundles as they stand. One that cannot be
// understood is unknown.
func (w *world) standingBundles() []planner.Bundle {
	standing := make([]planner.Bundle, 0, len(w.bundles.Items))
	for i := range w.bundles.Items {
		bundle, err := readBundle(&w.bundles.Items[i])
		if err != nil {
			w.note("Bundle "+bundle.Name, err.Error()+"; put it right in the cluster or let it be applied anew")
		}
		standing = append(standing, bundle)
	}
	slices.SortFunc(standing, func(a, b planner.Bundle) int { return cmp.Compare(a.Name, b.Name) })
	return standing
}

// standingBundle is the part of trust-manager's Bundle that we look at.
type standingBundle struct {
	Spec struct {
		Sources []struct {
			InLine string `json:"inLine"`
		} `json:"sources"`
		Target v1alpha1.BundleTarget `json:"target"`
	} `json:"spec"`
}

func readBundle(object *unstructured.Unstructured) (planner.Bundle, error) {
	bundle := planner.Bundle{Name: object.GetName()}
	var read standingBundle
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &read); err != nil {
		return bundle, fmt.Errorf("its spec is not understood: %w", err)
	}
	bundle.Target = read.Spec.Target
	for number, source := range read.Spec.Sources {
		if source.InLine == "" {
			continue
		}
		anchors, err := pki.ParsePEM([]byte(source.InLine))
		if err != nil {
			return bundle, fmt.Errorf("its source %d: %w", number+1, err)
		}
		bundle.Anchors = bundle.Anchors.Union(pki.NewAnchors(anchors...))
	}
	return bundle, nil
}

// A place is where a copy of a bundle must lie.
type place struct{ bundle, namespace string }

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.bundle, other.bundle), cmp.Compare(p.namespace, other.namespace))
}

// copies has one entry for each place. Where a bundle's target is about to change,
// the places and keys of both targets count: neither may be behind.
func (w *world) copies(ctx context.Context, standing []planner.Bundle) ([]planner.Copy, error) {
	places, err := w.places(ctx, standing)
	if err != nil || len(places) == 0 {
		return nil, err
	}
	found, err := w.findCopies(ctx, places)
	if err != nil || found == nil {
		return nil, err
	}
	copies := make([]planner.Copy, 0, len(places))
	for _, at := range slices.SortedFunc(maps.Keys(places), place.compare) {
		copies = append(copies, readCopy(at, places[at], found[at]))
	}
	return copies, nil
}

// places are all places of bundles, each with the keys that the copy must have, the
// desired one last.
func (w *world) places(ctx context.Context, standing []planner.Bundle) (map[place][]string, error) {
	if len(standing)+len(w.desired.Bundles) == 0 {
		return nil, nil
	}
	var all corev1.NamespaceList
	if _, err := w.list(ctx, namespaces, &all); err != nil {
		return nil, err
	}
	places := map[place][]string{}
	for _, bundle := range standing {
		w.pick(places, bundle.Name, bundle.Target, all.Items)
	}
	for _, bundle := range w.desired.Bundles {
		w.pick(places, bundle.Metadata.Name, bundle.Spec.Target, all.Items)
	}
	return places, nil
}

// pick adds the namespaces that a target selects, but for those that are going.
func (w *world) pick(places map[place][]string, bundle string, target v1alpha1.BundleTarget, all []corev1.Namespace) {
	selector, err := metav1.LabelSelectorAsSelector(&target.NamespaceSelector)
	if err != nil {
		w.note("Bundle "+bundle, fmt.Sprintf("its namespaceSelector is not understood: %v; put it right", err))
		return
	}
	for _, namespace := range all {
		if namespace.DeletionTimestamp != nil || !selector.Matches(labels.Set(namespace.Labels)) {
			continue
		}
		at := place{bundle, namespace.Name}
		if key := target.ConfigMap.Key; !slices.Contains(places[at], key) {
			places[at] = append(places[at], key)
		}
	}
}

// findCopies lists the copies of all bundles at once; nil if they cannot be listed.
func (w *world) findCopies(ctx context.Context, places map[place][]string) (map[place]*corev1.ConfigMap, error) {
	names := map[string]bool{}
	for at := range places {
		names[at.bundle] = true
	}
	ofBundles, err := labels.NewRequirement(LabelBundleCopy, selection.In, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return nil, fmt.Errorf("select the copies of bundles: %w; a bundle's name must be a label's value", err)
	}
	var list corev1.ConfigMapList
	known, err := w.list(ctx, configMaps, &list, client.MatchingLabelsSelector{Selector: labels.NewSelector().Add(*ofBundles)})
	if err != nil || !known {
		return nil, err
	}
	found := map[place]*corev1.ConfigMap{}
	for i := range list.Items {
		found[place{list.Items[i].Name, list.Items[i].Namespace}] = &list.Items[i]
	}
	return found, nil
}

// readCopy reads a copy under each of its keys; the last one counts, unless another
// has a problem.
func readCopy(at place, keys []string, configMap *corev1.ConfigMap) planner.Copy {
	copied := planner.Copy{Bundle: at.bundle, Namespace: at.namespace}
	if configMap == nil {
		copied.Problem = fmt.Sprintf("trust-manager has written no ConfigMap %s yet", at.bundle)
		return copied
	}
	for _, key := range keys {
		content, has := configMap.Data[key]
		if !has {
			return planner.Copy{Bundle: at.bundle, Namespace: at.namespace, Problem: fmt.Sprintf("the ConfigMap has no key %q", key)}
		}
		anchors, err := pki.ParsePEM([]byte(content))
		if err != nil {
			return planner.Copy{Bundle: at.bundle, Namespace: at.namespace, Problem: fmt.Sprintf("key %q: %v", key, err)}
		}
		copied.Anchors, copied.Digest = pki.NewAnchors(anchors...), sha256.Sum256([]byte(content))
	}
	return copied
}
