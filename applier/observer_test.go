package applier

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

func observe(t *testing.T, desired planner.Desired, refuse func(client.ObjectList) error, objects ...client.Object) planner.Observed {
	t.Helper()
	cluster, _ := newCluster(t, refuse, objects...)
	observed, err := (&Observer{Reader: cluster}).Observe(t.Context(), fleet, desired, nil)
	if err != nil {
		t.Fatal(err)
	}
	return observed
}

func TestChainIsKnownOnlyByItsRequest(t *testing.T) {
	root := newRoot(t, "Root")
	leaf, other := root.leaf(2, 1), root.leaf(3, 2)
	certificate := certificateOf(planner.Ref{Namespace: "plant", Name: "broker"}, "fleet", 3, leaf)
	changed := func(change func(*certmanagerv1.CertificateStatus)) *certmanagerv1.Certificate {
		c := certificate.DeepCopy()
		change(&c.Status)
		return c
	}
	garbage := requestOf(certificate, "a", 3)
	garbage.Status.Certificate = []byte("no PEM")
	twin := leaf
	for twin.Equal(leaf) {
		twin = root.leaf(4, 1)
	}
	cases := map[string]struct {
		certificate *certmanagerv1.Certificate
		requests    []certmanagerv1.CertificateRequest
		unlisted    bool
		want        []pki.Certificate
		why         string
	}{
		"the request of the revision":   {certificate, []certmanagerv1.CertificateRequest{*requestOf(certificate, "a", 3, leaf, root.Certificate), *requestOf(certificate, "b", 2, other)}, false, []pki.Certificate{leaf, root.Certificate}, ""},
		"twice the same":                {certificate, []certmanagerv1.CertificateRequest{*requestOf(certificate, "a", 3, leaf), *requestOf(certificate, "b", 3, leaf)}, false, []pki.Certificate{leaf}, ""},
		"the request is gone":           {certificate, []certmanagerv1.CertificateRequest{*requestOf(certificate, "b", 2, other)}, false, nil, "revision 3 is gone"},
		"of another Certificate":        {certificate, []certmanagerv1.CertificateRequest{*requestOf(certificateOf(planner.Ref{Namespace: "plant", Name: "x"}, "fleet", 3, leaf), "a", 3, leaf)}, false, nil, "revision 3 is gone"},
		"other dates":                   {certificate, []certmanagerv1.CertificateRequest{*requestOf(certificate, "a", 3, other)}, false, nil, "CertificateRequest a is valid 2026-01-02T05:04:05Z"},
		"another start":                 {changed(func(s *certmanagerv1.CertificateStatus) { s.NotBefore = &metav1.Time{Time: epoch} }), []certmanagerv1.CertificateRequest{*requestOf(certificate, "a", 3, leaf)}, false, nil, "CertificateRequest a is valid"},
		"two of the same dates":         {certificate, []certmanagerv1.CertificateRequest{*requestOf(certificate, "a", 3, leaf), *requestOf(certificate, "b", 3, twin)}, false, nil, "two CertificateRequests"},
		"not PEM":                       {certificate, []certmanagerv1.CertificateRequest{*garbage}, false, nil, "CertificateRequest a: no PEM block"},
		"requests not listed":           {certificate, nil, true, nil, "could not be listed"},
		"nobody has looked yet":         {changed(func(s *certmanagerv1.CertificateStatus) { *s = certmanagerv1.CertificateStatus{} }), nil, false, nil, "has not looked at it yet"},
		"nothing issued":                {changed(func(s *certmanagerv1.CertificateStatus) { s.Revision, s.NotBefore, s.NotAfter = nil, nil, nil }), nil, false, nil, ""},
		"a Secret from another life":    {changed(func(s *certmanagerv1.CertificateStatus) { s.Revision = nil }), nil, false, nil, "no revision with dates"},
		"a revision, but no dates seen": {changed(func(s *certmanagerv1.CertificateStatus) { s.NotAfter = nil }), nil, false, nil, "no revision with dates"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, why := newRequests(c.requests, !c.unlisted).chain(c.certificate)
			if !reflect.DeepEqual(got, c.want) || !strings.Contains(why, c.why) || (c.why == "") != (why == "") {
				t.Fatalf("chain %v, because %q; want %v, %q", got, why, c.want, c.why)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	root := newRoot(t, "Root")
	labels := map[string]string{
		v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "reanchor-system",
		v1alpha1.LabelAuthority: "root", v1alpha1.LabelKey: "2025",
	}
	current := certificateOf(planner.Ref{Namespace: "cert-manager", Name: "root-2026"}, "root-self-signed", 1, root.Certificate)
	current.Spec.CommonName, current.Spec.IssuerRef.Kind = "Root 2026", "Issuer"
	gone := &certmanagerv1.Issuer{ // of a key that Git names no longer
		ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager", Name: "root-2025", Labels: labels, Generation: 2},
		Spec:       issuerSpec("root-2025"),
		Status:     issuerStatus(2, "ErrGetKeyPair", `Error getting keypair for CA issuer: secrets "root-2025" not found`),
	}
	selfSigned := &certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager", Name: "root-self-signed", Labels: labels}}
	foreign := certificateOf(planner.Ref{Namespace: "other", Name: "root-2026"}, "x", 1, root.Certificate)
	got := observe(t, desiredFleet(), nil, current, requestOf(current, "r", 1, root.Certificate), gone, selfSigned, foreign).Keys
	authority := planner.Ref{Namespace: "cert-manager", Name: "root"}
	want := []planner.Key{
		{Authority: authority, Name: "2025", HasIssuer: true, Generation: 2, SecretGone: true, Problem: "its Certificate does not exist"},
		{
			Authority: authority, Name: "2026", HasCertificate: true, Issued: true, Requested: true, Certificate: root.Certificate,
			Spec: planner.CASpec{CommonName: "Root 2026", Algorithm: v1alpha1.RSA, Size: 2048, Duration: 2160 * time.Hour},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("keys %+v\nwant %+v", got, want)
	}
}

func issuerSpec(secret string) certmanagerv1.IssuerSpec {
	return certmanagerv1.IssuerSpec{IssuerConfig: certmanagerv1.IssuerConfig{CA: &certmanagerv1.CAIssuer{SecretName: secret}}}
}

func issuerStatus(generation int64, reason, message string) certmanagerv1.IssuerStatus {
	return certmanagerv1.IssuerStatus{Conditions: []certmanagerv1.IssuerCondition{{
		Type: certmanagerv1.IssuerConditionReady, Status: certmanagermeta.ConditionFalse,
		Reason: reason, Message: message, ObservedGeneration: generation,
	}}}
}

func TestKeyWithoutACertificateSaysWhy(t *testing.T) {
	root := newRoot(t, "Root")
	waiting := certificateOf(planner.Ref{Namespace: "cert-manager", Name: "root-2026"}, "x", 1, root.Certificate)
	waiting.Status = certmanagerv1.CertificateStatus{Conditions: []certmanagerv1.CertificateCondition{
		{Type: certmanagerv1.CertificateConditionReady, Message: "Secret does not exist"},
		{Type: certmanagerv1.CertificateConditionIssuing, Message: "the issuer is not ready"},
	}}
	got := observe(t, desiredFleet(), nil, waiting).Keys
	if len(got) != 1 || got[0].Problem != "nothing issued yet: the issuer is not ready" || !got[0].Certificate.IsZero() {
		t.Fatalf("keys %+v", got)
	}
}

func TestSecretGone(t *testing.T) {
	const absent = `Error getting keypair for CA issuer: secrets "root-2025" not found`
	cases := map[string]struct {
		secret string
		status certmanagerv1.IssuerStatus
		want   bool
	}{
		"absent":               {"root-2025", issuerStatus(1, "ErrGetKeyPair", absent), true},
		"of an earlier spec":   {"root-2025", issuerStatus(0, "ErrGetKeyPair", absent), false},
		"of another Secret":    {"root-2026", issuerStatus(1, "ErrGetKeyPair", absent), false},
		"broken":               {"root-2025", issuerStatus(1, "ErrGetKeyPair", `no data for "tls.crt" in secret 'a/root-2025'`), false},
		"another reason":       {"root-2025", issuerStatus(1, "ErrInvalidKeyPair", absent), false},
		"nothing is known yet": {"root-2025", certmanagerv1.IssuerStatus{}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			issuer := &certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Spec: issuerSpec(c.secret), Status: c.status}
			if got := secretGone(issuer); got != c.want {
				t.Fatalf("got %v", got)
			}
		})
	}
}

// An internal issuer is believed about its Secret only of its present spec.
func TestSecretSeen(t *testing.T) {
	ready := func(generation int64, status certmanagermeta.ConditionStatus) certmanagerv1.IssuerStatus {
		told := issuerStatus(generation, "KeyPairVerified", "Signing CA verified")
		told.Conditions[0].Status = status
		return told
	}
	for name, c := range map[string]struct {
		status certmanagerv1.IssuerStatus
		want   bool
	}{
		"ready":                {ready(1, certmanagermeta.ConditionTrue), true},
		"not ready":            {ready(1, certmanagermeta.ConditionFalse), false},
		"of an earlier spec":   {ready(0, certmanagermeta.ConditionTrue), false},
		"nothing is known yet": {certmanagerv1.IssuerStatus{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := &certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Spec: issuerSpec("root-2025"), Status: c.status}
			if got := secretSeen(issuer); got != c.want {
				t.Fatalf("got %v", got)
			}
		})
	}
}

// canary is one as the applier makes it, with conditions.
func canary(name string, second int, issuer types.UID, generation string, conditions ...certmanagerv1.CertificateRequestCondition) *certmanagerv1.CertificateRequest {
	labels := domainLabels(fleet)
	labels[v1alpha1.LabelCanary] = "true"
	return &certmanagerv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "cert-manager", Name: name, Labels: labels,
			CreationTimestamp: metav1.NewTime(epoch.Add(time.Duration(second) * time.Second)),
			Annotations:       map[string]string{v1alpha1.AnnotationIssuerGeneration: generation},
			OwnerReferences:   []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: "ClusterIssuer", Name: "fleet", UID: issuer}},
		},
		Spec:   certmanagerv1.CertificateRequestSpec{IssuerRef: certmanagermeta.IssuerReference{Name: "fleet", Kind: "ClusterIssuer"}},
		Status: certmanagerv1.CertificateRequestStatus{Conditions: conditions},
	}
}

