package policies

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var anchors sync.Map

// anchor is a root of that name, the same at each call.
func anchor(name string) pki.Certificate {
	if made, found := anchors.Load(name); found {
		return made.(pki.Certificate)
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0),
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	made, _ := anchors.LoadOrStore(name, must(pki.Parse(der)))
	return made.(pki.Certificate)
}

var noPlan planner.Plan

// checkPlan holds a plan and its manifests, without any document, against the rules about
// what trust hangs on.
func checkPlan(plan planner.Plan, manifests []*unstructured.Unstructured) []Violation {
	return of(Check(Input{Plan: plan, Manifests: manifests}),
		RulePrivateKey, RuleAnchorChanged, RuleBundleTooLarge, RuleIntermediateInBundle, RuleCAOutlivesLeaves)
}

// of are the violations of some rules.
func of(violations []Violation, rules ...string) []Violation {
	return slices.DeleteFunc(violations, func(v Violation) bool { return !slices.Contains(rules, v.Rule) })
}

// theRoot rolls from 2025 to 2026: both keys stand, both anchors are out.
var (
	theRoot = planner.Ref{Namespace: "pki", Name: "root"}
	caSpec  = planner.CASpec{CommonName: "Root 2026", Organizations: []string{"Example"}, Algorithm: v1alpha1.ECDSA, Size: 384, Duration: 8760 * time.Hour}
)

func thePlan() planner.Plan {
	old := caSpec
	old.CommonName = "Root 2025"
	return planner.Plan{Target: planner.Target{
		Keys: []planner.TargetKey{
			{Authority: theRoot, Name: "2025", Certificate: true, Issuer: true, Spec: old},
			{Authority: theRoot, Name: "2026", Certificate: true, Issuer: true, Spec: caSpec},
		},
		Issuers: []planner.TargetIssuer{
			{Ref: planner.Ref{Namespace: "pki", Name: "plant"}, Authority: theRoot, Key: "2025"},
			{Ref: planner.Ref{Name: "fleet"}, Authority: theRoot, Key: "2025"},
		},
		Bundles: []planner.TargetBundle{{
			Name: "trust", Anchors: pki.NewAnchors(anchor("Root 2025"), anchor("Root 2026")),
			Target: v1alpha1.BundleTarget{
				ConfigMap:         v1alpha1.ConfigMapTarget{Key: "ca.crt"},
				NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"trust": "fleet", "zone": "a"}},
			},
		}},
	}}
}

func object(apiVersion, kind, namespace, name string, content map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: content}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func spec(fields map[string]any) map[string]any { return map[string]any{"spec": fields} }

func caCertificate(year string) *unstructured.Unstructured {
	return object("cert-manager.io/v1", "Certificate", "pki", "root-"+year, spec(map[string]any{
		"isCA": true, "commonName": "Root " + year, "secretName": "root-" + year, "duration": "8760h0m0s",
		"subject":              map[string]any{"organizations": []any{"Example"}},
		"privateKey":           map[string]any{"algorithm": "ECDSA", "size": int64(384), "rotationPolicy": "Never"},
		"renewal":              map[string]any{"policy": "Disabled"},
		"revisionHistoryLimit": int64(3),
		"issuerRef":            map[string]any{"name": "root-self-signed", "kind": "Issuer", "group": "cert-manager.io"},
	}))
}

func caIssuer(kind, namespace, name, secret string) *unstructured.Unstructured {
	return object("cert-manager.io/v1", kind, namespace, name, spec(map[string]any{"ca": map[string]any{"secretName": secret}}))
}

func leaf(name, duration, kind, issuer string) *unstructured.Unstructured {
	fields := map[string]any{
		"secretName": name, "dnsNames": []any{name},
		"issuerRef": map[string]any{"name": issuer, "kind": kind},
	}
	if duration != "" {
		fields["duration"] = duration
	}
	return object("cert-manager.io/v1", "Certificate", "pki", name, spec(fields))
}

