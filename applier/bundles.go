package applier

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// gatherCopies lists what has the name of a bundle that Git names or that is the domain's.
func (w *world) gatherCopies(ctx context.Context) error {
	for i := range w.bundles.Items {
		if object := &w.bundles.Items[i]; w.isOfInterest(object) {
			w.bundleObjects[object.GetName()] = true
		}
	}
	names, err := w.gatherNames(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	if _, err := w.list(ctx, namespaces, &w.namespaces); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := w.findConfigMaps(ctx, name); err != nil {
			return err
		}
	}
	w.names = names
	w.gatherOurs()
	return nil
}

// isOfInterest reports whether a trust-manager Bundle is one that Git names, whatever its
// labels, or the domain's. Where Git leaves a bundle's copies to somebody else, or writes
// them without a Bundle, one of that name is the domain's business only if it made it.
func (w *world) isOfInterest(bundle *unstructured.Unstructured) bool {
	return w.declaredVia(bundle.GetName()) == v1alpha1.ViaBundle || belongs(bundle, w.domain)
}

// gatherNames are the names of the bundles that Git names, of the domain's Bundles, and of
// those whose copies it wrote itself, understood or not.
func (w *world) gatherNames(ctx context.Context) (map[string]bool, error) {
	names := maps.Clone(w.bundleObjects)
	for name := range w.declared {
		names[name] = true
	}
	var ours corev1.ConfigMapList
	known, err := w.list(ctx, configMaps, &ours, domainLabels(w.domain), client.HasLabels{v1alpha1.LabelBundle})
	if err != nil {
		return nil, err
	}
	w.copiesUnknown = !known
	for i := range ours.Items {
		if isOurCopy(&ours.Items[i]) {
			names[ours.Items[i].Name] = true
		}
	}
	return names, nil
}

// standingBundles are the bundles as they stand, in order of their names, one for each
// name: its Bundle, or what its copies tell where there is none. One that is not wholly
// understood is unknown, and not among them.
func (w *world) standingBundles() []planner.Bundle {
	objects := map[string]*unstructured.Unstructured{}
	for i := range w.bundles.Items {
		objects[w.bundles.Items[i].GetName()] = &w.bundles.Items[i]
	}
	var standing []planner.Bundle
	for _, name := range slices.Sorted(maps.Keys(w.names)) {
		bundle, stands := planner.Bundle{}, false
		switch w.viaOf(name) {
		case v1alpha1.ViaConfigMap:
			bundle, stands = w.ourBundle(name)
		case v1alpha1.ViaObserved:
			bundle, stands = w.observedBundle(name)
		default:
			bundle, stands = w.readBundle(objects[name])
		}
		if stands {
			standing = append(standing, bundle)
		}
	}
	return standing
}

// viaOf is who writes a bundle's copies: as it stands, or else as Git has it.
func (w *world) viaOf(name string) v1alpha1.BundleVia {
	switch {
	case w.bundleObjects[name]:
		return v1alpha1.ViaBundle
	case len(w.ours[name]) > 0:
		return v1alpha1.ViaConfigMap
	}
	return w.declaredVia(name)
}

// declaredVia is who writes the copies of a bundle as Git has it; empty if it does not
// name the bundle.
func (w *world) declaredVia(name string) v1alpha1.BundleVia {
	spec, named := w.declared[name]
	if !named {
		return ""
	}
	return cmp.Or(spec.Via, v1alpha1.DefaultVia)
}

// gatherOurs sorts out the copies that reanchor wrote for the domain, by their bundles.
// Those that bear a former name of the domain are written anew, and tell nothing.
func (w *world) gatherOurs() {
	for at, h := range w.holders {
		if isOurCopy(&h) && belongs(&h, w.domain) {
			w.ours[at.bundle] = append(w.ours[at.bundle], h)
		}
	}
}

// ourBundle is what the copies tell of a bundle that reanchor writes itself; false if
// there are none. Its selector stands in Git alone. Whoever may write a ConfigMap may forge
// a copy: one where Git selects none tells nothing, and what an annotation says counts only
// where every copy that holds the certificate says it.
func (w *world) ourBundle(name string) (planner.Bundle, bool) {
	ours, target := w.selected(name), w.declared[name].Target
	bundle := planner.Bundle{Name: name, Via: v1alpha1.ViaConfigMap, Seen: true}
	var listed, unlisted pki.Anchors
	for _, h := range ours {
		held := w.anchorsIn(h)
		bundle.Anchors = bundle.Anchors.Union(held)
		listed = listed.Union(listedIn(&h, held))
		unlisted = unlisted.Union(held.Minus(listedIn(&h, held)))
	}
	bundle.Certificates = listed.Minus(unlisted)
	bundle.Target.ConfigMap.Key = commonKey(ours, target.ConfigMap.Key)
	bundle.Target.NamespaceSelector = target.NamespaceSelector
	return bundle, len(ours) > 0
}

// selected are our copies of a bundle in the namespaces that Git selects; all, if Git no
// longer declares it.
func (w *world) selected(name string) []holder {
	ours := w.ours[name]
	if w.declaredVia(name) == "" {
		return ours
	}
	places := w.places(nil)
	return slices.DeleteFunc(slices.Clone(ours), func(h holder) bool {
		_, picked := places[place{bundle: name, namespace: h.GetNamespace()}]
		return !picked
	})
}