func condition(kind certmanagerv1.CertificateRequestConditionType, status certmanagermeta.ConditionStatus, reason string) certmanagerv1.CertificateRequestCondition {
	return certmanagerv1.CertificateRequestCondition{Type: kind, Status: status, Reason: reason, Message: "says cert-manager"}
}

func TestIssuersAndTheirCanaries(t *testing.T) {
	root := newRoot(t, "Root")
	cluster := &certmanagerv1.ClusterIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "fleet", UID: "now", Generation: 3},
		Spec:       issuerSpec("root-2026"),
	}
	left := &certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "left", Labels: map[string]string{
		v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "reanchor-system", v1alpha1.LabelBinding: "left",
	}}, Spec: issuerSpec("left"), Status: issuerStatus(0, "KeyPairVerified", "Signing CA verified")}
	left.Status.Conditions[0].Status = certmanagermeta.ConditionTrue
	unrelated := &certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "unrelated"}}
	newest := canary("canary-clusterissuer-fleet-3-9", 5, "now", "3", condition("Ready", "True", "Issued"))
	newest.Status.Certificate, newest.Status.CA = root.leaf(2, 1).PEM(), root.PEM()
	desired := desiredFleet()
	desired.Bindings = append(desired.Bindings, v1alpha1.IssuerBinding{
		Metadata: v1alpha1.Metadata{Namespace: "plant", Name: "missing"}, Spec: v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeNamespace},
	})
	got := observe(t, desired, nil, cluster, left, unrelated, newest,
		canary("canary-clusterissuer-fleet-3-8", 5, "now", "3", condition("Denied", "True", "x")),
		canary("canary-clusterissuer-fleet-9-12", 9, "an earlier one of that name", "9")).Issuers
	signed, _ := pki.ParsePEM(newest.Status.Certificate)
	proof := planner.Canary{
		Name: newest.Name, At: epoch.Add(5 * time.Second), Generation: 3, State: planner.CanarySigned, Certificate: signed[0], CA: root.Certificate,
	}
	want := []planner.Issuer{
		{Ref: planner.Ref{Name: "fleet"}, Exists: true, SecretName: "root-2026", Problem: "cert-manager has not looked at it yet", Generation: 3, Canary: proof, Proof: proof},
		{Ref: planner.Ref{Namespace: "plant", Name: "left"}, Exists: true, Ours: true, SecretName: "left", Ready: true},
		{Ref: planner.Ref{Namespace: "plant", Name: "missing"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("issuers %+v\nwant %+v", got, want)
	}
}

func TestProofOutlivesANewerCanary(t *testing.T) {
	root := newRoot(t, "Root")
	issuer := &certmanagerv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "fleet", UID: "now", Generation: 3}}
	signed := canary("canary-clusterissuer-fleet-3-1", 1, "now", "3", condition("Ready", "True", "Issued"))
	signed.Status.Certificate = root.leaf(2, 1).PEM()
	got := observe(t, desiredFleet(), nil, issuer, signed, canary("canary-clusterissuer-fleet-3-2", 2, "now", "3")).Issuers
	if len(got) != 1 || got[0].Canary.Name != "canary-clusterissuer-fleet-3-2" || got[0].Proof.Name != signed.Name || got[0].Proof.Certificate.IsZero() {
		t.Fatalf("issuers %+v", got)
	}
}

