// Package crd holds the TrustDomain's CustomResourceDefinition, generated from
// api/v1alpha1, and checks it with the API server's own code: the CRD is valid, its
// rules compile and are cheap enough, and they admit what they should.
package crd

import (
	"context"
	"os"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	schemavalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

const file = "reanchor.dev_trustdomains.yaml"

// read loads the CRD as the API server stores it: with its defaults, and converted.
func read(t *testing.T) *apiextensions.CustomResourceDefinition {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var external apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &external); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&external)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&external.Spec)
	var internal apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&external, &internal, nil); err != nil {
		t.Fatal(err)
	}
	return &internal
}

// The API server's own validation of a CRD compiles the CEL rules and estimates
// their cost.
func TestTheAPIServerTakesTheCRD(t *testing.T) {
	crd := read(t)
	crd.Status.StoredVersions = []string{"v1alpha1"}
	if errs := validation.ValidateCustomResourceDefinition(context.Background(), crd); len(errs) > 0 {
		t.Error(errs.ToAggregate())
	}
}

func TestTheKustomizationListsTheCRD(t *testing.T) {
	data, err := os.ReadFile("kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "- "+file+"\n") {
		t.Errorf("%s is not listed:\n%s", file, data)
	}
}

// server does to an object what the API server does at its creation.
type server struct {
	structural *structuralschema.Structural
	schema     schemavalidation.SchemaValidator
	rules      *cel.Validator
}

