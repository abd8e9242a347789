package service_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
	"github.com/reanchor/reanchor/registrar/service"
)

// Another replica has written down what a device trusts, and the watch has not told of it yet:
// what is written next is merged with that, and waits for the watch without asking again.
func TestEvidenceIsMergedWithWhatAnotherReplicaHasWritten(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	for _, id := range []string{"sensor-1", "sensor-2"} {
		b.issue(inventory.Device{Group: "sensors", ID: id, Request: registrartest.PEM(registrartest.CSR(registrartest.Key(), id, nil))})
	}
	now := time.Now().Truncate(time.Second)
	theirs := inventory.Confirmation{Anchors: []pki.Fingerprint{b.root.Fingerprint()}, At: now}
	object := b.requestOf("sensor-1")
	object.Annotations[v1alpha1.AnnotationConfirmed] = theirs.String()
	b.must(b.objects.Update(t.Context(), object))

	var patches atomic.Int32
	counting := interceptor.NewClient(b.objects.(client.WithWatch), interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, patched client.Object, patch client.Patch, options ...client.PatchOption) error {
			if patched.GetName() == object.Name {
				patches.Add(1)
			}
			return c.Patch(ctx, patched, patch, options...)
		},
	})
	evidence := service.NewEvidence(service.EvidenceOptions{
		Applier: &applier.Applier{Reader: b.objects, Writer: counting}, Cluster: b.cluster, Git: b.git, Every: 5 * time.Millisecond,
		Failed: func(err error) { t.Error(err) },
	})
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { evidence.Run(ctx) })
	t.Cleanup(func() { end(); running.Wait() })
	shows := func(id string) {
		b.must(evidence.Record(registrar.Evidence{Group: "sensors", ID: id, Credential: admission.Operational, Presented: b.root.Certificate, At: now}))
	}
	known := func(id string) inventory.Confirmation { return inventory.ConfirmationIn(b.requestOf(id).Annotations) }

	shows("sensor-1")
	b.eventually("it was tried", func() bool { return patches.Load() > 0 })
	shows("sensor-2")
	b.eventually("another device's was written after that", func() bool { return !known("sensor-2").Presented.IsZero() })
	if told := known("sensor-1"); patches.Load() != 1 || told.String() != theirs.String() {
		t.Fatalf("after %d writes the cluster says %s", patches.Load(), told)
	}
	b.request("sensor-1") // the watch tells of it
	b.eventually("both are written", func() bool {
		told := known("sensor-1")
		return told.Presented == b.root.Fingerprint() && len(told.Anchors) == 1
	})
	if patches.Load() != 2 {
		t.Errorf("it took %d writes", patches.Load())
	}
}