// TestTheSignerThatACanaryNames is the intermediate that stands in the chain, not the
// root beside it.
func TestTheSignerThatACanaryNames(t *testing.T) {
	root := newRoot(t, "Root")
	issuing := root.intermediate("Issuing")
	lower := issuing.intermediate("Lower")
	for name, c := range map[string]struct {
		by    signer
		above []pki.Certificate // that come with the canary
		ca    []byte
		want  pki.Certificate
	}{
		"a root":                         {root, nil, root.PEM(), root.Certificate},
		"an intermediate":                {issuing, []pki.Certificate{issuing.Certificate}, root.PEM(), issuing.Certificate},
		"one below an intermediate":      {lower, []pki.Certificate{lower.Certificate, issuing.Certificate}, root.PEM(), lower.Certificate},
		"an intermediate without a root": {issuing, []pki.Certificate{issuing.Certificate}, nil, issuing.Certificate},
		"nobody":                         {root, nil, nil, pki.Certificate{}},
		"rubble":                         {root, nil, []byte("rubble"), pki.Certificate{}},
	} {
		t.Run(name, func(t *testing.T) {
			request, leaf := canary("canary-1", 0, "u", "1", condition("Ready", "True", "Issued")), c.by.leaf(2, 1)
			request.Status.CA = c.ca
			for _, certificate := range append([]pki.Certificate{leaf}, c.above...) {
				request.Status.Certificate = append(request.Status.Certificate, certificate.PEM()...)
			}
			got := readCanary(request)
			if got.State != planner.CanarySigned || !got.Certificate.Equal(leaf) || !got.CA.Equal(c.want) {
				t.Fatalf("canary %+v, want %s, signed by %s", got, leaf, c.want)
			}
		})
	}
}

func TestCanaryState(t *testing.T) {
	cases := map[string]struct {
		conditions []certmanagerv1.CertificateRequestCondition
		content    string
		want       planner.CanaryState
	}{
		"no answer":     {nil, "", planner.CanaryPending},
		"pending":       {[]certmanagerv1.CertificateRequestCondition{condition("Approved", "True", "x"), condition("Ready", "False", "Pending")}, "", planner.CanaryPending},
		"failed":        {[]certmanagerv1.CertificateRequestCondition{condition("Ready", "False", "Failed")}, "", planner.CanaryFailed},
		"denied":        {[]certmanagerv1.CertificateRequestCondition{condition("Denied", "True", "x"), condition("Ready", "False", "Denied")}, "", planner.CanaryFailed},
		"invalid":       {[]certmanagerv1.CertificateRequestCondition{condition("Ready", "False", "Pending"), condition("InvalidRequest", "True", "x")}, "", planner.CanaryFailed},
		"signed rubble": {[]certmanagerv1.CertificateRequestCondition{condition("Ready", "True", "Issued")}, "rubble", planner.CanaryFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			request := canary("canary-1", 0, "u", "1", c.conditions...)
			request.Status.Certificate = []byte(c.content)
			if got := readCanary(request); got.State != c.want || got.Problem == "" {
				t.Fatalf("canary %+v, want %s and a problem", got, c.want)
			}
		})
	}
}

func TestLeavesAreThoseOfOurIssuers(t *testing.T) {
	root := newRoot(t, "Root")
	issued := root.leaf(2, 1)
	leaf := func(name, kind, group, issuer string) *certmanagerv1.Certificate {
		c := certificateOf(planner.Ref{Namespace: "cert-manager", Name: name}, issuer, 1, issued)
		c.Spec.IssuerRef.Kind, c.Spec.IssuerRef.Group = kind, group
		return c
	}
	failed := leaf("b-internal", "", "", "root-2026")
	failed.Status.LastFailureTime = &metav1.Time{Time: epoch}
	failed.Status.Conditions = append(failed.Status.Conditions, certmanagerv1.CertificateCondition{
		Type: certmanagerv1.CertificateConditionIssuing, Status: certmanagermeta.ConditionFalse, Message: "it failed",
	})
	issuing := leaf("a-cluster", "ClusterIssuer", "cert-manager.io", "fleet")
	issuing.Status.Conditions = append(issuing.Status.Conditions, certmanagerv1.CertificateCondition{
		Type: certmanagerv1.CertificateConditionIssuing, Status: certmanagermeta.ConditionTrue,
	})
	got := observe(t, desiredFleet(), nil, failed, issuing, requestOf(issuing, "r", 1, issued),
		leaf("root-2026", "Issuer", "", "root-2026"),        // a key's own
		leaf("c", "Issuer", "", "fleet"),                    // an Issuer of the same name
		leaf("d", "ClusterIssuer", "acme.example", "fleet"), // of somebody else
		leaf("e", "ClusterIssuer", "", "other"),
	).Leaves
	want := []planner.Leaf{
		{
			Ref: planner.Ref{Namespace: "cert-manager", Name: "a-cluster"}, Issuer: planner.Ref{Name: "fleet"},
			SecretName: "a-cluster-tls", Foreign: true, Chain: []pki.Certificate{issued}, Issuing: true,
		},
		{
			Ref: planner.Ref{Namespace: "cert-manager", Name: "b-internal"}, Issuer: planner.Ref{Namespace: "cert-manager", Name: "root-2026"},
			SecretName: "b-internal-tls", Foreign: true, Problem: "it failed", FailedAt: epoch,
			Unknown: "the CertificateRequest of revision 1 is gone; a reissue makes it known",
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("leaves %+v\nwant %+v", got, want)
	}
}

// leafNames are names and Secrets, in their order.
func leafNames(leaves []planner.Leaf) []string {
	var names []string
	for _, leaf := range leaves {
		names = append(names, leaf.Ref.String()+" "+leaf.SecretName)
	}
	return names
}

func TestLeafThatWasPointedElsewhereCountsWhileOurKeySignedIt(t *testing.T) {
	root, stranger := newRoot(t, "Root"), newRoot(t, "Stranger")
	key := certificateOf(planner.Ref{Namespace: "cert-manager", Name: "root-2026"}, "root-self-signed", 1, root.Certificate)
	objects := []client.Object{key, requestOf(key, "key", 1, root.Certificate)}
	for name, change := range map[string]func(*certmanagerv1.Certificate) pki.Certificate{
		"ours": func(*certmanagerv1.Certificate) pki.Certificate { return root.leaf(2, 1) },
		"ours-other-group": func(c *certmanagerv1.Certificate) pki.Certificate {
			c.Spec.IssuerRef.Group = "acme.example"
			return root.leaf(3, 1)
		},
		"somebody-elses": func(*certmanagerv1.Certificate) pki.Certificate { return stranger.leaf(2, 1) },
		"issued-by-nobody": func(c *certmanagerv1.Certificate) pki.Certificate {
			c.Status = certmanagerv1.CertificateStatus{}
			return root.leaf(4, 1)
		},
	} {
		leaf := certificateOf(planner.Ref{Namespace: "plant", Name: name}, "letsencrypt", 1, root.leaf(9, 1))
		issued := change(leaf)
		if leaf.Status.Revision != nil {
			from, to := metav1.NewTime(issued.NotBefore()), metav1.NewTime(issued.NotAfter())
			leaf.Status.NotBefore, leaf.Status.NotAfter = &from, &to
		}
		objects = append(objects, leaf, requestOf(leaf, name, 1, issued))
	}
	got := observe(t, desiredFleet(), nil, objects...).Leaves
	if want := []string{"plant/ours ours-tls", "plant/ours-other-group ours-other-group-tls"}; !reflect.DeepEqual(leafNames(got), want) {
		t.Fatalf("leaves %q, want %q", leafNames(got), want)
	}
	if got[0].Issuer != (planner.Ref{Name: "letsencrypt"}) || got[1].Issuer != (planner.Ref{Name: "acme.example/ClusterIssuer/letsencrypt"}) {
		t.Fatalf("issuers %v, %v", got[0].Issuer, got[1].Issuer)
	}
}

// standalone is a CertificateRequest that no Certificate controls.
func standalone(name, issuer string, issued []byte, conditions ...certmanagerv1.CertificateRequestCondition) *certmanagerv1.CertificateRequest {
	return &certmanagerv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager", Name: name},
		Spec:       certmanagerv1.CertificateRequestSpec{IssuerRef: certmanagermeta.IssuerReference{Name: issuer, Kind: "ClusterIssuer"}},
		Status:     certmanagerv1.CertificateRequestStatus{Certificate: issued, Conditions: conditions},
	}
}

