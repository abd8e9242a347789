//go:build e2e

package applier_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/planner"
)

// mayDoAll is a client of an account of which no role keeps anything: what it is refused,
// a policy refuses.
func mayDoAll(t *testing.T, account string) client.Client {
	t.Helper()
	config := rest.CopyConfig(e2e.cluster.Config())
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:elsewhere:" + account, Groups: []string{"system:masters"}}
	made, err := client.New(config, client.Options{Scheme: e2e.client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

const (
	changesNoWorkload = "reanchor changes nothing of a workload but the annotations by which it restarts it"
	deletesNoSecret   = "reanchor deletes no Secret but those that cert-manager wrote for a Certificate of the same name"
)

// refuses waits until a policy is in force, which takes the API server a moment.
func (s *story) refuses(words string, write func() error) {
	s.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		last = write()
		return last != nil && strings.Contains(last.Error(), words), nil
	})
	if err != nil {
		s.Fatalf("the policy is not in force: %v", last)
	}
}

// workload is one of each kind that can be restarted, in a namespace of its own.
func workload(kind string) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: %s, metadata: {name: theirs, namespace: policed, labels: {app: theirs}, annotations: {note: theirs}},
  spec: {selector: {matchLabels: {app: theirs}}, template: {metadata: {labels: {app: theirs}, annotations: {note: theirs, reanchor.dev/reloads: "true"}}, spec: {containers: [{name: one, image: theirs}]}}}}`, kind)
}

func patched(kind string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: "policed", Name: "theirs"},
	}
}

func merge(patch string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(patch)) }

// TestWorkloadsStayAsTheyAre but for the annotations of a restart, whatever the account may
// do besides.
func TestWorkloadsStayAsTheyAre(t *testing.T) {
	s := newStory(t)
	s.create(`{apiVersion: v1, kind: Namespace, metadata: {name: policed}}`)
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		t.Run(kind, func(t *testing.T) {
			s := *s
			s.T = t
			s.create(workload(kind))
			s.workloadIsGuarded(kind)
			s.workloadIsRestarted(kind)
		})
	}
	s.nativeWorkloadsAreRefused()
	s.noWarnings("reanchor-workloads", "reanchor-secrets", "reanchor-config-maps")
}

func (s *story) workloadIsGuarded(kind string) {
	s.Helper()
	controller, other := mayDoAll(s.T, controllerAccount), mayDoAll(s.T, "reanchor-fleet")
	s.refuses(changesNoWorkload, func() error {
		return controller.Patch(s.Context(), patched(kind), merge(`{"spec": {"minReadySeconds": 1}}`), client.DryRunAll)
	})
	for what, patch := range map[string]string{
		"the image":                        `{"spec": {"template": {"spec": {"containers": [{"name": "one", "image": "mine"}]}}}}`,
		"the image, with a restart":        `{"spec": {"template": {"metadata": {"annotations": {"reanchor.dev/bundle-sha256": "aa"}}, "spec": {"containers": [{"name": "one", "image": "mine"}]}}}}`,
		"the service account":              `{"spec": {"template": {"spec": {"serviceAccountName": "mine"}}}}`,
		"a field that was not there":       `{"spec": {"template": {"spec": {"hostNetwork": true}}}}`,
		"a field of the spec":              `{"spec": {"revisionHistoryLimit": 3}}`,
		"the labels":                       `{"metadata": {"labels": {"app": "mine"}}}`,
		"an annotation of the object":      `{"metadata": {"annotations": {"reanchor.dev/bundle-sha256": "aa"}}}`,
		"another's note on the object":     `{"metadata": {"annotations": {"note": null}}}`,
		"a finalizer":                      `{"metadata": {"finalizers": ["reanchor.dev/mine"]}}`,
		"an owner":                         `{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]}}`,
		"no labels":                        `{"metadata": {"labels": null}}`,
		"a label of the template":          `{"spec": {"template": {"metadata": {"labels": {"more": "mine"}}}}}`,
		"another's annotation":             `{"spec": {"template": {"metadata": {"annotations": {"note": "mine"}}}}}`,
		"another's annotation away":        `{"spec": {"template": {"metadata": {"annotations": {"note": null}}}}}`,
		"no annotations":                   `{"spec": {"template": {"metadata": {"annotations": null}}}}`,
		"what the owner says of reanchor":  `{"spec": {"template": {"metadata": {"annotations": {"reanchor.dev/reloads": "1h"}}}}}`,
		"an annotation that somebody uses": `{"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "true"}}}}}`,
	} {
		err := controller.Patch(s.Context(), patched(kind), merge(patch), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), changesNoWorkload) {
			s.Errorf("%s: %v", what, err)
		}
		if err := other.Patch(s.Context(), patched(kind), merge(patch), client.DryRunAll); err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			s.Errorf("%s, by an account that the controller acts as: %v", what, err)
		}
	}
	made := parse(s, strings.Replace(workload(kind), "name: theirs", "name: mine", 1))[0]
	for what, err := range map[string]error{
		"make one":   controller.Create(s.Context(), made.DeepCopy(), client.DryRunAll),
		"delete one": controller.Delete(s.Context(), patched(kind), client.DryRunAll),
	} {
		if err == nil || !strings.Contains(err.Error(), changesNoWorkload) {
			s.Errorf("%s: %v", what, err)
		}
	}
	if err := other.Create(s.Context(), made.DeepCopy(), client.DryRunAll); err != nil {
		s.Errorf("make one as an account that the controller acts as: %v", err)
	}
}

