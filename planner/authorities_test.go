package planner_test

import (
	"testing"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var (
	pressRoot = planner.Ref{Namespace: "cert-manager", Name: "press-root"}
	press2025 = newRoot("press-2025", "Press Root 2025")
	press2026 = newRoot("press-2026", "Press Root 2026")
)

// twoRoots is the settled plant with a second root, press-root, in the same bundle,
// with an issuer of its own and no leaf.
func twoRoots() *site {
	s := settled()
	s.desired.Authorities = append(s.desired.Authorities, authority("press-root", "Press Root"))
	s.desired.Bindings = append(s.desired.Bindings, binding("press", "press-root"))
	s.desired.Bundles[0].Spec.Authorities = []string{"fleet-root", "press-root"}
	s.commitTo(1, "2025 Signing")
	s.hasPress("2025", press2025)
	s.observed.Issuers = append(s.observed.Issuers, planner.Issuer{
		Ref: planner.Ref{Name: "press"}, Exists: true, SecretName: "press-root-2025", Generation: 1,
		Canary: planner.Canary{Name: "press-1", At: noon, Generation: 1, State: planner.CanarySigned, Certificate: newLeaf("canary of press", press2025).Certificate, CA: press2025.Certificate},
	})
	s.distribute(key2025, press2025)
	s.reload()
	return s
}

func (s *site) hasPress(name string, certificate entity) {
	spec := caSpec
	spec.CommonName = "Press Root " + name
	s.observed.Keys = append(s.observed.Keys, planner.Key{
		Authority: pressRoot, Name: name, HasCertificate: true, HasIssuer: true, Issued: true, Spec: spec, Certificate: certificate.Certificate,
	})
}

// Two roots in one bundle roll over at once, and neither takes the other's anchors.
func TestTwoAuthoritiesInOneBundle(t *testing.T) {
	fleetRests, pressRests := "fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it", "press-root none → 2025: Settled: 2025 signs; 0 leaves chain to it"
	issuers := []string{"issuer fleet signs with 2025 of fleet-root", "issuer press signs with 2025 of press-root"}
	bothRoll := func(s *site) {
		s.commit("2025 Retired", "2026 Signing")
		s.has("2026", key2026)
		s.commitTo(1, "2025 Retired", "2026 Signing")
		s.hasPress("2026", press2026)
	}
	play(t, map[string]scene{
		"at rest": {
			site:    twoRoots(),
			want:    []string{fleetRests, pressRests, inAnHour},
			targets: append([]string{"key fleet-root 2025 Certificate Issuer", "key press-root 2025 Certificate Issuer"}, append(issuers, "bundle fleet-trust 2025 press-2025")...),
		},
		"both introduce": {
			site: twoRoots(), change: bothRoll,
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"press-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Press Root 2026 (#press-2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Press Root 2026 (#press-2026) yet",
				drop2025, inAnHour,
			},
			targets: append([]string{
				"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
				"key press-root 2025 Certificate Issuer", "key press-root 2026 Certificate Issuer",
			}, append(issuers, "bundle fleet-trust 2025 2026 press-2025 press-2026")...),
		},
		"both distribute, and a workload is restarted once for both": {
			site: twoRoots(),
			change: func(s *site) {
				bothRoll(s)
				s.distribute(key2025, key2026, press2025, press2026)
			},
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 2 of 2 copies hold 2026; 0 of 2 verifiers have reloaded",
				"- reload: Deployment lab/client: restarting now",
				"- reload: Deployment plant/broker: waits its turn: Deployment lab/client is being restarted",
				"press-root 2025 → 2026: Distribute: 2 of 2 copies hold 2026; 0 of 2 verifiers have reloaded",
				"- reload: Deployment lab/client: restarting now",
				"- reload: Deployment plant/broker: waits its turn: Deployment lab/client is being restarted",
				"do Restart Deployment lab/client: " + notLoaded,
				drop2025, inAnHour,
			},
		},
		"one retires and leaves the other's anchors alone": {
			site: twoRoots(),
			change: func(s *site) {
				s.commitTo(1, "2025 Retired", "2026 Signing")
				s.hasPress("2026", press2026)
				s.distribute(key2025, press2025, press2026)
				s.reload()
				s.observed.Issuers[1].SecretName = "press-root-2026"
				s.observed.Issuers[1].Canary.Certificate = newLeaf("canary of press 2026", press2026).Certificate
			},
			want: []string{
				fleetRests,
				"press-root 2025 → 2026: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Press Root 2025 (#press-2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Press Root 2025 (#press-2025)",
				inAnHour,
			},
			targets: []string{
				"key fleet-root 2025 Certificate Issuer", "key press-root 2025 Certificate Issuer", "key press-root 2026 Certificate Issuer",
				issuers[0], "issuer press signs with 2026 of press-root", "bundle fleet-trust 2025 press-2026", "decisive",
			},
		},
	})
}

