package v1alpha1

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1/internal/fields"
)

// part is a part of the documents: a kind, by its type and no name; a field, by its
// structure and its name; or a value, by its enumeration and its text.
type part struct {
	of   reflect.Type
	name string
}

// unenforced is what the design knows and nothing does yet, and what to do about it. It
// is decoded and described, and [Validate] refuses it: accepted and ignored, a field such
// as waitForOffline would be a promise broken in silence. What is enforced from now on
// leaves this table, and with that the marks in the schemas and in the reference.
var unenforced = map[part]string{}

// Unenforced reports whether nothing enforces a part of the documents yet: a kind, by its
// Go type and no name; a field, by its structure and its name in YAML; or a value, by the
// type of its enumeration. Such a part is decoded and described, and [Validate] refuses it.
func Unenforced(of reflect.Type, name string) bool {
	_, found := unenforced[part{of, name}]
	return found
}

// enforcedValues are the values of an enumeration that something enforces.
func enforcedValues(enumeration reflect.Type, values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(value string) bool { return Unenforced(enumeration, value) })
}

// enforcedKinds are the kinds of document that something enforces.
func enforcedKinds() []string {
	return slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool {
		return Unenforced(reflect.TypeOf(newObject(kind)).Elem(), "")
	})
}

// enforced refuses what is written in a document and not enforced yet.
func (v *validator) enforced(document Document) {
	value := reflect.ValueOf(document.Object).Elem()
	if advice, found := unenforced[part{value.Type(), ""}]; found {
		v.refuse(document, "kind", "%s is decoded and checked, but nothing enforces it yet: %s", document.Object.kind(), advice)
	}
	v.enforcedBelow(document, "", value)
}

// enforcedBelow goes through a value of our own types.
func (v *validator) enforcedBelow(document Document, path string, value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() {
			v.enforcedBelow(document, path, value.Elem())
		}
	case reflect.Slice:
		for i := range value.Len() {
			v.enforcedBelow(document, fmt.Sprintf("%s[%d]", path, i), value.Index(i))
		}
	case reflect.String:
		if advice, found := unenforced[part{value.Type(), value.String()}]; found {
			v.refuse(document, path, "%s is not enforced yet: %s", value, advice)
		}
	case reflect.Struct:
		if value.Type().PkgPath() == ours {
			v.enforcedFields(document, path, value)
		}
	}
}

// ours is the path of this package.
var ours = reflect.TypeFor[part]().PkgPath()

func (v *validator) enforcedFields(document Document, path string, structure reflect.Value) {
	for _, field := range fields.Of(structure.Type()) {
		at, value := join(path, field.Name), structure.FieldByIndex(field.Go.Index)
		if advice, found := unenforced[part{structure.Type(), field.Name}]; found && !value.IsZero() {
			v.refuse(document, at, "is not enforced yet: %s", advice)
			continue
		}
		v.enforcedBelow(document, at, value)
	}
}
