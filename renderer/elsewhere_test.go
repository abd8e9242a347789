package renderer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

const vaultSpec = `{"vault":{"auth":{"kubernetes":{"role":"plant","serviceAccountRef":{"name":"vault"}}},"path":"pki/sign/plant","server":"https://vault.example"}}`

// fromElsewhere is a target whose keys are not made here: one in a Secret that signs in
// other namespaces too, and one behind Vault. Its bundles are written in every way.
func fromElsewhere(t testing.TB) planner.Target {
	plantCA, further, password := planner.Ref{Namespace: "cert-manager", Name: "plant-root"}, anchors(t)[:1], "changeit"
	formats := v1alpha1.AdditionalFormats{
		JKS:    &v1alpha1.KeystoreFormat{Key: "trust.jks", Password: &password},
		PKCS12: &v1alpha1.PKCS12Format{Key: "trust.p12", Profile: v1alpha1.PKCS12Modern2023},
	}
	return planner.Target{
		Keys: []planner.TargetKey{{Authority: plantCA, Name: "2026", Secret: "plant-ca", Issuer: true, ClusterIssuer: true}},
		Issuers: []planner.TargetIssuer{
			{Ref: planner.Ref{Name: "fleet"}, Authority: plantCA, Key: "2026", Secret: "plant-ca"},
			{Ref: planner.Ref{Namespace: "plant", Name: "vault"}, Authority: planner.Ref{Namespace: "plant", Name: "outside"}, Key: "1", Spec: vaultSpec},
			{Ref: planner.Ref{Name: "vault"}, Authority: planner.Ref{Namespace: "cert-manager", Name: "outside"}, Key: "1", Spec: vaultSpec},
			{Ref: planner.Ref{Name: "left"}, Foreign: "somebody-elses"},
		},
		Bundles: []planner.TargetBundle{
			{
				Name: "everything", Via: v1alpha1.ViaBundle, Anchors: anchors(t), Certificates: further, UseDefaultCAs: true,
				Target: v1alpha1.BundleTarget{
					ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}, Secret: v1alpha1.SecretTarget{Key: "ca.crt"}, AdditionalFormats: formats,
				},
			},
			{Name: "own", Via: v1alpha1.ViaConfigMap, Anchors: anchors(t), Certificates: further, Target: fleetTarget, Namespaces: []string{"line-a", "line-b"}},
			{Name: "public", Via: v1alpha1.ViaBundle, UseDefaultCAs: true, Target: v1alpha1.BundleTarget{Secret: v1alpha1.SecretTarget{Key: "ca.crt"}}},
			{Name: "empty", Via: v1alpha1.ViaConfigMap, Target: fleetTarget, Namespaces: []string{"line-a"}},
			{Name: "theirs", Via: v1alpha1.ViaObserved, Anchors: anchors(t), Target: fleetTarget},
		},
	}
}

func TestRenderFromElsewhereGolden(t *testing.T) {
	made := mustRender(t, mustLoad(t, repository(fleet), ""), fromElsewhere(t))
	golden.File(t, filepath.Join("testdata", "elsewhere.yaml"), asYAML(t, made))
}

func TestAnUnreadableSpecIsRefused(t *testing.T) {
	target := fromElsewhere(t)
	target.Issuers[1].Spec = "{"
	_, err := mustLoad(t, repository(fleet), "").Render(target, plant)
	if err == nil {
		t.Fatal("it was rendered")
	}
	wantText(t, err.Error(), "IssuerBinding vault: read the issuer's spec that key plant/outside/1 has: ")
}

const component = "-- overlay/kustomization.yaml --\nkind: Component\n"

// copiesOf is the fleet with a bundle whose copies reanchor writes, in so many namespaces.
func copiesOf(t testing.TB, namespaces int) planner.Target {
	target := distributing(t)
	target.Bundles[0].Via = v1alpha1.ViaConfigMap
	for i := range namespaces {
		target.Bundles[0].Namespaces = append(target.Bundles[0].Namespaces, fmt.Sprintf("line-%03d", i))
	}
	return target
}

