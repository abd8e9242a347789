package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
)

// turn is one turn of a domain's loop: what it works with, and what it found and
// did.
type turn struct {
	*Reconciler
	domain *v1alpha1.TrustDomain
	memory *memory
	now    time.Time
	// calm: nothing moved and nothing is due since the last turn, which came to its
	// end. Unless Git says otherwise, there is nothing to do.
	calm bool

	// revision that was pulled, and its signer; empty if the pull failed.
	revision, signer string
	// heads of the branches, if all of them were pulled, and the names of those that were.
	heads  heads
	pulled []string
	// applied is the revision whose target was applied; empty if none was.
	applied string
	// standing is the last good revision that stays in force in a failed one's place.
	standing string
	// foreign is what was last seen to belong to another TrustDomain.
	foreign []string
	// quiet: there was nothing to do.
	quiet bool
	// plan that was made, if there is one, and what it was made from.
	plan     *planner.Plan
	observed planner.Observed
	// kinds that the domain has objects of, once they were applied.
	kinds  []string
	result Result
	// acted are the actions that wrote something.
	acted []planner.Action
	// recorded are the files of keys and links that Git newly remembers.
	recorded []string
	// again: the record in Git is another now, and is to be read at once.
	again bool
	// warnings of the documents, and those of the policies about the latest manifests.
	warnings, unwise []string
	// work of the device lane, and what of it was refused; keeping: the last good snapshot
	// stands in for the head.
	work    inventory.Work
	keeping bool
}

// run takes the turn. Its error says why the turn did not come to its end.
func (t *turn) run(ctx context.Context) error {
	if err := validateSpec(t.domain.Spec); err != nil {
		return failed(ReasonInvalidSpec, err)
	}
	if err := t.pull(ctx); err != nil {
		return t.stand(ctx, err)
	}
	if t.calm && t.memory.revision == t.revision && t.memory.recordRevision == t.heads.recordRevision() {
		t.quiet = true
		return nil
	}
	loaded, err := t.read(ctx)
	if err != nil {
		return t.stand(ctx, err)
	}
	return t.advance(ctx, loaded)
}

// advance carries out the next step of what loaded declares, if there is any.
func (t *turn) advance(ctx context.Context, loaded Loaded) error {
	prune := t.domain.Spec.Prune
	plan, err := t.planned(ctx, t.Client, loaded.Desired())
	if err != nil {
		return err
	}
	if t.probe(ctx, plan) {
		if plan, err = t.planned(ctx, t.Client, loaded.Desired()); err != nil {
			return err
		}
	}
	if !t.asks(plan) && t.inForce(ctx, loaded, plan, prune) {
		t.memory.problem = "" // there is nothing to record any more
		return nil
	}
	if plan, err = t.plannedAgain(ctx, loaded.Desired()); err != nil {
		return err
	}
	manifests, err := t.rendered(loaded, plan)
	if err != nil {
		return err
	}
	if err := t.apply(ctx, manifests, prune); err != nil {
		return err
	}
	if err := t.act(ctx, plan); err != nil {
		return err
	}
	if err := t.tend(ctx); err != nil {
		return err
	}
	return both(t.refused(), t.writeBack(ctx, plan))
}

// both joins two failures; the first one's reason is the turn's.
func both(first, second error) error {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return fmt.Errorf("%w; and %w", first, second)
}

// stand keeps the last good snapshot in force, because of cause: see the
// package's comment. It returns cause, and what went wrong beside it.
func (t *turn) stand(ctx context.Context, cause error) error {
	if t.memory.loaded == nil {
		return cause
	}
	if err := t.keep(ctx, t.memory.loaded); err != nil {
		return fmt.Errorf("%w; and revision %s could not be kept in force: %w", cause, t.memory.loadedRevision(), err)
	}
	t.standing = t.memory.loadedRevision()
	return cause
}

// keep repairs drift from what loaded declares, and nothing more.
func (t *turn) keep(ctx context.Context, loaded Loaded) error {
	const prune = false
	t.keeping = true
	plan, err := t.planned(ctx, t.Client, loaded.Desired())
	if err != nil || plan.Decisive || t.inForce(ctx, loaded, plan, prune) {
		return err
	}
	if plan, err = t.plannedAgain(ctx, loaded.Desired()); err != nil || plan.Decisive {
		return err
	}
	manifests, err := t.rendered(loaded, plan)
	if err != nil {
		return err
	}
	if err := t.apply(ctx, manifests, prune); err != nil {
		return err
	}
	return t.tend(ctx) // renewals go on, whatever becomes of the repository
}

