package applier

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// via is the desired fleet with its one bundle written in another way.
func via(writer v1alpha1.BundleVia, change ...func(*v1alpha1.TrustBundleSpec)) planner.Desired {
	desired := desiredFleet()
	desired.Bundles[0].Spec.Via = writer
	for _, c := range change {
		c(&desired.Bundles[0].Spec)
	}
	return desired
}

// copyOf is a ConfigMap as the domain fleet writes it as a copy.
func copyOf(namespace, bundle string, data map[string]string) *corev1.ConfigMap {
	labels := map[string]string(domainLabels(fleet))
	labels[v1alpha1.LabelBundle] = bundle
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: bundle, UID: types.UID("uid-" + namespace), ResourceVersion: "7", Labels: labels},
		Data:       data,
	}
}

func unlabelled(c *corev1.ConfigMap) *corev1.ConfigMap {
	c.Labels = nil
	return c
}

// fromGit has the certificates named in the annotation of what came from Git's list.
func fromGit[T client.Object](object T, certificates ...pki.Certificate) T {
	fingerprints := []string{"rubble"}
	for _, c := range certificates {
		fingerprints = append(fingerprints, c.Fingerprint().String())
	}
	object.SetAnnotations(map[string]string{v1alpha1.AnnotationCertificates: strings.Join(fingerprints, ",")})
	return object
}

// texts of copies, one line each.
func texts(copies []planner.Copy) []string {
	var lines []string
	for _, c := range copies {
		var marks []string
		for mark, is := range map[string]bool{"secret": c.Secret, "missing": c.Missing, "unselected": c.Unselected} {
			if is {
				marks = append(marks, mark)
			}
		}
		slices.Sort(marks)
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %d %s %s", c.Bundle, c.Namespace, strings.Join(marks, ","), len(c.Anchors), c.Revision, c.Problem)))
	}
	return lines
}

func TestCopiesThatReanchorWrites(t *testing.T) {
	root, next, site := newRoot(t, "Root"), newRoot(t, "Next"), newRoot(t, "Another site")
	pem := func(certificates ...pki.Certificate) map[string]string {
		return map[string]string{"ca.crt": string(pki.NewAnchors(certificates...).PEM())}
	}
	former := copyOf("d", "trust", pem(root.Certificate))
	former.Labels[v1alpha1.LabelDomainName] = "former"
	taken := copyOf("e", "trust", pem(root.Certificate))
	taken.Labels[LabelBundleCopy] = "trust"
	going := namespace("going", "no")
	going.DeletionTimestamp, going.Finalizers = &metav1.Time{Time: epoch}, []string{"kubernetes"}
	observed := observe(t, via(v1alpha1.ViaConfigMap), nil,
		namespace("a", "fleet"), namespace("b", "fleet"), namespace("c", "fleet"), namespace("d", "fleet"), namespace("e", "fleet"),
		namespace("left", "no"), going,
		fromGit(copyOf("a", "trust", pem(root.Certificate, site.Certificate)), site.Certificate, next.Certificate),
		unlabelled(copyOf("b", "trust", pem(root.Certificate))),
		former, taken,
		copyOf("left", "trust", pem(root.Certificate, next.Certificate)),
		copyOf("going", "trust", pem(root.Certificate)),
		copyOf("left", "undeclared", pem(next.Certificate)),
		unlabelled(copyOf("a", "undeclared", pem(next.Certificate))),
	)
	want := []string{
		"trust a  2 uid-a/7",
		"trust b  0 uid-b/7 a ConfigMap of that name is there that reanchor did not make: delete it once nobody needs it, or give the bundle another name",
		"trust c missing 0  there is no ConfigMap trust yet",
		"trust d  1 uid-d/7",
		"trust e  0 uid-e/7 a ConfigMap of that name is there that reanchor did not make: delete it once nobody needs it, or give the bundle another name",
		"trust left unselected 2 uid-left/7",
		"undeclared left unselected 1 uid-left/7",
	}
	if got := texts(observed.Copies); !slices.Equal(got, want) {
		t.Errorf("copies %q\nwant %q", got, want)
	}
	standing := []planner.Bundle{
		{
			Name: "trust", Via: v1alpha1.ViaConfigMap, Seen: true, Target: desiredFleet().Bundles[0].Spec.Target,
			Anchors: pki.NewAnchors(root.Certificate, site.Certificate), Certificates: pki.NewAnchors(site.Certificate),
		},
		{
			Name: "undeclared", Via: v1alpha1.ViaConfigMap, Seen: true, Target: v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}},
			Anchors: pki.NewAnchors(next.Certificate), Certificates: pki.NewAnchors(),
		},
	}
	if !reflect.DeepEqual(observed.Bundles, standing) || len(observed.Unknown) > 0 {
		t.Errorf("bundles %+v\nwant %+v; unknown %v", observed.Bundles, standing, observed.Unknown)
	}
}

