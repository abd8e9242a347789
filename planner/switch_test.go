package planner_test

import (
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// An issuer counts as moved when a canary has come back signed by the new key: what
// its spec names, or its Ready condition says, proves nothing.
func TestSwitch(t *testing.T) {
	const unproved = "fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026"
	held := func(hold string, more ...string) []string {
		return append([]string{unproved, "- canary: ClusterIssuer fleet: " + hold}, more...)
	}
	strange := func(who, key string, more ...string) []string {
		return append([]string{
			"- key: ClusterIssuer fleet: canary fleet-1 came back signed by a strange key, " + who + ", though the issuer names the Secret of " + key +
				": what it signs is refused by everyone who does not trust that; restore the Secret cert-manager/fleet-root-" + key + ", or declare a new key and retire this one",
		}, append(more, "look again after 1m0s")...)
	}
	stays := []string{
		"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
		"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026",
	}
	canary := func(edit func(*planner.Canary)) func(*site) {
		return func(s *site) { edit(&s.issuer().Canary) }
	}
	signedBy := func(ca entity, after time.Duration) func(*site) {
		return func(s *site) {
			s.issuer().Canary.Certificate, s.issuer().Canary.CA = newLeaf("canary of another", ca).Certificate, ca.Certificate
			s.now = s.now.Add(after)
		}
	}
	play(t, map[string]scene{
		"the issuer moves": {
			site: soaked(),
			want: []string{unproved, "- issuer: ClusterIssuer fleet: moves to 2026 now", drop2025, inFifty},
			targets: []string{
				"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
				"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026", "decisive",
			},
		},
		"a new binding begins with the key that shall sign": {
			site: soaked(), change: func(s *site) { s.desired.Bindings = append(s.desired.Bindings, binding("press", "fleet-root")) },
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 2 issuers sign with 2026",
				"- issuer: ClusterIssuer fleet: moves to 2026 now",
				"- issuer: ClusterIssuer press: made with 2026 now",
				drop2025, inFifty,
			},
		},
		"an Issuer of a namespace is named with it": {
			site: soaked(),
			change: func(s *site) {
				press := binding("press", "fleet-root")
				press.Metadata.Namespace, press.Spec.Scope = "cert-manager", v1alpha1.ScopeNamespace
				s.desired.Bindings = []v1alpha1.IssuerBinding{press}
				s.observed.Issuers = nil
			},
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				"- issuer: Issuer cert-manager/press: made with 2026 now",
				drop2025,
			},
			targets: []string{
				"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
				"issuer cert-manager/press signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026", "decisive",
			},
		},
		"the issuer signs with a Secret that is nobody's": {
			site: soaked(), change: func(s *site) { s.issuer().SecretName = "by-hand" },
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				`- issuer: ClusterIssuer fleet: it signs with the Secret "by-hand", which is no key of cert-manager/fleet-root that Git lists: list it by secret and certificate, as Retired if it is to go; or give the binding another name, or, if nobody needs the issuer, delete it`,
				drop2025,
			},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer", "bundle fleet-trust 2025 2026"},
		},
		"the issuer is not a CA issuer": {
			site: soaked(), change: func(s *site) { s.issuer().SecretName = "" },
			want: []string{
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				`- issuer: ClusterIssuer fleet: its spec is that of no key of cert-manager/fleet-root: give the binding another name, or, if nobody needs the issuer, delete it`,
				drop2025,
			},
		},
		"no canary was ever sent": {
			site: switched(), change: canary(func(c *planner.Canary) { *c = planner.Canary{} }),
			want:    held("no canary has come back since it was last changed", "do Prove fleet: it is not proved that ClusterIssuer fleet signs with 2026", drop2025),
			targets: stays,
		},
		"the canary was made for an earlier spec": {
			site: switched(), change: canary(func(c *planner.Canary) { c.Generation = 1 }),
			want: held("no canary has come back since it was last changed", "do Prove fleet: it is not proved that ClusterIssuer fleet signs with 2026", drop2025),
		},
		"the canary is under way": {
			site: switched(), change: canary(func(c *planner.Canary) { c.State = planner.CanaryPending }),
			want: held("canary fleet-1 has not come back", drop2025),
		},
		"the canary is under way, and the proof before it still counts": {
			site: drained(),
			change: func(s *site) {
				s.issuer().Proof = s.issuer().Canary
				s.now = s.now.Add(time.Hour)
				s.issuer().Canary = planner.Canary{Name: "fleet-2", At: s.now, Generation: s.issuer().Generation, State: planner.CanaryPending}
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
			},
		},
		"the canary is under way, and the proof before it is two hours old": {
			site: drained(),
			change: func(s *site) {
				s.issuer().Proof = s.issuer().Canary
				s.now = s.now.Add(2 * time.Hour)
				s.issuer().Canary = planner.Canary{Name: "fleet-2", At: s.now, Generation: s.issuer().Generation, State: planner.CanaryPending}
			},
			want: held("canary fleet-2 has not come back"),
		},
		"the issuer signs with a key of another authority": {
			site: twoRoots(),
			change: func(s *site) {
				s.rest(10 * time.Minute)
				s.issuer().SecretName = "press-root-2025"
			},
			want: []string{
				"fleet-root none → 2025: Switch: 0 of 1 issuer signs with 2025",
				"- issuer: ClusterIssuer fleet: it signs with a key of cert-manager/press-root, whose verifiers may not know cert-manager/fleet-root: give the binding another name",
				"press-root none → 2025: Settled: 2025 signs; 0 leaves chain to it", inFifty,
			},
			targets: []string{
				"key fleet-root 2025 Certificate Issuer", "key press-root 2025 Certificate Issuer",
				"issuer fleet signs with 2025 of press-root", "issuer press signs with 2025 of press-root", "bundle fleet-trust 2025 press-2025",
			},
		},
		"the canary does not come back, in cert-manager's words": {
			site: switched(), change: canary(func(c *planner.Canary) { c.State, c.Problem = planner.CanaryPending, "waiting for approval" }),
			want: held("canary fleet-1 has not come back: waiting for approval", drop2025),
		},
		"the canary has failed": {
			site: switched(), change: canary(func(c *planner.Canary) { c.State, c.Problem = planner.CanaryFailed, "the Secret is not there" }),
			want: held("canary fleet-1 failed: the Secret is not there", drop2025, "look again after 5m0s"),
		},
		"the canary failed five minutes ago": {
			site: switched(),
			change: func(s *site) {
				s.issuer().Canary.State = planner.CanaryFailed
				s.now = s.now.Add(5 * time.Minute)
			},
			want: held("canary fleet-1 failed", "do Prove fleet: the last canary failed", drop2025),
		},
		"the canary was signed by the old key": {
			site: switched(), change: signedBy(key2025, 0),
			want:    held("canary fleet-1 came back signed by Fleet Root 2025 (#2025), not by Fleet Root 2026 (#2026)", drop2025, "look again after 5s"),
			targets: stays,
		},
		"five seconds later, another is sent": {
			site: switched(), change: signedBy(key2025, 5*time.Second),
			want: held("canary fleet-1 came back signed by Fleet Root 2025 (#2025), not by Fleet Root 2026 (#2026)",
				"do Prove fleet: the last canary did not come back signed by 2026", drop2025, "look again after 1m0s"),
		},
		"the canary was signed by a stranger that bears the key's name": {
			site: switched(), change: signedBy(stranger, 0),
			want:    append([]string{unproved}, strange("Fleet Root 2026 with fingerprint ##stranger", "2026", drop2025)...),
			targets: stays,
		},
		"the stranger does not say who it is": {
			site: switched(),
			change: func(s *site) {
				signedBy(stranger, 0)(s)
				s.issuer().Canary.CA = pki.Certificate{}
			},
			want: append([]string{unproved}, strange("of which nothing more is known", "2026", drop2025)...),
		},
		"at rest, a proof is good for an hour": {
			site: settled(), change: func(s *site) { s.now = noon.Add(59 * time.Minute) },
			want: []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", "look again after 1m0s"},
		},
		"after an hour another is due": {
			site: settled(), change: func(s *site) { s.now = noon.Add(time.Hour) },
			want: []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", "do Prove fleet: the last proof is 1h0m0s old"},
		},
		"at rest, and the issuer signs with another key all the same": {
			site: settled(),
			change: func(s *site) {
				s.issuer().Canary.Certificate, s.issuer().Canary.CA = newLeaf("canary astray", stranger).Certificate, stranger.Certificate
			},
			want: append([]string{"fleet-root none → 2025: Switch: 0 of 1 issuer signs with 2025"}, strange("Fleet Root 2026 with fingerprint ##stranger", "2025")...),
		},
	})
}

