package report

import (
	"fmt"
	"strings"

	"github.com/reanchor/reanchor/planner/forecast"
)

// How much a diagram shows: one that does not fit onto a screen tells nothing.
const (
	stagesDrawn  = 12
	titleDrawn   = 60
	gateDrawn    = 64
	gatesInArrow = 2
)

// flow is a diagram of the stages, with what is waited for between them. A single stage needs
// none.
func flow(f forecast.Forecast) section {
	if len(f.Stages) < 2 {
		return section{}
	}
	return section{name: "the diagram", rank: 4, head: "\n### What happens\n\n```mermaid\n" + diagram(f) + "```\n"}
}

// diagram in the language of Mermaid: https://mermaid.js.org/syntax/flowchart.html
func diagram(f forecast.Forecast) string {
	var drawn strings.Builder
	drawn.WriteString("flowchart TD\n")
	shown := min(len(f.Stages), stagesDrawn)
	for i, s := range f.Stages[:shown] {
		fmt.Fprintf(&drawn, "  s%d[\"%d. %s\"]%s\n", i+1, s.Number, label(s.Title, titleDrawn), class(f, s))
		if i > 0 {
			fmt.Fprintf(&drawn, "  s%d %s s%d\n", i, arrow(f.Stages[i-1]), i+1)
		}
	}
	last := "done([\"" + ending(f) + "\"])"
	if rest := len(f.Stages) - shown; rest > 0 {
		last = fmt.Sprintf("more([\"and %s\"])", counted(rest, "more stage", "more stages"))
	}
	fmt.Fprintf(&drawn, "  s%d %s %s\n", shown, arrow(f.Stages[shown-1]), last)
	drawn.WriteString("  classDef final stroke:#bf8700,stroke-width:3px\n  classDef broken stroke:#cf222e,stroke-width:3px\n")
	return drawn.String()
}

// ending is how it comes to rest.
func ending(f forecast.Forecast) string {
	switch f.Verdict {
	case forecast.Blocked:
		return "does not come to rest as Git says"
	case forecast.Waits:
		return "waits for somebody"
	}
	return "as Git says"
}

// class marks the stage from which there is no way back, and one in which the proof fails.
func class(f forecast.Forecast, s forecast.Stage) string {
	switch {
	case f.Proof.Counterexample != nil && f.Proof.Counterexample.Stage == s.Number:
		return ":::broken"
	case f.PointOfNoReturn > 0 && f.PointOfNoReturn == s.Number && len(f.StillTrust) == 0:
		return ":::final"
	}
	return ""
}

// arrow to the next stage, with the gate of this one.
func arrow(s forecast.Stage) string {
	var lines []string
	for i, line := range s.Gate {
		if i == gatesInArrow {
			lines = append(lines, fmt.Sprintf("and %s more", number(len(s.Gate)-gatesInArrow)))
			break
		}
		lines = append(lines, label(line, gateDrawn))
	}
	if text := strings.Join(lines, "<br/>"); text != "" {
		return `-->|"` + text + `"|`
	}
	return "-->"
}
