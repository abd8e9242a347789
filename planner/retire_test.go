package planner_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// An old key goes in one order: its anchor, its Certificate, its Secret, its internal
// issuer. With the Certificate there, cert-manager would make the Secret anew; and the
// internal issuer tells when the Secret is gone, so that nobody has to read it.
func TestRetireInOrder(t *testing.T) {
	both := []string{"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer"}
	signs := "issuer fleet signs with 2026 of fleet-root"
	withoutCertificate := func(s *site) {
		s.key("2025").HasCertificate, s.key("2025").Issued, s.key("2025").Certificate = false, false, pki.Certificate{}
	}
	play(t, map[string]scene{
		"1: the anchor leaves the bundle": {
			site: drained(),
			want: []string{
				"fleet-root 2025 → 2026: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
				inAnHour,
			},
			targets: []string{both[0], both[1], signs, "bundle fleet-trust 2026", "decisive"},
		},
		"1: a copy still holds it": {
			site: released(), change: func(s *site) { s.observed.Copies[1].Anchors = anchorsOf(key2025, key2026) },
			want: []string{
				"fleet-root 2025 → 2026: Retire: 1 of 2 copies are without 2025",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
				inAnHour,
			},
			targets: []string{both[0], both[1], signs, "bundle fleet-trust 2026", "decisive"},
		},
		"1: no copy holds it, and the bundle still does": {
			site: released(), change: func(s *site) { s.observed.Bundles[0].Anchors = anchorsOf(key2025, key2026) },
			want: []string{
				"fleet-root 2025 → 2026: Retire: 2 of 2 copies are without 2025",
				"- anchors: TrustBundle fleet-trust: still holds Fleet Root 2025 (#2025)",
				inAnHour,
			},
			targets: []string{both[0], both[1], signs, "bundle fleet-trust 2026", "decisive"},
		},
		"2: the Certificate goes": {
			site: released(),
			want: []string{
				"fleet-root 2025 → 2026: Retire: no copy holds 2025; its Certificate goes",
				"- removal: Certificate cert-manager/fleet-root-2025: being removed",
				inAnHour,
			},
			targets: []string{"key fleet-root 2025 Issuer", both[1], signs, "bundle fleet-trust 2026", "decisive"},
		},
		"3: the Secret goes": {
			site: released(), change: withoutCertificate,
			want: []string{
				"fleet-root 2025 → 2026: Retire: the Certificate of 2025 is gone; its Secret goes",
				"- removal: Secret cert-manager/fleet-root-2025: being removed; the internal issuer still finds it",
				"do DeleteSecret cert-manager/fleet-root-2025: 2025 is retired and its Certificate is gone",
				inAnHour,
			},
			targets: []string{"key fleet-root 2025 Issuer", both[1], signs, "bundle fleet-trust 2026", "decisive"},
		},
		"4: the internal issuer goes": {
			site: released(),
			change: func(s *site) {
				withoutCertificate(s)
				s.key("2025").SecretGone = true
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: the Secret of 2025 is gone; its internal issuer goes",
				"- removal: Issuer cert-manager/fleet-root-2025: being removed",
				inAnHour,
			},
			targets: []string{both[1], signs, "bundle fleet-trust 2026"},
		},
		"5: nothing is left": {
			site: released(), change: func(s *site) { s.observed.Keys = s.observed.Keys[1:] },
			want:    []string{"fleet-root none → 2026: Settled: 2026 signs; 1 leaf chains to it", inAnHour},
			targets: []string{both[1], signs, "bundle fleet-trust 2026"},
		},
		"a key that is gone from the list counts as retired": {
			site: drained(), change: func(s *site) { s.commit("2026 Signing") },
			want: []string{
				"fleet-root 2025 → 2026: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
				inAnHour,
			},
			targets: []string{both[0], both[1], signs, "bundle fleet-trust 2026", "decisive"},
		},
		"a key that Git trusts is never retired": {
			site: drained(), change: func(s *site) { s.commit("2025 Trusted", "2026 Signing") },
			want: []string{
				// 2025 is looked at as any trusted key is; its soak is not waited for.
				"fleet-root none → 2026: Settled: 2026 signs; 1 leaf chains to it", inAnHour,
			},
			targets: []string{both[0], both[1], signs, "bundle fleet-trust 2025 2026"},
		},
		"a key that was never issued goes without further ado": {
			site: settled(),
			change: func(s *site) {
				s.observed.Keys = append(s.observed.Keys, planner.Key{Authority: fleetRoot, Name: "2026", HasCertificate: true, HasIssuer: true})
			},
			want: []string{
				"fleet-root 2026 → 2025: Retire: no copy holds 2026; its Certificate goes",
				"- removal: Certificate cert-manager/fleet-root-2026: being removed",
				inAnHour,
			},
			targets: []string{both[0], "key fleet-root 2026 Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025", "decisive"},
		},
	})
}