// An issuer that Git no longer declares stays for as long as a Certificate refers to
// it, with the key that it signs with; and that key stays with it.
func TestUndeclaredIssuers(t *testing.T) {
	undeclare := func(s *site) {
		s.desired.Bindings = []v1alpha1.IssuerBinding{binding("press", "fleet-root")}
		old := *s.issuer()
		press := old
		press.Ref.Name = "press"
		s.observed.Issuers = []planner.Issuer{old, press}
	}
	play(t, map[string]scene{
		"somebody refers to it": {
			site: settled(), change: undeclare,
			want: []string{
				"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it",
				"hold prune: ClusterIssuer fleet: Git no longer declares it, but the Certificate plant/broker refers to it: move the Certificate first",
				inAnHour,
			},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "issuer press signs with 2025 of fleet-root", "bundle fleet-trust 2025"},
		},
		"nobody refers to it": {
			site: settled(),
			change: func(s *site) {
				undeclare(s)
				s.leaf().Issuer.Name = "press"
			},
			want:    []string{"fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", inAnHour},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "issuer press signs with 2025 of fleet-root", "bundle fleet-trust 2025", "decisive"},
		},
		"it keeps the key that it signs with": {
			site: drained(),
			change: func(s *site) {
				undeclare(s)
				s.observed.Issuers[0].SecretName = "fleet-root-2025"
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: 2025 is not drained",
				"- issuer: ClusterIssuer fleet: still signs with 2025",
				"hold prune: ClusterIssuer fleet: Git no longer declares it, but the Certificate plant/broker refers to it: move the Certificate first",
				inAnHour,
			},
			targets: []string{
				"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
				"issuer fleet signs with 2025 of fleet-root", "issuer press signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026",
			},
		},
	})
}
