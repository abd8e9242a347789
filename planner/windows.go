package planner

import (
	"fmt"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Windows: what a client may notice, and what cannot be taken back, begins while one is
// open:
//
//	waits for a window                       does not
//	a workload is restarted                  a key is made, recorded, proved
//	an issuer moves to the key               bundles grow
//	leaves are reissued                      an issuer that is missing is made, or
//	                                         leaves a key that ends
//	an anchor leaves the bundles, and the    what of a key goes after that
//	key's Certificate goes
//
// What was asked for while it was open is carried to its end after it has closed.

// closed says when the next window opens; nil while one is open, or where nothing waits for
// one. Whoever asks has something to begin: the plan is looked at again when that changes.
func (c *course) closed() *Hold {
	windows := c.spec.Rollover.Windows
	if len(windows) == 0 || c.emergency {
		return nil
	}
	times := c.timetable()
	if times.problem != nil {
		return &Hold{Gate: "window", Why: fmt.Sprintf("it is not known when one opens: %s: correct spec.rollover.windows", times.problem)}
	}
	schedule := times.schedule
	if schedule.IsOpen(c.turn.now) {
		c.turn.lookAt(schedule.Closes(c.turn.now))
		return nil
	}
	opens := schedule.Opens(c.turn.now)
	if opens.IsZero() {
		return &Hold{Gate: "window", Why: "none opens within five years: correct spec.rollover.windows"}
	}
	c.turn.lookAt(opens)
	return &Hold{Gate: "window", Why: fmt.Sprintf("opens at %s (%s %s)", instant(opens), opens.Format("Monday 15:04"), opens.Location())}
}

// timetable is when an authority opens its windows: its schedule, or why that cannot be read.
type timetable struct {
	schedule v1alpha1.Schedule
	problem  error
}

// timetable is read once in a turn.
func (c *course) timetable() timetable {
	if c.times == nil {
		schedule, err := v1alpha1.NewSchedule(c.spec.Rollover.Windows, c.turn.desired.Zones)
		c.times = &timetable{schedule, err}
	}
	return *c.times
}

// never is how long is waited for a window that does not open: [v1alpha1.Schedule.Opens]
// looks no further.
const never = 5 * 365 * 24 * time.Hour

// opening is when something may begin that waits for a window, at that time or after, and
// whether it waits for one to open.
func (c *course) opening(at time.Time) (opens time.Time, waits bool) {
	times := c.timetable()
	if times.problem != nil || len(c.spec.Rollover.Windows) == 0 || c.emergency || times.schedule.IsOpen(at) {
		return at, false
	}
	if opens = times.schedule.Opens(at); opens.IsZero() {
		return at.Add(never), true
	}
	return opens, true
}

// behind puts the window before what waits for it.
func behind(window *Hold, holds []Hold) []Hold {
	if window == nil {
		return holds
	}
	return append([]Hold{*window}, holds...)
}

// mayMove says why an issuer must not leave what it signs with now; nil if it may. One whose
// key ends does not wait.
func (c *course) mayMove(issuer Issuer) *Hold {
	if at := c.keyOf(issuer); at == nil || c.isEnding(at) {
		return nil
	}
	return c.closed()
}

// retireWindow says why the key must not begin to go; nil if it may, or has begun to. What
// else holds it is in s.
func (c *course) retireWindow(k *key, s step) *Hold {
	begins := c.anchored(k) || len(k.under) == 0 && k.seen.HasCertificate
	if len(c.spec.Rollover.Windows) == 0 || !begins {
		return nil
	}
	if !c.turn.memory.remembers(c.retiring(k)) {
		if closed := c.closed(); closed != nil {
			return closed
		}
	}
	if s.done() && !c.spec.Rollover.Paused {
		c.turn.memory.hold(c.retiring(k))
	}
	return nil
}

// retiring is the gate that remembers that a key began to go while a window was open.
func (c *course) retiring(k *key) string { return fmt.Sprintf(GateRetiring+"%s %s", c.ref, k.name) }

// rememberRetiring keeps it while the key is on its way out, whatever holds it now.
func (c *course) rememberRetiring(k *key) {
	if c.turn.memory.remembers(c.retiring(k)) {
		c.turn.memory.hold(c.retiring(k))
	}
}
