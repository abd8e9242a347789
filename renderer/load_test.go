package renderer

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

func TestLoad(t *testing.T) {
	for name, c := range map[string]struct{ archive, folder string }{
		"at the root":       {fleet, ""},
		"as Flux writes it": {fleet, "./"},
		"in a folder": {
			strings.NewReplacer("-- k", "-- sites/plant/k", "-- p", "-- sites/plant/p").Replace(fleet), "./sites/plant/",
		},
		"beside devices, anchors and notes": {
			fleet + "-- devices/sensors/00/a.yaml --\n{\n-- anchors/fleet-root/2025.pem --\nx\n-- README.md --\nx\n", "",
		},
		"after an empty document": {
			strings.Replace(fleet, "-- pki.yaml --\n", "-- pki.yaml --\n# a comment\n---\n", 1), "",
		},
		"from a list": {
			listed(fleet), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			loaded := mustLoad(t, repository(c.archive), c.folder)
			d := loaded.Desired
			if len(d.Authorities) != 1 || len(d.Bindings) != 1 || len(d.Bundles) != 1 || len(loaded.Native) != 0 {
				t.Fatalf("loaded %+v and %d manifests", d, len(loaded.Native))
			}
			root := d.Authorities[0]
			if planner.AuthorityRef(root) != rootRef || len(root.Spec.Keys) != 2 {
				t.Errorf("the authority is %+v", root)
			}
			if root.Spec.Duration == nil || root.Spec.Duration.Duration != v1alpha1.DefaultDuration {
				t.Errorf("the duration was not filled in: %v", root.Spec.Duration)
			}
		})
	}
}

// listed is an archive with the documents of pki.yaml as the items of one List.
func listed(archive string) string {
	head, documents, _ := strings.Cut(archive, "-- pki.yaml --\n")
	items := ""
	for document := range strings.SplitSeq(strings.TrimSpace(documents), "\n---\n") {
		items += "- " + strings.ReplaceAll(document, "\n", "\n  ") + "\n"
	}
	return head + "-- pki.yaml --\napiVersion: v1\nkind: List\nitems:\n" + items
}

func TestDesiredIsSorted(t *testing.T) {
	tree := repository(`
-- kustomization.yaml --
resources: [b.yaml, a.yaml]
-- a.yaml --
{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: a, namespace: cert-manager}, spec: {subject: {commonName: A}, keys: [{name: "1", state: Signing}]}}
-- b.yaml --
{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: b, namespace: cert-manager}, spec: {subject: {commonName: B}, keys: [{name: "1", state: Signing}]}}
---
{apiVersion: reanchor.dev/v1alpha1, kind: IssuerBinding, metadata: {name: local}, spec: {scope: Namespace, authority: b}}
---
{apiVersion: reanchor.dev/v1alpha1, kind: IssuerBinding, metadata: {name: fleet, namespace: ignored}, spec: {scope: Cluster, authority: b}}
---
{apiVersion: v1, kind: Secret, metadata: {name: z, namespace: a}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: z}}
---
{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: b}}
`)
	loaded := mustLoad(t, tree, "")
	var refs []string
	for _, a := range loaded.Desired.Authorities {
		refs = append(refs, planner.AuthorityRef(a).String())
	}
	for _, b := range loaded.Desired.Bindings {
		refs = append(refs, planner.BindingRef(b).String())
	}
	want := []string{"cert-manager/a", "cert-manager/b", "fleet", "cert-manager/local"}
	if !slices.Equal(refs, want) {
		t.Errorf("the documents are %q, want %q", refs, want)
	}
	if got, want := names(loaded.Native), []string{"Namespace z", "Secret a/z", "Secret b/a"}; !slices.Equal(got, want) {
		t.Errorf("the manifests are %q, want %q", got, want)
	}
	if annotations := loaded.Native[0].GetAnnotations(); annotations != nil {
		t.Errorf("kustomize left annotations: %v", annotations)
	}
}

