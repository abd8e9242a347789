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
	unmoved    = "fleet-root 2025 → 2026: Reissue: 0 of 1 leaf chains to 2026"
	moved      = "fleet-root 2025 → 2026: Reissue: 1 of 1 leaf chains to 2026"
	notShowing = "not all of its pods are known to have started since its leaves chain to 2026"
)

// A changed CA reissues nothing by itself: every leaf is asked for, and whoever
// presents it must have loaded it.
func TestReissue(t *testing.T) {
	play(t, map[string]scene{
		"a leaf of the old key is asked for anew": {
			site: switched(),
			want: []string{
				unmoved, "- leaf: Certificate plant/broker: chains to 2025, not to 2026",
				"do Reissue plant/broker: chains to 2025, not to 2026",
				drop2025, inAnHour,
			},
			targets: []string{
				"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
				"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026",
			},
		},
		"so is one of a stranger": {
			site: switched(), change: func(s *site) { s.leaf().Chain = []pki.Certificate{newLeaf("astray", stranger).Certificate} },
			want: []string{
				unmoved, "- leaf: Certificate plant/broker: chains to a strange key (Fleet Root 2026), not to 2026",
				"do Reissue plant/broker: chains to a strange key (Fleet Root 2026), not to 2026",
				inAnHour,
			},
		},
		"it is being issued": {
			site: switched(), change: func(s *site) { s.leaf().Issuing = true },
			want: []string{unmoved, "- leaf: Certificate plant/broker: being reissued", drop2025, inAnHour},
		},
		"it is being issued, with trouble": {
			site: switched(), change: func(s *site) { s.leaf().Issuing, s.leaf().Problem = true, "the webhook denied it" },
			want: []string{unmoved, "- leaf: Certificate plant/broker: being reissued: the webhook denied it", drop2025, inAnHour},
		},
		"the new one is being issued again": {
			site: reissued(), change: func(s *site) { s.leaf().Issuing = true },
			want: []string{unmoved, "- leaf: Certificate plant/broker: being reissued", "look again after 1m0s"},
		},
		"its chain is not known": {
			site: switched(), change: func(s *site) { s.leaf().Chain, s.leaf().Unknown = nil, "its CertificateRequest is gone" },
			want: []string{unmoved, "- leaf: Certificate plant/broker: its chain is not known: its CertificateRequest is gone", inAnHour},
		},
		"its chain is not known, and there is no other key that it could be of": {
			site: settled(), change: func(s *site) { s.leaf().Chain, s.leaf().Unknown = nil, "its CertificateRequest is gone" },
			want: []string{"fleet-root none → 2025: Settled: 2025 signs; 0 leaves chain to it", inAnHour},
		},
		"one that was never issued holds nobody up: it will be signed by whatever its issuer names": {
			site: reissued(),
			change: func(s *site) {
				s.reload()
				s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{Ref: planner.Ref{Namespace: "plant", Name: "spare"}, Issuer: planner.Ref{Name: "fleet"}, SecretName: "spare-tls", Problem: "the webhook denied it"})
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
				inAnHour,
			},
		},
		"its reissue has failed just now": {
			site: switched(), change: func(s *site) { s.leaf().FailedAt, s.leaf().Problem = s.now, "the webhook denied it" },
			want: []string{
				unmoved, "- leaf: Certificate plant/broker: failed at 2026-03-01T12:10:00Z: the webhook denied it; asked for again at 2026-03-01T12:20:00Z",
				drop2025, "look again after 10m0s",
			},
		},
		"its reissue failed ten minutes ago": {
			site: switched(), change: func(s *site) {
				s.leaf().FailedAt, s.leaf().Problem = s.now.Add(-10*time.Minute), "the webhook denied it"
			},
			want: []string{
				unmoved, "- leaf: Certificate plant/broker: chains to 2025, not to 2026",
				"do Reissue plant/broker: chains to 2025, not to 2026",
				drop2025, inAnHour,
			},
		},
		"no Certificate renews it": {
			site: switched(), change: func(s *site) { s.leaf().SecretName = "" },
			want: []string{
				unmoved, "- leaf: Certificate plant/broker: chains to 2025, and no Certificate renews it: whoever asked for it must ask again",
				drop2025, inAnHour,
			},
		},
		"whoever presents it must restart": {
			site: reissued(),
			want: []string{
				moved + "; 0 of 1 presenters have reloaded",
				"- reload: Deployment plant/broker: restarting now",
				"do Restart Deployment plant/broker: " + notShowing,
				inAnHour,
			},
		},
		"and is restarting": {
			site: reissued(), change: func(s *site) { s.broker().LeavesDigest, s.broker().Bearing = s.leavesDigest(*s.broker()), 0 },
			want: []string{
				moved + "; 0 of 1 presenters have reloaded",
				"- reload: Deployment plant/broker: restarting: 0 of 2 pods are from the new pod template",
				inAnHour,
			},
		},
		"one that loads by itself has its time": {
			site: reissued(), change: func(s *site) { s.broker().Reloads = time.Minute },
			want: []string{
				moved + "; 0 of 1 presenters have reloaded",
				"- reload: Deployment plant/broker: reloads by itself within 1m0s, by 2026-03-01T12:11:00Z",
				"look again after 1m0s",
			},
		},
		"one whose leaf is in its environment must restart": {
			site: reissued(), change: func(s *site) { s.broker().Reloads, s.broker().Secrets[0].Kind = time.Minute, planner.MountEnv },
			want: []string{
				moved + "; 0 of 1 presenters have reloaded",
				"- reload: Deployment plant/broker: restarting now",
				"do Restart Deployment plant/broker: " + notShowing,
				inAnHour,
			},
		},
		"a bare Pod must be recreated": {
			site: reissued(), change: func(s *site) { s.broker().Kind = "Pod" },
			want: []string{
				moved + "; 0 of 1 presenters have reloaded",
				"- reload: Pod plant/broker: " + notShowing + "; nothing that can be restarted owns it: recreate it, a minute from now or later",
				inAnHour,
			},
		},
		"it presents another leaf of which nobody knows who signed it": {
			site: reissued(),
			change: func(s *site) {
				s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{
					Ref: planner.Ref{Namespace: "plant", Name: "metrics"}, Issuer: planner.Ref{Name: "somebody-elses"}, SecretName: "metrics-tls",
					Unknown: "its CertificateRequest is gone",
				})
				s.broker().Secrets = append(s.broker().Secrets, planner.Mount{Name: "metrics-tls", Kind: planner.MountVolume})
			},
			want: []string{
				moved + "; 0 of 1 presenters have reloaded",
				"- reload: Deployment plant/broker: presents plant/metrics, of which it is not known which key signed it",
				inAnHour,
			},
		},
		"everybody presents the new one": {
			site: drained(),
			want: []string{
				"fleet-root 2025 → 2026: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
				inAnHour,
			},
		},
	})
}

