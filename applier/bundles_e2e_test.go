//go:build e2e

package applier_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// anchor is a root of its own, of which nothing but the certificate is kept.
func anchor(t testing.TB, name string) pki.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// newBundleStory is a domain whose repository has one bundle, and nothing else.
func newBundleStory(t *testing.T, domain, bundle string, spec v1alpha1.TrustBundleSpec) *story {
	return &story{
		T:        t,
		domain:   planner.Ref{Namespace: controllerNamespace, Name: domain},
		observer: &applier.Observer{Reader: e2e.client},
		applier:  &applier.Applier{Reader: e2e.client, Writer: e2e.client},
		desired:  planner.Desired{Bundles: []v1alpha1.TrustBundle{{Metadata: v1alpha1.Metadata{Name: bundle}, Spec: spec}}},
	}
}

func selecting(label string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{"bundle": label}}
}

// namespaces makes so many that bear a label, and names them.
func (s *story) namespaces(label string, count int) []string {
	s.Helper()
	var names []string
	for n := range count {
		names = append(names, fmt.Sprintf("%s-%02d", label, n))
		s.create(fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {bundle: %s}}}`, names[n], label))
	}
	return names
}

// copies are the manifests that a bundle via ConfigMap becomes.
func (s *story) copies(bundle string, namespaces []string, anchors pki.Anchors) []string {
	s.Helper()
	var manifests []string
	for _, namespace := range namespaces {
		raw, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"namespace": namespace, "name": bundle, "labels": map[string]any{v1alpha1.LabelBundle: bundle}},
			"data":     map[string]any{"ca.crt": string(anchors.PEM())},
		})
		if err != nil {
			s.Fatal(err)
		}
		manifests = append(manifests, string(raw))
	}
	return manifests
}

// trustManagerBundle is a Bundle with these anchors and that target.
func (s *story) trustManagerBundle(name string, anchors pki.Anchors, publicCAs bool, target v1alpha1.BundleTarget) string {
	s.Helper()
	raw, err := json.Marshal(map[string]any{
		"apiVersion": "trust.cert-manager.io/v1alpha1", "kind": "Bundle",
		"metadata": map[string]any{
			"name": name, "labels": map[string]any{v1alpha1.LabelBundle: name},
			"annotations": map[string]any{v1alpha1.AnnotationCertificates: anchors[0].Fingerprint().String()},
		},
		"spec": map[string]any{
			"sources": []any{map[string]any{"inLine": string(anchors.PEM())}, map[string]any{"useDefaultCAs": publicCAs}},
			"target":  target,
		},
	})
	if err != nil {
		s.Fatal(err)
	}
	return string(raw)
}

// allHold reports whether so many copies are there and hold the anchors.
func allHold(anchors pki.Anchors, count int) func(planner.Observed) bool {
	return func(o planner.Observed) bool {
		return len(o.Copies) == count && !slices.ContainsFunc(o.Copies, func(c planner.Copy) bool { return c.Problem != "" || !c.Anchors.Contains(anchors) })
	}
}

// TestConfigMapsInTheCluster has reanchor write 50 copies itself, and shows how long it
// takes beside one worker and beside trust-manager.
func TestConfigMapsInTheCluster(t *testing.T) {
	const count = 50
	s := newBundleStory(t, "many", "many-trust", v1alpha1.TrustBundleSpec{
		Via: v1alpha1.ViaConfigMap, Target: v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}, NamespaceSelector: selecting("many")},
	})
	first, second := pki.NewAnchors(anchor(t, "First")), pki.NewAnchors(anchor(t, "First"), anchor(t, "Second"))
	names := s.namespaces("many", count)
	if before := s.observe(); len(before.Copies) != count || !before.Copies[0].Missing || len(before.Bundles) != 0 {
		t.Fatalf("before: %+v", before)
	}
	s.writesSideBySide(first, second, names)
	seen := s.observe()
	if !allHold(second, count)(seen) || len(seen.Bundles) != 1 || seen.Bundles[0].Via != v1alpha1.ViaConfigMap || !seen.Bundles[0].Anchors.Equal(second) {
		t.Fatalf("then: %+v", seen)
	}
	if again := s.apply(applier.Options{Prune: true}, s.copies("many-trust", names, second)...); again.Unchanged != count || len(again.Applied) > 0 {
		t.Fatalf("a second apply: %+v", again)
	}
	s.noticesWhoTouchesACopy(seen.Copies[0], second)
	s.prunesOneCopy(names, second)
	s.isSlowerByTrustManager(names, first)
}

// writesSideBySide writes all copies anew, by ones and at once, again and again.
func (s *story) writesSideBySide(first, second pki.Anchors, names []string) {
	s.Helper()
	s.apply(applier.Options{}, s.copies("many-trust", names, first)...)
	const rounds = 4
	var one, all time.Duration
	for round := range rounds {
		began := time.Now()
		for _, manifest := range parse(s, s.copies("many-trust", names, pki.NewAnchors(anchor(s, fmt.Sprint(round))))...) {
			manifest.SetLabels(map[string]string{v1alpha1.LabelBundle: "many-trust", v1alpha1.LabelDomainName: s.domain.Name, v1alpha1.LabelDomainNamespace: s.domain.Namespace})
			if err := e2e.client.Apply(s.Context(), client.ApplyConfigurationFromUnstructured(manifest), client.FieldOwner(v1alpha1.FieldManager)); err != nil {
				s.Fatal(err)
			}
		}
		one += time.Since(began)
		manifests := s.copies("many-trust", names, second)
		began = time.Now()
		result := s.apply(applier.Options{}, manifests...)
		all += time.Since(began)
		if len(result.Applied) != len(names) || !slices.IsSortedFunc(result.Applied, func(a, b applier.Object) int { return a.Ref.Compare(b.Ref) }) {
			s.Fatalf("result %+v", result)
		}
	}
	count := float64(rounds * len(names))
	s.Logf("%d copies, %d times: %.0f a second one after the other, %.0f side by side, listed before: %.1f times as fast",
		len(names), rounds, count/one.Seconds(), count/all.Seconds(), one.Seconds()/all.Seconds())
}

// noticesWhoTouchesACopy changes a copy and changes it back: its revision does not come
// back.
func (s *story) noticesWhoTouchesACopy(before planner.Copy, anchors pki.Anchors) {
	s.Helper()
	for _, data := range []string{"gone", string(anchors.PEM())} {
		var live corev1.ConfigMap
		if err := e2e.admin.Get(s.Context(), client.ObjectKey{Namespace: before.Namespace, Name: before.Bundle}, &live); err != nil {
			s.Fatal(err)
		}
		live.Data["ca.crt"] = data
		if err := e2e.admin.Update(s.Context(), &live, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
			s.Fatal(err)
		}
		if after := s.observe().Copies[0]; (after.Problem == "") != (data != "gone") || after.Revision == before.Revision {
			s.Fatalf("copy %+v, and before %+v", after, before)
		}
	}
}

func (s *story) prunesOneCopy(names []string, anchors pki.Anchors) {
	s.Helper()
	if err := kubectl("label", "namespace", names[0], "bundle-"); err != nil {
		s.Fatal(err)
	}
	if observed := s.observe(); len(observed.Copies) != len(names) || !observed.Copies[0].Unselected || observed.Copies[1].Unselected {
		s.Fatalf("a namespace that is not selected any more: %+v", observed.Copies[:2])
	}
	result := s.apply(applier.Options{Prune: true}, s.copies("many-trust", names[1:], anchors)...)
	if fmt.Sprint(result.Pruned) != "[ConfigMap "+names[0]+"/many-trust]" {
		s.Fatalf("pruned %v", result.Pruned)
	}
	if observed := s.observe(); len(observed.Copies) != len(names)-1 {
		s.Fatalf("then: %d copies", len(observed.Copies))
	}
}

// isSlowerByTrustManager has trust-manager write as many copies.
func (s *story) isSlowerByTrustManager(names []string, anchors pki.Anchors) {
	s.Helper()
	target := v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}, NamespaceSelector: selecting("many")}
	beside := newBundleStory(s.T, "beside", "beside-trust", v1alpha1.TrustBundleSpec{Via: v1alpha1.ViaBundle, Target: target})
	began := time.Now()
	beside.apply(applier.Options{}, beside.trustManagerBundle("beside-trust", anchors, false, target))
	beside.until("trust-manager's copies", allHold(anchors, len(names)-1))
	s.Logf("trust-manager: %.1f copies a second", float64(len(names)-1)/time.Since(began).Seconds())
	beside.apply(applier.Options{Prune: true, Kinds: []string{"trust.cert-manager.io/v1alpha1/Bundle"}})
}

// TestConfigMapsOfOthersStayAsTheyAre: the applier leaves them, and were it not for that,
// the API server would.
func TestConfigMapsOfOthersStayAsTheyAre(t *testing.T) {
	s := newBundleStory(t, "guarded", "guarded-trust", v1alpha1.TrustBundleSpec{
		Via: v1alpha1.ViaConfigMap, Target: v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}, NamespaceSelector: selecting("guarded")},
	})
	names, anchors := s.namespaces("guarded", 1), pki.NewAnchors(anchor(t, "Root"))
	theirs := fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: %s, name: guarded-trust}, data: {ca.crt: theirs}}`, names[0])
	s.create(theirs)
	result := s.apply(applier.Options{Prune: true}, s.copies("guarded-trust", names, anchors)...)
	if len(result.Conflicts) != 1 || !strings.Contains(result.Conflicts[0].String(), "was not made by reanchor") {
		t.Fatalf("result %+v", result)
	}
	if observed := s.observe(); len(observed.Copies) != 1 || !strings.Contains(observed.Copies[0].Problem, "reanchor did not make") {
		t.Fatalf("copies %+v", observed.Copies)
	}
	live := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: names[0], Name: "guarded-trust"}}
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: names[0], Name: "other"}}
	claimed := client.RawPatch("application/merge-patch+json", []byte(`{"metadata": {"labels": {"reanchor.dev/bundle": "guarded-trust"}}}`))
	for what, err := range map[string]error{
		"make one that is no copy":          e2e.client.Create(s.Context(), other),
		"change one that is no copy":        e2e.client.Patch(s.Context(), live, client.RawPatch("application/merge-patch+json", []byte(`{"data": {"x": "y"}}`))),
		"claim one that was no copy":        e2e.client.Patch(s.Context(), live, claimed),
		"delete one that is no copy":        e2e.client.Delete(s.Context(), live),
		"make a copy by another's name":     e2e.client.Create(s.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: names[0], Name: "other", Labels: map[string]string{v1alpha1.LabelBundle: "trust"}}}),
		"a native manifest that is no copy": nativeApply(s, names[0]),
	} {
		if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "reanchor writes no ConfigMap but the copies of bundles") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func nativeApply(s *story, namespace string) error {
	s.Helper()
	native := parse(s, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: %s, name: settings}, data: {a: b}}`, namespace))
	_, err := s.applier.Apply(s.Context(), s.domain, native, applier.Options{})
	return err
}

// everyForm is a target in ConfigMaps and Secrets, with keystores beside the PEM.
func everyForm() v1alpha1.BundleTarget {
	return v1alpha1.BundleTarget{
		ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}, Secret: v1alpha1.SecretTarget{Key: "ca.pem"},
		AdditionalFormats: v1alpha1.AdditionalFormats{
			JKS: &v1alpha1.KeystoreFormat{Key: "trust.jks", Password: new("changeit")}, PKCS12: &v1alpha1.PKCS12Format{Key: "trust.p12"},
		},
		NamespaceSelector: selecting("forms"),
	}
}

// TestEveryFormInTheCluster has trust-manager write a bundle in ConfigMaps and Secrets,
// as PEM, JKS and PKCS#12, the public CAs with it, and reads all of it back.
func TestEveryFormInTheCluster(t *testing.T) {
	s := newBundleStory(t, "forms", "forms-trust", v1alpha1.TrustBundleSpec{UseDefaultCAs: true, Target: everyForm()})
	s.namespaces("forms", 2)
	anchors := pki.NewAnchors(anchor(t, "Root"))
	s.apply(applier.Options{}, s.trustManagerBundle("forms-trust", anchors, true, everyForm()))
	blind, err := s.observer.Observe(s.Context(), s.domain, s.desired, nil)
	if err != nil || len(blind.Unknown) != 1 || !strings.Contains(blind.Unknown[0].Why, "config/rbac/bundle-secrets") {
		t.Fatalf("without the permission: unknown %+v, %v", blind.Unknown, err)
	}
	s.mayReadTheSecretsOf("forms-trust")
	observed := s.until("four copies", allHold(anchors, 4))
	if standing := observed.Bundles[0]; !standing.UseDefaultCAs || !standing.Anchors.Equal(anchors) || !standing.Certificates.Equal(anchors) || !reflect.DeepEqual(standing.Target, everyForm()) {
		t.Errorf("bundle %+v", standing)
	}
	for _, c := range observed.Copies {
		if len(c.Anchors) < 2 || c.Digest.IsZero() || c.Revision != "" || !c.Anchors.Equal(observed.Copies[0].Anchors) {
			t.Errorf("copy %s/%s (Secret %t): %d anchors, revision %q", c.Namespace, c.Bundle, c.Secret, len(c.Anchors), c.Revision)
		}
	}
	t.Logf("%d anchors in each of %d copies and 3 forms", len(observed.Copies[0].Anchors), len(observed.Copies))
	if err := e2e.client.List(s.Context(), &corev1.SecretList{}, client.InNamespace("forms-00")); !apierrors.IsForbidden(err) {
		t.Errorf("all Secrets are listed: %v", err)
	}
}

// mayReadTheSecretsOf adds config/rbac/bundle-secrets with the name of a bundle, as its
// comment says.
func (s *story) mayReadTheSecretsOf(bundle string) {
	s.Helper()
	component, err := filepath.Abs("../config/rbac/bundle-secrets")
	if err != nil {
		s.Fatal(err)
	}
	folder := s.TempDir()
	relative, err := filepath.Rel(folder, component)
	if err != nil {
		s.Fatal(err)
	}
	kustomization := fmt.Sprintf(`components: [%s]
