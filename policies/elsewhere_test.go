package policies

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

const (
	vaultSpec = `{"vault":{"server":"https://vault.example","path":"pki/sign/plant","auth":{"kubernetes":{"role":"plant"}}}}`
	acmeSpec  = `{"acme":{"server":"https://acme.example/directory","privateKeySecretRef":{"name":"account"},` +
		`"solvers":[{"dns01":{"webhook":{"groupName":"dns.example","solverName":"zone","config":{"token":"hush","ttl":60}}}}]}}`
)

// elsewherePlan has a root whose key 2027 arrives in a Secret, issuers that are given the
// specs of Vault and of ACME, a Bundle with the public CAs, a further anchor and every
// kind of target, and a bundle whose copies reanchor writes itself.
func elsewherePlan() planner.Plan {
	password := "changeme"
	further := pki.NewAnchors(anchor("Site B"))
	return planner.Plan{Target: planner.Target{
		Keys: []planner.TargetKey{
			{Authority: theRoot, Name: "2027", Secret: "plant-ca", Issuer: true, ClusterIssuer: true, Spec: planner.CASpec{Duration: 8760 * time.Hour}},
		},
		Issuers: []planner.TargetIssuer{
			{Ref: planner.Ref{Namespace: "pki", Name: "plant"}, Authority: theRoot, Key: "2027", Secret: "plant-ca"},
			{Ref: planner.Ref{Namespace: "pki", Name: "vault"}, Authority: planner.Ref{Namespace: "pki", Name: "outside"}, Key: "1", Spec: vaultSpec},
			{Ref: planner.Ref{Name: "acme"}, Authority: planner.Ref{Namespace: "pki", Name: "public"}, Key: "x1", Spec: acmeSpec},
		},
		Bundles: []planner.TargetBundle{
			{
				Name: "everything", Via: v1alpha1.ViaBundle, Anchors: further.Union(pki.NewAnchors(anchor("Root 2027"))), Certificates: further, UseDefaultCAs: true,
				Target: v1alpha1.BundleTarget{
					ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}, Secret: v1alpha1.SecretTarget{Key: "ca.crt"},
					AdditionalFormats: v1alpha1.AdditionalFormats{
						JKS:    &v1alpha1.KeystoreFormat{Key: "trust.jks", Password: &password},
						PKCS12: &v1alpha1.PKCS12Format{Key: "trust.p12", Profile: v1alpha1.PKCS12Modern2023},
					},
				},
			},
			{Name: "public", Via: v1alpha1.ViaBundle, UseDefaultCAs: true, Target: v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}}},
			{
				Name: "own", Via: v1alpha1.ViaConfigMap, Anchors: further.Union(pki.NewAnchors(anchor("Root 2027"))), Certificates: further,
				Target: v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}}, Namespaces: []string{"line-a", "line-b"},
			},
		},
	}}
}

// elsewhere is what the renderer makes of elsewherePlan.
func elsewhere() []*unstructured.Unstructured {
	both := string(anchor("Site B").PEM()) + string(anchor("Root 2027").PEM())
	defaults := map[string]any{"useDefaultCAs": true}
	own := func(namespace string) *unstructured.Unstructured {
		return annotated(v1alpha1.AnnotationCertificates, anchor("Site B").Fingerprint().String(),
			object("v1", "ConfigMap", namespace, "own", map[string]any{"data": map[string]any{"ca.crt": both}}))
	}
	return []*unstructured.Unstructured{
		caIssuer("Issuer", "pki", "root-2027", "plant-ca"),
		caIssuer("ClusterIssuer", "", "root-2027", "plant-ca"),
		caIssuer("Issuer", "pki", "plant", "plant-ca"),
		annotated(v1alpha1.AnnotationSignsWith, "pki/outside/1", object("cert-manager.io/v1", "Issuer", "pki", "vault", spec(parsed(vaultSpec)))),
		annotated(v1alpha1.AnnotationSignsWith, "pki/public/x1", object("cert-manager.io/v1", "ClusterIssuer", "", "acme", spec(parsed(acmeSpec)))),
		annotated(v1alpha1.AnnotationCertificates, anchor("Site B").Fingerprint().String(), object("trust.cert-manager.io/v1alpha1", "Bundle", "", "everything", spec(map[string]any{
			"sources": []any{map[string]any{"inLine": both}, defaults},
			"target": map[string]any{
				"configMap": map[string]any{"key": "ca.crt"}, "secret": map[string]any{"key": "ca.crt"},
				"additionalFormats": map[string]any{
					"jks":    map[string]any{"key": "trust.jks", "password": "changeme"},
					"pkcs12": map[string]any{"key": "trust.p12", "profile": "Modern2023"},
				},
			},
		}))),
		object("trust.cert-manager.io/v1alpha1", "Bundle", "", "public", spec(map[string]any{
			"sources": []any{defaults}, "target": map[string]any{"configMap": map[string]any{"key": "ca.crt"}},
		})),
		own("line-a"), own("line-b"),
	}
}

