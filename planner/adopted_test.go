package planner_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// adopted is the plant whose root somebody made before reanchor came: 2025 lies in his
// Secret, and signs.
func adopted() *site {
	s := settled()
	s.give("2025", key2025, inSecret("old-root"))
	s.observed.Keys = nil
	s.issuer().SecretName = "old-root"
	return s
}

func TestAnAdoptedKeyIsLeftAsItIs(t *testing.T) {
	plan := adopted().next()
	if len(plan.Target.Keys) > 0 || len(plan.Actions) > 0 || plan.Rollovers[0].Phase != planner.Settled {
		t.Errorf("target %+v, actions %v, %s", plan.Target.Keys, plan.Actions, plan.Rollovers[0])
	}
	if issuers := plan.Target.Issuers; len(issuers) != 1 || issuers[0].SecretName() != "old-root" {
		t.Errorf("issuers %+v", issuers)
	}
}

// The Certificate that makes an adopted intermediate's Secret asks the issuer of its root,
// and is no leaf of it: issued anew, it would change the key of which Git has the
// certificate.
func TestWhatMakesAnAdoptedKeyIsNoLeaf(t *testing.T) {
	for name, test := range map[string]struct {
		namespace, secret string
		asked             bool
	}{
		"it makes the key's Secret":     {"cert-manager", "issuing", false},
		"a Secret of another name":      {"cert-manager", "other", true},
		"a Secret in another namespace": {"plant", "issuing", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := switched()
			s.reload()
			issuing := newLeaf("issuing", key2025)
			child := authority("issuing", "Issuing")
			child.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: "fleet-root"}
			child.Spec.Keys = []v1alpha1.AuthorityKey{{Name: "a", State: v1alpha1.KeySigning, Secret: &v1alpha1.SecretReference{Name: "issuing"}, Certificate: string(issuing.PEM())}}
			s.desired.Authorities = append(s.desired.Authorities, child)
			s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{
				Ref: planner.Ref{Namespace: test.namespace, Name: "issuing-ca"}, Issuer: planner.Ref{Name: "fleet"}, SecretName: test.secret,
				Chain: []pki.Certificate{issuing.Certificate},
			})
			asked := slices.ContainsFunc(s.next().Actions, func(a planner.Action) bool {
				return a.Kind == planner.ActionReissue && a.Subject.Name == "issuing-ca"
			})
			if asked != test.asked {
				t.Errorf("asked for anew: %v", asked)
			}
		})
	}
}

func TestAPersonIsToldOfTheSecretOfARetiredKey(t *testing.T) {
	s := released()
	s.give("2025", key2025, inSecret("old-root"))
	s.observed.Keys = slices.DeleteFunc(s.observed.Keys, func(k planner.Key) bool { return k.Name == "2025" })
	const told = "nothing needs the Secret old-root any more, nor what makes it: delete both by hand"
	if progress := s.next().Rollovers[0].Progress; !strings.HasSuffix(progress, told) {
		t.Errorf("the progress is %q", progress)
	}
	s.distribute(key2025, key2026)
	if progress := s.next().Rollovers[0].Progress; strings.Contains(progress, "old-root any more") {
		t.Errorf("while copies hold its anchor, the progress is %q", progress)
	}
}
