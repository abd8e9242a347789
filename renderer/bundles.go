package renderer

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

const kindConfigMap = "ConfigMap"

// anyNamespace is where the template of a bundle's copies lies while the overlay is
// applied: it stands for every namespace that holds one.
const anyNamespace = "reanchor-any-namespace"

// bundle is the object that a bundle becomes: trust-manager's Bundle, or the template of
// the copies that reanchor writes itself. Nil where there is nothing to trust, or where
// somebody else writes the copies.
func (l *Loaded) bundle(bundle planner.TargetBundle) (*unstructured.Unstructured, error) {
	made, err := (*unstructured.Unstructured)(nil), error(nil)
	switch {
	case isCopied(bundle):
		made = l.template(bundle)
	case bundle.Via == v1alpha1.ViaBundle || bundle.Via == "":
		made, err = l.trustManagerBundle(bundle)
	}
	if made != nil {
		annotations := adoptionOf(l.trustBundle(bundle.Name))
		if len(bundle.Certificates) > 0 {
			annotations[v1alpha1.AnnotationCertificates] = fingerprints(bundle.Certificates)
		}
		setAnnotations(made, annotations)
	}
	return made, err
}

// isCopied reports whether reanchor writes copies of the bundle itself.
func isCopied(bundle planner.TargetBundle) bool {
	return bundle.Via == v1alpha1.ViaConfigMap && len(bundle.Anchors) > 0
}

// trustManagerBundle has every anchor inline: one that reads a Secret drops the old
// anchor the moment that the Secret changes
// (https://cert-manager.io/docs/trust/trust-manager/api-reference/).
func (l *Loaded) trustManagerBundle(bundle planner.TargetBundle) (*unstructured.Unstructured, error) {
	sources := sourcesOf(bundle)
	if len(sources) == 0 {
		return nil, nil
	}
	target, err := targetOf(bundle.Target)
	if err != nil {
		return nil, fmt.Errorf("TrustBundle %s: write its target: %w", bundle.Name, err)
	}
	spec := map[string]any{"sources": sources, "target": target}
	return manifest(trustManager, "Bundle", "", bundle.Name, l.bundleLabels(bundle), spec), nil
}

func sourcesOf(bundle planner.TargetBundle) []any {
	var sources []any
	if len(bundle.Anchors) > 0 {
		sources = append(sources, map[string]any{"inLine": string(bundle.Anchors.PEM())})
	}
	if bundle.UseDefaultCAs {
		sources = append(sources, map[string]any{"useDefaultCAs": true})
	}
	return sources
}

// targetOf is a target in trust-manager's own words, which are the documents' too. The
// selector is always there: without one, a Bundle is copied everywhere.
func targetOf(target v1alpha1.BundleTarget) (map[string]any, error) {
	data, err := json.Marshal(target)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{"namespaceSelector": map[string]any{}}
	return fields, json.Unmarshal(data, &fields)
}

// template is the ConfigMap that each copy of a bundle is made from. It does not bear
// trust-manager's label, which would have that write to it.
func (l *Loaded) template(bundle planner.TargetBundle) *unstructured.Unstructured {
	made := manifest("v1", kindConfigMap, anyNamespace, bundle.Name, l.bundleLabels(bundle), nil)
	delete(made.Object, "spec")
	made.Object["data"] = copyData(bundle)
	return made
}

func copyData(bundle planner.TargetBundle) map[string]any {
	return map[string]any{bundle.Target.ConfigMap.Key: string(bundle.Anchors.PEM())}
}

func (l *Loaded) bundleLabels(bundle planner.TargetBundle) map[string]string {
	return labelsOf(l.trustBundle(bundle.Name), v1alpha1.LabelBundle, bundle.Name)
}

// fingerprints are those of the certificates in hex, sorted, with commas between.
func fingerprints(certificates pki.Anchors) string {
	var all []string
	for _, certificate := range certificates {
		all = append(all, certificate.Fingerprint().String())
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// copied puts the copies of bundles in the place of their templates. The overlay has been
// applied to each template once, whatever the number of namespaces: kustomize takes a
// time that grows with the square of what it is given.
func (l *Loaded) copied(made []*unstructured.Unstructured, bundles []planner.TargetBundle) ([]*unstructured.Unstructured, error) {
	for _, bundle := range bundles {
		if !isCopied(bundle) {
			continue
		}
		id := identity{kind: kindConfigMap, namespace: anyNamespace, name: bundle.Name}
		at := slices.IndexFunc(made, func(o *unstructured.Unstructured) bool { return identityOf(o) == id })
		template := made[at]
		made = slices.Delete(made, at, at+1)
		if err := l.errCopies(bundle, template, made); err != nil {
			return nil, err
		}
		for _, namespace := range bundle.Namespaces {
			stamped := template.DeepCopy()
			stamped.SetNamespace(namespace)
			made = append(made, stamped)
		}
	}
	return made, nil
}

// errCopies refuses an overlay that changes what a copy holds, and a ConfigMap that stands
// in the place of one.
func (l *Loaded) errCopies(bundle planner.TargetBundle, template *unstructured.Unstructured, beside []*unstructured.Unstructured) error {
	content := maps.Clone(template.Object)
	for _, field := range []string{"apiVersion", "kind", "metadata"} {
		delete(content, field)
	}
	if !reflect.DeepEqual(content, map[string]any{"data": copyData(bundle)}) {
		return fmt.Errorf("%s: ConfigMap %s: more is changed than labels and annotations, and verifiers trust what it holds; change TrustBundle %s instead",
			overlayFolder, bundle.Name, bundle.Name)
	}
	for _, o := range beside {
		id := identityOf(o)
		if id.group == "" && id.kind == kindConfigMap && id.name == bundle.Name && slices.Contains(bundle.Namespaces, id.namespace) {
			file, line := l.Origin(o)
			return fmt.Errorf("%s:%d: %s is a copy that reanchor writes, of TrustBundle %s; rename it or take it out", file, line, id, bundle.Name)
		}
	}
	return nil
}
