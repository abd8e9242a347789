package applier

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// authority declares one with the keys given; a parent makes it an intermediate.
func authority(namespace, name, parent string, keys ...string) v1alpha1.Authority {
	declared := v1alpha1.Authority{Metadata: v1alpha1.Metadata{Namespace: namespace, Name: name}}
	if parent != "" {
		declared.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: parent}
	}
	for _, key := range keys {
		declared.Spec.Keys = append(declared.Spec.Keys, v1alpha1.AuthorityKey{Name: key, State: v1alpha1.KeyTrusted})
	}
	return declared
}

// ofKey labels an object as one of a key pair of the domain.
func ofKey[T client.Object](object T, authority, key string) T {
	labels := domainLabels(fleet)
	labels[v1alpha1.LabelAuthority], labels[v1alpha1.LabelKey] = authority, key
	object.SetLabels(labels)
	return object
}

// caOf is a CA Certificate that an issuer signed, and its CertificateRequest.
func caOf(ref planner.Ref, issuer planner.Ref, issued ...pki.Certificate) (*certmanagerv1.Certificate, *certmanagerv1.CertificateRequest) {
	ca := certificateOf(ref, issuer.Name, 1, issued[0])
	ca.Spec.IsCA, ca.Spec.SecretName = true, ref.Name
	if issuer.Namespace != "" {
		ca.Spec.IssuerRef.Kind = "Issuer"
	}
	request := requestOf(ca, ref.Name+"-1", 1, issued...)
	request.Spec.IssuerRef = ca.Spec.IssuerRef
	return ca, request
}

func internalIssuer(ref planner.Ref) *certmanagerv1.Issuer {
	return &certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name, Generation: 1}, Spec: issuerSpec(ref.Name)}
}

func TestNamedPairs(t *testing.T) {
	retired := authority("pki", "root", "", "2025", "2026")
	retired.Spec.Keys[0].State = v1alpha1.KeyRetired
	cases := map[string]struct {
		authorities []v1alpha1.Authority
		want        []string
	}{
		"a root":                              {[]v1alpha1.Authority{retired}, []string{"pki/root-2025", "pki/root-2026"}},
		"an intermediate under every key":     {[]v1alpha1.Authority{authority("plant", "issuing", "root", "a", "b"), retired}, []string{"pki/root-2025", "pki/root-2026", "plant/issuing-a.2025", "plant/issuing-a.2026", "plant/issuing-b.2025", "plant/issuing-b.2026"}},
		"one below that":                      {[]v1alpha1.Authority{authority("pki", "root", "", "1"), authority("pki", "mid", "root", "a"), authority("pki", "low", "mid", "x")}, []string{"pki/low-x.a.1", "pki/mid-a.1", "pki/root-1"}},
		"without its parent":                  {[]v1alpha1.Authority{authority("pki", "issuing", "root", "a")}, nil},
		"those that issue each other":         {[]v1alpha1.Authority{authority("pki", "a", "b", "1"), authority("pki", "b", "a", "1")}, nil},
		"one that says that it issues itself": {[]v1alpha1.Authority{authority("pki", "a", "a", "1")}, nil},
		"nothing":                             {nil, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for object, p := range namedPairs(c.authorities) {
				got = append(got, object.String())
				if p.object() != object {
					t.Errorf("%s stands for %+v", object, p)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Fatalf("pairs %q, want %q", got, c.want)
			}
		})
	}
}

