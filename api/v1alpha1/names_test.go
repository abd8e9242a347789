package v1alpha1

import (
	"io/fs"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
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

// FuzzDeviceID: whatever an id holds, its file is one below devices/, no other id has it, and
// its object has a name that the API server takes. Of an id that has no problem nothing is
// lost where it is written down in YAML without quotes.
func FuzzDeviceID(f *testing.F) {
	for _, pair := range [][2]string{
		{"sensor-0042", "Sensor-0042"},
		{"SN 4711", "sn-4711.cb33f5d589e587fc44e573a835c25ae9"},
		{"../x", "..\\x"},
		{"a\nb", "a\tb"},
		{"urn:dev:mac:0024", "urn dev mac 0024"},
		{"\u202ex", "x"},
		{"\xff", "\ufffd"},
		{strings.Repeat("x", 63), strings.Repeat("x", 64)},
		{".", ".."},
		{"e\u0301", "\u00e9"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, id, other string) {
		at := DevicePath("sensors", id)
		relative, below := strings.CutPrefix(at, "devices/sensors/"+DeviceShard(id)+"/")
		if !below || !fs.ValidPath(at) || strings.Contains(relative, "/") || relative != EncodeDeviceID(id)+DeviceSuffix {
			t.Errorf("%q lies in %q", id, at)
		}
		if encoded := EncodeDeviceID(id); len(encoded) > 63 || len(validation.IsDNS1123Subdomain(encoded)) > 0 {
			t.Errorf("%q is encoded as %q", id, encoded)
		}
		if name := DeviceObjectName("sensors", id); len(validation.IsDNS1123Subdomain(name)) > 0 || id != other && name == DeviceObjectName("sensors", other) {
			t.Errorf("%q and %q have the object %q", id, other, name)
		}
		if id != other && DevicePath("sensors", other) == at {
			t.Errorf("%q and %q lie in %q", id, other, at)
		}
		if DeviceIDProblem(id) != "" {
			return
		}
		var read map[string]yaml.Node
		if err := yaml.Unmarshal([]byte("id: "+id+"\n"), &read); err != nil || read["id"].Value != id {
			t.Errorf("%q is read as %q in YAML: %v", id, read["id"].Value, err)
		}
	})
}