func TestCopiesAreStampedFromOneTemplate(t *testing.T) {
	loaded := mustLoad(t, repository(fleet+component+"patches:\n- target: {kind: ConfigMap, labelSelector: reanchor.dev/bundle=fleet-trust}\n"+
		"  patch: |\n    - {op: add, path: /metadata/labels/team, value: plant}\n"), "")
	target := copiesOf(t, 500)
	built, err := loaded.manifests(target)
	if err != nil {
		t.Fatal(err)
	}
	if len(built) > 10 {
		t.Errorf("kustomize is given %d objects", len(built))
	}
	var copies []*unstructured.Unstructured
	for _, o := range mustRender(t, loaded, target) {
		if o.GetKind() == "ConfigMap" {
			copies = append(copies, o)
		}
	}
	if len(copies) != 500 {
		t.Fatalf("there are %d copies", len(copies))
	}
	want := string(anchors(t).PEM())
	for i, o := range copies {
		labels, text := o.GetLabels(), copyText(o)
		if o.GetNamespace() != target.Bundles[0].Namespaces[i] || o.GetName() != "fleet-trust" || text != want || labels["team"] != "plant" ||
			labels[v1alpha1.LabelBundle] != "fleet-trust" || labels[v1alpha1.LabelDomainName] != "plant" || labels["trust.cert-manager.io/bundle"] != "" {
			t.Fatalf("a copy is %v", o)
		}
	}
	if file, line := loaded.Origin(copies[0]); file != "pki.yaml" || line != 15 {
		t.Errorf("a copy comes from %s:%d", file, line)
	}
}

func copyText(o *unstructured.Unstructured) string {
	text, _, _ := unstructured.NestedString(o.Object, "data", "ca.crt")
	return text
}

func TestCopiesFollowTheirNamespaces(t *testing.T) {
	loaded := mustLoad(t, repository(fleet), "")
	for _, namespaces := range []int{0, 1, 2} {
		count := 0
		for _, o := range mustRender(t, loaded, copiesOf(t, namespaces)) {
			if o.GetKind() == "ConfigMap" {
				count++
			}
		}
		if count != namespaces {
			t.Errorf("%d copies for %d namespaces", count, namespaces)
		}
	}
}

func TestRenderRefusesChangedCopies(t *testing.T) {
	patched := func(operation string) string {
		return fleet + component + "patches:\n- target: {kind: ConfigMap}\n  patch: |\n    - {" + operation + "}\n"
	}
	const changed = "overlay: ConfigMap fleet-trust: more is changed than labels and annotations, and verifiers trust what it holds; change TrustBundle fleet-trust instead"
	beside := strings.Replace(fleet, "[pki.yaml]", "[pki.yaml, own.yaml]", 1) + "-- own.yaml --\n# ours\n{apiVersion: v1, kind: ConfigMap, metadata: {name: fleet-trust, namespace: %s}}\n"
	for name, c := range map[string]struct{ archive, want string }{
		"PEM":             {patched("op: replace, path: /data/ca.crt, value: none"), changed},
		"key":             {patched("op: move, from: /data/ca.crt, path: /data/other.crt"), changed},
		"another key":     {patched("op: add, path: /data/other.crt, value: none"), changed},
		"binary data":     {patched("op: add, path: /binaryData, value: {a: aGk=}"), changed},
		"immutable":       {patched("op: add, path: /immutable, value: true"), changed},
		"name":            {fleet + component + "nameSuffix: -x\n", "overlay: renames, moves or removes "},
		"namespace":       {patched("op: replace, path: /metadata/namespace, value: line-000"), "ConfigMap reanchor-any-namespace/fleet-trust, which reanchor would not find again"},
		"removed":         {fleet + component + "patches: [{patch: '{$patch: delete, apiVersion: v1, kind: ConfigMap, metadata: {name: fleet-trust, namespace: reanchor-any-namespace}}'}]\n", "renames, moves or removes ConfigMap"},
		"memory":          {patched("op: add, path: /metadata/annotations, value: {reanchor.dev/certificates: x}"), "the annotation reanchor.dev/certificates is set by reanchor alone"},
		"label":           {patched("op: replace, path: /metadata/labels/reanchor.dev~1bundle, value: x"), "the label reanchor.dev/bundle is set by reanchor alone"},
		"in a copy's way": {fmt.Sprintf(beside, "line-001"), "own.yaml:2: ConfigMap line-001/fleet-trust is a copy that reanchor writes, of TrustBundle fleet-trust; rename it or take it out"},
		"in the template's way": {
			fmt.Sprintf(beside, "reanchor-any-namespace"), "own.yaml:2: ConfigMap reanchor-any-namespace/fleet-trust is what reanchor renders",
		},
		"an overlay's in a copy's way": {
			fleet + component + "configMapGenerator: [{name: fleet-trust, namespace: line-001, literals: [a=b], options: {disableNameSuffixHash: true}}]\n",
			"overlay/kustomization.yaml:1: ConfigMap line-001/fleet-trust is a copy that reanchor writes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mustLoad(t, repository(c.archive), "").Render(copiesOf(t, 2), plant)
			if err == nil {
				t.Fatal("it was rendered")
			}
			wantText(t, err.Error(), c.want)
		})
	}
}