func TestLiveRequestsWithoutACertificateAreLeaves(t *testing.T) {
	root := newRoot(t, "Root")
	leaf := root.leaf(2, 1)
	signed := condition("Ready", "True", "Issued")
	internal := standalone("b-internal", "root-2026", leaf.PEM(), signed)
	internal.Spec.IssuerRef.Kind = ""
	driven := standalone("c-of-a-driver", "fleet", leaf.PEM(), signed)
	driven.OwnerReferences = controlledBy("Pod", "app")
	renewed := standalone("renewed", "fleet", leaf.PEM(), signed)
	renewed.OwnerReferences = controlledBy("Certificate", "app")
	renewed.OwnerReferences[0].APIVersion = "cert-manager.io/v1"
	foreign := standalone("foreign-canary", "fleet", leaf.PEM(), signed)
	foreign.Labels = map[string]string{v1alpha1.LabelCanary: "true"}
	ours := canary("canary-clusterissuer-fleet-1-1", 0, "now", "1", signed)
	ours.Status.Certificate = leaf.PEM()
	objects := []client.Object{
		standalone("a-by-hand", "fleet", append(leaf.PEM(), root.PEM()...), signed), internal, driven, standalone("d-rubble", "fleet", []byte("rubble"), signed),
		renewed, foreign, ours,
		standalone("pending", "fleet", nil, condition("Ready", "False", "Pending")),
		standalone("denied", "fleet", leaf.PEM(), condition("Denied", "True", "x"), signed),
		standalone("elsewhere", "letsencrypt", newRoot(t, "Stranger").leaf(2, 1).PEM(), signed),
	}
	for name, c := range map[string]struct {
		now  time.Time
		want []string
	}{
		"live":    {leaf.NotAfter(), []string{"cert-manager/a-by-hand ", "cert-manager/b-internal ", "cert-manager/c-of-a-driver ", "cert-manager/d-rubble "}},
		"expired": {leaf.NotAfter().Add(time.Second), []string{"cert-manager/d-rubble "}},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, _ := newCluster(t, nil, objects...)
			observed, err := (&Observer{Reader: cluster, Now: func() time.Time { return c.now }}).Observe(t.Context(), fleet, desiredFleet(), nil)
			if err != nil || !reflect.DeepEqual(leafNames(observed.Leaves), c.want) {
				t.Fatalf("leaves %q, %v; want %q", leafNames(observed.Leaves), err, c.want)
			}
			for _, seen := range observed.Leaves {
				if rubble := seen.Ref.Name == "d-rubble"; rubble == (seen.Unknown == "") || rubble != (len(seen.Chain) == 0) || seen.Issuing {
					t.Errorf("leaf %+v", seen)
				}
			}
		})
	}
	if got := observe(t, desiredFleet(), nil, objects...).Leaves; len(got) != 4 || got[0].Issuer != (planner.Ref{Name: "fleet"}) || len(got[0].Chain) != 2 ||
		got[1].Issuer != (planner.Ref{Namespace: "cert-manager", Name: "root-2026"}) {
		t.Fatalf("leaves %+v", got)
	}
}

func TestFailedAt(t *testing.T) {
	root := newRoot(t, "Root")
	leaf := root.leaf(2, 1)
	before, after := leaf.NotBefore().Add(-time.Minute), leaf.NotBefore().Add(time.Minute)
	cases := map[string]struct {
		failed time.Time
		status certmanagermeta.ConditionStatus
		reason string
		want   time.Time
	}{
		"never":                      {want: time.Time{}},
		"since it was issued":        {after, "False", "Failed", after},
		"and being tried anew":       {after, "True", "ManuallyTriggered", after},
		"denied":                     {after, "False", "Denied", after},
		"before it was issued":       {before, "False", "Issued", time.Time{}},
		"before, and nothing to say": {before, "", "", time.Time{}},
		"before, by another clock":   {before, "False", "Failed", before},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			certificate := certificateOf(planner.Ref{Namespace: "plant", Name: "broker"}, "fleet", 1, leaf)
			if !c.failed.IsZero() {
				certificate.Status.LastFailureTime = &metav1.Time{Time: c.failed.In(time.FixedZone("east", 3600))}
			}
			if c.status != "" {
				certificate.Status.Conditions = append(certificate.Status.Conditions, certmanagerv1.CertificateCondition{
					Type: certmanagerv1.CertificateConditionIssuing, Status: c.status, Reason: c.reason, Message: "says cert-manager",
				})
			}
			got := observe(t, desiredFleet(), nil, certificate).Leaves
			if len(got) != 1 || got[0].FailedAt != c.want || (got[0].Problem == "") != c.want.IsZero() && c.status != "" {
				t.Fatalf("leaves %+v, want %s", got, c.want)
			}
		})
	}
}

