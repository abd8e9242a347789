package applier

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

func act(t *testing.T, cluster client.Client, action planner.Action) Outcome {
	t.Helper()
	outcomes, err := (&Applier{Reader: cluster, Writer: cluster}).Act(t.Context(), fleet, []planner.Action{action}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if len(outcomes) != 1 || outcomes[0].Action != action || outcomes[0].Detail == "" {
		t.Fatalf("outcomes %+v", outcomes)
	}
	return outcomes[0]
}

var prove = planner.Action{Kind: planner.ActionProve, Subject: planner.Ref{Name: "fleet"}, Generation: 3}

func provable() *certmanagerv1.ClusterIssuer {
	return &certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{
		Name: "fleet", UID: "now", Generation: 3, Labels: map[string]string{v1alpha1.LabelBinding: "fleet", "team": "plant"},
	}}
}

func canariesIn(t *testing.T, cluster client.Client) []certmanagerv1.CertificateRequest {
	t.Helper()
	var list certmanagerv1.CertificateRequestList
	if err := cluster.List(t.Context(), &list, client.MatchingLabels{v1alpha1.LabelCanary: "true"}); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func TestProveSendsOneCanary(t *testing.T) {
	cluster, count := newCluster(t, nil, provable())
	if outcome := act(t, cluster, prove); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	if outcome := act(t, cluster, prove); outcome.Done || count.writes != 1 {
		t.Fatalf("a second one was sent: %+v", outcome)
	}
	sent := canariesIn(t, cluster)[0]
	if sent.Namespace != "cert-manager" || sent.Name != "canary-clusterissuer-fleet-3-1" || !belongs(&sent, fleet) ||
		sent.Labels[v1alpha1.LabelBinding] != "fleet" || sent.Annotations[v1alpha1.AnnotationIssuerGeneration] != "3" || sent.OwnerReferences[0].UID != "now" {
		t.Fatalf("canary %+v", sent.ObjectMeta)
	}
	block, _ := pem.Decode(sent.Spec.Request)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || request.CheckSignature() != nil || request.Subject.CommonName != "reanchor canary" || sent.Spec.IsCA ||
		!slices.Equal(sent.Spec.Usages, []certmanagerv1.KeyUsage{"digital signature"}) {
		t.Fatalf("request %+v, %v; spec %+v", request, err, sent.Spec)
	}
}

func TestProveDoesNotWaitForAnEarlierGeneration(t *testing.T) {
	cluster, _ := newCluster(t, nil, provable(), canary("canary-clusterissuer-fleet-2-1", 0, "now", "2"))
	if outcome := act(t, cluster, prove); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
}

func TestProveKeepsTwoCanaries(t *testing.T) {
	failed := condition("Ready", "False", "Failed")
	cluster, _ := newCluster(t, nil, provable(),
		canary("canary-clusterissuer-fleet-3-4", 4, "now", "3", failed),
		canary("canary-clusterissuer-fleet-2-3", 3, "now", "2", failed),
		canary("canary-clusterissuer-fleet-1-2", 2, "now", "1"),
		canary("canary-clusterissuer-fleet-1-9", 1, "an earlier one of that name", "1"))
	if outcome := act(t, cluster, prove); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	var names []string
	for _, left := range canariesIn(t, cluster) {
		names = append(names, left.Name)
	}
	want := []string{"canary-clusterissuer-fleet-1-9", "canary-clusterissuer-fleet-3-4", "canary-clusterissuer-fleet-3-5"}
	if !slices.Equal(names, want) {
		t.Fatalf("canaries %v, want %v", names, want)
	}
}

func TestProveKeepsTheProof(t *testing.T) {
	signed := canary("canary-clusterissuer-fleet-3-1", 1, "now", "3", condition("Ready", "True", "Issued"))
	signed.Status.Certificate = newRoot(t, "Root").leaf(2, 1).PEM()
	failed := condition("Ready", "False", "Failed")
	cluster, _ := newCluster(t, nil, provable(), signed,
		canary("canary-clusterissuer-fleet-3-2", 2, "now", "3", failed),
		canary("canary-clusterissuer-fleet-3-3", 3, "now", "3", failed))
	act(t, cluster, prove)
	var names []string
	for _, left := range canariesIn(t, cluster) {
		names = append(names, left.Name)
	}
	want := []string{"canary-clusterissuer-fleet-3-1", "canary-clusterissuer-fleet-3-3", "canary-clusterissuer-fleet-3-4"}
	if !slices.Equal(names, want) {
		t.Fatalf("canaries %v, want %v", names, want)
	}
}

func TestProveWaitsForTheIssuer(t *testing.T) {
	issuer := provable()
	issuer.Generation = 4
	cluster, count := newCluster(t, nil, issuer)
	if outcome := act(t, cluster, prove); outcome.Done || count.writes != 0 {
		t.Fatalf("outcome %+v", outcome)
	}
	cluster, _ = newCluster(t, nil)
	if _, err := (&Applier{Reader: cluster, Writer: cluster}).Act(t.Context(), fleet, []planner.Action{prove}, epoch); err == nil || !strings.HasPrefix(err.Error(), "Prove fleet: get the issuer") {
		t.Fatalf("error %v", err)
	}
}

// TestCanaryOfAnInternalIssuer lies beside the issuer and says whose it is, in labels
// that the issuer bears already: its name may be too long for one.
func TestCanaryOfAnInternalIssuer(t *testing.T) {
	ref := planner.Ref{Namespace: "plant", Name: planner.KeyObjectName(strings.Repeat("a", 60), "k.2025")}
	issuer := &certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name, UID: "u", Generation: 1}}
	ofKey(issuer, strings.Repeat("a", 60), "k.2025")
	cluster, _ := newCluster(t, nil, issuer)
	act(t, cluster, planner.Action{Kind: planner.ActionProve, Subject: ref, Generation: 1})
	sent := canariesIn(t, cluster)[0]
	if sent.Namespace != "plant" || sent.Spec.IssuerRef.Kind != "Issuer" || sent.Spec.IssuerRef.Name != ref.Name {
		t.Fatalf("canary %+v", sent)
	}
	want := maps.Clone(issuer.Labels)
	want[v1alpha1.LabelCanary] = "true"
	if !maps.Equal(sent.Labels, want) {
		t.Fatalf("labels %v, want %v", sent.Labels, want)
	}
}

