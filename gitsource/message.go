package gitsource

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"unicode"
)

// DefaultMessage is the template of a [Writer]'s commit messages: the subject of the only
// edit, or how many there are and a list of them.
const DefaultMessage = `{{if eq .Count 1}}{{(index .Edits 0).Subject}}{{else}}Write {{.Count}} device documents

{{range .Edits}}- {{.Subject}}
{{end}}{{if .More}}- and {{.More}} more
{{end}}{{end}}`

// Message is what the template of a commit message is given (text/template).
type Message struct {
	// Count of the edits in the commit.
	Count int
	// Edits are the first of them, by path: 100 at most.
	Edits []MessageEdit
	// More is how many there are besides.
	More int
	// Branch that is written to.
	Branch string
}

// MessageEdit is an edit as a commit message tells of it.
type MessageEdit struct {
	// Path of the file.
	Path string
	// Subject of the edit, in one line of 200 bytes at most; "Write" and the path if it has
	// none.
	Subject string
}

// The bounds of a message: edits that are listed, and bytes.
const (
	maxListed  = 100
	maxMessage = 32 << 10
)

// CheckMessage refuses a template that no [Message] could be told by.
func CheckMessage(text string) error {
	_, err := parseMessage(text)
	return err
}

func parseMessage(text string) (*template.Template, error) {
	parsed, err := template.New("message").Option("missingkey=error").Parse(cmp.Or(text, DefaultMessage))
	if err != nil {
		return nil, invalid("the template of its message cannot be read (%v): write it as text/template says", err)
	}
	sample := newMessage("main", []Edit{{Path: "devices/group/00/first.yaml"}, {Path: "devices/group/00/second.yaml"}})
	if _, err := sample.render(parsed); err != nil {
		return nil, err
	}
	return parsed, nil
}

// newMessage tells of the edits that a commit holds.
func newMessage(branch string, edits []Edit) Message {
	edits = slices.SortedFunc(slices.Values(edits), func(a, b Edit) int { return cmp.Compare(a.Path, b.Path) })
	message := Message{Count: len(edits), Branch: branch}
	for _, edit := range edits[:min(len(edits), maxListed)] {
		subject := cmp.Or(line(edit.Subject), line("Write "+edit.Path))
		message.Edits = append(message.Edits, MessageEdit{Path: edit.Path, Subject: subject})
	}
	message.More = message.Count - len(message.Edits)
	return message
}

// line is a text without line breaks and what cannot be seen, cut to a length.
func line(text string) string {
	seen := strings.Map(func(c rune) rune {
		if unicode.In(c, unicode.C, unicode.Zl, unicode.Zp) || c == unicode.ReplacementChar {
			return ' '
		}
		return c
	}, text)
	return shortened(strings.TrimSpace(seen))
}

// render fills in the template. What is too long loses its last lines.
func (m Message) render(with *template.Template) (string, error) {
	var text strings.Builder
	if err := with.Execute(&text, m); err != nil {
		return "", invalid("the template of its message fails (%v): use the fields Count, Edits (each with Path and Subject), More and Branch", err)
	}
	whole := strings.TrimSpace(text.String())
	if whole == "" || strings.ContainsRune(whole, 0) {
		return "", invalid("the template of its message gives an empty text, or one with a NUL: say what the commit does")
	}
	if len(whole) <= maxMessage {
		return whole, nil
	}
	kept := whole[:maxMessage]
	if end := strings.LastIndexByte(kept, '\n'); end > 0 {
		kept = kept[:end]
	}
	return fmt.Sprintf("%s\n(%d bytes more)", strings.ToValidUTF8(kept, ""), len(whole)-len(kept)), nil
}
