package importer

import (
	"fmt"
	"strings"
)

// report is the page for people: what was taken over, what was not, and what comes next.
func (r Repository) report(left []Left) []byte {
	var page strings.Builder
	page.WriteString("# What was imported\n\n" +
		"Written by `reanchor import`, for whoever reviews this repository. Nothing in the cluster was\n" +
		"changed. Once it is merged and a TrustDomain names it, the first turn puts labels and\n" +
		"annotations on the issuers and Bundles that are taken over, sends canary CertificateRequests\n" +
		"through the issuers, and writes nothing else to the cluster: no certificate is issued anew.\n" +
		"What was taken over is never deleted by reanchor: a document that leaves the repository takes\n" +
		"the labels with it.\n")
	section(&page, "Taken over", "Nothing.", "| In the cluster | Here |\n| --- | --- |\n", r.Taken, func(t Taken) string {
		return fmt.Sprintf("| %s | %s |\n", cell(t.Object), cell(t.As))
	})
	notes := 0
	for _, taken := range r.Taken {
		if taken.Note == "" {
			continue
		}
		if notes++; notes == 1 {
			page.WriteString("\nWorth knowing:\n\n")
		}
		fmt.Fprintf(&page, "- %s: %s.\n", cell(taken.Object), cell(taken.Note))
	}
	section(&page, "Not taken over", "Everything that was found is above.", "| In the cluster | Why | What to do |\n| --- | --- | --- |\n", left, func(l Left) string {
		return fmt.Sprintf("| %s | %s | %s |\n", cell(l.Object), cell(l.Why), cell(l.Do))
	})
	return []byte(page.String())
}

// section is a table under a heading, or what is said where it has no rows.
func section[T any](page *strings.Builder, heading, none, columns string, rows []T, row func(T) string) {
	fmt.Fprintf(page, "\n## %s\n\n", heading)
	if len(rows) == 0 {
		page.WriteString(none + "\n")
		return
	}
	page.WriteString(columns)
	for _, r := range rows {
		page.WriteString(row(r))
	}
}

// cell is a text that is safe in a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}
