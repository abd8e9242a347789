package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reanchor/reanchor/planner/forecast"
)

// How many are named in a comment before the rest is counted.
const (
	namesShown  = 5
	groupsShown = 12
	gatesShown  = 6
	// openStages is how many stages a page has at most that are not folded.
	openStages = 8
)

var inMarkdown = hand{name: code, text: prose}

// Markdown is the forecast as a comment on a pull request, in GitHub's Markdown, which
// GitLab and Gitea read as well. It is shorter than [Limit] and begins with [Marker].
func Markdown(f forecast.Forecast) string {
	top := markdownTop(f)
	body, cut := fit(sectionsOf(f), Limit-1-len(top)-roomForCuts)
	return top + body + cutLine(cut)
}

// NoPlan is the comment for a domain's folder where no plan could be made.
func NoPlan(folder string) string {
	return fmt.Sprintf("%s\n## ⛔ No plan: %s\n\n`reanchor plan` failed for this commit; the job's log says why. What an earlier plan said does not hold for it.\n", Marker(folder), code(folderName(folder)))
}

// markdownTop is what is never cut: the verdict and the few lines that a hurried reader needs.
func markdownTop(f forecast.Forecast) string {
	v := verdictOf(f)
	var page strings.Builder
	fmt.Fprintf(&page, "%s\n## %s %s: %s\n\n", Marker(f.Folder), v.sign, prose(v.title), code(folderName(f.Folder)))
	if f.Summary != "" {
		page.WriteString(strong(f.Summary, "") + " ")
	}
	fmt.Fprintf(&page, "%s\n\n", v.advice)
	for _, fact := range facts(f) {
		fmt.Fprintf(&page, "- **%s:** %s\n", fact.name, fact.markdown)
	}
	return page.String()
}

// fact is a line at the top of a page.
type fact struct{ name, markdown, plain string }

// facts are the lines at the top, for both kinds of page.
func facts(f forecast.Forecast) []fact {
	all := []fact{{name: "Proof", markdown: markdownProof(f), plain: plainProof(f)}}
	add := func(name, text string) {
		if text != "" {
			all = append(all, fact{name, text, text})
		}
	}
	if longest := takes(f.Stages); longest > 0 {
		add("Takes", duration(longest)+" at least, by what Git says of skew, soak and windows.")
	}
	if most := touched(widest(f.Stages)); most != "" {
		add("Touches", "at most "+most+" in one stage.")
	}
	add("To go back", wayBack(f))
	return append(all, fact{"Compares", compares(f, code), compares(f, onTerminal)})
}

func compares(f forecast.Forecast, name func(string) string) string {
	return fmt.Sprintf("%s → %s, %s", name(revisionName(f.Base)), name(revisionName(f.Head)), startsFrom(f))
}

func startsFrom(f forecast.Forecast) string {
	if f.Live.At.IsZero() {
		return "starting from the end state of the base; no cluster was looked at."
	}
	return "starting from the cluster as it was seen on " + moment(f.Live.At) + "."
}

func markdownProof(f forecast.Forecast) string {
	if f.Proof.Counterexample != nil {
		return fmt.Sprintf("**failed in stage %d**, see below. Until then %s", f.Proof.Counterexample.Stage, proved(f.Proof))
	}
	if f.Proof.Verified == 0 {
		return proved(f.Proof)
	}
	return proved(f.Proof) + " " + pairExplained
}

func plainProof(f forecast.Forecast) string {
	if f.Proof.Counterexample != nil {
		return fmt.Sprintf("FAILED in stage %d, see below. Until then %s", f.Proof.Counterexample.Stage, proved(f.Proof))
	}
	return proved(f.Proof)
}

// sectionsOf a page, in their order.
func sectionsOf(f forecast.Forecast) []section {
	all := []section{
		findings("What blocks the merge", "blocks", 1, f.Blocks),
		counterexample(f.Proof.Counterexample),
		losses("Who loses trust", "losses", 3, f.Drops),
		losses("Who still trusts a compromised key", "remaining trust", 3, f.StillTrust),
		manual(f.Manual),
		flow(f),
		stages(f),
		trust(f.Trust),
		keptBundles(f.Trust),
		fingerprints(f.Trust),
		deletions(f.Deletions),
		findings("Warnings", "warnings", 8, f.Warnings),
		findings("Fields that somebody else owns", "conflicts", 9, f.Conflicts),
		findings("Drift that is not this change's", "drift", 10, f.Drift),
		madeFrom(f),
		diffs(f.Diffs),
	}
	return slices.DeleteFunc(all, func(s section) bool { return s.head == "" })
}

