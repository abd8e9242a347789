package applier

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strconv"
	"sync"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var (
	fleet = planner.Ref{Namespace: "reanchor-system", Name: "fleet"}
	epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// A signer is a CA with its key.
type signer struct {
	testing.TB
	pki.Certificate
	key *ecdsa.PrivateKey
}

func newRoot(t testing.TB, name string) signer {
	t.Helper()
	root := signer{TB: t, key: newKey(t)}
	template := caTemplate(name)
	root.Certificate = root.create(template, template, &root.key.PublicKey)
	return root
}

// intermediate is a CA that the signer signs.
func (s signer) intermediate(name string) signer {
	s.Helper()
	key := newKey(s.TB)
	return signer{TB: s.TB, key: key, Certificate: s.create(caTemplate(name), s.X509(), &key.PublicKey)}
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: epoch, NotAfter: epoch.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// leaf issues an end-entity certificate from an hour after the epoch.
func (s signer) leaf(serial int64, hour int) pki.Certificate {
	s.Helper()
	from := epoch.Add(time.Duration(hour) * time.Hour)
	return s.create(&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: from, NotAfter: from.AddDate(0, 3, 0),
	}, s.X509(), &newKey(s.TB).PublicKey)
}

func (s signer) create(template, parent *x509.Certificate, public *ecdsa.PublicKey) pki.Certificate {
	s.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, s.key)
	if err != nil {
		s.Fatal(err)
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		s.Fatal(err)
	}
	return certificate
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certificateOf is a cert-manager Certificate that says it was issued a certificate
// at a revision.
func certificateOf(ref planner.Ref, issuer string, revision int, issued pki.Certificate) *certmanagerv1.Certificate {
	from, to := metav1.NewTime(issued.NotBefore()), metav1.NewTime(issued.NotAfter())
	return &certmanagerv1.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name, UID: types.UID("certificate " + ref.String())},
		Spec: certmanagerv1.CertificateSpec{
			SecretName: ref.Name + "-tls",
			IssuerRef:  certmanagermeta.IssuerReference{Name: issuer, Kind: "ClusterIssuer"},
		},
		Status: certmanagerv1.CertificateStatus{
			Conditions: []certmanagerv1.CertificateCondition{{Type: certmanagerv1.CertificateConditionReady, Status: certmanagermeta.ConditionTrue}},
			Revision:   &revision, NotBefore: &from, NotAfter: &to,
		},
	}
}

// requestOf is the CertificateRequest by which a Certificate got a chain.
func requestOf(certificate *certmanagerv1.Certificate, name string, revision int, chain ...pki.Certificate) *certmanagerv1.CertificateRequest {
	controls := true
	request := &certmanagerv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: certificate.Namespace, Name: name,
			Annotations:     map[string]string{certmanagerv1.CertificateRequestRevisionAnnotationKey: strconv.Itoa(revision)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: "Certificate", Name: certificate.Name, UID: certificate.UID, Controller: &controls}},
		},
	}
	for _, c := range chain {
		request.Status.Certificate = append(request.Status.Certificate, c.PEM()...)
		request.Status.CA = c.PEM()
	}
	return request
}

func decode[T any](t testing.TB, text string) *T {
	t.Helper()
	into := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return into
}

func newScheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return scheme
}

// A counter counts the writes that a client makes, some of them side by side.
type counter struct {
	mu     sync.Mutex
	writes int
}

func (c *counter) count() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
}

// newCluster is a cluster in memory; what refuse returns is the answer to a list.
func newCluster(t testing.TB, refuse func(client.ObjectList) error, objects ...client.Object) (client.Client, *counter) {
	t.Helper()
	count := &counter{}
	cluster := fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(objects...).
		WithIndex(&corev1.ConfigMap{}, fieldName, nameOf).WithIndex(&corev1.Secret{}, fieldName, nameOf).
		WithStatusSubresource(&certmanagerv1.Certificate{}).WithReturnManagedFields().
		WithTypeConverters(managedfields.NewDeducedTypeConverter()).
		WithInterceptorFuncs(interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				if refuse != nil {
					if err := refuse(list); err != nil {
						return err
					}
				}
				return c.List(ctx, list, options...)
			},
			Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
				count.count()
				return c.Apply(ctx, object, options...)
			},
			Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
				count.count()
				return c.Create(ctx, object, options...)
			},
			Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
				count.count()
				return c.Delete(ctx, object, options...)
			},
		}).Build()
	return cluster, count
}

// desiredFleet has one authority with one key, one binding and one bundle.
func desiredFleet() planner.Desired {
	return planner.Desired{
		Authorities: []v1alpha1.Authority{{
			Metadata: v1alpha1.Metadata{Namespace: "cert-manager", Name: "root"},
			Spec:     v1alpha1.AuthoritySpec{Keys: []v1alpha1.AuthorityKey{{Name: "2026", State: v1alpha1.KeySigning}}},
		}},
		Bindings: []v1alpha1.IssuerBinding{{
			Metadata: v1alpha1.Metadata{Name: "fleet"},
			Spec:     v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: "root"},
		}},
		Bundles: []v1alpha1.TrustBundle{{
			Metadata: v1alpha1.Metadata{Name: "trust"},
			Spec: v1alpha1.TrustBundleSpec{Target: v1alpha1.BundleTarget{
				ConfigMap:         v1alpha1.ConfigMapTarget{Key: "ca.crt"},
				NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"trust": "fleet"}},
			}},
		}},
	}
}
