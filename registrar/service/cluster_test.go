package service_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/registrartest"
	"github.com/reanchor/reanchor/registrar/service"
)

// boxRequest is a request that cert-manager makes for a box's Certificate.
func boxRequest(id, csr string, status certmanagerv1.CertificateRequestStatus) *certmanagerv1.CertificateRequest {
	controls := true
	return &certmanagerv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "plant", Name: v1alpha1.DeviceObjectName("boxes", id) + "-1",
			Labels:          map[string]string{v1alpha1.LabelDomainName: domain.Name, v1alpha1.LabelDomainNamespace: domain.Namespace, v1alpha1.LabelDeviceGroup: "boxes"},
			Annotations:     map[string]string{v1alpha1.AnnotationDevice: id, certmanagerv1.CertificateRequestRevisionAnnotationKey: "1"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Certificate", Name: v1alpha1.DeviceObjectName("boxes", id), Controller: &controls}},
		},
		Spec: certmanagerv1.CertificateRequestSpec{Request: []byte(csr)}, Status: status,
	}
}

// Where cert-manager makes the key, the fleet knows a device by it, and it is read from the
// device's own Secret.
func TestKeysOfTheCluster(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	device := "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: box-1}\nspec: {group: boxes}\n"
	_, err := b.remote.Commit(t.Context(), "List a box", map[string][]byte{v1alpha1.DevicePath("boxes", "box-1"): []byte(device)})
	b.must(err)
	b.must(b.git.Refresh(t.Context()))
	key := registrartest.Key()
	leaf := b.root.Sign(registrartest.Leaf("box-1", time.Now().Add(-time.Minute), time.Now().Add(time.Hour)), key.Public())
	request := boxRequest("box-1", registrartest.PEM(registrartest.CSR(key, "box-1", nil)), certmanagerv1.CertificateRequestStatus{
		Certificate: leaf.PEM(), Conditions: []certmanagerv1.CertificateRequestCondition{{Type: certmanagerv1.CertificateRequestConditionReady, Status: certmanagermeta.ConditionTrue}},
	})
	b.cluster.Handler().OnAdd(request, true)
	stored := &certmanagerv1.Certificate{ObjectMeta: metav1.ObjectMeta{
		Namespace: "plant", Name: v1alpha1.DeviceObjectName("boxes", "box-1"), Labels: request.Labels, Annotations: map[string]string{v1alpha1.AnnotationDevice: "box-1"},
	}}
	b.cluster.Handler().OnAdd(stored, true)
	if issued, found := b.cluster.Newest(registrar.Holder{Group: "boxes", ID: "box-1"}); found {
		t.Errorf("%v is issued, and its key not stored yet", issued.Certificate)
	}
	stored = stored.DeepCopy()
	stored.Status.Revision = new(1)
	b.cluster.Handler().OnUpdate(nil, stored)
	if issued, found := b.cluster.Newest(registrar.Holder{Group: "boxes", ID: "box-1"}); !found || !issued.Certificate.Equal(leaf) {
		t.Errorf("issued is %v, %t", issued.Certificate, found)
	}
	fleet, err := b.git.Fleet()
	b.must(err)
	if holder, held := fleet.Holder(leaf.SPKI()); !held || holder.ID != "box-1" || holder.Superseded {
		t.Errorf("the key is held by %+v, %t", holder, held)
	}
	if listed, found := fleet.Device("boxes", "box-1"); !found || listed.Key != leaf.SPKI() {
		t.Errorf("the box is %+v, %t", listed, found)
	}

	der, err := x509.MarshalPKCS8PrivateKey(key)
	b.must(err)
	b.must(b.objects.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: v1alpha1.DeviceObjectName("boxes", "box-1")},
		Data:       map[string][]byte{"tls.crt": leaf.PEM(), "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})},
	}))
	keys := &service.Keys{Reader: b.objects, Git: b.git}
	if signer, err := keys.PrivateKey(t.Context(), registrar.Holder{Group: "boxes", ID: "box-1"}); err != nil || !key.PublicKey.Equal(signer.Public()) {
		t.Errorf("the key of the box: %v", err)
	}
	for _, holder := range []registrar.Holder{{Group: "boxes", ID: "box-2"}, {Group: "sensors", ID: "box-1"}} {
		if _, err := keys.PrivateKey(t.Context(), holder); err == nil {
			t.Errorf("there is a key of %s/%s", holder.Group, holder.ID)
		}
	}

	b.cluster.Handler().OnDelete(cache.DeletedFinalStateUnknown{Obj: request})
	if _, held := fleet.Holder(leaf.SPKI()); held {
		t.Error("a key is held whose request is gone")
	}
}

// A request that was refused ends the wait; one of another domain is none of ours.
func TestRefused(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	b.must(b.git.Refresh(t.Context()))
	c := b.cluster
	stranger := boxRequest("box-1", "", certmanagerv1.CertificateRequestStatus{})
	stranger.Labels[v1alpha1.LabelDomainName] = "another"
	c.Handler().OnAdd(stranger, true)
	waits := make(chan error, 1)
	go func() {
		_, err := c.Await(t.Context(), registrar.Holder{Group: "boxes", ID: "box-1"}, func(registrar.Issued) bool { return true })
		waits <- err
	}()
	c.Handler().OnUpdate(nil, boxRequest("box-1", "", certmanagerv1.CertificateRequestStatus{Conditions: []certmanagerv1.CertificateRequestCondition{{
		Type: certmanagerv1.CertificateRequestConditionReady, Status: certmanagermeta.ConditionFalse, Reason: certmanagerv1.CertificateRequestReasonFailed, Message: "it is Sunday",
	}}}))
	if err := <-waits; !errors.Is(err, registrar.ErrIssuanceFailed) || err.Error() != registrar.ErrIssuanceFailed.Error()+": it is Sunday" {
		t.Errorf("the wait ended with %v", err)
	}
}
