package planner_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

const (
	bothHold  = "fleet-root 2025 → 2026: Distribute: 2 of 2 copies hold 2026"
	notLoaded = "not all of its pods are known to have started since the copies hold 2026"
	inFifty   = "look again after 50m0s" // what is left of the canary's hour after ten minutes
)

// Trust before use: signing moves when every copy holds the new anchor, every verifier
// has loaded it, and that has stood for a while.
func TestDistribute(t *testing.T) {
	plan := func(lines ...string) []string { return append(lines, drop2025, inAnHour) }
	spread := func() *site {
		s := introduced()
		s.distribute(key2025, key2026)
		return s
	}
	waiting := []string{
		"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
		"issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025 2026",
	}
	play(t, map[string]scene{
		"the bundle grows": {
			site: introduced(),
			want: plan(
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
			),
			targets: waiting,
		},
		"trust-manager has not seen the bundle as it is": {
			site: distributed(), change: func(s *site) { s.observed.Bundles[0].Seen = false },
			want:    plan(bothHold, "- copies: TrustBundle fleet-trust: trust-manager has not seen its latest Bundle yet"),
			targets: waiting,
		},
		"every copy holds it, and the bundle is about to take it back": {
			site: distributed(), change: func(s *site) { s.observed.Bundles[0].Anchors = anchorsOf(key2025) },
			want:    plan(bothHold, "- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet"),
			targets: waiting,
		},
		"the bundle's selector picks no namespace": {
			site: distributed(), change: func(s *site) { s.observed.Copies = nil },
			want: plan(
				"fleet-root 2025 → 2026: Distribute: 0 of 0 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its selector picks no namespace: correct it, or label one",
			),
		},
		"a copy is missing": {
			site: distributed(),
			change: func(s *site) {
				s.observed.Copies[1] = planner.Copy{Bundle: "fleet-trust", Namespace: "plant", Problem: "there is no such ConfigMap yet"}
			},
			want: plan(
				"fleet-root 2025 → 2026: Distribute: 1 of 2 copies hold 2026",
				"- copies: ConfigMap plant/fleet-trust: there is no such ConfigMap yet",
			),
			targets: waiting,
		},
		"a copy is unreadable": {
			site: distributed(),
			change: func(s *site) {
				s.observed.Copies[0].Anchors, s.observed.Copies[0].Problem = nil, "key ca.crt: PEM block 2 is malformed"
			},
			want: plan(
				"fleet-root 2025 → 2026: Distribute: 1 of 2 copies hold 2026",
				"- copies: ConfigMap lab/fleet-trust: key ca.crt: PEM block 2 is malformed",
			),
			targets: waiting,
		},
		"a copy lacks it while issuers sign with it": {
			site: switched(),
			change: func(s *site) {
				s.observed.Copies[0].Anchors = anchorsOf(key2025)
			},
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 1 of 2 copies hold 2026",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet; issuers sign with that key already, so clients there refuse its leaves until it does",
				drop2025, inAnHour,
			},
		},
		"something could not be read": {
			site: distributed(),
			change: func(s *site) {
				s.observed.Unknown = []planner.Unknown{{Subject: "Deployments of namespace press", Why: "forbidden: grant list"}}
			},
			want:    []string{bothHold, "- unknown: Deployments of namespace press: forbidden: grant list", "hold unknown: Deployments of namespace press: forbidden: grant list", drop2025, "blind: nothing is written", inAnHour},
			targets: waiting,
		},
		"verifiers must restart, one at a time": {
			site: spread(),
			want: plan(
				bothHold+"; 0 of 2 verifiers have reloaded",
				"- reload: Deployment lab/client: restarting now",
				"- reload: Deployment plant/broker: waits its turn: Deployment lab/client is being restarted",
				"do Restart Deployment lab/client: "+notLoaded,
			),
			targets: waiting,
		},
		"the first is restarting": {
			site: spread(),
			change: func(s *site) {
				s.client().BundleDigest, s.client().Bearing, s.client().Rolling = s.copiesDigest(*s.client()), 1, true
			},
			want: plan(
				bothHold+"; 0 of 2 verifiers have reloaded",
				"- reload: Deployment lab/client: restarting: 1 of 2 pods are from the new pod template",
				"- reload: Deployment plant/broker: waits its turn: Deployment lab/client is being restarted",
			),
		},
		"the first was restarted, and its rollouts are paused": {
			site: spread(),
			change: func(s *site) {
				s.client().BundleDigest, s.client().Bearing, s.client().Paused = s.copiesDigest(*s.client()), 0, true
			},
			want: plan(
				bothHold+"; 0 of 2 verifiers have reloaded",
				"- reload: Deployment lab/client: asked to restart, but its rollouts are paused: resume them, with kubectl rollout resume",
				"- reload: Deployment plant/broker: restarting now",
				"do Restart Deployment plant/broker: "+notLoaded,
			),
			targets: waiting,
		},
		"the first has restarted": {
			site: spread(),
			change: func(s *site) {
				s.client().BundleDigest = s.copiesDigest(*s.client())
			},
			want: plan(
				bothHold+"; 1 of 2 verifiers have reloaded",
				"- reload: Deployment plant/broker: restarting now",
				"do Restart Deployment plant/broker: "+notLoaded,
			),
		},
		"somebody else's restart takes the lane": {
			site: spread(),
			change: func(s *site) {
				s.client().BundleDigest = s.copiesDigest(*s.client())
				s.observed.Workloads = append(s.observed.Workloads, planner.Workload{
					Kind: "StatefulSet", Ref: planner.Ref{Namespace: "lab", Name: "store"}, Bundles: volume("fleet-trust"),
					BundleDigest: s.copiesDigest(*s.client()), Pods: 3, Started: 3, Bearing: 3, Rolling: true,
				})
			},
			want: plan(bothHold+"; 2 of 3 verifiers have reloaded", "- reload: Deployment plant/broker: waits its turn: StatefulSet lab/store is being restarted"),
		},
		"verifiers of another bundle do not take the lane": {
			site: spread(),
			change: func(s *site) {
				s.client().BundleDigest = s.copiesDigest(*s.client())
				s.observed.Workloads = append(s.observed.Workloads, planner.Workload{
					Kind: "StatefulSet", Ref: planner.Ref{Namespace: "lab", Name: "store"}, Bundles: volume("other"), Pods: 3, Started: 3, Rolling: true,
				})
			},
			want: plan(bothHold+"; 1 of 2 verifiers have reloaded", "- reload: Deployment plant/broker: restarting now", "do Restart Deployment plant/broker: "+notLoaded),
		},
		"a workload of which nothing has started keeps nobody waiting": {
			site: spread(),
			change: func(s *site) {
				s.client().BundleDigest = s.copiesDigest(*s.client())
				s.client().Bearing, s.client().Started, s.client().Rolling = 0, 0, true
			},
			want: plan(
				bothHold+"; 0 of 2 verifiers have reloaded",
				"- reload: Deployment lab/client: restarting: 0 of 2 pods are from the new pod template",
				"- reload: Deployment plant/broker: restarting now",
				"do Restart Deployment plant/broker: "+notLoaded,
			),
		},
		"a workload without pods has nothing to load": {
			site: spread(),
			change: func(s *site) {
				s.broker().BundleDigest = s.copiesDigest(*s.broker())
				s.client().Pods, s.client().Bearing, s.client().Started = 0, 0, 0
			},
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 2 of 2 copies hold 2026; soaking until 2026-03-01T12:10:00Z",
				"- soak: distributed at 2026-03-01T12:00:00Z; signing moves 10m0s later, at 2026-03-01T12:10:00Z",
				drop2025, "look again after 10m0s",
			},
		},
		"a verifier in a namespace without a copy": {
			site: spread(),
			change: func(s *site) {
				s.broker().BundleDigest = s.copiesDigest(*s.broker())
				s.client().Ref.Namespace = "press"
			},
			want: plan(bothHold+"; 1 of 2 verifiers have reloaded", "- reload: Deployment press/client: mounts fleet-trust, of which its namespace gets no copy: label the namespace"),
		},
		"a verifier whose other bundle is not current": {
			site: spread(),
			change: func(s *site) {
				s.broker().BundleDigest = s.copiesDigest(*s.broker())
				s.desired.Bundles = append(s.desired.Bundles, bundle("other"))
				s.observed.Bundles = append(s.observed.Bundles, planner.Bundle{Name: "other", Target: target, Anchors: anchorsOf(key2027)})
				s.observed.Copies = append(s.observed.Copies, planner.Copy{Bundle: "other", Namespace: "lab"})
				s.client().Bundles = append(s.client().Bundles, planner.Mount{Name: "other", Kind: planner.MountVolume})
			},
			want: []string{
				bothHold + "; 1 of 2 verifiers have reloaded",
				"- reload: Deployment lab/client: ConfigMap lab/other is not current yet",
				"hold bundle: TrustBundle other: it holds Fleet Root 2027 with fingerprint ##2027, which is no key of its authorities; it stays until it is taken out by hand",
				drop2025, inAnHour,
			},
		},
		"a verifier that reloads by itself has its time": {
			site: spread(),
			change: func(s *site) {
				s.broker().BundleDigest = s.copiesDigest(*s.broker())
				s.client().Reloads = 90 * time.Second
			},
			want: []string{
				bothHold + "; 1 of 2 verifiers have reloaded",
				"- reload: Deployment lab/client: reloads by itself within 1m30s, by 2026-03-01T12:01:30Z",
				drop2025, "look again after 1m30s",
			},
		},
		"a subPath is never refreshed, whatever the owner says": {
			site: spread(),
			change: func(s *site) {
				s.broker().BundleDigest = s.copiesDigest(*s.broker())
				s.client().Reloads, s.client().Bundles[0].Kind = 90*time.Second, planner.MountSubPath
			},
			want: plan(bothHold+"; 1 of 2 verifiers have reloaded", "- reload: Deployment lab/client: restarting now", "do Restart Deployment lab/client: "+notLoaded),
		},
		"nor is an environment variable": {
			site: spread(),
			change: func(s *site) {
				s.broker().BundleDigest = s.copiesDigest(*s.broker())
				s.client().Reloads, s.client().Bundles[0].Kind = 90*time.Second, planner.MountEnv
			},
			want: plan(bothHold+"; 1 of 2 verifiers have reloaded", "- reload: Deployment lab/client: restarting now", "do Restart Deployment lab/client: "+notLoaded),
		},
		"a bare Pod cannot be restarted": {
			site: spread(),
			change: func(s *site) {
				s.broker().BundleDigest = s.copiesDigest(*s.broker())
				s.client().Kind = "Pod"
			},
			want: plan(bothHold+"; 1 of 2 verifiers have reloaded", "- reload: Pod lab/client: "+notLoaded+"; nothing that can be restarted owns it: recreate it, a minute from now or later"),
		},
		"a bare Pod was recreated": {
			site: func() *site { s := spread(); s.rest(5 * time.Minute); return s }(),
			change: func(s *site) {
				s.broker().BundleDigest = s.copiesDigest(*s.broker())
				s.client().Kind, s.client().OldestStart = "Pod", noon.Add(time.Minute)
			},
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 2 of 2 copies hold 2026; soaking until 2026-03-01T12:15:00Z",
				"- soak: distributed at 2026-03-01T12:05:00Z; signing moves 10m0s later, at 2026-03-01T12:15:00Z",
				drop2025, "look again after 10m0s",
			},
		},
		"a bare Pod was recreated too soon to tell": {
			site: func() *site { s := spread(); s.rest(5 * time.Minute); return s }(),
			change: func(s *site) {
				s.broker().BundleDigest = s.copiesDigest(*s.broker())
				s.client().Kind, s.client().OldestStart = "Pod", noon.Add(59*time.Second)
			},
			want: []string{
				bothHold + "; 1 of 2 verifiers have reloaded",
				"- reload: Pod lab/client: " + notLoaded + "; nothing that can be restarted owns it: recreate it, a minute from now or later",
				drop2025, "look again after 55m0s",
			},
		},
		"it soaks": {
			site: distributed(),
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 2 of 2 copies hold 2026; soaking until 2026-03-01T12:10:00Z",
				"- soak: distributed at 2026-03-01T12:00:00Z; signing moves 10m0s later, at 2026-03-01T12:10:00Z",
				drop2025, "look again after 10m0s",
			},
			targets: waiting,
		},
		"it has soaked": {
			site: soaked(),
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				"- issuer: ClusterIssuer fleet: moves to 2026 now",
				drop2025, inFifty,
			},
			targets: []string{
				"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
				"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026", "decisive",
			},
		},
		"a first key is not soaked: there is nobody to be careful for": {
			site: empty(),
			change: func(s *site) {
				s.has("2025", key2025)
				s.distribute(key2025)
			},
			want: []string{
				"fleet-root none → 2025: Switch: 0 of 1 issuer signs with 2025",
				"- issuer: ClusterIssuer fleet: made with 2025 now",
			},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025", "decisive"},
		},
	})
}

