package renderer

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// keptRecord is a record of a root with a retired key, and of an intermediate.
func keptRecord(t testing.TB) planner.Record {
	return recorded(
		planner.RecordedKey{Authority: "fleet-issuing", Name: "a.2025", Certificate: ca(t, "Fleet Issuing a.2025")},
		planner.RecordedKey{Authority: "fleet-root", Name: "2024", Certificate: ca(t, "Fleet Root 2024"), Retired: true},
		planner.RecordedKey{Authority: "fleet-root", Name: "2025", Certificate: ca(t, "Fleet Root 2025")},
	)
}

func equalRecords(a, b planner.Record) bool {
	return a.Enabled == b.Enabled && a.Problem == b.Problem && slices.EqualFunc(a.Keys, b.Keys, func(a, b planner.RecordedKey) bool {
		return a.Compare(b) == 0 && a.Certificate.Equal(b.Certificate)
	})
}

func TestLoadRecord(t *testing.T) {
	kept := keptRecord(t)
	beside := fstest.MapFS{
		"anchors/README.md": {Data: []byte("x")}, "anchors/fleet-root/.gitkeep": {}, "anchors/fleet-root/retired/README.md": {},
	}
	maps.Copy(beside, files("", kept))
	explained := files("", kept)
	first := explained["anchors/fleet-root/2025.pem"]
	first.Data = []byte("subject=Fleet Root 2025\n" + string(first.Data) + "the end\n")
	for name, c := range map[string]struct {
		tree   fs.FS
		folder string
		want   planner.Record
	}{
		"no folder":              {fstest.MapFS{}, "clusters/plant", recorded()},
		"an empty folder":        {fstest.MapFS{"anchors/.gitkeep": {}}, "", recorded()},
		"at the root":            {files("", kept), "", kept},
		"in a folder":            {files("clusters/plant/", kept), "./clusters/plant/", kept},
		"beside notes":           {beside, ".", kept},
		"with explanatory texts": {explained, "", kept},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := LoadRecord(c.tree, c.folder, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if !equalRecords(got, c.want) {
				t.Errorf("loaded %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestLoadRecordRefuses(t *testing.T) {
	one := ca(t, "Fleet Root 2025").PEM()
	file := func(data ...[]byte) *fstest.MapFile {
		return &fstest.MapFile{Data: slices.Concat(data...), Mode: 0o644}
	}
	link := &fstest.MapFile{Data: []byte("2025.pem"), Mode: fs.ModeSymlink | 0o777}
	for name, c := range map[string]struct {
		tree fstest.MapFS
		want []string
	}{
		"another extension":    {fstest.MapFS{"anchors/a/2025.crt": file(one)}, []string{"anchors/a/2025.crt:1: is no certificate of a key, <key>.pem: rename it, or delete it"}},
		"no authority":         {fstest.MapFS{"anchors/2025.pem": file(one)}, []string{"anchors/2025.pem:1: belongs to no authority: move it to anchors/<authority>/<key>.pem, or delete it"}},
		"no authority's name":  {fstest.MapFS{"anchors/A_/2025.pem": file(one)}, []string{"anchors/A_:1: is not named after an authority"}},
		"a long one":           {fstest.MapFS{"anchors/" + strings.Repeat("a", 64) + "/2025.pem": file(one)}, []string{"is not named after an authority"}},
		"a deeper folder":      {fstest.MapFS{"anchors/a/old/2025.pem": file(one)}, []string{"anchors/a/old:1: is no folder of the record: keys in use lie in anchors/a, retired ones in anchors/a/retired;"}},
		"below retired":        {fstest.MapFS{"anchors/a/retired/old/2025.pem": file(one)}, []string{"anchors/a/retired/old:1: is no folder of the record"}},
		"a link":               {fstest.MapFS{"anchors/a/2025.pem": file(one), "anchors/a/2026.pem": link}, []string{"anchors/a/2026.pem:1: is neither a file nor a folder (L---------)"}},
		"a linked note":        {fstest.MapFS{"anchors/README.md": link}, []string{"anchors/README.md:1: is neither a file nor a folder"}},
		"a linked record":      {fstest.MapFS{"anchors": link}, []string{"anchors:1: is no folder (L---------): put the record itself there"}},
		"a file for a record":  {fstest.MapFS{"anchors": file(one)}, []string{"anchors:1: is no folder"}},
		"no PEM":               {fstest.MapFS{"anchors/a/2025.pem": file([]byte("hush"))}, []string{"anchors/a/2025.pem:1: no PEM block of type CERTIFICATE found: restore the key's certificate from the repository's history"}},
		"another block":        {fstest.MapFS{"anchors/a/2025.pem": file([]byte("-----BEGIN X-----\naHVzaA==\n-----END X-----\n"))}, []string{"anchors/a/2025.pem:1: PEM block 1 is a X, not a CERTIFICATE"}},
		"a chain":              {fstest.MapFS{"anchors/a/2025.pem": file(one, one)}, []string{"anchors/a/2025.pem:1: holds 2 certificates: keep the key's own"}},
		"a leaf":               {fstest.MapFS{"anchors/a/2025.pem": file(ca(t, "leaf", notCA).PEM())}, []string{"anchors/a/2025.pem:1: leaf (", ") is not the certificate of a CA"}},
		"no key's name":        {fstest.MapFS{"anchors/a/2025_.pem": file(one)}, []string{`anchors/a/2025_.pem:1: "2025_" is not the name of a key, "2025" or "a.2025" say: rename the file`}},
		"an empty name":        {fstest.MapFS{"anchors/a/.pem": file(one)}, []string{`anchors/a/.pem:1: "" is not the name of a key`}},
		"half a pair's name":   {fstest.MapFS{"anchors/a/a..2025.pem": file(one)}, []string{`"a..2025" is not the name of a key`}},
		"too long a name":      {fstest.MapFS{"anchors/a/" + strings.Repeat("a.", 32) + "b.pem": file(one)}, []string{"is not the name of a key"}},
		"a copy":               {fstest.MapFS{"anchors/a/2025.pem": file(one), "anchors/b/2025.pem": file(one)}, []string{"anchors/b/2025.pem:1: holds the very certificate of anchors/a/2025.pem: a key has one of its own"}},
		"a copy of a retired":  {fstest.MapFS{"anchors/a/retired/2025.pem": file(one), "anchors/a/2026.pem": file(one)}, []string{"anchors/a/2026.pem:1: holds the very certificate of", "anchors/a/retired/2025.pem"}},
		"in use and retired":   {fstest.MapFS{"anchors/a/2025.pem": file(one), "anchors/a/retired/2025.pem": file(one)}, []string{"anchors/a/2025.pem:1: the key is recorded as retired too (anchors/a/retired/2025.pem), and a retired key does not come back: delete anchors/a/2025.pem"}},
		"a large file":         {fstest.MapFS{"anchors/a/2025.pem": file(one, make([]byte, 2000))}, []string{"anchors/a/2025.pem:1: has ", " bytes, and a certificate has at most 2000"}},
		"too many of them":     {fstest.MapFS{"anchors/a/1.pem": file(one), "anchors/a/2.pem": file(one), "anchors/b/3.pem": file(one), "anchors/c/4.pem": file(one)}, []string{"anchors:1: holds more than 2 certificates: split the domain"}},
		"everything, in order": {fstest.MapFS{"anchors/b/x": file(), "anchors/a/y": file(), "anchors/z": file()}, []string{"anchors/a/y:1: ", "\nanchors/b/x:1: ", "\nanchors/z:1: "}},
	} {
		t.Run(name, func(t *testing.T) {
			record, err := LoadRecord(c.tree, "", Limits{Anchors: 2, AnchorBytes: 2000})
			var problems v1alpha1.ErrorList
			if !errors.As(err, &problems) || len(record.Keys) > 0 {
				t.Fatalf("loaded %+v and the error %v", record, err)
			}
			if lines := max(1, strings.Count(strings.Join(c.want, ""), "\n")+1); len(problems) != lines {
				t.Errorf("there are %d problems, want %d", len(problems), lines)
			}
			text := err.Error()
			for _, want := range c.want {
				_, rest, found := strings.Cut(text, want)
				if !found {
					t.Errorf("got\n%s\nwant it to contain, in this order,\n%s", err, c.want)
				}
				text = rest
			}
			if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "aHVzaA==") {
				t.Errorf("the error repeats content: %s", err)
			}
		})
	}
}

func TestLoadRecordRefusesFoldersThatAreNone(t *testing.T) {
	tree := fstest.MapFS{
		"plant":         {Data: []byte("site"), Mode: fs.ModeSymlink | 0o777},
		"plant/anchors": {Mode: fs.ModeDir | 0o755},
	}
	for folder, want := range map[string]string{
		"../other": "load the record of ../other: the path \"../other\" leads out of the repository",
		"plant":    "load the record of plant: plant: is a symbolic link",
	} {
		_, err := LoadRecord(tree, folder, Limits{})
		if err == nil {
			t.Fatalf("%s was loaded", folder)
		}
		wantText(t, err.Error(), want)
	}
}

// A key's name that is used up comes to the documents' validation.
func TestARetiredNameIsRefused(t *testing.T) {
	record := recorded(planner.RecordedKey{Authority: "fleet-root", Name: "2026", Certificate: ca(t, "Fleet Root 2026"), Retired: true})
	_, err := Load(repository(fleet), "", Options{Record: record})
	var problems v1alpha1.ErrorList
	if !errors.As(err, &problems) || problems[0].File != "pki.yaml" || problems[0].Field != "spec.keys[1].state" && problems[0].Field != "spec.keys[1].name" {
		t.Errorf("the error is %v", err)
	}
	record.Keys[0].Retired = false
	if _, err := Load(repository(fleet), "", Options{Record: record}); err != nil {
		t.Errorf("a key in use is refused: %v", err)
	}
}

// FuzzLoadRecord puts two files into a record: whatever they are, what is loaded is
// what the files hold, in order, and what is refused is told in order, each problem
// with a file of the record.
func FuzzLoadRecord(f *testing.F) {
	one := ca(f, "Fleet Root 2025").PEM()
	for _, name := range []string{"fleet-root/2025.pem", "fleet-root/retired/2025.pem", "fleet-issuing/a.2025.pem", "README.md", "a/b/c.pem", "x.pem", "a/.gitkeep", "a/2025.crt"} {
		f.Add(name, one, "fleet-root/2026.pem", slices.Concat(one, one))
		f.Add("fleet-root/2025.pem", slices.Concat([]byte("text\n"), one), name, []byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"))
	}
	f.Fuzz(func(t *testing.T, firstName string, first []byte, secondName string, second []byte) {
		tree := fstest.MapFS{}
		for name, data := range map[string][]byte{firstName: first, secondName: second} {
			if file := "anchors/" + name; fs.ValidPath(file) {
				tree[file] = &fstest.MapFile{Data: data, Mode: 0o644}
			}
		}
		record, err := LoadRecord(tree, "", Limits{})
		var problems v1alpha1.ErrorList
		if errors.As(err, &problems) {
			sortedProblems(t, problems)
			return
		}
		if err != nil {
			t.Fatalf("the error names no file: %v", err)
		}
		holds(t, tree, record)
	})
}

func sortedProblems(t *testing.T, problems v1alpha1.ErrorList) {
	for _, problem := range problems {
		if problem.Line != 1 || problem.Message == "" || !within(problem.File, "anchors") {
			t.Errorf("the problem %+v has no place", problem)
		}
	}
	if !slices.IsSortedFunc(problems, func(a, b v1alpha1.Error) int { return strings.Compare(a.File, b.File) }) {
		t.Errorf("the problems are not in order:\n%v", problems)
	}
}

// holds makes sure that a record is what its files are.
func holds(t *testing.T, tree fstest.MapFS, record planner.Record) {
	if !slices.IsSortedFunc(record.Keys, planner.RecordedKey.Compare) || !record.Enabled {
		t.Errorf("the record is not in order: %+v", record)
	}
	want := 0
	for name := range tree {
		if !slices.Contains(besideAnchors, path.Base(name)) {
			want++
		}
	}
	if len(record.Keys) != want {
		t.Errorf("%d keys were loaded of %d files", len(record.Keys), want)
	}
	for _, key := range record.Keys {
		certificates, err := pki.ParsePEM(tree[key.Path()].Data)
		if err != nil || len(certificates) != 1 || !certificates[0].Equal(key.Certificate) || !key.Certificate.IsCA() {
			t.Errorf("%s was loaded as %s (%v)", key.Path(), key.Certificate, err)
		}
	}
}
