package renderer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// The rendered objects are checked as an API server checks them: against the
// CustomResourceDefinitions of cert-manager, from the module that this one
// requires, and of trust-manager, a copy of the one of v0.25.0 (Apache-2.0).

func TestRenderedObjectsFitTheirDefinitions(t *testing.T) {
	definitions := definitions(t,
		filepath.Join(certManagerModule(t), "deploy", "crds", "cert-manager.io_certificates.yaml"),
		filepath.Join(certManagerModule(t), "deploy", "crds", "cert-manager.io_issuers.yaml"),
		filepath.Join(certManagerModule(t), "deploy", "crds", "cert-manager.io_clusterissuers.yaml"),
		filepath.Join("testdata", "crds", "trust.cert-manager.io_bundles.yaml"),
	)
	checked := map[string]int{}
	rendered := mustRender(t, mustLoad(t, repository(smallRepository(t)), "clusters/plant"), everyAlgorithm(t))
	for _, o := range append(rendered, mustRender(t, mustLoad(t, repository(fleet), ""), fromElsewhere(t))...) {
		definition, ours := definitions[o.GetKind()]
		if !ours {
			continue
		}
		checked[o.GetKind()]++
		check(t, definition, o)
	}
	for kind := range definitions {
		if checked[kind] == 0 {
			t.Errorf("no %s was checked", kind)
		}
	}
	if checked["Certificate"] < 6 {
		t.Errorf("%d Certificates were checked", checked["Certificate"])
	}
}

// everyAlgorithm is a target with a key of each kind, and every field of a subject.
func everyAlgorithm(t *testing.T) planner.Target {
	target := distributing(t)
	for name, spec := range map[string]planner.CASpec{
		"rsa":     {Algorithm: v1alpha1.RSA, Size: 4096},
		"ed25519": {Algorithm: v1alpha1.Ed25519},
		"ecdsa":   {Algorithm: v1alpha1.ECDSA, Size: 521},
	} {
		spec.CommonName, spec.Duration = name, rootSpec.Duration
		spec.Organizations, spec.OrganizationalUnits, spec.Countries = []string{"Example"}, []string{"PKI", "OT"}, []string{"DE"}
		target.Keys = append(target.Keys, planner.TargetKey{Authority: rootRef, Name: name, Certificate: true, Issuer: true, Spec: spec})
	}
	return target
}

func certManagerModule(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// definitions reads CustomResourceDefinitions, by their kinds.
func definitions(t *testing.T, files ...string) map[string]*apiextensions.CustomResourceDefinition {
	t.Helper()
	read := map[string]*apiextensions.CustomResourceDefinition{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var versioned apiextensionsv1.CustomResourceDefinition
		if err := utilyaml.UnmarshalStrict(data, &versioned); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		definition := new(apiextensions.CustomResourceDefinition)
		if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&versioned, definition, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		read[definition.Spec.Names.Kind] = definition
	}
	return read
}

func check(t *testing.T, definition *apiextensions.CustomResourceDefinition, o *unstructured.Unstructured) {
	t.Helper()
	if namespaced := definition.Spec.Scope == apiextensions.NamespaceScoped; namespaced != (o.GetNamespace() != "") {
		t.Errorf("%s: the kind is of scope %s", identityOf(o), definition.Spec.Scope)
	}
	properties, err := apiextensions.GetSchemaForVersion(definition, o.GroupVersionKind().Version)
	if err != nil || properties == nil {
		t.Fatalf("%s has no schema: %v", o.GroupVersionKind(), err)
	}
	validator, _, err := validation.NewSchemaValidator(properties.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range validation.ValidateCustomResource(nil, o.Object, validator) {
		t.Errorf("%s: %v", identityOf(o), problem)
	}
	structural, err := schema.NewStructural(properties.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	options := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	if unknown := pruning.PruneWithOptions(o.DeepCopy().Object, structural, true, options); len(unknown) > 0 {
		t.Errorf("%s has fields that the kind does not know: %q", identityOf(o), unknown)
	}
}
