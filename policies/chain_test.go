package policies

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Under the root's key 2025 lie two intermediates: issuing beside it, and plant in a
// namespace of its own, with a third level under it.
//
//	root 2025 (8760h)  ── issuing a.2025 (4380h)
//	                   └─ plant k.2025 (4380h) ── line x.k.2025 (2184h)
func chainPlan() planner.Plan {
	plan := thePlan()
	plan.Target.Keys[0].ClusterIssuer = true
	plan.Target.Keys = append(plan.Target.Keys,
		intermediate("pki", "issuing", "a.2025", 4380*time.Hour, planner.Ref{Namespace: "pki", Name: "root-2025"}),
		intermediate("plant", "plant", "k.2025", 4380*time.Hour, planner.Ref{Name: "root-2025"}),
		intermediate("plant", "line", "x.k.2025", 2184*time.Hour, planner.Ref{Namespace: "plant", Name: "plant-k.2025"}),
	)
	plan.Target.Issuers = append(plan.Target.Issuers, planner.TargetIssuer{
		Ref: planner.Ref{Namespace: "plant", Name: "lines"}, Authority: planner.Ref{Namespace: "plant", Name: "line"}, Key: "x.k.2025",
	})
	return plan
}

func intermediate(namespace, authority, pair string, duration time.Duration, signer planner.Ref) planner.TargetKey {
	return planner.TargetKey{
		Authority: planner.Ref{Namespace: namespace, Name: authority}, Name: pair, Certificate: true, Issuer: true,
		Spec: planner.CASpec{CommonName: authority + " " + pair, Algorithm: v1alpha1.Ed25519, Duration: duration, SignedBy: signer},
	}
}

// renderedChain is what the renderer makes of chainPlan.
func renderedChain() []*unstructured.Unstructured {
	return append(
		rendered(),
		caIssuer("ClusterIssuer", "", "root-2025", "root-2025"),
		intermediateCertificate("pki", "issuing", "a.2025", "4380h0m0s", "Issuer", "root-2025"),
		caIssuer("Issuer", "pki", "issuing-a.2025", "issuing-a.2025"),
		intermediateCertificate("plant", "plant", "k.2025", "4380h0m0s", "ClusterIssuer", "root-2025"),
		caIssuer("Issuer", "plant", "plant-k.2025", "plant-k.2025"),
		intermediateCertificate("plant", "line", "x.k.2025", "2184h0m0s", "Issuer", "plant-k.2025"),
		caIssuer("Issuer", "plant", "line-x.k.2025", "line-x.k.2025"),
		caIssuer("Issuer", "plant", "lines", "line-x.k.2025"),
	)
}

func intermediateCertificate(namespace, authority, pair, duration, kind, signer string) *unstructured.Unstructured {
	name := authority + "-" + pair
	return object("cert-manager.io/v1", "Certificate", namespace, name, spec(map[string]any{
		"isCA": true, "commonName": authority + " " + pair, "secretName": name, "duration": duration,
		"privateKey": map[string]any{"algorithm": "Ed25519", "rotationPolicy": "Never"},
		"renewal":    map[string]any{"policy": "Disabled"},
		"issuerRef":  map[string]any{"name": signer, "kind": kind, "group": "cert-manager.io"},
	}))
}

// leafIn is a leaf in a namespace.
func leafIn(namespace, name, duration, kind, issuer string) *unstructured.Unstructured {
	manifest := leaf(name, duration, kind, issuer)
	manifest.SetNamespace(namespace)
	return manifest
}

