package fields

import (
	"reflect"
	"testing"
)

type inner struct {
	Deep string `json:"deep"`
}

type outer struct {
	First string `json:"first"`
	inner
	Inlined  `json:",inline"`
	Optional int    `json:"optional,omitempty"`
	Zero     inner  `json:"zero,omitzero"`
	Hidden   string `json:"-"`
}

// Inlined stands for Kubernetes' TypeMeta.
type Inlined struct {
	Kind string `json:"kind,omitempty"`
}

func TestOf(t *testing.T) {
	type row struct {
		name     string
		required bool
		index    []int
	}
	var got []row
	for _, field := range Of(reflect.TypeFor[outer]()) {
		got = append(got, row{field.Name, field.Required, field.Go.Index})
	}
	want := []row{
		{"first", true, []int{0}},
		{"kind", false, []int{2, 0}},
		{"optional", false, []int{3}},
		{"zero", false, []int{4}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

type colour string

func (colour) Values() []string { return []string{"red", "green"} }

func TestValues(t *testing.T) {
	if got := Values(reflect.TypeFor[colour]()); !reflect.DeepEqual(got, []string{"red", "green"}) {
		t.Errorf("got %q", got)
	}
	if got := Values(reflect.TypeFor[string]()); got != nil {
		t.Errorf("any string may be %q", got)
	}
}
