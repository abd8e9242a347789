package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
)

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
