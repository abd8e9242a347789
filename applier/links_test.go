package applier

import (
	"slices"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var (
	root2025 = planner.Ref{Namespace: "cert-manager", Name: "fleet-root-2025"}
	root2026 = planner.Ref{Namespace: "cert-manager", Name: "fleet-root-2026"}
	linkUp   = planner.Action{Kind: planner.ActionLink, Subject: root2026, Issuer: root2025, Until: epoch.Add(48 * time.Hour)}
)

// rolling is a cluster with two roots, the requests that they were issued for, and what
// else is given.
func rolling(t *testing.T, objects ...client.Object) (roots [2]signer, cluster client.Client) {
	t.Helper()
	for i, ref := range []planner.Ref{root2025, root2026} {
		roots[i] = newRoot(t, ref.Name)
		certificate, request := caOf(ref, planner.Ref{Namespace: "cert-manager", Name: "fleet-root-self-signed"}, roots[i].Certificate)
		request.Spec.Request, request.Spec.Usages = []byte("CSR of "+ref.Name), []certmanagerv1.KeyUsage{"cert sign", "digital signature"}
		issuer := internalIssuer(ref)
		issuer.UID = "now"
		objects = append(objects, ofKey(certificate, "fleet-root", ref.Name[len("fleet-root-"):]), request, ofKey(issuer, "fleet-root", ref.Name[len("fleet-root-"):]))
	}
	cluster, _ = newCluster(t, nil, objects...)
	return roots, cluster
}

func linksIn(t *testing.T, cluster client.Client) []certmanagerv1.CertificateRequest {
	t.Helper()
	var list certmanagerv1.CertificateRequestList
	if err := cluster.List(t.Context(), &list, client.MatchingLabels{v1alpha1.LabelLink: "true"}); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// answer lets cert-manager answer a link.
func answer(t *testing.T, cluster client.Client, link certmanagerv1.CertificateRequest, certificate []byte, reason string) {
	t.Helper()
	link.Status.Certificate = certificate
	ready := certmanagermeta.ConditionFalse
	if certificate != nil {
		ready = certmanagermeta.ConditionTrue
	}
	link.Status.Conditions = []certmanagerv1.CertificateRequestCondition{condition("Ready", ready, reason)}
	if err := cluster.Update(t.Context(), &link); err != nil {
		t.Fatal(err)
	}
}

// The request that the new root was issued for goes to the old root's issuer once more, for
// as long as the plan says.
func TestLinkRepeatsTheRequest(t *testing.T) {
	_, cluster := rolling(t)
	if outcome := act(t, cluster, linkUp); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	if outcome := act(t, cluster, linkUp); outcome.Done || outcome.Detail != "a link is under way" {
		t.Fatalf("a second one was sent: %+v", outcome)
	}
	sent := linksIn(t, cluster)[0]
	if sent.Namespace != "cert-manager" || sent.Name != "link-fleet-root-2026-by-fleet-root-2025-1" || !belongs(&sent, fleet) ||
		sent.Labels[v1alpha1.LabelAuthority] != "fleet-root" || sent.Labels[v1alpha1.LabelKey] != "2026" ||
		sent.OwnerReferences[0].Name != "fleet-root-2025" || sent.OwnerReferences[0].UID != "now" {
		t.Errorf("link %+v", sent.ObjectMeta)
	}
	if spec := sent.Spec; !spec.IsCA || string(spec.Request) != "CSR of fleet-root-2026" || spec.IssuerRef.Name != "fleet-root-2025" || spec.IssuerRef.Kind != "Issuer" ||
		spec.Duration.Duration != 48*time.Hour || !slices.Equal(spec.Usages, []certmanagerv1.KeyUsage{"cert sign", "digital signature"}) {
		t.Errorf("link %+v", spec)
	}
}

func TestLinkIsAskedForAgainOnceItFailed(t *testing.T) {
	_, cluster := rolling(t)
	act(t, cluster, linkUp)
	answer(t, cluster, linksIn(t, cluster)[0], nil, "Failed")
	if outcome := act(t, cluster, linkUp); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	if left := linksIn(t, cluster); len(left) != 1 || left[0].Name != "link-fleet-root-2026-by-fleet-root-2025-2" {
		t.Errorf("the links are %v", left)
	}
}

func TestLinkNeedsTheFirstRequest(t *testing.T) {
	_, cluster := rolling(t)
	var list certmanagerv1.CertificateRequestList
	if err := cluster.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if err := cluster.Delete(t.Context(), &list.Items[i]); err != nil {
			t.Fatal(err)
		}
	}
	if outcome := act(t, cluster, linkUp); outcome.Done || len(linksIn(t, cluster)) > 0 {
		t.Errorf("outcome %+v", outcome)
	}
}

// Unlink deletes a link of the domain's, and no other request.
func TestUnlink(t *testing.T) {
	theirs := standalone("theirs", "fleet", nil)
	theirs.Namespace = "cert-manager"
	_, cluster := rolling(t, theirs)
	act(t, cluster, linkUp)
	for name, done := range map[string]bool{"theirs": false, "nobody's": false, "link-fleet-root-2026-by-fleet-root-2025-1": true} {
		action := planner.Action{Kind: planner.ActionUnlink, Subject: planner.Ref{Namespace: "cert-manager", Name: name}}
		if outcome := act(t, cluster, action); outcome.Done != done {
			t.Errorf("%s: outcome %+v", name, outcome)
		}
	}
	if left := linksIn(t, cluster); len(left) > 0 {
		t.Errorf("the links are %v", left)
	}
}

// What came back is told as it is, and is no leaf if it certifies a key of ours; a request
// that bears the label and certifies another is one.
func TestLinksAreObserved(t *testing.T) {
	roots, cluster := rolling(t)
	act(t, cluster, linkUp)
	look := func() planner.Observed {
		observed, err := (&Observer{Reader: cluster}).Observe(t.Context(), fleet, desiredFleet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return observed
	}
	seen := look()
	if len(seen.Links) != 1 || seen.Links[0].State != planner.CanaryPending || seen.Links[0].Key != "2026" || seen.Links[0].Under != "2025" ||
		seen.Links[0].Authority != (planner.Ref{Namespace: "cert-manager", Name: "fleet-root"}) {
		t.Fatalf("the links are %+v", seen.Links)
	}
	for _, key := range seen.Keys {
		if !key.Requested {
			t.Errorf("the request of %s is not seen", key.Name)
		}
	}
	link := roots[0].create(caTemplate("fleet-root-2026"), roots[0].X509(), &roots[1].key.PublicKey)
	for _, test := range []struct {
		certificate pki.Certificate
		leaves      int
	}{{link, 0}, {roots[0].leaf(9, 0), 1}} {
		answer(t, cluster, linksIn(t, cluster)[0], test.certificate.PEM(), "Issued")
		seen = look()
		if len(seen.Links) != 1 || seen.Links[0].State != planner.CanarySigned || !seen.Links[0].Certificate.Equal(test.certificate) || len(seen.Leaves) != test.leaves {
			t.Errorf("of %s the links are %+v, the leaves %+v", test.certificate, seen.Links, seen.Leaves)
		}
	}
	another, err := (&Observer{Reader: cluster}).Observe(t.Context(), planner.Ref{Namespace: "other", Name: "fleet"}, desiredFleet(), nil)
	if err != nil || len(another.Links) > 0 {
		t.Errorf("to another domain the links are %+v, with the error %v", another.Links, err)
	}
}
