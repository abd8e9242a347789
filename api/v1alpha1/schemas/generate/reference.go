package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/reanchor/reanchor/policies"
)

// pages are the prose of the reference: templates of Markdown, in which tables and
// examples are called for.
//
//go:embed pages/*.md
var pages embed.FS

// reference are the pages of the reference, by name.
func (g *generator) reference() (map[string][]byte, error) {
	parsed, err := template.New("").Funcs(template.FuncMap{
		"fields":   g.fields,
		"metadata": g.metadata,
		"defaults": g.defaults,
		"example":  g.example,
		"mark":     g.mark,
		"spec":     g.spec,
		"status":   g.status,
		"rules":    rules,
	}).ParseFS(pages, "pages/*.md")
	if err != nil {
		return nil, fmt.Errorf("read the pages of the reference: %w", err)
	}
	files := map[string][]byte{}
	for _, page := range parsed.Templates() {
		var out bytes.Buffer
		if err := page.Execute(&out, nil); err != nil {
			return nil, fmt.Errorf("write the page %s: %w", page.Name(), err)
		}
		files[page.Name()] = out.Bytes()
	}
	return files, nil
}

// rules is the table of the built-in rules.
func rules() string {
	lines := []string{"| Rule | Severity | Exemption | What must be |", "| --- | --- | --- | --- |"}
	for _, rule := range policies.BuiltIn() {
		var severities []string
		for _, severity := range rule.Severities {
			severities = append(severities, string(severity))
		}
		exemption := "yes"
		if !rule.Exemptable {
			exemption = "**never**"
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s |", rule.Name, strings.Join(severities, ", "), exemption, rule.Says))
	}
	return strings.Join(lines, "\n")
}

// row is one field in a table.
type row struct {
	path     string
	required bool
	schema   *Schema
}

// rows are the fields below a schema, each before its own. What people know already, and
// references by name, are not taken apart.
func rows(path string, schema *Schema) []row {
	var found []row
	for _, name := range schema.order {
		below, at := schema.Properties[name], strings.TrimPrefix(path+"."+name, ".")
		found = append(found, row{at, slices.Contains(schema.Required, name), below})
		switch {
		case isSelector(below) || isReference(below) || isConditions(below):
		case below.Items != nil:
			found = append(found, rows(at+"[]", below.Items)...)
		default:
			found = append(found, rows(at, below)...)
		}
	}
	return found
}

// isSelector reports a Kubernetes label selector.
func isSelector(schema *Schema) bool { return schema.Properties["matchLabels"] != nil }

// isConditions reports Kubernetes' conditions.
func isConditions(schema *Schema) bool {
	return schema.Items != nil && schema.Items.Properties["lastTransitionTime"] != nil
}

// isReference reports a reference by name alone.
func isReference(schema *Schema) bool {
	return len(schema.Properties) == 1 && schema.Properties["name"] != nil
}

// fields is the table of a document's spec.
func (g *generator) fields(kind string) (string, error) {
	schema, found := g.documents[kind]
	if !found {
		return "", fmt.Errorf("there is no kind %s", kind)
	}
	return table(rows("spec", schema.Properties["spec"])), nil
}

// metadata is the table of the metadata that all documents have. What a kind says of its
// own is in its prose.
func (g *generator) metadata() string {
	return table(rows("metadata", g.documents[kinds[1]].Properties["metadata"]))
}

// spec is the table of the TrustDomain's spec.
func (g *generator) spec() string { return table(rows("spec", g.trustDomain.Properties["spec"])) }

// status is the table of the TrustDomain's status, which nobody writes by hand.
func (g *generator) status() string {
	lines := []string{"| Field | Type | Meaning |", "| --- | --- | --- |"}
	for _, r := range rows("status", g.trustDomain.Properties["status"]) {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", r.path, typeOf(r.schema), r.meaning()))
	}
	return strings.Join(lines, "\n")
}

func table(rows []row) string {
	lines := []string{"| Field | Type | Default | Meaning |", "| --- | --- | --- | --- |"}
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s |", r.path, typeOf(r.schema), r.standard(), r.meaning()))
	}
	return strings.Join(lines, "\n")
}

