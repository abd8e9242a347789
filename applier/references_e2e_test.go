//go:build e2e

package applier_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// listeners is a definition after the model of Azure IoT Operations' BrokerListener, of which
// one port is told from another by its number, and another kind whose list is one piece.
const listeners = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: brokerlisteners.mqttbroker.iotoperations.azure.com}, spec: {
  group: mqttbroker.iotoperations.azure.com, scope: Namespaced, names: {kind: BrokerListener, listKind: BrokerListenerList, plural: brokerlisteners, singular: brokerlistener},
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {
    serviceName: {type: string},
    ports: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [port], items: {type: object, required: [port], properties: {
      port: {type: integer},
      tls: {type: object, properties: {mode: {type: string}, certManagerCertificateSpec: {type: object, properties: {
        issuerRef: {type: object, properties: {group: {type: string}, kind: {type: string}, name: {type: string, maxLength: 63}}}}}}}}}}}}}}}}]}}`

const listenerPath = "spec.ports[1].tls.certManagerCertificateSpec.issuerRef.name"

func listenerNamed(name string) string {
	return fmt.Sprintf(`{apiVersion: mqttbroker.iotoperations.azure.com/v1, kind: BrokerListener, metadata: {name: %s, namespace: azure-iot-operations},
  spec: {serviceName: aio-broker, ports: [{port: 1883}, {port: 18883, tls: {mode: Automatic, certManagerCertificateSpec: {issuerRef: {group: cert-manager.io, kind: ClusterIssuer, name: old-issuer}}}}]}}`, name)
}

// referring is a domain whose binding "new-issuer" refers to these listeners.
func referring(t *testing.T, names ...string) *story {
	binding := v1alpha1.IssuerBinding{Metadata: v1alpha1.Metadata{Name: "new-issuer"}, Spec: v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: "aio"}}
	for _, name := range names {
		binding.Spec.References = append(binding.Spec.References, v1alpha1.FieldReference{
			APIVersion: "mqttbroker.iotoperations.azure.com/v1", Kind: "BrokerListener", Namespace: "azure-iot-operations", Name: name, FieldPath: listenerPath,
		})
	}
	return &story{
		T: t, domain: planner.Ref{Namespace: controllerNamespace, Name: "referring"},
		observer: &applier.Observer{Reader: e2e.client}, applier: &applier.Applier{Reader: e2e.client, Writer: e2e.client},
		desired: planner.Desired{Bindings: []v1alpha1.IssuerBinding{binding}},
	}
}

// createAs creates an object as a field manager does.
func (s *story) createAs(manager, manifest string) {
	s.Helper()
	err := wait.PollUntilContextTimeout(s.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return e2e.admin.Create(ctx, parse(s, manifest)[0], client.FieldOwner(manager)) == nil, nil // once the definition is in force
	})
	if err != nil {
		s.Fatalf("create as %s: %v", manager, err)
	}
}

func (s *story) listener(name string) *unstructured.Unstructured {
	s.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: "mqttbroker.iotoperations.azure.com", Version: "v1", Kind: "BrokerListener"})
	if err := e2e.admin.Get(s.Context(), client.ObjectKey{Namespace: "azure-iot-operations", Name: name}, object); err != nil {
		s.Fatal(err)
	}
	return object
}

// repoint is what a plan makes of an observed reference.
func repoint(reference planner.Reference) planner.Action {
	return planner.Action{Kind: planner.ActionRepoint, Subject: reference.Field.Object, Field: reference.Field, From: reference.Value, To: reference.Issuer.Name}
}

// TestReferencesInTheCluster: with the role that is shipped for it, the controller sees whose
// a field is, changes a person's and nothing beside it, and overwrites nobody.
func TestReferencesInTheCluster(t *testing.T) {
	s := referring(t, "default", "of-flux", "elsewhere")
	s.create(listeners, `{apiVersion: v1, kind: Namespace, metadata: {name: azure-iot-operations}}`)
	s.createAs("kubectl-create", listenerNamed("default"))
	s.createAs("flux", listenerNamed("of-flux"))
	before := s.observe().References
	if problem := before[0].Problem; !strings.Contains(problem, "it may not be read") {
		t.Fatalf("without a role it was read: %+v", before[0])
	}
	s.grantReferences()
	seen := s.until("the listener may be read", func(o planner.Observed) bool { return o.References[0].Problem == "" }).References
	if got := seen[0]; got.Value != "old-issuer" || got.Owner != "" || got.IssuerKind != "ClusterIssuer" {
		t.Errorf("observed %+v", got)
	}
	if got := seen[1]; got.Value != "old-issuer" || got.Owner != `field manager "flux"` {
		t.Errorf("observed %+v", got)
	}
	if got := seen[2].Problem; !strings.Contains(got, "it may not be read") && !strings.Contains(got, "no such object") {
		t.Errorf("observed %+v", seen[2])
	}
	stale := repoint(seen[0])
	stale.From = "another-issuer"
	if outcome := s.act(stale); outcome.Done || outcome.Refused == "" {
		t.Errorf("what names another issuer by now was set: %+v", outcome)
	}
	invalid := repoint(seen[0])
	invalid.To = strings.Repeat("n", 64)
	if outcome := s.act(invalid); outcome.Done || !strings.Contains(outcome.Refused, "Too long") {
		t.Errorf("what the API server refuses was set: %+v", outcome)
	}
	was := s.listener("default")
	if outcome := s.act(repoint(seen[0])); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	now := s.observe().References[0]
	if now.Value != "new-issuer" || now.Owner != "" {
		t.Errorf("afterwards %+v", now)
	}
	s.onlyTheNameChanged(was, s.listener("default"))
}

// grantReferences installs the component's role for all three listeners.
func (s *story) grantReferences() {
	s.Helper()
	if err := kubectl("apply", "--server-side", "-f", "../config/rbac/references/role.yaml"); err != nil {
		s.Fatal(err)
	}
	if err := kubectl("patch", "clusterrole", "reanchor-references", "--type=json", "-p", `[{"op": "add", "path": "/rules/0/resourceNames/-", "value": "of-flux"}]`); err != nil {
		s.Fatal(err)
	}
}

func (s *story) onlyTheNameChanged(was, now *unstructured.Unstructured) {
	s.Helper()
	path, err := v1alpha1.ParseFieldPath(listenerPath)
	if err != nil {
		s.Fatal(err)
	}
	issuerRef, _ := path[:len(path)-1].In(was.Object)
	issuerRef.(map[string]any)["name"] = "new-issuer"
	if fmt.Sprint(was.Object["spec"]) != fmt.Sprint(now.Object["spec"]) {
		s.Errorf("the listener was %v, and is %v", was.Object["spec"], now.Object["spec"])
	}
}

// TestLinkInTheCluster: cert-manager signs a new root's own request with the old root's key,
// and whoever knows the old root alone verifies with it.
func TestLinkInTheCluster(t *testing.T) {
	s := &story{
		T: t, domain: planner.Ref{Namespace: controllerNamespace, Name: "linking"},
		observer: &applier.Observer{Reader: e2e.client}, applier: &applier.Applier{Reader: e2e.client, Writer: e2e.client},
	}
	signer := planner.Ref{Namespace: "cert-manager", Name: "linked-self-signed"}
	old, next := chainKey{"cert-manager", "linked", "2025", signer}, chainKey{"cert-manager", "linked", "2026", signer}
	s.apply(applier.Options{}, append(append(old.manifests(), next.manifests()...),
		`{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: linked-self-signed, namespace: cert-manager}, spec: {selfSigned: {}}}`)...)
	keys := s.until("both roots", func(o planner.Observed) bool {
		return len(o.Keys) == 2 && o.Keys[0].Requested && o.Keys[1].Requested && o.Keys[0].SecretSeen
	}).Keys
	until := keys[0].Certificate.NotAfter().Add(-5 * time.Minute)
	ask := planner.Action{
		Kind: planner.ActionLink, Until: until,
		Subject: planner.Ref{Namespace: "cert-manager", Name: "linked-2026"}, Issuer: planner.Ref{Namespace: "cert-manager", Name: "linked-2025"},
	}
	if outcome := s.act(ask); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	link := s.until("the link", func(o planner.Observed) bool {
		return len(o.Links) == 1 && o.Links[0].State != planner.CanaryPending
	}).Links[0]
	if link.State != planner.CanarySigned || !link.Certificate.Links(keys[1].Certificate, keys[0].Certificate) || link.Certificate.NotAfter().After(keys[0].Certificate.NotAfter()) {
		t.Fatalf("the link is %+v", link)
	}
	if bridge := pki.Bridge(keys[1].Certificate, []pki.Certificate{link.Certificate}, keys[0].Certificate, time.Now()); len(bridge) != 1 {
		t.Errorf("the bridge is %v", bridge)
	}
	if leaves := s.observe().Leaves; len(leaves) > 0 {
		t.Errorf("the leaves are %+v", leaves)
	}
	s.act(planner.Action{Kind: planner.ActionUnlink, Subject: planner.Ref{Namespace: "cert-manager", Name: link.Name}})
	s.until("no link any more", func(o planner.Observed) bool { return len(o.Links) == 0 })
}
