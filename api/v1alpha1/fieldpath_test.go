package v1alpha1

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const brokerListener = `{
	"metadata": {"annotations": {"cert-manager.io/cluster-issuer": "old", "a~b": "tilde"}},
	"spec": {"ports": [{"port": 8883, "tls": {"issuerRef": {"name": "old", "kind": "ClusterIssuer"}}}, {"port": 1883}]}
}`

func TestFieldPath(t *testing.T) {
	var object map[string]any
	if err := json.Unmarshal([]byte(brokerListener), &object); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]struct {
		pointer string
		value   any
	}{
		"spec.ports[0].tls.issuerRef.name": {"/spec/ports/0/tls/issuerRef/name", "old"},
		"spec.ports[1].port":               {"/spec/ports/1/port", 1883.0},
		"spec.ports[2].port":               {"/spec/ports/2/port", nil},
		"spec.ports.name":                  {"/spec/ports/name", nil},
		"spec[0]":                          {"/spec/0", nil},
		"spec.ports[0].port.more":          {"/spec/ports/0/port/more", nil},
		"metadata.annotations[\"cert-manager.io/cluster-issuer\"]": {"/metadata/annotations/cert-manager.io~1cluster-issuer", "old"},
		"metadata.annotations[\"a~b\"]":                            {"/metadata/annotations/a~0b", "tilde"},
		"a[\"]\"][\"\\\"\"]":                                       {"/a/]/\"", nil},
	} {
		path, err := ParseFieldPath(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		value, found := path.In(object)
		if path.Pointer() != want.pointer || !reflect.DeepEqual(value, want.value) || found != (want.value != nil) {
			t.Errorf("%s is %s and leads to %v (%t), want %s and %v", text, path.Pointer(), value, found, want.pointer, want.value)
		}
	}
	path, err := ParseFieldPath("spec.issuerRef.name")
	if err != nil || path.Beside("kind").String() != "spec.issuerRef.kind" || path.String() != "spec.issuerRef.name" {
		t.Errorf("beside %s lies %s, %v", path, path.Beside("kind"), err)
	}
}

func TestFieldPathRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "at byte 1: want a field's name",
		".spec":                      "at byte 1: want a field's name",
		"spec.":                      "at byte 5: want a field's name",
		"spec..a":                    "at byte 5: want a field's name",
		"spec a":                     "at byte 5: want '.', or '['",
		"spec.a/b":                   "at byte 7: want '.', or '['",
		"spec[0":                     "the bracket is not closed",
		"spec[-1]":                   "[-1] is no place in a list: want a number from 0 to 9999",
		"spec[10000]":                "is no place in a list",
		"spec[]":                     "[] is no place in a list",
		"spec[00]":                   "is to be written spec[0]",
		"spec[+1]":                   "is to be written spec[1]",
		"spec[*]":                    "is no place in a list",
		`spec["a"]`:                  "is to be written spec.a",
		`spec["a`:                    "the bracket is not closed",
		`spec[""]`:                   "is no name in quotes",
		`spec["\q"]`:                 "is no name in quotes",
		strings.Repeat("a", 1025):    "is longer than 1024 bytes",
		"spec.ports[?(@.port==1)].x": "is no place in a list",
	} {
		if path, err := ParseFieldPath(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: read %v, with the error %v, want one that says %s", text, path, err, want)
		}
	}
}

// What can be read is written as it was, and leads where its pointer does.
func FuzzParseFieldPath(f *testing.F) {
	for _, seed := range []string{"spec.ports[0].tls.issuerRef.name", `metadata.annotations["cert-manager.io/issuer"]`, `a["]"][1]`, "[", `["\u0000"]`, "spec[00]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := ParseFieldPath(text)
		if err != nil {
			return
		}
		if path.String() != text || len(path) == 0 {
			t.Errorf("%q was read as %q", text, path)
		}
		var object any = "here"
		for i := len(path) - 1; i >= 0; i-- {
			if step := path[i]; step.Name != "" {
				object = map[string]any{step.Name: object}
			} else {
				object = append(make([]any, step.Index), object)
			}
		}
		if value, found := path.In(object); !found || value != "here" {
			t.Errorf("%q leads to %v (%t)", text, value, found)
		}
		if strings.Count(path.Pointer(), "/") != len(path) {
			t.Errorf("%q has the pointer %s, of other than %d steps", text, path.Pointer(), len(path))
		}
	})
}