// rendered is what the renderer makes of thePlan, and a leaf that stands in Git.
func rendered() []*unstructured.Unstructured {
	inline := string(anchor("Root 2025").PEM()) + string(anchor("Root 2026").PEM())
	return []*unstructured.Unstructured{
		caCertificate("2025"), caCertificate("2026"),
		object("cert-manager.io/v1", "Issuer", "pki", "root-self-signed", spec(map[string]any{"selfSigned": map[string]any{}})),
		caIssuer("Issuer", "pki", "root-2025", "root-2025"),
		caIssuer("Issuer", "pki", "root-2026", "root-2026"),
		caIssuer("Issuer", "pki", "plant", "root-2025"),
		caIssuer("ClusterIssuer", "", "fleet", "root-2025"),
		object("trust.cert-manager.io/v1alpha1", "Bundle", "", "trust", spec(map[string]any{
			"sources": []any{map[string]any{"inLine": inline}},
			"target": map[string]any{
				"configMap":         map[string]any{"key": "ca.crt"},
				"namespaceSelector": map[string]any{"matchLabels": map[string]any{"zone": "a", "trust": "fleet"}},
			},
		})),
		leaf("broker", "2160h", "Issuer", "plant"),
	}
}

// set changes a field of the manifest of that kind and name.
func set(kind, name string, value any, path ...string) func([]*unstructured.Unstructured) []*unstructured.Unstructured {
	return func(manifests []*unstructured.Unstructured) []*unstructured.Unstructured {
		i := slices.IndexFunc(manifests, func(m *unstructured.Unstructured) bool { return m.GetKind() == kind && m.GetName() == name })
		if err := unstructured.SetNestedField(manifests[i].Object, value, path...); err != nil {
			panic(err)
		}
		return manifests
	}
}

func unset(kind, name string, path ...string) func([]*unstructured.Unstructured) []*unstructured.Unstructured {
	return func(manifests []*unstructured.Unstructured) []*unstructured.Unstructured {
		i := slices.IndexFunc(manifests, func(m *unstructured.Unstructured) bool { return m.GetKind() == kind && m.GetName() == name })
		unstructured.RemoveNestedField(manifests[i].Object, path...)
		return manifests
	}
}

func without(kind, name string) func([]*unstructured.Unstructured) []*unstructured.Unstructured {
	return func(manifests []*unstructured.Unstructured) []*unstructured.Unstructured {
		return slices.DeleteFunc(manifests, func(m *unstructured.Unstructured) bool { return m.GetKind() == kind && m.GetName() == name })
	}
}

func with(added ...*unstructured.Unstructured) func([]*unstructured.Unstructured) []*unstructured.Unstructured {
	return func(manifests []*unstructured.Unstructured) []*unstructured.Unstructured {
		return append(manifests, added...)
	}
}