// A presenter is restarted once for both: with the digest of its leaves and that of its
// namespace's copies.
func TestAPresenterRestartsWithBothDigests(t *testing.T) {
	s := reissued()
	actions := s.next().Actions
	if len(actions) != 1 || actions[0].Kind != planner.ActionRestart {
		t.Fatalf("the plan does %v, want one restart", actions)
	}
	restart := actions[0]
	if restart.Workload != "Deployment" || restart.Subject != s.broker().Ref ||
		restart.BundleDigest != s.copiesDigest(*s.broker()) || restart.LeavesDigest != s.leavesDigest(*s.broker()) {
		t.Errorf("the plan does %+v, want both digests", restart)
	}

	s.observed.Copies[1].Anchors = anchorsOf(key2026) // somebody took 2025 out of the copy
	s.observed.Copies[1].Digest = anchorsOf(key2026).SHA256()
	restart = s.next().Actions[0]
	if restart.BundleDigest != "" || restart.LeavesDigest != s.leavesDigest(*s.broker()) {
		t.Errorf("while its copy is not current, the plan does %+v, want the digest of its leaves alone", restart)
	}
}

// A restart that does not show in the pod template is not asked for again for five
// minutes: somebody may be putting it back, and would have us restart without end.
func TestARestartIsNotAskedForAgainAtOnce(t *testing.T) {
	s := reissued()
	asked := func() bool {
		return slices.ContainsFunc(s.next().Actions, func(a planner.Action) bool { return a.Kind == planner.ActionRestart })
	}
	if !asked() {
		t.Fatal("the restart is not asked for at all")
	}
	s.rest(time.Minute)
	same(t, "a minute later the plan says", tell(s.next(), s.now), []string{
		moved + "; 0 of 1 presenters have reloaded",
		"- reload: Deployment plant/broker: asked to restart at 2026-03-01T12:10:00Z, but its pod template does not say so; something may put it back: see who owns its annotations",
		"look again after 4m0s",
	})
	s.rest(3*time.Minute + 59*time.Second)
	if asked() {
		t.Error("it is asked for again before five minutes are over")
	}
	s.rest(time.Second)
	if !asked() {
		t.Error("it is not asked for again after five minutes")
	}
	s.rest(time.Minute)
	if asked() {
		t.Error("the five minutes do not begin again")
	}
	s.leaf().Chain = []pki.Certificate{newLeaf("broker of 2027", key2027).Certificate}
	s.has("2027", key2027)
	s.commit("2025 Retired", "2026 Retired", "2027 Signing")
	s.pointTo("2027", key2027)
	s.distribute(key2025, key2026, key2027)
	s.client().BundleDigest = s.copiesDigest(*s.client())
	if !asked() {
		t.Errorf("another restart is not asked for:\n\t%s", strings.Join(tell(s.next(), s.now), "\n\t"))
	}
}

