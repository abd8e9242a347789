package inventory

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// A device is found with all that Git says of it, and its keys lead to it: the one that it has
// before those that others had.
func TestRegistered(t *testing.T) {
	now, old := pki.Fingerprint(sha256.Sum256([]byte("now"))), pki.Fingerprint(sha256.Sum256([]byte("old")))
	document := func(id string, superseded ...pki.Fingerprint) *fstest.MapFile {
		var keys []string
		for _, key := range superseded {
			keys = append(keys, v1alpha1.SupersededPrefix+key.String())
		}
		return &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: %s}\nspec: {group: boxes, recoveries: 1, superseded: [%s]}\n", id, strings.Join(keys, ", "))}
	}
	files := fstest.MapFS{
		"site/" + v1alpha1.DevicePath("boxes", "box-1"): document("box-1", old),
		"site/" + v1alpha1.DevicePath("boxes", "box-2"): document("box-2", old, now),
		"site/" + v1alpha1.DevicePath("boxes", "box-3"): {Data: []byte("kind: Nothing\n")},
	}
	group := v1alpha1.DeviceGroup{Metadata: v1alpha1.Metadata{Name: "boxes"}, Spec: v1alpha1.DeviceGroupSpec{Keys: v1alpha1.KeysCluster}}
	read, err := Read(files, "site", []v1alpha1.DeviceGroup{group}, nil)
	if err != nil {
		t.Fatal(err)
	}
	found, is := read.Device("site", "boxes", "box-2")
	if !is || found.ID != "box-2" || found.Recoveries != 1 || len(found.Superseded) != 2 || len(found.Blob) != 40 {
		t.Errorf("box-2 is %+v, %t (%v)", found, is, read.Problems())
	}
	for _, id := range []string{"box-3", "box-4"} {
		if found, is := read.Device("site", "boxes", id); is {
			t.Errorf("%s is %+v", id, found)
		}
	}
	for key, want := range map[pki.Fingerprint]string{old: "box-1", now: "box-2"} {
		for range 5 { // the first file, in whatever order they are looked at
			if holder, held := read.Holder(key); !held || !holder.Superseded || (holder.ID != want && key == now) {
				t.Errorf("the key of %s is held by %+v, %t", want, holder, held)
			}
		}
	}
	has, had := Holder{ID: "box-1", file: "b"}, Holder{ID: "box-2", Superseded: true, file: "a"}
	if !has.before(had) || had.before(has) {
		t.Error("who had a key comes before who has it")
	}
}

// A key that comes to be shared is found where it comes, by whoever has it, and let go of when it is not any more:
// what has not changed is not looked at, and misses nothing.
func TestSharedKeysAreFoundAsTheyCome(t *testing.T) {
	at := func(id string) string { return v1alpha1.DevicePath("sensors", id) }
	files := map[string]string{at("a"): active(t, "sensors", "a"), at("b"): active(t, "sensors", "b")}
	groups := []v1alpha1.DeviceGroup{groupNamed("sensors", v1alpha1.KeysDevice)}
	var read *Inventory
	for step, want := range []int{2, 3, 2, 4} {
		switch step {
		case 1:
			files[at("c")] = active(t, "sensors", "c")
		case 2: // with the key of a
			files[at("d")] = document("sensors", "d", withRequest(csr(t, "sensors/a")))
		case 3:
			files[at("d")] = active(t, "sensors", "d")
		}
		var err error
		if read, err = Read(tree(files), ".", groups, read); err != nil {
			t.Fatal(err)
		}
		if got := ids(read); len(got) != want || (len(read.Problems()) > 0) != (step == 2) {
			t.Errorf("step %d: %v, with %v", step, got, read.Problems())
		}
	}
}