// A gate that is lost is waited for again: it is never skipped.
func TestLostGatesRestartTheSoak(t *testing.T) {
	s := distributed()
	s.rest(9 * time.Minute)
	s.observed.Since = nil
	soaksUntil(t, s, "2026-03-01T12:19:00Z")

	s = distributed()
	s.rest(9 * time.Minute)
	s.observed.Since = slices.DeleteFunc(s.observed.Since, func(g planner.Gate) bool { return strings.HasPrefix(g.Name, "distributed ") })
	soaksUntil(t, s, "2026-03-01T12:19:00Z")
}

// A soak that time cannot have begun yet begins now.
func TestAGateOfTheFutureBeginsNow(t *testing.T) {
	s := distributed()
	s.rest(0)
	for i := range s.observed.Since {
		s.observed.Since[i].Since = noon.Add(time.Hour)
	}
	soaksUntil(t, s, "2026-03-01T12:10:00Z")
}

// A distribution that was interrupted soaks from its end.
func TestAnInterruptedDistributionSoaksAnew(t *testing.T) {
	s := distributed()
	s.rest(5 * time.Minute)
	lost := s.observed.Copies[0]
	s.observed.Copies[0] = planner.Copy{Bundle: "fleet-trust", Namespace: "lab", Problem: "there is no such ConfigMap yet"}
	s.rest(time.Minute)
	s.observed.Copies[0] = lost
	soaksUntil(t, s, "2026-03-01T12:16:00Z")
}