// pull brings the heads of the branches, in half of the turn's time: a server that does not
// answer shall leave enough to mend drift.
func (t *turn) pull(ctx context.Context) error {
	most := timeoutOf(t.domain.Spec) / 2
	bounded, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := t.pullHeads(bounded)
	if err != nil && errors.Is(bounded.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: the pull took longer than half of spec.timeout, %s: raise it if this happens again", err, most)
	}
	return err
}

// pullHeads brings the heads of the branches. A calm turn tries the credentials of the last
// pull first, which saves reading the Secrets; not those that say whose commits to
// trust, for a key may just have been taken away. They are read anew only if others could
// help.
func (t *turn) pullHeads(ctx context.Context) error {
	if remembered := t.memory.credentials; remembered != nil && t.calm && remembered.Verify == nil {
		err := t.pullWith(ctx, *remembered)
		if err == nil || ctx.Err() != nil || !slices.Contains(credentialFailures, reasonOf(err)) {
			return err
		}
	}
	t.memory.credentials = nil
	credentials, err := readCredentials(ctx, t.APIReader, t.domain)
	if err != nil {
		return err
	}
	return t.pullWith(ctx, credentials)
}

// credentialFailures are the reasons of a pull that other credentials may heal.
var credentialFailures = []string{ReasonAuthenticationFailed, ReasonTLSFailed, ReasonHostKeyMismatch, ReasonCredentialsInvalid}

func (t *turn) pullWith(ctx context.Context, credentials Credentials) error {
	source, err := t.pullBranch(ctx, t.sourceBranch(credentials))
	if err != nil {
		return err
	}
	t.revision, t.signer = source.Revision(), source.Signer()
	record, err := t.pullRecord(ctx, source, credentials)
	if err != nil {
		return err
	}
	t.memory.credentials, t.heads = &credentials, heads{source: source, record: record}
	return nil
}

// pullBranch brings the head of a branch, which must come after the one that was read
// last.
func (t *turn) pullBranch(ctx context.Context, branch Branch) (Snapshot, error) {
	snapshot, err := t.Parts.Source.Pull(ctx, branch, t.after(branch.Name))
	if err != nil {
		return nil, t.notPulled(err)
	}
	t.memory.lineage.read(snapshot.Revision())
	t.pulled = append(t.pulled, branch.Name)
	return snapshot, nil
}

// read takes in what the branches hold: the record, and the documents beside it.
func (t *turn) read(ctx context.Context) (Loaded, error) {
	if err := t.scan(t.heads.source); err != nil {
		return nil, err
	}
	if err := t.readRecord(t.heads.record); err != nil {
		return nil, err
	}
	loaded, err := t.load(ctx, t.heads.source)
	if err != nil {
		return nil, err
	}
	return loaded, t.readDevices(loaded)
}

// load reads the documents of a snapshot, unless they are what they were when they
// were last read. New ones count once they are let in.
func (t *turn) load(ctx context.Context, snapshot Snapshot) (Loaded, error) {
	m := t.memory
	if t.stillLoaded(snapshot) {
		if m.loadedRevision() == snapshot.Revision() {
			t.warnings = append(t.warnings, m.loaded.Warnings()...) // the turn that loaded them may have ended untold
		}
		m.loadedFrom, m.loadedWith = snapshot, m.record
		return m.loaded, nil
	}
	loaded, err := t.Parts.Load(snapshot.FS(), folderOf(t.domain.Spec), m.record)
	if err != nil {
		return nil, failed(ReasonBuildFailed, err)
	}
	if err := t.letIn(ctx, snapshot, loaded); err != nil {
		return nil, err
	}
	m.loaded, m.loadedFrom, m.loadedWith = loaded, snapshot, m.record
	t.warnings = append(t.warnings, loaded.Warnings()...)
	return loaded, nil
}

// scan checks the files that are new since the last snapshot that was harmless: none
// of them may be one that must never stand in Git.
func (t *turn) scan(snapshot Snapshot) error {
	if t.memory.scanned != nil && t.memory.scanned.Revision() == t.revision {
		return nil
	}
	paths, err := changedFiles(snapshot, t.memory.scanned)
	if err != nil {
		return failed(ReasonBuildFailed, fmt.Errorf("list the files of %s: %w", t.revision, err))
	}
	var violations []policies.Violation
	for _, path := range paths {
		data, err := readRegular(snapshot.FS(), path)
		if err != nil {
			return failed(ReasonBuildFailed, fmt.Errorf("read %s of %s, to see that it holds no private key: %w", path, t.revision, err))
		}
		violations = append(violations, t.Parts.CheckFile(path, data)...)
	}
	warnings, err := judge(violations)
	t.warnings = append(t.warnings, warnings...)
	if err != nil {
		return err
	}
	t.memory.scanned = snapshot
	return nil
}

