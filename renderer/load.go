package renderer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Folders of a domain that its kustomization does not name.
const (
	// devicesFolder and anchorsFolder are written by reanchor itself.
	devicesFolder = v1alpha1.DevicesFolder
	anchorsFolder = planner.RecordFolder
	// overlayFolder holds the component that is applied over what is rendered.
	overlayFolder = "overlay"
)

// Options of [Load].
type Options struct {
	// Limits of what is read.
	Limits Limits
	// ClusterResourceNamespace is where cert-manager looks for the Secrets of
	// ClusterIssuers; v1alpha1.DefaultClusterResourceNamespace when empty.
	ClusterResourceNamespace string
	// Record of the domain, from [LoadRecord]: the names of its retired keys are used
	// up.
	Record planner.Record
	// CheckPolicies holds the policies against the rules that there are; policies.Problems.
	// Without it, what is wrong with an expression shows when the rules are applied, and
	// denies that.
	CheckPolicies func([]v1alpha1.Policy) []v1alpha1.PolicyProblem
}

// Loaded is what one revision of the repository declares. It does not change;
// its methods may be called concurrently.
type Loaded struct {
	// Desired is what the documents declare, valid and with every default.
	Desired planner.Desired
	// Documents are all of them as they were composed, the policies too, in order of their
	// kinds and names. They must not be changed.
	Documents []v1alpha1.Object
	// Native are the manifests that stand beside the documents, in stable order.
	// They must not be changed.
	Native []*unstructured.Unstructured
	// Warnings of v1alpha1.Validate: allowed, and worth telling.
	Warnings v1alpha1.ErrorList

	folder  string
	origins map[identity]position
	// certificates are the lines on which keys from elsewhere give theirs.
	certificates map[pair]int
	overlay      *composition
	last         memo
}

// Load composes the documents of the folder, "" for the repository's root. The
// file system is a read-only tree, of a Git commit say; only files that the
// folder's kustomization reaches are read. Every error names the file it is about,
// and those of documents file, line and field (a [v1alpha1.ErrorList]).
func Load(fsys fs.FS, folder string, options Options) (*Loaded, error) {
	loaded, err := load(fsys, folder, options)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", nameOf(folder), err)
	}
	return loaded, nil
}

func load(fsys fs.FS, folder string, options Options) (*Loaded, error) {
	domain, err := domainFolder(folder)
	if err != nil {
		return nil, err
	}
	limits := options.Limits.withDefaults()
	switch err := newTree(fsys, limits).errNotDomain(domain); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such folder in the repository; commit it, or correct the path", domain)
	case err != nil:
		return nil, err
	}
	declared, err := collect(fsys, domain, types.KustomizationKind, reserved(domain), limits)
	if err != nil {
		return nil, err
	}
	overlay, err := collectOverlay(fsys, domain, limits)
	if err != nil {
		return nil, err
	}
	site := v1alpha1.Site{
		ClusterResourceNamespace: options.ClusterResourceNamespace, Retired: retiredPairs(options.Record), CheckPolicies: options.CheckPolicies,
	}
	loaded, err := compose(declared, site)
	if err != nil {
		return nil, err
	}
	loaded.overlay = overlay
	return loaded, nil
}

// reserved are the folders that no kustomization of the domain may name, and why.
func reserved(domain string) map[string]string {
	return map[string]string{
		path.Join(domain, devicesFolder): "registrations are read one by one, never composed",
		path.Join(domain, anchorsFolder): "recorded anchors are read one by one, never composed",
		path.Join(domain, overlayFolder): "it is applied over the rendered manifests",
	}
}

// collectOverlay walks the domain's overlay; nil when there is none.
func collectOverlay(fsys fs.FS, domain string, limits Limits) (*composition, error) {
	folder := path.Join(domain, overlayFolder)
	present, err := newTree(fsys, limits).exists(folder)
	if err != nil || !present {
		return nil, err
	}
	others := reserved(domain)
	delete(others, folder)
	return collect(fsys, folder, types.ComponentKind, others, limits)
}