// TestNamesakesInOtherNamespaces has what is ours once more in another namespace, to
// which neither labels nor references of ours lead.
func TestNamesakesInOtherNamespaces(t *testing.T) {
	root, stranger := newRoot(t, "Root"), newRoot(t, "Stranger")
	objects := []client.Object{}
	for namespace, signer := range map[string]signer{"cert-manager": root, "other": stranger} {
		key := certificateOf(planner.Ref{Namespace: namespace, Name: "root-2026"}, "root-self-signed", 1, signer.Certificate)
		leaf := certificateOf(planner.Ref{Namespace: namespace, Name: "leaf"}, "root-2026", 1, signer.leaf(2, 1))
		leaf.Spec.IssuerRef.Kind = "Issuer"
		objects = append(objects, key, requestOf(key, "key", 1, signer.Certificate), leaf, requestOf(leaf, "leaf", 1, signer.leaf(2, 1)),
			&certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "root-2026"}, Spec: issuerSpec("root-2026")},
			&certmanagerv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "fleet"}, Spec: issuerSpec("root-2026")})
	}
	observed := observe(t, desiredFleet(), nil, objects...)
	if len(observed.Keys) != 1 || !observed.Keys[0].Certificate.Equal(root.Certificate) || !observed.Keys[0].HasIssuer {
		t.Errorf("keys %+v", observed.Keys)
	}
	if want := []string{"cert-manager/leaf leaf-tls"}; !reflect.DeepEqual(leafNames(observed.Leaves), want) {
		t.Errorf("leaves %q, want %q", leafNames(observed.Leaves), want)
	}
	if !reflect.DeepEqual(observed.Issuers, []planner.Issuer{{Ref: planner.Ref{Name: "fleet"}}}) {
		t.Errorf("issuers %+v", observed.Issuers)
	}
}

func namespace(name, trust string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"trust": trust}}}
}

func configMap(namespace, name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{LabelBundleCopy: name}}, Data: data}
}

func bundleObject(t *testing.T, name, key, trust string, inline ...string) *unstructured.Unstructured {
	t.Helper()
	sources := []any{map[string]any{"useDefaultCAs": false}}
	for _, content := range inline {
		sources = append(sources, map[string]any{"inLine": content})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "trust.cert-manager.io/v1alpha1", "kind": "Bundle",
		"metadata": map[string]any{"name": name, "labels": map[string]any{v1alpha1.LabelDomainName: "fleet", v1alpha1.LabelDomainNamespace: "reanchor-system"}},
		"spec": map[string]any{"sources": sources, "target": map[string]any{
			"configMap":         map[string]any{"key": key},
			"namespaceSelector": map[string]any{"matchLabels": map[string]any{"trust": trust}},
		}},
	}}
}

func TestCopiesHaveAnEntryForEachPlace(t *testing.T) {
	root, next := newRoot(t, "Root"), newRoot(t, "Next")
	both := string(root.PEM()) + string(next.PEM())
	going := namespace("going", "fleet")
	going.DeletionTimestamp, going.Finalizers = &metav1.Time{Time: epoch}, []string{"kubernetes"}
	got := observe(t, desiredFleet(), nil,
		namespace("a", "fleet"), namespace("b", "fleet"), namespace("c", "fleet"), namespace("d", "fleet"), going, namespace("other", "no"),
		configMap("a", "trust", map[string]string{"ca.crt": both}),
		configMap("b", "trust", map[string]string{"else": both}),
		configMap("c", "trust", map[string]string{"ca.crt": "rubble"}),
		configMap("other", "trust", map[string]string{"ca.crt": both}),
	).Copies
	texts := make([]string, 0, len(got))
	for _, c := range got {
		if c.Missing != (c.Namespace == "d") {
			t.Errorf("copy %+v", c)
		}
		texts = append(texts, fmt.Sprintf("%s %s %d %s", c.Bundle, c.Namespace, len(c.Anchors), c.Problem))
	}
	want := []string{
		"trust a 2 ",
		`trust b 0 the ConfigMap has no key "ca.crt"`,
		`trust c 0 key "ca.crt": no PEM block of type CERTIFICATE found`,
		"trust d 0 trust-manager has written no ConfigMap trust yet",
	}
	if !reflect.DeepEqual(texts, want) {
		t.Fatalf("copies %q\nwant %q", texts, want)
	}
}

func TestCopiesOfATargetThatChanges(t *testing.T) {
	root := newRoot(t, "Root")
	observed := observe(t, desiredFleet(), nil,
		bundleObject(t, "trust", "old.crt", "before", string(root.PEM())),
		bundleObject(t, "left", "ca.crt", "before", string(root.PEM()), string(root.PEM())),
		namespace("a", "fleet"), namespace("b", "before"),
		configMap("b", "trust", map[string]string{"old.crt": string(root.PEM())}),
	)
	var places []string
	for _, c := range observed.Copies {
		places = append(places, c.Bundle+" "+c.Namespace+" "+c.Problem)
	}
	want := []string{
		"left b trust-manager has written no ConfigMap left yet",
		"trust a trust-manager has written no ConfigMap trust yet",
		"trust b ",
	}
	if !reflect.DeepEqual(places, want) {
		t.Fatalf("copies %q\nwant %q", places, want)
	}
	if got := observed.Bundles; len(got) != 2 || got[0].Name != "left" || len(got[0].Anchors) != 1 || got[1].Target.ConfigMap.Key != "old.crt" {
		t.Fatalf("bundles %+v", got)
	}
}

func TestWhatIsRefusedIsUnknown(t *testing.T) {
	forbidden := func(resource schema.GroupResource) error {
		return apierrors.NewForbidden(resource, "", errors.New("nobody may"))
	}
	refuse := func(list client.ObjectList) error {
		switch list := list.(type) {
		case *certmanagerv1.CertificateList:
			return forbidden(certificates)
		case *certmanagerv1.ClusterIssuerList:
			return forbidden(clusterIssuers)
		case *unstructured.UnstructuredList:
			return &meta.NoKindMatchError{GroupKind: bundleKind.GroupKind(), SearchedVersions: []string{"v1alpha1"}}
		case *corev1.ConfigMapList:
			return forbidden(configMaps)
		case *metav1.PartialObjectMetadataList:
			_ = list
			return forbidden(replicaSets)
		}
		return nil
	}
	observed := observe(t, desiredFleet(), refuse, namespace("a", "fleet"))
	want := map[string]string{
		"bundles.trust.cert-manager.io":  "install its definition",
		"certificates.cert-manager.io":   "grant list and watch on certificates.cert-manager.io",
		"clusterissuers.cert-manager.io": "grant list and watch on clusterissuers.cert-manager.io",
		"configmaps":                     "grant list and watch on configmaps",
		"replicasets.apps":               "grant list and watch on replicasets.apps",
	}
	if len(observed.Unknown) != len(want) {
		t.Fatalf("unknown %+v", observed.Unknown)
	}
	for _, unknown := range observed.Unknown {
		if !strings.HasSuffix(unknown.Why, want[unknown.Subject]) || want[unknown.Subject] == "" {
			t.Errorf("%+v, want it to end in %q", unknown, want[unknown.Subject])
		}
	}
	if len(observed.Issuers) != 0 {
		t.Errorf("an issuer that could not be listed is said to be absent: %+v", observed.Issuers)
	}
}

