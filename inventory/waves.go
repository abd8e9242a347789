package inventory

import (
	"slices"
	"time"

	"github.com/reanchor/reanchor/planner"
)

// ranking tells which devices of a group have their places: those that have its number, and
// how many they are.
type ranking struct{ number, of int }

// rank gives the active devices of some groups their places in the order of waves, which
// follows from their ids alone: one that comes or goes moves none past another. A group in
// which none has come or gone is as it was.
func (l *Lane) rank(ranks func(group string) bool, now time.Time) {
	byGroup := map[string][]name{}
	for of, m := range l.members {
		if ranks(of.group) && m.isActive(now) {
			byGroup[of.group] = append(byGroup[of.group], of)
		}
	}
	for group, devices := range byGroup {
		if l.isRanked(group, devices) {
			continue
		}
		next := ranking{number: l.rankings[group].number + 1, of: len(devices)}
		l.rankings[group] = next
		ids := make([]string, len(devices))
		for i, of := range devices {
			ids[i] = of.id
		}
		for i, rank := range planner.WaveRanks(ids) {
			m := l.members[devices[i]]
			m.rank, m.of, m.ranking = rank, next.of, next.number
		}
	}
}

// isRanked reports whether these are the devices that the group's ranking was made of.
func (l *Lane) isRanked(group string, devices []name) bool {
	known := l.rankings[group]
	return known.number > 0 && known.of == len(devices) && !slices.ContainsFunc(devices, func(of name) bool {
		return l.members[of].ranking != known.number
	})
}

// queue finds who is not in turn yet by the rules.
func (l *Lane) queue(now time.Time) {
	l.rank(func(group string) bool { return l.rules[group].Later > 0 }, now)
	for of, m := range l.members {
		later := l.rules[of.group].Later
		waits := later > 0 && !planner.InWave(m.rank, m.of, 100-later)
		m.changed = m.changed || waits != m.waits
		m.waits = waits
	}
}
