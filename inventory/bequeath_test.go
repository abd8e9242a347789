package inventory

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// told is what two lanes are compared by.
type told struct {
	Apply, Confirm, Discard, Remove []string
	States                          map[State]int
	Due                             time.Time
	Ledger                          []planner.Ledger
	Standings                       []Standing
}

func (p *plant) told(lane *Lane, keys []Key, groups []v1alpha1.DeviceGroup) told {
	work := lane.Work(p.now)
	made := told{States: work.States, Due: work.Due, Ledger: lane.Ledger(planner.Desired{Groups: groups}, keys, p.now), Standings: lane.Standings(keys, p.now)}
	for _, o := range work.Apply {
		made.Apply = append(made.Apply, o.GetNamespace()+"/"+o.GetName())
	}
	for _, c := range work.Confirm {
		made.Confirm = append(made.Confirm, c.Request.String()+" "+c.Text)
	}
	names := func(all []client.Object) (names []string) {
		for _, o := range all {
			names = append(names, objectOf(o).String())
		}
		return names
	}
	made.Discard, made.Remove = names(work.Discard), names(work.Remove)
	return made
}

// afresh is a lane that is told of all that another has seen.
func (p *plant) afresh(groups []v1alpha1.DeviceGroup) *Lane {
	p.t.Helper()
	lane := NewLane()
	for _, m := range p.lane.members {
		for _, object := range objectsIn(m.places) {
			lane.See(object)
		}
	}
	read, err := Read(tree(p.files), ".", groups, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	lane.List(read, ".")
	lane.Obey(slices.Collect(maps.Values(p.lane.rules)))
	return lane
}

// Whatever devices are moved and renamed, and whenever a lane is asked, it says what one says
// that has just been made.
func TestALaneThatRememberedSaysWhatAFreshOneSays(t *testing.T) {
	signers := []authority{root(t, "2025"), root(t, "2026")}
	keys := []Key{signers[0].Key, signers[1].Key}
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlant(t, signers[0])
		groups := []v1alpha1.DeviceGroup{named("a", "plant"), named("b", "plant"), named("c", "hall")}
		places := []string{"a/1", "b/1", "b/2", "c/1"}
		holder := map[string]string{}     // whose key lies where
		var listed []v1alpha1.DeviceGroup // when the lane read Git last
		compare := func(rt *rapid.T, when string) {
			got, want := p.told(p.lane, keys, listed), p.told(p.afresh(listed), keys, listed)
			if !reflect.DeepEqual(got, want) {
				rt.Fatalf("%s, at %s, it says\n%+v\na fresh one\n%+v", when, p.now, got, want)
			}
		}
		steps := map[string]func(*rapid.T){
			"move": func(rt *rapid.T) {
				key, at := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "key"), rapid.SampledFrom(append(places, "")).Draw(rt, "to")
				maps.DeleteFunc(holder, func(_, of string) bool { return of == key })
				if at != "" {
					holder[at] = key
				}
			},
			"house": func(rt *rapid.T) {
				groups[rapid.IntRange(0, 2).Draw(rt, "group")].Spec.Namespace = rapid.SampledFrom([]string{"plant", "hall"}).Draw(rt, "in")
			},
			"wait": func(rt *rapid.T) {
				p.now = p.now.Add(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 700 * time.Hour, 2160 * time.Hour}).Draw(rt, "for"))
				if listed != nil {
					compare(rt, "later")
				}
			},
			"sign with": func(rt *rapid.T) { p.signer = rapid.SampledFrom(signers).Draw(rt, "key") },
			"show": func(rt *rapid.T) {
				at := rapid.SampledFrom(places).Draw(rt, "device")
				m := p.lane.members[name{at[:1], at[2:]}]
				if m == nil || len(m.requests) == 0 {
					return
				}
				shown := m.requests[rapid.IntRange(0, len(m.requests)-1).Draw(rt, "which")]
				next := shown.DeepCopy()
				ahead := rapid.SampledFrom([]time.Duration{0, 100 * time.Hour}).Draw(rt, "ahead")
				next.Annotations[v1alpha1.AnnotationConfirmed] = Confirmation{Presented: shown.chain[0].Fingerprint(), PresentedUntil: shown.ends(), Seen: p.now.Add(ahead)}.String()
				p.lane.See(next)
			},
			"work": func(*rapid.T) {
				p.files = map[string]string{}
				for at, key := range holder {
					p.list(at[:1], at[2:], document(at[:1], at[2:], withRequest(csr(t, key))))
				}
				listed = slices.Clone(groups)
				p.takesIn(listed...)
				compare(rt, "before the work")
				p.declared(listed...)
				compare(rt, "after it")
			},
			"count": func(*rapid.T) { p.lane.Ledger(planner.Desired{Groups: groups}, keys, p.now) },
		}
		names := slices.Sorted(maps.Keys(steps))
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			steps[rapid.SampledFrom(names).Draw(rt, "step")](rt)
			if rapid.Bool().Draw(rt, "in a turn") {
				steps["work"](rt)
			}
		}
	})
}

// A turn in which nothing has happened, of devices that are called as ever, and of such as were
// given another name and have not been seen since.
func BenchmarkIdle(b *testing.B) {
	for _, kind := range []string{"plain", "renamed"} {
		b.Run(kind, func(b *testing.B) {
			p := newPlant(b, root(b, "2025"))
			for n := range 1000 {
				id := fmt.Sprint(n)
				p.list("a", id, document("a", id, withRequest(csr(b, id))))
			}
			groups := []v1alpha1.DeviceGroup{named("a", "plant")}
			p.declared(groups...)
			if kind == "renamed" {
				before := p.files
				p.files = map[string]string{}
				for n := range len(before) {
					id := fmt.Sprint(n)
					p.list("b", id, document("b", id, withRequest(csr(b, id))))
				}
				groups = []v1alpha1.DeviceGroup{named("b", "plant")}
				p.declared(groups...)
			}
			keys := []Key{p.signer.Key}
			for b.Loop() {
				p.lane.Ledger(planner.Desired{Groups: groups}, keys, p.now)
				if work := p.lane.Work(p.now); !work.Idle() {
					b.Fatalf("%+v", work)
				}
			}
		})
	}
}
