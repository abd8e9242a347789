package v1alpha1

import (
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
