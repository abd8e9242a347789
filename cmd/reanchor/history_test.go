package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"

	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/report"
	"github.com/reanchor/reanchor/planner/simulation"
)

// The history of a small plant: fixtures/history/README.md tells it.
const (
	historyFolder = "../../fixtures/history"
	hall          = "sites/hall-1"
)

// pullRequest is a change of that history, and what the plan of it says to a machine.
type pullRequest struct {
	// name of its folder of files.
	name string
	// removes are the files that it takes away; reverts is the change that it takes back.
	removes []string
	reverts string
	// blind: the cluster cannot be reached where the plan is made.
	blind bool
	// status that `reanchor plan --detailed-exitcode` ends with.
	status int
	// merged: it stands in main from then on, and the plant lives until it is done; or, if
	// this is given, until plant-issuing is in that phase.
	merged bool
	until  planner.Phase
}

var pullRequests = []pullRequest{
	{name: "01-second-key-trusted", blind: true, status: 2, merged: true},
	{name: "02-new-intermediate", status: 2, merged: true},
	{name: "03-signing-and-retired", status: 2, merged: true, until: planner.Reissue},
	{name: "04-revert", reverts: "03-signing-and-retired", status: 2},
	{name: "05-weaker-key", status: 2},
	{name: "06-shorter-ca", status: 3},
	{name: "07-wildcard-device-group", status: 3},
	{name: "08-deleted-authority", removes: []string{hall + "/line-2.yaml"}, status: 3},
	{name: "09-policy-change", status: 0},
	{name: "10-emergency", status: 2},
	{name: "11-stolen-intermediate", status: 2},
}

// TestPullRequests plans every pull request of the history as its CI job does, and compares
// the comment with the one that was read last (`make golden`).
func TestPullRequests(t *testing.T) {
	h := newHistory(t)
	h.commit("00-first", pullRequest{name: "00-first"})
	h.live("")
	for _, change := range pullRequests {
		h.open(change)
		observed := ""
		if !change.blind {
			observed = h.observe(change.name)
		}
		t.Run(change.name, func(t *testing.T) {
			comment, status := h.plan(t, change, observed, "markdown")
			golden.File(t, filepath.Join(historyFolder, "plans", change.name+".md"), comment)
			failUnlessAComment(t, comment)
			if status != change.status {
				t.Errorf("the exit status is %d, want %d", status, change.status)
			}
			object, _ := h.plan(t, change, observed, "json")
			failUnlessByTheSchema(t, object)
			if again, _ := h.plan(t, change, observed, "json"); again != object {
				t.Error("planned again it is another plan")
			}
		})
		if change.merged {
			h.merge(change)
			h.live(change.until)
		}
		if change.reverts != "" { // it was closed
			h.live("")
		}
	}
}

// history is a clone, and the plant that lives by its branch main.
type history struct {
	t *testing.T
	// folder of the clone.
	folder string
	world  *simulation.World
	// commits of the changes that were merged.
	commits map[string]string
}

func newHistory(t *testing.T) *history {
	h := &history{t: t, folder: filepath.Join(t.TempDir(), "plant"), commits: map[string]string{}}
	if err := os.MkdirAll(h.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	h.git("init", "--quiet", "--initial-branch=main", "--object-format=sha1")
	return h
}

// now in the plant.
func (h *history) now() time.Time {
	if h.world == nil {
		return simulation.Epoch
	}
	return h.world.Now
}

// git runs in the clone as of the plant's time, and as nobody's configuration has it.
func (h *history) git(arguments ...string) string {
	h.t.Helper()
	command := exec.Command("git", arguments...)
	command.Dir = h.folder
	date := h.now().Format(time.RFC3339)
	command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_COMMITTER_DATE="+date)
	output, err := command.CombinedOutput()
	if err != nil {
		h.t.Fatalf("git %v: %v\n%s", arguments, err, output)
	}
	return strings.TrimSpace(string(output))
}

// open a branch with the change.
func (h *history) open(change pullRequest) {
	h.t.Helper()
	h.git("checkout", "--quiet", "main")
	h.git("checkout", "--quiet", "-b", change.name)
	if change.reverts != "" {
		h.git("revert", "--no-edit", h.commits[change.reverts])
		return
	}
	h.commit(change.name, change)
}

// commit what the change's folder holds.
func (h *history) commit(name string, change pullRequest) {
	h.t.Helper()
	step := filepath.Join(historyFolder, "steps", name)
	message, err := os.ReadFile(filepath.Join(step, "COMMIT"))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := copyTree(h.folder, step); err != nil {
		h.t.Fatal(err)
	}
	for _, file := range append(change.removes, "COMMIT") {
		if err := os.Remove(filepath.Join(h.folder, file)); err != nil {
			h.t.Fatal(err)
		}
	}
	h.git("add", "--all")
	h.git("commit", "--quiet", "-m", strings.TrimSpace(string(message)))
	h.commits[name] = h.git("rev-parse", "HEAD")
}

// copyTree writes the files of a folder over those of another.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o644)
	})
}