// A soak is a certificate's, not a name's: what somebody puts in its place soaks anew.
func TestGatesAreKeyedByFingerprint(t *testing.T) {
	s := distributed()
	s.rest(9 * time.Minute)
	replaced := newRoot("replaced", "Fleet Root 2026")
	s.has("2026", replaced)
	s.distribute(key2025, replaced)
	s.reload()
	soaksUntil(t, s, "2026-03-01T12:19:00Z")

	var gates []string
	for _, gate := range s.next().Gates {
		gates = append(gates, gate.Name+" since "+gate.Since.Format(time.TimeOnly))
	}
	same(t, "the gates are", named(gates), []string{
		"copies cert-manager/fleet-root 2026 #replaced since 12:09:00",
		"distributed cert-manager/fleet-root 2026 #replaced since 12:09:00",
		"phase cert-manager/fleet-root 2026 Distribute since 12:00:00",
	})
}

func soaksUntil(t *testing.T, s *site, until string) {
	t.Helper()
	plan := s.next()
	if rollover := plan.Rollovers[0]; len(rollover.Holds) != 1 || rollover.Holds[0].Gate != "soak" || !strings.HasSuffix(rollover.Holds[0].Why, "at "+until) {
		t.Errorf("the plan says\n\t%s\nwant a soak until %s", strings.Join(tell(plan, s.now), "\n\t"), until)
	}
}

