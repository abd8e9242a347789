package planner_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// The tests' noon is on a Sunday. onSaturdays opens six days later; untilOne is open.
var (
	onSaturdays = v1alpha1.Window{Cron: "0 2 * * 6", Duration: metav1.Duration{Duration: 4 * time.Hour}}
	untilOne    = v1alpha1.Window{Cron: "0 12 * * 0", Duration: metav1.Duration{Duration: time.Hour}}
)

const opens = "- window: opens at 2026-03-07T02:00:00Z (Saturday 02:00 UTC)"

func within(windows ...v1alpha1.Window) func(*site) {
	return func(s *site) { s.desired.Authorities[0].Spec.Rollover.Windows = windows }
}

// TestWindows: what a client may notice waits for a window; what prepares it does not.
func TestWindows(t *testing.T) {
	signs2025, bundleOfBoth := "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025 2026"
	both := []string{"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer"}
	play(t, map[string]scene{
		"bundles grow at any time": {
			site: introduced(), change: within(onSaturdays),
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				drop2025, inAnHour,
			},
			targets: []string{both[0], both[1], signs2025, bundleOfBoth},
		},
		"a restart waits": {
			site: introduced(), change: func(s *site) {
				within(onSaturdays)(s)
				s.distribute(key2025, key2026)
			},
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 2 of 2 copies hold 2026; 0 of 2 verifiers have reloaded", opens,
				"- reload: Deployment lab/client: not all of its pods are known to have started since the copies hold 2026",
				"- reload: Deployment plant/broker: not all of its pods are known to have started since the copies hold 2026",
				drop2025, inAnHour,
			},
		},
		"an issuer waits": {
			site: soaked(), change: within(onSaturdays),
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026", opens,
				"- issuer: ClusterIssuer fleet: moves to 2026 then",
				drop2025, inFifty,
			},
			targets: []string{both[0], both[1], signs2025, bundleOfBoth},
		},
		"an issuer moves while one is open": {
			site: soaked(), change: within(onSaturdays, untilOne),
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				"- issuer: ClusterIssuer fleet: moves to 2026 now",
				drop2025, inFifty,
			},
		},
		"an issuer that is missing is made at any time": {
			site: soaked(), change: func(s *site) {
				within(onSaturdays)(s)
				s.observed.Issuers = nil
			},
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				"- issuer: ClusterIssuer fleet: made with 2026 now",
				drop2025,
			},
		},
		"a leaf waits": {
			site: switched(), change: within(onSaturdays),
			want: []string{
				"fleet-root 2025 → 2026: Reissue: 0 of 1 leaf chains to 2026", opens,
				"- leaf: Certificate plant/broker: chains to 2025, not to 2026",
				drop2025, inAnHour,
			},
		},
		"one that was asked for is issued outside": {
			site: switched(), change: func(s *site) {
				within(onSaturdays)(s)
				s.leaf().Issuing = true
			},
			want: []string{
				"fleet-root 2025 → 2026: Reissue: 0 of 1 leaf chains to 2026",
				"- leaf: Certificate plant/broker: being reissued",
				drop2025, inAnHour,
			},
		},
		"a presenter waits": {
			site: reissued(), change: within(onSaturdays),
			want: []string{
				"fleet-root 2025 → 2026: Reissue: 1 of 1 leaf chains to 2026; 0 of 1 presenters have reloaded", opens,
				"- reload: Deployment plant/broker: " + notShowing, inAnHour,
			},
		},
		"one that is restarting goes on": {
			site: reissued(), change: func(s *site) {
				within(onSaturdays)(s)
				s.broker().LeavesDigest, s.broker().Bearing = s.leavesDigest(*s.broker()), 0
			},
			want: []string{
				"fleet-root 2025 → 2026: Reissue: 1 of 1 leaf chains to 2026; 0 of 1 presenters have reloaded",
				"- reload: Deployment plant/broker: restarting: 0 of 2 pods are from the new pod template", inAnHour,
			},
		},
		"an anchor waits": {
			site: drained(), change: within(onSaturdays),
			want:    []string{"fleet-root 2025 → 2026: Retire: 2025 is drained", opens, inAnHour},
			targets: []string{both[0], both[1], "issuer fleet signs with 2026 of fleet-root", bundleOfBoth},
		},
		"the Certificate of a key waits": {
			site: released(), change: within(onSaturdays),
			want:    []string{"fleet-root 2025 → 2026: Retire: 2025 is drained", opens, inAnHour},
			targets: []string{both[0], both[1], "issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2026"},
		},
		"of which it is not known when it opens": {
			site: soaked(), change: within(v1alpha1.Window{Cron: "0 2 * * 6", TimeZone: "Europe/Berlin"}),
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				`- window: it is not known when one opens: the time zone "Europe/Berlin" was not found: correct spec.rollover.windows`,
				"- issuer: ClusterIssuer fleet: moves to 2026 then",
				drop2025, inFifty,
			},
		},
	})
}

