package report

import (
	"slices"
	"strings"

	"github.com/reanchor/reanchor/planner/forecast"
)

// group are things of which the same is to be said: of one kind, for one reason.
type group struct {
	kind, why string
	// whole are the objects, names what is left of them without their kind.
	whole, names []string
}

// gather puts together what has one key, in the order in which they come.
func gather[T any, K comparable](all []T, key func(T) K) [][]T {
	var gathered [][]T
	at := map[K]int{}
	for _, one := range all {
		i, known := at[key(one)]
		if !known {
			i = len(gathered)
			at[key(one)] = i
			gathered = append(gathered, nil)
		}
		gathered[i] = append(gathered[i], one)
	}
	return gathered
}

// grouped puts together what is of one kind and has one reason.
func grouped[T any](all []T, read func(T) (object, why string)) []group {
	var groups []group
	for _, same := range gather(all, func(one T) [2]string {
		object, why := read(one)
		kind, _ := kindOf(object)
		return [2]string{kind, why}
	}) {
		var g group
		for _, one := range same {
			object, why := read(one)
			kind, name := kindOf(object)
			g.kind, g.why, g.whole, g.names = kind, why, append(g.whole, object), append(g.names, name)
		}
		groups = append(groups, g)
	}
	return groups
}

// sameFindings differ in their subjects alone.
func sameFindings(all []forecast.Finding) [][]forecast.Finding {
	return gather(all, func(f forecast.Finding) [3]string { return [3]string{f.Rule, f.Message, f.Mend} })
}

// rulesIn tells how many findings there are, and of what.
func rulesIn(what string, all []forecast.Finding) string {
	if len(all) == 0 {
		return ""
	}
	var rules []string
	for _, one := range all {
		if rule := clean(one.Rule, longestName); !slices.Contains(rules, rule) {
			rules = append(rules, rule)
		}
	}
	return counted(len(all), what, what+"s") + " below: " + some(rules, groupsShown, prose) + "."
}

// deletionsTitle says whether it happens.
func deletionsTitle(f forecast.Forecast) string {
	if f.Verdict == forecast.Blocked {
		return "What would be deleted"
	}
	return "What is deleted"
}

// deletionGroups are the deletions of one kind with which the same goes.
func deletionGroups(all []forecast.Deletion) []group {
	return grouped(all, func(d forecast.Deletion) (string, string) { return d.Object, strings.Join(d.Cascade, "\x00") })
}

// cascade says what goes with the objects of a group.
func cascade(g group, limit int, write hand) string {
	if g.why == "" {
		return ""
	}
	each := ", and with it "
	if len(g.whole) > 1 {
		each = ", and with each of them "
	}
	return each + some(strings.Split(g.why, "\x00"), limit, func(object string) string {
		if kind, _ := kindOf(object); kind == "its" {
			return write.text(object)
		}
		return write.name(object)
	})
}

// subjectsOf names the first of such findings, each with its place.
func subjectsOf(same []forecast.Finding, limit int, name func(string) string) string {
	var subjects []string
	for i, one := range same {
		if i == limit {
			subjects = append(subjects, number(len(same)-limit)+" more")
			break
		}
		subject := name(one.Subject)
		switch {
		case strings.HasPrefix(one.Place, one.Subject+":"):
			subject = name(one.Place)
		case one.Place != "":
			subject += " (" + name(one.Place) + ")"
		}
		subjects = append(subjects, subject)
	}
	return list(subjects)
}

// sameSteps are done in one stage, and alike.
func sameSteps(all []forecast.Step) [][]forecast.Step {
	return gather(all, func(s forecast.Step) forecast.Step { return forecast.Step{Stage: s.Stage, Do: s.Do} })
}

// forWhom such steps are done.
func forWhom(same []forecast.Step, limit int, write hand) string {
	var whom []string
	for _, g := range grouped(same, func(s forecast.Step) (string, string) { return s.Subject, "" }) {
		whom = append(whom, g.told(limit, write))
	}
	return list(whom)
}

// hand writes names and other texts of documents into a page.
type hand struct{ name, text func(string) string }

// told names the first of a group: "Certificate plant/broker", "217 Certificates: plant/a, …".
func (g group) told(limit int, write hand) string {
	if len(g.whole) == 1 {
		return write.name(g.whole[0])
	}
	return number(len(g.names)) + " " + write.text(plural(g.kind)) + ": " + some(g.names, limit, write.name)
}