// workloadIsRestarted by an action: the first time, and when it bears annotations already.
func (s *story) workloadIsRestarted(kind string) {
	s.Helper()
	restart := planner.Action{Kind: planner.ActionRestart, Workload: kind, Subject: planner.Ref{Namespace: "policed", Name: "theirs"}}
	for _, digests := range [][2]string{{"aa", ""}, {"bb", "cc"}, {"", "dd"}} {
		restart.BundleDigest, restart.LeavesDigest = digests[0], digests[1]
		if outcome := s.act(restart); !outcome.Done {
			s.Fatalf("outcome %+v", outcome)
		}
	}
	var live unstructured.Unstructured
	live.SetAPIVersion("apps/v1")
	live.SetKind(kind)
	if err := e2e.admin.Get(s.Context(), client.ObjectKey{Namespace: "policed", Name: "theirs"}, &live); err != nil {
		s.Fatal(err)
	}
	annotations, _, err := unstructured.NestedStringMap(live.Object, "spec", "template", "metadata", "annotations")
	want := map[string]string{"note": "theirs", v1alpha1.AnnotationReloads: "true", v1alpha1.AnnotationBundleSHA256: "bb", v1alpha1.AnnotationLeavesSHA256: "dd"}
	if err != nil || fmt.Sprint(annotations) != fmt.Sprint(want) {
		s.Errorf("annotations %v, %v; want %v", annotations, err, want)
	}
	s.templatesWithoutAnnotationsAreRestarted(kind, restart)
}

func (s *story) templatesWithoutAnnotationsAreRestarted(kind string, restart planner.Action) {
	s.Helper()
	bare := strings.Replace(strings.Replace(workload(kind), "name: theirs", "name: bare", 1), `, annotations: {note: theirs, reanchor.dev/reloads: "true"}`, "", 1)
	s.create(bare)
	restart.Subject.Name = "bare"
	if outcome := s.act(restart); !outcome.Done {
		s.Fatalf("outcome %+v", outcome)
	}
}

