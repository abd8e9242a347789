package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/api/v1alpha1/internal/fields"
)

// Schema is the part of JSON Schema, draft 7, that documents need.
type Schema struct {
	Schema      string `json:"$schema,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Type        string `json:"type"`

	Enum      []string `json:"enum,omitempty"`
	Default   any      `json:"default,omitempty"`
	Pattern   string   `json:"pattern,omitempty"`
	MinLength int      `json:"minLength,omitempty"`
	MaxLength int      `json:"maxLength,omitempty"`

	Items    *Schema `json:"items,omitempty"`
	MinItems int     `json:"minItems,omitempty"`

	Required   []string           `json:"required,omitempty"`
	Properties map[string]*Schema `json:"properties,omitempty"`
	// AdditionalProperties is false for a struct, a schema for a map.
	AdditionalProperties any `json:"additionalProperties,omitempty"`
}

// The patterns of strings that have a form. Editors cannot know more than that: a
// name's length, say, is an extra rule.
const (
	durationPattern  = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	namePattern      = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	keyPattern       = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	configMapPattern = `^[-._a-zA-Z0-9]+$`
)

// refine adds what the Go types do not say, by the path of a field.
var refine = map[string]func(*Schema){
	"metadata.name":                      func(s *Schema) { s.Pattern, s.MaxLength = namePattern, 63 },
	"metadata.namespace":                 func(s *Schema) { s.Pattern, s.MaxLength = keyPattern, 63 },
	"spec.issuedBy.name":                 func(s *Schema) { s.Pattern, s.MaxLength = namePattern, 63 },
	"spec.keys":                          func(s *Schema) { s.MinItems = 1 },
	"spec.keys[].name":                   func(s *Schema) { s.Pattern, s.MaxLength = keyPattern, 63 },
	"spec.subject.commonName":            func(s *Schema) { s.MinLength, s.MaxLength = 1, 62 },
	"spec.subject.organizations[]":       func(s *Schema) { s.MinLength, s.MaxLength = 1, 64 },
	"spec.subject.organizationalUnits[]": func(s *Schema) { s.MinLength, s.MaxLength = 1, 64 },
	"spec.subject.countries[]":           func(s *Schema) { s.Pattern = "^[A-Z]{2}$" },
	"spec.authorities":                   func(s *Schema) { s.MinItems = 1 },
	"spec.target.configMap.key":          func(s *Schema) { s.Pattern, s.MaxLength = configMapPattern, 253 },
	"spec.privateKey.size":               func(s *Schema) { s.Default = nil }, // it depends on the algorithm
}

// document is the schema of one kind; the object holds the kind's defaults.
func document(kind string, object any, comments comments) *Schema {
	value := reflect.ValueOf(object).Elem()
	schema := builder{comments}.of("", value)
	schema.Schema = "http://json-schema.org/draft-07/schema#"
	schema.Title = kind
	schema.Description = comments.ofType(value.Type())
	schema.Properties["apiVersion"] = &Schema{Type: "string", Enum: []string{v1alpha1.APIVersion}, Description: "Version of the document."}
	schema.Properties["kind"] = &Schema{Type: "string", Enum: []string{kind}, Description: "Kind of the document."}
	schema.Required = append([]string{"apiVersion", "kind"}, schema.Required...)
	if kind == v1alpha1.KindAuthority {
		schema.Properties["metadata"].Required = append(schema.Properties["metadata"].Required, "namespace")
	}
	return schema
}

type builder struct{ comments comments }

// of is the schema of a value at a path. Where the value is not zero, it is the
// default.
func (b builder) of(path string, value reflect.Value) *Schema {
	if value.Kind() == reflect.Pointer {
		if value.IsNil() {
			value = reflect.New(value.Type().Elem())
		}
		value = value.Elem()
	}
	schema := b.bare(path, value)
	if add, found := refine[path]; found {
		add(schema)
	}
	return schema
}

func (b builder) bare(path string, value reflect.Value) *Schema {
	if duration, ok := value.Interface().(metav1.Duration); ok {
		return &Schema{Type: "string", Pattern: durationPattern, Default: durationDefault(duration.Duration)}
	}
	switch value.Kind() {
	case reflect.Struct:
		return b.structure(path, value)
	case reflect.Slice:
		return &Schema{Type: "array", Items: b.of(path+"[]", reflect.New(value.Type().Elem()).Elem())}
	case reflect.Map:
		return &Schema{Type: "object", AdditionalProperties: &Schema{Type: "string"}}
	case reflect.Bool:
		return &Schema{Type: "boolean"}
	case reflect.Int:
		return &Schema{Type: "integer", Default: orNothing(value)}
	default:
		return &Schema{Type: "string", Enum: values(value.Type()), Default: orNothing(value)}
	}
}

func (b builder) structure(path string, value reflect.Value) *Schema {
	schema := &Schema{Type: "object", AdditionalProperties: false, Properties: map[string]*Schema{}}
	for _, field := range fields.Of(value.Type()) {
		at := strings.TrimPrefix(path+"."+field.Name, ".")
		property := b.of(at, value.FieldByIndex(field.Go.Index))
		property.Description = b.comments.ofField(value.Type(), field)
		schema.Properties[field.Name] = property
		if field.Required {
			schema.Required = append(schema.Required, field.Name)
		}
	}
	return schema
}

func values(t reflect.Type) []string {
	if t == reflect.TypeFor[metav1.LabelSelectorOperator]() {
		return []string{
			string(metav1.LabelSelectorOpIn), string(metav1.LabelSelectorOpNotIn),
			string(metav1.LabelSelectorOpExists), string(metav1.LabelSelectorOpDoesNotExist),
		}
	}
	return fields.Values(t)
}

func orNothing(value reflect.Value) any {
	if value.IsZero() {
		return nil
	}
	return value.Interface()
}

// durationDefault writes a duration as people do: 10m, not 10m0s.
func durationDefault(duration time.Duration) any {
	switch {
	case duration == 0:
		return nil
	case duration%time.Hour == 0:
		return fmt.Sprintf("%dh", duration/time.Hour)
	case duration%time.Minute == 0:
		return fmt.Sprintf("%dm", duration/time.Minute)
	}
	return duration.String()
}