func annotated(name, value string, o *unstructured.Unstructured) *unstructured.Unstructured {
	o.SetAnnotations(map[string]string{name: value})
	return o
}

// parsed reads JSON as the renderer does.
func parsed(text string) map[string]any {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON([]byte(`{"apiVersion":"v1","kind":"X","spec":` + text + `}`)); err != nil {
		panic(err)
	}
	return o.Object["spec"].(map[string]any)
}

func TestWhatComesFromElsewhereIsTaken(t *testing.T) {
	expect(t, checkPlan(elsewherePlan(), elsewhere()))
}

func TestChangedFromElsewhere(t *testing.T) {
	site, foreign := anchor("Site B"), anchor("Foreign")
	both := string(site.PEM()) + string(anchor("Root 2027").PEM())
	solver := parsed(strings.Replace(acmeSpec, "60", "61", 1))["acme"].(map[string]any)["solvers"]
	for name, test := range map[string]struct {
		change func([]*unstructured.Unstructured) []*unstructured.Unstructured
		want   []string
	}{
		"internal issuer":         {set("Issuer", "root-2027", "root-2027", "spec", "ca", "secretName"), []string{`Issuer pki/root-2027: spec.ca.secretName is "root-2027", not "plant-ca"`}},
		"internal cluster issuer": {set("ClusterIssuer", "root-2027", "x", "spec", "ca", "secretName"), []string{`ClusterIssuer root-2027: spec.ca.secretName is "x", not "plant-ca"`}},
		"bound issuer":            {set("Issuer", "plant", "root-2027", "spec", "ca", "secretName"), []string{`Issuer pki/plant: spec.ca.secretName is "root-2027", not "plant-ca"`}},

		"another Vault":         {set("Issuer", "vault", "https://evil.example", "spec", "vault", "server"), []string{"Issuer pki/vault: spec.vault.server is not what the key's issuer has in Git"}},
		"another path of Vault": {unset("Issuer", "vault", "spec", "vault", "path"), []string{"Issuer pki/vault: spec.vault.path is not what the key's issuer has in Git"}},
		"another ACME server":   {set("ClusterIssuer", "acme", "https://other.example", "spec", "acme", "server"), []string{"ClusterIssuer acme: spec.acme.server is not what the key's issuer has in Git"}},
		"a solver's field":      {set("ClusterIssuer", "acme", solver, "spec", "acme", "solvers"), []string{"ClusterIssuer acme: spec.acme.solvers is not what the key's issuer has in Git"}},
		"a CA beside ACME":      {set("ClusterIssuer", "acme", map[string]any{"secretName": "x"}, "spec", "ca"), []string{"ClusterIssuer acme: spec.ca is not what the key's issuer has in Git"}},
		"an ACME issuer gone":   {without("ClusterIssuer", "acme"), []string{"ClusterIssuer acme: is planned and not among the manifests: it was removed, renamed or moved"}},
		"which key it is":       {set("Issuer", "vault", map[string]any{"reanchor.dev/signs-with": "pki/outside/2"}, "metadata", "annotations"), []string{`Issuer pki/vault: metadata.annotations[reanchor.dev/signs-with] is "pki/outside/2", not "pki/outside/1"`}},
		"which key it is, gone": {unset("Issuer", "vault", "metadata", "annotations"), []string{`Issuer pki/vault: metadata.annotations[reanchor.dev/signs-with] is missing, it was "pki/outside/1"`}},

		"public CAs left out":   {set("Bundle", "everything", []any{map[string]any{"inLine": both}}, "spec", "sources"), []string{"Bundle everything: spec.sources lacks useDefaultCAs, which the document asks for"}},
		"public CAs switched":   {set("Bundle", "public", []any{map[string]any{"useDefaultCAs": false}}, "spec", "sources"), []string{"Bundle public: spec.sources[0] is not inLine alone: every anchor is pinned, nothing is read from elsewhere"}},
		"a stranger beside":     {set("Bundle", "public", []any{map[string]any{"useDefaultCAs": true}, map[string]any{"inLine": string(foreign.PEM())}}, "spec", "sources"), []string{"Bundle public: the anchor " + foreign.String() + " is not planned"}},
		"the Secret's key":      {set("Bundle", "everything", "x", "spec", "target", "secret", "key"), []string{`Bundle everything: spec.target.secret.key is "x", not "ca.crt"`}},
		"a store's password":    {set("Bundle", "everything", "hush", "spec", "target", "additionalFormats", "jks", "password"), []string{"Bundle everything: spec.target.additionalFormats.jks.password is not what the document says"}},
		"a store's algorithms":  {set("Bundle", "everything", "LegacyRC2", "spec", "target", "additionalFormats", "pkcs12", "profile"), []string{`Bundle everything: spec.target.additionalFormats.pkcs12.profile is "LegacyRC2", not "Modern2023"`}},
		"a store gone":          {unset("Bundle", "everything", "spec", "target", "additionalFormats", "jks"), []string{`Bundle everything: spec.target.additionalFormats.jks.key is missing, it was "trust.jks"`, "Bundle everything: spec.target.additionalFormats.jks.password is not what the document says"}},
		"where anchors are of":  {unset("Bundle", "everything", "metadata", "annotations"), []string{fmt.Sprintf("Bundle everything: metadata.annotations[reanchor.dev/certificates] is missing, it was %s", show(site.Fingerprint().String()))}},
		"a copy gone":           {without("ConfigMap", "own"), []string{"ConfigMap line-a/own: is planned and not among the manifests: it was removed, renamed or moved", "ConfigMap line-b/own: is planned and not among the manifests: it was removed, renamed or moved"}},
		"a copy's anchor out":   {set("ConfigMap", "own", string(site.PEM()), "data", "ca.crt"), []string{"ConfigMap line-a/own: the anchor " + anchor("Root 2027").String() + " is missing"}},
		"a copy's anchor in":    {set("ConfigMap", "own", both+string(foreign.PEM()), "data", "ca.crt"), []string{"ConfigMap line-a/own: the anchor " + foreign.String() + " is not planned"}},
		"no PEM in a copy":      {set("ConfigMap", "own", "nonsense", "data", "ca.crt"), []string{"ConfigMap line-a/own: data.ca.crt cannot be read: no PEM block of type CERTIFICATE found"}},
		"another key of a copy": {set("ConfigMap", "own", "x", "data", "other.crt"), []string{"ConfigMap line-a/own: data.other.crt is added"}},
		"a copy's binary":       {set("ConfigMap", "own", map[string]any{"trust.jks": "eA=="}, "binaryData"), []string{"ConfigMap line-a/own: binaryData is added"}},
		"a copy for ever":       {set("ConfigMap", "own", true, "immutable"), []string{"ConfigMap line-a/own: immutable is added"}},
		"a copy of two":         {set("ConfigMap", "own", map[string]any{"trust.cert-manager.io/bundle": "own"}, "metadata", "labels"), []string{"ConfigMap line-a/own: has the label trust.cert-manager.io/bundle, by which trust-manager takes it for its own"}},
		"a copy's memory":       {set("ConfigMap", "own", map[string]any{"reanchor.dev/certificates": ""}, "metadata", "annotations"), []string{fmt.Sprintf("ConfigMap line-a/own: metadata.annotations[reanchor.dev/certificates] is missing, it was %s", show(site.Fingerprint().String()))}},

		"labels of a copy":          {set("ConfigMap", "own", map[string]any{"team": "plant"}, "metadata", "labels"), nil},
		"how a copy's PEM is put":   {set("ConfigMap", "own", "# of Site B\n"+both, "data", "ca.crt"), nil},
		"labels of a Secret's copy": {set("Bundle", "everything", map[string]any{"labels": map[string]any{"a": "b"}}, "spec", "target", "secret", "metadata"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			violations := checkPlan(elsewherePlan(), test.change(elsewhere()))
			expect(t, violations, test.want...)
			for _, violation := range violations {
				if violation.Rule != RuleAnchorChanged || violation.Severity != Deny || strings.Contains(violation.String(), "hush") {
					t.Errorf("got %+v", violation)
				}
			}
		})
	}
}

