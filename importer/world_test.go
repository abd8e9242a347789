package importer

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strconv"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// signer is a CA of the tests. Equal names make equal keys, and so equal bytes.
type signer struct {
	pki.Certificate
	key ed25519.PrivateKey
}

func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// newCA makes the CA of that name, by a parent or by itself; what it is like may be changed.
func newCA(t testing.TB, name string, parent *signer, changes ...func(*x509.Certificate)) *signer {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}},
		NotBefore: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	for _, change := range changes {
		change(template)
	}
	made := &signer{key: keyOf(name)}
	if parent == nil {
		parent = &signer{Certificate: pki.Of(template), key: made.key}
	}
	made.Certificate = parent.sign(t, template, made.key)
	return made
}

func (s *signer) sign(t testing.TB, template *x509.Certificate, key ed25519.PrivateKey) pki.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(nil, template, s.X509(), key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := pki.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// leaf is an end entity's certificate of 90 days.
func (s *signer) leaf(t testing.TB, name string) pki.Certificate {
	t.Helper()
	return s.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(89 * 24 * time.Hour),
	}, keyOf(name))
}

// world is a cluster of the tests.
type world struct {
	testing.TB
	seen Seen
}

func newWorld(t testing.TB) *world {
	return &world{t, Seen{Now: now, ClusterResourceNamespace: "cert-manager"}}
}

func reference(issuer string) certmanagermeta.IssuerReference {
	return certmanagermeta.IssuerReference{Group: "cert-manager.io", Kind: "ClusterIssuer", Name: issuer}
}

// issue adds a Certificate that was issued the chain, with the request that tells; root is
// what came with it as its CA.
func (w *world) issue(namespace, name string, ref certmanagermeta.IssuerReference, root *signer, chain ...pki.Certificate) *certmanagerv1.Certificate {
	from, to, revision, controls := metav1.NewTime(chain[0].NotBefore()), metav1.NewTime(chain[0].NotAfter()), 1, true
	certificate := certmanagerv1.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("certificate " + namespace + "/" + name)},
		Spec:       certmanagerv1.CertificateSpec{SecretName: name, IssuerRef: ref},
		Status: certmanagerv1.CertificateStatus{
			Conditions: []certmanagerv1.CertificateCondition{{Type: certmanagerv1.CertificateConditionReady, Status: certmanagermeta.ConditionTrue}},
			NotBefore:  &from, NotAfter: &to, Revision: &revision,
		},
	}
	request := certmanagerv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name + "-1",
			Annotations:     map[string]string{certmanagerv1.CertificateRequestRevisionAnnotationKey: strconv.Itoa(revision)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: "Certificate", Name: name, UID: certificate.UID, Controller: &controls}},
		},
		Spec:   certmanagerv1.CertificateRequestSpec{IssuerRef: ref},
		Status: certmanagerv1.CertificateRequestStatus{Conditions: []certmanagerv1.CertificateRequestCondition{{Type: certmanagerv1.CertificateRequestConditionReady, Status: certmanagermeta.ConditionTrue}}},
	}
	for _, c := range chain {
		request.Status.Certificate = append(request.Status.Certificate, c.PEM()...)
	}
	if root != nil {
		request.Status.CA = root.PEM()
	}
	w.seen.Certificates, w.seen.Requests = append(w.seen.Certificates, certificate), append(w.seen.Requests, request)
	return &w.seen.Certificates[len(w.seen.Certificates)-1]
}

// ca adds the Certificate of a CA that keeps its key, in cert-manager's namespace.
func (w *world) ca(name string, ref certmanagermeta.IssuerReference, made *signer, changes ...func(*certmanagerv1.Certificate)) {
	certificate := w.issue("cert-manager", name, ref, made, made.Certificate)
	certificate.Spec.IsCA = true
	certificate.Spec.PrivateKey = &certmanagerv1.CertificatePrivateKey{RotationPolicy: certmanagerv1.RotationPolicyNever}
	certificate.Spec.Renewal = &certmanagerv1.CertificateRenewal{Policy: certmanagerv1.CertificateRenewalPolicyDisabled}
	for _, change := range changes {
		change(certificate)
	}
}

var selfSigned = certmanagermeta.IssuerReference{Kind: "Issuer", Name: "self-signed"}

// clusterIssuer adds one with that spec, in YAML.
func (w *world) clusterIssuer(name, spec string, changes ...func(*metav1.ObjectMeta)) {
	made := certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}, Spec: *decode[certmanagerv1.IssuerSpec](w, spec)}
	for _, change := range changes {
		change(&made.ObjectMeta)
	}
	w.seen.ClusterIssuers = append(w.seen.ClusterIssuers, made)
}

func (w *world) issuer(namespace, name, spec string) {
	w.seen.Issuers = append(w.seen.Issuers, certmanagerv1.Issuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name)}, Spec: *decode[certmanagerv1.IssuerSpec](w, spec),
	})
}

// bundle adds a Bundle with that spec, in YAML.
func (w *world) bundle(name, spec string, changes ...func(*unstructured.Unstructured)) {
	object := unstructured.Unstructured{Object: map[string]any{"spec": *decode[map[string]any](w, spec)}}
	object.SetAPIVersion("trust.cert-manager.io/v1alpha1")
	object.SetKind("Bundle")
	object.SetName(name)
	object.SetUID(types.UID(name))
	for _, change := range changes {
		change(&object)
	}
	w.seen.Bundles = append(w.seen.Bundles, object)
}

// inline is a Bundle's source of certificates, in the order given.
func inline(certificates ...pki.Certificate) string {
	var text string
	for _, certificate := range certificates {
		text += "# " + certificate.CommonName() + "\n" + string(certificate.PEM())
	}
	return fmt.Sprintf("{inLine: %q}", text)
}

const toFleet = "target: {configMap: {key: ca.crt}, namespaceSelector: {matchLabels: {trust: fleet}}}"

func (w *world) configMap(namespace, name string, labels, data map[string]string) {
	w.seen.ConfigMaps = append(w.seen.ConfigMaps, corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Data: data})
}

func decode[T any](t testing.TB, text string) *T {
	t.Helper()
	into := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return into
}

// fleet is a cluster with a root that cert-manager made, its ClusterIssuer, its Bundle and
// leaves that refer to it.
func fleet(w *world) *signer {
	root := newCA(w, "Fleet Root 2025", nil)
	w.issuer("cert-manager", "self-signed", "{selfSigned: {}}")
	w.ca("fleet-root", selfSigned, root)
	w.clusterIssuer("fleet", "{ca: {secretName: fleet-root}}")
	w.bundle("fleet-trust", "{sources: ["+inline(root.Certificate)+"], "+toFleet+"}")
	w.configMap("plant", "fleet-trust", map[string]string{"trust.cert-manager.io/bundle": "fleet-trust"}, map[string]string{"ca.crt": string(root.PEM())})
	for _, name := range []string{"press", "broker", "oven"} {
		w.issue("plant", name, reference("fleet"), root, root.leaf(w, name))
	}
	return root
}

// secret gives the certificate in a Secret that was read.
func (w *world) secret(namespace, name string, certificate pki.Certificate) {
	if w.seen.Secrets == nil {
		w.seen.Secrets = map[planner.Ref][]byte{}
	}
	w.seen.Secrets[planner.Ref{Namespace: namespace, Name: name}] = certificate.PEM()
}
