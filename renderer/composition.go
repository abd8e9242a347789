package renderer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
)

// composition is all that one build reads: the files that a kustomization
// reaches, each checked, and nothing else of the repository.
type composition struct {
	folder string
	// root is the kustomization file of the folder.
	root  string
	files map[string][]byte
	// sources are the documents of ours, natives the manifests beside them.
	sources, natives []source
}

// source is one document or manifest as it stands in a file.
type source struct {
	file      string
	line      int
	kind      string
	namespace string
	name      string
	scope     string
}

// maxNesting is how many kustomizations may stand on top of each other.
const maxNesting = 32

// collect walks the kustomization in folder and everything that it reaches, and
// refuses what must not be built. Folders named as reserved are not entered.
func collect(fsys fs.FS, folder, kind string, reserved map[string]string, limits Limits) (*composition, error) {
	w := &walk{
		tree:     newTree(fsys, limits),
		reserved: reserved,
		weights:  map[string]weight{},
	}
	if _, err := w.enter(folder, kind); err != nil {
		return nil, err
	}
	slices.SortFunc(w.sources, compareSources)
	slices.SortFunc(w.natives, compareSources)
	root, err := w.kustomizationFile(folder)
	return &composition{folder: folder, root: root, files: w.tree.files, sources: w.sources, natives: w.natives}, err
}

// walk goes through a graph of kustomizations, each file and folder once.
type walk struct {
	tree     *tree
	reserved map[string]string
	weights  map[string]weight
	open     []string
	sources  []source
	natives  []source
}

// affordable refuses what a build would take too much memory or time for.
func (w *walk) affordable(name string, total weight) error {
	if total.bytes > w.tree.limits.TotalBytes {
		return fmt.Errorf("%s: composes to more than %d bytes, bases counted as often as they are used; split the domain",
			name, w.tree.limits.TotalBytes)
	}
	if total.documents > int64(w.tree.limits.Documents) {
		return fmt.Errorf("%s: composes to more than %d objects, bases counted as often as they are used; split the domain",
			name, w.tree.limits.Documents)
	}
	if total.values > int64(w.tree.limits.Values) {
		return fmt.Errorf("%s: composes to more than %d values, bases counted as often as they are used; split the domain",
			name, w.tree.limits.Values)
	}
	return nil
}

// enter walks one kustomization; its weight counts what it composes to.
func (w *walk) enter(folder, kind string) (weight, error) {
	if known, seen := w.weights[folder+"/"]; seen {
		return known, nil
	}
	if err := w.enterable(folder); err != nil {
		return weight{}, err
	}
	file, err := w.kustomizationFile(folder)
	if err != nil {
		return weight{}, err
	}
	w.open = append(w.open, folder)
	defer func() { w.open = w.open[:len(w.open)-1] }()
	read, err := w.kustomization(file, kind)
	if err != nil {
		return weight{}, err
	}
	v := &visit{walk: w, folder: folder, file: file, written: read.written, total: weight{bytes: read.size.bytes, values: read.size.values}}
	if err := v.all(read.fields); err != nil {
		return weight{}, err
	}
	w.weights[folder+"/"] = v.total
	return v.total, w.affordable(file, v.total)
}

func (w *walk) enterable(folder string) error {
	if slices.Contains(w.open, folder) {
		return fmt.Errorf("%s: is part of itself (%q); take the reference to it out", folder, append(w.open, folder))
	}
	if len(w.open) >= maxNesting {
		return fmt.Errorf("%s: stands on more than %d kustomizations; flatten them", w.open[0], maxNesting)
	}
	for reserved, why := range w.reserved {
		if within(folder, reserved) {
			return fmt.Errorf("%s: %s; take it out of the kustomization", folder, why)
		}
	}
	return nil
}

// kustomizationFile is the one kustomization file of a folder.
func (w *walk) kustomizationFile(folder string) (string, error) {
	var found []string
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := path.Join(folder, name)
		present, err := w.tree.exists(file)
		if err != nil {
			return "", err
		}
		if present {
			found = append(found, file)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%s: has no kustomization.yaml; write one that lists what belongs to it", folder)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s: has more than one kustomization file (%q); keep one", folder, found)
}

// layer is one kustomization file, its fields as kustomize takes them and as they
// are written.
type layer struct {
	fields  types.Kustomization
	written document
	size    weight
}

// kustomization reads a kustomization as kustomize itself does, so that no
// spelling of a field is seen by only one of the two.
func (w *walk) kustomization(file, kind string) (layer, error) {
	var k layer
	data, err := w.tree.read(file)
	if err != nil {
		return k, err
	}
	documents, size, err := parse(file, data, w.tree.limits)
	if err != nil {
		return k, err
	}
	if err := k.fields.Unmarshal(data); err != nil {
		return k, fmt.Errorf("%s: %w; mend it", file, err)
	}
	k.fields.FixKustomization()
	if problems := k.fields.EnforceFields(); len(problems) > 0 {
		return k, fmt.Errorf("%s: %s; mend it", file, problems[0])
	}
	if k.fields.Kind != kind {
		return k, fmt.Errorf("%s: is of kind %s where a %s is wanted; name it under the field for its kind", file, k.fields.Kind, kind)
	}
	k.written, k.size = append(documents, document{})[0], size
	return k, nil
}

// documents reads a file of objects and notes those that are ours.
func (w *walk) documents(file string) (weight, error) {
	if known, seen := w.weights[file]; seen {
		return known, nil
	}
	documents, size, err := w.yaml(file)
	if err != nil {
		return weight{}, err
	}
	size.documents = 0
	for _, d := range documents {
		for _, object := range unlisted(d.value) {
			w.note(file, d.line, object)
			size.documents++
		}
	}
	w.weights[file] = size
	return size, nil
}

// unlisted are the objects of a document: itself, or, as kustomize has it, the
// items of anything whose kind ends in List.
func unlisted(value any) []map[string]any {
	object, _ := value.(map[string]any)
	items, listed := object["items"].([]any)
	if !listed || !strings.HasSuffix(text(object, "kind"), "List") {
		return []map[string]any{object}
	}
	var objects []map[string]any
	for _, item := range items {
		objects = append(objects, unlisted(item)...)
	}
	return objects
}

func (w *walk) yaml(file string) ([]document, weight, error) {
	data, err := w.tree.read(file)
	if err != nil {
		return nil, weight{}, err
	}
	return parse(file, data, w.tree.limits)
}

func (w *walk) note(file string, line int, object map[string]any) {
	metadata, _ := object["metadata"].(map[string]any)
	spec, _ := object["spec"].(map[string]any)
	noted := source{
		file:      file,
		line:      line,
		kind:      text(object, "kind"),
		namespace: text(metadata, "namespace"),
		name:      text(metadata, "name"),
		scope:     text(spec, "scope"),
	}
	if isOurs(text(object, "apiVersion"), noted.kind) {
		w.sources = append(w.sources, noted)
		return
	}
	w.natives = append(w.natives, noted)
}

func text(fields map[string]any, name string) string {
	value, _ := fields[name].(string)
	return value
}

// errOutside is told of a file that its kustomization may not read.
var errOutside = errors.New("lies outside of its kustomization's folder; " +
	"move it there, or give its folder a kustomization of its own and name that")