// expect compares violations with lines "subject: message"; an empty line stands
// for none.
func expect(t *testing.T, violations []Violation, want ...string) {
	t.Helper()
	var got []string
	for _, violation := range violations {
		got = append(got, violation.Subject+": "+violation.Message)
		if violation.Mend == "" {
			t.Errorf("%v does not say what to do", violation)
		}
	}
	want = slices.DeleteFunc(want, func(line string) bool { return line == "" })
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatIsRenderedIsTaken(t *testing.T) {
	expect(t, checkPlan(thePlan(), rendered()))
}

func TestAnchorChanged(t *testing.T) {
	const mended = "what trust hangs on changes in the documents alone, so take the change out of the overlay"
	source := func(fields map[string]any) []any { return []any{fields} }
	planned := map[string]any{"inLine": string(pki.NewAnchors(anchor("Root 2025"), anchor("Root 2026")).PEM())}
	foreign := anchor("Foreign")
	for name, test := range map[string]struct {
		change func([]*unstructured.Unstructured) []*unstructured.Unstructured
		want   []string
	}{
		"bundle gone":       {without("Bundle", "trust"), []string{"Bundle trust: is planned and not among the manifests: it was removed, renamed or moved"}},
		"bundle twice":      {with(rendered()[7]), []string{"Bundle trust: stands 2 times among the manifests"}},
		"bundle's version":  {set("Bundle", "trust", "trust.cert-manager.io/v1", "apiVersion"), []string{"Bundle trust: is of version v1, not v1alpha1"}},
		"anchor taken out":  {set("Bundle", "trust", source(map[string]any{"inLine": string(anchor("Root 2025").PEM())}), "spec", "sources"), []string{"Bundle trust: the anchor " + anchor("Root 2026").String() + " is missing"}},
		"anchor added":      {set("Bundle", "trust", []any{planned, map[string]any{"inLine": string(foreign.PEM())}}, "spec", "sources"), []string{"Bundle trust: the anchor " + foreign.String() + " is not planned"}},
		"no sources":        {unset("Bundle", "trust", "spec", "sources"), []string{"Bundle trust: the anchor " + plannedAnchors()[0] + " is missing", "Bundle trust: the anchor " + plannedAnchors()[1] + " is missing"}},
		"Secret as source":  {set("Bundle", "trust", []any{planned, map[string]any{"secret": map[string]any{"name": "s"}}}, "spec", "sources"), []string{"Bundle trust: spec.sources[1] is not inLine alone: every anchor is pinned, nothing is read from elsewhere"}},
		"default CAs":       {set("Bundle", "trust", []any{planned, map[string]any{"useDefaultCAs": true}}, "spec", "sources"), []string{"Bundle trust: spec.sources[1] is not inLine alone: every anchor is pinned, nothing is read from elsewhere"}},
		"malformed anchors": {set("Bundle", "trust", source(map[string]any{"inLine": "nonsense"}), "spec", "sources"), []string{"Bundle trust: spec.sources[0].inLine cannot be read: no PEM block of type CERTIFICATE found"}},
		"sources no list":   {set("Bundle", "trust", "x", "spec", "sources"), []string{"Bundle trust: spec.sources is not a list"}},
		"target's key":      {set("Bundle", "trust", "root.pem", "spec", "target", "configMap", "key"), []string{`Bundle trust: spec.target.configMap.key is "root.pem", not "ca.crt"`}},
		"target Secret":     {set("Bundle", "trust", map[string]any{"key": "ca.crt"}, "spec", "target", "secret"), []string{"Bundle trust: spec.target.secret.key is added"}},
		"no target":         {unset("Bundle", "trust", "spec", "target"), []string{`Bundle trust: spec.target.configMap.key is missing, it was "ca.crt"`, "Bundle trust: spec.target.namespaceSelector picks every namespace, not namespaces with trust=fleet,zone=a"}},
		"keystore":          {set("Bundle", "trust", map[string]any{"jks": map[string]any{"key": "trust.jks"}}, "spec", "target", "additionalFormats"), []string{"Bundle trust: spec.target.additionalFormats.jks is added"}},
		"remembered":        {set("Bundle", "trust", map[string]any{"reanchor.dev/certificates": "00"}, "metadata", "annotations"), []string{"Bundle trust: metadata.annotations[reanchor.dev/certificates] is added"}},
		"issuer's memory":   {set("Issuer", "plant", map[string]any{"reanchor.dev/signs-with": "pki/root/2026"}, "metadata", "annotations"), []string{"Issuer pki/plant: metadata.annotations[reanchor.dev/signs-with] is added"}},
		"selector":          {set("Bundle", "trust", map[string]any{"trust": "fleet"}, "spec", "target", "namespaceSelector", "matchLabels"), []string{"Bundle trust: spec.target.namespaceSelector picks namespaces with trust=fleet, not namespaces with trust=fleet,zone=a"}},
		"selector nonsense": {set("Bundle", "trust", map[string]any{"matchLabel": "x"}, "spec", "target", "namespaceSelector"), []string{"Bundle trust: spec.target.namespaceSelector picks what is not a label selector, not namespaces with trust=fleet,zone=a"}},

		"certificate gone":     {without("Certificate", "root-2026"), []string{"Certificate pki/root-2026: is planned and not among the manifests: it was removed, renamed or moved"}},
		"certificate moved":    {set("Certificate", "root-2026", "elsewhere", "metadata", "namespace"), []string{"Certificate pki/root-2026: is planned and not among the manifests: it was removed, renamed or moved"}},
		"no CA":                {set("Certificate", "root-2026", false, "spec", "isCA"), []string{`Certificate pki/root-2026: spec.isCA is "false", not "true"`}},
		"secretName":           {set("Certificate", "root-2026", "x", "spec", "secretName"), []string{`Certificate pki/root-2026: spec.secretName is "x", not "root-2026"`}},
		"rotation":             {set("Certificate", "root-2026", "Always", "spec", "privateKey", "rotationPolicy"), []string{`Certificate pki/root-2026: spec.privateKey.rotationPolicy is "Always", not "Never"`}},
		"renewal":              {unset("Certificate", "root-2026", "spec", "renewal"), []string{`Certificate pki/root-2026: spec.renewal.policy is missing, it was "Disabled"`}},
		"duration":             {set("Certificate", "root-2026", "1h", "spec", "duration"), []string{`Certificate pki/root-2026: spec.duration is "1h", not "8760h0m0s"`}},
		"key size":             {set("Certificate", "root-2026", int64(256), "spec", "privateKey", "size"), []string{`Certificate pki/root-2026: spec.privateKey.size is "256", not "384"`}},
		"issuerRef":            {set("Certificate", "root-2026", "other", "spec", "issuerRef", "name"), []string{`Certificate pki/root-2026: spec.issuerRef.name is "other", not "root-self-signed"`}},
		"organization":         {set("Certificate", "root-2026", []any{"Else"}, "spec", "subject", "organizations"), []string{`Certificate pki/root-2026: spec.subject.organizations is "[Else]", not "[Example]"`}},
		"usages":               {set("Certificate", "root-2026", []any{"any"}, "spec", "usages"), []string{"Certificate pki/root-2026: spec.usages is added"}},
		"subject no mapping":   {set("Certificate", "root-2026", "x", "spec", "subject"), []string{"Certificate pki/root-2026: spec.subject is not a mapping"}},
		"self-signed issuer":   {set("Issuer", "root-self-signed", map[string]any{"ca": map[string]any{"secretName": "x"}}, "spec"), []string{"Issuer pki/root-self-signed: spec.ca is added"}},
		"internal issuer":      {set("Issuer", "root-2026", "root-2025", "spec", "ca", "secretName"), []string{`Issuer pki/root-2026: spec.ca.secretName is "root-2025", not "root-2026"`}},
		"bound issuer":         {set("Issuer", "plant", "root-2026", "spec", "ca", "secretName"), []string{`Issuer pki/plant: spec.ca.secretName is "root-2026", not "root-2025"`}},
		"bound cluster issuer": {without("ClusterIssuer", "fleet"), []string{"ClusterIssuer fleet: is planned and not among the manifests: it was removed, renamed or moved"}},
		"another kind of issuer": {
			set("ClusterIssuer", "fleet", map[string]any{"vault": map[string]any{"server": "https://vault"}}, "spec"),
			[]string{`ClusterIssuer fleet: spec.ca.secretName is missing, it was "root-2025"`, "ClusterIssuer fleet: spec.vault is added"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			violations := checkPlan(thePlan(), test.change(rendered()))
			expect(t, violations, test.want...)
			for _, violation := range violations {
				if violation.Rule != RuleAnchorChanged || violation.Severity != Deny || violation.Mend != mended {
					t.Errorf("got %+v", violation)
				}
			}
		})
	}
}

func plannedAnchors() []string {
	var names []string
	for _, anchor := range thePlan().Target.Bundles[0].Anchors {
		names = append(names, anchor.String())
	}
	slices.Sort(names)
	return names
}

func TestWhatAnOverlayMayChange(t *testing.T) {
	for name, change := range map[string]func([]*unstructured.Unstructured) []*unstructured.Unstructured{
		"labels of the copies": set("Bundle", "trust", map[string]any{"labels": map[string]any{"a": "b"}}, "spec", "target", "configMap", "metadata"),
		"one source each": set("Bundle", "trust", []any{
			map[string]any{"inLine": "# old\n" + string(anchor("Root 2025").PEM())},
			map[string]any{"inLine": string(anchor("Root 2026").PEM())},
		}, "spec", "sources"),
		"the Secret's labels": set("Certificate", "root-2026", map[string]any{"labels": map[string]any{"a": "b"}}, "spec", "secretTemplate"),
		"the same duration":   set("Certificate", "root-2026", "525600m", "spec", "duration"),
		"the same size":       set("Certificate", "root-2026", float64(384), "spec", "privateKey", "size"),
		"an OCSP server":      set("Issuer", "plant", []any{"http://ocsp"}, "spec", "ca", "ocspServers"),
		"annotations":         set("Bundle", "trust", map[string]any{"a": "b"}, "metadata", "annotations"),
		"a foreign bundle":    with(object("trust.cert-manager.io/v1alpha1", "Bundle", "", "public", spec(map[string]any{"sources": []any{map[string]any{"useDefaultCAs": true}}}))),
		"a foreign issuer":    with(caIssuer("Issuer", "other", "x", "root-2025")),
		"a foreign ConfigMap": with(object("v1", "ConfigMap", "plant", "settings", map[string]any{})),
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, checkPlan(thePlan(), change(rendered())))
		})
	}
}

