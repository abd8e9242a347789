package renderer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// visit goes through one kustomization file, field by field: every field that
// makes kustomize read something is here.
type visit struct {
	*walk
	folder string
	file   string
	// written is the file as it stands, to tell the lines of its fields.
	written document
	total   weight
}

func (v *visit) all(k types.Kustomization) error {
	for _, field := range []func() error{
		func() error { return v.refused(k) },
		func() error { return v.crowded(k) },
		func() error { return v.each("resources", k.Resources, v.resource) },
		func() error { return v.each("components", k.Components, v.component) },
		func() error { return v.each("crds", k.Crds, v.yamlFile) },
		func() error { return v.each("configurations", k.Configurations, v.yamlFile) },
		func() error {
			//lint:ignore SA1019 old kustomizations have it, and kustomize reads it
			return v.each("patchesStrategicMerge", asStrings(k.PatchesStrategicMerge), v.inlineOr(v.yamlFile))
		},
		func() error { return v.patches("patches", k.Patches) },
		func() error {
			//lint:ignore SA1019 old kustomizations have it, and kustomize reads it
			return v.patches("patchesJson6902", k.PatchesJson6902)
		},
		func() error { return v.replacements(k.Replacements) },
		func() error { return v.each("transformers", k.Transformers, v.transformer) },
		func() error { return v.generated(k) },
	} {
		if err := field(); err != nil {
			return err
		}
	}
	return nil
}

// refused are the fields that would run a program, or that would be ignored.
func (v *visit) refused(k types.Kustomization) error {
	refusals := []struct {
		field   string
		present bool
		instead string
	}{
		{"helmCharts", len(k.HelmCharts) > 0, "charts are not inflated; commit the manifests that the chart renders"},
		{"helmGlobals", k.HelmGlobals != nil, "charts are not inflated; commit the manifests that the chart renders"},
		{"generators", len(k.Generators) > 0, "plugins are not run; commit what the generator makes, or use configMapGenerator"},
		{"validators", len(k.Validators) > 0, "plugins are not run; use policies"},
		{"openapi", len(k.OpenAPI) > 0, "reanchor brings a schema of its own, which would take its place; use JSON 6902 patches"},
	}
	for _, r := range refusals {
		if r.present {
			return v.at(r.field, errors.New(r.instead))
		}
	}
	return nil
}

// crowded refuses more entries than files may be composed, before any of them is read:
// each names one file at least.
func (v *visit) crowded(k types.Kustomization) error {
	limit := v.tree.limits.Files
	for _, list := range []struct {
		field   string
		entries int
	}{
		{"resources", len(k.Resources)}, {"components", len(k.Components)}, {"crds", len(k.Crds)}, {"configurations", len(k.Configurations)},
	} {
		if list.entries > limit {
			return v.at(list.field, fmt.Errorf("has %d entries, and at most %d files are composed; split the domain", list.entries, limit))
		}
	}
	return nil
}

// each visits the entries of a field, and names the field in the error.
func (v *visit) each(field string, entries []string, visit func(entry string) error) error {
	for i, entry := range entries {
		if err := visit(entry); err != nil {
			return v.at(fmt.Sprintf("%s[%d]", field, i), err)
		}
	}
	return nil
}

// at says where in the kustomization a reference stands, unless the error names
// the file that it led to.
func (v *visit) at(field string, err error) error {
	var inner *placed
	if errors.As(err, &inner) {
		return err
	}
	return &placed{fmt.Errorf("%s:%d: %s: %w", v.file, v.written.lineOfField(field), field, err)}
}

// placed is an error that names the kustomization, the line and the field it stands in.
type placed struct{ error }

func (p *placed) Unwrap() error { return p.error }

func (v *visit) add(size weight, err error) error {
	v.total = v.total.plus(size)
	return err
}

func (v *visit) resource(entry string) error {
	name, err := resolve(v.folder, entry)
	if err != nil {
		return fmt.Errorf("%q %w", entry, err)
	}
	folder, err := v.tree.isFolder(name)
	switch {
	case err != nil:
		return err
	case folder:
		return v.add(v.enter(name, types.KustomizationKind))
	}
	if err := v.inside(name); err != nil {
		return err
	}
	return v.add(v.documents(name))
}

func (v *visit) component(entry string) error {
	name, err := resolve(v.folder, entry)
	if err != nil {
		return fmt.Errorf("%q %w", entry, err)
	}
	if err := v.tree.errNotFolder(name); err != nil {
		return err
	}
	return v.add(v.enter(name, types.ComponentKind))
}

// local is the file of this kustomization's folder that an entry names.
func (v *visit) local(entry string) (string, error) {
	name, err := resolve(v.folder, entry)
	if err != nil {
		return "", fmt.Errorf("%q %w", entry, err)
	}
	return name, v.inside(name)
}