func TestIntrudersOnWhatComesFromElsewhere(t *testing.T) {
	making := func(renewal map[string]any) *unstructured.Unstructured {
		return object("cert-manager.io/v1", "Certificate", "pki", "plant-ca", spec(map[string]any{
			"isCA": true, "secretName": "plant-ca", "issuerRef": map[string]any{"name": "corporate", "kind": "ClusterIssuer"}, "renewal": renewal,
		}))
	}
	for name, test := range map[string]struct {
		added    *unstructured.Unstructured
		severity Severity
		want     string
	}{
		"a Secret in Git":             {object("v1", "Secret", "pki", "plant-ca", map[string]any{}), Deny, "Secret pki/plant-ca: takes the place of the Secret that somebody else makes for the key of a CA"},
		"a Secret of that name":       {object("v1", "Secret", "line-a", "plant-ca", map[string]any{}), Deny, ""},
		"a Secret of the key's name":  {object("v1", "Secret", "pki", "root-2027", map[string]any{}), Deny, ""},
		"somebody who makes it":       {object("external-secrets.io/v1", "ExternalSecret", "pki", "plant-ca", spec(map[string]any{"target": map[string]any{"name": "plant-ca"}})), Deny, ""},
		"cert-manager that makes it":  {making(map[string]any{"policy": "Disabled"}), Deny, ""},
		"cert-manager that renews it": {making(nil), Warn, "Certificate pki/plant-ca: makes the Secret pki/plant-ca of a CA key, and renews it when it is due: then another certificate signs than the one in Git"},
		"an issuer beside": {
			caIssuer("Issuer", "pki", "shadow", "plant-ca"), Deny,
			"Issuer pki/shadow: signs with the CA key of the Secret plant-ca beside the issuers that are bound to it, so that nobody would wait for its leaves before the key is retired",
		},
		"a native Vault issuer":    {object("cert-manager.io/v1", "Issuer", "pki", "native", spec(parsed(vaultSpec))), Deny, ""},
		"a leaf of an external CA": {leaf("long", "90000h", "ClusterIssuer", "acme"), Deny, ""},
		"a long leaf of a given one": {
			leaf("long", "8761h", "Issuer", "plant"), Deny, "Certificate pki/long: asks for 8761h, and the CA key 2027 of pki/root that signs it lives 8760h",
		},
		"a Secret on a Secret's copy":       {object("v1", "Secret", "line-a", "everything", map[string]any{}), Deny, "Secret line-a/everything: has the name of the copies of the bundle everything"},
		"a Secret on a ConfigMap's copy":    {object("v1", "Secret", "line-a", "own", map[string]any{}), Deny, ""},
		"a ConfigMap where no copy is":      {object("v1", "ConfigMap", "line-c", "own", map[string]any{}), Deny, "ConfigMap line-c/own: has the name of the copies of the bundle own"},
		"a Bundle on copies that are ours":  {object("trust.cert-manager.io/v1alpha1", "Bundle", "", "own", map[string]any{}), Deny, "Bundle own: writes to the copies of the bundle own"},
		"a second ConfigMap for the copies": {elsewhere()[7], Deny, "ConfigMap line-a/own: stands 2 times among the manifests"},
	} {
		t.Run(name, func(t *testing.T) {
			violations := checkPlan(elsewherePlan(), append(elsewhere(), test.added))
			expect(t, violations, test.want)
			for _, violation := range violations {
				if violation.Severity != test.severity {
					t.Errorf("got %+v", violation)
				}
			}
		})
	}
}