func TestChangedChains(t *testing.T) {
	for name, test := range map[string]struct {
		change func([]*unstructured.Unstructured) []*unstructured.Unstructured
		want   []string
	}{
		"as planned":                  {with(), nil},
		"signed by another key":       {set("Certificate", "issuing-a.2025", "root-2026", "spec", "issuerRef", "name"), []string{`Certificate pki/issuing-a.2025: spec.issuerRef.name is "root-2026", not "root-2025"`}},
		"signed by a cluster issuer":  {set("Certificate", "issuing-a.2025", "ClusterIssuer", "spec", "issuerRef", "kind"), []string{`Certificate pki/issuing-a.2025: spec.issuerRef.kind is "ClusterIssuer", not "Issuer"`}},
		"signed by an issuer at home": {set("Certificate", "plant-k.2025", "Issuer", "spec", "issuerRef", "kind"), []string{`Certificate plant/plant-k.2025: spec.issuerRef.kind is "Issuer", not "ClusterIssuer"`}},
		"signed by itself":            {set("Certificate", "line-x.k.2025", "line-self-signed", "spec", "issuerRef", "name"), []string{`Certificate plant/line-x.k.2025: spec.issuerRef.name is "line-self-signed", not "plant-k.2025"`}},
		"signed by another group":     {set("Certificate", "line-x.k.2025", "example.com", "spec", "issuerRef", "group"), []string{`Certificate plant/line-x.k.2025: spec.issuerRef.group is "example.com", not "cert-manager.io"`}},
		"not pinned":                  {unset("Certificate", "line-x.k.2025", "spec", "issuerRef"), []string{`Certificate plant/line-x.k.2025: spec.issuerRef.group is missing, it was "cert-manager.io"`, `Certificate plant/line-x.k.2025: spec.issuerRef.kind is missing, it was "Issuer"`, `Certificate plant/line-x.k.2025: spec.issuerRef.name is missing, it was "plant-k.2025"`}},
		"longer than planned":         {set("Certificate", "line-x.k.2025", "9000h", "spec", "duration"), []string{`Certificate plant/line-x.k.2025: spec.duration is "9000h", not "2184h0m0s"`}},
		"internal issuer":             {set("Issuer", "issuing-a.2025", "root-2025", "spec", "ca", "secretName"), []string{`Issuer pki/issuing-a.2025: spec.ca.secretName is "root-2025", not "issuing-a.2025"`}},
		"internal cluster issuer":     {set("ClusterIssuer", "root-2025", "root-2026", "spec", "ca", "secretName"), []string{`ClusterIssuer root-2025: spec.ca.secretName is "root-2026", not "root-2025"`}},
		"cluster issuer gone":         {without("ClusterIssuer", "root-2025"), []string{"ClusterIssuer root-2025: is planned and not among the manifests: it was removed, renamed or moved"}},
		"cluster issuer twice":        {with(caIssuer("ClusterIssuer", "", "root-2025", "root-2025")), []string{"ClusterIssuer root-2025: stands 2 times among the manifests"}},
		"cluster issuer for the other key": {
			with(caIssuer("ClusterIssuer", "", "root-2026", "root-2026")),
			[]string{"ClusterIssuer root-2026: signs with the CA key of the Secret root-2026 beside the issuers that are bound to it, so that nobody would wait for its leaves before the key is retired"},
		},
		"a Certificate on an intermediate's Secret": {
			with(object("cert-manager.io/v1", "Certificate", "plant", "mine", spec(map[string]any{"secretName": "line-x.k.2025", "issuerRef": map[string]any{"name": "x"}}))),
			[]string{"Certificate plant/mine: writes to the Secret plant/line-x.k.2025, which holds the key of a CA"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			violations := checkPlan(chainPlan(), test.change(renderedChain()))
			expect(t, violations, test.want...)
			for _, violation := range violations {
				if violation.Rule != RuleAnchorChanged || violation.Severity != Deny {
					t.Errorf("got %+v", violation)
				}
			}
		})
	}
}

