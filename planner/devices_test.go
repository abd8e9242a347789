package planner_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// sensors is a group of devices for which the fleet's issuer signs.
func sensors() v1alpha1.DeviceGroup {
	return v1alpha1.DeviceGroup{
		Metadata: v1alpha1.Metadata{Name: "sensors"},
		Spec:     v1alpha1.DeviceGroupSpec{Issuer: v1alpha1.IssuerReference{Name: "fleet", Kind: v1alpha1.KindClusterIssuer}, Namespace: "plant"},
	}
}

// unproved is the plant whose issuer has moved to 2026, which no canary has shown yet.
func unproved() *site {
	s := switched()
	s.issuer().Canary = planner.Canary{}
	return s
}

// paused is the plant whose rollover is paused in Reissue.
func paused() *site {
	s := switched()
	s.desired.Authorities[0].Spec.Rollover.Paused = true
	return s
}

// Devices are signed for by the key of which it is proved that the issuer signs with it.
func TestDevicesAreSignedForByAProvedKey(t *testing.T) {
	for name, test := range map[string]struct {
		site   *site
		key    string
		later  int
		stolen bool
	}{
		"nothing moves":                          {settled(), "2025", 0, false},
		"the issuer is about to move":            {soaked(), "2025", 100, false},
		"the issuer has moved, and it is proved": {switched(), "2026", 0, false},
		"it has moved, and is not proved":        {unproved(), "2026", 100, false},
		"it has moved, and all is paused":        {paused(), "2026", 100, false},
		"it has moved, and its key is stolen":    {stolenAfterwards(), "2026", 100, true},
	} {
		t.Run(name, func(t *testing.T) {
			test.site.desired.Groups = []v1alpha1.DeviceGroup{sensors()}
			// Every device confirms and uses either key.
			ledger := planner.Ledger{Group: "sensors", Active: 1, Keys: []planner.Tally{{Key: key2025.Fingerprint()}, {Key: key2026.Fingerprint()}}}
			test.site.observed.Ledger = []planner.Ledger{ledger}
			plan := test.site.next()
			want := planner.DeviceRule{Group: "sensors", Authority: planner.Ref{Namespace: "cert-manager", Name: "fleet-root"}, Key: test.key, Later: test.later, Stolen: test.stolen}
			if rules := plan.Target.DeviceRules; len(rules) != 1 || rules[0] != want {
				t.Errorf("the rules are %+v, want %+v; the plan says %q", rules, want, tell(plan, test.site.now))
			}
		})
	}
}