// Drain before retire: nothing of a key goes while anybody may need it.
func TestRetireHolds(t *testing.T) {
	held := func(holds ...string) []string {
		return append([]string{"fleet-root 2025 → 2026: Retire: 2025 is not drained"}, holds...)
	}
	stays := []string{
		"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
		"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026",
	}
	other := func(s *site, edit func(*planner.Leaf)) {
		leaf := planner.Leaf{
			Ref: planner.Ref{Namespace: "press", Name: "mill"}, Issuer: planner.Ref{Name: "fleet"}, SecretName: "mill-tls",
			Chain: []pki.Certificate{newLeaf("mill", key2026).Certificate},
		}
		edit(&leaf)
		s.observed.Leaves = append(s.observed.Leaves, leaf)
	}
	play(t, map[string]scene{
		"a leaf refers to the internal issuer": {
			site: drained(),
			change: func(s *site) {
				other(s, func(l *planner.Leaf) { l.Issuer = planner.Ref{Namespace: "cert-manager", Name: "fleet-root-2025"} })
			},
			want:    held("- drain: Certificate press/mill: refers to the internal issuer of 2025: point it at a binding's issuer", inAnHour),
			targets: stays,
		},
		"the chain of a leaf is not known": {
			site: drained(),
			change: func(s *site) {
				s.leaf().Unknown = "its CertificateRequest is gone"
			},
			want:    held("- drain: Certificate plant/broker: its chain is not known: its CertificateRequest is gone", inAnHour),
			targets: stays,
		},
		"the proof is stale": {
			site:    drained(),
			change:  func(s *site) { s.now = s.now.Add(time.Hour + time.Second) },
			want:    held("- canary: ClusterIssuer fleet: the last proof is older than 1h0m0s", "do Prove fleet: the last proof is 1h0m0s old"),
			targets: stays,
		},
		"something could not be read": {
			site: drained(),
			change: func(s *site) {
				s.rest(0)
				s.observed.Unknown = []planner.Unknown{{Subject: "Certificates of namespace press", Why: "forbidden: grant list"}}
			},
			want:    held("- unknown: Certificates of namespace press: forbidden: grant list", "hold unknown: Certificates of namespace press: forbidden: grant list", "blind: nothing is written", inAnHour),
			targets: stays,
		},
		"it was issued, and what is not known": {
			site: drained(), change: func(s *site) {
				s.key("2025").Certificate, s.key("2025").Problem = pki.Certificate{}, "its CertificateRequest is gone"
			},
			want: held(
				"- issue: Certificate cert-manager/fleet-root-2025: its CertificateRequest is gone",
				inAnHour,
			),
			targets: stays,
		},
	})
}