func TestBundleWithoutAnchorsNeedsNoManifest(t *testing.T) {
	plan := thePlan()
	plan.Target.Bundles[0].Anchors = nil
	expect(t, checkPlan(plan, without("Bundle", "trust")(rendered())))
}

func TestIntruders(t *testing.T) {
	for name, test := range map[string]struct {
		added *unstructured.Unstructured
		want  string
	}{
		"a Certificate on a CA's Secret": {
			object("cert-manager.io/v1", "Certificate", "pki", "mine", spec(map[string]any{"isCA": true, "secretName": "root-2026", "issuerRef": map[string]any{"name": "x"}})),
			"Certificate pki/mine: writes to the Secret pki/root-2026, which holds the key of a CA",
		},
		"a Secret on a CA's": {
			object("v1", "Secret", "pki", "root-2026", map[string]any{"data": map[string]any{}}),
			"Secret pki/root-2026: overwrites the key of a CA",
		},
		"an issuer with a CA's Secret": {
			caIssuer("Issuer", "pki", "shadow", "root-2026"),
			"Issuer pki/shadow: signs with the CA key of the Secret root-2026 beside the issuers that are bound to it, so that nobody would wait for its leaves before the key is retired",
		},
		"a cluster issuer with a CA's Secret": {
			caIssuer("ClusterIssuer", "", "shadow", "root-2025"),
			"ClusterIssuer shadow: signs with the CA key of the Secret root-2025 beside the issuers that are bound to it, so that nobody would wait for its leaves before the key is retired",
		},
		"a ConfigMap on a copy": {
			object("v1", "ConfigMap", "plant", "trust", map[string]any{"data": map[string]any{"ca.crt": ""}}),
			"ConfigMap plant/trust: has the name of the copies of the bundle trust",
		},
		"a ClusterBundle": {
			object("trust-manager.io/v1alpha2", "ClusterBundle", "", "trust", map[string]any{}),
			"ClusterBundle trust: writes to the copies of the bundle trust",
		},
	} {
		t.Run(name, func(t *testing.T) {
			violations := checkPlan(thePlan(), append(rendered(), test.added))
			expect(t, violations, test.want)
			if len(violations) == 1 && violations[0].Mend != "rename it, or take it out of the repository" {
				t.Errorf("the mend is %q", violations[0].Mend)
			}
		})
	}
}