// nativeWorkloadsAreRefused where a repository holds a workload among its native manifests,
// one that is there or a new one.
func (s *story) nativeWorkloadsAreRefused() {
	s.Helper()
	there := `{apiVersion: apps/v1, kind: Deployment, metadata: {name: theirs, namespace: policed}, spec: {template: {spec: {hostNetwork: true}}}}`
	for manifest, says := range map[string]string{
		there: changesNoWorkload,
		strings.Replace(workload("Deployment"), "name: theirs", "name: mine", 1): `cannot create resource "deployments" in API group "apps"`,
	} {
		result, err := s.applier.Apply(s.Context(), s.domain, parse(s, manifest), applier.Options{})
		if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says) {
			s.Errorf("result %+v, %v; want it to say %q", result, err, says)
			continue
		}
		s.Log(err)
	}
	var live appsv1.Deployment
	if err := e2e.admin.Get(s.Context(), client.ObjectKey{Namespace: "policed", Name: "theirs"}, &live); err != nil || live.Spec.Template.Spec.HostNetwork {
		s.Errorf("the Deployment is %+v, %v", live.Spec, err)
	}
}

// noWarnings makes sure that the API server finds nothing wrong with the policies' types.
func (s *story) noWarnings(policies ...string) {
	s.Helper()
	for _, name := range policies {
		var policy unstructured.Unstructured
		policy.SetAPIVersion("admissionregistration.k8s.io/v1")
		policy.SetKind("ValidatingAdmissionPolicy")
		err := wait.PollUntilContextTimeout(s.Context(), 100*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			err := e2e.admin.Get(ctx, client.ObjectKey{Name: name}, &policy)
			_, checked, _ := unstructured.NestedMap(policy.Object, "status", "typeChecking")
			return checked, err
		})
		if warnings, _, _ := unstructured.NestedSlice(policy.Object, "status", "typeChecking", "expressionWarnings"); err != nil || len(warnings) > 0 {
			s.Errorf("%s: %v, %v", name, warnings, err)
		}
	}
}

// TestSecretsOfOthersAreNotDeleted: one that cert-manager wrote for a Certificate of its
// name is, also when the Certificate is gone.
func TestSecretsOfOthersAreNotDeleted(t *testing.T) {
	s := newStory(t)
	s.create(
		`{apiVersion: v1, kind: Namespace, metadata: {name: kept}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: theirs, namespace: kept}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: annotated, namespace: kept, annotations: {note: theirs}}}`,
		`{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: own, namespace: kept}, spec: {selfSigned: {}}}`,
		`{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: root-1, namespace: kept}, spec: {isCA: true, commonName: Root, secretName: root-1, issuerRef: {name: own}}}`,
		`{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: web, namespace: kept}, spec: {dnsNames: [web.kept.svc], secretName: web-tls, issuerRef: {name: own}}}`,
	)
	for _, certificate := range []string{"root-1", "web"} {
		if err := kubectl("-n", "kept", "wait", "--for=condition=Ready", "certificate/"+certificate, "--timeout=60s"); err != nil {
			t.Fatal(err)
		}
		if err := kubectl("-n", "kept", "delete", "certificate", certificate); err != nil {
			t.Fatal(err)
		}
	}
	controller := mayDoAll(t, controllerAccount)
	s.refuses(deletesNoSecret, func() error { return controller.Delete(s.Context(), secret("theirs"), client.DryRunAll) })
	for _, name := range []string{"theirs", "annotated", "web-tls"} {
		action := planner.Action{Kind: planner.ActionDeleteSecret, Subject: planner.Ref{Namespace: "kept", Name: name}}
		_, err := s.applier.Act(s.Context(), s.domain, []planner.Action{action}, time.Now())
		if err == nil || !strings.Contains(err.Error(), deletesNoSecret) {
			t.Errorf("%s: %v", name, err)
		}
		if err := e2e.admin.Get(s.Context(), client.ObjectKeyFromObject(secret(name)), secret(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if outcome := s.act(planner.Action{Kind: planner.ActionDeleteSecret, Subject: planner.Ref{Namespace: "kept", Name: "root-1"}}); !outcome.Done {
		t.Errorf("the key's: %+v", outcome)
	}
	if err := mayDoAll(t, "reanchor-fleet").Delete(s.Context(), secret("theirs")); err != nil {
		t.Errorf("as an account that the controller acts as: %v", err)
	}
}

func secret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kept", Name: name}}
}
