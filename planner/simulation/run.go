package simulation

import (
	"fmt"
	"strings"

	"github.com/reanchor/reanchor/planner"
)

// Turn lets the neighbours act, plans, and carries the plan out: all of it, or
// under disorder any part in any order.
func (w *World) Turn() planner.Plan { return w.TurnUpTo(anyWrite) }

// anyWrite lets a turn make all its writes.
const anyWrite = -1

// TurnUpTo is a turn that ends after so many of its writes, as a crash would end it.
func (w *World) TurnUpTo(writes int) planner.Plan {
	if !w.Prompt {
		w.Now = w.Now.Add(tick)
	}
	w.neighbours()
	w.planning = true
	w.checkPairs()
	w.planning = false
	plan, seen, todo := w.planned()
	w.since, w.told = plan.Gates, plan
	w.noteBegun(plan)
	w.shakeHands(plan.Probes)
	w.noteEmergencies(plan)
	w.checkUnnamed(plan, todo)
	if len(todo) == 0 {
		w.checkQuiet(plan, seen)
	}
	w.checkStolen(plan)
	switch {
	case writes != anyWrite:
		todo = todo[:min(writes, len(todo))]
	case w.Disorder:
		w.random.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
		todo = todo[:w.random.IntN(len(todo)+1)]
	}
	w.tell(plan, todo)
	w.written, w.certified = w.certified, nil
	for _, write := range todo {
		if w.killedBefore() {
			break
		}
		write.do()
		w.written = append(w.written, write.told)
		w.checkPairs()
	}
	return plan
}

// KillAfter lets the program be killed, once, after so many more writes, and its status be
// lost. Killed reports that it was.
func (w *World) KillAfter(writes int) { w.writesLeft = &writes }

// Killed reports whether the kill that was asked for has happened.
func (w *World) Killed() bool { return w.writesLeft == nil }

// killedBefore counts a write, and reports whether the program does not live to make it.
func (w *World) killedBefore() bool {
	switch {
	case w.writesLeft == nil:
		return false
	case *w.writesLeft > 0:
		*w.writesLeft--
		return false
	}
	w.writesLeft = nil
	w.ForgetStatus()
	w.Restart()
	return true
}

// planned is the plan of a turn, what it was made from and the writes that lead to it. It is
// made from what the cache holds, and once more from the cluster itself if there is anything
// to write.
func (w *World) planned() (planner.Plan, planner.Observed, []write) {
	if w.Prompt {
		return w.plannedFrom(w.Observe())
	}
	plan, seen, todo := w.plannedFrom(w.observeStale())
	if len(todo) > 0 {
		return w.plannedFrom(w.refuse(w.Observe()))
	}
	return plan, seen, todo
}

func (w *World) plannedFrom(seen planner.Observed) (planner.Plan, planner.Observed, []write) {
	plan := planner.Next(w.Desired, seen, w.Now)
	return plan, seen, w.writes(plan)
}

// Settle takes turns until every rollover is settled and nothing is written any
// more, at most that many. It returns the log of what happened, and the first
// violation, or the reason why it does not settle.
func (w *World) Settle(turns int) (log string, err error) {
	for range turns {
		plan := w.Turn()
		if len(w.violations) > 0 {
			return w.Log(), fmt.Errorf("invariant broken at %s: %s", w.clock(), w.violations[0])
		}
		if settled(plan) && len(w.writes(plan)) == 0 {
			return w.Log(), nil
		}
	}
	return w.Log(), fmt.Errorf("not settled after %d turns:\n%s", turns, w.lastLines(12))
}

func settled(plan planner.Plan) bool {
	for _, rollover := range plan.Rollovers {
		if rollover.Phase != planner.Settled {
			return false
		}
	}
	return true
}

// Log is what happened so far, each move with its reason.
func (w *World) Log() string { return strings.Join(w.log, "\n") + "\n" }

// Say adds a line of the narrator's: what is committed, say.
func (w *World) Say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%s  == %s", w.clock(), fmt.Sprintf(format, args...)))
}

// Pending are the writes that a turn would make now.
func (w *World) Pending() []string {
	var pending []string
	for _, write := range w.writes(planner.Next(w.Desired, w.Observe(), w.Now)) {
		pending = append(pending, write.what)
	}
	return pending
}

// ForgetStatus loses the planner's memory, as a status that is gone does.
func (w *World) ForgetStatus() { w.since = nil }

// Restart starts the program anew: what it kept to itself is lost.
func (w *World) Restart() { clear(w.probed) }

func (w *World) tell(plan planner.Plan, writes []write) {
	if len(writes) == 0 || w.Prompt {
		return
	}
	for _, rollover := range plan.Rollovers {
		w.log = append(w.log, fmt.Sprintf("%s  %s", w.clock(), rollover))
		for _, hold := range rollover.Holds {
			w.log = append(w.log, "            because "+hold.String())
		}
	}
	w.tellOfLinks(plan)
	for _, write := range writes {
		w.log = append(w.log, "            does "+write.what)
	}
}

// tellOfLinks says, once, of a link that it cannot be made, or failed.
func (w *World) tellOfLinks(plan planner.Plan) {
	for _, link := range plan.Links {
		if said := link.String(); link.Why != "" && link.State != planner.LinkPending && !w.saidOfLinks[said] {
			w.saidOfLinks[said] = true
			w.log = append(w.log, "            "+said)
		}
	}
}

func (w *World) clock() string {
	elapsed := w.Now.Sub(Epoch)
	return fmt.Sprintf("%02d:%02d:%02d", int(elapsed.Hours()), int(elapsed.Minutes())%60, int(elapsed.Seconds())%60)
}

func (w *World) lastLines(n int) string {
	return strings.Join(w.log[max(0, len(w.log)-n):], "\n")
}
