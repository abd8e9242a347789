// Package docs executes the examples of the README and of the pages in this folder.
package docs

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/renderer"
)

var block = regexp.MustCompile("(?m)^( *)```([a-z]*)\n((?s:.*?))^ *```")

// blocks are the blocks of one language in a page, without the indentation that they
// stand in.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	var found []string
	for _, match := range block.FindAllStringSubmatch(string(read(t, page)), -1) {
		if match[2] == language {
			found = append(found, strings.ReplaceAll("\n"+match[3], "\n"+match[1], "\n")[1:])
		}
	}
	return found
}

// howTo are the pages of that folder.
func howTo(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("how-to/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no page in how-to: %v", err)
	}
	return pages
}

// repository is what a page shows: documents under a first line "# pki.yaml" are of that
// file.
func repository(t *testing.T, page string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for _, block := range blocks(t, page, "yaml") {
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
	return files
}

// TestRepositories loads and validates the repositories that pages show.
func TestRepositories(t *testing.T) {
	for page, want := range map[string]struct{ authorities, bindings, bundles int }{
		"../README.md":                            {1, 1, 1},
		"how-to/roll-an-intermediate.md":          {2, 1, 1},
		"how-to/bring-your-own-keys.md":           {1, 1, 1},
		"how-to/use-an-external-issuer.md":        {2, 2, 1},
		"how-to/keep-the-root-offline.md":         {2, 1, 1},
		"how-to/bundles-without-trust-manager.md": {1, 1, 3},
		"how-to/re-point-other-objects.md":        {2, 2, 1},
		"how-to/roll-in-waves-and-windows.md":     {1, 1, 1},
		"how-to/probe-before-retiring.md":         {1, 1, 1},
		"how-to/import-a-cluster.md":              {1, 1, 1},
		"how-to/devices.md":                       {1, 1, 1},
		"how-to/register-devices.md":              {1, 1, 0},
	} {
		loaded, err := renderer.Load(repository(t, page), "", renderer.Options{})
		if err != nil {
			t.Errorf("%s: %v", page, err)
			continue
		}
		d := loaded.Desired
		if len(d.Authorities) != want.authorities || len(d.Bindings) != want.bindings || len(d.Bundles) != want.bundles || len(loaded.Warnings) != 0 {
			t.Errorf("%s declares %+v, with warnings %v", page, d, loaded.Warnings)
		}
	}
}

// TestDevices reads the devices that a page lists, each where it says that it lies.
func TestDevices(t *testing.T) {
	files := repository(t, "how-to/devices.md")
	loaded, err := renderer.Load(files, "", renderer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	read, err := inventory.Read(files, ".", loaded.Desired.Groups, nil)
	if err != nil || len(read.Problems()) > 0 || read.Count()["sensors"].Active != 1 {
		t.Errorf("%+v, %v, %v", read.Count(), read.Problems(), err)
	}
}

// TestMistakes loads the repository with mistakes that a page shows, and expects those
// that it prints.
func TestMistakes(t *testing.T) {
	const page = "how-to/check-a-repository.md"
	_, err := renderer.Load(repository(t, page), "", renderer.Options{})
	mistakes, ok := errors.AsType[v1alpha1.ErrorList](err)
	if !ok {
		t.Fatalf("%s: got %v, want mistakes", page, err)
	}
	var lines string
	for _, mistake := range mistakes {
		lines += mistake.Error() + "\n"
	}
	if printed := blocks(t, page, "text"); len(printed) == 0 || printed[0] != lines {
		t.Errorf("%s does not print\n%s", page, lines)
	}
}

// TestPlan expects the plan that a page explains, quoted piece by piece, to be the one that
// is printed.
func TestPlan(t *testing.T) {
	var quoted []string
	for line := range strings.Lines(string(read(t, "how-to/review-a-plan.md"))) {
		if strings.HasPrefix(line, ">") {
			quoted = append(quoted, strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(line, ">"), " ")))
		}
	}
	var printed []string
	for line := range strings.Lines(string(read(t, "../planner/report/testdata/root-roll.md"))) {
		printed = append(printed, strings.TrimSpace(line))
	}
	empty := func(line string) bool { return line == "" }
	quoted, printed = slices.DeleteFunc(quoted, empty), slices.DeleteFunc(printed, empty)
	if !slices.Equal(quoted, printed) {
		t.Errorf("how-to/review-a-plan.md quotes\n%s\nand root-roll.md is\n%s", strings.Join(quoted, "\n"), strings.Join(printed, "\n"))
	}
}