func newServer(t *testing.T) server {
	t.Helper()
	// The version's schema is lifted to the top when all versions share it.
	schema := read(t).Spec.Validation
	structural, err := structuralschema.NewStructural(schema.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := schemavalidation.NewSchemaValidator(schema.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	return server{structural, validator, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
}

func (s server) admit(object map[string]any) field.ErrorList {
	defaulting.Default(object, s.structural)
	errs := schemavalidation.ValidateCustomResource(nil, object, s.schema)
	broken, _ := s.rules.Validate(context.Background(), nil, s.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, broken...)
}

func domain(t *testing.T, spec string) map[string]any {
	t.Helper()
	object := map[string]any{}
	if err := yaml.Unmarshal([]byte("apiVersion: reanchor.dev/v1alpha1\nkind: TrustDomain\nmetadata: {name: plant, namespace: pki}\nspec:\n"+spec), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

const sourceLine = "  source: {url: https://git.example.com/plant.git}\n"

func TestDefaults(t *testing.T) {
	object := domain(t, sourceLine)
	if errs := newServer(t).admit(object); len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	for path, want := range map[string]any{
		"spec.interval": "1m", "spec.retryInterval": "1m", "spec.timeout": "5m", "spec.prune": true,
		"spec.source.ref.branch": "main", "status.observedGeneration": int64(-1),
		"spec.writeBack.mode": "Enabled", "spec.writeBack.author.name": "reanchor", "spec.writeBack.author.email": "noreply@reanchor.dev",
	} {
		got, found, err := unstructured.NestedFieldNoCopy(object, strings.Split(path, ".")...)
		if err != nil || !found || got != want {
			t.Errorf("%s is %v (%v), want %v", path, got, err, want)
		}
	}
}

func TestValidTrustDomains(t *testing.T) {
	server := newServer(t)
	for name, spec := range map[string]string{
		"all fields": "  interval: 1h30m\n  retryInterval: 1s\n  timeout: 1.5h\n  prune: false\n  suspend: true\n" +
			"  writeBack: {mode: Enabled, branch: records/plant, author: {name: Plant PKI, email: pki@example.com}}\n" +
			"  serviceAccountName: plant.writer-1\n  webhook: {type: Gitea, secretRef: {name: hook}}\n" +
			"  source:\n    url: https://git.example.com/plant.git\n    ref: {branch: release/1}\n    path: sites/plant-1\n" +
			"    secretRef: {name: git}\n    certSecretRef: {name: git-ca}\n    proxySecretRef: {name: proxy}\n    verify: {secretRef: {name: signers}}\n",
		"a disk":         "  source: {url: file:///srv/git/plant.git, verify: {mode: HEAD, secretRef: {name: signers}}}\n",
		"SSH":            "  source: {url: ssh://git@git.example.com/a.git, secretRef: {name: git}, proxySecretRef: {name: proxy}}\n",
		"signed commits": sourceLine + "  writeBack: {signingKey: {secretRef: {name: key}}}\n",
		"path with dots": "  source: {url: https://git.example.com/a.git, path: a..b/.c/...}\n",
		"no record":      sourceLine + "  writeBack: {mode: Disabled}\n",
		"at in the path": "  source: {url: https://git.example.com/~a@b/c.git}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if errs := server.admit(domain(t, spec)); len(errs) > 0 {
				t.Error(errs.ToAggregate())
			}
		})
	}
}

func TestInvalidTrustDomains(t *testing.T) {
	server := newServer(t)
	for name, test := range map[string]struct{ spec, want string }{
		"interval":            {sourceLine + "  interval: 999ms\n", "interval must be at least 1s"},
		"retryInterval":       {sourceLine + "  retryInterval: 0s\n", "retryInterval must be at least 1s"},
		"timeout":             {sourceLine + "  timeout: 0.5s\n", "timeout must be at least 1s"},
		"days":                {sourceLine + "  interval: 1d\n", "spec.interval in body should match"},
		"number":              {sourceLine + "  interval: 60\n", "must be of type string"},
		"absolute path":       {"  source: {url: https://git.example.com/a.git, path: /etc}\n", "path must be relative and stay inside the repository"},
		"escaping path":       {"  source: {url: https://git.example.com/a.git, path: a/../../b}\n", "path must be relative and stay inside the repository"},
		"plain HTTP":          {"  source: {url: http://git.example.com/a.git}\n", "spec.source.url in body should match"},
		"SSH without a key":   {"  source: {url: ssh://git@git.example.com/a.git}\n", "a repository at ssh:// needs secretRef, with identity and known_hosts"},
		"SSH with CAs":        {"  source: {url: ssh://git@git.example.com/a.git, secretRef: {name: a}, certSecretRef: {name: b}}\n", "certSecretRef is for https://, and url is ssh://"},
		"SSH with a password": {"  source: {url: ssh://git:hush@git.example.com/a.git, secretRef: {name: a}}\n", "url must not hold credentials: use secretRef"},
		"a disk with a key":   {"  source: {url: file:///srv/a.git, secretRef: {name: a}}\n", "a repository at file:// is read from the disk"},
		"a disk with CAs":     {"  source: {url: file:///srv/a.git, certSecretRef: {name: a}}\n", "a repository at file:// is read from the disk"},
		"a disk with a proxy": {"  source: {url: file:///srv/a.git, proxySecretRef: {name: a}}\n", "a repository at file:// is read from the disk"},
		"verify by nobody":    {"  source: {url: https://git.example.com/a.git, verify: {}}\n", "spec.source.verify.secretRef: Required value"},
		"verify all commits":  {"  source: {url: https://git.example.com/a.git, verify: {mode: All, secretRef: {name: a}}}\n", `supported values: "HEAD"`},
		"signing by nobody":   {sourceLine + "  writeBack: {signingKey: {}}\n", "spec.writeBack.signingKey.secretRef: Required value"},
		"service account":     {sourceLine + "  serviceAccountName: \"system:serviceaccount:a:b\"\n", "spec.serviceAccountName in body should match"},
		"webhook of nobody":   {sourceLine + "  webhook: {type: Gerrit, secretRef: {name: a}}\n", `supported values: "GitHub", "GitLab", "Gitea", "Generic"`},
		"credentials":         {"  source: {url: https://me:token@git.example.com/a.git}\n", "url must not hold credentials: use secretRef"},
		"empty branch":        {"  source: {url: https://git.example.com/a.git, ref: {branch: ''}}\n", "spec.source.ref.branch in body should be at least 1 chars long"},
		"nameless Secret":     {"  source: {url: https://git.example.com/a.git, secretRef: {}}\n", "spec.source.secretRef.name: Required value"},
		"no source":           {"  prune: true\n", "spec.source: Required value"},
		"a reference":         {"  source: {url: https://git.example.com/a.git, ref: {branch: refs/heads/main}}\n", "branch must be a name such as main"},
		"writeBack to a fork": {sourceLine + "  writeBack: {mode: Fork}\n", `supported values: "Enabled", "Disabled"`},
		"record reference":    {sourceLine + "  writeBack: {branch: refs/heads/main}\n", "branch must be a name such as main"},
		"author's name":       {sourceLine + "  writeBack: {author: {name: \"a <b>\"}}\n", "spec.writeBack.author.name in body should match"},
		"two lines of author": {sourceLine + "  writeBack: {author: {name: \"a\\nb\"}}\n", "spec.writeBack.author.name in body should match"},
		"author's address":    {sourceLine + "  writeBack: {author: {email: a b@c}}\n", "spec.writeBack.author.email in body should match"},
	} {
		t.Run(name, func(t *testing.T) {
			errs := server.admit(domain(t, test.spec))
			if len(errs) == 0 || !strings.Contains(errs.ToAggregate().Error(), test.want) {
				t.Errorf("got %v, want %q", errs.ToAggregate(), test.want)
			}
		})
	}
}
