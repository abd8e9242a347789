// Command generate writes what tells people and editors which documents there are: the
// JSON Schemas by which editors complete and check them, one for each kind
// (authority.json say), the pages of the reference, and beside them the JSON Schema of what
// `reanchor plan -o json` prints (plan.schema.json).
//
//	generate <folder of package v1alpha1> <folder of the schemas> <TrustDomain's CRD> <folder of the reference> <folder of package planner>
//
// A schema says what the decoder accepts (both read the struct tags through
// internal/fields) in the words of the package's own comments. Name it in a
// document's first line:
//
//	# yaml-language-server: $schema=<path or address of>/authority.json
//
// The reference says the same to people: its prose stands in the folder pages, its
// examples in the package's testdata, and its tables come out of the schemas.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: generate <folder of package v1alpha1> <folder of the schemas> <TrustDomain's CRD> <folder of the reference> <folder of package planner>")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(source, schemas, crd, reference, planner string) error {
	g, err := read(source, crd)
	if err != nil {
		return err
	}
	files, err := g.schemas()
	if err != nil {
		return err
	}
	if err := write(schemas, files); err != nil {
		return err
	}
	pages, err := g.reference()
	if err != nil {
		return err
	}
	plan, err := planSchema(planner)
	if err != nil {
		return err
	}
	pages[planFile] = plan
	return write(reference, pages)
}

func write(folder string, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(folder, name), files[name], 0o644); err != nil {
			return fmt.Errorf("write what was generated: %w", err)
		}
	}
	return nil
}

// generator knows the schemas of everything that a person writes.
type generator struct {
	// examples are in this folder.
	examples string
	// documents by their kinds, and the TrustDomain.
	documents   map[string]*Schema
	trustDomain *Schema
}

// kinds of document in the order in which the reference tells of them.
var kinds = []string{
	v1alpha1.KindAuthority, v1alpha1.KindIssuerBinding, v1alpha1.KindTrustBundle,
	v1alpha1.KindDeviceGroup, v1alpha1.KindDevice, v1alpha1.KindPolicy,
}

// defaulted is a document that says nothing, with its defaults.
func defaulted(kind string) any {
	switch kind {
	case v1alpha1.KindAuthority:
		authority := &v1alpha1.Authority{}
		authority.Default()
		return authority
	case v1alpha1.KindIssuerBinding:
		return &v1alpha1.IssuerBinding{}
	case v1alpha1.KindTrustBundle:
		bundle := &v1alpha1.TrustBundle{}
		bundle.Spec.Target.AdditionalFormats.JKS = &v1alpha1.KeystoreFormat{}
		bundle.Default()
		return bundle
	case v1alpha1.KindDeviceGroup:
		group := &v1alpha1.DeviceGroup{}
		group.Default()
		return group
	case v1alpha1.KindDevice:
		device := &v1alpha1.Device{}
		device.Default()
		return device
	default:
		policy := &v1alpha1.Policy{}
		policy.Default()
		return policy
	}
}

// read makes the schemas out of the package in a folder and out of the CRD.
func read(source, crd string) (*generator, error) {
	comments, err := readComments(source)
	if err != nil {
		return nil, err
	}
	g := &generator{examples: filepath.Join(source, "testdata", "examples"), documents: map[string]*Schema{}}
	for _, kind := range kinds {
		g.documents[kind] = document(kind, defaulted(kind), comments)
	}
	g.trustDomain, err = readCRD(crd)
	return g, err
}

// schemas are the files of the documents' schemas, by name.
func (g *generator) schemas() (map[string][]byte, error) {
	files := map[string][]byte{}
	for kind, schema := range g.documents {
		encoded, err := encode(schema)
		if err != nil {
			return nil, fmt.Errorf("encode the schema of %s: %w", kind, err)
		}
		files[strings.ToLower(kind)+".json"] = encoded
	}
	return files, nil
}

func encode(schema *Schema) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(schema)
	return out.Bytes(), err
}