func TestCertificateOfARetiredKeyIsAnIntruder(t *testing.T) {
	plan := thePlan()
	plan.Target.Keys[0].Certificate = false
	expect(t, checkPlan(plan, rendered()), "Certificate pki/root-2025: writes to the Secret pki/root-2025, which holds the key of a CA")
}

func TestCAOutlivesLeaves(t *testing.T) {
	short := thePlan()
	for i := range short.Target.Keys {
		short.Target.Keys[i].Spec.Duration = 2000 * time.Hour
	}
	shortLived := set("Certificate", "root-2026", "2000h", "spec", "duration")(set("Certificate", "root-2025", "2000h", "spec", "duration")(without("Certificate", "broker")(rendered())))
	for name, test := range map[string]struct {
		plan      planner.Plan
		manifests []*unstructured.Unstructured
		want      string
	}{
		"longer": {
			thePlan(), append(rendered(), leaf("long", "8761h", "Issuer", "plant")),
			"Certificate pki/long: asks for 8761h, and the CA key 2025 of pki/root that signs it lives 8760h",
		},
		"longer, by a ClusterIssuer": {
			thePlan(), append(rendered(), leaf("long", "8760h30m", "ClusterIssuer", "fleet")),
			"Certificate pki/long: asks for 8760h30m0s, and the CA key 2025 of pki/root that signs it lives 8760h",
		},
		"longer, by an internal issuer": {
			thePlan(), append(rendered(), leaf("long", "9000h", "", "root-2026")),
			"Certificate pki/long: asks for 9000h, and the CA key 2026 of pki/root that signs it lives 8760h",
		},
		"longer by default": {
			short, append(shortLived, leaf("plain", "", "Issuer", "plant")),
			"Certificate pki/plain: asks for 2160h, and the CA key 2025 of pki/root that signs it lives 2000h",
		},
		"as long":            {thePlan(), append(rendered(), leaf("equal", "8760h", "Issuer", "plant")), "Certificate pki/equal: asks for 8760h, as long as the CA key 2025 of pki/root lives: what is signed later than the CA outlives it"},
		"no duration at all": {thePlan(), append(rendered(), leaf("odd", "a year", "Issuer", "plant")), "Certificate pki/odd: spec.duration is not a duration"},
		"shorter":            {thePlan(), append(rendered(), leaf("short", "8759h", "Issuer", "plant")), ""},
		"another's issuer":   {thePlan(), append(rendered(), leaf("long", "90000h", "Issuer", "elsewhere"), leaf("longer", "90000h", "ClusterIssuer", "plant")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			violations := checkPlan(test.plan, test.manifests)
			expect(t, violations, test.want)
			for _, violation := range violations {
				if violation.Rule != RuleCAOutlivesLeaves {
					t.Errorf("got %+v", violation)
				}
			}
		})
	}
}

func TestOnlyDenialsStopATurn(t *testing.T) {
	violations := checkPlan(thePlan(), append(rendered(), leaf("equal", "8760h", "Issuer", "plant"), leaf("long", "8761h", "Issuer", "plant")))
	if len(violations) != 2 {
		t.Fatalf("got %v", violations)
	}
	if denied := Denied(violations); len(denied) != 1 || denied[0].Subject != "Certificate pki/long" {
		t.Errorf("got %v", denied)
	}
}

func TestCheckIsPure(t *testing.T) {
	manifests, before := rendered(), rendered()
	broken := without("Bundle", "trust")(set("Certificate", "root-2026", false, "spec", "isCA")(rendered()))
	reversed := slices.Clone(broken)
	slices.Reverse(reversed)
	if !reflect.DeepEqual(checkPlan(thePlan(), broken), checkPlan(thePlan(), reversed)) {
		t.Error("the order of the manifests matters")
	}
	checkPlan(thePlan(), manifests)
	if !reflect.DeepEqual(manifests, before) {
		t.Error("the manifests were changed")
	}
}
