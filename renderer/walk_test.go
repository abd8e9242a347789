package renderer

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// with is the fleet with files added or replaced.
func with(archive string) fstest.MapFS { return repository(fleet + archive) }

func kustomization(text string) fstest.MapFS { return with("-- kustomization.yaml --\n" + text + "\n") }

// bomb is a document of a few hundred bytes whose aliases write out to gigabytes.
func bomb() string {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\ndata:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		text += fmt.Sprintf("  a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return text
}

func inKustomization(text string) string {
	return "resources: [pki.yaml]\npatches:\n- patch: |\n    " + strings.ReplaceAll(text, "\n", "\n    ")
}

// doubling is a tree in which each of so many kustomizations uses the one below
// twice.
func doubling(levels int) fstest.MapFS {
	tree := repository("-- l0/kustomization.yaml --\nresources: [c.yaml]\n-- l0/c.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n")
	for i := 1; i <= levels; i++ {
		for _, side := range []string{"a", "b"} {
			tree[fmt.Sprintf("l%d%s/kustomization.yaml", i, side)] = &fstest.MapFile{
				Data: fmt.Appendf(nil, "namePrefix: %s-\nresources: [../l%d]\n", side, i-1),
			}
		}
		tree[fmt.Sprintf("l%d/kustomization.yaml", i)] = &fstest.MapFile{
			Data: fmt.Appendf(nil, "resources: [../l%da, ../l%db]\n", i, i),
		}
	}
	tree["kustomization.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "resources: [l%d]\n", levels)}
	return tree
}

func TestLoadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		tree   fs.FS
		folder string
		limits Limits
		want   string
	}{
		"absolute path":             {tree: kustomization("resources: [/etc/passwd]"), want: `kustomization.yaml:1: resources[0]: "/etc/passwd" is absolute`},
		"file outside":              {tree: kustomization("resources: [../pki.yaml]"), want: `kustomization.yaml:1: resources[0]: "../pki.yaml" leads out of the repository`},
		"file above":                {tree: with("-- site/kustomization.yaml --\nresources: [../pki.yaml]\n"), folder: "site", want: "site/kustomization.yaml:1: resources[0]: pki.yaml lies outside"},
		"folder outside":            {tree: with("-- site/kustomization.yaml --\nresources: [../../other]\n"), folder: "site", want: "leads out of the repository"},
		"component outside":         {tree: kustomization("components: [../c]"), want: "components[0]"},
		"patch outside":             {tree: kustomization("patches: [{path: ../p.yaml}]"), want: `patches[0]: "../p.yaml" leads out`},
		"old patch outside":         {tree: kustomization("patchesStrategicMerge: [../p.yaml]"), want: `patchesStrategicMerge[0]: "../p.yaml" leads out`},
		"JSON patch outside":        {tree: kustomization("patchesJson6902: [{path: ../p.yaml, target: {kind: X, name: x}}]"), want: `patchesJson6902[0]: "../p.yaml" leads out`},
		"replacement outside":       {tree: kustomization("replacements: [{path: ../r.yaml}]"), want: `replacements[0].path: "../r.yaml" leads out`},
		"configuration outside":     {tree: kustomization("configurations: [../c.yaml]"), want: `configurations[0]: "../c.yaml" leads out`},
		"CRD outside":               {tree: kustomization("crds: [../c.yaml]"), want: `crds[0]: "../c.yaml" leads out`},
		"generated from outside":    {tree: kustomization("configMapGenerator: [{name: a, files: [k=../../etc/passwd]}]"), want: `configMapGenerator[0]: "../../etc/passwd" leads out`},
		"environment from outside":  {tree: kustomization("secretGenerator: [{name: a, envs: [/etc/environment]}]"), want: `secretGenerator[0]: "/etc/environment" is absolute`},
		"old environment":           {tree: kustomization("secretGenerator: [{name: a, env: ../e}]"), want: `secretGenerator[0]: "../e" leads out`},
		"field in other letters":    {tree: kustomization(`Resources: ["https://example.com/x.yaml"]`), want: `resources[0]: "https://example.com/x.yaml" is remote`},
		"old bases":                 {tree: kustomization("bases: [github.com/example/repository]"), want: "is remote"},
		"helm charts":               {tree: kustomization("helmCharts: [{name: x, repo: https://example.com}]"), want: "kustomization.yaml:1: helmCharts: charts are not inflated"},
		"old helm charts":           {tree: kustomization("helmChartInflationGenerator: [{chartName: x}]"), want: "helmCharts: charts are not inflated"},
		"helm globals":              {tree: kustomization("helmGlobals: {chartHome: c}"), want: "helmGlobals: charts are not inflated"},
		"generator":                 {tree: kustomization("generators: [g.yaml]"), want: "generators: plugins are not run"},
		"validator":                 {tree: kustomization("validators: [v.yaml]"), want: "validators: plugins are not run"},
		"schema":                    {tree: kustomization("openapi: {path: schema.json}"), want: "openapi: reanchor brings a schema of its own"},
		"container transformer":     {tree: with("-- kustomization.yaml --\ntransformers: [t.yaml]\n-- t.yaml --\n{apiVersion: v1, kind: Fn, metadata: {name: f, annotations: {config.kubernetes.io/function: 'container: {image: evil}'}}}\n"), want: `kustomization.yaml:1: transformers[0]: "Fn" of "v1" is not run`},
		"exec transformer inline":   {tree: kustomization("transformers:\n- |-\n  apiVersion: someteam.example.com/v1\n  kind: Exec\n  metadata: {name: x}"), want: `"Exec" of "someteam.example.com/v1" is not run`},
		"reading transformer":       {tree: kustomization("transformers:\n- '{apiVersion: builtin, kind: PatchTransformer, metadata: {name: x}, path: ../../p}'"), want: `"PatchTransformer" of "builtin" is not run`},
		"inflating transformer":     {tree: kustomization("transformers:\n- '{apiVersion: builtin, kind: HelmChartInflationGenerator, metadata: {name: x}}'"), want: "is not run"},
		"transformers in a list":    {tree: kustomization("transformers:\n- '{apiVersion: v1, kind: List, items: [{apiVersion: builtin, kind: PatchTransformer}]}'"), want: `"List" of "v1" is not run`},
		"folder of transformers":    {tree: with("-- kustomization.yaml --\ntransformers: [t]\n-- t/kustomization.yaml --\nresources: [x.yaml]\n"), want: "transformers[0]: t: is a folder where a file is wanted"},
		"alias bomb":                {tree: with("-- kustomization.yaml --\nresources: [bomb.yaml]\n-- bomb.yaml --\n" + bomb()), want: "kustomization.yaml:1: resources[0]: bomb.yaml: its aliases write out to more than 4194304 bytes"},
		"alias bomb as a patch":     {tree: kustomization(inKustomization(bomb())), want: "kustomization.yaml:3: patches[0]: inline: its aliases write out to"},
		"alias bomb of the file":    {tree: kustomization("resources: [pki.yaml]\n" + strings.ReplaceAll(bomb(), "apiVersion: v1\nkind: ConfigMap\n", "")), want: "kustomization.yaml: its aliases write out to"},
		"alias of itself":           {tree: with("-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\na: &a [*a]\n"), want: "a.yaml:1: an alias refers to what it is part of"},
		"a number that is none":     {tree: with("-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: .nan}}\n"), want: "a.yaml:1: has no JSON form"},
		"deep nesting":              {tree: with("-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\na: " + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "\n"), want: "a.yaml:1: is nested deeper than 100 levels"},
		"malformed YAML":            {tree: with("-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\na: [\n"), want: "resources[0]: a.yaml:1: is not YAML: did not find expected node content; mend it"},
		"large file":                {tree: with("-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\n# " + strings.Repeat("x", 5<<20)), want: "resources[0]: a.yaml: is larger than 4194304 bytes"},
		"large tree":                {tree: with(""), limits: Limits{TotalBytes: 100}, want: "pki.yaml: brings the files over 100 bytes in all"},
		"many files":                {tree: with(""), limits: Limits{Files: 1}, want: "pki.yaml: is one file too many (at most 1 are composed)"},
		"many objects":              {tree: with(""), limits: Limits{Documents: 2}, want: "kustomization.yaml: composes to more than 2 objects"},
		"many objects in a list":    {tree: repository(listed(fleet)), limits: Limits{Documents: 2}, want: "kustomization.yaml: composes to more than 2 objects"},
		"many values":               {tree: with(""), limits: Limits{Values: 30}, want: "pki.yaml: holds more than 30 values; split it"},
		"many values in all":        {tree: with("-- kustomization.yaml --\nresources: [pki.yaml, a.yaml]\n-- a.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n"), limits: Limits{Values: 70}, want: "kustomization.yaml: composes to more than 70 values, bases counted as often as they are used"},
		"aliased values":            {tree: with("-- kustomization.yaml --\nresources: [pki.yaml, a.yaml]\n-- a.yaml --\na: &a [x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x]\nb: [*a, *a, *a, *a, *a]\n"), limits: Limits{Values: 100}, want: "a.yaml: holds more than 100 values"},
		"doubling bases":            {tree: doubling(15), want: "composes to more than 3000 objects, bases counted as often as they are used"},
		"deep bases":                {tree: doubling(20), want: "stands on more than 32 kustomizations"},
		"itself":                    {tree: kustomization("resources: [.]"), want: "is part of itself"},
		"cycle":                     {tree: with("-- a/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\nresources: [../a]\n"), folder: "a", want: `b/kustomization.yaml:1: resources[0]: a: is part of itself (["a" "b" "a"])`},
		"nothing there":             {tree: with(""), folder: "elsewhere", want: "load elsewhere: elsewhere: there is no such folder in the repository; commit it, or correct the path"},
		"file for a folder":         {tree: with(""), folder: "pki.yaml", want: "load pki.yaml: pki.yaml: is a file, and the path of a domain leads to the folder of its kustomization.yaml; write ."},
		"crowd":                     {tree: kustomization("resources: [a.yaml, b.yaml, c.yaml]"), limits: Limits{Files: 2}, want: "kustomization.yaml:1: resources: has 3 entries, and at most 2 files are composed"},
		"missing file":              {tree: kustomization("resources: [nowhere.yaml]"), want: "resources[0]: nowhere.yaml: file does not exist in the repository"},
		"two kustomizations":        {tree: with("-- Kustomization --\nresources: [pki.yaml]\n"), want: "has more than one kustomization file"},
		"unknown field":             {tree: kustomization("resource: [pki.yaml]"), want: `kustomization.yaml: invalid Kustomization: json: unknown field "resource"`},
		"folder as a component":     {tree: with("-- kustomization.yaml --\ncomponents: [c]\n-- c/kustomization.yaml --\nresources: []\n"), want: "c/kustomization.yaml: is of kind Kustomization where a Component is wanted"},
		"overlay of the wrong kind": {tree: with("-- overlay/kustomization.yaml --\nnamePrefix: a-\n"), want: "overlay/kustomization.yaml: is of kind Kustomization where a Component is wanted"},
		"overlay that fetches":      {tree: with("-- overlay/kustomization.yaml --\nkind: Component\nresources: ['https://example.com']\n"), want: `overlay/kustomization.yaml:2: resources[0]: "https://example.com" is remote`},
		"overlay composed":          {tree: with("-- kustomization.yaml --\ncomponents: [overlay]\n-- overlay/kustomization.yaml --\nkind: Component\n"), want: "overlay: it is applied over the rendered manifests"},
		"devices composed":          {tree: with("-- kustomization.yaml --\nresources: [devices/sensors]\n-- devices/sensors/kustomization.yaml --\nresources: []\n"), want: "devices/sensors: registrations are read one by one"},
		"anchors composed":          {tree: with("-- kustomization.yaml --\nconfigMapGenerator: [{name: a, files: [anchors/r/1.pem]}]\n-- anchors/r/1.pem --\nx\n"), want: "anchors/r/1.pem: recorded anchors are read one by one"},
		"path that escapes":         {tree: with(""), folder: "../other", want: `the path "../other" leads out of the repository`},
		"absolute domain":           {tree: with(""), folder: "/etc", want: `the path "/etc" is absolute`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(c.tree, c.folder, Options{Limits: c.limits})
			if err == nil {
				t.Fatal("it was loaded")
			}
			wantText(t, err.Error(), c.want)
		})
	}
}

