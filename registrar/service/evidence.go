package service

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
)

// EvidenceOptions of [NewEvidence]; zero numbers have the defaults that they name.
type EvidenceOptions struct {
	Applier *applier.Applier
	Cluster *Cluster
	Git     *Git
	// Every is how often what was collected is written; default two seconds. Batch is how
	// many annotations at once; default 200, so that a fleet which comes back after an outage
	// leaves the API server room.
	Every time.Duration
	Batch int
	// Fresh is how old what is written may be before a device that has nothing new to show is
	// noted as seen again; default an hour.
	Fresh time.Duration
	// Room is for how many devices something may wait to be written; default 100,000.
	Room int
	// Failed is told of what could not be written and is tried again.
	Failed func(error)
}

func (o EvidenceOptions) orDefaults() EvidenceOptions {
	if o.Every <= 0 {
		o.Every = 2 * time.Second
	}
	if o.Batch <= 0 {
		o.Batch = 200
	}
	if o.Fresh <= 0 {
		o.Fresh = time.Hour
	}
	if o.Room <= 0 {
		o.Room = 100_000
	}
	return o
}

// Evidence collects what devices show of themselves, and writes it on their objects in the
// cluster, where the device lane counts it. A device that shows what it has shown before costs
// one write an hour.
type Evidence struct {
	options EvidenceOptions
	mutex   sync.Mutex
	waits   map[device]shown
	// outdated is the version of an object that somebody else has written on, or deleted,
	// before the watch has told of it: until it tells of another, the device waits.
	outdated map[device]string
}

// shown is what a device has shown since it was written down last.
type shown struct {
	inventory.Confirmation
	// whole: the anchors are all that it trusts; else it trusts them besides others.
	whole bool
}

// NewEvidence collects at once; [Evidence.Run] writes.
func NewEvidence(options EvidenceOptions) *Evidence {
	return &Evidence{options: options.orDefaults(), waits: map[device]shown{}, outdated: map[device]string{}}
}

// errNoRoom refuses what cannot be kept.
var errNoRoom = errors.New("what too many devices have shown waits to be written: see that the API server takes annotations")

// Record is [registrar.Recorder]'s.
func (e *Evidence) Record(evidence registrar.Evidence) error {
	now := e.shownBy(evidence)
	if now.IsZero() {
		return nil
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	whose := device{evidence.Group, evidence.ID}
	before, known := e.waits[whose]
	if !known && len(e.waits) >= e.options.Room {
		return errNoRoom
	}
	e.waits[whose] = now.after(before)
	return nil
}

// shownBy a request. Annotations tell time in seconds.
func (e *Evidence) shownBy(evidence registrar.Evidence) shown {
	var s shown
	if evidence.Credential == admission.Operational && !evidence.Presented.IsZero() {
		s.Presented, s.PresentedUntil, s.Seen = evidence.Presented.Fingerprint(), evidence.Presented.NotAfter(), evidence.At
	}
	if len(evidence.Trusts) > 0 {
		s.Anchors, s.At = evidence.Trusts, evidence.At
		s.whole = e.isWhole(evidence.Group, evidence.Trusts)
	}
	return s
}

// isWhole reports whether anchors are all that a group's devices shall trust: then a device has
// confirmed the bundle, and what is not in it, it trusts no more. Who has proved an anchor by
// a handshake may trust others besides.
func (e *Evidence) isWhole(group string, trusts []pki.Fingerprint) bool {
	fleet, err := e.options.Git.Fleet()
	if err != nil {
		return false
	}
	for _, anchor := range fleet.Trust(group).Anchors {
		if !slices.Contains(trusts, anchor.Fingerprint()) {
			return false
		}
	}
	return true
}

// after is what was shown before and now. What another process has written down meanwhile may
// be the later word of the two.
func (s shown) after(before shown) shown {
	next := shown{Confirmation: before.With(s.Confirmation), whole: before.whole}
	if s.At.IsZero() || before.At.After(s.At) {
		return next
	}
	if s.whole {
		next.Anchors, next.whole = s.Anchors, true
	} else {
		next.Anchors = slices.Concat(before.Anchors, s.Anchors)
	}
	return next
}

// Run writes until ctx ends, and then once more what it can.
func (e *Evidence) Run(ctx context.Context) {
	ticker := time.NewTicker(e.options.Every)
	defer ticker.Stop()
	var now time.Time
	for {
		select {
		case now = <-ticker.C:
			e.write(ctx, now)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.options.Every)
			defer cancel()
			e.write(last, now.Add(e.options.Every))
			return
		}
	}
}

// write a batch. What fails is written with the next one; what is gone, or not there yet,
// waits for the device's next object, and what another process was first to write on, for the
// watch to tell what that has written: it is merged with that then.
func (e *Evidence) write(ctx context.Context, now time.Time) {
	taken := e.take(now)
	if len(taken) == 0 {
		return
	}
	var changes applier.DeviceChanges
	for _, one := range taken {
		changes.Confirm = append(changes.Confirm, one.change)
	}
	result, err := e.options.Applier.ChangeDevices(ctx, e.options.Cluster.domain, changes)
	for _, at := range result.Outdated {
		taken[at].outdated = true
	}
	e.putBack(taken, err != nil)
	if err != nil && e.options.Failed != nil && ctx.Err() == nil { // else the last batch is still to come
		e.options.Failed(err)
	}
}

// putBack what is to be written again: what was outdated, or all.
func (e *Evidence) putBack(taken []*taken, all bool) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for _, one := range taken {
		if all || one.outdated {
			e.waits[one.whose] = e.waits[one.whose].after(one.shown)
		}
		if one.outdated {
			e.outdated[one.whose] = one.change.ResourceVersion
		}
	}
}

// taken is what is being written of a device.
type taken struct {
	whose  device
	shown  shown
	change applier.Confirmed
	// outdated: the object was no more as it was read.
	outdated bool
}

// take what is to be written now, and leave what has to wait.
func (e *Evidence) take(at time.Time) []*taken {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	var all []*taken
	for whose, now := range e.waits {
		if len(all) == e.options.Batch {
			break
		}
		if last := now.Last(); last.After(at) {
			at = last
		}
		known, on, there := e.options.Cluster.lane.Known(whose.group, whose.id, at)
		if outdated, is := e.outdated[whose]; !there || is && on.ResourceVersion == outdated {
			continue
		}
		delete(e.waits, whose)
		delete(e.outdated, whose)
		if next := now.after(shown{Confirmation: known}); e.isNews(known, next.Confirmation) {
			on.Text = next.String()
			all = append(all, &taken{whose: whose, shown: now, change: applier.Confirmed(on)})
		}
	}
	return all
}

// isNews reports whether more is known than before, or the same for a while.
func (e *Evidence) isNews(before, now inventory.Confirmation) bool {
	same := before.Presented == now.Presented && inventory.Confirmation{Anchors: before.Anchors}.String() == inventory.Confirmation{Anchors: now.Anchors}.String()
	return !same || now.Last().Sub(before.Last()) >= e.options.Fresh
}