func TestBundleThatIsReadInPartIsUnknown(t *testing.T) {
	root := newRoot(t, "Root")
	cases := map[string]struct {
		source any
		why    string
	}{
		"no PEM":                  {map[string]any{"inLine": "rubble"}, "source 3: no PEM block"},
		"half PEM":                {map[string]any{"inLine": string(root.PEM()) + "-----BEGIN CERTIFICATE-----\nrubble"}, "source 3: PEM block 2 is malformed"},
		"a Secret":                {map[string]any{"secret": map[string]any{"name": "ca", "key": "tls.crt"}}, "source 3: secret: what it adds"},
		"a ConfigMap":             {map[string]any{"configMap": map[string]any{"name": "ca", "includeAllKeys": true}}, "source 3: configMap: what it adds"},
		"public CAs, or what":     {map[string]any{"useDefaultCAs": "yes"}, "source 3: useDefaultCAs: what it adds"},
		"inline and more":         {map[string]any{"inLine": string(root.PEM()), "secret": map[string]any{"name": "ca"}}, "source 3: secret: what it adds"},
		"of a kind still to come": {map[string]any{"vault": "pki"}, "source 3: vault: what it adds"},
		"no source at all":        {"rubble", "it is not understood"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			object := bundleObject(t, "trust", "ca.crt", "fleet", string(root.PEM()))
			sources, _, _ := unstructured.NestedSlice(object.Object, "spec", "sources")
			if err := unstructured.SetNestedSlice(object.Object, append(sources, c.source), "spec", "sources"); err != nil {
				t.Fatal(err)
			}
			observed := observe(t, desiredFleet(), nil, object)
			if len(observed.Unknown) != 1 || observed.Unknown[0].Subject != "Bundle trust" || !strings.Contains(observed.Unknown[0].Why, c.why) {
				t.Fatalf("unknown %+v, want %q", observed.Unknown, c.why)
			}
			if len(observed.Bundles) != 0 {
				t.Fatalf("a part of its anchors is taken for all: %+v", observed.Bundles)
			}
		})
	}
}

func TestBundlesThatGitNamesCountWhateverTheirLabels(t *testing.T) {
	root, next := newRoot(t, "Root"), newRoot(t, "Next")
	labelled := func(name string, labels map[string]string, sources ...string) *unstructured.Unstructured {
		object := bundleObject(t, name, "ca.crt", "fleet", sources...)
		object.SetLabels(labels)
		return object
	}
	former := map[string]string{v1alpha1.LabelDomainName: "former", v1alpha1.LabelDomainNamespace: "reanchor-system"}
	for name, labels := range map[string]map[string]string{"of the domain's former name": former, "none": nil} {
		t.Run(name, func(t *testing.T) {
			observed := observe(t, desiredFleet(), nil,
				labelled("trust", labels, string(root.PEM())+string(next.PEM())),
				labelled("foreign", labels, "rubble"))
			if len(observed.Unknown) != 0 || len(observed.Bundles) != 1 || observed.Bundles[0].Name != "trust" || len(observed.Bundles[0].Anchors) != 2 {
				t.Fatalf("bundles %+v, unknown %+v", observed.Bundles, observed.Unknown)
			}
		})
	}
}

func TestBundleIsSeenInItsPresentGeneration(t *testing.T) {
	root := newRoot(t, "Root")
	for _, c := range []struct {
		kind     string
		observed int64
		want     bool
	}{{"Synced", 3, true}, {"Synced", 2, false}, {"Other", 3, false}} {
		object := bundleObject(t, "trust", "ca.crt", "fleet", string(root.PEM()))
		object.SetGeneration(3)
		object.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": c.kind, "status": "False", "observedGeneration": c.observed}}}
		if got := observe(t, desiredFleet(), nil, object).Bundles; len(got) != 1 || got[0].Seen != c.want {
			t.Errorf("%+v: bundles %+v", c, got)
		}
	}
}

func TestWhatIsRefusedInPassingIsAnError(t *testing.T) {
	answers := map[string]error{
		"too many requests": apierrors.NewTooManyRequests("slow down", 1),
		"internal error":    apierrors.NewInternalError(errors.New("etcdserver: leader changed")),
		"unavailable":       apierrors.NewServiceUnavailable("busy"),
		"timeout":           apierrors.NewTimeoutError("too late", 1),
		"unauthorized":      apierrors.NewUnauthorized("the token expired"),
	}
	for name, answer := range answers {
		for _, list := range []client.ObjectList{&certmanagerv1.ClusterIssuerList{}, &corev1.ConfigMapList{}, &corev1.PodList{}} {
			t.Run(fmt.Sprintf("%s of %T", name, list), func(t *testing.T) {
				cluster, _ := newCluster(t, func(asked client.ObjectList) error {
					if reflect.TypeOf(asked) == reflect.TypeOf(list) {
						return answer
					}
					return nil
				}, namespace("a", "fleet"))
				observed, err := (&Observer{Reader: cluster}).Observe(t.Context(), fleet, desiredFleet(), nil)
				if !errors.Is(err, answer) || !strings.HasPrefix(err.Error(), "list ") || !strings.Contains(err.Error(), "the next turn asks again") {
					t.Fatalf("error %v", err)
				}
				if !reflect.DeepEqual(observed, planner.Observed{}) {
					t.Fatalf("observed %+v", observed)
				}
			})
		}
	}
}

func TestABrokenConnectionIsAnError(t *testing.T) {
	broken := errors.New("connection refused")
	cluster, _ := newCluster(t, func(client.ObjectList) error { return broken })
	if _, err := (&Observer{Reader: cluster}).Observe(t.Context(), fleet, desiredFleet(), nil); !errors.Is(err, broken) {
		t.Fatalf("error %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cluster, _ = newCluster(t, func(client.ObjectList) error { return apierrors.NewTimeoutError("too late", 1) })
	if _, err := (&Observer{Reader: cluster}).Observe(ended, fleet, desiredFleet(), nil); err == nil {
		t.Fatal("an observation that was cancelled is taken for a finished one")
	}
}

// mounting is a pod's spec that mounts the bundle trust.
const mounting = `{containers: [{name: c, image: i, volumeMounts: [{name: t, mountPath: /t}]}], volumes: [{name: t, configMap: {name: trust}}]}`

func pod(t *testing.T, name, ownerKind, owner string, annotations map[string]string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, Annotations: annotations},
		Spec:       *decode[corev1.PodSpec](t, mounting),
	}
	if owner != "" {
		p.OwnerReferences = controlledBy(ownerKind, owner)
	}
	return p
}