// TestKeysOfIntermediates has a root, an intermediate under it and one below that, each
// found by its labels and by its name alone.
func TestKeysOfIntermediates(t *testing.T) {
	root := newRoot(t, "Root 2025")
	mid := root.intermediate("Mid a.2025")
	low := mid.intermediate("Low x.a.2025")
	desired := planner.Desired{Authorities: []v1alpha1.Authority{
		authority("cert-manager", "root", "", "2025"), authority("cert-manager", "mid", "root", "a"), authority("plant", "low", "mid", "x"),
	}}
	at := func(namespace, name string) planner.Ref { return planner.Ref{Namespace: namespace, Name: name} }
	scene := func(label func(client.Object, string, string) client.Object) []client.Object {
		rootCA, rootRequest := caOf(at("cert-manager", "root-2025"), at("cert-manager", "root-self-signed"), root.Certificate)
		midCA, midRequest := caOf(at("cert-manager", "mid-a.2025"), at("cert-manager", "root-2025"), mid.Certificate)
		lowCA, lowRequest := caOf(at("plant", "low-x.a.2025"), planner.Ref{Name: "mid-a.2025"}, low.Certificate, mid.Certificate)
		everywhere := &certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "mid-a.2025"}, Spec: issuerSpec("mid-a.2025")}
		return []client.Object{
			label(rootCA, "root", "2025"), rootRequest, label(internalIssuer(at("cert-manager", "root-2025")), "root", "2025"),
			label(midCA, "mid", "a.2025"), midRequest, label(internalIssuer(at("cert-manager", "mid-a.2025")), "mid", "a.2025"), ofKey(everywhere, "mid", "a.2025"),
			label(lowCA, "low", "x.a.2025"), lowRequest, label(internalIssuer(at("plant", "low-x.a.2025")), "low", "x.a.2025"),
		}
	}
	key := func(authority planner.Ref, name string, issued pki.Certificate, signedBy planner.Ref, everywhere bool) planner.Key {
		spec := caSpec(certmanagerv1.CertificateSpec{})
		spec.SignedBy = signedBy
		return planner.Key{
			Authority: authority, Name: name, HasCertificate: true, HasIssuer: true, HasClusterIssuer: everywhere, Generation: 1,
			Issued: true, Requested: true, Spec: spec, Certificate: issued,
		}
	}
	want := []planner.Key{
		key(at("cert-manager", "mid"), "a.2025", mid.Certificate, at("cert-manager", "root-2025"), true),
		key(at("cert-manager", "root"), "2025", root.Certificate, planner.Ref{}, false),
		key(at("plant", "low"), "x.a.2025", low.Certificate, planner.Ref{Name: "mid-a.2025"}, false),
	}
	for name, c := range map[string]struct {
		desired planner.Desired
		objects []client.Object
	}{
		"by their labels": {planner.Desired{}, scene(func(o client.Object, a, k string) client.Object { return ofKey(o, a, k) })},
		"by their names":  {desired, scene(func(o client.Object, _, _ string) client.Object { return o })},
		"by both":         {desired, scene(func(o client.Object, a, k string) client.Object { return ofKey(o, a, k) })},
	} {
		t.Run(name, func(t *testing.T) {
			observed := observe(t, c.desired, nil, c.objects...)
			if !reflect.DeepEqual(observed.Keys, want) {
				t.Errorf("keys %+v\nwant %+v", observed.Keys, want)
			}
			if len(observed.Leaves) != 0 {
				t.Errorf("a key's Certificate is taken for a leaf: %q", leafNames(observed.Leaves))
			}
			if len(observed.Issuers) != 0 {
				t.Errorf("a key's issuer is taken for a binding's: %+v", observed.Issuers)
			}
		})
	}
}

func TestWhatMerelyLooksLikeAKey(t *testing.T) {
	root := newRoot(t, "Root 2025")
	desired := planner.Desired{Authorities: []v1alpha1.Authority{
		authority("cert-manager", "root", "", "2025"), authority("cert-manager", "issuing", "root", "a"),
	}}
	ca := func(name string) *certmanagerv1.Certificate {
		made, _ := caOf(planner.Ref{Namespace: "cert-manager", Name: name}, planner.Ref{Namespace: "cert-manager", Name: "root-2025"}, root.intermediate(name).Certificate)
		return made
	}
	ofAnotherDomain := ofKey(ca("issuing-a.2024"), "issuing", "a.2024")
	ofAnotherDomain.Labels[v1alpha1.LabelDomainName] = "other"
	objects := map[string]client.Object{
		"under a key that Git does not list":   ca("issuing-a.2024"),
		"a key that Git does not list":         ca("issuing-b.2025"),
		"without the parent's key":             ca("issuing-a"),
		"as if it were a root":                 ca("issuing-2025"),
		"a root under itself":                  ca("root-2025.2025"),
		"labelled by another domain":           ofAnotherDomain,
		"of another name than its labels say":  ofKey(ca("issuing-a.2023"), "issuing", "a.2024"),
		"labelled without a key":               ofKey(ca("issuing"), "issuing", ""),
		"a ClusterIssuer without labels":       &certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "issuing-a.2025"}, Spec: issuerSpec("issuing-a.2025")},
		"a ClusterIssuer of a binding's label": &certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "root-2025", Labels: domainLabels(fleet)}},
	}
	for name, object := range objects {
		t.Run(name, func(t *testing.T) {
			observed := observe(t, desired, nil, object)
			if len(observed.Keys) != 0 {
				t.Errorf("keys %+v", observed.Keys)
			}
			if _, is := object.(*certmanagerv1.Certificate); is != (len(observed.Leaves) == 1) {
				t.Errorf("leaves %q", leafNames(observed.Leaves))
			}
		})
	}
}

