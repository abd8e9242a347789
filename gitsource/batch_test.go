package gitsource

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"pgregory.net/rapid"
)

func blobOf(content string) string {
	return plumbing.ComputeHash(plumbing.BlobObject, []byte(content)).String()
}

func TestMerge(t *testing.T) {
	snapshot := pull(t, open(t, newOriginWith(t, map[string]string{
		"devices/a/00/one.yaml": "1", "devices/a/00/run.yaml": "100755|1", "devices/a/00/link.yaml": "120000|one.yaml",
	}).remote()))
	one, two, three := "devices/a/00/one.yaml", "devices/a/01/two.yaml", "devices/a/02/three.yaml"
	never := func(*Snapshot) error { return errors.New("no") }
	cases := map[string]struct {
		edits []Edit
		want  []outcome
		files map[string]string
	}{
		"nothing":                         {files: map[string]string{}},
		"a new file":                      {[]Edit{{Path: two, Content: []byte("2")}}, []outcome{written}, map[string]string{two: "2"}},
		"a file that was seen":            {[]Edit{{Path: one, Content: []byte("2"), Was: blobOf("1")}}, []outcome{written}, map[string]string{one: "2"}},
		"an executable":                   {[]Edit{{Path: "devices/a/00/run.yaml", Content: []byte("2"), Was: blobOf("1")}}, []outcome{written}, map[string]string{"devices/a/00/run.yaml": "2"}},
		"it is there":                     {[]Edit{{Path: one, Content: []byte("1")}}, []outcome{present}, nil},
		"it is there, seen as another":    {[]Edit{{Path: one, Content: []byte("1"), Was: blobOf("0")}}, []outcome{present}, nil},
		"another is there":                {[]Edit{{Path: one, Content: []byte("2")}}, []outcome{conflicting}, nil},
		"another than was seen":           {[]Edit{{Path: one, Content: []byte("2"), Was: blobOf("0")}}, []outcome{conflicting}, nil},
		"what was seen is gone":           {[]Edit{{Path: two, Content: []byte("2"), Was: blobOf("0")}}, []outcome{conflicting}, nil},
		"a link":                          {[]Edit{{Path: "devices/a/00/link.yaml", Content: []byte("2")}}, []outcome{impossible}, nil},
		"a folder":                        {[]Edit{{Path: "devices/a/00", Content: []byte("2")}}, []outcome{impossible}, nil},
		"below a file":                    {[]Edit{{Path: one + "/x.yaml", Content: []byte("2")}}, []outcome{impossible}, nil},
		"twins":                           {[]Edit{{Path: two, Content: []byte("2")}, {Path: two, Content: []byte("2")}}, []outcome{written, written}, map[string]string{two: "2"}},
		"rivals":                          {[]Edit{{Path: two, Content: []byte("2")}, {Path: two, Content: []byte("3")}}, []outcome{written, deferred}, map[string]string{two: "2"}},
		"rivals, of which the first errs": {[]Edit{{Path: one, Content: []byte("2")}, {Path: one, Content: []byte("3"), Was: blobOf("1")}}, []outcome{conflicting, written}, map[string]string{one: "3"}},
		"one claim":                       {[]Edit{{Path: two, Content: []byte("2"), Claims: []string{"k", "l"}}, {Path: three, Content: []byte("3"), Claims: []string{"m", "l"}}}, []outcome{written, deferred}, map[string]string{two: "2"}},
		"claims of their own":             {[]Edit{{Path: two, Content: []byte("2"), Claims: []string{"k"}}, {Path: three, Content: []byte("3"), Claims: []string{"l"}}}, []outcome{written, written}, map[string]string{two: "2", three: "3"}},
		"a claim of one that is refused":  {[]Edit{{Path: two, Content: []byte("2"), Claims: []string{"k"}, Vet: never}, {Path: three, Content: []byte("3"), Claims: []string{"k"}}}, []outcome{vetoed, written}, map[string]string{three: "3"}},
		"a claim of one that is there":    {[]Edit{{Path: one, Content: []byte("1"), Claims: []string{"k"}}, {Path: three, Content: []byte("3"), Claims: []string{"k"}}}, []outcome{present, written}, map[string]string{three: "3"}},
		"twins with a claim":              {[]Edit{{Path: two, Content: []byte("2"), Claims: []string{"k"}}, {Path: two, Content: []byte("2"), Claims: []string{"k"}}}, []outcome{written, written}, map[string]string{two: "2"}},
		"below one another":               {[]Edit{{Path: two, Content: []byte("2")}, {Path: two + "/x.yaml", Content: []byte("3")}}, []outcome{written, deferred}, map[string]string{two: "2"}},
		"above one another":               {[]Edit{{Path: two + "/x.yaml", Content: []byte("3")}, {Path: two, Content: []byte("2")}}, []outcome{written, deferred}, map[string]string{two + "/x.yaml": "3"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := merge(snapshot, c.edits)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.outcomes, c.want) {
				t.Errorf("outcomes %v, want %v", got.outcomes, c.want)
			}
			if files := texts(got.files); !maps.Equal(files, c.files) {
				t.Errorf("files %v, want %v", files, c.files)
			}
		})
	}
}