func controlledBy(kind, name string) []metav1.OwnerReference {
	controls := true
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, UID: types.UID(kind + " " + name), Controller: &controls}}
}

func TestWorkloadsAndTheirPods(t *testing.T) {
	digest := map[string]string{v1alpha1.AnnotationBundleSHA256: "d1"}
	deployment := decode[appsv1.Deployment](t, `{metadata: {namespace: a, name: web, uid: Deployment web, annotations: {reanchor.dev/reloads: 90s}},
  spec: {replicas: 2, paused: true, template: {metadata: {annotations: {reanchor.dev/bundle-sha256: d1}}, spec: `+mounting+`}},
  status: {replicas: 2, updatedReplicas: 2, availableReplicas: 2}}`)
	daemon := decode[appsv1.DaemonSet](t, `{metadata: {namespace: a, name: agent, uid: DaemonSet agent}, spec: {template: {metadata: {annotations: {reanchor.dev/reloads: "true"}}, spec: `+mounting+`}},
  status: {desiredNumberScheduled: 1, currentNumberScheduled: 1}}`)
	stateful := decode[appsv1.StatefulSet](t, `{metadata: {namespace: unlabelled, name: db, uid: StatefulSet db}, spec: {template: {spec: `+mounting+`}}}`)
	replicaSet := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web-1", UID: "ReplicaSet web-1", OwnerReferences: controlledBy("Deployment", "web")}}
	going := pod(t, "web-going", "ReplicaSet", "web-1", nil)
	going.DeletionTimestamp, going.Finalizers = &metav1.Time{Time: epoch}, []string{"x"}
	going.Status.Phase = corev1.PodRunning
	bare := pod(t, "bare", "", "", nil) // Pending as a whole, and yet a container runs
	bare.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	done := pod(t, "web-done", "ReplicaSet", "web-1", nil)
	done.Status.Phase = corev1.PodFailed
	got := observe(t, desiredFleet(), nil, namespace("a", "fleet"), namespace("unlabelled", "no"), deployment, daemon, stateful, replicaSet,
		pod(t, "web-1", "ReplicaSet", "web-1", digest), going, done,
		pod(t, "web-x", "ReplicaSet", "web-1", map[string]string{v1alpha1.AnnotationBundleSHA256: "d1", v1alpha1.AnnotationLeavesSHA256: ""}),
		pod(t, "agent-1", "DaemonSet", "agent", nil), pod(t, "job-1", "Job", "job", nil), bare).Workloads
	trust := []planner.Mount{{Name: "trust", Kind: planner.MountVolume}}
	want := []planner.Workload{
		{Kind: "DaemonSet", Ref: planner.Ref{Namespace: "a", Name: "agent"}, Bundles: trust, Reloads: 2 * time.Minute, Rolling: true, Pods: 1, Bearing: 1},
		{Kind: "Pod", Ref: planner.Ref{Namespace: "a", Name: "bare"}, Bundles: trust, Pods: 1, Started: 1, Bearing: 1},
		{Kind: "Pod", Ref: planner.Ref{Namespace: "a", Name: "job-1"}, Bundles: trust, Pods: 1, Bearing: 1},
		{Kind: "Deployment", Ref: planner.Ref{Namespace: "a", Name: "web"}, Bundles: trust, Reloads: 90 * time.Second, BundleDigest: "d1", Paused: true, Pods: 3, Started: 1, Bearing: 1},
		{Kind: "StatefulSet", Ref: planner.Ref{Namespace: "unlabelled", Name: "db"}, Bundles: trust, Rolling: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("workloads %+v\nwant %+v", got, want)
	}
}

// TestPodsThatNothingWeCanRestartRuns are workloads by themselves, under the names by
// which somebody can delete them; those of a Job that ended hold nothing.
func TestPodsThatNothingWeCanRestartRuns(t *testing.T) {
	set := func(name string, owners []metav1.OwnerReference) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, UID: types.UID("ReplicaSet " + name), OwnerReferences: owners}}
	}
	ended := func(name string, phase corev1.PodPhase) *corev1.Pod {
		p := pod(t, name, "Job", "backup-29000000", nil)
		p.Status.Phase = phase
		return p
	}
	got := observe(t, desiredFleet(), nil,
		pod(t, "backup-29000000-x1", "Job", "backup-29000000", map[string]string{v1alpha1.AnnotationOwnCA: v1alpha1.OwnCAUnused}),
		ended("backup-29000000-x2", corev1.PodSucceeded), ended("backup-29000000-x3", corev1.PodFailed),
		set("alone", nil), pod(t, "alone-x1", "ReplicaSet", "alone", nil), pod(t, "alone-x2", "ReplicaSet", "alone", nil),
		set("rollout-1", controlledBy("Rollout", "rollout")), pod(t, "rollout-1-x1", "ReplicaSet", "rollout-1", nil),
		pod(t, "deleted-1-x1", "ReplicaSet", "deleted-1", nil),
	).Workloads
	trust := []planner.Mount{{Name: "trust", Kind: planner.MountVolume}}
	var want []planner.Workload
	for _, name := range []string{"alone-x1", "alone-x2", "backup-29000000-x1", "deleted-1-x1", "rollout-1-x1"} {
		want = append(want, planner.Workload{
			Kind: "Pod", Ref: planner.Ref{Namespace: "a", Name: name}, Bundles: trust, Pods: 1, Bearing: 1, OwnCAUnused: name == "backup-29000000-x1",
		})
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("workloads %+v\nwant %+v", got, want)
	}
}

func TestOldestStart(t *testing.T) {
	deployment := decode[appsv1.Deployment](t, `{metadata: {namespace: a, name: web, uid: Deployment web}, spec: {template: {spec: `+mounting+`}}}`)
	replicaSet := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web-1", UID: "ReplicaSet web-1", OwnerReferences: controlledBy("Deployment", "web")}}
	created := func(name string, minute int, phase corev1.PodPhase) *corev1.Pod {
		p := pod(t, name, "ReplicaSet", "web-1", nil)
		p.CreationTimestamp = metav1.NewTime(epoch.Add(time.Duration(minute) * time.Minute).In(time.FixedZone("east", 3600)))
		p.Status.Phase = phase
		return p
	}
	got := observe(t, desiredFleet(), nil, deployment, replicaSet,
		created("x", 5, corev1.PodRunning), created("y", 3, corev1.PodPending), created("z", 1, corev1.PodSucceeded)).Workloads
	if len(got) != 1 || got[0].OldestStart != epoch.Add(3*time.Minute) {
		t.Fatalf("workloads %+v", got)
	}
}

