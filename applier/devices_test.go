package applier

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// stampedFor is an object as the device lane stamps it.
func stampedFor(kind, id string) *unstructured.Unstructured {
	made := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "cert-manager.io/v1", "kind": kind, "spec": map[string]any{"duration": "2160h"}}}
	made.SetNamespace("plant")
	made.SetName("sensors-" + id)
	made.SetLabels(map[string]string{v1alpha1.LabelDeviceGroup: "sensors"})
	made.SetAnnotations(map[string]string{v1alpha1.AnnotationDevice: id})
	return made
}

// standingRequest is a CertificateRequest of the cluster.
func standingRequest(id string) *certmanagerv1.CertificateRequest {
	return &certmanagerv1.CertificateRequest{ObjectMeta: metav1.ObjectMeta{
		Namespace: "plant", Name: "sensors-" + id, UID: types.UID("uid " + id),
		Labels: map[string]string{v1alpha1.LabelDeviceGroup: "sensors", v1alpha1.LabelDomainName: fleet.Name, v1alpha1.LabelDomainNamespace: fleet.Namespace},
	}}
}

// refusing is a cluster that refuses to create or delete what has one of these names.
func refusing(cluster client.Client, with map[string]error) client.Client {
	return interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			if err := with[object.GetName()]; err != nil {
				return err
			}
			return c.Create(ctx, object, options...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			if err := with[object.GetName()]; err != nil {
				return err
			}
			return c.Delete(ctx, object, options...)
		},
	})
}

func TestChangeDevices(t *testing.T) {
	foreign := &certmanagerv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "sensors-taken"}}
	gone := standingRequest("gone-already")
	cluster, _ := newCluster(t, nil, standingRequest("there"), standingRequest("old"), standingRequest("confirming"), foreign)
	a := &Applier{Reader: cluster, Writer: cluster}
	result, err := a.ChangeDevices(t.Context(), fleet, DeviceChanges{
		Apply: []*unstructured.Unstructured{
			stampedFor("CertificateRequest", "new"), stampedFor("CertificateRequest", "there"), stampedFor("Certificate", "made"), stampedFor("Certificate", "taken"),
		},
		Confirm: []Confirmed{
			{Request: planner.Ref{Namespace: "plant", Name: "sensors-confirming"}, UID: "uid confirming", Text: `{"at":"2026-01-01T00:00:00Z"}`},
			{Request: planner.Ref{Namespace: "plant", Name: "sensors-nobody"}, UID: "x", Text: "{}"},
		},
		Remove: []client.Object{standingRequest("old"), gone},
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.Written != 6 || !slices.Equal(result.Outdated, []int{1}) || len(result.Refused) != 1 || !strings.Contains(result.Refused[3], "is not this device's: delete it once nobody needs it") {
		t.Errorf("%+v", result)
	}
	var requests certmanagerv1.CertificateRequestList
	if err := cluster.List(t.Context(), &requests); err != nil {
		t.Fatal(err)
	}
	standing := map[string]certmanagerv1.CertificateRequest{}
	for _, request := range requests.Items {
		standing[request.Name] = request
	}
	if _, there := standing["sensors-old"]; there || len(standing) != 3 {
		t.Errorf("%d requests stand, the old one among them: %v", len(standing), there)
	}
	if made := standing["sensors-new"]; made.Labels[v1alpha1.LabelDomainName] != fleet.Name || made.Annotations[v1alpha1.AnnotationDevice] != "new" {
		t.Errorf("made is %+v", made.ObjectMeta)
	}
	if told := standing["sensors-confirming"].Annotations[v1alpha1.AnnotationConfirmed]; told != `{"at":"2026-01-01T00:00:00Z"}` {
		t.Errorf("confirmed is %q", told)
	}
}

// What the cluster has against one object is that one's; what may be over the next time is an
// error, and keeps no other back either.
func TestADeviceThatIsRefusedKeepsNoOtherBack(t *testing.T) {
	group := schema.GroupResource{Group: "cert-manager.io", Resource: "certificaterequests"}
	webhook := apierrors.NewForbidden(group, "x", errors.New(`admission webhook "webhook.cert-manager.io" denied the request: spec.request: Invalid value`))
	for name, test := range map[string]struct {
		answer  error
		refused bool
		want    string
	}{
		"invalid":            {apierrors.NewInvalid(schema.GroupKind{Kind: "CertificateRequest"}, "x", nil), true, "is invalid"},
		"a webhook says no":  {webhook, true, "denied the request"},
		"the account may no": {apierrors.NewForbidden(group, "x", errors.New("not granted")), false, "not granted"},
		"busy":               {apierrors.NewTooManyRequests("later", 1), false, "later"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, _ := newCluster(t, nil)
			a := &Applier{Reader: cluster, Writer: refusing(cluster, map[string]error{"sensors-bad": test.answer})}
			result, err := a.ChangeDevices(t.Context(), fleet, DeviceChanges{Apply: []*unstructured.Unstructured{stampedFor("CertificateRequest", "bad"), stampedFor("CertificateRequest", "good")}})
			told := result.Refused[0]
			if err != nil {
				told = err.Error()
			}
			if (err == nil) != test.refused || len(result.Refused) == 1 != test.refused || !strings.Contains(told, test.want) || result.Written != 1 {
				t.Errorf("%+v, %v", result, err)
			}
			if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: "plant", Name: "sensors-good"}, &certmanagerv1.CertificateRequest{}); err != nil {
				t.Errorf("the other one: %v", err)
			}
		})
	}
}

