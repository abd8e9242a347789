package applier

import (
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

func TestIssuersBehindWhichAKeyStays(t *testing.T) {
	vault := func(change func(*certmanagerv1.ClusterIssuer)) *certmanagerv1.ClusterIssuer {
		issuer := &certmanagerv1.ClusterIssuer{
			ObjectMeta: metav1.ObjectMeta{Name: "fleet", Generation: 4, Annotations: map[string]string{v1alpha1.AnnotationSignsWith: "cert-manager/root/2026"}},
			Spec: certmanagerv1.IssuerSpec{IssuerConfig: certmanagerv1.IssuerConfig{Vault: &certmanagerv1.VaultIssuer{
				Server: "https://vault.example", Path: "pki/sign/fleet?a=b&c=<d>", Auth: certmanagerv1.VaultAuth{TokenSecretRef: &certmanagermeta.SecretKeySelector{Key: "token"}},
			}}},
			Status: issuerStatus(4, "VaultVerified", "the Vault is sealed"),
		}
		change(issuer)
		return issuer
	}
	const spec = `{"vault":{"auth":{"tokenSecretRef":{"key":"token","name":""}},"path":"pki/sign/fleet?a=b\u0026c=\u003cd\u003e","server":"https://vault.example"}}`
	for name, c := range map[string]struct {
		change  func(*certmanagerv1.ClusterIssuer)
		ready   bool
		problem string
	}{
		"ready":             {func(i *certmanagerv1.ClusterIssuer) { i.Status.Conditions[0].Status = "True" }, true, ""},
		"not ready":         {func(*certmanagerv1.ClusterIssuer) {}, false, "the Vault is sealed"},
		"without a message": {func(i *certmanagerv1.ClusterIssuer) { i.Status.Conditions[0].Message = "" }, false, "cert-manager does not say why"},
		"ready as it was before": {func(i *certmanagerv1.ClusterIssuer) {
			i.Status.Conditions[0].Status, i.Status.Conditions[0].ObservedGeneration = "True", 3
		}, false, "cert-manager has not looked at it yet"},
		"not looked at": {func(i *certmanagerv1.ClusterIssuer) { i.Status.Conditions = nil }, false, "cert-manager has not looked at it yet"},
	} {
		t.Run(name, func(t *testing.T) {
			got := observe(t, desiredFleet(), nil, vault(c.change)).Issuers
			want := planner.Issuer{
				Ref: planner.Ref{Name: "fleet"}, Exists: true, Spec: spec, SignsWith: "cert-manager/root/2026",
				Ready: c.ready, Problem: c.problem, Generation: 4,
			}
			if len(got) != 1 || got[0] != want {
				t.Errorf("issuers %+v\nwant %+v", got, want)
			}
		})
	}
}