func TestReissueSetsTheIssuingConditionOnce(t *testing.T) {
	root := newRoot(t, "Root")
	ref := planner.Ref{Namespace: "plant", Name: "broker"}
	cluster, _ := newCluster(t, nil, certificateOf(ref, "fleet", 1, root.leaf(2, 1)))
	reissue := planner.Action{Kind: planner.ActionReissue, Subject: ref}
	if outcome := act(t, cluster, reissue); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	var after certmanagerv1.Certificate
	if err := cluster.Get(t.Context(), objectKey(ref), &after); err != nil {
		t.Fatal(err)
	}
	if !isIssuing(&after) || len(after.Status.Conditions) != 2 || after.Status.Conditions[1].Reason != "ManuallyTriggered" || *after.Status.Revision != 1 {
		t.Fatalf("status %+v", after.Status)
	}
	if outcome := act(t, cluster, reissue); outcome.Done {
		t.Fatalf("a second time: %+v", outcome)
	}
	reissue.Subject.Name = "gone"
	if outcome := act(t, cluster, reissue); outcome.Done {
		t.Fatalf("of what is gone: %+v", outcome)
	}
}

// TestReissueIsYoungerThanTheFailure: cert-manager compares the two times, and else
// leaves the failed CertificateRequest in the new one's place.
func TestReissueIsYoungerThanTheFailure(t *testing.T) {
	root := newRoot(t, "Root")
	certificate := certificateOf(planner.Ref{Namespace: "plant", Name: "broker"}, "fleet", 1, root.leaf(2, 1))
	failed := metav1.NewTime(epoch.Add(-time.Minute))
	certificate.Status.LastFailureTime = &failed
	certificate.Status.Conditions = append(certificate.Status.Conditions, certmanagerv1.CertificateCondition{
		Type: certmanagerv1.CertificateConditionIssuing, Status: certmanagermeta.ConditionFalse, Reason: "Failed", LastTransitionTime: &failed,
	})
	cluster, _ := newCluster(t, nil, certificate)
	act(t, cluster, planner.Action{Kind: planner.ActionReissue, Subject: refOf(certificate)})
	var after certmanagerv1.Certificate
	if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(certificate), &after); err != nil {
		t.Fatal(err)
	}
	conditions := after.Status.Conditions
	if len(conditions) != 2 || !isIssuing(&after) || !failed.Before(conditions[1].LastTransitionTime) || !conditions[1].LastTransitionTime.Time.Equal(epoch) {
		t.Fatalf("conditions %+v", conditions)
	}
}