// findings are one line for each rule, message and what mends it, with the subjects.
func findings(title, name string, rank int, all []forecast.Finding) section {
	if len(all) == 0 {
		return section{}
	}
	s := section{name: name, unit: name, rank: rank, head: "\n### " + title + "\n\n"}
	for i, same := range sameFindings(all) {
		if i == groupsShown {
			s.foot = rest(len(sameFindings(all)) - groupsShown)
			break
		}
		s.items = append(s.items, finding(same))
	}
	return s
}

// finding is the line of findings that differ in their subjects alone.
func finding(same []forecast.Finding) string {
	line := fmt.Sprintf("- %s %s: %s", strong(same[0].Rule, ":"), subjectsOf(same, namesShown, code), prose(same[0].Message))
	if same[0].Mend != "" {
		line += " **To mend it:** " + prose(same[0].Mend)
	}
	return line + "\n"
}

func counterexample(c *forecast.Counterexample) section {
	if c == nil {
		return section{}
	}
	return section{
		name: "the counterexample", rank: 2,
		head: fmt.Sprintf("\n### Where the proof fails\n\nIn stage %d, %s does not hold: %s\n", c.Stage, strong(c.Invariant, ""), prose(c.Evidence)),
	}
}

// losses are one line for each reason, with who it hits.
func losses(title, name string, rank int, all []forecast.Loss) section {
	if len(all) == 0 {
		return section{}
	}
	s := section{name: name, unit: name, rank: rank, head: fmt.Sprintf("\n### %s: %s\n\n", title, number(len(all)))}
	groups := grouped(all, func(l forecast.Loss) (string, string) { return l.Who, l.Why })
	for i, g := range groups {
		if i == groupsShown {
			s.foot = rest(namedIn(groups[groupsShown:]))
			break
		}
		s.items = append(s.items, "- "+g.told(namesShown, inMarkdown)+" — "+prose(g.why)+"\n")
	}
	return s
}

// rest is the last line of a list of which the first are shown.
func rest(n int) string { return "- … and " + number(n) + " more\n" }

func namedIn(groups []group) int {
	n := 0
	for _, g := range groups {
		n += len(g.whole)
	}
	return n
}

func manual(steps []forecast.Step) section {
	if len(steps) == 0 {
		return section{}
	}
	s := section{
		name: "steps by hand", unit: "steps by hand", rank: 4,
		head: "\n### What somebody has to do by hand\n\nThe rollover waits for it; nothing breaks in the meantime.\n\n",
	}
	for i, same := range sameSteps(steps) {
		if i == groupsShown {
			s.foot = rest(len(sameSteps(steps)) - groupsShown)
			break
		}
		s.items = append(s.items, fmt.Sprintf("- **In stage %d**, for %s — %s\n", same[0].Stage, forWhom(same, namesShown, inMarkdown), prose(same[0].Do)))
	}
	return s
}

// stages are an item each. Many are folded.
func stages(f forecast.Forecast) section {
	if len(f.Stages) == 0 {
		return section{}
	}
	s := section{name: "the stages", unit: "stages", rank: 5, head: "\n### Stage by stage\n"}
	for _, one := range f.Stages {
		text := stage(one, len(f.Stages) > openStages)
		if f.PointOfNoReturn == one.Number && f.PointOfNoReturn > 0 {
			text = "\n**Point of no return.** From stage " + number(one.Number) + " on a revert does not lead back to the old key.\n" + text
		}
		s.items = append(s.items, text)
	}
	return s
}

func stage(s forecast.Stage, folded bool) string {
	title := fmt.Sprintf("%d. %s", s.Number, prose(s.Title))
	lines := fmt.Sprintf("- **Whose:** %s, phase %s\n", code(rolling(s)), prose(string(s.Phase)))
	for _, d := range deedsOf(s) {
		lines += deedLine(d)
	}
	if touches := touchedAndNamed(s.Blast, namesShown, code); touches != "" {
		lines += "- **Touches** " + touches + "\n"
	}
	lines += gate(s)
	if s.Takes > 0 {
		lines += "- **Takes** " + duration(s.Takes) + " at least\n"
	}
	lines += "- **To go back:** " + cmp.Or(prose(s.Undo), "there is no way") + "\n"
	if folded {
		return "\n<details><summary>" + title + "</summary>\n\n" + lines + "\n</details>\n"
	}
	return "\n#### " + title + "\n\n" + lines
}

