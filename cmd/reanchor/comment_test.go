package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/forge"
	"github.com/reanchor/reanchor/forge/forgetest"
	"github.com/reanchor/reanchor/planner/report"
)

// workflow is one of config/ci: the shell of its steps, and what a job finds around it.
type workflow struct {
	provider string
	server   *forgetest.Server
	folder   string
	// environment of the job, and what its steps add.
	environment map[string]string
	scripts     []string
	// flags with which the provider's shell runs a script.
	shell []string
}

// newWorkflow reads the workflow of a provider, beside a repository with two domains.
func newWorkflow(t *testing.T, provider string) *workflow {
	t.Helper()
	w := &workflow{provider: provider, server: forgetest.New(t, provider), folder: t.TempDir(), shell: []string{"--noprofile", "--norc", "-eo", "pipefail"}}
	w.environment = w.server.Environment()
	w.environment["GITHUB_BASE_REF"], w.environment["CI_MERGE_REQUEST_DIFF_BASE_SHA"] = "main", "3f1c2a9"
	w.environment["GITHUB_STEP_SUMMARY"] = filepath.Join(w.folder, "summary.md")
	w.environment["DOMAINS"], w.environment["FORK"] = "sites/plant sites/harbour", "false"
	w.write(t, ".git/HEAD", "ref: refs/heads/main\n")
	for _, domain := range []string{"sites/plant", "sites/harbour"} {
		w.write(t, domain+"/kustomization.yaml", "resources: [pki.yaml]\n")
		w.write(t, domain+"/pki.yaml", "apiVersion: reanchor.dev/v1alpha1\nkind: Authority\nmetadata: {name: fleet-root, namespace: cert-manager}\nspec:\n  subject: {commonName: Fleet Root}\n  duration: 87600h\n  keys: [{name: \"2025\", state: Signing}]\n")
	}
	w.stubPlan(t)
	w.read(t)
	return w
}

func (w *workflow) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(w.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// stubPlan puts a reanchor before the real one, whose plans are prepared: the plan of a
// domain is what plans/<domain> holds, and it ends with the status in plans/<domain>.status.
func (w *workflow) stubPlan(t *testing.T) {
	t.Helper()
	binary, err := exec.LookPath("reanchor")
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "bin/reanchor", fmt.Sprintf(`#!/bin/bash
if [ "$1" != plan ]; then exec %q "$@"; fi
echo "$@" >> prepared/asked
cat "prepared/$2/plan" 2> /dev/null
exit $(cat "prepared/$2/status")
`, binary))
	w.environment["PATH"] = filepath.Join(w.folder, "bin") + ":" + os.Getenv("PATH")
}

// plans prepares what is planned for a domain.
func (w *workflow) plans(t *testing.T, domain string, status int, text string) {
	t.Helper()
	if text != "" {
		text = report.Marker(domain) + "\n" + text + "\n"
	}
	w.write(t, "prepared/"+domain+"/plan", text)
	w.write(t, "prepared/"+domain+"/status", fmt.Sprint(status))
}