func TestVerifierInANamespaceThatGetsNoCopy(t *testing.T) {
	deployment := decode[appsv1.Deployment](t, `{metadata: {namespace: lost, name: client}, spec: {template: {spec: `+mounting+`}}}`)
	secretOnly := decode[appsv1.Deployment](t, `{metadata: {namespace: lost, name: other}, spec: {template: {spec: {containers: [{name: c, image: i}], volumes: [{name: t, secret: {secretName: trust}}]}}}}`)
	observed := observe(t, desiredFleet(), nil, namespace("lost", "typo"), deployment, secretOnly)
	if len(observed.Copies) != 0 || len(observed.Workloads) != 1 || observed.Workloads[0].String() != "Deployment lost/client" {
		t.Fatalf("copies %+v, workloads %+v", observed.Copies, observed.Workloads)
	}
}

func TestWorkloadThatPresentsALeaf(t *testing.T) {
	root := newRoot(t, "Root")
	leaf := certificateOf(planner.Ref{Namespace: "plant", Name: "broker"}, "fleet", 1, root.leaf(2, 1))
	stateful := decode[appsv1.StatefulSet](t, `{metadata: {namespace: plant, name: broker}, spec: {template: {spec: {containers: [{name: c, image: i}],
  volumes: [{name: t, secret: {secretName: broker-tls}}, {name: o, secret: {secretName: other}}]}}}}`)
	got := observe(t, desiredFleet(), nil, leaf, stateful).Workloads
	if len(got) != 1 || !reflect.DeepEqual(got[0].Secrets, []planner.Mount{{Name: "broker-tls", Kind: planner.MountVolume, OwnCA: planner.OwnCAVisible}}) || got[0].Bundles != nil {
		t.Fatalf("workloads %+v", got)
	}
}

func TestReloads(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "true": 2 * time.Minute, "90s": 90 * time.Second, "soon": 0, "-1s": 0, "false": 0, "0s": 0,
	} {
		if got := reloads(map[string]string{v1alpha1.AnnotationReloads: value}); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestRolling(t *testing.T) {
	for status, want := range map[string]bool{
		`{observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2}`: false,
		`{observedGeneration: 1, replicas: 2, updatedReplicas: 2, availableReplicas: 2}`: true,
		`{observedGeneration: 2, replicas: 3, updatedReplicas: 2, availableReplicas: 2}`: true,
		`{observedGeneration: 2, replicas: 2, updatedReplicas: 1, availableReplicas: 2}`: true,
		`{observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 1}`: true,
	} {
		meta := `{metadata: {generation: 2}, spec: {replicas: 2}, status: ` + status + `}`
		if got := deploymentRolls(decode[appsv1.Deployment](t, meta)); got != want {
			t.Errorf("Deployment %s: %v", status, got)
		}
		if got := statefulSetRolls(decode[appsv1.StatefulSet](t, meta)); got != want {
			t.Errorf("StatefulSet %s: %v", status, got)
		}
	}
	revised := decode[appsv1.StatefulSet](t, `{status: {replicas: 1, updatedReplicas: 1, availableReplicas: 1, currentRevision: a, updateRevision: b}}`)
	if !statefulSetRolls(revised) {
		t.Error("a StatefulSet between two revisions does not roll")
	}
	for status, want := range map[string]bool{
		`{observedGeneration: 2, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2}`: false,
		`{observedGeneration: 2, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 1, numberAvailable: 2}`: true,
		`{observedGeneration: 2, desiredNumberScheduled: 2, currentNumberScheduled: 1, updatedNumberScheduled: 2, numberAvailable: 2}`: true,
		`{observedGeneration: 2, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1}`: true,
		`{observedGeneration: 1, desiredNumberScheduled: 0}`:                                                                           true,
	} {
		if got := daemonSetRolls(decode[appsv1.DaemonSet](t, `{metadata: {generation: 2}, status: `+status+`}`)); got != want {
			t.Errorf("DaemonSet %s: %v", status, got)
		}
	}
}

// TestRollingOfWhatIsKeptBack has three pods of which the controller, by its owner's
// will, does not replace all.
func TestRollingOfWhatIsKeptBack(t *testing.T) {
	const tail = `replicas: 3, availableReplicas: 3, currentRevision: a, updateRevision: b}}`
	for text, want := range map[string]bool{
		`{spec: {replicas: 3, updateStrategy: {type: OnDelete}}, status: {updatedReplicas: 3, ` + tail:                                             false,
		`{spec: {replicas: 3, updateStrategy: {type: OnDelete}}, status: {updatedReplicas: 2, ` + tail:                                             true,
		`{spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}}, status: {updatedReplicas: 1, ` + tail:         false,
		`{spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}}, status: {updatedReplicas: 1, ` + tail:         true,
		`{spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 9}}}, status: {` + tail:                             false,
		`{spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}}, status: {updatedReplicas: 3, ` + tail:         true,
		`{spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 9}}}, status: {replicas: 3, availableReplicas: 2}}`: true,
	} {
		if got := statefulSetRolls(decode[appsv1.StatefulSet](t, text)); got != want {
			t.Errorf("StatefulSet %s: %v", text, got)
		}
	}
	for text, want := range map[string]bool{
		`{spec: {replicas: 3, paused: true}, status: {replicas: 3, availableReplicas: 3}}`:                      false,
		`{spec: {replicas: 3, paused: true}, status: {replicas: 4, availableReplicas: 3, updatedReplicas: 1}}`:  true,
		`{spec: {replicas: 3, paused: true}, status: {replicas: 3, availableReplicas: 2, updatedReplicas: 3}}`:  true,
		`{spec: {replicas: 3, paused: false}, status: {replicas: 3, availableReplicas: 3, updatedReplicas: 0}}`: true,
	} {
		if got := deploymentRolls(decode[appsv1.Deployment](t, text)); got != want {
			t.Errorf("Deployment %s: %v", text, got)
		}
	}
	for updated, want := range map[int]bool{2: true, 3: false} {
		text := fmt.Sprintf(`{spec: {updateStrategy: {type: OnDelete}}, status: {desiredNumberScheduled: 3, currentNumberScheduled: 3, numberAvailable: 3, updatedNumberScheduled: %d}}`, updated)
		if got := daemonSetRolls(decode[appsv1.DaemonSet](t, text)); got != want {
			t.Errorf("DaemonSet %s: %v", text, got)
		}
	}
}

func TestGatesPassThroughSorted(t *testing.T) {
	cluster, _ := newCluster(t, nil)
	given := []planner.Gate{{Name: "b", Since: epoch}, {Name: "a", Since: epoch}}
	observed, err := (&Observer{Reader: cluster}).Observe(t.Context(), fleet, planner.Desired{}, given)
	if err != nil || !reflect.DeepEqual(observed.Since, []planner.Gate{{Name: "a", Since: epoch}, {Name: "b", Since: epoch}}) || given[0].Name != "b" {
		t.Fatalf("since %+v, %v", observed.Since, err)
	}
}
