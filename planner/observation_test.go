package planner_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var fleet = planner.Ref{Namespace: "plant", Name: "fleet"}

func observationOf(t interface{ Fatal(...any) }, desired planner.Desired, observed planner.Observed) planner.Observation {
	made, err := planner.NewObservation(noon, fleet, desired, observed)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func encoded(t interface{ Fatal(...any) }, o planner.Observation) []byte {
	text, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// anyObserved has any value in any field, those that come later included.
func anyObserved() *rapid.Generator[planner.Observed] {
	certificates := rapid.SampledFrom([]pki.Certificate{key2025.Certificate, key2026.Certificate, key2027.Certificate})
	moments := rapid.Map(rapid.Int64Range(0, 1<<40), func(nano int64) time.Time { return noon.Add(time.Duration(nano)) })
	texts := rapid.StringMatching(`[ -~é✓<&>]{0,12}`)
	return rapid.MakeCustom[planner.Observed](rapid.MakeConfig{Types: map[reflect.Type]*rapid.Generator[any]{
		reflect.TypeFor[pki.Certificate](): certificates.AsAny(),
		reflect.TypeFor[pki.Anchors](): rapid.Map(rapid.SliceOfN(certificates, 0, 3), func(drawn []pki.Certificate) pki.Anchors {
			return pki.NewAnchors(drawn...)
		}).AsAny(),
		reflect.TypeFor[time.Time]():            moments.AsAny(),
		reflect.TypeFor[metav1.LabelSelector](): rapid.Just(metav1.LabelSelector{MatchLabels: map[string]string{"trust": "fleet"}}).AsAny(),
		reflect.TypeFor[string]():               texts.AsAny(),
	}})
}

// equalities compare values of which empty lists may be nil.
var equalities = conversion.EqualitiesOrDie(pki.Certificate.Equal, time.Time.Equal)

// TestObservationsComeBack: what is encoded is decoded to the same.
func TestObservationsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		drawn := anyObserved().Draw(t, "observed")
		before := observationOf(t, empty().desired, drawn)
		text := encoded(t, before)
		after, err := planner.DecodeObservation(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !equalities.DeepEqual(before, after) {
			t.Fatalf("%s\nis decoded to\n%s", text, encoded(t, after))
		}
	})
}

// TestAnObservationIsPlannedFrom: a plan from a file is the plan from the cluster.
func TestAnObservationIsPlannedFrom(t *testing.T) {
	for name, s := range map[string]*site{"first day": empty(), "rolled": rolledRoot()} {
		after, err := planner.DecodeObservation(encoded(t, observationOf(t, s.desired, s.observed)))
		if err != nil {
			t.Fatal(err)
		}
		live, filed := planner.Next(s.desired, s.observed, s.now), planner.Next(s.desired, after.Observed, s.now)
		if !reflect.DeepEqual(live, filed) {
			t.Errorf("%s: from the cluster\n%+v\nfrom the file\n%+v", name, live, filed)
		}
	}
}

func TestDocumentsHaveADigest(t *testing.T) {
	one, two := empty().desired, empty().desired
	first, err := one.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if same, _ := two.Digest(); same != first || !strings.HasPrefix(first, "sha256:") || len(first) != 71 {
		t.Errorf("equal documents have %s and %s", first, same)
	}
	two.Bindings[0].Metadata.Name = "other"
	if other, _ := two.Digest(); other == first {
		t.Error("other documents have the same digest")
	}
}

func TestBrokenObservations(t *testing.T) {
	s := rolledRoot()
	good := string(encoded(t, observationOf(t, s.desired, s.observed)))
	if strings.Contains(good, "PRIVATE") {
		t.Fatal("a private key stands in an observation")
	}
	for name, test := range map[string]struct{ text, want string }{
		"empty":           {"", "line 1: it ends too early: make the observation anew with reanchor observe"},
		"cut":             {good[:len(good)/2], "it ends too early"},
		"not JSON":        {"apiVersion: x", "line 1: invalid character 'a'"},
		"unknown field":   {strings.Replace(good, `"domain"`, `"dominion"`, 1), `line 5: unknown field "dominion": make`},
		"unknown inside":  {strings.Replace(good, `"observed": {`, "\"observed\": {\n\"secrets\": [],", 1), `unknown field "secrets"`},
		"wrong type":      {strings.Replace(good, `"kind": "Observation"`, `"kind": 5`, 1), "line 3: cannot unmarshal number"},
		"followed":        {good + "{}", "something follows the observation: keep one in a file"},
		"another kind":    {strings.Replace(good, `"Observation"`, `"Plan"`, 1), `kind "Plan": want reanchor.dev/v1alpha1, Observation`},
		"another version": {strings.Replace(good, "v1alpha1", "v9", 1), `apiVersion "reanchor.dev/v9"`},
		"no time":         {strings.Replace(good, `"at": "2026-03-01T12:00:00Z",`, ``, 1), "at: it does not say when the cluster was looked at"},
		"no domain":       {strings.Replace(good, `"namespace": "plant"`, `"namespace": ""`, 1), "domain: it does not say whose it is"},
		"no digest":       {strings.Replace(good, `"sha256:`, `"sha1:`, 1), "is no digest"},
		"no certificate":  {strings.Replace(good, `-----BEGIN CERTIFICATE-----`, `-----BEGIN PRIVATE KEY-----`, 1), "make the observation anew"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := planner.DecodeObservation([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestSetsAreSets: nothing could be found in anchors that are out of order.
func TestSetsAreSets(t *testing.T) {
	sorted := pki.NewAnchors(key2025.Certificate, key2026.Certificate)
	for name, observed := range map[string]planner.Observed{
		"order of a bundle":        {Bundles: []planner.Bundle{{Name: "b", Anchors: pki.Anchors{sorted[1], sorted[0]}}}},
		"order of certificates":    {Bundles: []planner.Bundle{{Name: "b", Certificates: pki.Anchors{sorted[1], sorted[0]}}}},
		"twice in a copy":          {Copies: []planner.Copy{{Bundle: "b", Anchors: pki.Anchors{sorted[0], sorted[0]}}}},
		"none in a copy":           {Copies: []planner.Copy{{Bundle: "b", Anchors: pki.Anchors{{}}}}},
		"none in a chain":          {Leaves: []planner.Leaf{{Chain: []pki.Certificate{{}}}}},
		"none of a recorded key's": {Record: planner.Record{Keys: []planner.RecordedKey{{Authority: "a", Name: "k"}}}},
		"none of a recorded link":  {Record: planner.Record{Links: []planner.RecordedLink{{Authority: "a"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			text := encoded(t, observationOf(t, planner.Desired{}, observed))
			if _, err := planner.DecodeObservation(text); err == nil || !strings.HasPrefix(err.Error(), "observed.") {
				t.Errorf("got %v for %s", err, text)
			}
		})
	}
}

// FuzzObservation: whatever is decoded can be planned from, and comes back.
func FuzzObservation(f *testing.F) {
	for _, s := range []*site{empty(), rolledRoot()} {
		f.Add(encoded(f, observationOf(f, s.desired, s.observed)))
	}
	desired := rolledRoot().desired
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := planner.DecodeObservation(text)
		if err != nil {
			return
		}
		planner.Next(desired, o.Observed, noon)
		again, err := planner.DecodeObservation(encoded(t, o))
		if err != nil || !bytes.Equal(encoded(t, again), encoded(t, o)) {
			t.Errorf("it does not come back: %v", err)
		}
	})
}
