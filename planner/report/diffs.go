package report

import (
	"slices"
	"strings"

	"github.com/reanchor/reanchor/planner/forecast"
)

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
