package planner_test

import (
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// probed is the drained plant, with a probe of its broker and one that has another name.
func probed() *site {
	s := drained()
	s.desired.Bundles[0].Spec.Probes = []v1alpha1.Probe{
		{Address: "broker.plant.svc:8883"},
		{Name: "gateway", Address: "10.0.0.7:443", ServerName: "gateway.example"},
	}
	return s
}

// shake gives the results of both probes, with what was trusted.
func (s *site) shake(ok bool, trusted ...entity) {
	s.observed.Probes = nil
	for _, p := range []v1alpha1.Probe{s.desired.Bundles[0].Spec.Probes[1], s.desired.Bundles[0].Spec.Probes[0]} {
		p.Default()
		result := planner.ProbeResult{
			Bundle: "fleet-trust", Name: p.Name, Address: p.Address, ServerName: p.ServerName,
			Anchors: anchorsOf(trusted...).SHA256(), At: s.now, OK: ok,
		}
		if !ok {
			result.Problem = "connection refused"
		}
		s.observed.Probes = append(s.observed.Probes, result)
	}
}

// TestProbes: an anchor leaves a bundle when every probe of that has shaken hands without it,
// lately, with exactly what is left.
func TestProbes(t *testing.T) {
	const (
		onTheWay = "fleet-root 2025 → 2026: Retire: 0 of 2 copies are without 2025"
		unasked  = "fleet-root 2025 → 2026: Retire: 2025 is drained; 0 of 2 probes have shaken hands without it"
		broker   = "- probe: broker.plant.svc:8883 of TrustBundle fleet-trust: "
		gateway  = "- probe: gateway of TrustBundle fleet-trust: "

		askBroker  = "probe broker.plant.svc:8883 of fleet-trust at broker.plant.svc:8883 as broker.plant.svc with 2026"
		askGateway = "probe gateway of fleet-trust at 10.0.0.7:443 as gateway.example with 2026"
	)
	never := []string{
		unasked,
		broker + "nobody has shaken hands with broker.plant.svc:8883 without 2025 yet",
		gateway + "nobody has shaken hands with 10.0.0.7:443 as gateway.example without 2025 yet",
		askBroker, askGateway, inAnHour,
	}
	holdsBoth := []string{
		"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
		"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026",
	}
	play(t, map[string]scene{
		"nobody has been asked": {site: probed(), want: never, targets: holdsBoth},
		"all have shaken hands": {
			site: probed(), change: func(s *site) { s.shake(true, key2026) },
			want: []string{
				onTheWay,
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
				inAnHour,
			},
			targets: []string{holdsBoth[0], holdsBoth[1], holdsBoth[2], "bundle fleet-trust 2026", "decisive"},
		},
		"trusting something else": {site: probed(), change: func(s *site) { s.shake(true, key2025, key2026) }, want: never, targets: holdsBoth},
		"at another address": {site: probed(), change: func(s *site) {
			s.shake(true, key2026)
			s.observed.Probes[0].Address = "10.0.0.8:443"
			s.observed.Probes[1].ServerName = "other"
		}, want: never},
		"of another bundle": {site: probed(), change: func(s *site) {
			s.shake(true, key2026)
			s.observed.Probes[0].Bundle = "x"
			s.observed.Probes[1].Bundle = "x"
		}, want: never},
		"by a clock that is ahead": {site: probed(), change: func(s *site) {
			s.shake(true, key2026)
			s.observed.Probes[0].At = s.now.Add(time.Second)
			s.observed.Probes[1].At = s.now.Add(time.Second)
		}, want: never},
		"one of them a while ago": {
			site: probed(), change: func(s *site) { s.shake(true, key2026); s.observed.Probes[0].At = s.now.Add(-time.Hour - time.Second) },
			want: []string{
				"fleet-root 2025 → 2026: Retire: 2025 is drained; 1 of 2 probes have shaken hands without it",
				gateway + "the handshake with 10.0.0.7:443 as gateway.example without 2025 is more than 1h0m0s old",
				askGateway, inAnHour,
			},
			targets: holdsBoth,
		},
		"they failed just now": {
			site: probed(), change: func(s *site) { s.shake(false, key2026) },
			want: []string{
				unasked,
				broker + "the handshake with broker.plant.svc:8883 without 2025 fails: connection refused; mend that, or take the probe out",
				gateway + "the handshake with 10.0.0.7:443 as gateway.example without 2025 fails: connection refused; mend that, or take the probe out",
				"look again after 30s",
			},
			targets: holdsBoth,
		},
		"one failed half a minute ago": {
			site: probed(), change: func(s *site) {
				s.shake(true, key2026)
				s.observed.Probes[0].OK, s.observed.Probes[0].Problem, s.observed.Probes[0].At = false, "connection refused", s.now.Add(-30*time.Second)
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: 2025 is drained; 1 of 2 probes have shaken hands without it",
				gateway + "the handshake with 10.0.0.7:443 as gateway.example without 2025 fails: connection refused; mend that, or take the probe out",
				askGateway, inAnHour,
			},
		},
		"while nothing is to leave": {
			site: settled(), change: func(s *site) { s.desired.Bundles[0].Spec.Probes = []v1alpha1.Probe{{Address: "broker.plant.svc:8883"}} },
			want: []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", inAnHour},
		},
		"while the rollover is paused": {
			site: probed(), change: func(s *site) { s.desired.Authorities[0].Spec.Rollover.Paused = true },
			want: append(never[:3:3], "- paused: spec.rollover.paused is true: unset it to go on", inAnHour),
		},
		"before the window opens": {
			site: probed(), change: within(onSaturdays),
			want: append([]string{unasked, opens}, never[1:]...),
		},
		"once the bundle is without it, nobody is asked again": {
			site: released(), change: func(s *site) {
				s.desired.Bundles[0].Spec.Probes = []v1alpha1.Probe{{Address: "broker.plant.svc:8883"}}
				s.observed.Copies[1].Anchors = anchorsOf(key2025, key2026)
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: 1 of 2 copies are without 2025",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)", inAnHour,
			},
		},
	})
}

// TestProbesOfABundleOfTwoAuthorities: what was shaken hands with does not count for less
// than that: two anchors that could go one by one do not go together.
func TestProbesOfABundleOfTwoAuthorities(t *testing.T) {
	s := probed()
	other, old, new := authority("press-root", "Press Root"), newRoot("press 2025", "Press Root 2025"), newRoot("press 2026", "Press Root 2026")
	s.desired.Authorities = append(s.desired.Authorities, other)
	s.commitTo(1, "2025 Retired", "2026 Signing")
	s.desired.Bundles[0].Spec.Authorities = []string{"fleet-root", "press-root"}
	for name, root := range map[string]entity{"2025": old, "2026": new} {
		spec := caSpec
		spec.CommonName = "Press Root " + name
		s.observed.Keys = append(s.observed.Keys, planner.Key{
			Authority: planner.Ref{Namespace: "cert-manager", Name: "press-root"}, Name: name, HasCertificate: true, HasIssuer: true, SecretSeen: true,
			Issued: true, Spec: spec, Certificate: root.Certificate, Generation: 1,
			Canary: planner.Canary{Name: "c", At: s.now, Generation: 1, State: planner.CanarySigned, Certificate: newLeaf("press canary "+name, root).Certificate},
		})
	}
	s.distribute(key2025, key2026, old, new)
	s.reload()
	s.rest(10 * time.Minute)
	s.rest(10 * time.Minute)
	s.shake(true, key2026, old, new)
	together := s.observed.Probes
	s.shake(true, key2025, key2026, new)
	s.observed.Probes = append(s.observed.Probes, together...)
	s.issuer().Canary.At = s.now
	for i := range s.observed.Keys {
		s.observed.Keys[i].Canary.At = s.now
	}
	plan := s.next()
	if held := len(plan.Target.Bundles[0].Anchors); held != 3 {
		t.Errorf("the bundle is to hold %d anchors, want 3: %v", held, append(tell(plan, s.now), targets(plan)...))
	}
}

// TestProbesOfACertificateThatGitDrops: a certificate that leaves a bundle with Git waits for
// the probes as well.
func TestProbesOfACertificateThatGitDrops(t *testing.T) {
	dropped := func(results ...bool) *site {
		s := settled()
		s.distribute(key2025, stranger)
		s.observed.Bundles[0].Certificates = anchorsOf(stranger)
		s.desired.Bundles[0].Spec.Probes = []v1alpha1.Probe{{Address: "broker.plant.svc:8883"}, {Name: "gateway", Address: "b:1"}}
		s.reload()
		for _, ok := range results {
			s.shake(ok, key2025)
		}
		return s
	}
	keys, signs := "key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root"
	at := "fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it"
	play(t, map[string]scene{
		"nobody has been asked": {
			site: dropped(),
			want: []string{
				at,
				"hold probe: broker.plant.svc:8883 of TrustBundle fleet-trust: nobody has shaken hands with broker.plant.svc:8883 without Fleet Root 2026 (#stranger) yet",
				"hold probe: gateway of TrustBundle fleet-trust: nobody has shaken hands with b:1 without Fleet Root 2026 (#stranger) yet",
				"probe broker.plant.svc:8883 of fleet-trust at broker.plant.svc:8883 as broker.plant.svc with 2025",
				"probe gateway of fleet-trust at b:1 as b with 2025", inAnHour,
			},
			targets: []string{keys, signs, "bundle fleet-trust 2025 stranger"},
		},
		"all have shaken hands": {
			site: dropped(true), want: []string{at, inAnHour},
			targets: []string{keys, signs, "bundle fleet-trust 2025", "decisive"},
		},
	})
}