func TestCopiesWithoutAnchorsAreNotWanted(t *testing.T) {
	plan := elsewherePlan()
	plan.Target.Bundles[2].Anchors = nil
	expect(t, checkPlan(plan, without("ConfigMap", "own")(elsewhere())))
}

func TestWhatSomebodyElseWritesIsNotCompared(t *testing.T) {
	plan := elsewherePlan()
	plan.Target.Bundles[2].Via = v1alpha1.ViaObserved
	expect(t, checkPlan(plan, without("ConfigMap", "own")(elsewhere())))
}

func TestIntermediatesInCopiesAreWarnedOf(t *testing.T) {
	plan, signed := elsewherePlan(), intermediateOf("Root 2027")
	own := &plan.Target.Bundles[2]
	own.Anchors = own.Anchors.Union(pki.NewAnchors(signed))
	violations := checkPlan(plan, eachCopy(string(own.Anchors.PEM())))
	expect(t, violations, "TrustBundle own: the anchor "+signed.String()+" is not self-signed, and intermediates never enter a bundle")
	if len(Denied(violations)) > 0 {
		t.Errorf("got %+v, want a warning", violations)
	}
}

// eachCopy is what elsewhere is, with other anchors in the copies that reanchor writes.
func eachCopy(anchors string) []*unstructured.Unstructured {
	manifests := elsewhere()
	for _, manifest := range manifests {
		if manifest.GetKind() == "ConfigMap" {
			manifest.Object["data"] = map[string]any{"ca.crt": anchors}
		}
	}
	return manifests
}

