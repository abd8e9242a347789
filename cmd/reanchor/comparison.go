package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/policies"
)

// comparison is a domain's folder at two revisions of a clone.
type comparison struct {
	clone                    *gitsource.Clone
	folder                   string
	clusterResourceNamespace string
	now                      time.Time
	base, head               revision
	worktree                 *os.Root
	clean                    *cleanBlobs
}

// revision is a domain's folder at one of them.
type revision struct {
	forecast.Revision
	files fs.FS
	declared
	// declares is the digest of what an observation is made for: the documents without the
	// policies.
	declares string
	// err says why it cannot be used; it has no Loaded then.
	err error
	// absent: there is no such folder.
	absent bool
}

// read both sides.
func (c *comparison) read(base, head string) error {
	if base == "" {
		base = c.defaultBase(cmp.Or(head, "HEAD"))
	}
	var err error
	if c.base, err = c.at(base); err != nil {
		return fmt.Errorf("read --base %s: %w", base, err)
	}
	if head == "" {
		c.head, err = c.inWorktree()
	} else {
		c.head, err = c.at(head)
	}
	if err != nil {
		return fmt.Errorf("read --head %s: %w", head, err)
	}
	c.clean = newCleanBlobs()
	c.load(&c.base, nil)
	c.load(&c.head, c.base.Devices)
	return nil
}

func (c *comparison) close() {
	if c.worktree != nil {
		_ = c.worktree.Close() // it was only read
	}
}

// defaultBase is where a revision left the default branch of origin.
func (c *comparison) defaultBase(head string) string {
	if branch, known := c.clone.DefaultBranch(); known {
		if base, err := c.clone.MergeBase(head, branch); err == nil {
			return base
		}
	}
	return "HEAD"
}

func (c *comparison) at(name string) (revision, error) {
	snapshot, err := c.clone.At(name)
	if err != nil {
		return revision{}, err
	}
	return revision{Revision: forecast.Revision{Name: name, Commit: "sha1:" + snapshot.Commit()}, files: snapshot.FS()}, nil
}

func (c *comparison) inWorktree() (revision, error) {
	root, err := os.OpenRoot(c.clone.Folder())
	if err != nil {
		return revision{}, err
	}
	c.worktree = root
	return revision{Revision: forecast.Revision{Name: "working tree"}, files: root.FS()}, nil
}

// load the documents of a side, its record and its devices; those that Git says are the same
// as in another revision are not read again.
func (c *comparison) load(side *revision, before *inventory.Inventory) {
	if _, err := fs.Stat(side.files, c.folder); errors.Is(err, fs.ErrNotExist) {
		side.absent = true
	}
	side.files = screened{side.files, c.clean}
	side.declared, side.err = readDeclared(side.files, c.folder, c.clusterResourceNamespace, before)
	var desired planner.Desired
	if side.err == nil {
		desired = side.Desired
	}
	side.declares, _ = desired.Digest() // of plain data
	side.Digest = side.withPolicies(side.declares)
}

func (r revision) side() forecast.Side {
	side := forecast.Side{Revision: r.Revision, Broken: r.err != nil}
	if r.err == nil {
		side.Desired, side.Fleets = r.Desired, fleetsIn(r.Devices)
	}
	return side
}

// request a forecast from the base.
func (c *comparison) request() forecast.Request {
	request := forecast.Request{Folder: c.folder, Base: c.base.side(), Head: c.head.side(), Now: c.now.UTC().Truncate(time.Second)}
	request.Blocks, request.Warnings = c.problems()
	if c.head.err != nil {
		return request
	}
	blocks, warnings := c.devices()
	request.Blocks, request.Warnings = append(request.Blocks, blocks...), append(request.Warnings, warnings...)
	request.Record = c.head.Record
	request.Users, request.Namespaces = c.head.Users()
	request.Diffs = c.diffs()
	request.Warnings = append(request.Warnings, c.ruleChanges()...)
	request.Beside = c.beside()
	request.Check = c.check
	return request
}

// problems are what reanchor validate finds in the head, and that the base cannot be used.
func (c *comparison) problems() (blocks, warnings []forecast.Finding) {
	v := validation{files: c.head.files, folder: c.folder, leaking: map[string]bool{}, listed: c.head.Devices, clean: c.clean}
	v.all(c.clusterResourceNamespace, c.now)
	slices.SortFunc(v.found, problem.compare)
	for _, p := range slices.Compact(v.found) {
		found := findingOf(p)
		if p.Severity == severityError {
			blocks = append(blocks, found)
		} else {
			warnings = append(warnings, found)
		}
	}
	if c.base.err != nil && !c.base.absent {
		warnings = append(warnings, forecast.Finding{
			Rule: "base", Subject: c.base.Name, Message: "its documents cannot be used, and count as none: " + strings.Join(strings.Fields(c.base.err.Error()), " "),
			Mend: "compare with a revision that is valid, or begin from a cluster",
		})
	}
	return blocks, warnings
}

