package inventory

import (
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// halls is a fleet whose ids are local to a site, and Git in which hall-a is called hall-1 by
// now, in the middle of a rollover. The device of hall-b was seen with its new certificate.
func halls(t *testing.T, renamed string) (*plant, Key, []v1alpha1.DeviceGroup) {
	t.Helper()
	p := newPlant(t, root(t, "2025"))
	before := []v1alpha1.DeviceGroup{named("hall-a", "plant"), named("hall-b", "plant"), named("hall-c", "plant")}
	for _, group := range before {
		p.list(group.Metadata.Name, "001", active(t, group.Metadata.Name, "001"))
	}
	p.declared(before...)
	old := p.signer.Key
	p.signer, p.now = root(t, "2026"), epoch.Add(time.Hour)
	delete(p.files, v1alpha1.DevicePath("hall-a", "001"))
	p.list("hall-1", "001", document("hall-1", "001", withRequest(csr(t, renamed))))
	after := []v1alpha1.DeviceGroup{named("hall-1", "plant"), before[1], before[2]}
	p.declared(after...)
	p.now = p.now.Add(time.Hour)
	p.see("hall-b", "001")
	return p, old, after
}

// has reports whether something for the device is in the cluster still.
func (p *plant) has(group, id string) bool {
	m := p.lane.members[name{group, id}]
	return m != nil && len(m.places) > 0
}

// Who has the key minds what was made for it, and nobody of the same id does.
func TestAStrangerOfTheSameIDInheritsNothing(t *testing.T) {
	p, old, groups := halls(t, "hall-a/001")
	p.declared(groups...)
	if !p.has("hall-a", "001") {
		t.Fatal("what hall-1/001 still uses went because hall-b/001 has moved on")
	}
	if got := p.chaining(old, groups...); got["hall-1"] != 1 || got["hall-b"] != 0 || got["hall-c"] != 1 {
		t.Errorf("devices that may show the old key's certificates: %v", got)
	}
	p.see("hall-1", "001")
	p.declared(groups...)
	if p.has("hall-a", "001") {
		t.Error("what nobody uses stays")
	}
	if got := p.chaining(old, groups...); got["hall-1"] != 0 || got["hall-c"] != 1 {
		t.Errorf("at last: %v", got)
	}
}

// Where nobody has the key, each of the id minds it, and it goes when all have moved on.
func TestWhatSeveralMindGoesWhenAllHaveMovedOn(t *testing.T) {
	p, old, groups := halls(t, "rekeyed")
	for i, group := range []string{"hall-c", "hall-1"} {
		if work := p.declared(groups...); len(work.Discard) != 0 || !p.has("hall-a", "001") {
			t.Fatalf("after %d of three have moved on, %+v goes", i+1, work.Discard)
		}
		if got := p.chaining(old, groups...); got["hall-1"] != 1 {
			t.Errorf("devices that may show the old key's certificates: %v", got)
		}
		p.see(group, "001")
	}
	if work := p.declared(groups...); len(work.Discard) != 1 || p.has("hall-a", "001") {
		t.Errorf("when all have moved on, %+v goes", work.Discard)
	}
	if work := p.declared(groups...); !work.Idle() {
		t.Errorf("at last: %+v", work)
	}
}

// Who has one of the keys of a device that left is that device, and minds what was made for its
// other keys too.
func TestWhoHasOneKeyMindsWhatWasMadeForTheOther(t *testing.T) {
	p := newPlant(t, root(t, "2025"))
	old, groups := p.signer.Key, []v1alpha1.DeviceGroup{named("hall-a", "plant")}
	p.list("hall-a", "001", active(t, "hall-a", "001"))
	p.declared(groups...)
	p.signer, p.now = root(t, "2026"), epoch.Add(time.Hour)
	p.list("hall-a", "001", document("hall-a", "001", withRequest(csr(t, "rekeyed"))))
	p.declared(groups...)
	delete(p.files, v1alpha1.DevicePath("hall-a", "001"))
	p.list("hall-a", "002", document("hall-a", "002", withRequest(csr(t, "rekeyed"))))
	if work := p.declared(groups...); len(work.Remove)+len(work.Discard) != 0 {
		t.Errorf("before it was seen with its new key, there goes %+v", work)
	}
	if got := p.chaining(old, groups...); got["hall-a"] != 1 {
		t.Errorf("%d devices may show a certificate of the old key", got["hall-a"])
	}
	p.now = p.now.Add(time.Hour)
	p.see("hall-a", "002")
	if work := p.declared(groups...); len(work.Discard) != 2 || p.has("hall-a", "001") {
		t.Errorf("and after that, %+v", work.Discard)
	}
	if got := p.chaining(old, groups...); got["hall-a"] != 0 {
		t.Errorf("and after that, %d devices may", got["hall-a"])
	}
}

// What several mind and nobody may delete is told of once, and forgotten when it is gone.
func TestWhatSeveralMindIsKeptOnce(t *testing.T) {
	p, _, groups := halls(t, "rekeyed")
	for _, group := range []string{"hall-c", "hall-1"} {
		p.see(group, "001")
	}
	p.takesIn(groups...)
	left := p.lane.Work(p.now).Discard
	if len(left) != 1 {
		t.Fatalf("%+v goes", left)
	}
	p.lane.Keep(left[0], "forbidden", p.now)
	if work := p.lane.Work(p.now); len(work.Kept) != 1 || len(work.Discard) != 0 {
		t.Errorf("kept are %+v", work.Kept)
	}
	m := p.lane.members[name{"hall-a", "001"}]
	p.lane.Forget(left[0])
	if len(m.kept) != 0 {
		t.Errorf("%d that are gone are remembered", len(m.kept))
	}
}
