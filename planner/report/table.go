package report

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/reanchor/reanchor/planner/forecast"
)

// namesInTable is how many are named on a terminal before the rest is counted.
const namesInTable = 20

// colour of a text on a terminal, as ECMA-48 numbers them (section 8.3.117).
type colour string

const (
	plain  colour = ""
	bold   colour = "1"
	red    colour = "1;31"
	green  colour = "32"
	yellow colour = "33"
	cyan   colour = "36"
)

// Table is the forecast for a terminal of so many columns; 0: lines are as long as they are.
// A word that is longer than a line is not broken, so that it can be copied. Nothing but
// names, after the first few, and the text of diffs is left out: see [JSON].
func Table(f forecast.Forecast, width int, colour bool) string {
	p := &terminal{width: width, colour: colour}
	p.top(f)
	p.findings("What blocks the merge", f.Blocks)
	p.counterexample(f.Proof.Counterexample)
	p.losses("Who loses trust", f.Drops)
	p.losses("Who still trusts a compromised key", f.StillTrust)
	p.manual(f.Manual)
	p.findings("Warnings", f.Warnings)
	p.stages(f)
	p.trust(f.Trust)
	p.deletions(f)
	p.findings("Fields that somebody else owns", f.Conflicts)
	p.findings("Drift that is not this change's", f.Drift)
	p.origins(f)
	p.diffs(f.Diffs)
	return p.out.String()
}

// terminal is a page of lines that are wrapped at its width.
type terminal struct {
	width  int
	colour bool
	out    strings.Builder
}

