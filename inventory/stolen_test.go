package inventory

import (
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// byStolen is the work while a stolen key signs, and nobody is to change to it.
func (p *plant) byStolen(keys v1alpha1.DeviceKeys) Work {
	p.t.Helper()
	group := groupNamed("sensors", keys)
	read, err := Read(tree(p.files), ".", []v1alpha1.DeviceGroup{group}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.lane.List(read, ".")
	rule := p.rule()
	rule.Group, rule.Later, rule.Stolen = group, 100, true
	if keys == v1alpha1.KeysCluster {
		rule.Template.SetKind("Certificate")
	}
	p.lane.Obey([]Rule{rule})
	return p.lane.Work(p.now)
}

// A stolen key renews what it has signed before, and what would end else; nothing more.
func TestAStolenKeyGetsNobodyNew(t *testing.T) {
	renewal, end := 1440*time.Hour, 2160*time.Hour
	for name, test := range map[string]struct {
		ofIt  bool
		after time.Duration
		apply int
		due   time.Duration
	}{
		"one of another key, due for renewal":  {false, renewal, 0, end - endsSoon},
		"one of another key, ending in a day":  {false, end - endsSoon, 1, 0},
		"one of that key, before its renewal":  {true, renewal - time.Hour, 0, renewal},
		"one of that key, due for renewal":     {true, renewal, 1, 0},
		"one of another key that has run out":  {false, end + time.Second, 0, 0},
		"one of another key, as it was issued": {false, time.Hour, 0, end - endsSoon},
	} {
		t.Run(name, func(t *testing.T) {
			p := fleet(t, "one")
			if !test.ofIt {
				p.signer = root(t, "2026")
			}
			p.now = epoch.Add(test.after)
			work := p.byStolen(v1alpha1.KeysDevice)
			if len(work.Apply) != test.apply {
				t.Errorf("the work is %+v", work)
			}
			if test.apply == 0 && test.due != 0 && !work.Due.Equal(epoch.Add(test.due)) || test.due == 0 && !work.Due.IsZero() {
				t.Errorf("it is looked at again at %s", work.Due)
			}
		})
	}
}

func TestWhoIsNewWaitsWhileAStolenKeySigns(t *testing.T) {
	p := newPlant(t, root(t, "2025"))
	for keys, text := range map[v1alpha1.DeviceKeys]string{v1alpha1.KeysDevice: active(t, "sensors", "one"), v1alpha1.KeysCluster: document("sensors", "one", "")} {
		p.list("sensors", "one", text)
		if work := p.byStolen(keys); !work.Idle() || work.States[StateWaiting] != 1 {
			t.Errorf("keys: %s: %+v", keys, work)
		}
	}
}

// Who was refused by it is not tried again while it is stolen, and nobody looks for the hour.
func TestWhoWasRefusedWaitsWhileAStolenKeySigns(t *testing.T) {
	p := newPlant(t, root(t, "2025"))
	p.list("sensors", "one", active(t, "sensors", "one"))
	p.turn()
	p.sign(func(string) string { return "no" })
	p.now = epoch.Add(2 * retryAfter)
	if work := p.byStolen(v1alpha1.KeysDevice); !work.Idle() || work.States[StateFailed] != 1 || !work.Due.IsZero() {
		t.Errorf("%+v", work)
	}
	if work := p.turn(); len(work.Apply) != 1 {
		t.Errorf("and at last: %+v", work)
	}
}
