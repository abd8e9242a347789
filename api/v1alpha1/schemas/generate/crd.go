package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/api/v1alpha1/internal/fields"
)

// readCRD makes a schema out of the TrustDomain's, which controller-gen made out of the Go
// types: of the spec and the status, in the order of the Go source.
func readCRD(path string) (*Schema, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the CRD: %w", err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return nil, fmt.Errorf("read the CRD %s: %w", path, err)
	}
	if len(crd.Spec.Versions) != 1 || crd.Spec.Versions[0].Schema == nil {
		return nil, fmt.Errorf("read the CRD %s: want one version with a schema", path)
	}
	whole := *crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	part := func(name string, structure reflect.Type) *Schema {
		return fromCRD(whole.Properties[name], structure)
	}
	return &Schema{
		Type: "object", Description: oneLine(whole.Description),
		Properties: map[string]*Schema{
			"spec": part("spec", reflect.TypeFor[v1alpha1.TrustDomainSpec]()), "status": part("status", reflect.TypeFor[v1alpha1.TrustDomainStatus]()),
		},
		order: []string{"spec", "status"},
	}, nil
}

// fromCRD is the schema of a value of a Go type.
func fromCRD(props apiextensionsv1.JSONSchemaProps, of reflect.Type) *Schema {
	schema := &Schema{Type: props.Type, Description: oneLine(props.Description), Pattern: props.Pattern, Required: props.Required, Default: scalarDefault(props.Default), isTime: props.Format == "date-time"}
	for _, value := range props.Enum {
		schema.Enum = append(schema.Enum, strings.Trim(string(value.Raw), `"`))
	}
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if props.Items != nil {
		schema.Items = fromCRD(*props.Items.Schema, of)
	}
	if len(props.Properties) == 0 {
		return schema
	}
	schema.Properties = map[string]*Schema{}
	for _, field := range fields.Of(of) {
		if property, found := props.Properties[field.Name]; found {
			schema.Properties[field.Name] = fromCRD(property, field.Go.Type)
			schema.Properties[field.Name].Description = oneLine(property.Description)
			schema.order = append(schema.order, field.Name)
		}
	}
	return schema
}

// scalarDefault is a default that is not that of the fields below.
func scalarDefault(raw *apiextensionsv1.JSON) any {
	var value any
	if raw == nil || json.Unmarshal(raw.Raw, &value) != nil {
		return nil
	}
	if _, below := value.(map[string]any); below {
		return nil
	}
	return value
}

// oneLine is a text without its line breaks.
func oneLine(text string) string { return strings.Join(slices.Collect(strings.FieldsSeq(text)), " ") }
