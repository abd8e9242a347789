package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// FuzzDeviceList: a list is refused, each mistake in a line that says where, or each of its
// devices is a valid document below devices/, in a file of its own.
func FuzzDeviceList(f *testing.F) {
	folder := f.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "csr.pem"), []byte(requestOf("sensor-1")), 0o600); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"group,id,csr\nsensors,sensor-1,csr.pem\nboxes,box-1,\n", "group,id,csr\r\nboxes,\"SN 4711\",\r\n", "group,id,csr\nboxes,../../x,\nboxes,a,\nboxes,a,\n",
		"group,id,csr\nsensors,sensor-1,../../etc/passwd\nsensors,sensor-2,\"a\nb\"\n", "\ufeffgroup,id,csr\n", "group,id,csr\nboxes,\"a\n", "group,id,csr\nboxes,a\n", "group,id,csr\n", "",
		"group,id,csr\n\u202e,null,\nboxes,null,\nboxes,1e3,\nboxes,-,\n",
	} {
		f.Add([]byte(seed))
	}
	groups := []v1alpha1.DeviceGroup{groupNamed("boxes", v1alpha1.KeysCluster), groupNamed("sensors", v1alpha1.KeysDevice)}
	list := filepath.Join(folder, "list.csv")
	said := regexp.MustCompile(`^(` + regexp.QuoteMeta(list) + `:(\d+:\d+:)? \S|and \d+ more mistakes: )`)
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(list, content, 0o600); err != nil {
			t.Fatal(err)
		}
		devices, err := readDeviceList(list, groups)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !said.MatchString(line) || strings.ContainsAny(line, "\x1b\r\x00") {
					t.Errorf("%q is refused with the line %q", content, line)
				}
			}
			return
		}
		at := map[string]bool{}
		for _, device := range devices {
			if at[device.path] || !fs.ValidPath(device.path) || !strings.HasPrefix(device.path, "devices/boxes/") && !strings.HasPrefix(device.path, "devices/sensors/") {
				t.Errorf("%q leads to the file %q", content, device.path)
			}
			at[device.path] = true
			documents, err := v1alpha1.Decode(device.path, device.content)
			if err != nil || len(documents) != 1 {
				t.Fatalf("%q makes %s: %v", content, device.content, err)
			}
			read := documents[0].Object.(*v1alpha1.Device)
			if v1alpha1.DevicePath(read.Spec.Group, read.Metadata.Name) != device.path || read.Spec.State != v1alpha1.DeviceActive || (read.Spec.Request == "") != (read.Spec.Group == "boxes") {
				t.Errorf("%q makes %s in %s", content, device.content, device.path)
			}
		}
	})
}

func groupNamed(name string, keys v1alpha1.DeviceKeys) v1alpha1.DeviceGroup {
	group := v1alpha1.DeviceGroup{Metadata: v1alpha1.Metadata{Name: name}, Spec: v1alpha1.DeviceGroupSpec{Keys: keys, Bootstrap: v1alpha1.Bootstrap{Identity: v1alpha1.IdentitySubjectCommonName}}}
	group.Default()
	return group
}