patches:
- target: {kind: ClusterRole, name: reanchor-bundle-secrets}
  patch: '[{"op": "replace", "path": "/rules/0/resourceNames", "value": ["%s"]}]'
`, relative, bundle)
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		s.Fatal(err)
	}
	if err := kubectl("apply", "--server-side", "-k", folder); err != nil {
		s.Fatal(err)
	}
}

// TestDomainsInTheCluster has two TrustDomains that name the same issuer and copies.
func TestDomainsInTheCluster(t *testing.T) {
	if err := kubectl("apply", "--server-side", "-k", "../config/crd"); err != nil {
		t.Fatal(err)
	}
	if err := kubectl("wait", "--for=condition=Established", "crd/trustdomains.reanchor.dev", "--timeout=30s"); err != nil {
		t.Fatal(err)
	}
	spec := v1alpha1.TrustBundleSpec{
		Via: v1alpha1.ViaConfigMap, Target: v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}, NamespaceSelector: selecting("shared")},
	}
	a, b := newBundleStory(t, "a", "shared-trust", spec), newBundleStory(t, "b", "shared-trust", spec)
	claims := &applier.Claims{}
	for _, s := range []*story{a, b} {
		s.applier.Claims = claims
		s.create(fmt.Sprintf(`{apiVersion: reanchor.dev/v1alpha1, kind: TrustDomain, metadata: {namespace: %s, name: %s}, spec: {suspend: true, source: {url: "https://git.example/x"}, writeBack: {mode: Disabled}}}`, s.domain.Namespace, s.domain.Name))
	}
	manifests := append(a.copies("shared-trust", a.namespaces("shared", 20), pki.NewAnchors(anchor(t, "Root"))),
		`{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: shared, labels: {reanchor.dev/binding: shared}}, spec: {ca: {secretName: shared}}}`)
	results := bothApply(a, b, parse(t, manifests...))
	if first, second := results[0], results[1]; len(first.Applied)+len(first.Conflicts) != 21 || len(first.Applied)+len(second.Applied) != 21 || len(second.Conflicts) != len(first.Applied) {
		t.Fatalf("a applied %d and left %d, b applied %d and left %d", len(first.Applied), len(first.Conflicts), len(second.Applied), len(second.Conflicts))
	}
	t.Logf("at the same moment: a made %d, b made %d", len(results[0].Applied), len(results[1].Applied))
	b.findsWhatIsForeign(a)
}

// bothApply the same manifests at the same moment.
func bothApply(a, b *story, manifests []*unstructured.Unstructured) []applier.Result {
	results, done := make([]applier.Result, 2), make(chan error, 2)
	for n, s := range []*story{a, b} {
		go func() {
			var err error
			results[n], err = s.applier.Apply(s.Context(), s.domain, manifests, applier.Options{})
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			a.Error(err)
		}
	}
	return results
}

// findsWhatIsForeign has another domain make an issuer: it is foreign until that domain is
// gone, and then it may be taken over.
func (s *story) findsWhatIsForeign(other *story) {
	s.Helper()
	const issuer = `{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: theirs, labels: {reanchor.dev/binding: theirs}}, spec: {ca: {secretName: theirs}}}`
	other.apply(applier.Options{}, issuer)
	desired := planner.Desired{Bindings: []v1alpha1.IssuerBinding{{Metadata: v1alpha1.Metadata{Name: "theirs"}, Spec: v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster}}}}
	foreign := func() string {
		seen, err := s.observer.Look(s.Context(), s.domain, desired, nil)
		if err != nil {
			s.Fatal(err)
		}
		return fmt.Sprint(seen.Foreign)
	}
	const says = "ClusterIssuer theirs belongs to TrustDomain reanchor-system/a: give it another name, or take it out of that one's repository first"
	if got := foreign(); got != "["+says+"]" {
		s.Fatalf("foreign: %s", got)
	}
	if result := s.apply(applier.Options{Prune: true}, issuer); fmt.Sprint(result.Conflicts) != "["+says+"]" || len(result.Pruned) > 0 {
		s.Fatalf("result %+v", result)
	}
	if err := kubectl("-n", other.domain.Namespace, "delete", "trustdomain", other.domain.Name); err != nil {
		s.Fatal(err)
	}
	if got := foreign(); got != "[]" {
		s.Fatalf("of a domain that is gone: %s", got)
	}
	if result := s.apply(applier.Options{}, issuer); len(result.Applied) != 1 {
		s.Fatalf("result %+v", result)
	}
}