// A document that asks for what stands in the cluster has what it is rendered to say so, to
// whoever applies it; an overlay does not.
func TestAdoptionIsAskedForByDocuments(t *testing.T) {
	asking := strings.NewReplacer(
		"metadata: {name: fleet}", "metadata: {name: fleet, annotations: {reanchor.dev/adopt: 'true', other: x}}",
		"metadata: {name: fleet-trust}", "metadata: {name: fleet-trust, annotations: {reanchor.dev/adopt: 'true'}}",
	).Replace(fleet)
	for archive, want := range map[string]string{fleet: "", asking: v1alpha1.Adopt} {
		asked := 0
		for _, o := range mustRender(t, mustLoad(t, repository(archive), ""), distributing(t)) {
			if o.GetKind() != "ClusterIssuer" && o.GetKind() != "Bundle" {
				continue
			}
			if asked++; o.GetAnnotations()[v1alpha1.AnnotationAdopt] != want || o.GetAnnotations()["other"] != "" {
				t.Errorf("%s has annotations %v", o.GetKind(), o.GetAnnotations())
			}
		}
		if asked < 2 {
			t.Errorf("%d objects were rendered that may be asked for", asked)
		}
	}
	overlaid := fleet + "-- overlay/kustomization.yaml --\n" + component + "commonAnnotations: {reanchor.dev/adopt: 'true'}\n"
	if _, err := mustLoad(t, repository(overlaid), "").Render(distributing(t), plant); err == nil || !strings.Contains(err.Error(), "the annotation reanchor.dev/adopt is set by reanchor alone") {
		t.Errorf("an overlay asks: %v", err)
	}
}

func TestOurAnnotationsAreOurs(t *testing.T) {
	native := strings.Replace(fleet, "[pki.yaml]", "[pki.yaml, own.yaml]", 1) +
		"-- own.yaml --\n{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: mine, namespace: plant, annotations: {reanchor.dev/signs-with: x}}, spec: {selfSigned: {}}}\n"
	_, err := mustLoad(t, repository(native), "").Render(distributing(t), plant)
	if err == nil {
		t.Fatal("it was rendered")
	}
	wantText(t, err.Error(), "Issuer plant/mine: the annotation reanchor.dev/signs-with is set by reanchor alone; take it out of the manifest or overlay")

	dropped := fleet + component + "patches:\n- target: {kind: Issuer, name: vault}\n  patch: |\n    - {op: remove, path: /metadata/annotations}\n"
	for _, o := range mustRender(t, mustLoad(t, repository(dropped), ""), fromElsewhere(t)) {
		if o.GetName() == "vault" && o.GetAnnotations()[v1alpha1.AnnotationSignsWith] == "" {
			t.Errorf("%s lost its annotation", identityOf(o))
		}
	}
}

// Native issuers, and Certificates that refer to them, are nobody's but Git's.
func TestNativeIssuersPassThrough(t *testing.T) {
	const native = `
-- native.yaml --
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: vault, namespace: plant}
spec: {vault: {server: "https://vault.example", path: pki/sign/plant, auth: {tokenSecretRef: {name: token, key: token}}}}
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: letsencrypt}
spec:
  acme:
    server: https://acme.example/directory
    privateKeySecretRef: {name: account}
    solvers: [{dns01: {rfc2136: {nameserver: 192.0.2.1, tsigAlgorithm: HMACSHA256, tsigKeyName: key, tsigSecretSecretRef: {name: tsig, key: secret}}}}]
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: broker, namespace: plant}
spec: {secretName: broker, dnsNames: [broker], issuerRef: {name: vault}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: plant}
spec: {secretName: web, dnsNames: [web.example], issuerRef: {name: letsencrypt, kind: ClusterIssuer}}
`
	loaded := mustLoad(t, repository(strings.Replace(fleet, "[pki.yaml]", "[pki.yaml, native.yaml]", 1)+native), "")
	made := mustRender(t, loaded, planner.Target{})
	if len(made) != 4 || len(loaded.Native) != 4 {
		t.Fatalf("rendered %q", names(made))
	}
	for i, o := range made {
		if !equalSpecs(o, loaded.Native[i]) || o.GetLabels()[v1alpha1.LabelDomainName] != "plant" || len(o.GetLabels()) != 2 {
			t.Errorf("%s was changed: %v", identityOf(o), o)
		}
	}
}

