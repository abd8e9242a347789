package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
)

// lanes are the device lanes of all domains. The watches tell them of objects, whether or
// not a domain has had a turn yet.
type lanes struct {
	mu       sync.Mutex
	byDomain map[planner.Ref]*inventory.Lane
	// synced report that the watches have told of all that there was; none: nothing is
	// watched, as in tests.
	synced []func() bool
}

// of a domain, made when it is asked for first.
func (l *lanes) of(domain planner.Ref) *inventory.Lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byDomain == nil {
		l.byDomain = map[planner.Ref]*inventory.Lane{}
	}
	if l.byDomain[domain] == nil {
		l.byDomain[domain] = inventory.NewLane()
	}
	return l.byDomain[domain]
}

// haveSeenAll reports whether what the lanes have seen is all that there is.
func (l *lanes) haveSeenAll() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.ContainsFunc(l.synced, func(synced func() bool) bool { return !synced() })
}

// watch has the manager's cache tell the lanes of the objects of devices.
func (l *lanes) watch(ctx context.Context, mgr ctrl.Manager) error {
	for _, kind := range []client.Object{&certmanager.CertificateRequest{}, &certmanager.Certificate{}} {
		informer, err := mgr.GetCache().GetInformer(ctx, kind)
		if err != nil {
			return fmt.Errorf("watch the objects of devices: %w", err)
		}
		registered, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    l.see,
			UpdateFunc: func(before, after any) { l.moved(before, after) },
			DeleteFunc: l.forget,
		})
		if err != nil {
			return fmt.Errorf("watch the objects of devices: %w", err)
		}
		l.synced = append(l.synced, registered.HasSynced)
	}
	return nil
}

func (l *lanes) see(seen any) {
	if object, is := seen.(client.Object); is {
		if domain, _, _, is := inventory.Of(object); is {
			l.of(domain).See(object)
		}
	}
}

func (l *lanes) moved(before, after any) {
	old, _ := before.(client.Object)
	current, is := after.(client.Object)
	if !is {
		return
	}
	was, _, _, had := inventory.Of(old)
	if now, _, _, has := inventory.Of(current); had && (!has || now != was) {
		l.of(was).Forget(old)
	}
	l.see(after)
}

func (l *lanes) forget(gone any) {
	if unknown, is := gone.(cache.DeletedFinalStateUnknown); is {
		gone = unknown.Obj
	}
	if object, is := gone.(client.Object); is {
		if domain, _, _, is := inventory.Of(object); is {
			l.of(domain).Forget(object)
		}
	}
}

// lane of the turn's domain.
func (t *turn) lane() *inventory.Lane { return t.lanes.of(t.ref()) }

// readDevices takes in the devices that Git lists: on the record's branch, if that is
// another, for there registrations are written. What is wrong with one keeps nobody else
// back.
func (t *turn) readDevices(loaded Loaded) error {
	snapshot := t.heads.source
	if t.heads.record != nil {
		snapshot = t.heads.record
	}
	folder := folderOf(t.domain.Spec)
	read, err := inventory.Read(snapshot.FS(), folder, loaded.Desired().Groups, t.lane().Listed())
	if err != nil {
		return failed(ReasonBuildFailed, fmt.Errorf("%s: %w", snapshot.Revision(), err))
	}
	t.lane().List(read, folder)
	return nil
}

// countDevices adds to what was observed how far the devices are.
func (t *turn) countDevices(desired planner.Desired, observed *planner.Observed) {
	if len(desired.Groups) == 0 && t.lane().IsEmpty() {
		return
	}
	if !t.lanes.haveSeenAll() {
		observed.Unknown = append(observed.Unknown, planner.Unknown{Subject: "devices", Why: "the watch of their CertificateRequests has not told of all of them yet; the next turn looks again"})
		return
	}
	observed.Ledger = t.lane().Ledger(desired, inventory.KnownKeys(desired, *observed), t.now)
}