// TestWhatBeganInAWindowIsFinished: a key whose anchor was taken out while a window was open
// goes all the way after it has closed; without that memory it waits for the next.
func TestWhatBeganInAWindowIsFinished(t *testing.T) {
	s := drained()
	within(untilOne)(s)
	s.issuer().Canary.At = s.now
	if plan := s.next(); !plan.Decisive {
		t.Fatalf("nothing begins while the window is open: %v", tell(plan, s.now))
	}
	s.rest(55 * time.Minute)
	if plan := s.next(); !plan.Decisive {
		t.Errorf("what was begun is not carried on after the window has closed: %v", tell(plan, s.now))
	}
	s.distribute(key2026)
	s.reload()
	if told := tell(s.next(), s.now); told[0] != "fleet-root 2025 → 2026: Retire: no copy holds 2025; its Certificate goes" {
		t.Errorf("the Certificate does not go: %v", told)
	}
	s.observed.Since = nil
	if told := tell(s.next(), s.now); !strings.HasPrefix(told[1], "- window: opens at 2026-03-08T12:00:00Z (Sunday 12:00 UTC)") {
		t.Errorf("with the status lost: %v", told)
	}
}

// TestTheNextLookIsAtTheWindow: when nothing else is due before, the plan says to look again
// when a window opens, and when it closes.
func TestTheNextLookIsAtTheWindow(t *testing.T) {
	s := reissued()
	at := func(windows ...v1alpha1.Window) time.Duration {
		within(windows...)(s)
		s.issuer().Canary.At = s.now
		return s.next().LookAgain.Sub(s.now)
	}
	soon := v1alpha1.Window{Cron: "30 12 * * *", Duration: metav1.Duration{Duration: time.Hour}}
	if got := at(soon); got != 20*time.Minute {
		t.Errorf("a window that opens at 12:30 is looked at after %s", got)
	}
	if got := at(untilOne); got != 50*time.Minute {
		t.Errorf("a window that closes at 13:00 is looked at after %s", got)
	}
}

// TestWindowsOfAZone: the hold says what clocks in the window's zone show.
func TestWindowsOfAZone(t *testing.T) {
	s := soaked()
	s.desired.Zones = v1alpha1.Zones{"Plant/Time": time.FixedZone("Plant/Time", 2*60*60)}
	within(v1alpha1.Window{Cron: "0 1 * * 1", Duration: metav1.Duration{Duration: time.Hour}, TimeZone: "Plant/Time"})(s)
	want := planner.Hold{Gate: "window", Why: "opens at 2026-03-01T23:00:00Z (Monday 01:00 Plant/Time)"}
	if got := s.next().Rollovers[0].Holds[0]; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestAnEmergencyWaitsForNothing: with a compromised key, all leaves are asked for at once.
func TestAnEmergencyWaitsForNothing(t *testing.T) {
	s := inWaves()
	within(onSaturdays)(s)
	s.commit("2025 Compromised", "2026 Signing")
	asked := 0
	for _, action := range s.next().Actions {
		if action.Kind == planner.ActionReissue {
			asked++
		}
	}
	if asked != 5 {
		t.Errorf("%d leaves are asked for, want 5: %v", asked, tell(s.next(), s.now))
	}
}
