package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/simulation"
)

// verdict is what a page says of one.
type verdict struct {
	// Title of the page, with a Sign before it where there are such; Advice is what to do.
	title, sign, advice string
	colour              colour
}

var verdicts = map[forecast.Verdict]verdict{
	forecast.Nothing:   {"Nothing to do", "✅", "The cluster stays as it is, merged or not.", green},
	forecast.Safe:      {"Safe to merge", "✅", "Merge it if the stages are what you want.", green},
	forecast.Waits:     {"Safe to merge, but it will wait for somebody", "⏸️", "Merge it if the stages are what you want, and have somebody ready for the steps by hand.", yellow},
	forecast.DropsSome: {"Emergency", "⚠️", "Merge it at once if the key is stolen; who is hit, and who goes on trusting the thief, is named below.", red},
	forecast.Blocked:   {"Do not merge", "⛔", "Mend what blocks it first. The next push makes the plan anew.", red},
}

func verdictOf(f forecast.Forecast) verdict {
	if known, found := verdicts[f.Verdict]; found {
		return known
	}
	return verdict{title: "Verdict " + clean(string(f.Verdict), 20), sign: "❔", advice: "This verdict is newer than the program that printed it.", colour: yellow}
}

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

// folderName is what a domain's folder is called.
func folderName(folder string) string {
	if folder == "" || folder == "." {
		return "the whole repository"
	}
	return folder
}

