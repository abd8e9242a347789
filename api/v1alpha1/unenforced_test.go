package v1alpha1

import (
	"reflect"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1/internal/fields"
)

// What is not enforced yet is refused beside every other mistake of its document.
func TestValidateRefusesWhatIsNotEnforced(t *testing.T) {
	for _, kind := range []reflect.Type{reflect.TypeFor[DeviceGroup](), reflect.TypeFor[Device]()} {
		unenforced[part{kind, ""}] = "keep it out of the folder until it is"
		defer delete(unenforced, part{kind, ""})
	}
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"kinds": {
			documents(groupOf(t, "sensors", "  keys: Cluster\n"), deviceOf("one", "group: sensor")),
			[]string{
				`f.yaml:2: kind: DeviceGroup is decoded and checked, but nothing enforces it yet: keep it out of the folder until it is`,
				`f.yaml:11: kind: Device is decoded and checked, but nothing enforces it yet: keep it out of the folder until it is`,
				`f.yaml:13: spec.group: there is no DeviceGroup "sensor": declare it, or name another; did you mean "sensors"?`,
			},
		},
		"left empty": {rollingOver("  rollover: {waitForOffline: ~}\n"), nil},
	} {
		t.Run(name, func(t *testing.T) { refusals(t, test.file, Site{}, test.want...) })
	}
}

// A row of the table that names nothing would refuse nothing.
func TestWhatIsNotEnforcedExists(t *testing.T) {
	for part := range unenforced {
		known := fields.Values(part.of)
		if part.of.Kind() == reflect.Struct {
			known = []string{""}
			for _, field := range fields.Of(part.of) {
				known = append(known, field.Name)
			}
		}
		found := false
		for _, name := range known {
			found = found || name == part.name
		}
		if !found {
			t.Errorf("%s has no %q", part.of, part.name)
		}
	}
}
