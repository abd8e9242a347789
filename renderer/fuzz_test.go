package renderer

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/reanchor/reanchor/planner"
)

// FuzzLoad gives bytes for a kustomization, for a file beside it and for an
// overlay: whatever they are, the process lives, answers in time, and renders what
// it loaded twice to the same bytes.
func FuzzLoad(f *testing.F) {
	trees := []string{fleet, namespaced, prefixed, patched, strings.ReplaceAll(given(f, below(f, "Issuing", "Offline 2026")), "site/", "")}
	for _, archive := range trees {
		tree := repository(archive)
		for name, file := range tree {
			if strings.HasSuffix(name, "kustomization.yaml") {
				f.Add(file.Data, tree["pki.yaml"].Data, []byte("kind: Component\nnameSuffix: -x\n"))
			}
		}
	}
	for _, text := range []string{
		"namePrefix: a-\nresources: [file.yaml]\nreplacements: [{source: {kind: Authority, fieldPath: spec}, targets: [{select: {kind: TrustBundle}, fieldPaths: [spec.x], options: {create: true}}]}]",
		"resources: [file.yaml]\nconfigMapGenerator: [{name: a, literals: [k=v], files: [file.yaml]}]\nvars: [{name: A, objref: {kind: Authority, name: fleet-root, apiVersion: reanchor.dev/v1alpha1}}]",
		"resources: [file.yaml]\npatches: [{target: {kind: .*}, patch: '[{op: copy, from: /spec, path: /spec/x}]'}]",
		"resources: [file.yaml]\nimages: [{name: a, newTag: b}]\nreplicas: [{name: a, count: 3}]\nlabels: [{pairs: {a: b}, includeSelectors: true}]",
	} {
		f.Add([]byte(text), repository(fleet)["pki.yaml"].Data, []byte("kind: Component\nlabels: [{pairs: {a: b}}]\n"))
	}
	f.Add([]byte("resources: [file.yaml]"), repository(fleet)["pki.yaml"].Data,
		[]byte("kind: Component\npatches: [{target: {kind: ConfigMap|Issuer}, patch: '- {op: add, path: /metadata/annotations/reanchor.dev~1signs-with, value: x}'}]"))
	f.Add([]byte("resources: [file.yaml]"), []byte(bomb()), []byte("kind: Component"))
	limits := Limits{FileBytes: 64 << 10, TotalBytes: 128 << 10, Documents: 50}
	f.Fuzz(func(t *testing.T, kustomization, file, overlay []byte) {
		tree := fstest.MapFS{
			"kustomization.yaml":         {Data: kustomization},
			"file.yaml":                  {Data: file},
			"overlay/kustomization.yaml": {Data: overlay},
		}
		begin := time.Now()
		loaded, err := Load(tree, "", Options{Limits: limits})
		if err == nil {
			renderTwice(t, tree, loaded, limits)
		} else if len(err.Error()) > 1<<16 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func renderTwice(t *testing.T, tree fstest.MapFS, loaded *Loaded, limits Limits) {
	target := fromElsewhere(t)
	target.Keys = append(target.Keys, planner.TargetKey{Authority: rootRef, Name: "1", Certificate: true, Issuer: true, Spec: rootSpec})
	first, err := loaded.Render(target, plant)
	if err != nil {
		return
	}
	again, err := Load(tree, "", Options{Limits: limits})
	if err != nil {
		t.Fatalf("it was loaded once, and then: %v", err)
	}
	if second := mustRender(t, again, target); !bytes.Equal(asYAML(t, first), asYAML(t, second)) {
		t.Errorf("rendered\n%s\nthen\n%s", asYAML(t, first), asYAML(t, second))
	}
}