// observedBundle is what somebody else has written of a bundle; false if nothing.
func (w *world) observedBundle(name string) (planner.Bundle, bool) {
	bundle := planner.Bundle{Name: name, Via: v1alpha1.ViaObserved, Seen: true, Target: w.declared[name].Target}
	stands := false
	for at, forms := range w.places([]planner.Bundle{bundle}) {
		h, there := w.holders[at]
		if !there || at.bundle != name {
			continue
		}
		stands = true
		for _, f := range forms {
			if content, has := h.content(f.key); has {
				bundle.Anchors = bundle.Anchors.Union(w.parse(content).anchors)
			}
		}
	}
	return bundle, stands
}

// anchorsIn are all that a copy of ours holds under any of its keys.
func (w *world) anchorsIn(h holder) pki.Anchors {
	var held pki.Anchors
	for _, content := range h.texts {
		held = held.Union(w.parse(content).anchors)
	}
	return held
}

// commonKey is the key under which copies hold their anchors: the one that Git names if one
// of them has it, else the one that all of them have. A copy alone moves nothing.
func commonKey(copies []holder, named string) string {
	count := map[string]int{}
	for _, h := range copies {
		for key := range h.texts {
			count[key]++
		}
	}
	if count[named] > 0 {
		return named
	}
	for _, key := range slices.Sorted(maps.Keys(count)) {
		if count[key] == len(copies) {
			return key
		}
	}
	return named
}

// listedIn are those of the anchors that an annotation of ours says came from the
// TrustBundle's spec.certificates.
func listedIn(object metav1.Object, anchors pki.Anchors) pki.Anchors {
	listed := map[string]bool{}
	for _, fingerprint := range strings.Split(object.GetAnnotations()[v1alpha1.AnnotationCertificates], ",") {
		listed[strings.TrimSpace(fingerprint)] = true
	}
	var found []pki.Certificate
	for _, anchor := range anchors {
		if listed[anchor.Fingerprint().String()] {
			found = append(found, anchor)
		}
	}
	return pki.NewAnchors(found...)
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

// readBundle is a trust-manager Bundle; false if there is none, or none that is understood.
func (w *world) readBundle(object *unstructured.Unstructured) (planner.Bundle, bool) {
	if object == nil {
		return planner.Bundle{}, false
	}
	bundle, err := bundleOf(object)
	if err != nil {
		w.note("Bundle "+object.GetName(), err.Error()+"; let it have sources inLine and in PEM only, or give the one in Git another name")
		return planner.Bundle{}, false
	}
	undefault(&bundle.Target, w.declared[bundle.Name].Target)
	return bundle, true
}

// undefault takes the empty password of a PKCS#12 store, which the API server fills in,
// for none where Git has none.
func undefault(live *v1alpha1.BundleTarget, declared v1alpha1.BundleTarget) {
	store, wanted := live.AdditionalFormats.PKCS12, declared.AdditionalFormats.PKCS12
	if store != nil && store.Password != nil && *store.Password == "" && wanted != nil && wanted.Password == nil {
		store.Password = nil
	}
}

func bundleOf(object *unstructured.Unstructured) (planner.Bundle, error) {
	var read standingBundle
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &read); err != nil {
		return planner.Bundle{}, fmt.Errorf("it is not understood: %w", err)
	}
	bundle := planner.Bundle{
		Name: object.GetName(), Via: v1alpha1.ViaBundle, Target: read.Spec.Target,
		Revision: fmt.Sprintf("%s/%d", object.GetUID(), object.GetGeneration()),
	}
	for _, condition := range read.Status.Conditions {
		bundle.Seen = bundle.Seen || condition.Type == conditionSynced && condition.ObservedGeneration == object.GetGeneration()
	}
	for number, source := range read.Spec.Sources {
		anchors, public, err := readSource(source)
		if err != nil {
			return planner.Bundle{}, fmt.Errorf("its source %d: %w", number+1, err)
		}
		bundle.Anchors, bundle.UseDefaultCAs = bundle.Anchors.Union(anchors), bundle.UseDefaultCAs || public
	}
	bundle.Certificates = listedIn(object, bundle.Anchors)
	return bundle, nil
}

// conditionSynced is the one condition that trust-manager gives a Bundle.
const conditionSynced = "Synced"

// readSource reads the anchors of a source that stands inline, or that it adds the public
// CAs. Of any other it is not known what it adds, unless it says that it adds nothing.
func readSource(source map[string]any) (found pki.Anchors, public bool, err error) {
	for _, field := range slices.Sorted(maps.Keys(source)) {
		content, isText := source[field].(string)
		switch {
		case source[field] == nil || source[field] == false || field == "inLine" && content == "":
		case field == "useDefaultCAs" && source[field] == true:
			public = true
		case field != "inLine" || !isText:
			return nil, false, fmt.Errorf("%s: what it adds cannot be read", field)
		default:
			anchors, err := pki.ParsePEM([]byte(content))
			if err != nil {
				return nil, false, err
			}
			found = pki.NewAnchors(anchors...)
		}
	}
	return found, public, nil
}