// TestExcerpts expects each excerpt of a plan that a page shows, under the name of its file,
// to stand in that file as it is.
func TestExcerpts(t *testing.T) {
	shown := 0
	for _, page := range howTo(t) {
		for _, excerpt := range blocks(t, page, "markdown") {
			first, text, _ := strings.Cut(excerpt, "\n")
			name, is := strings.CutPrefix(strings.TrimSuffix(first, " -->"), "<!-- fixtures/")
			if !is {
				continue
			}
			shown++
			if whole := string(read(t, "../fixtures/"+name)); !strings.Contains(whole, text) {
				t.Errorf("%s shows of fixtures/%s\n%s\nwhich does not stand there", page, name, text)
			}
		}
	}
	if shown == 0 {
		t.Error("no page shows an excerpt")
	}
}

// TestObjects decodes every object of a cluster that a page shows, strictly.
func TestObjects(t *testing.T) {
	kinds := map[string]func() any{
		"TrustDomain": func() any { return new(v1alpha1.TrustDomain) },
		"Certificate": func() any { return new(certmanagerv1.Certificate) },
		"Deployment":  func() any { return new(appsv1.Deployment) },
	}
	shown := map[string]int{}
	for _, page := range howTo(t) {
		for _, block := range blocks(t, page, "yaml") {
			var object metav1.TypeMeta
			if err := yaml.Unmarshal([]byte(block), &object); err != nil || kinds[object.Kind] == nil {
				continue // of a repository
			}
			shown[object.Kind]++
			if err := yaml.UnmarshalStrict([]byte(block), kinds[object.Kind]()); err != nil {
				t.Errorf("%s: %v\n%s", page, err, block)
			}
			var domain v1alpha1.TrustDomain
			if err := yaml.Unmarshal([]byte(block), &domain); err == nil && gitsource.CheckMessage(domain.Spec.WriteBack.MessageTemplate) != nil {
				t.Errorf("%s: %v\n%s", page, gitsource.CheckMessage(domain.Spec.WriteBack.MessageTemplate), block)
			}
		}
	}
	for kind := range kinds {
		if shown[kind] == 0 {
			t.Errorf("no page shows a %s", kind)
		}
	}
}

// TestInstallations builds every kustomization that installs what the project ships, and
// nothing else, and expects the image that it names.
func TestInstallations(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	built := 0
	for _, page := range howTo(t) {
		for _, block := range blocks(t, page, "yaml") {
			var file struct{ Resources, Components []string }
			if err := yaml.Unmarshal([]byte(block), &file); err != nil || len(file.Resources) == 0 ||
				slices.ContainsFunc(slices.Concat(file.Resources, file.Components), func(r string) bool { return !strings.HasPrefix(r, "path/to/reanchor/") }) {
				continue // of a repository, or with files beside it
			}
			built++
			folder := t.TempDir()
			above, err := filepath.Rel(folder, root)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(strings.ReplaceAll(block, "path/to/reanchor", above)), 0o600); err != nil {
				t.Fatal(err)
			}
			objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
			if err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			text, err := objects.AsYaml()
			if err != nil || !strings.Contains(string(text), "kind: Deployment") || strings.Contains(block, "registry.example/reanchor") == strings.Contains(string(text), "image: reanchor:latest") {
				t.Errorf("%s builds %s: %v", page, text, err)
			}
		}
	}
	if built < 3 {
		t.Errorf("%d pages install something", built)
	}
}

// TestChanges decodes what stands before and after each change that a page shows.
func TestChanges(t *testing.T) {
	shown := 0
	for _, page := range append(howTo(t), "../README.md") {
		for _, change := range blocks(t, page, "diff") {
			shown++
			for _, side := range []string{"-", "+"} {
				text := linesOf(change, side)
				var spec v1alpha1.AuthoritySpec
				if err := yaml.UnmarshalStrict([]byte(text), &spec); err != nil {
					t.Errorf("%s: %v\n%s", page, err, text)
				}
				signing := 0
				for _, key := range spec.Keys {
					if key.State == v1alpha1.KeySigning {
						signing++
					}
				}
				if len(spec.Keys) > 0 && signing != 1 {
					t.Errorf("%s: %d keys are Signing\n%s", page, signing, text)
				}
			}
		}
	}
	if shown == 0 {
		t.Error("no page shows a change")
	}
}

