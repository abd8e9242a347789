package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// How many characters of a text are shown.
const (
	longestName = 120
	longestText = 400
)

// clean is a text in one line, without anything that a terminal obeys or that hides or
// reorders what is read. What does not fit into limit characters is cut.
func clean(text string, limit int) string {
	var line strings.Builder
	written, space := 0, false
	for _, r := range text {
		if unicode.IsSpace(r) {
			space = written > 0
			continue
		}
		if written >= limit {
			return line.String() + "…"
		}
		if space {
			line.WriteByte(' ')
			written, space = written+1, false
		}
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs) {
			r = unicode.ReplacementChar
		}
		line.WriteRune(r)
		written++
	}
	return line.String()
}

// noWidth is a character that is not seen. It keeps a forge from calling somebody (@name) or
// telling an issue (#1) of what it is not about.
const noWidth = "&#8203;"

// entities stand for what means something in Markdown, HTML or to a forge. They hold in
// prose, in cells of tables and in HTML alike, which backslashes do not.
var entities = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", `\`, "&#92;", "`", "&#96;",
	"*", "&#42;", "_", "&#95;", "[", "&#91;", "]", "&#93;", "|", "&#124;", "~", "&#126;",
	"$", "&#36;", "@", "@"+noWidth, "#", "#"+noWidth, "://", "&#58;//", "www.", "www&#46;",
)

// prose is a text of a document among words of ours, or in a cell.
func prose(text string) string { return entities.Replace(clean(text, longestText)) }

// strong is prose in bold letters, with a mark of ours at its end.
func strong(text, mark string) string { return "**" + cmp.Or(prose(text), "(nothing)") + mark + "**" }

// opener is what opens a heading or a list where it begins an item.
var opener = regexp.MustCompile(`^(?:([0-9]*)([.)])|([#+=-]))`)

// opening is prose that begins an item of a list.
func opening(escaped string) string {
	return opener.ReplaceAllStringFunc(escaped, func(start string) string {
		last := len(start) - 1
		return start[:last] + fmt.Sprintf("&#%d;", start[last])
	})
}

// code is a name in a span of code, in which nothing has a meaning. It must not stand in a
// cell of a table.
func code(name string) string {
	name = clean(name, longestName)
	if name == "" {
		return "(no name)"
	}
	fence := strings.Repeat("`", longestRun(name)+1)
	if strings.HasPrefix(name, "`") || strings.HasSuffix(name, "`") {
		name = " " + name + " "
	}
	return fence + name + fence
}

// longestRun of backticks in a text.
func longestRun(text string) int {
	longest, run := 0, 0
	for _, r := range text {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// fenced is a block of code of several lines. GitLab takes a line that begins with a slash
// for a command, and ends a block at three backticks however many opened it: such a line is
// moved in.
func fenced(language, text string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, "/") {
			line = " " + line
		}
		lines = append(lines, strings.Map(visible, strings.ToValidUTF8(line, "�")))
	}
	body := strings.Join(lines, "\n")
	fence := strings.Repeat("`", max(3, longestRun(body)+1))
	return fence + language + "\n" + body + "\n" + fence
}

// visible is a character of a line of code as it is shown; -1: not at all.
func visible(r rune) rune {
	switch {
	case r == '\t':
		return r
	case r == '\r':
		return -1
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Zl, unicode.Zp):
		return unicode.ReplacementChar
	}
	return r
}

// label is a text in a diagram, between double quotes. Mermaid has entities of its own.
func label(text string, limit int) string {
	var escaped strings.Builder
	for _, r := range clean(text, limit) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" .,:/+-()→…", r) {
			escaped.WriteRune(r)
			continue
		}
		fmt.Fprintf(&escaped, "#%d;", r)
	}
	return escaped.String()
}

// The marker of a comment, and its form in a page.
const longestFolder = 200

var marker = regexp.MustCompile(`^<!-- reanchor-plan: [^\s<>]+ -->`)

// Marker is the first line of a domain's comment: by it, and by who wrote it, the comment is
// found and edited in place. It is not seen. Folder is that of the domain.
func Marker(folder string) string {
	var escaped strings.Builder
	for _, b := range []byte(folder) {
		if b > unicode.MaxASCII || !unicode.In(rune(b), unicode.Letter, unicode.Digit) && !strings.ContainsRune("./-_+=,", rune(b)) {
			fmt.Fprintf(&escaped, "%%%02X", b)
			continue
		}
		escaped.WriteByte(b)
	}
	name := escaped.String()
	if name == "" {
		name = "."
	}
	if len(name) > longestFolder {
		sum := sha256.Sum256([]byte(folder))
		name = "sha256:" + hex.EncodeToString(sum[:])
	}
	return "<!-- reanchor-plan: " + name + " -->"
}

// MarkerOf is the marker that a comment begins with; empty if it begins with none.
func MarkerOf(comment string) string { return marker.FindString(comment) }