func (v *visit) inside(name string) error {
	if !within(name, v.folder) {
		return fmt.Errorf("%s %w", name, errOutside)
	}
	for reserved, why := range v.reserved {
		if within(name, reserved) {
			return fmt.Errorf("%s: %s; take it out of the kustomization", name, why)
		}
	}
	return nil
}

// yamlFile is a file that is parsed, but composes nothing.
func (v *visit) yamlFile(entry string) error {
	name, err := v.local(entry)
	if err != nil {
		return err
	}
	_, size, err := v.yaml(name)
	return v.add(weight{bytes: size.bytes, values: size.values}, err)
}

// rawFile is a file whose content is copied as it is.
func (v *visit) rawFile(entry string) error {
	name, err := v.local(entry)
	if err != nil {
		return err
	}
	data, err := v.tree.read(name)
	return v.add(weight{bytes: int64(len(data))}, err)
}

// inlineOr tells YAML that stands in the kustomization from the path of a file.
func (v *visit) inlineOr(file func(string) error) func(string) error {
	return func(entry string) error {
		if isInline(entry) {
			_, err := v.inline(entry)
			return err
		}
		return file(entry)
	}
}

func isInline(entry string) bool {
	return strings.Contains(entry, "\n") || strings.HasPrefix(strings.TrimSpace(entry), "{")
}

// inline checks YAML that stands in a string of the kustomization, and so has
// been parsed as one scalar until now.
func (v *visit) inline(entry string) ([]document, error) {
	documents, size, err := parse("inline", []byte(entry), v.tree.limits)
	return documents, v.add(weight{bytes: size.bytes, values: size.values}, err)
}

func (v *visit) patches(field string, patches []types.Patch) error {
	for i, patch := range patches {
		if err := v.patch(patch); err != nil {
			return v.at(fmt.Sprintf("%s[%d]", field, i), err)
		}
	}
	return nil
}

func (v *visit) patch(patch types.Patch) error {
	if patch.Path != "" {
		return v.yamlFile(patch.Path)
	}
	_, err := v.inline(patch.Patch)
	return err
}

func (v *visit) replacements(replacements []types.ReplacementField) error {
	for i, replacement := range replacements {
		if replacement.Path == "" {
			continue
		}
		if err := v.yamlFile(replacement.Path); err != nil {
			return v.at(fmt.Sprintf("replacements[%d].path", i), err)
		}
	}
	return nil
}

func (v *visit) generated(k types.Kustomization) error {
	for i, generator := range k.ConfigMapGenerator {
		if err := v.pairs(generator.KvPairSources); err != nil {
			return v.at(fmt.Sprintf("configMapGenerator[%d]", i), err)
		}
	}
	for i, generator := range k.SecretGenerator {
		if err := v.pairs(generator.KvPairSources); err != nil {
			return v.at(fmt.Sprintf("secretGenerator[%d]", i), err)
		}
	}
	return nil
}

// pairs visits what a generator reads: "key=path" or "path", and env files.
func (v *visit) pairs(sources types.KvPairSources) error {
	v.total.documents++
	for _, entry := range sources.FileSources {
		if _, value, keyed := strings.Cut(entry, "="); keyed {
			entry = value
		}
		if err := v.rawFile(entry); err != nil {
			return err
		}
	}
	for _, entry := range sources.EnvSources {
		if err := v.rawFile(entry); err != nil {
			return err
		}
	}
	return nil
}

// harmless are kustomize's own transformers that read no file and run nothing.
var harmless = []string{
	"AnnotationsTransformer", "ImageTagTransformer", "LabelTransformer", "NamespaceTransformer",
	"PrefixTransformer", "ReplicaCountTransformer", "SuffixTransformer",
}

func (v *visit) transformer(entry string) error {
	documents, err := v.transformerDocuments(entry)
	if err != nil {
		return err
	}
	for _, d := range documents {
		object, _ := d.value.(map[string]any)
		version, kind := text(object, "apiVersion"), text(object, "kind")
		if version != "builtin" || !slices.Contains(harmless, kind) {
			return fmt.Errorf("%q of %q is not run; of transformers, only kustomize's own %q are", kind, version, harmless)
		}
	}
	return nil
}

func (v *visit) transformerDocuments(entry string) ([]document, error) {
	if isInline(entry) {
		return v.inline(entry)
	}
	name, err := v.local(entry)
	if err != nil {
		return nil, err
	}
	documents, size, err := v.yaml(name)
	return documents, v.add(weight{bytes: size.bytes, values: size.values}, err)
}

func asStrings(patches []types.PatchStrategicMerge) []string {
	entries := make([]string, len(patches))
	for i, patch := range patches {
		entries[i] = string(patch)
	}
	return entries
}