// read the scripts of the workflow file. What a step takes from the forge's expressions
// comes by its environment, never within the script, where it would be a program.
func (w *workflow) read(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile("../../config/ci/" + w.provider + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Jobs     map[string]struct{ Steps []struct{ Run string } }
		Reanchor struct{ Script []string }
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	w.scripts = file.Reanchor.Script
	for _, step := range file.Jobs["plan"].Steps {
		if step.Run != "" {
			w.scripts = append(w.scripts, step.Run)
		}
	}
	if len(w.scripts) == 0 || strings.Contains(strings.Join(w.scripts, ""), "${{") {
		t.Fatalf("the scripts are %q", w.scripts)
	}
}

// run the scripts; whether all of them succeeded, and what they said.
func (w *workflow) run(t *testing.T) (succeeded bool, said string) {
	t.Helper()
	succeeded = true
	for _, script := range w.scripts {
		command := exec.Command("bash", append(w.shell, "-c", script)...)
		command.Dir = w.folder
		for name, value := range w.environment {
			command.Env = append(command.Env, name+"="+value)
		}
		output, err := command.CombinedOutput()
		succeeded = succeeded && err == nil
		said += string(output)
	}
	if token := w.server.Token; strings.Contains(said, token) {
		t.Errorf("the token is printed:\n%s", said)
	}
	return succeeded, said
}

// comments are the texts of the program's comments, without their markers.
func (w *workflow) comments() []string {
	var texts []string
	for _, c := range w.server.Comments() {
		if c.Author == w.server.Writer() {
			_, text, _ := strings.Cut(strings.TrimSpace(c.Body), "\n")
			texts = append(texts, text)
		}
	}
	return texts
}

// told is where a plan is shown that is not a comment.
func (w *workflow) told(t *testing.T, said string) string {
	t.Helper()
	shown := said
	for _, pattern := range []string{"summary.md", "plans/*.md"} {
		files, err := filepath.Glob(filepath.Join(w.folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			shown += string(data)
		}
	}
	return shown
}

// git commits what stands in the folder, to a branch of the workflow's.
func (w *workflow) git(t *testing.T, arguments ...string) {
	t.Helper()
	command := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com"}, arguments...)...)
	command.Dir = w.folder
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", arguments, err, output)
	}
}

// No stub here: what the workflows ask of `reanchor plan` is what it understands.
func TestWorkflowsCommentWhatIsPlanned(t *testing.T) {
	for _, provider := range forge.Providers {
		t.Run(provider, func(t *testing.T) {
			w := newWorkflow(t, provider)
			w.environment["PATH"], w.environment["DOMAINS"] = os.Getenv("PATH"), "sites/plant"
			w.git(t, "init", "-q", "-b", "main")
			w.git(t, "add", "sites")
			w.git(t, "commit", "-q", "-m", "one key")
			w.git(t, "update-ref", "refs/remotes/origin/main", "main")
			w.git(t, "tag", "before")
			w.environment["CI_MERGE_REQUEST_DIFF_BASE_SHA"] = "before"
			pki := filepath.Join(w.folder, "sites/plant/pki.yaml")
			before, err := os.ReadFile(pki)
			if err != nil {
				t.Fatal(err)
			}
			w.write(t, "sites/plant/pki.yaml", strings.Replace(string(before), `[{name: "2025", state: Signing}]`, `[{name: "2025", state: Retired}, {name: "2026", state: Signing}]`, 1))
			w.git(t, "commit", "-q", "-a", "-m", "another key")
			succeeded, said := w.run(t)
			if comments := w.comments(); !succeeded || len(comments) != 1 || !strings.HasPrefix(comments[0], "## ✅ Safe to merge: `sites/plant`") {
				t.Errorf("it succeeded: %t, with the comments %q\n%s", succeeded, comments, said)
			}
		})
	}
}

// The workflow fails if there is no plan, or a blocked one, and keeps one comment for each
// domain through all of it.
func TestWorkflowsKeepOneCommentPerDomain(t *testing.T) {
	for _, provider := range forge.Providers {
		t.Run(provider, func(t *testing.T) {
			w := newWorkflow(t, provider)
			w.server.PerPage = 3
			for i := range 4 {
				w.server.Say("somebody", fmt.Sprint("comment ", i))
			}
			for _, turn := range []struct {
				status    int
				plan      string
				succeeds  bool
				commented string
			}{
				{2, "Safe to merge", true, "Safe to merge"},
				{3, "Do not merge", false, "Do not merge"},
				{1, "", false, "## ⛔ No plan: `sites/plant`"},
				{0, "Nothing to do", true, "Nothing to do"},
			} {
				w.plans(t, "sites/plant", turn.status, turn.plan)
				w.plans(t, "sites/harbour", 0, "Nothing here")
				succeeded, said := w.run(t)
				if succeeded != turn.succeeds {
					t.Errorf("with status %d it succeeded: %t\n%s", turn.status, succeeded, said)
				}
				comments := w.comments()
				if len(comments) != 2 || !strings.HasPrefix(comments[0], turn.commented) || comments[1] != "Nothing here" {
					t.Errorf("after status %d the comments are %q\n%s", turn.status, comments, said)
				}
				if !strings.Contains(w.told(t, said), "Nothing here") {
					t.Errorf("the plan is not shown in the job either\n%s", said)
				}
			}
		})
	}
}

func TestWorkflowsOfForksDoNotComment(t *testing.T) {
	for _, provider := range forge.Providers {
		t.Run(provider, func(t *testing.T) {
			w := newWorkflow(t, provider)
			w.server.ReadOnly = true
			w.environment["FORK"] = "true"
			delete(w.environment, "GITLAB_TOKEN")
			w.plans(t, "sites/plant", 2, "Safe to merge")
			w.plans(t, "sites/harbour", 1, "")
			succeeded, said := w.run(t)
			if succeeded || len(w.comments()) != 0 || !strings.Contains(said, "from") || !strings.Contains(w.told(t, said), "Safe to merge") {
				t.Errorf("it succeeded: %t, with the comments %q\n%s", succeeded, w.comments(), said)
			}
		})
	}
}

// A comment that cannot be made fails the job: nobody would miss it otherwise.
func TestWorkflowsFailWithoutTheirComment(t *testing.T) {
	for _, provider := range forge.Providers {
		t.Run(provider, func(t *testing.T) {
			w := newWorkflow(t, provider)
			w.server.ReadOnly = true
			w.plans(t, "sites/plant", 0, "Nothing to do")
			w.plans(t, "sites/harbour", 0, "Nothing to do")
			if succeeded, said := w.run(t); succeeded || !strings.Contains(said, "403 Forbidden") {
				t.Errorf("it succeeded: %t\n%s", succeeded, said)
			}
		})
	}
}

func TestWorkflowsPlanFromWhatWasObserved(t *testing.T) {
	for _, provider := range forge.Providers {
		t.Run(provider, func(t *testing.T) {
			w := newWorkflow(t, provider)
			w.plans(t, "sites/plant", 0, "Nothing to do")
			w.plans(t, "sites/harbour", 0, "Nothing to do")
			w.write(t, "observed/sites/plant.json", "{}")
			if succeeded, said := w.run(t); !succeeded {
				t.Errorf("it failed\n%s", said)
			}
			base := "origin/main"
			if provider == forge.GitLab {
				base = "3f1c2a9"
			}
			asked, err := os.ReadFile(filepath.Join(w.folder, "prepared/asked"))
			want := fmt.Sprintf("plan sites/plant --base %s --observed observed/sites/plant.json --detailed-exitcode -o markdown\nplan sites/harbour --base %s --detailed-exitcode -o markdown\n", base, base)
			if err != nil || string(asked) != want {
				t.Errorf("asked (%v)\n%swant\n%s", err, asked, want)
			}
		})
	}
}

func TestWorkflowsFailOfInvalidDocuments(t *testing.T) {
	for _, provider := range forge.Providers {
		t.Run(provider, func(t *testing.T) {
			w := newWorkflow(t, provider)
			w.plans(t, "sites/plant", 0, "Nothing to do")
			w.plans(t, "sites/harbour", 0, "Nothing to do")
			w.write(t, "sites/plant/pki.yaml", "kind: Athority\n")
			if succeeded, said := w.run(t); succeeded || !strings.Contains(said, "reanchor: sites/plant: 1 error and 0 warnings") {
				t.Errorf("it succeeded: %t\n%s", succeeded, said)
			}
		})
	}
}

// What the steps find in their environment is what the files give them.
func TestWorkflowsGiveTheirStepsWhatTheyNeed(t *testing.T) {
	for provider, names := range map[string][]string{forge.GitHub: {"FORK", "GITHUB_TOKEN"}, forge.Gitea: {"FORK", "GITEA_TOKEN"}} {
		data, err := os.ReadFile("../../config/ci/" + provider + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Jobs map[string]struct {
				Steps []struct{ Env map[string]string }
			}
		}
		if err := yaml.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		steps := file.Jobs["plan"].Steps
		if given := slices.Sorted(maps.Keys(steps[len(steps)-1].Env)); !slices.Equal(given, names) {
			t.Errorf("%s gives %v, want %v", provider, given, names)
		}
	}
}