// changedFiles lists what is new since an earlier snapshot: everything, if that one
// cannot be read any more.
func changedFiles(snapshot, since Snapshot) ([]string, error) {
	if since != nil {
		if paths, err := snapshot.Changed(since); err == nil {
			return paths, nil
		}
	}
	return snapshot.Changed(nil)
}

// readRegular reads a regular file. One that is gone is empty, and so is a symbolic
// link: what it leads to is a file of its own.
func readRegular(files fs.FS, path string) ([]byte, error) {
	info, err := fs.Lstat(files, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	return fs.ReadFile(files, path)
}

// asks reports whether a plan is known to have something to write before it is
// rendered.
func (t *turn) asks(plan planner.Plan) bool {
	return plan.Decisive || len(plan.Actions) > 0 || t.hasToRecord(plan)
}

// inForce reports whether the cluster holds what a plan's target is rendered to, as
// the cache knows it: then nothing is to be written. What cannot be rendered, is denied,
// belongs to another TrustDomain or cannot be compared is not in force either: the cache
// may be at fault, and only what is planned again fails the turn.
func (t *turn) inForce(ctx context.Context, loaded Loaded, plan planner.Plan, prune bool) bool {
	manifests, err := t.rendered(loaded, plan)
	if err != nil || len(t.foreign) > 0 {
		return false
	}
	cluster, err := t.cluster()
	if err != nil {
		return false
	}
	result, err := cluster.Apply(ctx, t.ref(), manifests, ApplyOptions{Prune: prune, Kinds: withKindsOf(t.domain.Status.Kinds, manifests), DryRun: true})
	if err != nil || len(result.Applied)+len(result.Pruned)+len(result.Released) > 0 || !t.work.Idle() {
		return false
	}
	t.wasApplied(result, manifests)
	return true
}

// plannedAgain plans the next step from what the API server itself says, the
// TrustDomain included. What is written is written from such a plan.
func (t *turn) plannedAgain(ctx context.Context, desired planner.Desired) (planner.Plan, error) {
	t.plan = nil // of the one before, nothing is to be told
	if err := t.upToDate(ctx); err != nil {
		return planner.Plan{}, err
	}
	plan, err := t.planned(ctx, t.APIReader, desired)
	if err == nil && len(t.foreign) > 0 {
		return plan, failed(ReasonOwnedByAnother, fmt.Errorf("nothing is written, for one TrustDomain would undo what the other does: %s", list(t.foreign)))
	}
	return plan, err
}

// errOutdated ends a turn whose TrustDomain is not the API server's: its gates may
// be ones that a later turn dropped.
var errOutdated = errors.New("the TrustDomain was changed since the cache saw it: the next turn looks again")

// upToDate fails with errOutdated unless the turn's TrustDomain is the one that the
// API server holds.
func (t *turn) upToDate(ctx context.Context) error {
	latest := &v1alpha1.TrustDomain{}
	err := t.APIReader.Get(ctx, client.ObjectKeyFromObject(t.domain), latest)
	if apierrors.IsNotFound(err) || err == nil && latest.ResourceVersion != t.domain.ResourceVersion {
		return errOutdated
	}
	if err != nil {
		return failed(ReasonObserveFailed, fmt.Errorf("get TrustDomain %s at the API server, before anything is written: %w", t.ref(), err))
	}
	return nil
}

// blind is the failure of a turn whose plan was made without seeing everything.
func blind(plan planner.Plan) error {
	var unseen []string
	for _, hold := range allHolds(plan) {
		if hold.Gate == planner.GateUnknown && !slices.Contains(unseen, hold.Subject+": "+hold.Why) {
			unseen = append(unseen, hold.Subject+": "+hold.Why)
		}
	}
	return failed(ReasonObserveFailed, fmt.Errorf("nothing is written, for not everything could be read: %s: see that the API server answers and that the controller's role grants get, list and watch on it", list(unseen)))
}

// planned observes the cluster through reader and plans the next step from it. It
// fails if the plan is blind.
func (t *turn) planned(ctx context.Context, reader client.Reader, desired planner.Desired) (planner.Plan, error) {
	seen, err := t.Parts.Observe(ctx, reader, t.ref(), desired, gatesOf(t.domain.Status))
	if err != nil {
		return planner.Plan{}, failed(ReasonObserveFailed, err)
	}
	observed := seen.Observed
	t.foreign = seen.Foreign
	t.memory.sees(observed)
	observed.Record, observed.Probes = t.memory.observedRecord(), t.memory.handshakes.all()
	observed.References = t.memory.refused.tell(observed.References, t.now)
	t.countDevices(desired, &observed)
	plan := t.Parts.Plan(desired, observed, t.now)
	t.plan, t.observed = &plan, observed
	if plan.Blind {
		return plan, blind(plan)
	}
	return plan, nil
}

// rendered makes a plan's manifests and checks both.
func (t *turn) rendered(loaded Loaded, plan planner.Plan) ([]*unstructured.Unstructured, error) {
	manifests, err := loaded.Render(plan.Target, t.ref())
	if err != nil {
		return nil, failed(ReasonBuildFailed, err)
	}
	if err := t.workOn(loaded, plan); err != nil {
		return nil, err
	}
	if t.unwise, err = judge(t.Parts.Check(t.judged(loaded, plan, manifests))); err != nil {
		return nil, err
	}
	return manifests, nil
}

// judged is what the rules look at.
func (t *turn) judged(loaded Loaded, plan planner.Plan, manifests []*unstructured.Unstructured) policies.Input {
	return policies.Input{
		Plan: plan, Manifests: manifests, Documents: loaded.Documents(), Observed: t.observed,
		Production: t.domain.Labels[v1alpha1.LabelEnvironment] == v1alpha1.EnvironmentProduction, Now: t.now,
		Devices: policies.Devices{Standing: t.work.Standing, Leaving: t.work.Leaving},
	}
}

// judge tells violations that only warn, and fails if one denies.
func judge(violations []policies.Violation) (warnings []string, err error) {
	var denied []string
	for _, violation := range violations {
		if violation.Severity == policies.Deny {
			denied = append(denied, violation.String())
		} else {
			warnings = append(warnings, violation.String())
		}
	}
	if len(denied) > 0 {
		err = failed(ReasonPolicyViolation, fmt.Errorf("denied by policy: %s", list(denied)))
	}
	return warnings, err
}

// apply writes the manifests. The kinds, and what the documents were let in by, are stored before the first object of a
// kind is written, so that a crash between the two leaves nothing that prune does
// not find.
func (t *turn) apply(ctx context.Context, manifests []*unstructured.Unstructured, prune bool) error {
	cluster, err := t.cluster()
	if err != nil {
		return err
	}
	status := *t.domain.Status.DeepCopy()
	status.Kinds = withKindsOf(status.Kinds, manifests)
	status.Plan = t.memory.letIn
	if err := t.patchStatus(ctx, status); err != nil {
		return failed(ReasonApplyFailed, err)
	}
	result, err := cluster.Apply(ctx, t.ref(), manifests, ApplyOptions{Prune: prune, Kinds: status.Kinds})
	if err != nil {
		t.result = result
		return t.notWritten(err)
	}
	t.wasApplied(result, manifests)
	return nil
}

// wasApplied notes that the manifests are in force, with result.
func (t *turn) wasApplied(result Result, manifests []*unstructured.Unstructured) {
	t.result, t.applied, t.kinds = result, t.memory.loadedRevision(), withKindsOf(result.Kinds, manifests)
}

func (t *turn) act(ctx context.Context, plan planner.Plan) error {
	if len(plan.Actions) == 0 {
		return nil
	}
	cluster, err := t.cluster()
	if err != nil {
		return err
	}
	t.acted, err = cluster.Act(ctx, t.ref(), plan.Actions, t.now)
	if err = t.memory.refused.note(err, t.now); err != nil {
		return t.notWritten(err)
	}
	return nil
}

// refused is the failure of a turn that had to leave fields or objects to others.
func (t *turn) refused() error {
	var taken error
	if len(t.result.Taken) > 0 {
		taken = failed(ReasonOwnedByAnother, fmt.Errorf("left as it is, though the repository declares it: %s", list(t.result.Taken)))
	}
	if len(t.result.Conflicts) == 0 {
		return taken
	}
	return both(taken, failed(ReasonApplyFailed, fmt.Errorf("somebody else owns what the repository declares: %s", list(t.result.Conflicts))))
}

// ref names the domain.
func (t *turn) ref() planner.Ref {
	return planner.Ref{Namespace: t.domain.Namespace, Name: t.domain.Name}
}