// findingOf is a problem as a plan tells it: a broken rule by its name and subject.
func findingOf(p problem) forecast.Finding {
	if p.violation.Rule != "" {
		return violated(p.violation, p.File, p.Line)
	}
	return forecast.Finding{Rule: "validate", Subject: cmp.Or(p.Field, p.File), Place: placed(p.File, p.Line), Message: p.Message}
}

func violated(v policies.Violation, file string, line int) forecast.Finding {
	return forecast.Finding{Rule: v.Rule, Subject: v.Subject, Place: placed(file, line), Message: v.Message, Mend: v.Mend}
}

func placed(file string, line int) string {
	if file == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// check holds a plan on the way against the policies, by what it is rendered to.
func (c *comparison) check(plan planner.Plan) (blocks, warnings []forecast.Finding) {
	manifests, err := c.head.Render(plan.Target, anyDomain)
	if err != nil {
		return []forecast.Finding{{Rule: "render", Subject: c.folder, Message: strings.Join(strings.Fields(err.Error()), " ")}}, nil
	}
	atlas := atlasOf(c.head.Loaded, manifests, path.Join(c.folder, "kustomization.yaml"))
	input := policies.Input{
		Plan: planner.Plan{Target: plan.Target}, Manifests: manifests, Documents: c.head.Documents,
		Observed: planner.Observed{Record: c.head.Record}, Now: c.now,
	}
	for _, violation := range policies.Check(input) {
		file, line := atlas.placeOf(violation)
		found := violated(violation, file, line)
		if violation.Severity == policies.Deny {
			blocks = append(blocks, found)
		} else {
			warnings = append(warnings, found)
		}
	}
	return blocks, warnings
}

// fromFile begins the forecast at what a file of reanchor observe holds.
func (c *comparison) fromFile(request *forecast.Request, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read --observed: %w", err)
	}
	observation, err := planner.DecodeObservation(text)
	if err != nil {
		return fmt.Errorf("read --observed %s: %w", name, err)
	}
	c.beginAt(request, observation)
	return nil
}

// fromCluster begins the forecast at what the cluster holds.
func (c *comparison) fromCluster(ctx context.Context, request *forecast.Request, flags planFlags, now func() time.Time) error {
	if c.head.err != nil {
		return nil // nothing is forecast
	}
	cluster, err := flags.connect()
	if err != nil {
		return err
	}
	domain, err := cluster.domainToObserve(ctx, flags.name)
	if err != nil {
		return err
	}
	observation, err := cluster.observe(ctx, domain, c.head.declared, c.clusterResourceNamespace, now)
	if err != nil {
		return err
	}
	c.beginAt(request, observation)
	return nil
}

// beginAt takes an observation for the beginning.
func (c *comparison) beginAt(request *forecast.Request, observation planner.Observation) {
	request.Observed, request.Seen, request.Now = &observation.Observed, observation.At, observation.At
	if observation.Documents != c.head.declares && observation.Documents != c.base.declares {
		request.Warnings = append(request.Warnings, forecast.Finding{
			Rule: "observed", Subject: observation.Domain.String(), Message: "the cluster was looked at for other documents than these: what only these name was not looked for",
			Mend: "make the observation anew with reanchor observe --folder " + c.folder,
		})
	}
	for _, conflict := range observation.Conflicts {
		object, what, _ := strings.Cut(conflict, ": ")
		request.Conflicts = append(request.Conflicts, forecast.Finding{Rule: "conflict", Subject: object, Message: what})
	}
	for _, foreign := range observation.Foreign {
		request.Blocks = append(request.Blocks, forecast.Finding{Rule: "foreign", Subject: observation.Domain.String(), Message: foreign, Mend: "let one TrustDomain alone declare it"})
	}
}

// keysToRetire are the keys that --what-if names.
func keysToRetire(flags []string) ([]string, error) {
	var keys []string
	for _, flag := range flags {
		key, is := strings.CutPrefix(flag, "retire=")
		if authority, name, whole := strings.Cut(key, "/"); !is || !whole || authority == "" || name == "" {
			return nil, fmt.Errorf("--what-if %q: %w", flag, errWhatIf)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