func TestCAOutlivesWhatItSigns(t *testing.T) {
	// lives gives the third level another life, in the plan and in its Certificate.
	lives := func(duration time.Duration) (planner.Plan, []*unstructured.Unstructured) {
		plan := chainPlan()
		plan.Target.Keys[len(plan.Target.Keys)-1].Spec.Duration = duration
		return plan, set("Certificate", "line-x.k.2025", duration.String(), "spec", "duration")(renderedChain())
	}
	plan, removed := chainPlan(), chainPlan()
	removed.Target.Keys[1].Issuer = false
	longer, longerRendered := lives(4381 * time.Hour)
	equal, equalRendered := lives(4380 * time.Hour)
	for name, test := range map[string]struct {
		plan      planner.Plan
		manifests []*unstructured.Unstructured
		severity  Severity
		want      string
	}{
		"a leaf bound to an intermediate": {
			plan, append(renderedChain(), leafIn("plant", "pump", "2185h", "Issuer", "lines")), Deny,
			"Certificate plant/pump: asks for 2185h, and the CA key x.k.2025 of plant/line that signs it lives 2184h",
		},
		"a leaf that is shorter": {plan, append(renderedChain(), leafIn("plant", "pump", "2160h", "Issuer", "lines")), Deny, ""},
		"a leaf of an internal issuer": {
			plan, append(renderedChain(), leafIn("pki", "server", "8000h", "Issuer", "issuing-a.2025")), Deny,
			"Certificate pki/server: asks for 8000h, and the CA key a.2025 of pki/issuing that signs it lives 4380h",
		},
		"a leaf of an internal cluster issuer": {
			plan, append(renderedChain(), leafIn("plant", "server", "8761h", "ClusterIssuer", "root-2025")), Deny,
			"Certificate plant/server: asks for 8761h, and the CA key 2025 of pki/root that signs it lives 8760h",
		},
		"a leaf of an internal issuer that goes": {
			removed, append(without("Issuer", "root-2026")(renderedChain()), leafIn("pki", "server", "9000h", "Issuer", "root-2026")), Deny,
			"Certificate pki/server: asks for 9000h, and the CA key 2026 of pki/root that signs it lives 8760h",
		},
		"a leaf of a cluster issuer that is not ours": {plan, append(renderedChain(), leafIn("plant", "server", "90000h", "ClusterIssuer", "issuing-a.2025")), Deny, ""},
		"a longer intermediate": {
			longer, longerRendered, Deny,
			"Certificate plant/line-x.k.2025: asks for 4381h, and the CA key k.2025 of plant/plant that signs it lives 4380h",
		},
		"an intermediate that lives as long": {
			equal, equalRendered, Warn,
			"Certificate plant/line-x.k.2025: asks for 4380h, as long as the CA key k.2025 of plant/plant lives: what is signed later than the CA outlives it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			violations := checkPlan(test.plan, test.manifests)
			expect(t, violations, test.want)
			for _, violation := range violations {
				if violation.Rule != RuleCAOutlivesLeaves || violation.Severity != test.severity {
					t.Errorf("got %+v", violation)
				}
			}
		})
	}
}

// intermediateOf is an intermediate's certificate under an issuer of that name.
func intermediateOf(issuer string) pki.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	signer := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Issuing a.2025"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0),
	}
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}
	return must(pki.Parse(must(x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer))))
}

func TestIntermediatesInABundleAreWarnedOf(t *testing.T) {
	// Issued by a CA of another name, and by one of its own name but another key.
	for _, issuer := range []string{"Root 2025", "Issuing a.2025"} {
		t.Run(issuer, func(t *testing.T) {
			signed := intermediateOf(issuer)

			plan, manifests := thePlan(), rendered()
			planned := &plan.Target.Bundles[0]
			planned.Anchors = planned.Anchors.Union(pki.NewAnchors(signed))
			manifests = set("Bundle", "trust", []any{map[string]any{"inLine": string(planned.Anchors.PEM())}}, "spec", "sources")(manifests)

			violations := checkPlan(plan, manifests)
			expect(t, violations, "Bundle trust: the anchor "+signed.String()+" is not self-signed, and intermediates never enter a bundle")
			for _, violation := range violations {
				if violation.Rule != RuleIntermediateInBundle || violation.Severity != Warn {
					t.Errorf("got %+v, want a warning by %s", violation, RuleIntermediateInBundle)
				}
			}

			violations = checkPlan(thePlan(), manifests)
			expect(t, violations, "Bundle trust: the anchor "+signed.String()+" is not planned")
			if len(Denied(violations)) != 1 || violations[0].Rule != RuleAnchorChanged {
				t.Errorf("an overlay adds it: got %+v, want a denial by %s", violations, RuleAnchorChanged)
			}
		})
	}
}
