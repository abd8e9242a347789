package renderer

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"github.com/reanchor/reanchor/renderer/hostile"
)

// repository is a tree of files written as a txtar archive.
func repository(archive string) fstest.MapFS {
	tree := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		tree[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
	}
	return tree
}

// mustLoad loads a folder that is as it should be.
func mustLoad(t testing.TB, tree fs.FS, folder string) *Loaded {
	t.Helper()
	loaded, err := Load(tree, folder, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// naive is what kustomize makes of a folder without the renderer's wrapper.
func naive(t *testing.T, tree fstest.MapFS, folder string) string {
	t.Helper()
	files := filesys.MakeFsInMemory()
	for name, f := range tree {
		if err := files.WriteFile("/"+name, f.Data); err != nil {
			t.Fatal(err)
		}
	}
	kustomize.Lock()
	defer kustomize.Unlock()
	openapi.ResetOpenAPI()
	defer openapi.ResetOpenAPI()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	out, err := resources.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func wantText(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("got\n%s\nwant it to contain\n%s", got, part)
		}
	}
}

const fleet = hostile.Fleet
