// Command generate writes the JSON Schemas by which editors complete and check the
// documents: one for each kind, authority.json say.
//
//	generate <folder of package v1alpha1> <folder of the schemas>
//
// A schema says what the decoder accepts (both read the struct tags through
// internal/fields) in the words of the package's own comments. Name it in a
// document's first line:
//
//	# yaml-language-server: $schema=<path or address of>/authority.json
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
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: generate <folder of package v1alpha1> <folder of the schemas>")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(source, target string) error {
	files, err := generate(source)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(target, name), files[name], 0o644); err != nil {
			return fmt.Errorf("write schema: %w", err)
		}
	}
	return nil
}

// generate makes the schemas' files, by name.
func generate(source string) (map[string][]byte, error) {
	comments, err := readComments(source)
	if err != nil {
		return nil, err
	}
	authority, bundle := &v1alpha1.Authority{}, &v1alpha1.TrustBundle{}
	authority.Default()
	bundle.Default()
	files := map[string][]byte{}
	for kind, object := range map[string]any{
		v1alpha1.KindAuthority:     authority,
		v1alpha1.KindIssuerBinding: &v1alpha1.IssuerBinding{},
		v1alpha1.KindTrustBundle:   bundle,
	} {
		encoded, err := encode(document(kind, object, comments))
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
