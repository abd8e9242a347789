// Package fields reads the struct tags of the documents once, for all who need to
// know what a document may say: the strict decoder and the generator of the JSON
// Schemas. So neither can offer what the other refuses.
//
// A field is required unless its json tag says omitempty or omitzero, as
// controller-gen has it.
package fields

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Field is a field of a document, as its author writes it.
type Field struct {
	// Name in YAML.
	Name string
	// Required reports that the field must be written.
	Required bool
	// Go is the struct's field; its Index leads there from the struct asked for,
	// through inlined ones.
	Go reflect.StructField
}

// known are the fields of the struct types that were asked for: tags never change.
var known sync.Map

// Of lists the fields of a struct type in the order of its source, those of
// inlined structs among them. The list must not be changed.
func Of(structure reflect.Type) []Field {
	found, seen := known.Load(structure)
	if !seen {
		found, _ = known.LoadOrStore(structure, read(structure))
	}
	return found.([]Field)
}

func read(structure reflect.Type) []Field {
	var found []Field
	for i := range structure.NumField() {
		field := structure.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case !field.IsExported() || name == "-":
		case name == "":
			found = append(found, inlined(field)...)
		default:
			optional := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
			found = append(found, Field{Name: name, Required: !optional, Go: field})
		}
	}
	return found
}

func inlined(field reflect.StructField) []Field {
	found := slices.Clone(Of(field.Type))
	for i := range found {
		found[i].Go.Index = append([]int{field.Index[0]}, found[i].Go.Index...)
	}
	return found
}

// Enumeration is implemented by the string types that have a closed set of values.
type Enumeration interface {
	// Values are the ones that are supported.
	Values() []string
}

// Values lists what a field of that type may hold; nil when anything.
func Values(t reflect.Type) []string {
	if enumeration, ok := reflect.Zero(t).Interface().(Enumeration); ok {
		return enumeration.Values()
	}
	return nil
}