func equalSpecs(a, b *unstructured.Unstructured) bool {
	return identityOf(a) == identityOf(b) && fmt.Sprint(a.Object["spec"]) == fmt.Sprint(b.Object["spec"])
}

// pem is a certificate as a value of YAML.
func pem(certificate pki.Certificate) string { return fmt.Sprintf("%q", certificate.PEM()) }

// given is a site whose roots come from elsewhere: plant in a Secret with an old key and a
// new one, offline with a certificate alone, and vault behind an issuer. Under offline hangs
// an intermediate that arrives, and under plant one that is made here.
func given(t testing.TB, issuing pki.Certificate) string {
	return `
-- site/kustomization.yaml --
resources: [pki.yaml]
-- site/pki.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: plant, namespace: cert-manager}
spec:
  keys:
  - {name: "2025", state: Trusted, secret: {name: plant-old}, certificate: ` + pem(ca(t, "Plant 2025")) + `}
  - {name: "2026", state: Signing, secret: {name: plant-new}, certificate: ` + pem(ca(t, "Plant 2026")) + `}
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: offline, namespace: cert-manager}
spec:
  keys:
  - {name: "2025", state: Trusted, certificate: ` + pem(ca(t, "Offline 2025")) + `}
  - {name: "2026", state: Signing, certificate: ` + pem(ca(t, "Offline 2026")) + `}
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: issuing, namespace: line}
spec:
  issuedBy: {name: offline}
  keys:
  - {name: a, state: Signing, secret: {name: issuing-a}, certificate: ` + pem(issuing) + `}
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: made, namespace: line}
spec:
  subject: {commonName: Made}
  duration: 8760h
  issuedBy: {name: plant}
  keys: [{name: m, state: Signing}]
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: vault, namespace: line}
spec:
  keys:
  - {name: "1", state: Signing, certificate: ` + pem(ca(t, "Vault")) + `, issuer: ` + vaultSpec + `}
---
{apiVersion: reanchor.dev/v1alpha1, kind: IssuerBinding, metadata: {name: plant}, spec: {scope: Cluster, authority: plant}}
---
{apiVersion: reanchor.dev/v1alpha1, kind: IssuerBinding, metadata: {name: lines}, spec: {scope: Namespace, authority: issuing}}
---
{apiVersion: reanchor.dev/v1alpha1, kind: IssuerBinding, metadata: {name: outside}, spec: {scope: Namespace, authority: vault}}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: trust}
spec:
  authorities: [plant, offline, vault]
  certificates: [` + pem(ca(t, "Site B", ends(now.Add(-1)))) + `]
  useDefaultCAs: true
  target: {configMap: {key: ca.crt}}
---
{apiVersion: reanchor.dev/v1alpha1, kind: TrustBundle, metadata: {name: own}, spec: {authorities: [plant], via: ConfigMap, target: {configMap: {key: ca.crt}}}}
---
{apiVersion: reanchor.dev/v1alpha1, kind: TrustBundle, metadata: {name: theirs}, spec: {authorities: [plant], via: Observed, target: {configMap: {key: ca.crt}}}}
`
}

func TestEndStateFromElsewhere(t *testing.T) {
	loaded := mustLoad(t, repository(given(t, below(t, "Issuing", "Offline 2026"))), "site")
	target := loaded.EndState(recorded())

	keys := map[string]planner.TargetKey{}
	for _, key := range target.Keys {
		keys[planner.KeyObjectName(key.Authority.String(), key.Name)] = key
	}
	if len(keys) != 4 {
		t.Errorf("the keys are %+v", target.Keys)
	}
	if got := keys["cert-manager/plant-2026"]; got.Secret != "plant-new" || got.Certificate || !got.Issuer || !got.ClusterIssuer || got.Spec.Duration != 10*year {
		t.Errorf("the key in a Secret is %+v", got)
	}
	if got := keys["line/issuing-a.2026"]; got.Secret != "issuing-a" || got.Certificate || !got.Issuer || got.ClusterIssuer {
		t.Errorf("the intermediate that arrives is %+v", got)
	}
	if got := keys["line/made-m.2026"]; got.Secret != "" || !got.Certificate || got.Spec.SignedBy != (planner.Ref{Name: "plant-2026"}) {
		t.Errorf("the intermediate that is made is %+v", got)
	}
	var issuers []string
	for _, issuer := range target.Issuers {
		issuers = append(issuers, issuer.Ref.String()+" "+issuer.SecretName()+" "+issuer.Spec)
	}
	if want := []string{"plant plant-new ", "line/lines issuing-a ", "line/outside vault-1 " + vaultSpec}; !slices.Equal(issuers, want) {
		t.Errorf("the issuers are %q, want %q", issuers, want)
	}
	wantBundles(t, target.Bundles)
	if made := mustRender(t, loaded, target); len(made) == 0 {
		t.Error("nothing was rendered")
	}
}

