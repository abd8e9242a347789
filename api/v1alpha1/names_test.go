package v1alpha1

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
)

func TestNamesOfDevices(t *testing.T) {
	for id, want := range map[string]string{
		"sensor-0042":                      "devices/sensors/42/sensor-0042.yaml",
		"a.b":                              "devices/sensors/2e/a.b.yaml",
		"SN 4711":                          "devices/sensors/cb/sn-4711.cb33f5d589e587fc44e573a835c25ae9.yaml",
		"urn:dev:mac:0024befffe804ff1":     "",
		"日本":                               "",
		strings.Repeat("x", 64):            "",
		"x." + strings.Repeat("0123", 8):   "",
		"con/../" + strings.Repeat("ä", 9): "",
	} {
		path := DevicePath("sensors", id)
		if want != "" && path != want {
			t.Errorf("%q lies in %s, want %s", id, path, want)
		}
		if encoded := EncodeDeviceID(id); want == "" && (encoded == id || len(encoded) > 63) {
			t.Errorf("%q is encoded as %q", id, encoded)
		}
	}
	for id, want := range map[string]string{
		"sensor-0042": "", "SN 4711": "", "spiffe://plant/sensor": "", "Zähler 3": "",
		"": "is empty", " x": "a space", "x\ny": "does not print", "\u202eabc": "does not print", "a/../b": "leads elsewhere", `..\x`: "leads elsewhere",
		"a: b": "YAML", "{x}": "YAML", "-x": "YAML", "x #1": "YAML", "x:": "YAML", "urn:dev:mac:0024": "",
		"\xff": "UTF-8", strings.Repeat("x", 254): "254 bytes",
	} {
		if got := DeviceIDProblem(id); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q %s, want %q", id, got, want)
		}
	}
}

// Whatever an id holds, its names are safe, and no other id has them.
func TestNamesOfDevicesAreSafeAndTheirOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9.-]{1,70}`), rapid.StringMatching(`[a-c]\.[0-9a-f]{32}`)), 2, 2, rapid.ID).Draw(t, "ids")
		for _, id := range ids {
			name := DeviceObjectName(strings.Repeat("g", 63), id)
			if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 || len(name) > 150 {
				t.Fatalf("%q has the object %q: %v", id, name, problems)
			}
		}
		if EncodeDeviceID(ids[0]) == EncodeDeviceID(ids[1]) {
			t.Fatalf("%q and %q are both %q", ids[0], ids[1], EncodeDeviceID(ids[0]))
		}
		if twice := EncodeDeviceID(ids[0]); twice != ids[0] && EncodeDeviceID(twice) == twice {
			t.Fatalf("%q is what %q is encoded as, and an id of its own", twice, ids[0])
		}
	})
}
