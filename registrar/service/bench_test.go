package service_test

import (
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// registrationOf a device with a key of its own.
func registrationOf(id string) admission.Decision {
	key := registrartest.Key()
	return admission.Decision{
		Verdict: admission.Register, Request: registrartest.PEM(registrartest.CSR(key, id, []string{id + ".sensors.example"})),
		Device: admission.Device{Group: "sensors", ID: id, State: v1alpha1.DeviceActive, Key: registrartest.KeyID(&key.PublicKey)},
	}
}

// BenchmarkUpdate reads one new device among 50,000, and looks a key up.
func BenchmarkUpdate(b *testing.B) {
	const fleet = 50_000
	files := map[string][]byte{}
	for n := range fleet {
		id := fmt.Sprintf("sensor-%05d", n)
		document, err := yaml.Marshal(registrationOf(id).Document())
		if err != nil {
			b.Fatal(err)
		}
		files[v1alpha1.DevicePath("sensors", id)] = document
	}
	snapshots := snapshotsOf(b, files, registrationOf("sensor-new"))
	groups := []v1alpha1.DeviceGroup{{Metadata: v1alpha1.Metadata{Name: "sensors"}}}
	before, err := inventory.Read(snapshots[0].FS(), ".", groups, nil)
	if err != nil {
		b.Fatal(err)
	}
	var after *inventory.Inventory
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if after, err = inventory.Read(snapshots[1].FS(), ".", groups, before); err != nil {
				b.Fatal(err)
			}
		}
	})
	key := registrartest.KeyID(registrartest.Key().Public())
	b.Run("holder", func(b *testing.B) {
		for b.Loop() {
			if _, held := after.Holder(key); held {
				b.Fatal("a stranger's key is held")
			}
		}
	})
}

// snapshotsOf a repository before and after one more device.
func snapshotsOf(b *testing.B, files map[string][]byte, further admission.Decision) []*gitsource.Snapshot {
	b.Helper()
	remote := serveGit(b)
	document, err := yaml.Marshal(further.Document())
	if err != nil {
		b.Fatal(err)
	}
	repository, err := gitsource.Open(b.TempDir(), gitsource.Remote{URL: remote.URL, Branch: "main", Username: remote.Username, Password: remote.Password, CA: remote.CA})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(repository.Close)
	var snapshots []*gitsource.Snapshot
	for _, step := range []map[string][]byte{files, {v1alpha1.DevicePath("sensors", further.Device.ID): document}} {
		snapshot, err := repository.Push(b.Context(), nil, gitsource.Commit{Author: gitsource.Author{Name: "a", Email: "a@example.com"}, Message: "Devices", When: time.Now(), Files: step})
		if err != nil {
			b.Fatal(err)
		}
		snapshots = append(snapshots, snapshot)
	}
	return snapshots
}