func TestReissueOfARequestWithoutACertificateDoesNothing(t *testing.T) {
	request := standalone("by-hand", "fleet", nil, condition("Ready", "True", "Issued"))
	cluster, _ := newCluster(t, nil, request)
	before := request.DeepCopy()
	if outcome := act(t, cluster, planner.Action{Kind: planner.ActionReissue, Subject: refOf(request)}); outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	var after certmanagerv1.CertificateRequest
	if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(request), &after); err != nil || !reflect.DeepEqual(after.Status, before.Status) {
		t.Fatalf("request %+v, %v", after, err)
	}
}

func TestRestartAnnotatesAndLeavesTheRest(t *testing.T) {
	deployment := decode[appsv1.Deployment](t, `{metadata: {namespace: a, name: web}, spec: {replicas: 2, template: {metadata: {annotations: {own: kept, reanchor.dev/leaves-sha256: old}}, spec: `+mounting+`}}}`)
	cluster, _ := newCluster(t, nil, deployment)
	restart := planner.Action{Kind: planner.ActionRestart, Workload: "Deployment", Subject: planner.Ref{Namespace: "a", Name: "web"}, BundleDigest: "new"}
	if outcome := act(t, cluster, restart); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	var after appsv1.Deployment
	if err := cluster.Get(t.Context(), objectKey(restart.Subject), &after); err != nil {
		t.Fatal(err)
	}
	annotations := after.Spec.Template.Annotations
	if annotations[v1alpha1.AnnotationBundleSHA256] != "new" || annotations[v1alpha1.AnnotationLeavesSHA256] != "old" || annotations["own"] != "kept" ||
		*after.Spec.Replicas != 2 || len(after.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("deployment %+v", after.Spec)
	}
	restart.Subject.Name = "gone"
	if outcome := act(t, cluster, restart); outcome.Done {
		t.Fatalf("of what is gone: %+v", outcome)
	}
}

func TestActIsolatesErrors(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "old"}}
	cluster, _ := newCluster(t, nil, secret)
	actions := []planner.Action{
		{Kind: planner.ActionRestart, Workload: "Pod", Subject: planner.Ref{Namespace: "a", Name: "bare"}, BundleDigest: "d"},
		{Kind: "Explode", Subject: planner.Ref{Name: "x"}},
		{Kind: planner.ActionDeleteSecret, Subject: planner.Ref{Namespace: "ns", Name: "old"}},
		{Kind: planner.ActionDeleteSecret, Subject: planner.Ref{Namespace: "ns", Name: "old"}},
	}
	outcomes, err := (&Applier{Reader: cluster, Writer: cluster}).Act(t.Context(), fleet, actions, epoch)
	if err == nil || !strings.Contains(err.Error(), "Restart a/bare: a Pod cannot be restarted from here; recreate a/bare by hand") || !strings.Contains(err.Error(), "Explode x") {
		t.Fatalf("error %v", err)
	}
	if len(outcomes) != 2 || !outcomes[0].Done || outcomes[1].Done {
		t.Fatalf("outcomes %+v", outcomes)
	}
}

func TestDeleteSecretNeverReads(t *testing.T) {
	cluster, _ := newCluster(t, nil)
	deny := errors.New("read")
	hand := interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return deny
		},
	})
	act(t, hand, planner.Action{Kind: planner.ActionDeleteSecret, Subject: planner.Ref{Namespace: "ns", Name: "old"}})
}