// compose builds the documents, and decodes them as written and as composed: the
// first tells the line of a mistake, the second is what counts.
func compose(declared *composition, site v1alpha1.Site) (*Loaded, error) {
	written, mistakes := declared.written()
	documents, native, err := declared.composed(written)
	switch {
	case err != nil && mistakes != nil:
		return nil, mistakes
	case err != nil:
		return nil, err
	}
	site.Zones = zonesOf(documents)
	problems, warnings := v1alpha1.Validate(documents, site)
	problems = append(problems, composedDevices(documents)...)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	loaded := &Loaded{Desired: desired(documents), Documents: objectsOf(documents), Warnings: warnings, folder: declared.folder}
	loaded.Desired.Zones = site.Zones
	loaded.origins = origins(documents, declared.natives, native)
	loaded.certificates = declared.certificateLines(documents)
	loaded.take(native)
	return loaded, nil
}

// composedDevices refuses devices that a kustomization lists: a registration would have to
// touch that.
func composedDevices(documents []v1alpha1.Document) v1alpha1.ErrorList {
	var problems v1alpha1.ErrorList
	for _, document := range documents {
		if device, is := document.Object.(*v1alpha1.Device); is {
			problems = append(problems, v1alpha1.Error{
				File: document.File, Line: document.Line, Field: "kind",
				Message: fmt.Sprintf("a Device stands in a file of its own, which no kustomization lists: move it to %s", v1alpha1.DevicePath(device.Spec.Group, device.Metadata.Name)),
			})
		}
	}
	return problems
}

// composed are the documents and the native manifests that the build makes.
func (c *composition) composed(written []v1alpha1.Document) ([]v1alpha1.Document, []object, error) {
	built, err := c.build()
	if err != nil {
		return nil, nil, err
	}
	ours, native := separate(built)
	withoutNamespaces(native)
	documents, err := decodeAll(ours, written)
	followAuthorities(documents, written)
	return documents, native, err
}

// separate tells our documents from the manifests beside them.
func separate(built []object) (ours, native []object) {
	for _, o := range built {
		if o.GetKind() == kindClusterBinding {
			o.SetKind(v1alpha1.KindIssuerBinding)
		}
		if isOurs(o.GetAPIVersion(), o.GetKind()) {
			unplace(o)
			ours = append(ours, o)
			continue
		}
		native = append(native, o)
	}
	return ours, native
}

// unplace takes away the namespace that an overlay gave to a binding of the
// cluster: kustomize tells by kind alone what has a namespace.
func unplace(o object) {
	scope, _, _ := unstructured.NestedString(o.Object, "spec", "scope")
	if o.GetKind() == v1alpha1.KindIssuerBinding && scope == string(v1alpha1.ScopeCluster) {
		o.SetNamespace("")
	}
}

// take keeps the native manifests.
func (l *Loaded) take(native []object) {
	for _, o := range native {
		l.Native = append(l.Native, o.Unstructured)
	}
	slices.SortFunc(l.Native, compareObjects)
}

// withoutNamespaces takes away the namespaces that a kustomization gave to
// objects whose CustomResourceDefinition, beside them, says that they have none.
func withoutNamespaces(objects []object) {
	type groupKind struct{ group, kind string }
	cluster := map[groupKind]bool{}
	for _, o := range objects {
		scope, _, _ := unstructured.NestedString(o.Object, "spec", "scope")
		if o.GetKind() == "CustomResourceDefinition" && scope == "Cluster" {
			group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
			cluster[groupKind{group, kind}] = true
		}
	}
	for _, o := range objects {
		if gvk := o.GroupVersionKind(); cluster[groupKind{gvk.Group, gvk.Kind}] {
			o.SetNamespace("")
		}
	}
}
