package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/reanchor/reanchor/api/v1alpha1/internal/fields"
)

// comments are the doc comments of types ("Authority") and of their fields
// ("Authority.Spec"), each in one line.
type comments map[string]string

// readComments reads those of the Go package in a folder.
func readComments(folder string) (comments, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("list the sources of %s: %w", folder, err)
	}
	found := comments{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("read comments: %w", err)
		}
		found.addTypes(file)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("read comments: there is no documented type in %s", folder)
	}
	return found, nil
}

func (c comments) addTypes(file *ast.File) {
	for _, declaration := range file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok || general.Tok != token.TYPE {
			continue
		}
		for _, spec := range general.Specs {
			c.addType(spec.(*ast.TypeSpec), general.Doc)
		}
	}
}

func (c comments) addType(spec *ast.TypeSpec, doc *ast.CommentGroup) {
	c.add(spec.Name.Name, doc)
	structure, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	var above *ast.CommentGroup
	for _, field := range structure.Fields.List {
		for _, name := range field.Names {
			doc := field.Doc
			if doc == nil && names(above, name.Name) {
				doc = above
			}
			c.add(spec.Name.Name+"."+name.Name, doc)
		}
		if field.Doc != nil {
			above = field.Doc
		}
	}
}

// names reports whether a comment names a field below the one that it stands above: "From
// and To …".
func names(doc *ast.CommentGroup, field string) bool {
	return slices.Contains(strings.FieldsFunc(doc.Text(), func(r rune) bool { return !unicode.IsLetter(r) }), field)
}

func (c comments) add(name string, doc *ast.CommentGroup) {
	var words []string
	for line := range strings.Lines(doc.Text()) {
		if !strings.HasPrefix(line, "+") { // a marker of controller-gen
			words = append(words, strings.Fields(line)...)
		}
	}
	if len(words) > 0 {
		c[name] = strings.Join(words, " ")
	}
}

func (c comments) ofType(t reflect.Type) string { return c[t.Name()] }

// ofField is a field's comment; for Kubernetes' own types, what they say of
// themselves.
func (c comments) ofField(structure reflect.Type, field fields.Field) string {
	if comment, found := c[structure.Name()+"."+field.Go.Name]; found {
		return comment
	}
	type documented interface{ SwaggerDoc() map[string]string }
	if foreign, ok := reflect.Zero(structure).Interface().(documented); ok {
		return foreign.SwaggerDoc()[field.Name]
	}
	return ""
}
