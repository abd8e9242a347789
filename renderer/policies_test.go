package renderer

import (
	"slices"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// ruled is a repository in which a kustomization renames the documents, a policy exempts
// from another and from a built-in rule, and people label what is in production.
const ruled = `
-- kustomization.yaml --
namePrefix: plant-
resources: [pki.yaml]
-- pki.yaml --
apiVersion: v1
kind: Namespace
metadata: {name: pki, labels: {reanchor.dev/environment: production}}
---
apiVersion: reanchor.dev/v1alpha1
kind: Policy
metadata: {name: own}
spec:
  match: {kinds: [Certificate]}
  validations:
  - expression: object.spec.isCA
---
apiVersion: reanchor.dev/v1alpha1
kind: Policy
metadata: {name: exemptions}
spec:
  exemptions:
  - {rule: own, subject: "*", reason: because, until: 2027-01-31}
  - {rule: weak-key, subject: "*", reason: because, until: "2027-01-31"}
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: root, namespace: pki, labels: {reanchor.dev/environment: production}}
spec: {subject: {commonName: R}, keys: [{name: "1", state: Signing}]}
`

func TestDocumentsAreKept(t *testing.T) {
	loaded := mustLoad(t, repository(ruled), "")
	var names []string
	for _, document := range loaded.Documents {
		file, line := loaded.OriginOf(document)
		if file != "pki.yaml" || line < 4 {
			t.Errorf("%s stands in %s:%d", v1alpha1.KindOf(document), file, line)
		}
		names = append(names, v1alpha1.KindOf(document)+" "+v1alpha1.MetadataOf(document).Name)
	}
	if want := []string{"Authority plant-root", "Policy plant-exemptions", "Policy plant-own"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

// An exemption follows the policy that it is from; a day stays a day, in quotes or not.
func TestExemptionsFollowTheirPolicy(t *testing.T) {
	loaded := mustLoad(t, repository(ruled), "")
	exemptions := loaded.Documents[1].(*v1alpha1.Policy).Spec.Exemptions
	if exemptions[0].Rule != "plant-own" || exemptions[1].Rule != "weak-key" {
		t.Errorf("got %+v", exemptions)
	}
	for _, exemption := range exemptions {
		if end, err := exemption.End(); err != nil || end.Format("2006-01-02 15:04 MST") != "2027-01-31 00:00 UTC" {
			t.Errorf("%q ends at %s (%v)", exemption.Until, end, err)
		}
	}
}

// People may say of their objects what they are for; reanchor's own labels they may not set.
func TestTheEnvironmentIsForPeople(t *testing.T) {
	loaded := mustLoad(t, repository(ruled), "")
	manifests, err := loaded.Render(loaded.EndState(planner.Record{}), plant)
	if err != nil {
		t.Fatal(err)
	}
	labelled := 0
	for _, manifest := range manifests {
		if manifest.GetLabels()[v1alpha1.LabelEnvironment] == v1alpha1.EnvironmentProduction {
			labelled++
		}
	}
	if labelled < 2 {
		t.Errorf("%d objects have the label, want the Namespace and what is rendered of the authority", labelled)
	}
}

// What the rules find wrong with a policy is an error of the repository, with its place.
func TestPoliciesAreCheckedOnLoad(t *testing.T) {
	check := func(policies []v1alpha1.Policy) []v1alpha1.PolicyProblem {
		return []v1alpha1.PolicyProblem{{Policy: "plant-own", Field: "spec.validations[0].expression", Message: "is nonsense"}}
	}
	_, err := Load(repository(ruled), "", Options{CheckPolicies: check})
	const want = "load the repository: pki.yaml:11: spec.validations[0].expression: is nonsense"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