// The key of what stands is the one that the copies have, until all have the new one.
func TestTheKeyOfCopies(t *testing.T) {
	root := string(newRoot(t, "Root").PEM())
	for name, c := range map[string]struct {
		copies []map[string]string
		want   string
	}{
		"the declared one": {[]map[string]string{{"ca.crt": root}, {"ca.crt": root, "old.crt": root}}, "ca.crt"},
		"another one":      {[]map[string]string{{"old.crt": root}, {"old.crt": root}}, "old.crt"},
		"one has another":  {[]map[string]string{{"ca.crt": root}, {"old.crt": root}}, "ca.crt"},
		"they differ":      {[]map[string]string{{"one.crt": root}, {"old.crt": root}}, "ca.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{namespace("n0", "fleet"), namespace("n1", "fleet")}
			for n, data := range c.copies {
				objects = append(objects, copyOf(fmt.Sprintf("n%d", n), "trust", data))
			}
			observed := observe(t, via(v1alpha1.ViaConfigMap), nil, objects...)
			if len(observed.Bundles) != 1 || observed.Bundles[0].Target.ConfigMap.Key != c.want || len(observed.Bundles[0].Anchors) != 1 {
				t.Errorf("bundles %+v", observed.Bundles)
			}
		})
	}
}

func TestCopiesThatSomebodyElseWrites(t *testing.T) {
	root, next := newRoot(t, "Root"), newRoot(t, "Next")
	foreign := bundleObject(t, "trust", "ca.crt", "fleet", "rubble") // of whoever writes them: none of our business
	foreign.SetLabels(nil)
	objects := []client.Object{
		foreign, namespace("a", "fleet"), namespace("b", "fleet"), namespace("c", "fleet"), namespace("other", "no"),
		unlabelled(copyOf("a", "trust", map[string]string{"ca.crt": string(root.PEM())})),
		configMap("b", "trust", map[string]string{"ca.crt": string(next.PEM())}),
		unlabelled(copyOf("other", "trust", map[string]string{"ca.crt": "rubble"})),
	}
	objects[6].SetUID("uid-b")
	objects[6].SetResourceVersion("9")
	observed := observe(t, via(v1alpha1.ViaObserved), nil, objects...)
	want := []string{"trust a  1 uid-a/7", "trust b  1 uid-b/9", "trust c missing 0  nobody has written a ConfigMap trust yet"}
	if got := texts(observed.Copies); !slices.Equal(got, want) {
		t.Errorf("copies %q\nwant %q", got, want)
	}
	standing := []planner.Bundle{{
		Name: "trust", Via: v1alpha1.ViaObserved, Seen: true, Target: desiredFleet().Bundles[0].Spec.Target,
		Anchors: pki.NewAnchors(root.Certificate, next.Certificate),
	}}
	if !reflect.DeepEqual(observed.Bundles, standing) || len(observed.Unknown) > 0 {
		t.Errorf("bundles %+v\nwant %+v; unknown %v", observed.Bundles, standing, observed.Unknown)
	}
	if none := observe(t, via(v1alpha1.ViaObserved), nil, namespace("a", "fleet")); len(none.Bundles) != 0 || len(none.Copies) != 1 {
		t.Errorf("without any copy: %+v", none)
	}
}

