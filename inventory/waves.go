package inventory

import (
	"time"

	"github.com/reanchor/reanchor/planner"
)

// rank gives the active devices of some groups their places in the order of waves, which
// follows from their ids alone: one that comes or goes moves none past another.
func (l *Lane) rank(ranks func(group string) bool, now time.Time) {
	byGroup := map[string][]name{}
	for of, m := range l.members {
		if ranks(of.group) && m.isActive(now) {
			byGroup[of.group] = append(byGroup[of.group], of)
		}
	}
	for _, devices := range byGroup {
		ids := make([]string, len(devices))
		for i, of := range devices {
			ids[i] = of.id
		}
		for i, rank := range planner.WaveRanks(ids) {
			m := l.members[devices[i]]
			m.rank, m.of = rank, len(devices)
		}
	}
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
