package reconciler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// maxMessage bounds a condition's message, in bytes; the API refuses more than
// 32768.
const maxMessage = 4096

// statusAfter is a domain's status after a turn that ended with err.
func statusAfter(t *turn, err error) v1alpha1.TrustDomainStatus {
	status := *t.domain.Status.DeepCopy()
	status.ObservedGeneration = t.domain.Generation
	if requestedAt, asked := meta.ReconcileAnnotationValue(t.domain.Annotations); asked {
		status.LastHandledReconcileAt = requestedAt
	}
	t.setLineage(&status)
	if t.revision != "" {
		status.Signer = t.signer
	}
	if err == nil {
		status.LastAppliedRevision = t.applied
	}
	if t.kinds != nil {
		status.Kinds = t.kinds
	}
	if t.memory.letIn != nil {
		status.Plan = t.memory.letIn
	}
	if t.plan != nil {
		status.Gates = withoutIdle(storedGates(t.plan.Gates), status.Gates, t.acted, t.wrote())
		status.Rollovers = rolloverStatuses(status.Rollovers, t.plan.Rollovers, t.now)
		status.Holds = heldWords(t.plan.Holds)
	}
	if t.work.States != nil {
		status.Devices = t.devicesStatus()
	}
	setConditions(&status, t, err)
	return status
}

// setLineage says which heads were read last, and of what, so that they are followed after a
// restart too.
func (t *turn) setLineage(status *v1alpha1.TrustDomainStatus) {
	branch, record := t.domain.Spec.Source.Ref.Branch, recordBranchOf(t.domain.Spec)
	status.LastAttemptedRevision, status.LastRecordRevision = t.memory.lineage.heads[branch], ""
	if record != branch {
		status.LastRecordRevision = t.memory.lineage.heads[record]
	}
	status.LastAttemptedSource, status.LastAcceptedRevision = t.memory.lineage.source, t.answered()
}

// setConditions says where the domain stands, as the table in the package's
// comment has it.
func setConditions(status *v1alpha1.TrustDomainStatus, t *turn, err error) {
	conditions := conditionsAfter(t, err)
	for i := range conditions {
		conditions[i].ObservedGeneration = t.domain.Generation
		conditions[i].LastTransitionTime = metav1.Time{Time: t.now.Truncate(time.Second)}
		conditions[i].Message = cut(conditions[i].Message, maxMessage)
		apimeta.SetStatusCondition(&status.Conditions, conditions[i])
	}
	status.Conditions = slices.DeleteFunc(status.Conditions, func(old metav1.Condition) bool {
		return !slices.ContainsFunc(conditions, func(c metav1.Condition) bool { return c.Type == old.Type })
	})
}

