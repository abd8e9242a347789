package v1alpha1

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// FieldPath leads to a field of an object: names with dots between, the places of items in
// lists, from 0, and in brackets and quotes, as JSON writes them, names that hold anything
// else than letters, digits, '_' and '-'.
//
//	spec.ports[0].tls.certManagerCertificateSpec.issuerRef.name
//	metadata.annotations["cert-manager.io/cluster-issuer"]
//
// +kubebuilder:object:generate=false
type FieldPath []FieldStep

// FieldStep is one step of a path: into a field by its Name, or, where that is empty, to the
// item of a list at Index.
//
// +kubebuilder:object:generate=false
type FieldStep struct {
	Name  string
	Index int
}

// maxIndex bounds the place of an item, and maxFieldPath a path, in bytes.
const (
	maxIndex     = 9999
	maxFieldPath = 1024
)

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*`)

// ParseFieldPath reads a path. What [FieldPath.String] writes is the one way in which a path
// is written; nothing else is taken.
func ParseFieldPath(text string) (FieldPath, error) {
	if len(text) > maxFieldPath {
		return nil, fmt.Errorf("is longer than %d bytes", maxFieldPath)
	}
	var path FieldPath
	for rest := text; rest != "" || len(path) == 0; {
		step, after, err := nextStep(rest, len(path) == 0)
		if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", len(text)-len(rest)+1, err)
		}
		path, rest = append(path, step), after
	}
	if path.String() != text {
		return nil, fmt.Errorf("is to be written %s", path)
	}
	return path, nil
}

// nextStep reads the first step, and what comes after it.
func nextStep(text string, first bool) (step FieldStep, rest string, err error) {
	if strings.HasPrefix(text, "[") {
		return bracketed(text[1:])
	}
	if !first {
		if !strings.HasPrefix(text, ".") {
			return step, "", fmt.Errorf("want '.', or '[' and an index or a quoted name")
		}
		text = text[1:]
	}
	name := plainName.FindString(text)
	if name == "" {
		return step, "", fmt.Errorf("want a field's name, in [\"…\"] if it is no plain word")
	}
	return FieldStep{Name: name}, text[len(name):], nil
}

// bracketed reads a step behind its opening bracket.
func bracketed(text string) (step FieldStep, rest string, err error) {
	inside, rest, closed := cutBracket(text)
	switch {
	case !closed:
		return step, "", fmt.Errorf("the bracket is not closed")
	case strings.HasPrefix(inside, `"`):
		if json.Unmarshal([]byte(inside), &step.Name) != nil || step.Name == "" {
			return step, "", fmt.Errorf("%s is no name in quotes", quote(inside))
		}
		return step, rest, nil
	}
	step.Index, err = strconv.Atoi(inside)
	if err != nil || step.Index < 0 || step.Index > maxIndex {
		return step, "", fmt.Errorf("[%s] is no place in a list: want a number from 0 to %d", inside, maxIndex)
	}
	return step, rest, nil
}

// cutBracket finds the bracket that closes, which is none within quotes.
func cutBracket(text string) (inside, rest string, closed bool) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ']' && !quoted:
			return text[:i], text[i+1:], true
		}
	}
	return "", "", false
}

// String writes the path.
func (p FieldPath) String() string {
	var text strings.Builder
	for i, step := range p {
		switch {
		case step.Name == "":
			fmt.Fprintf(&text, "[%d]", step.Index)
		case plainName.FindString(step.Name) != step.Name:
			quoted, _ := json.Marshal(step.Name) // of a string it cannot fail
			fmt.Fprintf(&text, "[%s]", quoted)
		case i > 0:
			text.WriteString("." + step.Name)
		default:
			text.WriteString(step.Name)
		}
	}
	return text.String()
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// Pointer is the path as a JSON Pointer (RFC 6901).
func (p FieldPath) Pointer() string {
	var text strings.Builder
	for _, step := range p {
		if step.Name == "" {
			fmt.Fprintf(&text, "/%d", step.Index)
		} else {
			text.WriteString("/" + escapePointer.Replace(step.Name))
		}
	}
	return text.String()
}

// In finds the field's value in an object as JSON has it; false if there is no such field.
func (p FieldPath) In(object any) (value any, found bool) {
	for _, step := range p {
		switch at := object.(type) {
		case map[string]any:
			if object, found = at[step.Name]; !found || step.Name == "" {
				return nil, false
			}
		case []any:
			if step.Name != "" || step.Index >= len(at) {
				return nil, false
			}
			object = at[step.Index]
		default:
			return nil, false
		}
	}
	return object, true
}

// Beside is the path to another field of the object that the path's last step is in.
func (p FieldPath) Beside(name string) FieldPath {
	return append(p[:len(p)-1:len(p)-1], FieldStep{Name: name})
}
