package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/simulation"
)

// letIn makes sure that documents are carried out only as they were planned, if their commit
// names a plan, or must. What was let in before is not asked about again: in the middle of a
// rollover less is left to do than was planned.
func (t *turn) letIn(ctx context.Context, snapshot Snapshot, loaded Loaded) error {
	documents, err := loaded.Desired().Digest()
	if err != nil {
		return failed(ReasonBuildFailed, err)
	}
	before := cmp.Or(t.memory.letIn, t.domain.Status.Plan)
	switch {
	case before != nil && before.Documents == documents:
		t.memory.letIn = before
		return nil
	case before == nil && t.domain.Status.LastAppliedRevision == snapshot.Revision():
		t.memory.letIn = &v1alpha1.LetInPlan{Documents: documents} // it was in force before anybody asked
		return nil
	}
	digest, err := t.planNamed(ctx, snapshot)
	if err != nil {
		return err
	}
	if digest != "" {
		if err := t.isAsPlanned(ctx, snapshot, loaded, digest); err != nil {
			return err
		}
	}
	t.memory.letIn = &v1alpha1.LetInPlan{Documents: documents, Digest: digest}
	return nil
}

// planNamed is the digest of the plan that the newest commit since the last that was applied
// names; empty if none does, and none must.
func (t *turn) planNamed(ctx context.Context, snapshot Snapshot) (string, error) {
	asked := cmp.Or(t.domain.Spec.PlanTrailer, v1alpha1.PlanTrailerHonoured)
	if asked == v1alpha1.PlanTrailerIgnored {
		return "", nil
	}
	messages, err := t.Parts.Source.MessagesSince(ctx, t.sourceBranch(*t.memory.credentials), snapshot, t.lastAppliedHere())
	if err != nil {
		return "", t.notPulled(err)
	}
	for _, message := range messages {
		digest, err := forecast.Planned(message)
		if err != nil {
			return "", failed(ReasonPlanDiffers, fmt.Errorf("%s is not taken in: %w, in a commit on top of it", snapshot.Revision(), err))
		}
		if digest != "" {
			return digest, nil
		}
	}
	if asked == v1alpha1.PlanTrailerRequired {
		return "", failed(ReasonPlanDiffers, fmt.Errorf("%s is not taken in, for no commit since the last one that was applied has the trailer %s, and spec.planTrailer is %s: plan it with reanchor plan --live, and add a commit with the digest that it prints", snapshot.Revision(), forecast.Trailer, asked))
	}
	return "", nil
}

// lastAppliedHere is the last revision that was applied, if it is of the repository and
// branch that are read now.
func (t *turn) lastAppliedHere() string {
	applied := t.domain.Status.LastAppliedRevision
	branch, _, _ := cutRevision(applied)
	if branch != t.domain.Spec.Source.Ref.Branch || t.domain.Status.LastAttemptedSource != t.memory.lineage.source {
		return ""
	}
	return applied
}

// isAsPlanned fails unless what would be done from now on is the plan that is named.
func (t *turn) isAsPlanned(ctx context.Context, snapshot Snapshot, loaded Loaded, named string) error {
	seen, err := t.Parts.Observe(ctx, t.APIReader, t.ref(), loaded.Desired(), gatesOf(t.domain.Status))
	if err != nil {
		return failed(ReasonObserveFailed, err)
	}
	live := t.Parts.Forecast(t.forecastOf(snapshot, loaded, seen.Observed))
	switch {
	case live.Verdict == forecast.Blocked:
		return failed(ReasonPlanDiffers, fmt.Errorf("%s is not taken in: it was merged for the plan %s, and what would be done now is blocked: %s Look at it with reanchor plan --live", snapshot.Revision(), named, live.Summary))
	case live.Digest == named:
		return nil
	}
	return failed(ReasonPlanDiffers, fmt.Errorf("%s is not taken in: it was merged for the plan %s, and what would be done now is the plan %s: %s Look at it with reanchor plan --live, and add a commit with the trailer %s: %s if that is what is wanted", snapshot.Revision(), named, live.Digest, live.Summary, forecast.Trailer, live.Digest))
}

// forecastOf documents, from what the cluster holds.
func (t *turn) forecastOf(snapshot Snapshot, loaded Loaded, observed planner.Observed) forecast.Request {
	observed.Record = t.memory.observedRecord()
	request := forecast.Request{
		Folder: folderOf(t.domain.Spec), Head: forecast.Side{Revision: forecast.Revision{Name: snapshot.Revision()}, Desired: loaded.Desired()},
		Observed: &observed, Seen: t.now, Now: t.now.UTC().Truncate(time.Second), Record: observed.Record,
	}
	request.Users, request.Namespaces = loaded.Users()
	if t.memory.loaded != nil {
		request.Base.Desired = t.memory.loaded.Desired()
		request.Beside = goneSince(t.memory.loaded, request.Users)
	}
	request.Head.Fleets = t.fleets()
	request.Base.Fleets = request.Head.Fleets
	return request
}

// goneSince are the Certificates beside the documents that are there no more.
func goneSince(before Loaded, users []planner.Leaf) []forecast.Change {
	var gone []forecast.Change
	were, _ := before.Users()
	for _, leaf := range were {
		if !slices.ContainsFunc(users, func(l planner.Leaf) bool { return l.Ref == leaf.Ref }) {
			gone = append(gone, forecast.Change{Verb: simulation.Removed, Object: "Certificate " + leaf.Ref.String()})
		}
	}
	return gone
}