// A removal means the object that was seen, and no later one of its name.
func TestARemovalOfADeviceNamesTheObjectThatItMeans(t *testing.T) {
	var asked []client.DeleteOption
	cluster, _ := newCluster(t, nil, standingRequest("old"))
	writer := interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
		Delete: func(_ context.Context, _ client.WithWatch, _ client.Object, options ...client.DeleteOption) error {
			asked = options
			return nil
		},
	})
	a := &Applier{Reader: cluster, Writer: writer}
	if _, err := a.ChangeDevices(t.Context(), fleet, DeviceChanges{Remove: []client.Object{standingRequest("old")}}); err != nil {
		t.Fatal(err)
	}
	var said client.DeleteOptions
	said.ApplyOptions(asked)
	if said.Preconditions == nil || *said.Preconditions.UID != "uid old" {
		t.Errorf("%+v", said)
	}
}

// A fleet that fails as a whole fills no log.
func TestAFleetThatFailsIsToldInShort(t *testing.T) {
	answers, changes := map[string]error{}, DeviceChanges{}
	for _, id := range strings.Split("abcdefghijklmnop", "") {
		answers["sensors-"+id] = apierrors.NewInternalError(errors.New("no leader"))
		changes.Apply = append(changes.Apply, stampedFor("CertificateRequest", id))
	}
	cluster, _ := newCluster(t, nil)
	a := &Applier{Reader: cluster, Writer: refusing(cluster, answers)}
	_, err := a.ChangeDevices(t.Context(), fleet, changes)
	if err == nil || strings.Count(err.Error(), "no leader") != maxTold || !strings.HasSuffix(err.Error(), "and 6 more") {
		t.Errorf("%v", err)
	}
}

// What lies where the devices' objects are made no more stays if it may not be deleted there.
func TestWhatIsDiscardedMayStay(t *testing.T) {
	group := schema.GroupResource{Group: "cert-manager.io", Resource: "certificaterequests"}
	for name, test := range map[string]struct {
		answer error
		fails  bool
	}{
		"deleted":            {nil, false},
		"the account may no": {apierrors.NewForbidden(group, "old", errors.New("not granted")), false},
		"busy":               {apierrors.NewTooManyRequests("later", 1), true},
	} {
		t.Run(name, func(t *testing.T) {
			asked := ""
			cluster, _ := newCluster(t, nil, standingRequest("old"))
			writer := interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
				Delete: func(_ context.Context, _ client.WithWatch, object client.Object, _ ...client.DeleteOption) error {
					asked = object.GetName()
					return test.answer
				},
			})
			a := &Applier{Reader: cluster, Writer: writer}
			result, err := a.ChangeDevices(t.Context(), fleet, DeviceChanges{Discard: []client.Object{standingRequest("old")}})
			if (err != nil) != test.fails || asked != standingRequest("old").Name {
				t.Errorf("asked to delete %q: %v", asked, err)
			}
			if deleted := test.answer == nil; (result.Written == 1) != deleted {
				t.Errorf("%+v", result)
			}
			if forbidden := apierrors.IsForbidden(test.answer); forbidden != strings.Contains(result.Forbidden[0], "not granted") {
				t.Errorf("%+v", result)
			}
		})
	}
}

// Of two that merge what is known of a device, each from what it has read, the second is told
// to read again; and what a device said meanwhile keeps its request from being deleted.
func TestWhatAnotherHasWrittenOnARequestIsNotWrittenOver(t *testing.T) {
	cluster, _ := newCluster(t, nil, standingRequest("one"))
	a := &Applier{Reader: cluster, Writer: cluster}
	read := standingRequest("one")
	if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(read), read); err != nil {
		t.Fatal(err)
	}
	confirm := func(text string) DeviceResult {
		t.Helper()
		result, err := a.ChangeDevices(t.Context(), fleet, DeviceChanges{Confirm: []Confirmed{
			{Request: refOf(read), UID: read.UID, ResourceVersion: read.ResourceVersion, Text: text},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	if first := confirm("first"); first.Written != 1 || len(first.Outdated) != 0 {
		t.Errorf("the first: %+v", first)
	}
	if second := confirm("second"); second.Written != 0 || !slices.Equal(second.Outdated, []int{0}) {
		t.Errorf("the second: %+v", second)
	}
	result, err := a.ChangeDevices(t.Context(), fleet, DeviceChanges{Remove: []client.Object{read}})
	if err != nil || result.Written != 0 {
		t.Errorf("the removal: %+v, %v", result, err)
	}
	var seen certmanagerv1.CertificateRequest
	if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(read), &seen); err != nil || seen.Annotations[v1alpha1.AnnotationConfirmed] != "first" {
		t.Errorf("it says %q, %v", seen.Annotations[v1alpha1.AnnotationConfirmed], err)
	}
}