const authorityWithoutKeys = `apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: root, namespace: cert-manager}
spec:
  subject: {commonName: Root}
`

// base is a kustomization over one that holds a document, with a patch.
func base(document, patch string) string {
	return "-- kustomization.yaml --\nresources: [base]\npatches: [{path: patch.yaml}]\n-- patch.yaml --\n" + patch +
		"-- base/kustomization.yaml --\nresources: [pki.yaml]\n-- base/pki.yaml --\n# the root\n" + document
}

func patchOf(spec string) string {
	return "{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: root, namespace: cert-manager}, spec: " + spec + "}\n"
}

func TestAPatchMayCompleteADocument(t *testing.T) {
	loaded := mustLoad(t, repository(base(authorityWithoutKeys, patchOf(`{keys: [{name: "1", state: Signing}]}`))), "")
	if keys := loaded.Desired.Authorities[0].Spec.Keys; len(keys) != 1 {
		t.Errorf("the keys are %v", keys)
	}
}

func TestLoadNamesFileLineAndField(t *testing.T) {
	keys := "  keys:\n  - {name: \"1\", state: Signing}\n"
	for name, c := range map[string]struct {
		archive, file string
		line          int
		field         string
	}{
		"unknown field as written": {
			base(authorityWithoutKeys+"  stat: x\n", patchOf(`{keys: [{name: "1", state: Signing}]}`)), "base/pki.yaml", 7, "spec.stat",
		},
		"unknown field, and a build that fails": {
			base(authorityWithoutKeys+keys+"  stat: x\n", "{apiVersion: v1, kind: Secret, metadata: {name: nowhere}}\n"), "base/pki.yaml", 9, "spec.stat",
		},
		"unknown field from a patch": {
			base(authorityWithoutKeys+keys, patchOf("{stat: x}")), "base/pki.yaml", 2, "spec.stat",
		},
		"invalid as a whole": {
			base(authorityWithoutKeys+keys+"---\n{apiVersion: reanchor.dev/v1alpha1, kind: IssuerBinding, metadata: {name: b}, spec: {\n  scope: Cluster,\n  authority: nobody}}\n",
				patchOf(`{subject: {commonName: Other}}`)), "base/pki.yaml", 12, "spec.authority",
		},
		"another version of ours": {
			"-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\n{apiVersion: reanchor.dev/v9, kind: Authority, metadata: {name: a}}\n", "a.yaml", 1, "apiVersion",
		},
		"an object of the cluster": {
			"-- kustomization.yaml --\nresources: [a.yaml]\n-- a.yaml --\n{apiVersion: reanchor.dev/v1alpha1, kind: TrustDomain, metadata: {name: a}}\n", "a.yaml", 1, "kind",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(repository(c.archive), "", Options{})
			var problems v1alpha1.ErrorList
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("the error is %v", err)
			}
			i := slices.IndexFunc(problems, func(e v1alpha1.Error) bool { return e.Field == c.field })
			if i < 0 || problems[i].File != c.file || problems[i].Line != c.line {
				t.Errorf("the errors are\n%v\nwant one of %s at %s:%d", problems, c.field, c.file, c.line)
			}
		})
	}
}

func TestKustomizeErrorsNameFilesOfTheRepository(t *testing.T) {
	_, err := Load(repository(base(authorityWithoutKeys+"  keys: [{name: \"1\", state: Signing}]\n",
		"{apiVersion: v1, kind: Secret, metadata: {name: nowhere}, stringData: {password: hush}}\n")), "", Options{})
	if err == nil {
		t.Fatal("it was loaded")
	}
	wantText(t, err.Error(), "load the repository: compose: accumulating resources: recursed accumulation of path '.': ", "Secret.v1.[noGrp]/nowhere.[noNs]")
	for _, part := range []string{"hush", "/git", "\n"} {
		if strings.Contains(err.Error(), part) {
			t.Errorf("the error contains %q: %s", part, err)
		}
	}
}