func (p *terminal) paint(c colour, text string) string {
	if !p.colour || c == plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// line writes a text behind a label of a given width, and goes on below the text.
func (p *terminal) line(indent, column int, label string, c colour, text string) {
	if label != "" {
		column = max(column, utf8.RuneCountInString(label)+1)
	}
	before := strings.Repeat(" ", indent) + p.paint(c, label) + strings.Repeat(" ", column-utf8.RuneCountInString(label))
	room := 0
	if p.width > 0 {
		room = max(p.width-indent-column, 1)
	}
	for _, part := range wrap(text, room) {
		p.out.WriteString(strings.TrimRight(before+part, " ") + "\n")
		before = strings.Repeat(" ", indent+column)
	}
}

// wrap breaks a text between words.
func wrap(text string, width int) []string {
	if width <= 0 {
		return []string{text}
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}

func (p *terminal) heading(text string) {
	p.out.WriteString("\n" + p.paint(bold, strings.ToUpper(text)) + "\n")
}

func onTerminal(name string) string { return clean(name, longestName) }
func told(text string) string       { return clean(text, longestText) }

var inTable = hand{name: onTerminal, text: told}

func (p *terminal) top(f forecast.Forecast) {
	v := verdictOf(f)
	p.line(0, 0, strings.ToUpper(v.title)+":", v.colour, onTerminal(folderName(f.Folder)))
	if f.Summary != "" {
		p.line(0, 0, "", plain, told(f.Summary))
	}
	p.line(0, 0, "", plain, v.advice)
	p.out.WriteString("\n")
	for _, fact := range facts(f) {
		p.line(0, 12, fact.name, bold, fact.plain)
	}
}

func (p *terminal) findings(title string, all []forecast.Finding) {
	if len(all) == 0 {
		return
	}
	p.heading(title)
	for _, same := range sameFindings(all) {
		one := same[0]
		p.line(2, 2, "-", plain, onTerminal(one.Rule)+": "+subjectsOf(same, namesInTable, onTerminal)+": "+told(one.Message))
		if one.Mend != "" {
			p.line(4, 12, "to mend it:", bold, told(one.Mend))
		}
	}
}

func (p *terminal) counterexample(c *forecast.Counterexample) {
	if c == nil {
		return
	}
	p.heading("Where the proof fails")
	p.line(2, 0, "", plain, fmt.Sprintf("In stage %d, %s does not hold: %s", c.Stage, told(c.Invariant), told(c.Evidence)))
}

func (p *terminal) losses(title string, all []forecast.Loss) {
	if len(all) == 0 {
		return
	}
	p.heading(fmt.Sprintf("%s: %s", title, number(len(all))))
	for _, g := range grouped(all, func(l forecast.Loss) (string, string) { return l.Who, l.Why }) {
		p.line(2, 2, "-", plain, g.told(namesInTable, inTable)+" — "+told(g.why))
	}
}

func (p *terminal) manual(steps []forecast.Step) {
	if len(steps) == 0 {
		return
	}
	p.heading("What somebody has to do by hand")
	for _, same := range sameSteps(steps) {
		p.line(2, 2, "-", plain, fmt.Sprintf("in stage %d, for %s — %s", same[0].Stage, forWhom(same, namesInTable, inTable), told(same[0].Do)))
	}
}

func (p *terminal) stages(f forecast.Forecast) {
	if len(f.Stages) == 0 {
		return
	}
	p.heading("Stages")
	for i, s := range f.Stages {
		if i > 0 {
			p.out.WriteString("\n")
		}
		if f.PointOfNoReturn > 0 && f.PointOfNoReturn == s.Number && len(f.StillTrust) == 0 {
			p.line(2, 4, "!!", yellow, "Point of no return. From here on a revert does not lead back to the old key.")
		}
		p.stage(s)
	}
}

// column of the words in a stage.
const column = 12

func (p *terminal) stage(s forecast.Stage) {
	p.line(2, 4, fmt.Sprintf("%d.", s.Number), bold, told(s.Title))
	if whose := rolling(s); whose != "" {
		p.line(6, column, "whose", plain, onTerminal(whose)+", phase "+onTerminal(string(s.Phase)))
	}
	for _, d := range deedsOf(s) {
		for _, g := range d.groups {
			text := g.told(namesInTable, inTable)
			if g.why != "" {
				text += " (" + told(g.why) + ")"
			}
			p.line(6, column, d.word, d.colour, text)
		}
	}
	if touches := touchedAndNamed(s.Blast, namesInTable, onTerminal); touches != "" {
		p.line(6, column, "touches", plain, touches)
	}
	for _, gate := range s.Gate {
		p.line(6, column, "waits for", plain, told(gate))
	}
	if s.Takes > 0 {
		p.line(6, column, "takes", plain, duration(s.Takes)+" at least")
	}
	p.line(6, column, "to go back", plain, cmp.Or(told(s.Undo), "there is no way"))
}

func (p *terminal) trust(all []forecast.TrustChange) {
	if len(all) == 0 {
		return
	}
	p.heading("Trust before and after")
	for _, one := range all {
		anchors := heldBy(one)
		if !changed(anchors) {
			p.line(2, 0, "", plain, "Bundle "+onTerminal(one.Bundle)+": nothing changes")
			continue
		}
		p.line(2, 0, "", plain, "Bundle "+onTerminal(one.Bundle)+":")
		for i, h := range anchors {
			if i == namesInTable {
				p.line(4, 0, "", plain, fmt.Sprintf("… and %s more", number(len(anchors)-namesInTable)))
				break
			}
			p.anchor(h)
		}
	}
}

func (p *terminal) anchor(h held) {
	paint := map[string]colour{"comes": green, "goes": red}[h.change()]
	text := told(strings.TrimSpace(h.Key + " (" + h.Subject + ")"))
	if h.Subject == publicCAs {
		text = publicCAs + ", " + h.mark()
	} else if h.Fingerprint.IsZero() {
		text += ", " + onTerminal(h.mark())
	} else {
		text += ", " + onTerminal(h.validity()) + ", SHA-256 " + h.Fingerprint.String()
	}
	p.line(4, 6, h.change(), paint, text)
}

func (p *terminal) deletions(f forecast.Forecast) {
	if len(f.Deletions) == 0 {
		return
	}
	p.heading(deletionsTitle(f))
	for _, g := range deletionGroups(f.Deletions) {
		p.line(2, 2, "-", red, g.told(namesInTable, inTable)+cascade(g, namesInTable, inTable))
	}
}

func (p *terminal) origins(f forecast.Forecast) {
	p.heading("What this plan was made from")
	p.line(2, 0, "", plain, "It is stale as soon as one of these digests changes.")
	for _, row := range origins(f) {
		p.line(2, 9, row[0], plain, told(row[1]))
		p.line(4, 0, "", plain, told(row[2]))
	}
}

func (p *terminal) diffs(all []forecast.Diff) {
	if len(all) == 0 {
		return
	}
	p.heading("Diffs")
	p.line(2, 0, "", plain, "Their texts: -o markdown or -o json.")
	for _, d := range all {
		added, removed := sizeOf(safe(d))
		p.line(2, 2, "-", plain, fmt.Sprintf("%s (+%s −%s)", onTerminal(d.Object), number(added), number(removed)))
	}
}