// linesOf are the lines on one side of a change.
func linesOf(change, side string) string {
	var lines string
	for line := range strings.Lines(change) {
		if strings.HasPrefix(line, side) || strings.HasPrefix(line, " ") {
			lines += " " + line[1:]
		}
	}
	return lines
}

// TestLinks follows every link to a file of the project, and to a heading in it.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]+))?\)`)
	pages := []string{"../README.md"}
	for _, pattern := range []string{"*/*.md", "../fixtures/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no page is %s: %v", pattern, err)
		}
		pages = append(pages, found...)
	}
	for _, page := range pages {
		for _, match := range link.FindAllStringSubmatch(string(read(t, page)), -1) {
			target := page
			if match[1] != "" {
				target = filepath.Join(filepath.Dir(page), match[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s leads to %s: %v", page, match[1], err)
				continue
			}
			if match[2] != "" && !slices.Contains(headings(t, target), match[2]) {
				t.Errorf("%s leads to the heading %s of %s, which has %q", page, match[2], target, headings(t, target))
			}
		}
	}
}

// headings of a page, as links name them.
func headings(t *testing.T, page string) []string {
	t.Helper()
	var found []string
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(read(t, page)), -1) {
		kept := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(match[1]), "")
		found = append(found, strings.ReplaceAll(kept, " ", "-"))
	}
	return found
}

// TestDecisionsAreListed expects every decision in the list of decisions, by its title.
func TestDecisionsAreListed(t *testing.T) {
	pages, err := filepath.Glob("decisions/0*.md")
	if err != nil {
		t.Fatal(err)
	}
	list := string(read(t, "decisions/README.md"))
	for _, page := range pages {
		title, _, _ := strings.Cut(string(read(t, page)), "\n")
		if entry := "- [" + strings.TrimPrefix(title, "# ") + "](" + filepath.Base(page) + ")\n"; !strings.Contains(list, entry) {
			t.Errorf("decisions/README.md lacks %s", entry)
		}
	}
}

func read(t *testing.T, page string) []byte {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// policyExample is a section of the page about policies: policies, and documents or manifests
// that pass and fail, with what is said of the latter.
type policyExample struct {
	policies, passes, fails []v1alpha1.Object
	good, bad               []*unstructured.Unstructured
	told                    string
}

// policyExamples are the sections of a page that show policies, by their headings.
func policyExamples(t *testing.T, page string) map[string]policyExample {
	t.Helper()
	examples := map[string]policyExample{}
	for section := range strings.SplitSeq(string(read(t, page)), "\n## ") {
		heading, body, _ := strings.Cut(section, "\n")
		var example policyExample
		for _, match := range block.FindAllStringSubmatch(body, -1) {
			role, _, _ := strings.Cut(match[3], "\n")
			switch role {
			case "# policy":
				example.policies, _ = things(t, match[3])
			case "# passes":
				example.passes, example.good = things(t, match[3])
			case "# fails":
				example.fails, example.bad = things(t, match[3])
			default:
				example.told = match[3]
			}
		}
		if len(example.policies) > 0 {
			examples[heading] = example
		}
	}
	return examples
}

// things are the documents of a block, or the one manifest that it is.
func things(t *testing.T, text string) (documents []v1alpha1.Object, manifests []*unstructured.Unstructured) {
	t.Helper()
	decoded, err := v1alpha1.Decode("example.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range decoded {
		documents = append(documents, document.Object)
	}
	if len(documents) == 0 {
		manifest := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &manifest.Object); err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, manifest)
	}
	return documents, manifests
}

// TestPolicies holds what the page about policies shows against them: what passes, what fails
// and what is said then.
func TestPolicies(t *testing.T) {
	told := func(documents []v1alpha1.Object, manifests []*unstructured.Unstructured) string {
		var lines string
		now := time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)
		for _, violation := range policies.Check(policies.Input{Documents: documents, Manifests: manifests, Now: now}) {
			lines += string(violation.Severity) + ": " + violation.String() + "\n"
		}
		return lines
	}
	run := 0
	for heading, example := range policyExamples(t, "how-to/write-a-policy.md") {
		if got := told(append(example.passes, example.policies...), example.good); got != "" {
			t.Errorf("%s: of what passes is said\n%s", heading, got)
		}
		if len(example.fails)+len(example.bad) == 0 {
			continue
		}
		run++
		if got := told(append(example.fails, example.policies...), example.bad); got != example.told {
			t.Errorf("%s: the page shows\n%snot\n%s", heading, example.told, got)
		}
	}
	if run != 5 {
		t.Errorf("%d examples were run, want 5", run)
	}
}