// A status holds whole seconds: a soak is never shorter for that.
func TestGatesAreRoundedUp(t *testing.T) {
	s := distributed()
	s.now = noon.Add(time.Millisecond)
	soaksUntil(t, s, "2026-03-01T12:10:01Z")
}

// A Trusted key is introduced and distributed, and never signs; when it comes to sign,
// the time for which everyone has trusted it counts as its soak.
func TestATrustedKeyNeverSigns(t *testing.T) {
	trusted := func(site *site) *site {
		site.commit("2025 Signing", "2026 Trusted")
		return site
	}
	hold := []string{
		"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
		"issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025 2026",
	}
	rested := trusted(distributed())
	rested.rest(time.Hour)
	rested.issuer().Canary.At = rested.now
	promoted := trusted(distributed())
	promoted.rest(time.Hour)
	promoted.commit("2025 Trusted", "2026 Signing")
	promoted.issuer().Canary.At = promoted.now
	play(t, map[string]scene{
		"introduced": {
			site:   trusted(settled()),
			change: func(s *site) { s.observed.Keys = s.observed.Keys[:1] },
			want: []string{
				"fleet-root none → 2026: Introduce: 2026 is being made",
				"- issue: " + certificate6 + ": the Certificate does not exist yet",
				inAnHour,
			},
			targets: append(hold[:3:3], "bundle fleet-trust 2025"),
		},
		"distributed": {
			site: trusted(introduced()),
			want: []string{
				"fleet-root none → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				inAnHour,
			},
			targets: hold,
		},
		"at rest at once, without a soak": {
			site: trusted(distributed()), want: []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", inAnHour}, targets: hold,
		},
		"at rest for ever": {
			site: rested, want: []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", inAnHour}, targets: hold,
		},
		"made to sign after an hour of trust": {
			site: promoted,
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				"- issuer: ClusterIssuer fleet: moves to 2026 now",
				inAnHour,
			},
			targets: []string{hold[0], hold[1], "issuer fleet signs with 2026 of fleet-root", hold[3], "decisive"},
		},
	})
}

