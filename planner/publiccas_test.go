package planner_test

import (
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// withoutPublicCAs is the settled plant to the bundle of which Git adds the public CAs no more.
func withoutPublicCAs(probes ...v1alpha1.Probe) *site {
	s := settled()
	s.observed.Bundles[0].UseDefaultCAs = true
	s.desired.Bundles[0].Spec.Probes = probes
	return s
}

// TestPublicCAs: they leave a bundle that somebody mounts when every probe has shaken hands
// without them, while nothing of it is paused and a window is open.
func TestPublicCAs(t *testing.T) {
	const change = "public-cas: TrustBundle fleet-trust: Git adds the public CAs to it no more, and "
	gateway := v1alpha1.Probe{Name: "gateway", Address: "10.0.0.7:443", ServerName: "gateway.example"}
	shaken := func(s *site) {
		s.desired.Bundles[0].Spec.Probes = []v1alpha1.Probe{gateway, {Address: "broker.plant.svc:8883"}}
		s.shake(true, key2025)
	}
	for name, test := range map[string]struct {
		site   *site
		change func(*site)
		// hold is why they stay; empty: they go.
		hold string
		asks int
	}{
		"without a probe": {
			site: withoutPublicCAs(),
			hold: change + "Deployment lab/client, Deployment plant/broker verify with it: nobody can tell whether they need those; they stay until it has probes and all have shaken hands without them, or until nobody mounts it: declare a TrustBundle of another name beside it and move its users",
		},
		"one workload": {
			site: withoutPublicCAs(), change: func(s *site) { s.observed.Workloads = s.observed.Workloads[:1] },
			hold: change + "Deployment lab/client verifies with it: nobody",
		},
		"nobody mounts it": {site: withoutPublicCAs(), change: func(s *site) { s.observed.Workloads = nil }},
		"a probe that was never asked": {
			site: withoutPublicCAs(gateway), asks: 1,
			hold: "probe: gateway of TrustBundle fleet-trust: nobody has shaken hands with 10.0.0.7:443 as gateway.example without the public CAs yet",
		},
		"probes that have shaken hands": {site: withoutPublicCAs(), change: shaken},
		"with something else trusted":   {site: withoutPublicCAs(), change: func(s *site) { shaken(s); s.shake(true, key2025, key2026) }, hold: "probe: ", asks: 2},
		"probes that fail":              {site: withoutPublicCAs(), change: func(s *site) { shaken(s); s.shake(false, key2025) }, hold: "probe: "},
		"a pause": {
			site: withoutPublicCAs(), change: func(s *site) { shaken(s); s.desired.Authorities[0].Spec.Rollover.Paused = true },
			hold: "paused: TrustBundle fleet-trust: Git adds the public CAs to it no more, and they stay while spec.rollover.paused of fleet-root is true: unset it to go on",
		},
		"outside the windows": {
			site: withoutPublicCAs(), change: func(s *site) { shaken(s); within(onSaturdays)(s) },
			hold: "window: TrustBundle fleet-trust: Git adds the public CAs to it no more, and they leave it in the next window: opens at 2026-03-07T02:00:00Z (Saturday 02:00 UTC)",
		},
		"in a window": {site: withoutPublicCAs(), change: func(s *site) { shaken(s); within(onSaturdays, untilOne)(s) }},
		"Git adds them": {
			site: withoutPublicCAs(), change: func(s *site) { s.desired.Bundles[0].Spec.UseDefaultCAs = true }, hold: "kept",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.change != nil {
				test.change(test.site)
			}
			plan := test.site.next()
			stays := plan.Target.Bundles[0].UseDefaultCAs
			if stays != (test.hold != "") || plan.Decisive == stays || len(plan.Probes) != test.asks {
				t.Errorf("they stay: %t; decisive: %t; asked: %v", stays, plan.Decisive, plan.Probes)
			}
			if want := test.hold; want != "" && want != "kept" && (len(plan.Holds) == 0 || !strings.HasPrefix(plan.Holds[0].String(), want)) {
				t.Errorf("the plan is held by %v, want %q", plan.Holds, want)
			}
		})
	}
}

// TestAHandshakeGrowsOld: what was shown an hour ago shows nothing of the public CAs.
func TestAHandshakeGrowsOld(t *testing.T) {
	s := withoutPublicCAs(v1alpha1.Probe{Name: "one", Address: "a.example:1"}, v1alpha1.Probe{Name: "two", Address: "b.example:1"})
	s.shake(true, key2025)
	s.now = s.now.Add(time.Hour + time.Second)
	if plan := s.next(); !plan.Target.Bundles[0].UseDefaultCAs || len(plan.Probes) != 2 {
		t.Errorf("the plan says %q", tell(plan, s.now))
	}
	s.shake(true, key2025)
	if plan := s.next(); plan.Target.Bundles[0].UseDefaultCAs {
		t.Errorf("the plan says %q", tell(plan, s.now))
	}
}
