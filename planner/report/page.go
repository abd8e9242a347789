package report

import (
	"cmp"
	"slices"
	"strings"
)

// Limit is the size that a comment stays below, in bytes. GitHub takes 65,536 characters;
// GitLab and Gitea take more.
const Limit = 65536

// section is a part of a page: a head, items that are kept or cut each as a whole, and a
// foot.
type section struct {
	// name and unit are what the line about cuts calls it: "deletions"; "12 of 40 stages".
	name, unit string
	// rank says in which order sections get room: 0 first.
	rank int
	head string
	// items with their line breaks.
	items []string
	foot  string
}

// text of the first items.
func (s section) text(items int) string {
	return s.head + strings.Join(s.items[:items], "") + s.foot
}

// fitting is how many items have room; -1: not even the section without any.
func (s section) fitting(room int) int {
	room -= len(s.head) + len(s.foot)
	for i, item := range s.items {
		if room -= len(item); room < 0 {
			return cmp.Or(i, -1)
		}
	}
	if room < 0 {
		return -1
	}
	return len(s.items)
}

// fit joins the sections in the order given, and leaves out what has no room in that many
// bytes. It tells what it left out: "28 of 40 stages".
func fit(sections []section, room int) (text string, cut []string) {
	kept := make([]string, len(sections))
	order := make([]int, len(sections))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sections[a].rank, sections[b].rank) })
	for _, i := range order {
		s := sections[i]
		n := s.fitting(room)
		switch {
		case n < 0:
			cut = append(cut, s.name)
			continue
		case n < len(s.items):
			cut = append(cut, number(len(s.items)-n)+" of "+number(len(s.items))+" "+s.unit)
		}
		kept[i] = s.text(n)
		room -= len(kept[i])
	}
	return strings.Join(kept, ""), cut
}

// cutLine says what was cut, and how to see it.
func cutLine(cut []string) string {
	if len(cut) == 0 {
		return ""
	}
	return "\n> **Cut to fit into a comment:** " + list(cut) + ". `reanchor plan -o table` shows all that is cut but for the diffs, `reanchor plan -o json` everything.\n"
}

// roomForCuts is kept for that line: it names every section at most once.
const roomForCuts = 1024