// The devices of a group move in the waves of the authority that signs for them: so many percent,
// and when each of those has its certificate, the next.
func TestDevicesMoveInWaves(t *testing.T) {
	some := func(count int) planner.Devices {
		return planner.Devices{Count: count, First: []planner.Device{{Name: "sensor-1", Seen: noon}}}
	}
	inTurn := func(first, second, all int) planner.Tally {
		return planner.Tally{Key: key2026.Fingerprint(), Elsewhere: some(all), Waves: []planner.WaveTally{{Percent: 1, Elsewhere: some(first)}, {Percent: 20, Elsewhere: some(second)}}}
	}
	for name, test := range map[string]struct {
		tally  planner.Tally
		change func(*site)
		later  int
		hold   string // empty: Reissue is done
	}{
		"nobody has moved":             {inTurn(5, 100, 500), nil, 99, "5 devices have no certificate of 2026 yet, of wave 1 of 3 (1% of the group): sensor-1 (seen at "},
		"the first wave has":           {inTurn(0, 95, 495), nil, 80, "95 devices have no certificate of 2026 yet, of wave 2 of 3 (20% of the group): "},
		"the second has":               {inTurn(0, 0, 400), nil, 0, "400 devices have no certificate of 2026 yet, of wave 3 of 3 (100% of the group): "},
		"one of the first is left":     {inTurn(1, 1, 1), nil, 99, "1 device has no certificate of 2026 yet, of wave 1 of 3"},
		"all have":                     {planner.Tally{Key: key2026.Fingerprint(), Waves: inTurn(0, 0, 0).Waves}, nil, 0, ""},
		"nobody has counted by waves":  {planner.Tally{Key: key2026.Fingerprint(), Elsewhere: some(500)}, nil, 99, "it is not known how far its devices are with 2026"},
		"no window is open":            {inTurn(5, 100, 500), within(onSaturdays), 100, "5 devices have no certificate of 2026 yet, of wave 1 of 3"},
		"none is, for the second wave": {inTurn(0, 95, 495), within(onSaturdays), 99, "95 devices have no certificate of 2026 yet, of wave 2 of 3"},
		"a stolen key waits for none":  {inTurn(5, 100, 500), stolen, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := drained()
			s.desired.Authorities[0].Spec.Rollover.Waves = []int{1, 20, 100}
			s.desired.Groups = []v1alpha1.DeviceGroup{sensors()}
			s.observed.Ledger = []planner.Ledger{{Group: "sensors", Active: 500, Keys: []planner.Tally{{Key: key2025.Fingerprint(), Chaining: some(1)}, test.tally}}}
			if test.change != nil {
				test.change(s)
			}
			plan := s.next()
			var told string
			for _, hold := range plan.Rollovers[0].Holds {
				if hold.Subject == "DeviceGroup sensors" && plan.Rollovers[0].Phase == planner.Reissue {
					told = hold.Why
				}
			}
			if rule := plan.Target.DeviceRules[0]; rule.Later != test.later || rule.Key != "2026" {
				t.Errorf("the rule is %+v, want %d%% later", rule, test.later)
			}
			if !strings.HasPrefix(told, test.hold) || (told == "") != (test.hold == "") {
				t.Errorf("the hold says %q, want %q; the plan %q", told, test.hold, tell(plan, s.now))
			}
		})
	}
}

// stolenAfterwards is the plant whose issuer has moved to 2026, which was stolen then; that
// nothing moves for now makes no device change to it.
func stolenAfterwards() *site {
	s := paused()
	s.commit("2025 Signing", "2026 Compromised")
	return s
}

func stolen(s *site) { s.commit("2025 Compromised", "2026 Signing") }

// A device is silent from when it was last heard of, or from when it could first have been.
func TestSilence(t *testing.T) {
	const limit = 720 * time.Hour // spec.rollover.waitForOffline, when absent
	for name, test := range map[string]struct {
		device planner.Device
		silent bool
	}{
		"seen just now":                    {planner.Device{Seen: noon}, false},
		"not seen for too long":            {planner.Device{Seen: noon.Add(-limit), Since: noon.Add(-2 * limit)}, true},
		"seen long ago, and renewed since": {planner.Device{Seen: noon.Add(-limit), Since: noon}, true},
		"new, and never seen":              {planner.Device{Since: noon.Add(-time.Minute)}, false},
		"never seen for too long":          {planner.Device{Since: noon.Add(-limit)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := drained()
			s.now = noon
			s.desired.Groups = []v1alpha1.DeviceGroup{sensors()}
			test.device.Name = "sensor-1"
			behind := planner.Tally{Key: key2026.Fingerprint(), Elsewhere: planner.Devices{Count: 1, First: []planner.Device{test.device}}}
			s.observed.Ledger = []planner.Ledger{{Group: "sensors", Active: 1, Keys: []planner.Tally{{Key: key2025.Fingerprint()}, behind}}}
			holds := s.next().Rollovers[0].Holds
			at := slices.IndexFunc(holds, func(h planner.Hold) bool { return h.Subject == "DeviceGroup sensors" })
			if at < 0 || holds[at].Alarm != test.silent || strings.Contains(holds[at].Why, "silent") != test.silent {
				t.Errorf("the holds are %+v", holds)
			}
		})
	}
}
