package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/simulation"
)

// verbs are what a stage does, in the order in which it is told.
var verbs = []struct {
	simulation.Verb
	word   string
	colour colour
}{
	{simulation.Made, "makes", green},
	{simulation.Changed, "changes", yellow},
	{simulation.Proved, "tests", plain},
	{simulation.Reissued, "reissues", cyan},
	{simulation.Restarted, "restarts", cyan},
	{simulation.Removed, "removes", red},
}

// deed is what a stage does by one verb.
type deed struct {
	word   string
	colour colour
	groups []group
}

// deedsOf a stage. A verb that is not known is told last, as it is.
func deedsOf(s forecast.Stage) []deed {
	by := map[simulation.Verb][]forecast.Change{}
	for _, change := range s.Changes {
		by[change.Verb] = append(by[change.Verb], change)
	}
	var deeds []deed
	add := func(verb simulation.Verb, word string, c colour) {
		if done := by[verb]; len(done) > 0 {
			groups := grouped(done, func(c forecast.Change) (string, string) { return c.Object, c.What })
			deeds = append(deeds, deed{word, c, groups})
			delete(by, verb)
		}
	}
	for _, v := range verbs {
		add(v.Verb, v.word, v.colour)
	}
	for _, verb := range slices.Sorted(maps.Keys(by)) {
		add(verb, cmp.Or(clean(string(verb), 20), "does something to"), plain)
	}
	return deeds
}

// touchedAndNamed is [touched] with the first of them by name.
func touchedAndNamed(b forecast.Blast, limit int, name func(string) string) string {
	text := touched(b)
	if text == "" || len(b.Names) == 0 {
		return text
	}
	words := ", among them "
	if len(b.Names) == b.Leaves+b.Workloads+b.Devices {
		words = ": "
	}
	return text + words + some(b.Names, limit, name)
}

// touched counts who is: "3 leaves, 2 workloads in 2 namespaces".
func touched(b forecast.Blast) string {
	var parts []string
	for _, part := range []struct {
		n         int
		one, many string
	}{{b.Leaves, "leaf", "leaves"}, {b.Workloads, "workload", "workloads"}, {b.Devices, "device", "devices"}} {
		if part.n > 0 {
			parts = append(parts, counted(part.n, part.one, part.many))
		}
	}
	text := list(parts)
	switch {
	case b.Namespaces == 0:
		return text
	case text == "":
		return counted(b.Namespaces, "namespace", "namespaces")
	}
	return text + " in " + counted(b.Namespaces, "namespace", "namespaces")
}

// widest is the most that any stage touches, of each sort.
func widest(stages []forecast.Stage) forecast.Blast {
	var most forecast.Blast
	for _, s := range stages {
		most.Leaves = max(most.Leaves, s.Blast.Leaves)
		most.Workloads = max(most.Workloads, s.Blast.Workloads)
		most.Namespaces = max(most.Namespaces, s.Blast.Namespaces)
		most.Devices = max(most.Devices, s.Blast.Devices)
	}
	return most
}

// rolling says whose stage it is: "cert-manager/fleet-root 2025 → 2026".
func rolling(s forecast.Stage) string {
	switch {
	case s.From == "" && s.To == "":
		return s.Authority.String()
	case s.From == "":
		return s.Authority.String() + " → " + s.To
	case s.To == "" || s.From == s.To:
		return s.Authority.String() + " " + s.From
	}
	return s.Authority.String() + " " + s.From + " → " + s.To
}
