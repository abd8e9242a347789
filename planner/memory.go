package planner

import (
	"cmp"
	"slices"
	"time"
)

// memory is what one turn leaves to the next: since when a gate has been seen to
// hold. A gate that is not held in a turn is forgotten, so that what is lost is
// waited for again and never skipped.
type memory struct {
	now  time.Time
	was  map[string]time.Time
	held map[string]time.Time
}

func newMemory(since []Gate, now time.Time) *memory {
	m := &memory{now: nextSecond(now), was: map[string]time.Time{}, held: map[string]time.Time{}}
	for _, gate := range since {
		m.was[gate.Name] = gate.Since
	}
	return m
}

// hold marks that the gate is seen to hold and returns since when. Times are whole
// seconds, as a status stores them, and rounded up: rounding never shortens a soak.
func (m *memory) hold(name string) time.Time {
	since, before := m.was[name]
	if !before || since.After(m.now) {
		since = m.now
	}
	m.held[name] = since
	return since
}

// begin marks that the gate is seen to hold from now on, whatever was before.
func (m *memory) begin(name string) { m.held[name] = m.now }

// remembers reports whether the gate held in the last turn.
func (m *memory) remembers(name string) bool {
	_, before := m.was[name]
	return before
}

func (m *memory) gates() []Gate {
	gates := make([]Gate, 0, len(m.held))
	for name, since := range m.held {
		gates = append(gates, Gate{Name: name, Since: since})
	}
	slices.SortFunc(gates, func(a, b Gate) int { return cmp.Compare(a.Name, b.Name) })
	return gates
}

func nextSecond(t time.Time) time.Time {
	whole := t.UTC().Truncate(time.Second)
	if whole.Before(t) {
		return whole.Add(time.Second)
	}
	return whole
}