func texts(files map[string][]byte) map[string]string {
	all := map[string]string{}
	for path, content := range files {
		all[path] = string(content)
	}
	return all
}

// Batches are compared with a map that the same edits are made in one after the other, and the
// trees with those that git itself writes of the same files.
func TestBatchesMatchAModel(t *testing.T) {
	repository := open(t, newOriginWith(t, map[string]string{"start": "0"}).remote())
	plain := newOrigin(t, t.TempDir()+"/plain.git")
	rapid.Check(t, func(rt *rapid.T) {
		base := pull(t, repository)
		model := contents(t, base)
		edits := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Edit {
			path := fmt.Sprintf("devices/%s/%s.yaml", rapid.SampledFrom([]string{"a", "b", "a.yaml", "a-b"}).Draw(rt, "folder"), rapid.SampledFrom([]string{"x", "y", "a.yaml/z"}).Draw(rt, "name"))
			edit := Edit{Path: path, Content: []byte(rapid.SampledFrom([]string{"", "1", "2"}).Draw(rt, "content"))}
			if was := rapid.SampledFrom([]string{"none", "1", "2", "seen"}).Draw(rt, "was"); was == "seen" {
				if seen, there := model[path]; there {
					edit.Was = blobOf(seen)
				}
			} else if was != "none" {
				edit.Was = blobOf(was)
			}
			return edit
		}), 0, 8).Draw(rt, "edits")
		m, err := merge(base, edits)
		if err != nil {
			rt.Fatal(err)
		}
		checkOutcomes(rt, model, edits, m)
		pushed, err := repository.Push(t.Context(), base, testCommit(m.files))
		if err != nil {
			rt.Fatal(err)
		}
		if got := contents(t, pushed); !maps.Equal(got, model) {
			rt.Fatalf("%v made %q, want %q", edits, got, model)
		}
		plain.commitTo(t, "main", "", model)
		if got, want := pushed.commit.TreeHash.String(), plain.git(t, "rev-parse", "main^{tree}"); got != want {
			rt.Fatalf("the tree is %s, git makes %s of the same files", got, want)
		}
	})
}

// checkOutcomes makes the edits in the model, one after the other, and compares what became of
// them: an edit is written if what stood there before the batch is what it expects, and no
// earlier one of the batch is in its way.
func checkOutcomes(rt *rapid.T, model map[string]string, edits []Edit, m merged) {
	before := maps.Clone(model)
	claimed := map[string]string{}
	for i, edit := range edits {
		stood, there := before[edit.Path]
		content := string(edit.Content)
		twin, taken := claimed[edit.Path]
		expected := there == (edit.Was != "") && (!there || edit.Was == blobOf(stood))
		want := conflicting
		switch {
		case taken && twin == content:
			want = written
		case taken || inTheWay(claimed, edit.Path):
			want = deferred
		case inTheWay(before, edit.Path):
			want = impossible
		case there && stood == content:
			want = present
		case expected:
			want = written
			claimed[edit.Path], model[edit.Path] = content, content
		}
		if m.outcomes[i] != want {
			rt.Fatalf("edit %d of %v came to %v, want %v", i, edits, m.outcomes[i], want)
		}
	}
}

// inTheWay reports whether a path is the folder of one of the files, or the other way round.
func inTheWay(files map[string]string, path string) bool {
	for file := range files {
		if strings.HasPrefix(file, path+"/") || strings.HasPrefix(path, file+"/") {
			return true
		}
	}
	return false
}