func TestPlainErrorsKeepContentToThemselves(t *testing.T) {
	for message, want := range map[string]string{
		"accumulating resources from '/git/site/a.yaml': oops\nnext":                                                           "accumulating resources from 'site/a.yaml': oops next",
		"trouble configuring builtin X with config: `\nliterals:\n- p=hush\n`: no":                                             "trouble configuring builtin X: no",
		`unable to parse SM or JSON patch from [patch: "p: \"hush\""]`:                                                         "unable to parse SM or JSON patch from [patch]",
		`unable to parse SM or JSON patch from [patch: "p: [\"a\"], q: hush"]`:                                                 "unable to parse SM or JSON patch from [patch]",
		"\"trouble configuring builtin X with config: `\\npatch: '`\\n` hush'\\n`: no patch from [patch: \\\"[p: hush]\\\"]\"": `"trouble configuring builtin X: no patch from [patch]"`,
		"found multiple possible referrals: a, b\n\n**** Too many\npassword: hush":                                             "found multiple possible referrals: a, b",
		strings.Repeat("x", 2000): strings.Repeat("x", 1000) + " …",
	} {
		if got := plain(message); got != want {
			t.Errorf("plain(%.60q) is %q, want %q", message, got, want)
		}
	}
}

// chained is a root, an intermediate in its namespace and one elsewhere, in two layers
// that both rename.
const chained = `
-- kustomization.yaml --
namePrefix: acme-
nameSuffix: -eu
resources: [plant]
-- plant/kustomization.yaml --
namePrefix: plant-
resources: [../base]
-- base/kustomization.yaml --
resources: [pki.yaml, below.yaml]
-- base/pki.yaml --
{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: root, namespace: cert-manager}, spec: {subject: {commonName: R}, keys: [{name: "1", state: Signing}]}}
---
{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: near, namespace: cert-manager}, spec: {issuedBy: {name: root}, duration: 8760h, subject: {commonName: N}, keys: [{name: a, state: Signing}]}}
-- base/below.yaml --
{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: far, namespace: plant}, spec: {issuedBy: {name: near}, duration: 4380h, subject: {commonName: F}, keys: [{name: x, state: Signing}]}}
---
{apiVersion: reanchor.dev/v1alpha1, kind: IssuerBinding, metadata: {name: local}, spec: {scope: Namespace, authority: far}}
`

func TestIssuedByFollowsItsAuthority(t *testing.T) {
	loaded := mustLoad(t, repository(chained), "")
	parents := map[string]string{}
	for _, authority := range loaded.Desired.Authorities {
		if authority.Spec.IssuedBy != nil {
			parents[planner.AuthorityRef(authority).String()] = authority.Spec.IssuedBy.Name
		}
	}
	want := map[string]string{
		"cert-manager/acme-plant-near-eu": "acme-plant-root-eu",
		"plant/acme-plant-far-eu":         "acme-plant-near-eu",
	}
	if !maps.Equal(parents, want) {
		t.Errorf("the parents are %v, want %v", parents, want)
	}
	if got := loaded.Desired.Bindings[0]; got.Spec.Authority != "acme-plant-far-eu" || got.Metadata.Namespace != "plant" {
		t.Errorf("the binding is %+v", got)
	}
}

// kustomize alone follows a name within one namespace only: the reason for
// followAuthorities.
func TestKustomizeLosesIssuedByAcrossNamespaces(t *testing.T) {
	declared, err := collect(repository(chained), ".", types.KustomizationKind, nil, Limits{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	built, err := declared.build()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range built {
		name, found, _ := unstructured.NestedString(o.Object, "spec", "issuedBy", "name")
		want := map[string]string{"acme-plant-near-eu": "acme-plant-root-eu", "acme-plant-far-eu": "near"}[o.GetName()]
		if found && name != want {
			t.Errorf("%s is issued by %s, want %s", o.GetName(), name, want)
		}
	}
}