// The chain of a live leaf verifies without the key, or the key stays. Leaves that
// ended keep nobody.
func TestRetireAsksForEveryLiveChain(t *testing.T) {
	going := func() *site { // an authority that Git lets go altogether: nothing is reissued
		s := settled()
		s.commit("2025 Retired")
		s.desired.Bindings, s.observed.Issuers = nil, nil
		return s
	}
	play(t, map[string]scene{
		"a leaf is alive": {
			site: going(),
			want: []string{
				"fleet-root 2025 → none: Retire: 2025 is not drained",
				"- drain: Certificate plant/broker: does not verify without 2025: verify broker (#broker): x509: certificate signed by unknown authority",
				drop2025,
			},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "bundle fleet-trust 2025"},
		},
		"it has ended": {
			site: going(), change: func(s *site) { s.now = s.leaf().Chain[0].NotAfter().Add(time.Second) },
			want: []string{
				"fleet-root 2025 → none: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
				drop2025,
			},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "decisive"},
		},
		"its issuer is still there": {
			site: going(), change: func(s *site) { s.pointTo("2025", key2025) },
			want: []string{
				"fleet-root 2025 → none: Retire: 2025 is not drained",
				"- issuer: ClusterIssuer fleet: still signs with 2025",
				"- drain: Certificate plant/broker: does not verify without 2025: verify broker (#broker): x509: certificate signed by unknown authority",
				"hold prune: ClusterIssuer fleet: Git no longer declares it, but the Certificate plant/broker refers to it: move the Certificate first",
				drop2025,
			},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025"},
		},
	})
}

// Who would drop is named from the moment at which a key is to go, leaf by leaf.
func TestDropsAreNamed(t *testing.T) {
	s := introduced()
	s.observed.Leaves = append(s.observed.Leaves,
		planner.Leaf{Ref: planner.Ref{Namespace: "lab", Name: "foreign"}, Issuer: planner.Ref{Name: "fleet"}, Chain: []pki.Certificate{newLeaf("foreign", key2025).Certificate}},
		planner.Leaf{Ref: planner.Ref{Namespace: "lab", Name: "unissued"}, Issuer: planner.Ref{Name: "fleet"}},
		planner.Leaf{Ref: planner.Ref{Namespace: "lab", Name: "moved"}, Issuer: planner.Ref{Name: "fleet"}, Chain: []pki.Certificate{newLeaf("moved", key2026).Certificate}},
	)
	drops := func() []string {
		var all []string
		for _, drop := range s.next().Drops {
			all = append(all, drop.Authority.String()+" "+drop.Key+": "+drop.Who+" "+drop.Why)
		}
		return all
	}
	same(t, "would drop", drops(), []string{
		"cert-manager/fleet-root 2025: Certificate lab/foreign chains to 2025",
		"cert-manager/fleet-root 2025: Certificate plant/broker chains to 2025",
	})
	s.commit("2025 Trusted", "2026 Signing")
	same(t, "while Git trusts 2025 would drop", drops(), nil)
}

// A bundle only grows, but for the anchor that Retire takes out; what nobody accounts
// for stays and is named.
func TestBundles(t *testing.T) {
	rest := "fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it"
	backAgain := "fleet-root none → 2025: Distribute: 2 of 2 copies hold 2025"
	key, issuer := "key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root"
	selects := v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "trust.pem"}}
	play(t, map[string]scene{
		"a stranger stays and is named": {
			site: settled(), change: func(s *site) { s.distribute(key2025, stranger); s.reload() },
			want: []string{
				rest,
				"hold bundle: TrustBundle fleet-trust: it holds Fleet Root 2026 with fingerprint ##stranger, which is no key of its authorities; it stays until it is taken out by hand",
				inAnHour,
			},
			targets: []string{key, issuer, "bundle fleet-trust 2025 stranger"},
		},
		"an anchor that was taken out by hand comes back": {
			site: settled(), change: func(s *site) { s.observed.Bundles[0].Anchors = nil },
			want:    []string{backAgain, "- copies: TrustBundle fleet-trust: its Bundle does not hold 2025 yet", inAnHour},
			targets: []string{key, issuer, "bundle fleet-trust 2025"},
		},
		"a bundle that was deleted comes back": {
			site: settled(), change: func(s *site) { s.observed.Bundles = nil },
			want:    []string{backAgain, "- copies: TrustBundle fleet-trust: its Bundle does not hold 2025 yet", inAnHour},
			targets: []string{key, issuer, "bundle fleet-trust 2025"},
		},
		"a bundle without any anchor yet is not made": {
			site: settled(), change: func(s *site) { s.desired.Bundles = append(s.desired.Bundles, bundle("later")) },
			want:    []string{rest, inAnHour},
			targets: []string{key, issuer, "bundle fleet-trust 2025"},
		},
		"a changed target is not moved": {
			site: settled(), change: func(s *site) { s.desired.Bundles[0].Spec.Target = selects },
			want: []string{
				rest,
				"hold bundle: TrustBundle fleet-trust: its target was changed in Git; the old copies would be removed before the new ones are there: declare a TrustBundle of another name beside it, move its users, then remove this one",
				inAnHour,
			},
			targets: []string{key, issuer, "bundle fleet-trust 2025"},
		},
		"an undeclared bundle stays for whoever mounts it": {
			site: settled(),
			change: func(s *site) {
				s.observed.Bundles = append(s.observed.Bundles, planner.Bundle{Name: "old-trust", Anchors: anchorsOf(key2027), Target: target})
				s.client().Bundles = append(s.client().Bundles, planner.Mount{Name: "old-trust", Kind: planner.MountVolume})
			},
			want: []string{
				rest,
				"hold bundle: TrustBundle old-trust: Git no longer declares it, but Deployment lab/client mounts it: move the workload first",
				inAnHour,
			},
			targets: []string{key, issuer, "bundle fleet-trust 2025", "bundle old-trust 2027"},
		},
		"an undeclared bundle that nobody mounts goes": {
			site: settled(), change: func(s *site) {
				s.observed.Bundles = append(s.observed.Bundles, planner.Bundle{Name: "old-trust", Anchors: anchorsOf(key2027), Target: target})
			},
			want:    []string{rest, inAnHour},
			targets: []string{key, issuer, "bundle fleet-trust 2025", "decisive"},
		},
	})
}