// An ordinary renewal takes a rollover back to nothing: what asks an issuer that signs with
// the key comes back under it, and whoever presents it is not restarted again.
func TestARenewalIsNoReissue(t *testing.T) {
	s := drained()
	s.commit("2025 Trusted", "2026 Signing")
	s.rest(2 * time.Minute)
	for _, step := range []struct {
		what   string
		change func(leaf *planner.Leaf)
		phase  planner.Phase
	}{
		{"it rests", func(*planner.Leaf) {}, planner.Settled},
		{"a leaf is being renewed", func(l *planner.Leaf) { l.Issuing = true }, planner.Settled},
		{"it is not known to what it chains meanwhile", func(l *planner.Leaf) { l.Chain, l.Unknown = nil, "its CertificateRequest is pending" }, planner.Reissue},
		{"it is renewed", func(l *planner.Leaf) {
			l.Chain, l.Unknown, l.Issuing = []pki.Certificate{newLeaf("broker renewed", key2026).Certificate}, "", false
		}, planner.Settled},
		{"it comes back under the old key", func(l *planner.Leaf) {
			l.Chain = []pki.Certificate{newLeaf("broker astray", key2025).Certificate}
		}, planner.Reissue},
	} {
		step.change(s.leaf())
		plan := s.next()
		restarts := slices.ContainsFunc(plan.Actions, func(a planner.Action) bool { return a.Kind == planner.ActionRestart })
		if plan.Rollovers[0].Phase != step.phase || restarts {
			t.Errorf("%s: the plan says %q", step.what, tell(plan, s.now))
		}
		s.rest(time.Second)
	}
	s.leaf().Chain = []pki.Certificate{newLeaf("broker back", key2026).Certificate}
	if plan := s.next(); plan.Rollovers[0].Phase != planner.Reissue {
		t.Errorf("whoever loaded what was astray is not asked: the plan says %q", tell(plan, s.now))
	}
}

// Where there is always some leaf that is being renewed, the old key is retired all the same;
// but not while what it signed a moment ago may still come.
func TestRetireDoesNotWaitForRenewals(t *testing.T) {
	s := drained()
	s.leaf().Issuing = true
	if plan := s.next(); plan.Rollovers[0].Phase != planner.Reissue {
		t.Errorf("a moment after the issuer has moved, the plan says %q", tell(plan, s.now))
	}
	s.rest(time.Minute)
	if plan := s.next(); plan.Rollovers[0].Phase != planner.Retire {
		t.Errorf("a minute later the plan says %q", tell(plan, s.now))
	}
	s.leaf().Issuer = planner.Ref{Name: "somebody-elses"}
	if plan := s.next(); plan.Rollovers[0].Phase != planner.Reissue {
		t.Errorf("of one that asks somebody else's issuer the plan says %q", tell(plan, s.now))
	}
}
