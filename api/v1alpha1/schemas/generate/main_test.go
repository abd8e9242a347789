package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

func schemas(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestTheSchemasAreUpToDate(t *testing.T) {
	files := schemas(t)
	standing, err := filepath.Glob("../*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(standing) != len(files) {
		t.Errorf("%d schemas stand in the folder, %d are generated: run make generate", len(standing), len(files))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is stale (%v): run make generate", name, err)
		}
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	for name, content := range schemas(t) {
		var schema spec.Schema
		if err := json.Unmarshal(content, &schema); err != nil {
			t.Fatal(err)
		}
		described(t, name, schema)
	}
}

func described(t *testing.T, path string, schema spec.Schema) {
	t.Helper()
	for name, property := range schema.Properties {
		at := path + "." + name
		if property.Description == "" || strings.Contains(property.Description, "+kubebuilder") {
			t.Errorf("%s is described as %q", at, property.Description)
		}
		described(t, at, property)
		if property.Items != nil {
			described(t, at+"[]", *property.Items.Schema)
		}
	}
}

// accepts reports whether the schema of the document's kind finds it valid.
func accepts(t *testing.T, files map[string][]byte, document string) bool {
	t.Helper()
	var value map[string]any
	if err := yaml.Unmarshal([]byte(document), &value); err != nil {
		t.Fatal(err)
	}
	var schema spec.Schema
	if err := json.Unmarshal(files[strings.ToLower(value["kind"].(string))+".json"], &schema); err != nil {
		t.Fatal(err)
	}
	return validate.NewSchemaValidator(&schema, nil, "", strfmt.Default).Validate(value).IsValid()
}

// The schema and the decoder must agree: what an editor marks red is refused, and
// what it leaves alone is read.
func TestSchemaAndDecoderAgree(t *testing.T) {
	const (
		head      = "apiVersion: reanchor.dev/v1alpha1\n"
		authority = head + "kind: Authority\nmetadata: {name: root, namespace: pki}\nspec:\n  subject: {commonName: Root}\n"
		keys      = "  keys: [{name: \"2026\", state: Signing}]\n"
		bundle    = head + "kind: TrustBundle\nmetadata: {name: trust}\nspec:\n  authorities: [root]\n"
		target    = "  target: {configMap: {key: ca.crt}}\n"
		binding   = head + "kind: IssuerBinding\nmetadata: {name: fleet}\n"
	)
	files := schemas(t)
	for name, test := range map[string]struct {
		document string
		valid    bool
	}{
		"authority":           {authority + keys, true},
		"everything":          {authority + keys + "  duration: 1h30m\n  privateKey: {algorithm: RSA, size: 2048}\n  issuedBy: {name: root}\n  rollover: {soak: 0s, skew: 5m, confirm: Workloads, canaryInterval: 10m, paused: true}\n", true},
		"bundle":              {bundle + target, true},
		"selector":            {bundle + "  target: {configMap: {key: ca.crt}, namespaceSelector: {matchExpressions: [{key: a, operator: Exists}]}}\n", true},
		"binding":             {binding + "spec: {scope: Cluster, authority: root}\n", true},
		"unknown field":       {authority + keys + "  colour: red\n", false},
		"unknown nested":      {bundle + "  target: {configMap: {key: ca.crt, name: x}}\n", false},
		"missing keys":        {authority, false},
		"missing target":      {bundle, false},
		"missing scope":       {binding + "spec: {authority: root}\n", false},
		"unknown scope":       {binding + "spec: {scope: Site, authority: root}\n", false},
		"number for a name":   {authority + "  keys: [{name: 2026, state: Signing}]\n", false},
		"compromised":         {authority + "  keys: [{name: a, state: Compromised}]\n", false},
		"devices":             {authority + keys + "  rollover: {confirm: Devices}\n", false},
		"issued by a name":    {authority + keys + "  issuedBy: x\n", false},
		"issued by nobody":    {authority + keys + "  issuedBy: {}\n", false},
		"issued by a key":     {authority + keys + "  issuedBy: {name: x, key: a}\n", false},
		"via ConfigMap":       {bundle + target + "  via: ConfigMap\n", false},
		"duration in years":   {authority + keys + "  duration: 10y\n", false},
		"duration as number":  {authority + keys + "  duration: 10\n", false},
		"string for paused":   {authority + keys + "  rollover: {paused: \"true\"}\n", false},
		"labels that are not": {head + "kind: IssuerBinding\nmetadata: {name: a, labels: {a: 1}}\nspec: {scope: Cluster, authority: root}\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v1alpha1.Decode("f.yaml", []byte(test.document))
			if (err == nil) != test.valid {
				t.Errorf("the decoder says %v", err)
			}
			if accepts(t, files, test.document) != test.valid {
				t.Errorf("the schema finds it valid: %t", !test.valid)
			}
		})
	}
}

// What the decoder takes and validation refuses.
func TestSchemaRefusesBadNames(t *testing.T) {
	files := schemas(t)
	for name, document := range map[string]string{
		"no namespace":  "kind: Authority\nmetadata: {name: root}\nspec: {subject: {commonName: R}, keys: [{name: a, state: Signing}]}\n",
		"name":          "kind: Authority\nmetadata: {name: Root_1, namespace: a}\nspec: {subject: {commonName: R}, keys: [{name: a, state: Signing}]}\n",
		"key":           "kind: Authority\nmetadata: {name: root, namespace: a}\nspec: {subject: {commonName: R}, keys: [{name: A.1, state: Signing}]}\n",
		"no keys":       "kind: Authority\nmetadata: {name: root, namespace: a}\nspec: {subject: {commonName: R}, keys: []}\n",
		"parent":        "kind: Authority\nmetadata: {name: root, namespace: a}\nspec: {subject: {commonName: R}, issuedBy: {name: Root_1}, keys: [{name: a, state: Signing}]}\n",
		"country":       "kind: Authority\nmetadata: {name: root, namespace: a}\nspec: {subject: {commonName: R, countries: [Germany]}, keys: [{name: a, state: Signing}]}\n",
		"ConfigMap key": "kind: TrustBundle\nmetadata: {name: t}\nspec: {authorities: [root], target: {configMap: {key: a/b}}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if accepts(t, files, "apiVersion: reanchor.dev/v1alpha1\n"+document) {
				t.Error("the schema takes it")
			}
		})
	}
}

func TestRunWritesTheSchemas(t *testing.T) {
	folder := t.TempDir()
	if err := run("../..", folder); err != nil {
		t.Fatal(err)
	}
	written, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(written) != 3 {
		t.Errorf("wrote %q (%v), want three schemas", written, err)
	}
	if err := run(t.TempDir(), folder); err == nil {
		t.Error("a folder without sources is no error")
	}
}