// A target that a bundle keeps is the one that stands, not the one that Git asks for.
func TestAChangedTargetIsKept(t *testing.T) {
	s := settled()
	s.desired.Bundles[0].Spec.Target.NamespaceSelector.MatchLabels = map[string]string{"trust": "fleet"}
	if kept := s.next().Target.Bundles[0].Target; asJSON(t, kept) != asJSON(t, target) {
		t.Errorf("the target becomes %s, want %s", asJSON(t, kept), asJSON(t, target))
	}
	s.desired.Bundles[0].Spec.Target.NamespaceSelector.MatchLabels = map[string]string{}
	if holds := s.next().Holds; len(holds) > 0 {
		t.Errorf("an empty selector is held to be another than none: %v", holds)
	}
}

// While anything could not be read, the plan says so, does nothing, and must not be
// applied: what was not read looks as if it were not there.
func TestABlindPlanDoesNothing(t *testing.T) {
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			s := stage()
			s.observed.Unknown = []planner.Unknown{{Subject: "Deployments", Why: "forbidden: grant list"}}
			plan := s.next()
			if !plan.Blind || len(plan.Actions) > 0 || len(plan.Holds) == 0 || plan.Holds[0].String() != "unknown: Deployments: forbidden: grant list" {
				t.Errorf("the plan says\n\t%s", strings.Join(tell(plan, s.now), "\n\t"))
			}
		})
	}
}

// cert-manager signs past the end of the CA, and its issuer stays Ready: it is said in
// time, which is when a leaf that is signed then would outlive the CA.
func TestLifetimes(t *testing.T) {
	ends, late := key2025.NotAfter(), 2160*time.Hour+15*time.Minute
	for name, test := range map[string]struct {
		now   time.Time
		look  time.Time
		holds []string
	}{
		"in time":      {now: noon, look: noon.Add(time.Hour)},
		"a day before": {now: ends.Add(-late).Add(-24 * time.Hour), look: ends.Add(-late)},
		"too late": {
			now: ends.Add(-late).Add(time.Second), look: ends.Add(-5 * time.Minute),
			holds: []string{"lifetime: Fleet Root 2025 (#2025): it ends at 2036-02-27T12:00:00Z, a new key needs 15m0s to take over, and what it signs lives up to 2160h0m0s: that would outlive it; add a key"},
		},
		"its end is near": {
			now:   ends.Add(-5 * time.Minute),
			holds: []string{"lifetime: Fleet Root 2025 (#2025): it ends at 2036-02-27T12:00:00Z: its issuers are taken away, for cert-manager would sign with it past that; add a key"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := settled()
			s.now = test.now
			if test.now != noon {
				s.issuer().Canary.At = test.now.Add(-2 * time.Hour) // another is due at once: no hour to wait for
			}
			plan := s.next()
			var holds []string
			for _, hold := range plan.Holds {
				holds = append(holds, hold.String())
			}
			same(t, "the plan holds", named(holds), test.holds)
			if !plan.LookAgain.Equal(test.look) {
				t.Errorf("the plan looks again at %s, want %s", plan.LookAgain, test.look)
			}
		})
	}
}