func TestLoadRefusesSymbolicLinks(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.MkdirAll(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ link, target, want string }{
		"file":   {"pki.yaml", "/etc/hostname", "pki.yaml: is a symbolic link"},
		"folder": {"site", outside, "site: is a symbolic link"},
		"inside": {"pki.yaml", "other.yaml", "pki.yaml: is a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			text := []byte("resources: [" + c.link + "]\n")
			if err := os.WriteFile(filepath.Join(root, "kustomization.yaml"), text, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(c.target, filepath.Join(root, c.link)); err != nil {
				t.Fatal(err)
			}
			_, err := Load(os.DirFS(root), "", Options{})
			if err == nil {
				t.Fatal("the link was followed")
			}
			wantText(t, err.Error(), c.want)
		})
	}
}

// remoteForms are the ways to name something remote; %s is host and port.
var remoteForms = []string{
	"http://%s/x.yaml", "HTTP://%s/x.yaml", "https://%s/x.yaml", "http:%s/x.yaml", "https://%s/o/r//base?ref=main",
	"git::http://%s/o/r.git", "ssh://git@%s/o/r.git", "git@%s:o/r.git", "git@%s/o/r", "me@%s/o/r", "file:///o/r.git",
	"github.com/o/r", "GitHub.com:o/r.git", "github.com/o/r?ref=main", "o/r//base", "base?ref=main",
}