// TestLabelsComeBeforeNames has an object that two key pairs could have made.
func TestLabelsComeBeforeNames(t *testing.T) {
	desired := planner.Desired{Authorities: []v1alpha1.Authority{
		authority("cert-manager", "root", "", "2025"), authority("cert-manager", "fleet", "root", "issuing-a"), authority("cert-manager", "fleet-issuing", "root", "a"),
	}}
	object := planner.Ref{Namespace: "cert-manager", Name: "fleet-issuing-a.2025"}
	for labelled, key := range map[string]string{"fleet": "issuing-a.2025", "fleet-issuing": "a.2025"} {
		got := observe(t, desired, nil, ofKey(internalIssuer(object), labelled, key)).Keys
		if len(got) != 1 || got[0].Authority.Name != labelled || got[0].Name != key {
			t.Errorf("keys %+v, want %s of %s", got, key, labelled)
		}
	}
}

// TestClusterIssuerOfAKey signs with a Secret of the cluster resource namespace: to that
// namespace's authority it belongs.
func TestClusterIssuerOfAKey(t *testing.T) {
	left := ofKey(&certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "root-2024"}, Spec: issuerSpec("root-2024")}, "root", "2024")
	cluster, _ := newCluster(t, nil, left)
	observed, err := (&Observer{Reader: cluster, ClusterResourceNamespace: "pki"}).Observe(t.Context(), fleet, planner.Desired{}, nil)
	want := []planner.Key{{
		Authority: planner.Ref{Namespace: "pki", Name: "root"}, Name: "2024", HasClusterIssuer: true, Problem: "its Certificate does not exist",
	}}
	if err != nil || !reflect.DeepEqual(observed.Keys, want) || len(observed.Issuers) != 0 {
		t.Fatalf("keys %+v, issuers %+v, %v\nwant %+v", observed.Keys, observed.Issuers, err, want)
	}
}

func TestCanariesThroughAnInternalIssuer(t *testing.T) {
	root := newRoot(t, "Root 2026")
	issuer := internalIssuer(planner.Ref{Namespace: "cert-manager", Name: "root-2026"})
	issuer.UID, issuer.Generation = "now", 4
	through := func(name string, second int, generation string, conditions ...certmanagerv1.CertificateRequestCondition) *certmanagerv1.CertificateRequest {
		sent := canary(name, second, issuer.UID, generation, conditions...)
		sent.OwnerReferences[0].Kind, sent.OwnerReferences[0].Name = "Issuer", issuer.Name
		sent.Spec.IssuerRef = certmanagermeta.IssuerReference{Name: issuer.Name, Kind: "Issuer"}
		return sent
	}
	proof := through("canary-issuer-root-2026-3-1", 1, "3", condition("Ready", "True", "Issued"))
	proof.Status.Certificate, proof.Status.CA = root.leaf(2, 1).PEM(), root.PEM()
	elsewhere := through("canary-issuer-root-2026-4-9", 9, "4")
	elsewhere.Namespace = "plant"
	got := observe(t, desiredFleet(), nil, issuer, proof, elsewhere, through("canary-issuer-root-2026-4-2", 2, "4"),
		canary("canary-clusterissuer-fleet-9-9", 9, "another", "9")).Keys
	if len(got) != 1 || got[0].Generation != 4 || got[0].Canary.Name != "canary-issuer-root-2026-4-2" || got[0].Canary.State != planner.CanaryPending ||
		got[0].Proof.Name != proof.Name || !got[0].Proof.Certificate.SignedBy(root.Certificate) || got[0].Proof.Generation != 3 {
		t.Fatalf("keys %+v", got)
	}
}

