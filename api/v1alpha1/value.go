package v1alpha1

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1/internal/fields"
)

// decoder fills one document's Go value from its YAML nodes. It goes on after an
// error, so that the author sees all of them at once.
type decoder struct {
	file   string
	errors ErrorList
	// lines of the fields that were written, by path.
	lines map[string]int
}

func (d *decoder) refuse(at *yaml.Node, path, format string, args ...any) {
	if len(d.errors) < maxErrors {
		d.errors = append(d.errors, Error{
			File: d.file, Line: max(at.Line, 1), Field: visible(path), Message: fmt.Sprintf(format, args...),
		})
	}
}

// visible is a path that may have been written with control characters, without them.
func visible(path string) string {
	return strings.Map(func(r rune) rune {
		if isUnprintable(r) {
			return '?'
		}
		return r
	}, path)
}

// decode reads a value of the field at path. A value that is left empty counts as
// absent.
func (d *decoder) decode(path string, node *yaml.Node, into reflect.Value) {
	node = follow(node)
	if isNull(node) {
		return
	}
	if duration, ok := into.Addr().Interface().(*metav1.Duration); ok {
		d.duration(path, node, duration)
		return
	}
	if raw, ok := into.Addr().Interface().(*apiextensionsv1.JSON); ok {
		d.raw(path, node, raw)
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.decode(path, node, into.Elem())
	case reflect.Struct:
		d.structure(path, node, into)
	case reflect.Slice:
		d.list(path, node, into)
	case reflect.Map:
		d.stringMap(path, node, into)
	case reflect.String:
		d.text(path, node, into)
	case reflect.Bool:
		d.boolean(path, node, into)
	case reflect.Int:
		d.integer(path, node, into)
	default:
		panic(fmt.Sprintf("the field %s is of type %s, which documents do not have", path, into.Type()))
	}
}

func (d *decoder) structure(path string, node *yaml.Node, into reflect.Value) {
	known := fields.Of(into.Type())
	written := map[string]bool{}
	d.each(path, node, func(key, value *yaml.Node) {
		at := join(path, key.Value)
		field := slices.IndexFunc(known, func(f fields.Field) bool { return f.Name == key.Value })
		switch {
		case field < 0:
			d.refuse(key, join(path, short(key.Value)), "unknown field%s", didYouMean(key.Value, names(known)))
		case isText(follow(value)) && follow(value).Value == "" && mustNotBeEmpty(into, key.Value):
			d.refuse(key, at, "is empty: fill it in, or take it out")
		default:
			written[key.Value] = !isNull(follow(value))
			d.lines[at] = key.Line
			d.decode(at, value, into.FieldByIndex(known[field].Go.Index))
		}
	})
	for _, field := range known {
		if field.Required && node.Kind == yaml.MappingNode && !written[field.Name] {
			d.refuse(node, join(path, field.Name), "is missing")
		}
	}
}

// mustNotBeEmpty reports a field whose emptiness would be taken for something else.
func mustNotBeEmpty(structure reflect.Value, field string) bool {
	careful, is := structure.Interface().(interface{ neverEmpty() []string })
	return is && slices.Contains(careful.neverEmpty(), field)
}

// each visits the fields of a mapping, each name once.
func (d *decoder) each(path string, node *yaml.Node, visit func(key, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		d.refuse(node, path, "want a mapping, not %s", describe(node))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := follow(node.Content[i]), node.Content[i+1]
		line, duplicate := first[key.Value]
		switch {
		case key.ShortTag() == "!!merge":
			d.refuse(key, path, "merge keys (<<) are not supported: write the fields out")
		case key.Kind != yaml.ScalarNode || isNull(key):
			d.refuse(key, path, "want a field's name, not %s", describe(key))
		case duplicate:
			d.refuse(key, join(path, short(key.Value)), "stands twice: it is on line %d already", line)
		default:
			first[key.Value] = key.Line
			visit(key, value)
		}
	}
}

func (d *decoder) list(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		d.refuse(node, path, "want a list, not %s", describe(node))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.lines[at] = item.Line
		if isNull(follow(item)) {
			d.refuse(item, at, "is empty")
		}
		d.decode(at, item, into.Index(i))
	}
}

func (d *decoder) stringMap(path string, node *yaml.Node, into reflect.Value) {
	into.Set(reflect.MakeMap(into.Type()))
	d.each(path, node, func(key, value *yaml.Node) {
		at := path + "[" + short(key.Value) + "]"
		d.lines[at] = key.Line
		item := reflect.New(into.Type().Elem()).Elem()
		d.decode(at, value, item)
		into.SetMapIndex(reflect.ValueOf(key.Value), item)
		d.printable(key, at)
	})
}

func (d *decoder) text(path string, node *yaml.Node, into reflect.Value) {
	if !isText(node) {
		hint := ""
		if node.Kind == yaml.ScalarNode {
			hint = ": put it in quotes"
		}
		d.refuse(node, path, "want a string, not %s%s", describe(node), hint)
		return
	}
	d.printable(node, path)
	into.SetString(node.Value)
	allowed := fields.Values(into.Type())
	if allowed != nil && !slices.Contains(allowed, node.Value) {
		d.refuse(node, path, "%s is not known: write %s%s", quote(node.Value), oneOf(enforcedValues(into.Type(), allowed)), didYouMean(node.Value, allowed))
	}
}

// isText reports a string, and what YAML takes for a date and Kubernetes for a
// string.
func isText(node *yaml.Node) bool {
	tag := node.ShortTag()
	return node.Kind == yaml.ScalarNode && (tag == "!!str" || tag == "!!timestamp")
}

// printable refuses control characters: none belongs in a name, and in a log or on
// a terminal they may do harm.
func (d *decoder) printable(node *yaml.Node, path string) {
	if strings.ContainsFunc(node.Value, isUnprintable) {
		d.refuse(node, path, "has a control character in it")
	}
}

func isUnprintable(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Noncharacter_Code_Point, r) ||
		r == '\ufeff' || r == unicode.ReplacementChar
}

func (d *decoder) boolean(path string, node *yaml.Node, into reflect.Value) {
	var value bool
	if node.ShortTag() != "!!bool" || node.Decode(&value) != nil {
		d.refuse(node, path, "want true or false, not %s", describe(node))
		return
	}
	into.SetBool(value)
}

func (d *decoder) integer(path string, node *yaml.Node, into reflect.Value) {
	var value int
	if node.ShortTag() != "!!int" || node.Decode(&value) != nil {
		d.refuse(node, path, "want a whole number, not %s", describe(node))
		return
	}
	into.SetInt(int64(value))
}

func (d *decoder) duration(path string, node *yaml.Node, into *metav1.Duration) {
	if !isText(node) {
		d.refuse(node, path, "want a duration such as 90s, 10m or 24h, not %s", describe(node))
		return
	}
	value, err := time.ParseDuration(node.Value)
	if err != nil {
		d.refuse(node, path, "%s is not a duration: write it in hours, minutes and seconds, such as 24h, 10m or 1m30s", quote(node.Value))
		return
	}
	into.Duration = value
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func names(known []fields.Field) []string {
	list := make([]string, len(known))
	for i, field := range known {
		list[i] = field.Name
	}
	return list
}
