package v1alpha1

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"

	"go.yaml.in/yaml/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// raw keeps a mapping that belongs to somebody else's API as JSON, in one form: equal
// mappings have equal bytes, however they are written.
func (d *decoder) raw(path string, node *yaml.Node, into *apiextensionsv1.JSON) {
	before := len(d.errors)
	value := d.mapping(path, node)
	if len(d.errors) > before {
		return
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		d.refuse(node, path, "has no form in JSON: %s", err)
		return
	}
	into.Raw = encoded
}

// mapping is a mapping as JSON has it. A field that is left empty counts as absent.
func (d *decoder) mapping(path string, node *yaml.Node) map[string]any {
	found := map[string]any{}
	d.each(path, node, func(key, value *yaml.Node) {
		at := join(path, short(key.Value))
		d.lines[at] = key.Line
		d.printable(key, at)
		if value = follow(value); !isNull(value) {
			found[key.Value] = d.value(at, value)
		}
	})
	return found
}

// value is any value as JSON has it; nil with an error if there is none.
func (d *decoder) value(path string, node *yaml.Node) any {
	switch {
	case node.Kind == yaml.MappingNode:
		return d.mapping(path, node)
	case node.Kind == yaml.SequenceNode:
		return d.values(path, node)
	case isText(node):
		d.printable(node, path)
		return node.Value
	case node.ShortTag() == "!!bool":
		value := false
		d.boolean(path, node, reflect.ValueOf(&value).Elem())
		return value
	}
	return d.number(path, node)
}

func (d *decoder) values(path string, node *yaml.Node) []any {
	found := make([]any, len(node.Content))
	for i, item := range node.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.lines[at] = item.Line
		if item = follow(item); isNull(item) {
			d.refuse(item, at, "is empty")
			continue
		}
		found[i] = d.value(at, item)
	}
	return found
}

// number is a number, whole where it can be, so that 1.0 and 1 are the same.
func (d *decoder) number(path string, node *yaml.Node) any {
	const exact = 1 << 53 // whole numbers below are exact in a float64
	var whole int64
	var large uint64
	var fraction float64
	switch tag := node.ShortTag(); {
	case tag == "!!int" && node.Decode(&whole) == nil:
		return whole
	case tag == "!!int" && node.Decode(&large) == nil:
		return large
	case tag != "!!float" || node.Decode(&fraction) != nil || math.IsInf(fraction, 0) || math.IsNaN(fraction):
		d.refuse(node, path, "want a value that JSON has, not %s", describe(node))
		return nil
	case fraction == math.Trunc(fraction) && math.Abs(fraction) < exact:
		return int64(fraction)
	}
	return fraction
}
