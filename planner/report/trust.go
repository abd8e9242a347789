package report

import (
	"fmt"
	"strings"

	"github.com/reanchor/reanchor/planner/forecast"
)

// trust is a table for every bundle that changes.
func trust(all []forecast.TrustChange) section {
	s := section{name: "trust before and after", unit: "bundles", rank: 6}
	for _, one := range all {
		if anchors := heldBy(one); changed(anchors) {
			s.items = append(s.items, trustTable(one.Bundle, anchors))
		}
	}
	if len(s.items) > 0 {
		s.head = "\n### Trust before and after\n"
	}
	return s
}

// trustTable names what comes and goes, and the first of what stays.
func trustTable(bundle string, anchors []held) string {
	table := "\nBundle " + code(bundle) + ":\n\n| Change | Anchor | Subject | SHA-256 | Valid |\n| --- | --- | --- | --- | --- |\n"
	for i, h := range anchors {
		if i == groupsShown {
			return table + fmt.Sprintf("| | … and %s more | | | |\n", number(len(anchors)-groupsShown))
		}
		table += fmt.Sprintf("| %s | %s | %s | %s | %s |\n", h.change(), prose(h.Key), prose(h.Subject), prose(h.mark()), prose(h.validity()))
	}
	return table
}

// keptBundles are those in which nothing changes.
func keptBundles(all []forecast.TrustChange) section {
	var names []string
	for _, one := range all {
		if !changed(heldBy(one)) {
			names = append(names, one.Bundle)
		}
	}
	if len(names) == 0 {
		return section{}
	}
	return section{name: "bundles that stay", rank: 6, head: "\nNothing changes in " + plainly(len(names), "bundle") + " " + some(names, namesShown, code) + ".\n"}
}

func plainly(n int, one string) string {
	if n == 1 {
		return one
	}
	return one + "s"
}

// fingerprints in full, folded: somebody may want to compare them with what he was given
// another way.
func fingerprints(all []forecast.TrustChange) section {
	s := section{name: "fingerprints in full", unit: "fingerprints", rank: 11}
	seen := map[string]bool{}
	for _, one := range all {
		anchors := heldBy(one)
		for i, h := range anchors {
			if i == groupsShown || !changed(anchors) {
				break
			}
			if full := h.Fingerprint.String(); !h.Fingerprint.IsZero() && !seen[full] {
				seen[full] = true
				s.items = append(s.items, "- `"+full+"` "+prose(strings.TrimSpace(h.Key+" "+h.Subject))+"\n")
			}
		}
	}
	if len(s.items) > 0 {
		s.head, s.foot = "\n<details><summary>Fingerprints in full</summary>\n\n", "\n</details>\n"
	}
	return s
}
