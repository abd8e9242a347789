// Package docs executes the examples of the README and of the pages in this folder.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/renderer"
)

var yamlBlock = regexp.MustCompile("(?m)^( *)```yaml\n((?s:.*?))^ *```")

// blocks are the YAML blocks of a page, without the indentation that they stand in.
func blocks(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		found = append(found, strings.ReplaceAll("\n"+match[2], "\n"+match[1], "\n")[1:])
	}
	return found
}

// TestReadmeRepository loads the repository that the README shows.
func TestReadmeRepository(t *testing.T) {
	files := fstest.MapFS{}
	for _, block := range blocks(t, "../README.md") {
		name := ""
		for document := range strings.SplitSeq(block, "---\n") {
			if first, rest, _ := strings.Cut(document, "\n"); strings.HasPrefix(first, "# ") {
				name, document = strings.TrimPrefix(first, "# "), rest
			}
			if files[name] == nil {
				files[name] = &fstest.MapFile{}
			}
			files[name].Data = append(files[name].Data, "---\n"+document...)
		}
	}
	loaded, err := renderer.Load(files, "", renderer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := loaded.Desired; len(d.Authorities) != 1 || len(d.Bindings) != 1 || len(d.Bundles) != 1 || len(loaded.Warnings) != 0 {
		t.Errorf("the README's repository declares %+v, with warnings %v", d, loaded.Warnings)
	}
}

// TestTrustDomains decodes every TrustDomain that a page shows, strictly.
func TestTrustDomains(t *testing.T) {
	pages, err := filepath.Glob("how-to/*.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, page := range pages {
		for _, block := range blocks(t, page) {
			if !strings.Contains(block, "kind: TrustDomain") {
				continue
			}
			shown++
			var domain v1alpha1.TrustDomain
			if err := yaml.UnmarshalStrict([]byte(block), &domain); err != nil {
				t.Errorf("%s: %v\n%s", page, err, block)
			}
		}
	}
	if shown == 0 {
		t.Error("no page shows a TrustDomain")
	}
}

// TestLinks follows every link to a file of the project.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	pages, err := filepath.Glob("*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../README.md", "../fixtures/aio-root/README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), match[1])); err != nil {
				t.Errorf("%s leads to %s: %v", page, match[1], err)
			}
		}
	}
}