func wantBundles(t *testing.T, bundles []planner.TargetBundle) {
	t.Helper()
	if len(bundles) != 2 {
		t.Fatalf("the bundles are %+v", bundles)
	}
	own, trust := bundles[0], bundles[1]
	further := ca(t, "Site B", ends(now.Add(-1)))
	if len(trust.Anchors) != 6 || !trust.Anchors.Has(ca(t, "Vault")) || !trust.Anchors.Has(further) ||
		!trust.Certificates.Equal(pki.NewAnchors(further)) || !trust.UseDefaultCAs || trust.Via != v1alpha1.ViaBundle {
		t.Errorf("trust is %+v", trust)
	}
	if own.Via != v1alpha1.ViaConfigMap || !slices.Equal(own.Namespaces, []string{"default"}) || len(own.Anchors) != 2 {
		t.Errorf("own is %+v", own)
	}
}

// An intermediate hangs under the key that signed it, whichever signs by now.
func TestGivenPairsFollowTheirSigner(t *testing.T) {
	loaded := mustLoad(t, repository(given(t, below(t, "Issuing", "Offline 2025"))), "site")
	if target := loaded.EndState(recorded()); !slices.ContainsFunc(target.Keys, func(k planner.TargetKey) bool { return k.Name == "a.2025" }) {
		t.Errorf("the keys are %+v", target.Keys)
	}
}

// A ClusterIssuer is for keys that are made in other namespaces; those that arrive need none.
func TestNobodySignsForKeysThatArrive(t *testing.T) {
	loaded := mustLoad(t, repository(`
-- kustomization.yaml --
resources: [pki.yaml]
-- pki.yaml --
{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: root, namespace: cert-manager}, spec: {keys: [{name: "1", state: Signing, secret: {name: root}, certificate: `+pem(ca(t, "Root"))+`}]}}
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: issuing, namespace: line}
spec: {issuedBy: {name: root}, keys: [{name: a, state: Signing, secret: {name: a}, certificate: `+pem(below(t, "Issuing", "Root"))+`}]}
`), "")
	for _, key := range loaded.EndState(recorded()).Keys {
		if !key.Issuer || key.ClusterIssuer {
			t.Errorf("the key is %+v", key)
		}
	}
}

func TestCopiesLieInTheRepositorysNamespaces(t *testing.T) {
	loaded := mustLoad(t, repository(`
-- kustomization.yaml --
resources: [pki.yaml]
-- pki.yaml --
{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: root, namespace: pki}, spec: {subject: {commonName: R}, keys: [{name: "1", state: Signing}]}}
---
{apiVersion: reanchor.dev/v1alpha1, kind: TrustBundle, metadata: {name: own}, spec: {authorities: [root], via: ConfigMap, target: {configMap: {key: ca.crt}, namespaceSelector: {matchLabels: {trust: own}}}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: b, labels: {trust: own}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {trust: own}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: c}}
`), "")
	if got := loaded.EndState(recorded()).Bundles[0].Namespaces; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the namespaces are %q", got)
	}
}

