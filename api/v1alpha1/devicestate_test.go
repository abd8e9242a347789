package v1alpha1

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

const deviceHead = "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: press-7}\n"

func TestSetDeviceState(t *testing.T) {
	cases := map[string]struct{ before, after, says string }{
		"in a block": {
			before: deviceHead + "spec:\n  group: sensors\n  state: Active # since May\n",
			after:  deviceHead + "spec:\n  group: sensors\n  state: Blocked # since May\n",
		},
		"in brackets": {
			before: deviceHead + "spec: {group: sensors, state: Retired, request: x}\n",
			after:  deviceHead + "spec: {group: sensors, state: Blocked, request: x}\n",
		},
		"none in a block": {
			before: deviceHead + "spec:\n  # its group\n  group: sensors\n  request: x\n",
			after:  deviceHead + "spec:\n  # its group\n  state: Blocked\n  group: sensors\n  request: x\n",
		},
		"none in brackets": {
			before: deviceHead + "spec: {group: sensors, request: x}\n",
			after:  deviceHead + "spec: {group: sensors, state: Blocked, request: x}\n",
		},
		"the second of two": {
			before: strings.Replace(deviceHead, "7", "8", 1) + "spec: {group: sensors, state: Active}\n---\n" + deviceHead + "spec: {group: sensors, state: Active}\n",
			after:  strings.Replace(deviceHead, "7", "8", 1) + "spec: {group: sensors, state: Active}\n---\n" + deviceHead + "spec: {group: sensors, state: Blocked}\n",
		},
		"it is so": {
			before: deviceHead + "spec: {group: sensors, state: Blocked}\n",
			after:  deviceHead + "spec: {group: sensors, state: Blocked}\n",
		},
		"of another group": {before: deviceHead + "spec: {group: meters, state: Active}\n"},
		"quoted":           {before: deviceHead + "spec: {group: sensors, state: \"Active\"}\n", says: "devices.yaml:4: spec.state: is quoted or an alias: write it as a plain word"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, found, err := SetDeviceState("devices.yaml", []byte(c.before), "sensors", "press-7", DeviceBlocked)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %q", err, c.says)
				}
				return
			}
			if err != nil || found != (c.after != "") || found && string(got) != c.after {
				t.Errorf("got %t (%v)\n%s", found, err, got)
			}
		})
	}
}

// FuzzSetDeviceState: a file is refused, or changed in the state of the one device and in
// nothing else; and it is so that what was done once is done.
func FuzzSetDeviceState(f *testing.F) {
	for _, seed := range []string{
		"spec:\n  group: sensors\n  state: Active # since May\n", "spec: {group: sensors, state: Retired, request: x}\n",
		"spec:\n  # its group\n  group: sensors\n  request: x\n", "spec:\n  request: group\n  group: sensors\n",
		"spec: {group: sensors, request: x}\n", "spec: {group: sensors, state: \"Active\"}\n---\n" + deviceHead + "spec: {group: sensors}\n",
		"spec: &a {group: sensors}\nmetadata: *a\n", "spec:\r\n  group: sensors\r\n", "spec: {group: sensors,\n  request: |-\n}",
		"spec:\n  request: |\n    state: Active\n  group: >-\n    sensors\n",
	} {
		f.Add([]byte(deviceHead + seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before, err := Decode("d.yaml", data)
		if err != nil {
			return // no such file is valid, and whoever changes one looks at that
		}
		edited, found, err := SetDeviceState("d.yaml", bytes.Clone(data), "sensors", "press-7", DeviceBlocked)
		if err != nil {
			return
		}
		if !found {
			if !bytes.Equal(edited, data) {
				t.Errorf("declares no such device, and becomes %q", edited)
			}
			return
		}
		after, err := Decode("d.yaml", edited)
		if err != nil || len(after) != len(before) {
			t.Fatalf("%q becomes %q: %v", data, edited, err)
		}
		changed := 0
		for at := range before {
			if reflect.DeepEqual(before[at].Object, after[at].Object) {
				continue
			}
			device, is := before[at].Object.(*Device)
			if !is {
				t.Fatalf("%q becomes %q", data, edited)
			}
			device.Spec.State = DeviceBlocked
			if changed++; changed > 1 || device.Metadata.Name != "press-7" || !reflect.DeepEqual(device, after[at].Object) {
				t.Errorf("%q becomes %q", data, edited)
			}
		}
		if again, _, err := SetDeviceState("d.yaml", bytes.Clone(edited), "sensors", "press-7", DeviceBlocked); err != nil || !bytes.Equal(again, edited) {
			t.Errorf("%q becomes %q, and then %q: %v", data, edited, again, err)
		}
	})
}