// Who writes a bundle is told by what stands, whatever Git says since.
func TestWhoWritesABundleIsSeen(t *testing.T) {
	root := newRoot(t, "Root")
	pem := map[string]string{"ca.crt": string(root.PEM())}
	ofFleet := bundleObject(t, "trust", "ca.crt", "fleet", string(root.PEM()))
	for name, c := range map[string]struct {
		declared v1alpha1.BundleVia
		objects  []client.Object
		want     v1alpha1.BundleVia
		copied   string
	}{
		"a Bundle, then ConfigMaps":    {v1alpha1.ViaConfigMap, []client.Object{ofFleet, configMap("a", "trust", pem)}, v1alpha1.ViaBundle, "trust a  1"},
		"a Bundle, then observed":      {v1alpha1.ViaObserved, []client.Object{ofFleet, configMap("a", "trust", pem)}, v1alpha1.ViaBundle, "trust a  1"},
		"ConfigMaps, then a Bundle":    {v1alpha1.ViaBundle, []client.Object{copyOf("a", "trust", pem)}, v1alpha1.ViaConfigMap, "trust a  1 uid-a/7"},
		"ConfigMaps, then observed":    {v1alpha1.ViaObserved, []client.Object{copyOf("a", "trust", pem)}, v1alpha1.ViaConfigMap, "trust a  1 uid-a/7"},
		"another domain's, observed":   {v1alpha1.ViaObserved, []client.Object{ownedBy(mill, copyOf("a", "trust", pem)), trustDomain(mill)}, v1alpha1.ViaObserved, "trust a  1 uid-a/7"},
		"not trust-manager's, however": {v1alpha1.ViaBundle, []client.Object{ofFleet, unlabelled(copyOf("a", "trust", pem))}, v1alpha1.ViaBundle, "trust a  0  a ConfigMap of that name is there that trust-manager did not make: see what the conditions of the Bundle say"},
	} {
		t.Run(name, func(t *testing.T) {
			observed := observe(t, via(c.declared), nil, append(c.objects, namespace("a", "fleet"))...)
			if len(observed.Bundles) != 1 || observed.Bundles[0].Via != c.want || len(observed.Bundles[0].Anchors) != 1 {
				t.Errorf("bundles %+v, want one via %s", observed.Bundles, c.want)
			}
			if got := texts(observed.Copies); !slices.Equal(got, []string{c.copied}) {
				t.Errorf("copies %q, want %q", got, c.copied)
			}
		})
	}
}

func TestWhatABundleSaysOfItself(t *testing.T) {
	root, site := newRoot(t, "Root"), newRoot(t, "Another site")
	object := fromGit(bundleObject(t, "trust", "ca.crt", "fleet", string(root.PEM())+string(site.PEM())), site.Certificate)
	sources, _, _ := unstructured.NestedSlice(object.Object, "spec", "sources")
	if err := unstructured.SetNestedSlice(object.Object, append(sources, map[string]any{"useDefaultCAs": true}), "spec", "sources"); err != nil {
		t.Fatal(err)
	}
	for field, value := range map[string]any{
		"secret":            map[string]any{"key": "trust.pem"},
		"additionalFormats": map[string]any{"jks": map[string]any{"key": "trust.jks", "password": "changeit"}, "pkcs12": map[string]any{"key": "trust.p12", "password": ""}},
	} {
		if err := unstructured.SetNestedField(object.Object, value, "spec", "target", field); err != nil {
			t.Fatal(err)
		}
	}
	password, none := "changeit", ""
	want := v1alpha1.BundleTarget{
		ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}, Secret: v1alpha1.SecretTarget{Key: "trust.pem"},
		AdditionalFormats: v1alpha1.AdditionalFormats{
			JKS:    &v1alpha1.KeystoreFormat{Key: "trust.jks", Password: &password},
			PKCS12: &v1alpha1.PKCS12Format{Key: "trust.p12", Password: &none},
		},
		NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"trust": "fleet"}},
	}
	desired := desiredFleet()
	for _, declared := range []*string{&none, nil} { // the server fills in what Git leaves out
		desired.Bundles[0].Spec.Target.AdditionalFormats.PKCS12 = &v1alpha1.PKCS12Format{Key: "trust.p12", Password: declared}
		want.AdditionalFormats.PKCS12.Password = declared
		got := observe(t, desired, nil, object).Bundles
		if len(got) != 1 || !got[0].UseDefaultCAs || !got[0].Certificates.Equal(pki.NewAnchors(site.Certificate)) || len(got[0].Anchors) != 2 || got[0].Via != v1alpha1.ViaBundle {
			t.Fatalf("bundles %+v", got)
		}
		if !reflect.DeepEqual(got[0].Target, want) {
			t.Errorf("target %+v\nwant %+v", got[0].Target, want)
		}
	}
}