// conditionsAfter are the conditions that are True or Ready.
func conditionsAfter(t *turn, err error) []metav1.Condition {
	if err == nil {
		return succeededConditions(t)
	}
	reason, message := reasonOf(err), failureMessage(t, err)
	ready := metav1.Condition{Type: meta.ReadyCondition, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	if stalls(reason) {
		return []metav1.Condition{ready, {Type: meta.StalledCondition, Status: metav1.ConditionTrue, Reason: reason, Message: message}}
	}
	return []metav1.Condition{ready, {
		Type: meta.ReconcilingCondition, Status: metav1.ConditionTrue, Reason: meta.ProgressingWithRetryReason,
		Message: fmt.Sprintf("The last turn failed; the next is tried after %s", retryIntervalOf(t.domain.Spec)),
	}}
}

func succeededConditions(t *turn) []metav1.Condition {
	ready := metav1.Condition{
		Type: meta.ReadyCondition, Status: metav1.ConditionTrue, Reason: meta.ReconciliationSucceededReason,
		Message: "Applied revision " + t.applied,
	}
	underWay := rollingOver(t.plan.Rollovers)
	var short []string
	for _, rollover := range underWay {
		short = append(short, fmt.Sprintf("%s %s", rollover.Authority, rollover.Phase))
	}
	if len(short) > 0 {
		ready.Message += "; under way: " + list(short)
	}
	ready.Message += holding(t.plan.Holds)
	if risks := atRisk(*t.plan); len(risks) > 0 {
		ready.Status, ready.Reason = metav1.ConditionFalse, ReasonTrustAtRisk
		ready.Message = fmt.Sprintf("Trust is at risk: %s; applied revision %s", list(words(risks)), t.applied)
	}
	if len(underWay) == 0 {
		return []metav1.Condition{ready}
	}
	return []metav1.Condition{ready, {
		Type: meta.ReconcilingCondition, Status: metav1.ConditionTrue, Reason: meta.ProgressingReason, Message: list(words(underWay)),
	}}
}

// atRisk picks a plan's holds that tell of a risk, not only of a wait.
func atRisk(plan planner.Plan) []planner.Hold {
	return slices.DeleteFunc(allHolds(plan), func(h planner.Hold) bool { return !h.Alarm })
}

// holding tells of the holds that are no single authority's; empty if there are
// none.
func holding(holds []planner.Hold) string {
	switch len(holds) {
	case 0:
		return ""
	case 1:
		return "; 1 hold: " + holds[0].String()
	}
	return fmt.Sprintf("; %d holds: %s", len(holds), list(words(holds)))
}

// failureMessage is an error, and what stands in spite of it. Of a server's words those
// that the status has stay while the new ones differ in their numbers alone.
func failureMessage(t *turn, err error) string {
	message := strings.ReplaceAll(err.Error(), "\n", "; ")
	if t.standing != "" {
		message = fmt.Sprintf("%s; revision %s stays in force", message, t.standing)
	}
	ready := apimeta.FindStatusCondition(t.domain.Status.Conditions, meta.ReadyCondition)
	if ready != nil && ready.Reason == reasonOf(err) && slices.Contains(wordy, ready.Reason) && alike(ready.Message, cut(message, maxMessage)) {
		return ready.Message
	}
	return message
}

// rollingOver picks the rollovers that are not at rest.
func rollingOver(rollovers []planner.Rollover) []planner.Rollover {
	return slices.DeleteFunc(slices.Clone(rollovers), func(r planner.Rollover) bool { return r.Phase == planner.Settled })
}

// rolloverStatuses words the rollovers. One that the planner gives no time for
// keeps the time of before for as long as its phase and goal are the same.
func rolloverStatuses(before []v1alpha1.RolloverStatus, rollovers []planner.Rollover, now time.Time) []v1alpha1.RolloverStatus {
	var after []v1alpha1.RolloverStatus
	for _, rollover := range rollovers {
		status := v1alpha1.RolloverStatus{
			Authority: rollover.Authority.String(), From: rollover.From, To: rollover.To,
			Phase: string(rollover.Phase), Progress: cut(rollover.Progress, maxMessage),
		}
		status.Since = metav1.Time{Time: sinceOf(before, status, rollover.Since, now).Truncate(time.Second)}
		status.Holds = heldWords(rollover.Holds)
		after = append(after, status)
	}
	slices.SortFunc(after, func(a, b v1alpha1.RolloverStatus) int { return cmp.Compare(a.Authority, b.Authority) })
	return after
}

// allHolds of a plan: those of its rollovers, and those that are no single
// authority's.
func allHolds(plan planner.Plan) []planner.Hold {
	var holds []planner.Hold
	for _, rollover := range plan.Rollovers {
		holds = append(holds, rollover.Holds...)
	}
	return append(holds, plan.Holds...)
}

// listed are the first ten of holds; those that tell of a risk come before the others.
func listed(holds []planner.Hold) []planner.Hold {
	first := slices.SortedStableFunc(slices.Values(holds), func(a, b planner.Hold) int {
		switch {
		case a.Alarm == b.Alarm:
			return 0
		case a.Alarm:
			return -1
		}
		return 1
	})
	return first[:min(len(first), maxListed)]
}

// heldWords are the holds that the status lists, in their words.
func heldWords(holds []planner.Hold) []string {
	var held []string
	for _, hold := range listed(holds) {
		held = append(held, cut(hold.String(), maxMessage))
	}
	return held
}

func sinceOf(before []v1alpha1.RolloverStatus, status v1alpha1.RolloverStatus, planned, now time.Time) time.Time {
	if !planned.IsZero() {
		return planned
	}
	if old, ok := rolloverOf(before, status.Authority); ok && old.Phase == status.Phase && old.To == status.To {
		return old.Since.Time
	}
	return now
}

func rolloverOf(rollovers []v1alpha1.RolloverStatus, authority string) (v1alpha1.RolloverStatus, bool) {
	i := slices.IndexFunc(rollovers, func(r v1alpha1.RolloverStatus) bool { return r.Authority == authority })
	if i < 0 {
		return v1alpha1.RolloverStatus{}, false
	}
	return rollovers[i], true
}

// gatesOf a status, as the planner takes them.
func gatesOf(status v1alpha1.TrustDomainStatus) []planner.Gate {
	var gates []planner.Gate
	for _, gate := range status.Gates {
		gates = append(gates, planner.Gate{Name: gate.Name, Since: gate.Since.UTC()})
	}
	return gates
}

// storedGates are the planner's gates as the status holds them: in whole seconds,
// rounded up, so that no soak is cut short by the rounding.
func storedGates(gates []planner.Gate) []v1alpha1.Gate {
	var stored []v1alpha1.Gate
	for _, gate := range gates {
		since := gate.Since.Truncate(time.Second)
		if since.Before(gate.Since) {
			since = since.Add(time.Second)
		}
		stored = append(stored, v1alpha1.Gate{Name: gate.Name, Since: metav1.Time{Time: since}})
	}
	slices.SortFunc(stored, func(a, b v1alpha1.Gate) int { return cmp.Compare(a.Name, b.Name) })
	return stored
}

// withoutIdle drops the gates of what a plan meant to begin and that was not: restarts that
// were not asked for, whose time to show in the pod template has not begun, and keys of which
// nothing was taken out. Those of earlier turns stay.
func withoutIdle(gates, before []v1alpha1.Gate, acted []planner.Action, wrote bool) []v1alpha1.Gate {
	return slices.DeleteFunc(gates, func(gate v1alpha1.Gate) bool {
		stood := slices.ContainsFunc(before, func(b v1alpha1.Gate) bool { return b.Name == gate.Name && b.Since.Equal(&gate.Since) })
		asked := slices.ContainsFunc(acted, func(a planner.Action) bool {
			return a.Kind == planner.ActionRestart && strings.HasPrefix(gate.Name, fmt.Sprintf("%s%s %s ", planner.GateRestart, a.Workload, a.Subject))
		})
		return !stood && (strings.HasPrefix(gate.Name, planner.GateRestart) && !asked || strings.HasPrefix(gate.Name, planner.GateRetiring) && !wrote)
	})
}

// wrote reports whether the plan's target was written, or some of it.
func (t *turn) wrote() bool { return t.applied != "" || len(t.result.Applied)+len(t.result.Pruned) > 0 }

// withKindsOf adds the kinds of manifests to kinds, sorted, each once.
func withKindsOf(kinds []string, manifests []*unstructured.Unstructured) []string {
	all := slices.Clone(kinds)
	for _, manifest := range manifests {
		all = append(all, KindName(manifest.GroupVersionKind()))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// KindName writes a kind as status.kinds does: group/version/Kind, version/Kind in
// the core group.
func KindName(kind schema.GroupVersionKind) string {
	return strings.TrimPrefix(kind.GroupVersion().String()+"/"+kind.Kind, "/")
}

// cut shortens a message to at most size bytes, at a rune's edge.
func cut(message string, size int) string {
	if len(message) <= size {
		return message
	}
	return strings.ToValidUTF8(message[:size-len("…")], "") + "…"
}
