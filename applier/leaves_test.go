package applier

import (
	"reflect"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

func TestForeignIsWhatTheRepositoryDoesNotDeclare(t *testing.T) {
	root := newRoot(t, "Root")
	leaf := root.leaf(2, 1)
	other := map[string]string{v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "other"}
	cases := map[string]struct {
		labels map[string]string
		owners []metav1.OwnerReference
		want   bool
	}{
		"declared":                            {domainLabels(fleet), nil, false},
		"by hand":                             {nil, nil, true},
		"of another domain":                   {other, nil, true},
		"of an Ingress":                       {nil, controlledBy("Ingress", "web"), true},
		"of an Ingress that Git declares":     {domainLabels(fleet), controlledBy("Ingress", "web"), true},
		"with an owner that does not control": {domainLabels(fleet), []metav1.OwnerReference{{Kind: "Namespace", Name: "x", UID: "x"}}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			certificate := certificateOf(planner.Ref{Namespace: "plant", Name: "a"}, "fleet", 1, leaf)
			request := standalone("b", "fleet", leaf.PEM(), condition("Ready", "True", "Issued"))
			for _, object := range []client.Object{certificate, request} {
				object.SetLabels(c.labels)
				object.SetOwnerReferences(c.owners)
			}
			got := observe(t, desiredFleet(), nil, certificate, request).Leaves
			if len(got) != 2 || got[0].Foreign != c.want || got[1].Foreign != c.want {
				t.Fatalf("leaves %+v", got)
			}
		})
	}
}

// TestLeavesBelowAnIntermediate reach their key by a binding, by the internal issuer, by
// its ClusterIssuer, or by nothing but their signature.
func TestLeavesBelowAnIntermediate(t *testing.T) {
	root := newRoot(t, "Root 2025")
	issuing := root.intermediate("Issuing a.2025")
	object := planner.Ref{Namespace: "cert-manager", Name: "issuing-a.2025"}
	ca, caRequest := caOf(object, planner.Ref{Namespace: "cert-manager", Name: "root-2025"}, issuing.Certificate)
	objects := []client.Object{
		ofKey(ca, "issuing", "a.2025"), caRequest,
		ofKey(&certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: object.Name}, Spec: issuerSpec(object.Name)}, "issuing", "a.2025"),
	}
	desired := planner.Desired{
		Authorities: []v1alpha1.Authority{authority("cert-manager", "root", "", "2025"), authority("cert-manager", "issuing", "root", "a")},
		Bindings: []v1alpha1.IssuerBinding{{
			Metadata: v1alpha1.Metadata{Name: "fleet"}, Spec: v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: "issuing"},
		}},
	}
	var want []planner.Leaf
	add := func(namespace, name string, issuer planner.Ref, known bool) {
		issued := issuing.leaf(int64(len(objects)), len(objects))
		leaf := certificateOf(planner.Ref{Namespace: namespace, Name: name}, issuer.Name, 1, issued)
		if issuer.Namespace != "" {
			leaf.Spec.IssuerRef.Kind = "Issuer"
		}
		objects = append(objects, leaf)
		seen := planner.Leaf{Ref: refOf(leaf), Issuer: issuer, SecretName: name + "-tls", Foreign: true}
		if known {
			objects = append(objects, requestOf(leaf, name, 1, issued, issuing.Certificate))
			seen.Chain = []pki.Certificate{issued, issuing.Certificate}
		} else {
			seen.Unknown = "the CertificateRequest of revision 1 is gone; a reissue makes it known"
		}
		want = append(want, seen)
	}
	add("cert-manager", "by-the-issuer", object, false)
	add("cert-manager", "by-the-root", planner.Ref{Namespace: "cert-manager", Name: "root-2025"}, false)
	add("plant", "by-the-binding", planner.Ref{Name: "fleet"}, true)
	add("plant", "by-the-cluster-issuer", planner.Ref{Name: object.Name}, false)
	add("plant", "by-the-signature", planner.Ref{Name: "elsewhere"}, true)
	if got := observe(t, desired, nil, objects...).Leaves; !reflect.DeepEqual(got, want) {
		t.Fatalf("leaves %+v\nwant %+v", got, want)
	}
}

// TestAForeignCAIsALeaf has an intermediate that somebody made through a binding, and
// what they signed with it: both need our key.
func TestAForeignCAIsALeaf(t *testing.T) {
	root, stranger := newRoot(t, "Root 2026"), newRoot(t, "Stranger")
	theirs := root.intermediate("Team CA")
	key, keyRequest := caOf(planner.Ref{Namespace: "cert-manager", Name: "root-2026"}, planner.Ref{Namespace: "cert-manager", Name: "root-self-signed"}, root.Certificate)
	ca, caRequest := caOf(planner.Ref{Namespace: "team", Name: "team-ca"}, planner.Ref{Name: "fleet"}, theirs.Certificate)
	below, unrelated := theirs.leaf(2, 1), stranger.leaf(3, 1)
	web := certificateOf(planner.Ref{Namespace: "team", Name: "web"}, "team-ca", 1, below)
	web.Spec.IssuerRef.Kind = "Issuer"
	apart := certificateOf(planner.Ref{Namespace: "team", Name: "apart"}, "team-ca", 1, unrelated)
	observed := observe(t, desiredFleet(), nil, key, keyRequest, ca, caRequest,
		web, requestOf(web, "web", 1, below, theirs.Certificate), apart, requestOf(apart, "apart", 1, unrelated))
	want := []planner.Leaf{
		{Ref: refOf(ca), Issuer: planner.Ref{Name: "fleet"}, SecretName: "team-ca", Foreign: true, Chain: []pki.Certificate{theirs.Certificate}},
		{Ref: refOf(web), Issuer: planner.Ref{Namespace: "team", Name: "team-ca"}, SecretName: "web-tls", Foreign: true, Chain: []pki.Certificate{below, theirs.Certificate}},
	}
	if !reflect.DeepEqual(observed.Leaves, want) {
		t.Fatalf("leaves %+v\nwant %+v", observed.Leaves, want)
	}
	if len(observed.Keys) != 1 || observed.Keys[0].Name != "2026" {
		t.Fatalf("a foreign CA is taken for a key: %+v", observed.Keys)
	}
}

// What ACME signs comes as a leaf with its intermediate, and without a CA beside it.
func TestALeafOfAnExternalIssuer(t *testing.T) {
	root := newRoot(t, "Public root")
	issuing := root.intermediate("R3")
	leaf := issuing.leaf(2, 1)
	certificate := certificateOf(planner.Ref{Namespace: "plant", Name: "portal"}, "fleet", 1, leaf)
	request := requestOf(certificate, "portal-1", 1, leaf, issuing.Certificate)
	request.Status.CA = nil
	got := observe(t, desiredFleet(), nil, certificate, request).Leaves
	if len(got) != 1 || got[0].Unknown != "" || len(got[0].Chain) != 2 || !got[0].Chain[0].Equal(leaf) || !got[0].Chain[1].Equal(issuing.Certificate) {
		t.Fatalf("leaves %+v", got)
	}
	if err := pki.Verify(got[0].Chain, pki.NewAnchors(root.Certificate), epoch.Add(2*time.Hour)); err != nil {
		t.Error(err)
	}
}