// Where nobody asks for trust-manager, it is not missed.
func TestAClusterWithoutTrustManager(t *testing.T) {
	absent := func(list client.ObjectList) error {
		if _, is := list.(*unstructured.UnstructuredList); is {
			return &meta.NoKindMatchError{GroupKind: bundleKind.GroupKind(), SearchedVersions: []string{"v1alpha1"}}
		}
		return nil
	}
	for writer, unknown := range map[v1alpha1.BundleVia]int{v1alpha1.ViaConfigMap: 0, v1alpha1.ViaObserved: 0, v1alpha1.ViaBundle: 1, "": 1} {
		if got := observe(t, via(writer), absent, namespace("a", "fleet")); len(got.Unknown) != unknown || len(got.Copies) != 1 {
			t.Errorf("via %q: unknown %v, copies %v", writer, got.Unknown, got.Copies)
		}
	}
	forbidden := func(list client.ObjectList) error {
		if absent(list) == nil {
			return nil
		}
		return apierrors.NewForbidden(bundles, "", errors.New("nobody may"))
	}
	if got := observe(t, via(v1alpha1.ViaConfigMap), forbidden); len(got.Unknown) != 1 {
		t.Errorf("Bundles that may not be listed: unknown %v", got.Unknown)
	}
}

// inSecrets has a bundle's copies in ConfigMaps and Secrets, with keystores.
func inSecrets(spec *v1alpha1.TrustBundleSpec) {
	spec.Target.Secret.Key = "ca.pem"
	spec.Target.AdditionalFormats = v1alpha1.AdditionalFormats{
		JKS:    &v1alpha1.KeystoreFormat{Key: "trust.jks"},
		PKCS12: &v1alpha1.PKCS12Format{Key: "trust.p12"},
	}
}

func secretOf(namespace, bundle string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: bundle, Labels: map[string]string{LabelBundleCopy: bundle}},
		Data:       data,
	}
}

func TestCopiesInSeveralForms(t *testing.T) {
	root, next := newRoot(t, "Root"), newRoot(t, "Next")
	both := pki.NewAnchors(root.Certificate, next.Certificate)
	pem, stores := both.PEM(), map[string][]byte{
		"trust.jks": jks(t, "changeit", both...), "trust.p12": p12(t, pkcs12.Passwordless, "", both...),
	}
	with := func(pemKey, key string, content []byte) map[string][]byte {
		data := map[string][]byte{pemKey: pem, "trust.jks": stores["trust.jks"], "trust.p12": stores["trust.p12"]}
		data[key] = content
		if content == nil {
			delete(data, key)
		}
		return data
	}
	inConfigMap := configMap("a", "trust", map[string]string{"ca.crt": string(pem)})
	inConfigMap.BinaryData = stores
	observed := observe(t, via(v1alpha1.ViaBundle, inSecrets), nil,
		namespace("a", "fleet"), namespace("b", "fleet"), namespace("c", "fleet"), namespace("d", "fleet"), namespace("e", "fleet"), inConfigMap,
		secretOf("a", "trust", with("ca.pem", "private.key", []byte("nobody reads this"))),
		secretOf("b", "trust", with("ca.pem", "trust.jks", jks(t, "changeit", root.Certificate))),
		secretOf("c", "trust", with("ca.pem", "trust.p12", nil)),
		secretOf("d", "trust", with("ca.pem", "trust.p12", []byte("rubble"))),
		secretOf("e", "trust", with("ca.crt", "trust.jks", jks(t, "other", both...))),
		secretOf("elsewhere", "trust", nil), secretOf("a", "unrelated", nil),
	)
	want := []string{
		"trust a  2", "trust a secret 2",
		"trust b missing 0  trust-manager has written no ConfigMap trust yet", "trust b secret 1",
		"trust c missing 0  trust-manager has written no ConfigMap trust yet", `trust c secret 0  the Secret has no key "trust.p12"`,
		"trust d missing 0  trust-manager has written no ConfigMap trust yet", `trust d secret 0  key "trust.p12": not a PKCS#12 store`,
		"trust e missing 0  trust-manager has written no ConfigMap trust yet", `trust e secret 0  the Secret has no key "ca.pem"`,
	}
	if got := texts(observed.Copies); !slices.Equal(got, want) {
		t.Errorf("copies %q\nwant %q", got, want)
	}
	if a, b := observed.Copies[0], observed.Copies[1]; a.Digest != b.Digest || a.Digest.IsZero() || a.Digest == observed.Copies[3].Digest {
		t.Errorf("digests %s, %s and %s", a.Digest, b.Digest, observed.Copies[3].Digest)
	}
}

