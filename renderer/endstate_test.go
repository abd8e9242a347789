package renderer

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/planner"
)

func TestEndState(t *testing.T) {
	loaded := mustLoad(t, repository(twoLevels), "site")
	signed := key("issuing", "a.2026", ends(now.Add(year)))(t)
	old, next := key("root", "2025")(t), key("root", "2026")(t)
	gone := retired(key("root", "2024"))(t)
	target := loaded.EndState(recorded(signed, gone, old, next))

	found := map[string]planner.TargetKey{}
	for _, key := range target.Keys {
		found[planner.KeyObjectName(key.Authority.String(), key.Name)] = key
	}
	if len(found) != 5 {
		t.Errorf("the keys are %v", target.Keys)
	}
	issuing, root := found["plant/issuing-a.2026"], found["cert-manager/root-2026"]
	if want := (planner.Ref{Name: "root-2026"}); issuing.Spec.SignedBy != want || !issuing.Certificate || !issuing.Issuer || issuing.ClusterIssuer {
		t.Errorf("the intermediate is %+v", issuing)
	}
	if issuing.Spec.CommonName != "Issuing a.2026" || issuing.Spec.Duration != 2*year {
		t.Errorf("the intermediate's spec is %+v, want the recorded two years", issuing.Spec)
	}
	if !root.ClusterIssuer || root.Spec.SignedBy != (planner.Ref{}) || found["cert-manager/root-2025"].ClusterIssuer {
		t.Errorf("the root's keys are %+v and %+v", root, found["cert-manager/root-2025"])
	}
	if found["cert-manager/second-1"].Spec.Duration != 87600*time.Hour {
		t.Errorf("what is not recorded lives %s", found["cert-manager/second-1"].Spec.Duration)
	}
	if got := target.Issuers[1]; got.Ref != (planner.Ref{Namespace: "plant", Name: "local"}) || got.SecretName() != "issuing-a.2026" {
		t.Errorf("the bound issuer is %+v", got)
	}
	if anchors := target.Bundles[0].Anchors; len(anchors) != 2 || !anchors.Has(old.Certificate) || !anchors.Has(next.Certificate) {
		t.Errorf("the bundle holds %s", anchors)
	}
}

func TestEndStateOfAnAuthorityThatGoes(t *testing.T) {
	loaded := mustLoad(t, repository(`
-- kustomization.yaml --
resources: [pki.yaml]
-- pki.yaml --
{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: root, namespace: n}, spec: {subject: {commonName: R}, keys: [{name: "1", state: Retired}]}}
`), "")
	if target := loaded.EndState(planner.Record{}); len(target.Keys) > 0 {
		t.Errorf("the keys are %v", target.Keys)
	}
}

func TestOrigin(t *testing.T) {
	loaded := mustLoad(t, repository(twoLevels+`
-- site/overlay/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
configMapGenerator: [{name: added, literals: [a=b]}]
`), "site")
	made := mustRender(t, loaded, loaded.EndState(recorded(key("root", "2026")(t))))
	want := map[string]position{
		"Certificate plant/yearly":             {"site/leaves.yaml", 2},
		"Certificate plant/plain":              {"site/leaves.yaml", 7},
		"Certificate cert-manager/root-2026":   {"site/pki.yaml", 1},
		"ClusterIssuer root-2026":              {"site/pki.yaml", 1},
		"Issuer cert-manager/third-1":          {"site/pki.yaml", 23},
		"Certificate plant/issuing-a.2026":     {"site/pki.yaml", 9},
		"Issuer plant/local":                   {"site/pki.yaml", 28},
		"ClusterIssuer second":                 {"site/pki.yaml", 33},
		"Bundle trust":                         {"site/pki.yaml", 38},
		"Issuer cert-manager/root-self-signed": {"site/pki.yaml", 1},
	}
	for id, at := range want {
		i := slices.IndexFunc(made, func(o *unstructured.Unstructured) bool { return identityOf(o).String() == id })
		if i < 0 {
			t.Errorf("there is no %s among %q", id, names(made))
			continue
		}
		if file, line := loaded.Origin(made[i]); file != at.file || line != at.line {
			t.Errorf("%s comes from %s:%d, want %s:%d", id, file, line, at.file, at.line)
		}
	}
	i := slices.IndexFunc(made, func(o *unstructured.Unstructured) bool { return o.GetKind() == "ConfigMap" })
	if file, line := loaded.Origin(made[i]); file != "site/overlay/kustomization.yaml" || line != 1 {
		t.Errorf("what the overlay added comes from %s:%d", file, line)
	}
	if file, _ := mustLoad(t, repository(twoLevels), "site").Origin(made[i]); file != "" {
		t.Errorf("what nobody wrote comes from %s", file)
	}
}

func TestOriginUnderAPrefix(t *testing.T) {
	loaded := mustLoad(t, repository(prefixed), "top")
	for _, o := range loaded.Native {
		if file, line := loaded.Origin(o); o.GetName() == "acme-plant-outside-eu" && (file != "plant/leaf.yaml" || line != 6) {
			t.Errorf("%s comes from %s:%d", o.GetName(), file, line)
		}
	}
}