func TestCheckRecordOfGivenKeys(t *testing.T) {
	const ended = "site/pki.yaml:47: spec.certificates[0]: Site B ("
	good := below(t, "Issuing", "Offline 2026")
	other := ca(t, "Another")
	entry := func(authority, name string, certificate pki.Certificate) planner.RecordedKey {
		return planner.RecordedKey{Authority: authority, Name: name, Certificate: certificate}
	}
	for name, c := range map[string]struct {
		issuing          pki.Certificate
		record           []planner.RecordedKey
		errors, warnings []string
	}{
		"all is well":        {issuing: good, record: []planner.RecordedKey{entry("issuing", "a.2026", good), entry("plant", "2026", ca(t, "Plant 2026"))}},
		"nothing recorded":   {issuing: good},
		"under the old root": {issuing: below(t, "Issuing", "Offline 2025")},
		"another certificate in the record": {
			issuing: good, record: []planner.RecordedKey{entry("plant", "2026", other)},
			errors: []string{
				"site/pki.yaml:7: spec.keys[1].certificate: Plant 2026 has the fingerprint " + ca(t, "Plant 2026").Fingerprint().String() +
					", and anchors/plant/2026.pem records Another with the fingerprint " + other.Fingerprint().String() + " for key 2026: put back the recorded certificate, or give the new one to a key of another name",
			},
		},
		"another certificate of an intermediate": {
			issuing: good, record: []planner.RecordedKey{entry("issuing", "a.2026", below(t, "Other", "Offline 2026"))},
			errors: []string{"site/pki.yaml:23: spec.keys[0].certificate: Issuing has the fingerprint ", "anchors/issuing/a.2026.pem records Other with the fingerprint "},
		},
		"its predecessor under another root, in the record": {issuing: good, record: []planner.RecordedKey{entry("issuing", "a.2025", below(t, "Issuing old", "Offline 2025"))}},
		"an intermediate that ends too soon": {
			issuing:  below(t, "Issuing", "Offline 2026", ends(now.Add(defaultLeafLife))),
			warnings: []string{"site/pki.yaml:23: spec.keys[0].certificate: Issuing (", "a rollover must start by ", "; add a key to Authority issuing\n"},
		},
		"an intermediate that has ended": {
			issuing: below(t, "Issuing", "Offline 2026", ends(now.Add(-year/2))),
			errors:  []string{"site/pki.yaml:23: spec.keys[0].certificate: Issuing (", ") ended at 2025-11-30T12:00:00Z, and verifiers accept nothing that it signed: add a key to Authority issuing"},
		},
		"an intermediate that outlives its root": {
			issuing:  below(t, "Issuing", "Offline 2026", ends(now.Add(20*year))),
			warnings: []string{"site/pki.yaml:23: spec.keys[0].certificate: Issuing (", "that signed it at ", "have one issued that ends earlier, or add a key to Authority offline in time\n"},
		},
		"one subject and identifier": {
			issuing: good, record: []planner.RecordedKey{entry("made", "m.2026", below(t, "Made", "Plant 2026", called("Issuing"), identified("k"))), entry("made", "n.2026", below(t, "Made n", "Plant 2026", called("Issuing"), identified("k")))},
			errors: []string{"site/anchors/made/n.2026.pem:1: Issuing (", "has the subject and the subject key identifier of anchors/made/m.2026.pem"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			refused, warned := mustLoad(t, repository(given(t, c.issuing)), "site").CheckRecord(recorded(c.record...), now)
			wantProblems(t, refused, c.errors)
			wantProblems(t, warned, append(c.warnings, ended, ") ended at 2026-05-31T23:59:59Z, and verifiers accept nothing that it signed: take it out"))
		})
	}
}

// Where the parent's keys are recorded, a certificate that none of them signed is refused.
func TestAGivenCertificateIsOfItsParent(t *testing.T) {
	tree := repository(`
-- kustomization.yaml --
resources: [pki.yaml]
-- pki.yaml --
{apiVersion: reanchor.dev/v1alpha1, kind: Authority, metadata: {name: root, namespace: pki}, spec: {subject: {commonName: R}, keys: [{name: "1", state: Signing}]}}
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: issuing, namespace: pki}
spec: {issuedBy: {name: root}, keys: [{name: a, state: Signing, secret: {name: a}, certificate: ` + pem(below(t, "Issuing", "Another")) + `}]}
`)
	loaded := mustLoad(t, tree, "")
	if refused, _ := loaded.CheckRecord(recorded(), now); len(refused) > 0 {
		t.Errorf("without a record: %v", refused)
	}
	refused, _ := loaded.CheckRecord(recorded(planner.RecordedKey{Authority: "root", Name: "1", Certificate: ca(t, "R 1")}), now)
	wantProblems(t, refused, []string{"pki.yaml:6: spec.keys[0].certificate: Issuing (", ") was signed by no key of Authority root: give a certificate that one of them signed, or the certificate of the key that did to Authority root"})
}
