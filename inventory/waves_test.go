package inventory

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// later is the rule of the plant's key with so many percent of the devices kept back, and the
// work that it brings.
func (p *plant) later(percent int) Work {
	p.t.Helper()
	rule := p.rule()
	rule.Later = percent
	p.lane.Obey([]Rule{rule})
	work := p.lane.Work(p.now)
	for _, stamped := range work.Apply {
		request := p.answered(stamped)
		p.objects[request.Name] = request
		p.lane.See(request)
	}
	return work
}

// inWaves asks for the waves of 10, 50 and 100 percent.
func inWaves() planner.Desired {
	desired := desiredBy()
	desired.Authorities[0].Spec.Rollover.Waves = []int{10, 50, 100}
	desired.Bindings = []v1alpha1.IssuerBinding{{Metadata: v1alpha1.Metadata{Name: "fleet"}, Spec: v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: "root"}}}
	return desired
}

// moved are the devices whose newest certificate is of the plant's key, and behind how many of
// each wave have none yet, as the ledger tells.
func (p *plant) moved() (moved []string, behind []int) {
	p.t.Helper()
	for of, m := range p.lane.members {
		if newest := m.newest(p.now); newest != nil && newest.chain[0].SignedBy(p.signer.Certificate) {
			moved = append(moved, of.id)
		}
	}
	slices.Sort(moved)
	for _, wave := range p.lane.Ledger(inWaves(), []Key{p.signer.Key}, p.now)[0].Keys[0].Waves {
		behind = append(behind, wave.Elsewhere.Count)
	}
	return moved, behind
}

func TestDevicesMoveInWaves(t *testing.T) {
	var ids []string
	for n := range 40 {
		ids = append(ids, fmt.Sprintf("device-%02d", n))
	}
	p := fleet(t, ids...)
	p.signer, p.now = root(t, "2026"), epoch.Add(time.Hour)
	var before []string
	for _, step := range []struct {
		later, moved int
		behind       []int
	}{
		{100, 0, []int{4, 20}},
		{90, 4, []int{0, 16}},
		{90, 4, []int{0, 16}},
		{100, 4, []int{0, 16}}, // the window has closed
		{50, 20, []int{0, 0}},
		{0, 40, []int{0, 0}},
	} {
		work := p.later(step.later)
		moved, behind := p.moved()
		if len(moved) != step.moved || !slices.Equal(behind, step.behind) {
			t.Errorf("with %d%% later: %d have moved, want %d; of each wave there are behind %v, want %v", step.later, len(moved), step.moved, behind, step.behind)
		}
		if slices.ContainsFunc(before, func(id string) bool { return !slices.Contains(moved, id) }) {
			t.Errorf("with %d%% later: who had moved has not: %v, %v", step.later, before, moved)
		}
		if work.States[StateIssued]+work.States[StatePending] != 40 || work.States[StatePending] != len(work.Apply) {
			t.Errorf("with %d%% later: the devices are %v", step.later, work.States)
		}
		before = moved
	}
}

// Who is not in turn is renewed in its time all the same, and who is new does not wait.
func TestTheLastWaveIsRenewedInItsTime(t *testing.T) {
	p := fleet(t, "one", "two")
	p.signer = root(t, "2026")
	p.now = epoch.Add(1439 * time.Hour)
	if work := p.later(100); len(work.Apply) != 0 || !work.Due.Equal(epoch.Add(1440*time.Hour)) {
		t.Errorf("before that: %+v", work)
	}
	p.list("sensors", "new", active(t, "sensors", "new"))
	read, err := Read(tree(p.files), ".", groups, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.lane.List(read, ".")
	if work := p.later(100); len(work.Apply) != 1 || work.Apply[0].GetAnnotations()[v1alpha1.AnnotationDevice] != "new" {
		t.Errorf("a new device: %+v", work)
	}
	p.now = epoch.Add(1440 * time.Hour)
	if work := p.later(100); len(work.Apply) != 2 {
		t.Errorf("in their time: %+v", work)
	}
	if moved, _ := p.moved(); len(moved) != 3 {
		t.Errorf("have moved: %v", moved)
	}
}

// A Certificate of a device that is not in turn is not issued anew.
func TestCertificatesMoveInWaves(t *testing.T) {
	p := newPlant(t, root(t, "2025"))
	p.list("sensors", "one", document("sensors", "one", ""))
	work := p.keeping(v1alpha1.KeysCluster)
	p.lane.See(certificateOf(t, work.Apply[0]))
	p.lane.See(p.issued("one", 1, p.signer))
	p.signer = root(t, "2026")
	for _, test := range []struct{ later, reissued int }{{100, 0}, {99, 1}, {0, 1}} {
		rule := p.rule()
		rule.Group, rule.Later = groupNamed("sensors", v1alpha1.KeysCluster), test.later
		rule.Template.SetKind("Certificate")
		delete(rule.Template.Object["spec"].(map[string]any), "request")
		p.lane.Obey([]Rule{rule})
		work := p.lane.Work(p.now)
		for _, stamped := range work.Apply { // says for which key it is asked for from now on
			p.lane.See(certificateOf(t, stamped))
			work = p.lane.Work(p.now)
		}
		if len(work.Reissue) != test.reissued {
			t.Errorf("with %d%% later: %+v", test.later, work)
		}
	}
}

// Whoever comes and goes, each active device has the place that its id has among the others.
func TestRanksFollowWhoIsThere(t *testing.T) {
	ids := []string{"a", "b", "c", "d", "e"}
	rapid.Check(t, func(rt *rapid.T) {
		lane := NewLane()
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			there := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, len(ids), rapid.ID).Draw(rt, "there")
			for _, id := range ids {
				of := name{"sensors", id}
				switch is := slices.Contains(there, id); {
				case is && lane.members[of] == nil:
					lane.members[of] = &member{device: &Device{Group: "sensors", ID: id, State: v1alpha1.DeviceActive}}
				case is:
					lane.members[of].device.State = v1alpha1.DeviceActive
				case lane.members[of] == nil:
				case rapid.Bool().Draw(rt, "blocked"):
					lane.members[of].device.State = v1alpha1.DeviceBlocked
				default:
					delete(lane.members, of)
				}
			}
			lane.rank(func(string) bool { return true }, epoch)
			for i, rank := range planner.WaveRanks(there) {
				if m := lane.members[name{"sensors", there[i]}]; m.rank != rank || m.of != len(there) {
					rt.Fatalf("%s of %q is at %d of %d, want %d", there[i], there, m.rank, m.of, rank)
				}
			}
		}
	})
}