func TestOfASecretNothingElseIsKept(t *testing.T) {
	h := holder{binary: map[string][]byte{}}
	h.keep(map[string][]byte{"ca.pem": {1}, "trust.jks": {2}, "private.key": {3}, "": {4}}, form{key: "ca.pem", jks: store{key: "trust.jks"}})
	if want := map[string][]byte{"ca.pem": {1}, "trust.jks": {2}}; !reflect.DeepEqual(h.binary, want) {
		t.Errorf("kept %v", h.binary)
	}
}

func TestSecretsThatMayNotBeListedAreUnknown(t *testing.T) {
	cluster, _ := newCluster(t, nil, namespace("a", "fleet"))
	answer := func(err error) *Observer {
		return &Observer{Reader: cluster, APIReader: interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
			List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return err },
		})}
	}
	desired := via(v1alpha1.ViaBundle, inSecrets)
	observed, err := answer(apierrors.NewForbidden(corev1.Resource("secrets"), "trust", errors.New("nobody may"))).Observe(t.Context(), fleet, desired, nil)
	if err != nil || len(observed.Unknown) != 1 {
		t.Fatalf("unknown %+v, %v", observed.Unknown, err)
	}
	if got := observed.Unknown[0]; got.Subject != "Secrets trust" || !strings.Contains(got.Why, "config/rbac/bundle-secrets") || !strings.HasSuffix(got.Why, "with trust among them") {
		t.Errorf("unknown %+v", got)
	}
	if slices.ContainsFunc(observed.Copies, func(c planner.Copy) bool { return c.Secret }) {
		t.Errorf("a Secret that was not seen is told of: %+v", observed.Copies)
	}
	busy := apierrors.NewTooManyRequests("slow down", 1)
	if _, err := answer(busy).Observe(t.Context(), fleet, desired, nil); !errors.Is(err, busy) || !strings.Contains(err.Error(), "list the Secrets trust") {
		t.Errorf("error %v", err)
	}
	if _, err := answer(busy).Observe(t.Context(), fleet, desiredFleet(), nil); err != nil {
		t.Errorf("without a Secret as target, Secrets are listed: %v", err)
	}
}

// A thousand copies of one content cost one reading of it.
func TestEachContentIsParsedOnce(t *testing.T) {
	root := newRoot(t, "Root")
	memory, decoded := parsing{}, 0
	for range 3 {
		if read := memory.parse(string(root.PEM())); len(read.anchors) != 1 || read.err != nil {
			t.Fatalf("read %+v", read)
		}
		for _, password := range []string{"a", "b"} {
			memory.parseStore(store{key: "trust.jks", password: password}, string(root.PEM()), func([]byte, string) (pki.Anchors, error) {
				decoded++
				return nil, errors.New("never mind")
			})
		}
	}
	if len(memory) != 3 || decoded != 2 {
		t.Errorf("%d contents, %d keystores decoded", len(memory), decoded)
	}
}