// workOn works out what is to be done for the devices by a plan.
func (t *turn) workOn(loaded Loaded, plan planner.Plan) error {
	t.work = inventory.Work{}
	groups := loaded.Desired().Groups
	lane := t.lane()
	if len(groups) == 0 && lane.IsEmpty() {
		return nil
	}
	templates, err := loaded.Templates(plan.Target, t.ref())
	if err != nil {
		return failed(ReasonBuildFailed, err)
	}
	lane.Obey(inventory.Rules(groups, plan.Target.DeviceRules, templates, inventory.KnownKeys(loaded.Desired(), t.observed)))
	t.work = lane.Work(t.now)
	if !t.domain.Spec.Prune || t.keeping {
		t.work.Remove, t.work.Discard, t.work.Leaving = nil, nil, 0
	}
	return nil
}

// tend carries the work out.
func (t *turn) tend(ctx context.Context) error {
	if t.work.Idle() {
		return nil
	}
	cluster, err := t.cluster()
	if err != nil {
		return err
	}
	result, err := cluster.Devices(ctx, t.ref(), t.work)
	for at, why := range result.Refused {
		t.lane().Refuse(t.work.Apply[at], why, t.now)
	}
	for at, why := range result.Forbidden {
		t.lane().Keep(t.work.Discard[at], why, t.now)
	}
	if len(result.Refused)+len(result.Forbidden) > 0 {
		after := t.lane().Work(t.now)
		t.work.States, t.work.Failed, t.work.Kept = after.States, after.Failed, after.Kept
	}
	if err != nil {
		return t.notWritten(err)
	}
	return t.reissueDevices(ctx, cluster)
}

// reissueDevices asks for certificates of which cert-manager makes the keys.
func (t *turn) reissueDevices(ctx context.Context, cluster Cluster) error {
	var actions []planner.Action
	for _, reissue := range t.work.Reissue {
		actions = append(actions, planner.Action{Kind: planner.ActionReissue, Subject: reissue.Certificate, Why: reissue.Why})
	}
	if len(actions) == 0 {
		return nil
	}
	if _, err := cluster.Act(ctx, t.ref(), actions, t.now); err != nil {
		return t.notWritten(err)
	}
	return nil
}

// devicesStatus counts the devices; nil where Git declares no group.
func (t *turn) devicesStatus() *v1alpha1.DeviceCounts {
	if t.memory.loaded == nil || len(t.memory.loaded.Desired().Groups) == 0 {
		return nil
	}
	var counts v1alpha1.DeviceCounts
	listed := t.lane().Listed()
	for _, group := range listed.Count() {
		counts.Active += group.Active
		counts.Blocked += group.Blocked
		counts.Retired += group.Retired
	}
	counts.Issued, counts.Pending = t.work.States[inventory.StateIssued], t.work.States[inventory.StatePending]
	counts.Waiting, counts.Failed = t.work.States[inventory.StateWaiting], t.work.States[inventory.StateFailed]
	problems := listed.Problems()
	counts.Unusable = len(problems)
	if kept := t.work.Kept; len(kept) > 0 {
		counts.Problems = append(counts.Problems, cut(toldOf(kept), maxMessage))
	}
	for _, failure := range t.work.Failed {
		counts.Problems = append(counts.Problems, cut("Device "+failure.Device+": "+failure.Why, maxMessage))
	}
	for _, problem := range problems {
		counts.Problems = append(counts.Problems, cut(problem.Error(), maxMessage))
	}
	counts.Problems = counts.Problems[:min(len(counts.Problems), maxListed)]
	return &counts
}

// toldOf what nobody needs and nobody may delete: the first, and how many more.
func toldOf(kept []inventory.Kept) string {
	stays := " stays"
	if more := len(kept) - 1; more > 0 {
		stays = fmt.Sprintf(" and %d more stay", more)
	}
	return kept[0].Object + stays + ", where no device's objects are made any more: " + kept[0].Why
}

// fleets are the devices that Git lists, as a forecast takes them.
func (t *turn) fleets() []forecast.Fleet {
	var fleets []forecast.Fleet
	for group, counts := range t.lane().Listed().Count() {
		fleets = append(fleets, forecast.Fleet{Group: group, Active: counts.Active, Blocked: counts.Blocked, Retired: counts.Retired})
	}
	slices.SortFunc(fleets, func(a, b forecast.Fleet) int { return cmp.Compare(a.Group, b.Group) })
	return fleets
}