// remoteFields are the fields that may name it.
var remoteFields = []string{
	"resources: [%q]", "components: [%q]", "bases: [%q]", "crds: [%q]", "configurations: [%q]", "openapi: {path: %q}",
	"patches: [{path: %q}]", "patchesStrategicMerge: [%q]", "patchesJson6902: [{path: %q, target: {kind: A, name: b}}]",
	"replacements: [{path: %q}]", "transformers: [%q]", "generators: [%q]", "validators: [%q]",
	"configMapGenerator: [{name: a, files: [%q]}]", "configMapGenerator: [{name: a, envs: [%q]}]",
	"secretGenerator: [{name: a, env: %q}]", "helmCharts: [{name: a, repo: %q}]",
}

func TestNothingIsFetched(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.NotFound(w, nil)
	}))
	defer server.Close()
	git := stubGit(t)
	host := strings.TrimPrefix(server.URL, "http://")

	files := filesys.MakeFsInMemory()
	if err := files.WriteFile("/kustomization.yaml", fmt.Appendf(nil, "resources: [%q]\n", server.URL+"/x.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/"); err == nil || asked.Swap(0) == 0 {
		t.Fatalf("kustomize alone does not fetch any more: the test shows nothing (%v)", err)
	}
	for _, field := range remoteFields {
		for _, form := range remoteForms {
			address := strings.ReplaceAll(form, "%s", host)
			if _, err := Load(kustomization(fmt.Sprintf(field, address)), "", Options{}); err == nil {
				t.Errorf("%s was loaded", fmt.Sprintf(field, address))
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
	if calls, err := os.ReadFile(git); err == nil {
		t.Errorf("git was run: %s", calls)
	}
}

// stubGit puts a git first in the path that only notes how it was called, in the
// file returned.
func stubGit(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	calls := filepath.Join(folder, "calls")
	script := "#!/bin/sh\necho \"$@\" >>" + calls + "\nexit 1\n"
	if err := os.WriteFile(filepath.Join(folder, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	return calls
}

func TestUnrelatedFilesAreNotRead(t *testing.T) {
	tree := with("")
	for i := range 5000 {
		tree[fmt.Sprintf("devices/sensors/%02x/%d.yaml", i%256, i)] = &fstest.MapFile{Data: []byte("{")}
	}
	reads := &counting{FS: tree}
	mustLoad(t, reads, "")
	if reads.opened != 2 {
		t.Errorf("%d files were opened, want 2", reads.opened)
	}
}

// counting counts how many files are opened.
type counting struct {
	fs.FS
	opened int
}

func (c *counting) Open(name string) (fs.File, error) {
	c.opened++
	return c.FS.Open(name)
}

func (c *counting) Lstat(name string) (fs.FileInfo, error) { return fs.Stat(c.FS, name) }

func (c *counting) ReadLink(name string) (string, error) {
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
}

func TestPanicsAreCaught(t *testing.T) {
	_, err := run(panicking{filesys.MakeFsInMemory()})
	if err == nil {
		t.Fatal("no error")
	}
	wantText(t, err.Error(), "kustomize panicked; simplify the last change: the disk is on fire")
}

type panicking struct{ filesys.FileSystem }

func (panicking) CleanedAbs(string) (filesys.ConfirmedDir, string, error) {
	panic("the disk is on fire")
}

func TestJSONPatchesCannotGrowWithoutBound(t *testing.T) {
	operations := ""
	for i := range 40 {
		operations += fmt.Sprintf("    - {op: copy, from: /data, path: /data/x%d}\n", i)
	}
	tree := with("-- kustomization.yaml --\nresources: [c.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: |\n" + operations +
		"-- c.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {k: v}}\n")
	_, err := Load(tree, "", Options{})
	if err == nil {
		t.Fatal("it was loaded")
	}
	wantText(t, err.Error(), "accumulated size")
}
