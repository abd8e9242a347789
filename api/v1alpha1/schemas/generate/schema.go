package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/api/v1alpha1/internal/fields"
	"github.com/reanchor/reanchor/pki"
)

// Schema is the part of JSON Schema, draft 7, that documents need.
type Schema struct {
	Schema      string `json:"$schema,omitempty"`
	ID          string `json:"$id,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Type        string `json:"type"`

	Enum      []string `json:"enum,omitempty"`
	Default   any      `json:"default,omitempty"`
	Pattern   string   `json:"pattern,omitempty"`
	Format    string   `json:"format,omitempty"`
	MinLength int      `json:"minLength,omitempty"`
	MaxLength int      `json:"maxLength,omitempty"`

	Items    *Schema `json:"items,omitempty"`
	MinItems int     `json:"minItems,omitempty"`

	Required   []string           `json:"required,omitempty"`
	Properties map[string]*Schema `json:"properties,omitempty"`
	// AdditionalProperties is false for a struct, a schema for a map.
	AdditionalProperties any `json:"additionalProperties,omitempty"`

	// order of the properties in the Go source.
	order []string
	// depends says in words what the default is, where it depends on something.
	depends string
	// isTime reports a point in time.
	isTime bool
}

// The patterns of strings that have a form. Editors cannot know more than that: a
// name's length, say, is an extra rule.
const (
	durationPattern  = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	namePattern      = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	keyPattern       = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	configMapPattern = `^[-._a-zA-Z0-9]+$`
)

// refine adds what the Go types do not say, by the kind and the path of a field.
var refine = map[string]func(*Schema){
	"Authority spec.issuedBy.name":                 name,
	"Authority spec.keys":                          func(s *Schema) { s.MinItems = 1 },
	"Authority spec.keys[].name":                   func(s *Schema) { s.Pattern, s.MaxLength = keyPattern, 63 },
	"Authority spec.keys[].certificate":            func(s *Schema) { s.MinLength = 1 },
	"Authority spec.keys[].secret.name":            func(s *Schema) { s.Pattern, s.MaxLength = namePattern, 253 },
	"Authority spec.subject.commonName":            func(s *Schema) { s.MinLength, s.MaxLength = 1, 62 },
	"Authority spec.subject.organizations[]":       func(s *Schema) { s.MinLength, s.MaxLength = 1, 64 },
	"Authority spec.subject.organizationalUnits[]": func(s *Schema) { s.MinLength, s.MaxLength = 1, 64 },
	"Authority spec.subject.countries[]":           func(s *Schema) { s.Pattern = "^[A-Z]{2}$" },
	"Authority spec.privateKey.size":               func(s *Schema) { s.Default, s.depends = nil, keySizes() },

	"IssuerBinding spec.authority": name,

	"TrustBundle spec.target.configMap.key":                     output,
	"TrustBundle spec.target.secret.key":                        output,
	"TrustBundle spec.target.additionalFormats.jks.key":         output,
	"TrustBundle spec.target.additionalFormats.jks.password":    func(s *Schema) { s.MinLength, s.MaxLength = 1, 128 },
	"TrustBundle spec.target.additionalFormats.pkcs12.key":      output,
	"TrustBundle spec.target.additionalFormats.pkcs12.password": func(s *Schema) { s.MaxLength = 128 },

	"DeviceGroup spec.issuer.name":             func(s *Schema) { s.Pattern, s.MaxLength = namePattern, 253 },
	"DeviceGroup spec.namespace":               func(s *Schema) { s.Pattern, s.MaxLength = keyPattern, 63 },
	"DeviceGroup spec.certificate.renewBefore": func(s *Schema) { s.depends, s.Default = fmt.Sprintf("%s, a third of the duration", s.Default), nil },

	"Device spec.group": name,

	planKind + " stages[].phase":              phases,
	planKind + " trust[].before[].knownAfter": phases,
	planKind + " trust[].after[].knownAfter":  phases,

	"Policy spec.match.kinds": func(s *Schema) { s.MinItems = 1 },
	"Policy spec.validations": func(s *Schema) { s.MinItems = 1 },
}

// refineMetadata is the same for every kind.
var refineMetadata = map[string]func(*Schema){
	"metadata.name":      name,
	"metadata.namespace": func(s *Schema) { s.Pattern, s.MaxLength = keyPattern, 63 },
}

func name(s *Schema) { s.Pattern, s.MaxLength = namePattern, 63 }

func output(s *Schema) { s.Pattern, s.MaxLength = configMapPattern, 253 }

// keySizes are the sizes of keys that have a default.
func keySizes() string {
	var sizes []string
	for _, algorithm := range v1alpha1.KeyAlgorithm("").Values() {
		key := v1alpha1.PrivateKey{Algorithm: v1alpha1.KeyAlgorithm(algorithm)}
		if key.Default(); key.Size != 0 {
			sizes = append(sizes, fmt.Sprintf("%d for %s", key.Size, algorithm))
		}
	}
	return strings.Join(sizes, ", ")
}

// document is the schema of one kind; the object holds the kind's defaults.
func document(kind string, object any, comments comments) *Schema {
	value := reflect.ValueOf(object).Elem()
	schema := builder{comments, kind}.of("", value)
	schema.Schema = "http://json-schema.org/draft-07/schema#"
	schema.Title = kind
	schema.Description = comments.ofType(value.Type())
	if v1alpha1.Unenforced(value.Type(), "") {
		schema.Description += notEnforced
	}
	schema.Properties["apiVersion"] = &Schema{Type: "string", Enum: []string{v1alpha1.APIVersion}, Description: "Version of the document."}
	schema.Properties["kind"] = &Schema{Type: "string", Enum: []string{kind}, Description: "Kind of the document."}
	schema.Required = append([]string{"apiVersion", "kind"}, schema.Required...)
	if kind == v1alpha1.KindAuthority {
		schema.Properties["metadata"].Required = append(schema.Properties["metadata"].Required, "namespace")
	}
	return schema
}

// notEnforced marks what [v1alpha1.Validate] refuses for as long as nothing enforces it.
const notEnforced = " Not enforced yet: refused."

// scalars are the types that are written otherwise than their Go kinds say.
var scalars = map[reflect.Type]Schema{
	reflect.TypeFor[apiextensionsv1.JSON](): {Type: "object"},
	reflect.TypeFor[time.Time]():            {Type: "string", Format: "date-time", isTime: true},
	reflect.TypeFor[time.Duration]():        {Type: "integer"},
	reflect.TypeFor[pki.Fingerprint]():      {Type: "string", Pattern: "^[0-9a-f]{64}$"},
}

type builder struct {
	comments comments
	kind     string
}

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
	for _, add := range []func(*Schema){refine[b.kind+" "+path], refineMetadata[path]} {
		if add != nil {
			add(schema)
		}
	}
	return schema
}

func (b builder) bare(path string, value reflect.Value) *Schema {
	if duration, ok := value.Interface().(metav1.Duration); ok {
		return &Schema{Type: "string", Pattern: durationPattern, Default: durationDefault(duration.Duration)}
	}
	if scalar, found := scalars[value.Type()]; found {
		return &scalar
	}
	switch value.Kind() {
	case reflect.Struct:
		return b.structure(path, value)
	case reflect.Slice:
		return &Schema{Type: "array", Items: b.of(path+"[]", reflect.New(value.Type().Elem()).Elem()), Default: listDefault(value)}
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
		property.Description = b.comments.ofField(value.Type(), field) + unenforcedMark(value.Type(), field)
		schema.Properties[field.Name] = property
		schema.order = append(schema.order, field.Name)
		if field.Required {
			schema.Required = append(schema.Required, field.Name)
		}
	}
	return schema
}

// unenforcedMark says what of a field is not enforced yet: the field or some of its values.
func unenforcedMark(structure reflect.Type, field fields.Field) string {
	if v1alpha1.Unenforced(structure, field.Name) {
		return notEnforced
	}
	var mark string
	for _, value := range values(field.Go.Type) {
		if v1alpha1.Unenforced(field.Go.Type, value) {
			mark += " " + value + " is not enforced yet: refused."
		}
	}
	return mark
}

// listDefault is a list that stands where nothing is written.
func listDefault(value reflect.Value) any {
	if value.Len() == 0 {
		return nil
	}
	return value.Interface()
}

func values(t reflect.Type) []string {
	if t == reflect.TypeFor[metav1.LabelSelectorOperator]() {
		return []string{
			string(metav1.LabelSelectorOpIn), string(metav1.LabelSelectorOpNotIn),
			string(metav1.LabelSelectorOpExists), string(metav1.LabelSelectorOpDoesNotExist),
		}
	}
	if t.Kind() != reflect.String {
		return nil
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