func TestSignedBy(t *testing.T) {
	authority := planner.Ref{Namespace: "pki", Name: "root"}
	cases := map[string]struct {
		namespace string
		ref       certmanagermeta.IssuerReference
		want      planner.Ref
	}{
		"itself":                           {"pki", certmanagermeta.IssuerReference{Name: "root-self-signed"}, planner.Ref{}},
		"itself, in full":                  {"pki", certmanagermeta.IssuerReference{Name: "root-self-signed", Kind: "Issuer", Group: "cert-manager.io"}, planner.Ref{}},
		"another authority's own":          {"pki", certmanagermeta.IssuerReference{Name: "other-self-signed"}, planner.Ref{Namespace: "pki", Name: "other-self-signed"}},
		"a ClusterIssuer of the same name": {"pki", certmanagermeta.IssuerReference{Name: "root-self-signed", Kind: "ClusterIssuer"}, planner.Ref{Name: "root-self-signed"}},
		"an Issuer":                        {"pki", certmanagermeta.IssuerReference{Name: "up-2025", Kind: "Issuer"}, planner.Ref{Namespace: "pki", Name: "up-2025"}},
		"a ClusterIssuer":                  {"pki", certmanagermeta.IssuerReference{Name: "up-2025", Kind: "ClusterIssuer"}, planner.Ref{Name: "up-2025"}},
		"an issuer of another group":       {"pki", certmanagermeta.IssuerReference{Name: "root-self-signed", Group: "acme.example"}, planner.Ref{Name: "acme.example/Issuer/root-self-signed"}},
		"a kind of another group":          {"pki", certmanagermeta.IssuerReference{Name: "up", Kind: "PCA", Group: "acme.example"}, planner.Ref{Name: "acme.example/PCA/up"}},
		"a kind that cert-manager has not": {"pki", certmanagermeta.IssuerReference{Name: "up", Kind: "Isuer"}, planner.Ref{Name: "cert-manager.io/Isuer/up"}},
		"an Issuer in another namespace":   {"lab", certmanagermeta.IssuerReference{Name: "root-self-signed"}, planner.Ref{Namespace: "lab", Name: "root-self-signed"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			certificate := &certmanagerv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace}, Spec: certmanagerv1.CertificateSpec{IssuerRef: c.ref}}
			if got := signedBy(authority, certificate); got != c.want {
				t.Fatalf("signed by %+v, want %+v", got, c.want)
			}
			if foreign := strings.Contains(c.want.Name, "/"); foreign && c.want.Namespace != "" {
				t.Fatal("a foreign issuer has a namespace")
			}
		})
	}
}

// The internal issuer of a key from elsewhere names a Secret that somebody else makes.
func TestKeysFromElsewhere(t *testing.T) {
	root := newRoot(t, "Root")
	given := authority("cert-manager", "plant", "", "2026")
	given.Spec.Keys[0].Certificate, given.Spec.Keys[0].Secret = string(root.PEM()), &v1alpha1.SecretReference{Name: "plant-ca"}
	below := authority("cert-manager", "line", "plant", "a")
	below.Spec.Keys[0].Certificate, below.Spec.Keys[0].Secret = string(root.PEM()), &v1alpha1.SecretReference{Name: "line-ca"}
	issuer := func(name, secret, reason, message string) *certmanagerv1.Issuer {
		made := internalIssuer(planner.Ref{Namespace: "cert-manager", Name: name})
		made.Spec, made.Status = issuerSpec(secret), issuerStatus(1, reason, message)
		return made
	}
	seen := issuer("line-a.2026", "line-ca", "KeyPairVerified", "Signing CA verified")
	seen.Status.Conditions[0].Status = "True"
	made, request := caOf(planner.Ref{Namespace: "cert-manager", Name: "root-2025"}, planner.Ref{}, root.Certificate)
	got := observe(t, planner.Desired{Authorities: []v1alpha1.Authority{given, below, authority("cert-manager", "root", "", "2025")}}, nil,
		issuer("plant-2026", "plant-ca", "ErrGetKeyPair", `Error getting keypair for CA issuer: secrets "plant-ca" not found`), seen,
		made, request, issuer("root-2025", "moved-by-somebody", "ErrGetKeyPair", "x")).Keys
	for i := range got {
		got[i].Spec, got[i].Generation = planner.CASpec{}, 0
	}
	want := []planner.Key{
		{Authority: planner.Ref{Namespace: "cert-manager", Name: "line"}, Name: "a.2026", SecretName: "line-ca", HasIssuer: true, SecretSeen: true},
		{Authority: planner.Ref{Namespace: "cert-manager", Name: "plant"}, Name: "2026", SecretName: "plant-ca", HasIssuer: true, SecretGone: true},
		{Authority: planner.Ref{Namespace: "cert-manager", Name: "root"}, Name: "2025", HasCertificate: true, HasIssuer: true, Issued: true, Requested: true, Certificate: root.Certificate},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("keys %+v\nwant %+v", got, want)
	}
}
