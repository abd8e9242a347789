package applier

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

const issuerRefPath = "spec.ports[0].tls.certManagerCertificateSpec.issuerRef.name"

// listenerOf is a BrokerListener that names the issuer old, written by a manager who owns
// those fields.
func listenerOf(t *testing.T, manager, operation, fields string) *unstructured.Unstructured {
	t.Helper()
	return &unstructured.Unstructured{Object: *decode[map[string]any](t, `
apiVersion: mqttbroker.iotoperations.azure.com/v1
kind: BrokerListener
metadata:
  namespace: azure-iot-operations
  name: default
  managedFields:
  - {manager: `+manager+`, operation: `+operation+`, apiVersion: mqttbroker.iotoperations.azure.com/v1, fieldsType: FieldsV1, fieldsV1: `+fields+`}
  - {manager: the-operator, operation: Update, subresource: status, apiVersion: mqttbroker.iotoperations.azure.com/v1, fieldsType: FieldsV1, fieldsV1: {"f:spec": {}}}
spec:
  ports:
  - {port: 1883}
  - port: 8883
    tls: {certManagerCertificateSpec: {issuerRef: {group: cert-manager.io, kind: ClusterIssuer, name: old}}}
`)}
}

// desiredReference has one that the binding fleet refers to the path given.
func desiredReference(path string) planner.Desired {
	desired := desiredFleet()
	desired.Bindings[0].Spec.References = []v1alpha1.FieldReference{{
		APIVersion: "mqttbroker.iotoperations.azure.com/v1", Kind: "BrokerListener", Namespace: "azure-iot-operations", Name: "default", FieldPath: path,
	}}
	return desired
}

const (
	onItsOwn  = `{"f:spec": {"f:ports": {'k:{"port":8883}': {"f:tls": {"f:certManagerCertificateSpec": {"f:issuerRef": {"f:name": {}}}}}}}}`
	asAWhole  = `{"f:spec": {"f:ports": {}}}`
	another   = `{"f:spec": {"f:ports": {'k:{"port":1883}': {".": {}, "f:port": {}}}}}`
	itsFields = "spec.ports[1].tls.certManagerCertificateSpec.issuerRef.name"
)

func TestReferencesAreObserved(t *testing.T) {
	for name, test := range map[string]struct {
		manager, operation, fields, path string
		want                             planner.Reference
	}{
		"a person's":                  {"kubectl-edit", "Update", onItsOwn, itsFields, planner.Reference{Value: "old"}},
		"a person's who applies":      {"kubectl", "Apply", asAWhole, itsFields, planner.Reference{Value: "old"}},
		"ours, by an earlier patch":   {"reanchor", "Update", onItsOwn, itsFields, planner.Reference{Value: "old"}},
		"the repository's own":        {"reanchor", "Apply", onItsOwn, itsFields, planner.Reference{Value: "old", Owner: `field manager "reanchor"`}},
		"another loop's":              {"kustomize-controller", "Apply", onItsOwn, itsFields, planner.Reference{Value: "old", Owner: `field manager "kustomize-controller"`}},
		"another's, the whole list":   {"az", "Update", asAWhole, itsFields, planner.Reference{Value: "old", Owner: `field manager "az"`}},
		"another's, what lies beside": {"az", "Update", another, itsFields, planner.Reference{Value: "old"}},
		"no such item":                {"kubectl", "Update", asAWhole, "spec.ports[2].tls.issuerRef.name", planner.Reference{Problem: "the object has no such field: mend the path, or take the reference out"}},
		"no such field":               {"kubectl", "Update", asAWhole, issuerRefPath, planner.Reference{Problem: "the object has no such field: mend the path, or take the reference out"}},
		"no name":                     {"kubectl", "Update", asAWhole, "spec.ports[1].tls", planner.Reference{Problem: "the field holds no name: mend the path, or take the reference out"}},
		"a number":                    {"kubectl", "Update", asAWhole, "spec.ports[1].port", planner.Reference{Problem: "the field holds no name: mend the path, or take the reference out"}},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, _ := newCluster(t, nil, listenerOf(t, test.manager, test.operation, test.fields))
			desired := desiredReference(test.path)
			observed, err := (&Observer{Reader: cluster}).Observe(t.Context(), fleet, desired, nil)
			if err != nil || len(observed.References) != 1 || len(observed.Unknown) > 0 {
				t.Fatalf("observed %+v, with the error %v", observed.References, err)
			}
			test.want.Issuer, test.want.Field = planner.Ref{Name: "fleet"}, planner.FieldOf(desired.Bindings[0].Spec.References[0])
			if test.want.Value != "" {
				test.want.IssuerKind, test.want.IssuerGroup = "ClusterIssuer", "cert-manager.io"
			}
			if observed.References[0] != test.want {
				t.Errorf("observed %+v\nwant %+v", observed.References[0], test.want)
			}
		})
	}
}