func TestLargeBundlesAreRefused(t *testing.T) {
	plan, many := elsewherePlan(), make(pki.Anchors, 2500)
	for i := range many {
		many[i] = anchor("Site B")
	}
	own := &plan.Target.Bundles[2]
	own.Via, own.Anchors = v1alpha1.ViaObserved, many // so that the copies are not compared
	violations := checkPlan(plan, without("ConfigMap", "own")(elsewhere()))
	expect(t, violations, fmt.Sprintf("Bundle own: holds 2500 anchors of %d bytes in all, and a copy may have 1048576", 2500*len(anchor("Site B").PEM())))
	if len(Denied(violations)) != 1 || violations[0].Rule != RuleBundleTooLarge {
		t.Errorf("got %+v", violations)
	}
}

// Every copy of a bundle is looked at; what equal ones hold, once.
func BenchmarkCheckCopies(b *testing.B) {
	for _, namespaces := range []int{1, 500} {
		b.Run(fmt.Sprint(namespaces), func(b *testing.B) {
			plan, manifests := elsewherePlan(), elsewhere()
			own := manifests[7]
			plan.Target.Bundles[2].Namespaces = nil
			manifests = manifests[:7]
			for i := range namespaces {
				copied := own.DeepCopy()
				copied.SetNamespace(fmt.Sprintf("line-%d", i))
				plan.Target.Bundles[2].Namespaces = append(plan.Target.Bundles[2].Namespaces, copied.GetNamespace())
				manifests = append(manifests, copied)
			}
			b.ReportAllocs()
			for b.Loop() {
				if violations := checkPlan(plan, manifests); len(violations) > 0 {
					b.Fatal(violations)
				}
			}
		})
	}
}

// FuzzCheck puts any object in the place of a planned one, or beside them: whatever it is,
// Check answers, the same each time, and shows nothing of a key.
func FuzzCheck(f *testing.F) {
	for i, manifest := range elsewhere() {
		f.Add(uint8(i), string(must(manifest.MarshalJSON())))
	}
	f.Add(uint8(2), fmt.Sprintf(`{"apiVersion":"cert-manager.io/v1","kind":"Issuer","metadata":{"name":"plant","namespace":"pki"},"spec":{"ca":{"secretName":%q}}}`, block("EC PRIVATE KEY", sec1)))
	f.Add(uint8(7), `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"own","namespace":"line-a"},"data":["x"],"immutable":1}`)
	f.Add(uint8(5), `{"apiVersion":"trust.cert-manager.io/v1alpha1","kind":"Bundle","metadata":{"name":"everything"},"spec":{"sources":[{"useDefaultCAs":true},null,{}],"target":{"additionalFormats":[]}}}`)
	f.Add(uint8(3), `{"apiVersion":"cert-manager.io/v1","kind":"Issuer","metadata":{"name":"vault","namespace":"pki","annotations":{"reanchor.dev/signs-with":"x"}},"spec":["x"]}`)
	f.Fuzz(func(t *testing.T, at uint8, text string) {
		object := &unstructured.Unstructured{}
		if object.UnmarshalJSON([]byte(text)) != nil || object.IsList() {
			return
		}
		manifests := elsewhere()
		if int(at) < len(manifests) {
			manifests[at] = object
		} else {
			manifests = append(manifests, object)
		}
		first := checkPlan(elsewherePlan(), manifests)
		if again := checkPlan(elsewherePlan(), manifests); !slices.Equal(first, again) {
			t.Errorf("first %v, then %v", first, again)
		}
		for _, violation := range first {
			if violation.Subject == "" || violation.Message == "" || violation.Mend == "" || strings.Contains(violation.String(), "-----BEGIN") {
				t.Errorf("got %+v", violation)
			}
		}
	})
}