// Paused, nothing moves, and nothing that was distributed is taken back.
func TestPaused(t *testing.T) {
	paused := "- paused: spec.rollover.paused is true: unset it to go on"
	pause := func(s *site) { s.desired.Authorities[0].Spec.Rollover.Paused = true }
	both := []string{"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer"}
	play(t, map[string]scene{
		"before the new key is made": {
			site: nextKey(), change: pause,
			want:    []string{introducing, "- issue: " + certificate6 + ": the Certificate does not exist yet", paused, drop2025, inAnHour},
			targets: []string{both[0], "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025"},
		},
		"before the bundle grows": {
			site: introduced(), change: pause,
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				paused, drop2025, inAnHour,
			},
			targets: append(both[:2:2], "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025"),
		},
		"before the switch": {
			site: soaked(), change: pause,
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				"- issuer: ClusterIssuer fleet: moves to 2026 now",
				paused, drop2025, inFifty,
			},
			targets: append(both[:2:2], "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025 2026"),
		},
		"before leaves are reissued": {
			site: switched(), change: pause,
			want: []string{
				"fleet-root 2025 → 2026: Reissue: 0 of 1 leaf chains to 2026",
				"- leaf: Certificate plant/broker: chains to 2025, not to 2026",
				paused, drop2025, inAnHour,
			},
			targets: append(both[:2:2], "issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026"),
		},
		"before the old anchor goes": {
			site: drained(), change: pause,
			want: []string{
				"fleet-root 2025 → 2026: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
				paused, inAnHour,
			},
			targets: append(both[:2:2], "issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026"),
		},
		"at rest": {
			site: settled(), change: pause,
			want:    []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", inAnHour},
			targets: []string{both[0], "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025"},
		},
	})
}

// What is in use is trusted by all: a status that is lost long after restarts nothing.
func TestALostStatusDoesNotDisturbWhatIsInUse(t *testing.T) {
	s := settled()
	s.client().BundleDigest, s.broker().LeavesDigest = "", ""
	s.leaf().Chain = []pki.Certificate{newLeaf("broker renewed", key2025).Certificate}
	same(t, "the plan says", tell(s.next(), s.now), []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", inAnHour})
}