// merge the branch of a change.
func (h *history) merge(change pullRequest) {
	h.t.Helper()
	h.git("checkout", "--quiet", "main")
	h.git("merge", "--quiet", "--ff-only", change.name)
}

// plan is what the CI job of the change prints, and its exit status.
func (h *history) plan(t *testing.T, change pullRequest, observed, format string) (text string, status int) {
	t.Helper()
	command := newPlan(h.now)
	arguments := []string{filepath.Join(h.folder, hall), "--base", "main", "--head", change.name, "-o", format, "--detailed-exitcode"}
	if observed != "" {
		arguments = append(arguments, "--observed", observed)
	}
	var stdout bytes.Buffer
	command.SetArgs(arguments)
	command.SetOut(&stdout)
	command.SilenceUsage, command.SilenceErrors = true, true // as the root has it
	err := command.ExecuteContext(t.Context())
	if end, is := errors.AsType[ended](err); is {
		status, err = end.status, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return stdout.String(), status
}

// live by what main declares, until nothing is left to do or until plant-issuing is in a
// phase. The record goes to main.
func (h *history) live(until planner.Phase) {
	h.t.Helper()
	h.git("checkout", "--quiet", "main")
	declared, err := loadFolder(filepath.Join(h.folder, hall), "cert-manager")
	if err != nil {
		h.t.Fatal(err)
	}
	if h.world == nil {
		h.world = simulation.New(1, declared.Desired, thoseOfHall1())
		h.world.KeepRecord()
		h.world.Prompt = true
	}
	h.world.Desired = declared.Desired
	for range 500 {
		plan := h.world.Turn()
		if h.isDone(plan, until) {
			h.record()
			return
		}
		h.world.SleepUntil(h.world.Now.Add(time.Hour), plan)
	}
	h.t.Fatalf("main does not come to its end: %+v, %v", h.world.Turn().Rollovers, h.world.Pending())
}

// isDone reports whether plant-issuing is in the phase, or, if that is empty, whether nothing
// is left to do.
func (h *history) isDone(plan planner.Plan, until planner.Phase) bool {
	if until == "" {
		proof := func(w simulation.Written) bool { return w.Verb == simulation.Proved }
		return !slices.ContainsFunc(h.world.Written(), func(w simulation.Written) bool { return !proof(w) }) &&
			!slices.ContainsFunc(plan.Rollovers, func(r planner.Rollover) bool { return r.Phase != planner.Settled })
	}
	return slices.ContainsFunc(plan.Rollovers, func(r planner.Rollover) bool { return r.Authority.Name == "plant-issuing" && r.Phase == until })
}

// record commits what reanchor records.
func (h *history) record() {
	h.t.Helper()
	recorded := map[string][]byte{}
	record := h.world.Record()
	for _, key := range record.Keys {
		recorded[key.Path()] = key.Certificate.PEM()
	}
	for _, link := range record.Links {
		recorded[link.Path()] = link.Certificate.PEM()
	}
	anchors := filepath.Join(h.folder, hall, planner.RecordFolder)
	if err := os.RemoveAll(anchors); err != nil {
		h.t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		path := filepath.Join(h.folder, hall, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(path, recorded[name], 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
	h.git("add", "--all")
	if h.git("status", "--porcelain") != "" {
		h.git("commit", "--quiet", "-m", "Record the keys that came to be")
	}
}

// thoseOfHall1 are whoever depends on the PKI there. The dashboard's certificate is that of
// an Ingress: no document of the repository declares it.
func thoseOfHall1() simulation.Users {
	trust := []planner.Mount{{Name: "plant-trust", Kind: planner.MountVolume}}
	users := simulation.Users{Namespaces: []string{"office", "plant"}}
	for _, one := range []struct {
		kind, namespace, name, issuer string
		foreign                       bool
		reloads                       time.Duration
	}{
		{kind: "StatefulSet", namespace: "plant", name: "broker", issuer: "plant"},
		{kind: "Deployment", namespace: "plant", name: "press", issuer: "line-2"},
		{kind: "Deployment", namespace: "office", name: "historian", issuer: "plant", reloads: 2 * time.Minute},
		{kind: "Deployment", namespace: "office", name: "dashboard", issuer: "plant", foreign: true},
	} {
		ref := planner.Ref{Namespace: one.namespace, Name: one.name}
		users.Leaves = append(users.Leaves, planner.Leaf{Ref: ref, Issuer: planner.Ref{Name: one.issuer}, SecretName: one.name + "-tls", Foreign: one.foreign})
		users.Workloads = append(users.Workloads, planner.Workload{
			Kind: one.kind, Ref: ref, Bundles: trust, Reloads: one.reloads, Secrets: []planner.Mount{{Name: one.name + "-tls", Kind: planner.MountVolume}},
		})
	}
	return users
}

// observe writes what `reanchor observe` would, of the cluster and the folder as main has it.
func (h *history) observe(name string) string {
	h.t.Helper()
	h.git("checkout", "--quiet", "main")
	declared, err := loadFolder(filepath.Join(h.folder, hall), "cert-manager")
	if err != nil {
		h.t.Fatal(err)
	}
	observed := h.world.Observe()
	users, _ := declared.Users()
	observed.Leaves = slices.DeleteFunc(observed.Leaves, func(l planner.Leaf) bool {
		return !l.Foreign && !slices.ContainsFunc(users, func(u planner.Leaf) bool { return u.Ref == l.Ref })
	})
	observed.Workloads = slices.DeleteFunc(observed.Workloads, func(w planner.Workload) bool { return w.Ref.Name == "press" && len(users) < 3 })
	observation, err := planner.NewObservation(h.now(), planner.Ref{Namespace: "plant", Name: "hall-1"}, declared.Desired, observed)
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := observation.Encode()
	if err != nil {
		h.t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(h.folder), name+".json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		h.t.Fatal(err)
	}
	return file
}

// failUnlessAComment fails unless a forge takes the text, and finds it again.
func failUnlessAComment(t *testing.T, text string) {
	t.Helper()
	if len(text) >= report.Limit {
		t.Errorf("the comment has %d bytes", len(text))
	}
	if marker := report.Marker(hall); report.MarkerOf(text) != marker || strings.Count(text, "<!--") != 1 {
		t.Errorf("it does not begin with %s, or has another such line", marker)
	}
	if strings.Contains(text, "PRIVATE KEY") {
		t.Error("it shows a private key")
	}
}

// failUnlessByTheSchema fails unless the plan is as docs/reference/plan.schema.json says.
func failUnlessByTheSchema(t *testing.T, text string) {
	t.Helper()
	data, err := os.ReadFile("../../docs/reference/plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var published spec.Schema
	var plan any
	if err := errors.Join(json.Unmarshal(data, &published), json.Unmarshal([]byte(text), &plan)); err != nil {
		t.Fatal(err)
	}
	if result := validate.NewSchemaValidator(&published, nil, "", strfmt.Default).Validate(plan); !result.IsValid() {
		t.Errorf("%v in\n%s", result.Errors, text)
	}
}