// An object that a controller owns is the controller's, whoever wrote the field.
func TestAReferenceInAnOwnedObject(t *testing.T) {
	owned := listenerOf(t, "kubectl", "Update", asAWhole)
	owned.SetOwnerReferences(controlledBy("Broker", "default"))
	cluster, _ := newCluster(t, nil, owned)
	observed, err := (&Observer{Reader: cluster}).Observe(t.Context(), fleet, desiredReference(itsFields), nil)
	if err != nil || observed.References[0].Owner != "its owner, Broker default," {
		t.Errorf("observed %+v, with the error %v", observed.References, err)
	}
}

// What is not there, or may not be read, concerns who waits for it; another failure is one.
func TestAReferenceThatCannotBeRead(t *testing.T) {
	resource := schema.GroupResource{Group: "mqttbroker.iotoperations.azure.com", Resource: "brokerlisteners"}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"not there":  {apierrors.NewNotFound(resource, "default"), "there is no such object: make it, or take the reference out"},
		"forbidden":  {apierrors.NewForbidden(resource, "default", errors.New("no role")), "it may not be read: "},
		"on its way": {apierrors.NewServiceUnavailable("soon"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			bare, _ := newCluster(t, nil)
			cluster := interceptor.NewClient(bare.(client.WithWatch), interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
					if object.GetObjectKind().GroupVersionKind().Kind == "BrokerListener" {
						return test.err
					}
					return c.Get(ctx, key, object, options...)
				},
			})
			observed, err := (&Observer{Reader: cluster}).Observe(t.Context(), fleet, desiredReference(itsFields), nil)
			if test.want == "" {
				if err == nil || !strings.Contains(err.Error(), "get BrokerListener azure-iot-operations/default") {
					t.Fatalf("the error is %v", err)
				}
				return
			}
			if err != nil || len(observed.Unknown) > 0 || len(observed.References) != 1 || !strings.HasPrefix(observed.References[0].Problem, test.want) {
				t.Errorf("observed %+v, unknown %v, with the error %v", observed.References, observed.Unknown, err)
			}
		})
	}
}

// The one field is set, if it still holds what was planned from.
func TestRepoint(t *testing.T) {
	listener := listenerOf(t, "kubectl", "Update", asAWhole)
	cluster, _ := newCluster(t, nil, listener)
	action := planner.Action{Kind: planner.ActionRepoint, Subject: refOf(listener), Field: planner.FieldOf(desiredReference(itsFields).Bindings[0].Spec.References[0]), From: "old", To: "fleet"}
	if outcome := act(t, cluster, action); !outcome.Done {
		t.Fatalf("outcome %+v", outcome)
	}
	if err := cluster.Get(t.Context(), objectKey(refOf(listener)), listener); err != nil {
		t.Fatal(err)
	}
	path, err := v1alpha1.ParseFieldPath(itsFields)
	if err != nil {
		t.Fatal(err)
	}
	if name, _ := path.In(listener.Object); name != "fleet" {
		t.Errorf("it names %v", name)
	}
	gone := action
	gone.Subject.Name = "gone"
	if outcome := act(t, cluster, gone); outcome.Done || outcome.Detail != "the object is gone" {
		t.Errorf("outcome %+v", outcome)
	}
}

// What is refused is told, and no failure.
func TestRepointIsRefused(t *testing.T) {
	bare, _ := newCluster(t, nil)
	cluster := interceptor.NewClient(bare.(client.WithWatch), interceptor.Funcs{
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "brokerlisteners"}, "default", errors.New("a policy says no"))
		},
	})
	action := planner.Action{Kind: planner.ActionRepoint, Field: planner.FieldOf(desiredReference(itsFields).Bindings[0].Spec.References[0]), From: "old", To: "fleet"}
	if outcome := act(t, cluster, action); outcome.Done || !strings.Contains(outcome.Refused, "a policy says no") {
		t.Errorf("outcome %+v", outcome)
	}
}