// number is 50,000.
func number(n int) string {
	digits := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// counted is "1 leaf" or "2 leaves".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// duration is how people write one: 10m, 24h, 30 days.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return number(int(d/day)) + " days"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// moment is a time, and date a day, in UTC.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
func date(t time.Time) string   { return t.UTC().Format(time.DateOnly) }

// list is "a, b and c".
func list(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// some names the first of several: "a, b and 212 more".
func some(names []string, limit int, write func(string) string) string {
	var parts []string
	for i, name := range names {
		if i == limit {
			parts = append(parts, number(len(names)-limit)+" more")
			break
		}
		parts = append(parts, write(name))
	}
	return list(parts)
}

// plural of a kind.
func plural(kind string) string {
	switch {
	case strings.HasSuffix(kind, "y"):
		return strings.TrimSuffix(kind, "y") + "ies"
	case strings.HasSuffix(kind, "s"):
		return kind + "es"
	}
	return kind + "s"
}

// kindOf splits "Certificate plant/broker".
func kindOf(object string) (kind, name string) {
	kind, name, found := strings.Cut(clean(object, longestText), " ")
	if !found {
		return "object", kind
	}
	return kind, name
}

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

// takes is how long it takes at least: authorities roll side by side, the stages of one
// follow each other.
func takes(stages []forecast.Stage) time.Duration {
	sums := map[planner.Ref]time.Duration{}
	var longest time.Duration
	for _, s := range stages {
		sums[s.Authority] += s.Takes
		longest = max(longest, sums[s.Authority])
	}
	return longest
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

// proved says what was verified. It holds no text of a document.
func proved(p forecast.Proof) string {
	pairs := counted(p.Pairs, "pair", "pairs")
	switch {
	case p.States == 0 || p.Verified == 0:
		return "there was nothing to verify."
	case p.States == 1:
		return pairs + " verified in one state."
	case p.Verified == p.Pairs*p.States:
		return pairs + " verified in each of " + number(p.States) + " states."
	}
	return fmt.Sprintf("up to %s verified in each of %s states, %s in all.", pairs, number(p.States), number(p.Verified))
}

const pairExplained = "A pair is a certificate chain that somebody presents, and the anchors that somebody else verifies it with."

// wayBack says how far a revert leads.
func wayBack(f forecast.Forecast) string {
	switch {
	case len(f.Stages) == 0:
		return ""
	case len(f.StillTrust) > 0:
		return "do not: a revert would trust a compromised key again. If the new key will not do, name another."
	case f.PointOfNoReturn == 0:
		return "revert the commit, at any stage."
	case f.PointOfNoReturn == 1:
		return "there is none: from the first stage on a revert does not lead back to the old key."
	}
	return fmt.Sprintf("revert the commit, before stage %d begins. From there on a revert does not lead back to the old key.", f.PointOfNoReturn)
}

// short is a commit as people name it: "3f1c2a9b04".
func short(commit string) string {
	if _, hash, found := strings.Cut(commit, ":"); found {
		commit = hash
	}
	return string([]rune(commit)[:min(10, utf8.RuneCountInString(commit))])
}

// revisionName is what a revision is called: the branch that was asked for, or its commit.
func revisionName(r forecast.Revision) string {
	return cmp.Or(r.Name, short(r.Commit), "nothing")
}

// held is an anchor of a bundle, and when.
type held struct {
	forecast.Anchor
	before, after bool
}

// change is the word for it.
func (h held) change() string {
	switch {
	case h.before && h.after:
		return "stays"
	case h.after:
		return "comes"
	}
	return "goes"
}

// validity is from when to when; empty if that is not known.
func (h held) validity() string {
	if h.NotAfter.IsZero() {
		return ""
	}
	return date(h.NotBefore) + " to " + date(h.NotAfter)
}

// mark is what it is told by: the fingerprint, or when that is known.
func (h held) mark() string {
	switch {
	case h.Subject == publicCAs:
		return "those of trust-manager"
	case !h.Fingerprint.IsZero():
		return h.Fingerprint.Short()
	case h.KnownAfter != "":
		return "known after " + string(h.KnownAfter)
	}
	return "not known without a cluster"
}

// identity of an anchor: its fingerprint, and where that is not known, its key and subject.
func identity(a forecast.Anchor) string {
	if a.Fingerprint.IsZero() {
		return a.Key + "\x00" + a.Subject
	}
	return a.Fingerprint.String()
}

// publicCAs stands in the place of a subject for all those that trust-manager brings along.
const publicCAs = "the public CAs"

// heldBy tells of every anchor of a bundle whether it stays: those that go and come first.
func heldBy(t forecast.TrustChange) []held {
	var all []held
	if t.PublicBefore || t.PublicAfter {
		all = append(all, held{Anchor: forecast.Anchor{Subject: publicCAs}, before: t.PublicBefore, after: t.PublicAfter})
	}
	at := map[string]int{}
	for _, anchor := range t.Before {
		if _, twice := at[identity(anchor)]; !twice {
			at[identity(anchor)] = len(all)
			all = append(all, held{Anchor: anchor, before: true})
		}
	}
	for _, anchor := range t.After {
		i, known := at[identity(anchor)]
		if !known {
			i = len(all)
			at[identity(anchor)] = i
			all = append(all, held{Anchor: anchor})
		}
		all[i].after = true
	}
	slices.SortStableFunc(all, func(a, b held) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

func rank(h held) int { return map[string]int{"goes": 0, "comes": 1, "stays": 2}[h.change()] }

// changed reports whether any anchor comes or goes.
func changed(anchors []held) bool { return len(anchors) > 0 && rank(anchors[0]) < 2 }

// withheld replaces a text that holds a private key, whoever let it through.
const withheld = "(withheld: it holds what looks like a private key)"

// material begins a private key in PEM, or the same in base64, at any of its three
// alignments, as Secrets hold it.
var material = []string{"PRIVATE KEY", "UFJJVkFURSBLRV", "BSSVZBVEUgS0VZ", "QUklWQVRFIEtFW"}

// safe is a diff without a private key.
func safe(d forecast.Diff) forecast.Diff {
	if slices.ContainsFunc(material, func(m string) bool { return strings.Contains(d.Text, m) }) {
		d.Text = withheld
	}
	return d
}

// sizeOf a diff is how many lines it puts in and takes out.
func sizeOf(d forecast.Diff) (added, removed int) {
	for line := range strings.Lines(d.Text) {
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
		case strings.HasPrefix(line, "+"):
			added++
		case strings.HasPrefix(line, "-"):
			removed++
		}
	}
	return added, removed
}
