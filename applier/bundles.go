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

// standingBundles are the Bundles that Git names, whatever their labels, and the
// domain's others, as they stand. One that is not wholly understood is unknown, and
// not among them.
func (w *world) standingBundles() []planner.Bundle {
	names := w.bundleNames()
	standing := make([]planner.Bundle, 0, len(names))
	for i := range w.bundles.Items {
		object := &w.bundles.Items[i]
		if !names[object.GetName()] {
			continue
		}
		bundle, err := readBundle(object)
		if err != nil {
			w.note("Bundle "+object.GetName(), err.Error()+"; let it have sources inLine and in PEM only, or give the one in Git another name")
			continue
		}
		standing = append(standing, bundle)
	}
	slices.SortFunc(standing, func(a, b planner.Bundle) int { return cmp.Compare(a.Name, b.Name) })
	return standing
}

// bundleNames are the names of the Bundles that Git names and of the domain's others,
// understood or not.
func (w *world) bundleNames() map[string]bool {
	names := map[string]bool{}
	for _, bundle := range w.desired.Bundles {
		names[bundle.Metadata.Name] = true
	}
	for i := range w.bundles.Items {
		if bundle := &w.bundles.Items[i]; belongs(bundle, w.domain) {
			names[bundle.GetName()] = true
		}
	}
	return names
}

// standingBundle is the part of trust-manager's Bundle that we look at.
type standingBundle struct {
	Spec struct {
		Sources []map[string]any      `json:"sources"`
		Target  v1alpha1.BundleTarget `json:"target"`
	} `json:"spec"`
	Status struct {
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
}

func readBundle(object *unstructured.Unstructured) (planner.Bundle, error) {
	var read standingBundle
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &read); err != nil {
		return planner.Bundle{}, fmt.Errorf("it is not understood: %w", err)
	}
	bundle := planner.Bundle{
		Name: object.GetName(), Target: read.Spec.Target,
		Revision: fmt.Sprintf("%s/%d", object.GetUID(), object.GetGeneration()),
	}
	for _, condition := range read.Status.Conditions {
		bundle.Seen = bundle.Seen || condition.Type == conditionSynced && condition.ObservedGeneration == object.GetGeneration()
	}
	for number, source := range read.Spec.Sources {
		anchors, err := readSource(source)
		if err != nil {
			return planner.Bundle{}, fmt.Errorf("its source %d: %w", number+1, err)
		}
		bundle.Anchors = bundle.Anchors.Union(anchors)
	}
	return bundle, nil
}

// conditionSynced is the one condition that trust-manager gives a Bundle.
const conditionSynced = "Synced"

// readSource reads the anchors of a source that stands inline. Of any other it is not
// known what it adds, unless it says that it adds nothing.
func readSource(source map[string]any) (pki.Anchors, error) {
	var found pki.Anchors
	for _, field := range slices.Sorted(maps.Keys(source)) {
		content, isText := source[field].(string)
		switch {
		case source[field] == nil || source[field] == false || field == "inLine" && content == "":
		case field != "inLine" || !isText:
			return nil, fmt.Errorf("%s: what it adds cannot be read", field)
		default:
			anchors, err := pki.ParsePEM([]byte(content))
			if err != nil {
				return nil, err
			}
			found = pki.NewAnchors(anchors...)
		}
	}
	return found, nil
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
		copied.Missing = true
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
