package reconciler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/record"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// The reasons of events that are neither a phase nor a Ready condition's reason.
const (
	// ReasonHeld: a rollover, or the domain, waits at a gate that it did not wait at
	// before.
	ReasonHeld = "Held"
	// ReasonConflict: somebody else owns a field that the repository declares.
	ReasonConflict = "Conflict"
	// ReasonDevice: a device was refused a certificate, or its file cannot be used.
	ReasonDevice = "DeviceFailed"
	// ReasonWarning: the documents or their manifests hold what is allowed and yet
	// unwise.
	ReasonWarning = "Warning"
)

// maxEvent bounds an event's message, in bytes; the API refuses more than 1024.
const maxEvent = 1000

// annotationRevision carries the revision to notification-controller.
const annotationRevision = "reanchor.dev/revision"

// happening is something that is told once, when it happens.
type happening struct {
	warning bool
	reason  string
	message string
}

// tell sends the event.
func (h happening) tell(events record.EventRecorder, domain *v1alpha1.TrustDomain, revision string) {
	kind := corev1.EventTypeNormal
	if h.warning {
		kind = corev1.EventTypeWarning
	}
	var annotations map[string]string
	if revision != "" {
		annotations = map[string]string{annotationRevision: revision}
	}
	events.AnnotatedEventf(domain, annotations, kind, h.reason, "%s", cut(h.message, maxEvent))
}

// happenings of a turn that ended with err: what is other than in the status of
// before it. Nothing is told twice, not even after a restart.
func happenings(before v1alpha1.TrustDomainStatus, t *turn, err error) []happening {
	var all []happening
	if t.plan != nil {
		unharmed := apimeta.IsStatusConditionTrue(before.Conditions, meta.ReadyCondition)
		for _, rollover := range t.plan.Rollovers {
			all = append(all, moves(before, rollover)...)
			old, _ := rolloverOf(before.Rollovers, rollover.Authority.String())
			all = append(all, alarms(rollover.Authority.String()+": ", old.Holds, unharmed, rollover.Holds)...)
		}
		all = append(all, waits("", before.Holds, t.plan.Holds)...)
		all = append(all, alarms("", before.Holds, unharmed, t.plan.Holds)...)
	}
	if warnings := slices.Concat(t.warnings, t.unwise); len(warnings) > 0 && t.revision != "" && before.LastAttemptedRevision != t.revision {
		all = append(all, happening{reason: ReasonWarning, message: list(warnings)})
	}
	if after := t.domain.Status.Devices; after != nil {
		for _, problem := range after.Problems {
			if before.Devices == nil || !slices.Contains(before.Devices.Problems, problem) {
				all = append(all, happening{warning: true, reason: ReasonDevice, message: problem})
			}
		}
	}
	if wrote := written(t); wrote != "" {
		all = append(all, happening{reason: meta.ReconciliationSucceededReason, message: wrote + ", from " + t.memory.loadedRevision()})
	}
	if err != nil {
		all = append(all, fails(before, t, err)...)
	}
	return all
}

// moves tells of a rollover's new phase, and of gates that it did not wait at
// before.
func moves(before v1alpha1.TrustDomainStatus, rollover planner.Rollover) []happening {
	var all []happening
	old, known := rolloverOf(before.Rollovers, rollover.Authority.String())
	if !known || old.Phase != string(rollover.Phase) || old.To != rollover.To {
		all = append(all, happening{reason: string(rollover.Phase), message: rollover.String()})
		old.Holds = nil
	}
	return append(all, waits(rollover.Authority.String()+": ", old.Holds, rollover.Holds)...)
}

// waits tells of gates that were not waited at before, by those whom prefix names.
// Gates, not objects: 500 copies that come in one by one are one event. What could
// not be read is told by the turn's failure.
func waits(prefix string, before []string, holds []planner.Hold) []happening {
	told := map[string]bool{planner.GateUnknown: true}
	var all []happening
	for _, hold := range listed(holds) {
		if hold.Alarm || told[hold.Gate] || slices.ContainsFunc(before, func(h string) bool { return strings.HasPrefix(h, hold.Gate+":") }) {
			continue
		}
		told[hold.Gate] = true
		all = append(all, happening{reason: ReasonHeld, message: prefix + hold.String()})
	}
	return all
}

// alarms tells of what puts trust at risk and did not before, one by one: a second key
// that was changed is no less news than the first. Where the domain was unharmed, all
// of it is news, though the same hold may have been there without an alarm.
func alarms(prefix string, before []string, unharmed bool, holds []planner.Hold) []happening {
	var all []happening
	for _, hold := range listed(holds) {
		about := planner.Hold{Gate: hold.Gate, Subject: hold.Subject}.String()
		known := slices.ContainsFunc(before, func(h string) bool { return strings.HasPrefix(h, about) })
		if hold.Alarm && (unharmed || !known) {
			all = append(all, happening{warning: true, reason: ReasonTrustAtRisk, message: prefix + hold.String()})
		}
	}
	return all
}

// written says what was applied, pruned, let go of, done and recorded; empty if nothing was.
func written(t *turn) string {
	var parts []string
	for _, wrote := range []struct {
		how  string
		what []string
	}{{"applied", t.result.Applied}, {"pruned", t.result.Pruned}, {"let go of what was adopted", t.result.Released}, {"ran", words(t.acted)}, {"recorded", t.recorded}} {
		if len(wrote.what) > 0 {
			parts = append(parts, fmt.Sprintf("%s %d: %s", wrote.how, len(wrote.what), list(wrote.what)))
		}
	}
	return strings.Join(parts, ", ")
}

// fails tells of a failure, unless the status already says the same. Of a network that
// fails the reason is enough: its words differ from turn to turn.
func fails(before v1alpha1.TrustDomainStatus, t *turn, err error) []happening {
	reason, message := reasonOf(err), failureMessage(t, err)
	ready := apimeta.FindStatusCondition(before.Conditions, meta.ReadyCondition)
	if ready != nil && ready.Reason == reason && (ready.Message == cut(message, maxMessage) || slices.Contains(wordy, reason)) {
		return nil
	}
	if len(t.result.Conflicts) > 0 {
		reason = ReasonConflict
	}
	return []happening{{warning: true, reason: reason, message: message}}
}
