package main

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/simulation"
	"github.com/reanchor/reanchor/policies"
)

// diffs are the differences of the documents as they were composed, and of the manifests
// that the end states are rendered to, object by object.
func (c *comparison) diffs() []forecast.Diff {
	before, after := c.base.manifests(), c.head.manifests()
	for _, bundle := range c.head.bundles() {
		for name, text := range before {
			if _, rendered := after[name]; !rendered && isOfBundle(name, bundle) {
				after[name] = anchorsIn.ReplaceAll(text, []byte("(known after "+string(planner.Introduce)+")"))
			}
		}
	}
	return append(differences(c.base.documents(), c.head.documents()), differences(before, after)...)
}

// bundles that a side declares, by their names.
func (r revision) bundles() []string {
	var names []string
	if r.err == nil {
		for _, bundle := range r.Desired.Bundles {
			names = append(names, bundle.Metadata.Name)
		}
	}
	return names
}

// isOfBundle reports whether an object, as it is called in a difference, distributes a bundle.
func isOfBundle(object, bundle string) bool {
	kind, name, _ := strings.Cut(object, " ")
	return kind == "Bundle" && name == bundle || kind == "ConfigMap" && strings.HasSuffix(name, "/"+bundle)
}

// anchorsIn is the text of a bundle's anchors. One whose anchors are all yet to be issued is
// rendered to nothing.
var anchorsIn = regexp.MustCompile(`(?s)\|-?\n *-----BEGIN CERTIFICATE-----.*-----END CERTIFICATE-----`)

// documents of a side, as YAML, by their kinds and names.
func (r revision) documents() map[string][]byte {
	texts := map[string][]byte{}
	if r.err != nil {
		return texts
	}
	add := func(kind string, metadata v1alpha1.Metadata, document any) {
		ref := planner.Ref{Namespace: metadata.Namespace, Name: metadata.Name}
		texts[kind+" "+ref.String()] = printed(document)
	}
	for _, authority := range r.Desired.Authorities {
		add(v1alpha1.KindAuthority, authority.Metadata, authority)
	}
	for _, binding := range r.Desired.Bindings {
		add(v1alpha1.KindIssuerBinding, binding.Metadata, binding)
	}
	for _, bundle := range r.Desired.Bundles {
		add(v1alpha1.KindTrustBundle, bundle.Metadata, bundle)
	}
	for _, group := range r.Desired.Groups {
		add(v1alpha1.KindDeviceGroup, group.Metadata, group)
	}
	for _, policy := range r.policies() {
		add(v1alpha1.KindPolicy, policy.Metadata, policy)
	}
	return texts
}

// manifests that the end state of a side is rendered to; none if it cannot be rendered,
// which validation tells.
func (r revision) manifests() map[string][]byte {
	texts := map[string][]byte{}
	if r.err != nil {
		return texts
	}
	manifests, err := r.Render(r.EndState(r.Record), anyDomain)
	if err != nil {
		return texts
	}
	for _, manifest := range manifests {
		ref := planner.Ref{Namespace: manifest.GetNamespace(), Name: manifest.GetName()}
		texts[manifest.GetKind()+" "+ref.String()] = printed(withoutDomain(withoutSecrets(manifest)).Object)
	}
	return texts
}

// withoutDomain takes the labels off a manifest that name the TrustDomain, for which
// [anyDomain] stands here.
func withoutDomain(manifest *unstructured.Unstructured) *unstructured.Unstructured {
	labels := manifest.GetLabels()
	delete(labels, v1alpha1.LabelDomainName)
	delete(labels, v1alpha1.LabelDomainNamespace)
	manifest.SetLabels(labels)
	return manifest
}

// beside are the manifests that stand in Git beside the documents, and that come, change or
// go, as they are rendered: an overlay may change them too.
func (c *comparison) beside() []forecast.Change {
	before, after := c.base.native(), c.head.native()
	var changes []forecast.Change
	for _, name := range slices.Sorted(maps.Keys(after)) {
		switch was, stood := before[name]; {
		case !stood:
			changes = append(changes, forecast.Change{Verb: simulation.Made, Object: name})
		case !bytes.Equal(was, after[name]):
			changes = append(changes, forecast.Change{Verb: simulation.Changed, Object: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, stays := after[name]; !stays {
			changes = append(changes, forecast.Change{Verb: simulation.Removed, Object: name})
		}
	}
	return changes
}

// native manifests of a side as they are rendered, by their kinds and names.
func (r revision) native() map[string][]byte {
	texts := map[string][]byte{}
	if r.err != nil {
		return texts
	}
	rendered := r.manifests()
	for _, manifest := range r.Native {
		name := manifest.GetKind() + " " + planner.Ref{Namespace: manifest.GetNamespace(), Name: manifest.GetName()}.String()
		if text, is := rendered[name]; is {
			texts[name] = text
		}
	}
	return texts
}

// hidden stands for what is not printed.
const hidden = "(not shown)"

// withoutSecrets is a manifest without what may be secret: what a Secret holds, and
// passwords.
func withoutSecrets(manifest *unstructured.Unstructured) *unstructured.Unstructured {
	shown := manifest.DeepCopy()
	if shown.GetKind() == "Secret" {
		for _, field := range []string{"data", "stringData"} {
			if held, is := shown.Object[field].(map[string]any); is {
				for key := range held {
					held[key] = hidden
				}
			}
		}
	}
	return shown
}

// printed is a value as YAML, without passwords and without anything that looks like a
// private key.
func printed(value any) []byte {
	text, err := yaml.Marshal(value)
	if err != nil {
		return []byte(hidden + "\n")
	}
	var plain any
	if err := yaml.Unmarshal(text, &plain); err != nil {
		return []byte(hidden + "\n")
	}
	hidePasswords(plain)
	if text, err = yaml.Marshal(plain); err != nil || len(policies.CheckFile("diff", text)) > 0 {
		return []byte(hidden + "\n")
	}
	return text
}

func hidePasswords(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, held := range value {
			if _, is := held.(string); is && strings.EqualFold(key, "password") {
				value[key] = hidden
				continue
			}
			hidePasswords(held)
		}
	case []any:
		for _, held := range value {
			hidePasswords(held)
		}
	}
}

// differences of texts, in order of what they are called, in the unified format.
func differences(before, after map[string][]byte) []forecast.Diff {
	names := slices.Collect(maps.Keys(before))
	names = slices.AppendSeq(names, maps.Keys(after))
	slices.Sort(names)
	var found []forecast.Diff
	for _, name := range slices.Compact(names) {
		if bytes.Equal(before[name], after[name]) {
			continue
		}
		text := diff.Diff("base: "+name, before[name], "head: "+name, after[name])
		_, text, _ = bytes.Cut(text, []byte("\n")) // a first line "diff old new"
		found = append(found, forecast.Diff{Object: name, Text: string(text)})
	}
	return found
}