// Devices are waited for until they can do without the key, whatever the leaves chain to.
func TestDevicesHoldRetire(t *testing.T) {
	one := planner.Devices{Count: 1, First: []planner.Device{{Name: "sensor-1", Seen: noon}}}
	for name, test := range map[string]struct {
		old, next planner.Tally
		why       string // empty: nothing is waited for
	}{
		"they can do without":         {planner.Tally{}, planner.Tally{Trusting: one, Chaining: one}, ""},
		"one chains to the key still": {planner.Tally{Chaining: one}, planner.Tally{}, "1 device has a certificate of 2025 still: sensor-1 (seen at "},
		"one has not confirmed":       {planner.Tally{}, planner.Tally{Distrusting: one}, "1 device has not confirmed 2026 yet: sensor-1 (seen at "},
	} {
		t.Run(name, func(t *testing.T) {
			s := drained()
			s.desired.Groups = []v1alpha1.DeviceGroup{sensors()}
			test.old.Key, test.next.Key = key2025.Fingerprint(), key2026.Fingerprint()
			s.observed.Ledger = []planner.Ledger{{Group: "sensors", Active: 1, Keys: []planner.Tally{test.old, test.next}}}
			plan := s.next()
			waits := slices.ContainsFunc(plan.Rollovers[0].Holds, func(h planner.Hold) bool {
				return h.Subject == "DeviceGroup sensors" && test.why != "" && strings.HasPrefix(h.Why, test.why)
			})
			holdsAnchor := plan.Target.Bundles[0].Anchors.Has(key2025.Certificate)
			if waits != (test.why != "") || holdsAnchor != waits {
				t.Errorf("the bundle holds 2025: %v; the plan says %q", holdsAnchor, tell(plan, s.now))
			}
		})
	}
}

// A group that was given another issuer, or that is gone while its devices are listed, has
// certificates of the key all the same.
func TestDevicesOfFormerGroupsHoldRetire(t *testing.T) {
	one := planner.Devices{Count: 1, First: []planner.Device{{Name: "sensor-1", Seen: noon}}}
	moved := sensors()
	moved.Spec.Issuer.Name = "somebody-elses"
	for name, test := range map[string]struct {
		groups   []v1alpha1.DeviceGroup
		chaining planner.Devices
		why      string // empty: nothing is waited for
	}{
		"another issuer":                   {[]v1alpha1.DeviceGroup{moved}, one, "1 device has a certificate of 2025 still, which the group's issuer has nothing to do with any more: sensor-1"},
		"another issuer, and all followed": {[]v1alpha1.DeviceGroup{moved}, planner.Devices{}, ""},
		"not declared any more":            {nil, one, "1 device has a certificate of 2025 still, and Git does not declare the group any more"},
	} {
		t.Run(name, func(t *testing.T) {
			s := drained()
			s.desired.Groups = test.groups
			s.observed.Ledger = []planner.Ledger{{Group: "sensors", Active: 1, Keys: []planner.Tally{{Key: key2025.Fingerprint(), Chaining: test.chaining}, {Key: key2026.Fingerprint()}}}}
			plan := s.next()
			holds := slices.ContainsFunc(plan.Rollovers[0].Holds, func(h planner.Hold) bool {
				return h.Subject == "DeviceGroup sensors" && strings.HasPrefix(h.Why, cmp.Or(test.why, "none"))
			})
			drops := slices.ContainsFunc(plan.Drops, func(d planner.Drop) bool { return d.Who == "Device sensors/sensor-1" })
			if waits := test.why != ""; holds != waits || drops != waits || plan.Target.Bundles[0].Anchors.Has(key2025.Certificate) != waits {
				t.Errorf("the plan says %q, and who drops: %+v", tell(plan, s.now), plan.Drops)
			}
		})
	}
}
