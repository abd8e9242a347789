package v1alpha1

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong with a document, and where it stands.
//
// +kubebuilder:object:generate=false
type Error struct {
	// File as it was given to [Decode].
	File string
	// Line of the file, from 1.
	Line int
	// Field is the path of the field, "spec.keys[1].state" say; empty where the
	// whole document or file is meant.
	Field string
	// Message says what is wrong, and what to write instead.
	Message string
}

// Error is "file:line: field: message".
func (e Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Field, e.Message)
}

// ErrorList is everything that is wrong, in the order of files and lines.
//
// +kubebuilder:object:generate=false
type ErrorList []Error

// Error has one line for each error.
func (l ErrorList) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Err is the list as an error: nil when it is empty.
func (l ErrorList) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// sorted is the list in order of file, line, field and message, each error once.
func (l ErrorList) sorted() ErrorList {
	slices.SortFunc(l, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message),
		)
	})
	return slices.Compact(l)
}

// quotedLength bounds what an error repeats of a document.
const quotedLength = 40

// quote repeats a value in an error, cut short.
func quote(value string) string { return fmt.Sprintf("%q", short(value)) }

// short is the first line of what the file's author wrote, and not much of that:
// what stands in the wrong place may be long, or a secret.
func short(value string) string {
	first, _, cut := strings.Cut(value, "\n")
	if runes := []rune(first); len(runes) > quotedLength {
		first, cut = string(runes[:quotedLength]), true
	}
	if cut {
		first += "…"
	}
	return first
}

// didYouMean is a hint at the nearest of the names, or nothing.
func didYouMean(word string, names []string) string {
	best, distance := "", 1+max(1, min(len(word), quotedLength)/3)
	for _, name := range names {
		if max(len(name)-len(word), len(word)-len(name)) >= distance {
			continue // so many letters at least lie between them
		}
		if d := editDistance(strings.ToLower(word), strings.ToLower(name)); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance counts the bytes to insert, delete, replace or swap with their
// neighbour that lie between two words (the optimal string alignment distance).
// Words that are too long to be a slip of the pen are infinitely far apart.
func editDistance(a, b string) int {
	if len(a) > quotedLength || len(b) > quotedLength {
		return quotedLength
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// oneOf lists values for people: "A, B or C".
func oneOf(values []string) string { return list(values, "or") }

func list(values []string, conjunction string) string {
	last := len(values) - 1
	if last == 0 {
		return values[0]
	}
	return strings.Join(values[:last], ", ") + " " + conjunction + " " + values[last]
}
