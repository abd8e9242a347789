package main

import (
	"encoding/json"
	"maps"
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

const (
	source    = "../.."
	crd       = "../../../../config/crd/reanchor.dev_trustdomains.yaml"
	documents = "../../../../docs/reference"
	planning  = "../../../../planner"
)

func generated(t *testing.T) *generator {
	t.Helper()
	g, err := read(source, crd)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func schemas(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := generated(t).schemas()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func plan(t *testing.T) []byte {
	t.Helper()
	schema, err := planSchema(planning)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestWhatIsGeneratedIsUpToDate(t *testing.T) {
	pages, err := generated(t).reference()
	if err != nil {
		t.Fatal(err)
	}
	upToDate(t, "..", "*.json", schemas(t))
	pages[commandLine] = standing(t, commandLine) // whose own test compares it
	upToDate(t, documents, "*.md", pages)
	upToDate(t, documents, "*.json", map[string][]byte{planFile: plan(t)})
}

// commandLine is the page that cmd/reanchor writes.
const commandLine = "cli.md"

func standing(t *testing.T, page string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(documents, page))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// upToDate compares the files of a folder with those that are generated.
func upToDate(t *testing.T, folder, pattern string, files map[string][]byte) {
	t.Helper()
	standing, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(standing) != len(files) {
		t.Errorf("%d files stand in %s, %d are generated: run make generate", len(standing), folder, len(files))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is stale (%v): run make generate", name, err)
		}
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	files := schemas(t)
	files[planFile] = plan(t)
	for name, content := range files {
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
		group     = head + "kind: DeviceGroup\nmetadata: {name: g}\nspec:\n  issuer: {name: a, kind: Issuer}\n  namespace: b\n  bootstrap: {certificates: c, identity: URI}\n"
	)
	files := schemas(t)
	for name, test := range map[string]struct {
		document string
		valid    bool
	}{
		"authority":          {authority + keys, true},
		"everything":         {authority + keys + "  duration: 1h30m\n  privateKey: {algorithm: RSA, size: 2048}\n  issuedBy: {name: root}\n  rollover: {soak: 0s, skew: 5m, confirm: Workloads, canaryInterval: 10m, paused: true}\n", true},
		"bundle":             {bundle + target, true},
		"selector":           {bundle + "  target: {configMap: {key: ca.crt}, namespaceSelector: {matchExpressions: [{key: a, operator: Exists}]}}\n", true},
		"binding":            {binding + "spec: {scope: Cluster, authority: root}\n", true},
		"unknown field":      {authority + keys + "  colour: red\n", false},
		"unknown nested":     {bundle + "  target: {configMap: {key: ca.crt, name: x}}\n", false},
		"missing keys":       {authority, false},
		"missing target":     {bundle, false},
		"missing scope":      {binding + "spec: {authority: root}\n", false},
		"unknown scope":      {binding + "spec: {scope: Site, authority: root}\n", false},
		"number for a name":  {authority + "  keys: [{name: 2026, state: Signing}]\n", false},
		"compromised":        {authority + "  keys: [{name: a, state: Compromised}]\n", true},
		"revoked":            {authority + "  keys: [{name: a, state: Revoked}]\n", false},
		"devices":            {authority + keys + "  rollover: {confirm: Devices, waves: [1, 100], waitForOffline: 1h, windows: [{cron: \"0 2 * * 6\", duration: 4h}]}\n", true},
		"waves in percent":   {authority + keys + "  rollover: {waves: [\"1%\"]}\n", false},
		"nameless window":    {authority + keys + "  rollover: {windows: [{duration: 4h}]}\n", false},
		"no subject":         {head + "kind: Authority\nmetadata: {name: root, namespace: pki}\nspec:\n" + keys, true},
		"key in a Secret":    {authority + "  keys: [{name: a, state: Signing, certificate: x, secret: {name: b}}]\n", true},
		"Secret by its name": {authority + "  keys: [{name: a, state: Signing, certificate: x, secret: b}]\n", false},
		"key behind Vault":   {authority + "  keys: [{name: a, state: Signing, certificate: x, issuer: {vault: {server: y, any: [1]}}}]\n", true},
		"lost certificate":   {authority + "  keys: [{name: a, state: Signing, certificate: \"\"}]\n", false},
		"issuer by its name": {authority + "  keys: [{name: a, state: Signing, certificate: x, issuer: vault}]\n", false},
		"issued by a name":   {authority + keys + "  issuedBy: x\n", false},
		"issued by nobody":   {authority + keys + "  issuedBy: {}\n", false},
		"issued by a key":    {authority + keys + "  issuedBy: {name: x, key: a}\n", false},
		"via ConfigMap":      {bundle + target + "  via: ConfigMap\n", true},
		"via nobody":         {bundle + target + "  via: Secret\n", false},
		"everything in a bundle": {
			head + "kind: TrustBundle\nmetadata: {name: t}\nspec:\n  certificates: [x]\n  useDefaultCAs: true\n  probes: [{address: \"a:1\"}]\n" +
				"  target: {secret: {key: a}, additionalFormats: {jks: {key: b, password: c}, pkcs12: {key: d, password: \"\", profile: LegacyDES}}}\n", true,
		},
		"number for a password": {bundle + "  target: {secret: {key: a}, additionalFormats: {jks: {key: b, password: 1}}}\n", false},
		"unknown profile":       {bundle + "  target: {secret: {key: a}, additionalFormats: {pkcs12: {key: b, profile: RC4}}}\n", false},
		"references":            {binding + "spec: {scope: Cluster, authority: root, references: [{apiVersion: v1, kind: A, name: b, fieldPath: c}]}\n", true},
		"half a reference":      {binding + "spec: {scope: Cluster, authority: root, references: [{apiVersion: v1, kind: A, name: b}]}\n", false},
		"group":                 {group + "  recovery: {quota: 1}\n  certificate: {duration: 1h, keyAlgorithms: [RSA], usages: [any]}\n", true},
		"unknown identity":      {strings.Replace(group, "URI", "Serial", 1), false},
		"group without issuer":  {strings.Replace(group, "issuer", "issuedBy", 1), false},
		"device":                {head + "kind: Device\nmetadata: {name: d}\nspec: {group: g, state: Blocked, request: x}\n", true},
		"device of no group":    {head + "kind: Device\nmetadata: {name: d}\nspec: {}\n", false},
		"policy":                {head + "kind: Policy\nmetadata: {name: p}\nspec: {match: {kinds: [A]}, validations: [{expression: b}]}\n", true},
		"policy about nothing":  {head + "kind: Policy\nmetadata: {name: p}\nspec: {match: {}, validations: [{expression: b}]}\n", false},
		"exemption for ever":    {head + "kind: Policy\nmetadata: {name: p}\nspec: {exemptions: [{rule: a, subject: b, reason: c}]}\n", false},
		"duration in years":     {authority + keys + "  duration: 10y\n", false},
		"duration as number":    {authority + keys + "  duration: 10\n", false},
		"string for paused":     {authority + keys + "  rollover: {paused: \"true\"}\n", false},
		"labels that are not":   {head + "kind: IssuerBinding\nmetadata: {name: a, labels: {a: 1}}\nspec: {scope: Cluster, authority: root}\n", false},
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

func TestRunWritesSchemasAndReference(t *testing.T) {
	folder := t.TempDir()
	if err := run(source, folder, crd, folder, planning); err != nil {
		t.Fatal(err)
	}
	written, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(written) != len(kinds)+4 {
		t.Errorf("wrote %q (%v), want a schema for each kind, three pages and the plan's schema", written, err)
	}
	if err := run(t.TempDir(), folder, crd, folder, planning); err == nil {
		t.Error("a folder without sources is no error")
	}
	if err := run(source, folder, folder, folder, planning); err == nil {
		t.Error("a CRD that is none is no error")
	}
	if err := run(source, folder, crd, folder, folder); err == nil {
		t.Error("a planner that is none is no error")
	}
}

// What nobody enforces is marked, for editors and for people; nothing else is.
func TestWhatIsNotEnforcedIsMarked(t *testing.T) {
	g := generated(t)
	marked := map[string]bool{}
	for _, kind := range kinds {
		if strings.HasSuffix(g.documents[kind].Description, notEnforced) {
			marked[kind] = true
		}
		for _, r := range rows("", g.documents[kind]) {
			if strings.HasSuffix(r.schema.Description, "ot enforced yet: refused.") {
				marked[kind+" "+r.path] = true
			}
		}
	}
	want := map[string]bool{}
	if !maps.Equal(marked, want) {
		t.Errorf("marked are %v, want %v", marked, want)
	}
}

func TestRowsOfTheReference(t *testing.T) {
	g := generated(t)
	for name, test := range map[string]struct{ table, row string }{
		"a default":        {must(g.fields("Authority")), "| `spec.rollover.soak` | duration | `10m` | Soak is how long distribution must have been seen complete before signing moves. |"},
		"a default before": {must(g.fields("Authority")), "| `spec.rollover.canaryInterval` | duration | `1h` | `canaryInterval` is how long a canary is proof of the key that an issuer signs with, after which another is sent, 10s at least. |"},
		"a required field": {must(g.fields("Device")), "| `spec.group` | text | **required** | Group that it is in. |"},
		"a reference":      {must(g.fields("Authority")), "| `spec.issuedBy` | `{name: …}` |  | `issuedBy` names the authority that signs this one's certificates; absent: a self-signed root."},
		"a list":           {must(g.fields("DeviceGroup")), "| `spec.certificate.keyAlgorithms` | list of `ECDSA`, `RSA`, `Ed25519` | `[ECDSA, Ed25519]` | `keyAlgorithms` that a device's key may be of. |"},
		"an acronym":       {g.spec(), "| `spec.source.url` | text | **required** | `url` of the repository:"},
		"a status":         {g.status(), "| `status.gates[].since` | time | Since when it has been seen to hold. |"},
		"of the defaults":  {g.defaults(), "| [Authority](#authority) | `spec.privateKey.size` | 384 for ECDSA, 4096 for RSA |"},
		"of the cluster":   {g.defaults(), "| [TrustDomain](trustdomain.md) | `spec.prune` | `true` |"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(test.table, "\n"+test.row) {
				t.Errorf("there is no row\n%s\nin\n%s", test.row, test.table)
			}
		})
	}
	if _, err := g.fields("Authorty"); err == nil {
		t.Error("a kind that is none is no error")
	}
	if _, err := g.mark("Authority", "spec.key", "x"); err == nil {
		t.Error("a field that is none is no error")
	}
	if _, err := g.example("none"); err == nil {
		t.Error("an example that is none is no error")
	}
}

func must(table string, err error) string {
	if err != nil {
		panic(err)
	}
	return table
}