// deedLine is what a stage does by one verb.
func deedLine(d deed) string {
	var parts []string
	for i, g := range d.groups {
		if i == groupsShown {
			parts = append(parts, number(namedIn(d.groups[groupsShown:]))+" more")
			break
		}
		part := g.told(namesShown, inMarkdown)
		if g.why != "" {
			part += " (" + prose(g.why) + ")"
		}
		parts = append(parts, part)
	}
	return "- " + strong(capital(d.word), "") + " " + strings.Join(parts, "; ") + "\n"
}

func capital(word string) string {
	first, size := utf8.DecodeRuneInString(word)
	return string(unicode.ToUpper(first)) + word[size:]
}

// gate of a stage: what is waited for before the next begins.
func gate(s forecast.Stage) string {
	switch len(s.Gate) {
	case 0:
		return ""
	case 1:
		return "- **Goes on when** " + prose(s.Gate[0]) + "\n"
	}
	lines := "- **Goes on when**\n"
	for i, line := range s.Gate {
		if i == gatesShown {
			return lines + "  " + rest(len(s.Gate)-gatesShown)
		}
		lines += "  - " + opening(prose(line)) + "\n"
	}
	return lines
}

func deletions(all []forecast.Deletion) section {
	if len(all) == 0 {
		return section{}
	}
	s := section{name: "deletions", unit: "deletions", rank: 7, head: "\n### What is deleted\n\n"}
	for i, one := range all {
		if i == groupsShown {
			s.foot = rest(len(all) - groupsShown)
			break
		}
		line := "- " + code(one.Object)
		if len(one.Cascade) > 0 {
			line += ", and with it " + some(one.Cascade, namesShown, code)
		}
		s.items = append(s.items, line+"\n")
	}
	return s
}

// madeFrom is what the plan was made from, by which it is stale.
func madeFrom(f forecast.Forecast) section {
	head := "\n### What this plan was made from\n\nIt is stale as soon as one of these digests changes.\n\n| | | Digest |\n| --- | --- | --- |\n"
	for _, row := range origins(f) {
		head += fmt.Sprintf("| %s | %s | %s |\n", row[0], prose(row[1]), prose(row[2]))
	}
	if f.Verdict != forecast.Blocked && f.Verdict != forecast.Nothing {
		head += fmt.Sprintf("\nTo have exactly this carried out and nothing else, end the message of the merge with the line %s.\n", code(forecast.Trailer+": "+f.Digest))
	}
	return section{name: "what it was made from", rank: 1, head: head}
}

// origins of a forecast: what, its name, its digest.
func origins(f forecast.Forecast) [][3]string {
	rows := [][3]string{{"Base", nameAndCommit(f.Base), f.Base.Digest}, {"Head", nameAndCommit(f.Head), f.Head.Digest}}
	if !f.Live.At.IsZero() {
		rows = append(rows, [3]string{"Cluster", "seen " + moment(f.Live.At), f.Live.Digest})
	}
	return append(rows, [3]string{"Plan", "", f.Digest})
}

// nameAndCommit is the revision's name and commit.
func nameAndCommit(r forecast.Revision) string {
	return strings.TrimSpace(r.Name + " " + short(r.Commit))
}

// diffs are folded, an item each.
func diffs(all []forecast.Diff) section {
	if len(all) == 0 {
		return section{}
	}
	s := section{name: "the diffs", unit: "diffs", rank: 12, head: fmt.Sprintf("\n### %s\n", capital(counted(len(all), "diff", "diffs")))}
	for _, d := range all {
		d = safe(d)
		added, removed := sizeOf(d)
		s.items = append(s.items, fmt.Sprintf("\n<details><summary>%s (+%s −%s)</summary>\n\n%s\n\n</details>\n",
			prose(d.Object), number(added), number(removed), fenced("diff", d.Text)))
	}
	return s
}