// An authority that is gone from Git goes once nobody needs it; but nobody takes its
// anchor out of a bundle that does not name it any more: that is said, and waited for.
func TestAnAuthorityGoneFromGit(t *testing.T) {
	undeclare := func(s *site) {
		s.desired.Authorities, s.desired.Bindings = s.desired.Authorities[:1], s.desired.Bindings[:1]
		s.desired.Bundles[0].Spec.Authorities = []string{"fleet-root"}
	}
	undeclared := "- declaration: Authority cert-manager/press-root: Git no longer declares it, but bundles hold its anchor: declare it with every key Retired to have it drained, or take the anchor out by hand"
	strangers := "hold bundle: TrustBundle fleet-trust: it holds Press Root 2025 with fingerprint ##press-2025, which is no key of its authorities; it stays until it is taken out by hand"
	rests := "fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it"
	fleet := []string{"issuer fleet signs with 2025 of fleet-root"}
	play(t, map[string]scene{
		"its issuer still signs with it": {
			site: twoRoots(), change: undeclare,
			want: []string{
				rests,
				"press-root 2025 → none: Retire: 2025 is not drained",
				"- issuer: ClusterIssuer press: still signs with 2025",
				undeclared,
				strangers, inAnHour,
			},
			// Nobody refers to the issuer, so that it is no longer among what shall be there.
			targets: append([]string{"key fleet-root 2025 Certificate Issuer", "key press-root 2025 Certificate Issuer"}, append(fleet, "bundle fleet-trust 2025 press-2025", "decisive")...),
		},
		"a leaf still refers to its issuer": {
			site: twoRoots(),
			change: func(s *site) {
				undeclare(s)
				s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{
					Ref: planner.Ref{Namespace: "plant", Name: "mill"}, Issuer: planner.Ref{Name: "press"}, SecretName: "mill-tls",
					Chain: []pki.Certificate{newLeaf("mill of press", press2025).Certificate},
				})
			},
			want: []string{
				rests,
				"press-root 2025 → none: Retire: 2025 is not drained",
				"- issuer: ClusterIssuer press: still signs with 2025",
				undeclared,
				"- drain: Certificate plant/mill: does not verify without 2025: verify mill of press (#mill of press): x509: certificate signed by unknown authority",
				"hold prune: ClusterIssuer press: Git no longer declares it, but the Certificate plant/mill refers to it: move the Certificate first",
				strangers,
				"drop 2025 of Certificate plant/mill: chains to 2025",
				inAnHour,
			},
			targets: append([]string{"key fleet-root 2025 Certificate Issuer", "key press-root 2025 Certificate Issuer"}, append(fleet, "issuer press signs with 2025 of press-root", "bundle fleet-trust 2025 press-2025")...),
		},
		"nobody needs it, and its anchor is still there": {
			site: twoRoots(),
			change: func(s *site) {
				undeclare(s)
				s.observed.Issuers = s.observed.Issuers[:1]
			},
			want: []string{
				rests,
				"press-root 2025 → none: Retire: 2025 is not drained",
				undeclared, strangers, inAnHour,
			},
			targets: append([]string{"key fleet-root 2025 Certificate Issuer", "key press-root 2025 Certificate Issuer"}, append(fleet, "bundle fleet-trust 2025 press-2025")...),
		},
		"nobody needs it, and its anchor was taken out by hand": {
			site: twoRoots(),
			change: func(s *site) {
				undeclare(s)
				s.observed.Issuers = s.observed.Issuers[:1]
				s.distribute(key2025)
			},
			want: []string{
				rests,
				"press-root 2025 → none: Retire: no copy holds 2025; its Certificate goes",
				"- removal: Certificate cert-manager/press-root-2025: being removed",
				inAnHour,
			},
			targets: append([]string{"key fleet-root 2025 Certificate Issuer", "key press-root 2025 Issuer"}, append(fleet, "bundle fleet-trust 2025", "decisive")...),
		},
	})
}

// When Git declares nothing any more, what is in use stays, and the plan says for whom.
func TestNothingIsDeclared(t *testing.T) {
	s := settled()
	s.desired = planner.Desired{}
	same(t, "the plan says", tell(s.next(), s.now), []string{
		"fleet-root 2025 → none: Retire: 2025 is not drained",
		"- issuer: ClusterIssuer fleet: still signs with 2025",
		"- declaration: Authority cert-manager/fleet-root: Git no longer declares it, but bundles hold its anchor: declare it with every key Retired to have it drained, or take the anchor out by hand",
		"- drain: Certificate plant/broker: does not verify without 2025: verify broker (#broker): x509: certificate signed by unknown authority",
		"hold prune: ClusterIssuer fleet: Git no longer declares it, but the Certificate plant/broker refers to it: move the Certificate first",
		"hold bundle: TrustBundle fleet-trust: Git no longer declares it, but Deployment lab/client mounts it: move the workload first",
		drop2025,
	})
	same(t, "the cluster shall hold", targets(s.next()), []string{
		"key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025",
	})
}