// standard is what a field is when it is not written.
func (r row) standard() string {
	switch {
	case r.required:
		return "**required**"
	case r.schema.depends != "":
		return r.schema.depends
	case r.schema.Default == nil:
		return ""
	}
	return "`" + inYAML(r.schema.Default) + "`"
}

// inYAML is a default as people write it.
func inYAML(value any) string {
	list := reflect.ValueOf(value)
	if list.Kind() != reflect.Slice {
		return fmt.Sprint(value)
	}
	var items []string
	for i := range list.Len() {
		items = append(items, fmt.Sprint(list.Index(i)))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// typeOf names a type for people.
func typeOf(schema *Schema) string {
	switch {
	case schema.isTime:
		return "time"
	case isReference(schema):
		return "`{name: …}`"
	case isConditions(schema):
		return "[conditions](https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/)"
	case isSelector(schema):
		return "[label selector](https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors)"
	case len(schema.Enum) > 0:
		return "`" + strings.Join(schema.Enum, "`, `") + "`"
	case strings.Contains(schema.Pattern, "ms|s|m|h"):
		return "duration"
	case schema.Items != nil && schema.Items.Properties == nil:
		return "list of " + typeOf(schema.Items)
	}
	if word, found := typeWords[schema.Type]; found {
		return word
	}
	return schema.Type
}

var typeWords = map[string]string{"array": "list", "object": "mapping", "boolean": "true or false", "integer": "number", "string": "text"}

// whenAbsent is what a description says of a default, which has a column of its own.
var whenAbsent = regexp.MustCompile(`; [^;.,]* when absent`)

// meaning is the field's description in a table.
func (r row) meaning() string {
	text := r.schema.Description
	if r.standard() != "" && !r.required {
		text = whenAbsent.ReplaceAllString(text, "")
	}
	text = strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(yamlName(r.path, text))
	for _, mark := range []string{"Not enforced yet: refused.", "is not enforced yet: refused."} {
		text = strings.ReplaceAll(text, mark, "**"+mark+"**")
	}
	return text
}

// yamlName begins a description with the field's name in YAML, where it begins with that in
// Go and the two are not one word: "IssuedBy names" becomes "`issuedBy` names".
func yamlName(path, text string) string {
	name := path[strings.LastIndex(path, ".")+1:]
	first, rest, _ := strings.Cut(text, " ")
	title := strings.ToUpper(name[:1]) + name[1:]
	if !strings.EqualFold(first, name) || first == title && name == strings.ToLower(name) {
		return text
	}
	return "`" + name + "` " + rest
}

// mark says of a kind, a field or one of its values that nothing enforces it yet; nothing
// if something does.
func (g *generator) mark(kind, path, value string) (string, error) {
	whole, found := g.documents[kind]
	if !found {
		return "", fmt.Errorf("there is no kind %s", kind)
	}
	description, sentence := whole.Description, notEnforced
	if path != "" {
		at := slices.IndexFunc(rows("", whole), func(r row) bool { return r.path == path })
		if at < 0 {
			return "", fmt.Errorf("%s has no field %s", kind, path)
		}
		description, sentence = rows("", whole)[at].schema.Description, " "+value+" is not enforced yet: refused."
	}
	if !strings.HasSuffix(description, sentence) {
		return "", nil
	}
	return "**" + strings.TrimSpace(notEnforced) + "** ", nil
}

// defaults is the table of all defaults, of the documents and of the TrustDomain.
func (g *generator) defaults() string {
	lines := []string{"| Document | Field | Default |", "| --- | --- | --- |"}
	add := func(name string, rows []row) {
		for _, r := range rows {
			if standard := r.standard(); standard != "" && !r.required {
				lines = append(lines, fmt.Sprintf("| %s | `%s` | %s |", name, r.path, standard))
			}
		}
	}
	for _, kind := range kinds {
		add("["+kind+"](#"+strings.ToLower(kind)+")", rows("", g.documents[kind]))
	}
	add("[TrustDomain](trustdomain.md)", rows("spec", g.trustDomain.Properties["spec"]))
	return strings.Join(lines, "\n")
}

// example is a block with one of the examples.
func (g *generator) example(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(g.examples, name+".yaml"))
	if err != nil {
		return "", fmt.Errorf("read the example: %w", err)
	}
	return "```yaml\n" + string(data) + "```", nil
}
