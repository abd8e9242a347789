package planner_test

import (
	"crypto/x509"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var (
	issuingRef = planner.Ref{Namespace: "cert-manager", Name: "fleet-issuing"}
	keyA2025   = newIntermediate("a.2025", key2025)
	keyA2026   = newIntermediate("a.2026", key2026)
	keyB2025   = newIntermediate("b.2025", key2025)
)

// newIntermediate makes a CA that another signed; it lives for five years.
func newIntermediate(pair string, by entity, change ...func(*x509.Certificate)) entity {
	template := newRoot("template of "+pair, "Fleet Issuing "+pair).X509()
	made := *template
	made.NotAfter = noon.Add(43800 * time.Hour)
	made.SubjectKeyId, made.AuthorityKeyId = nil, nil
	return sign(pair, &made, &by, change...)
}

// chained is the settled plant whose issuer signs with the intermediate fleet-issuing,
// through its pair a.2025.
func chained() *site {
	s := settled()
	s.desired.Authorities = []v1alpha1.Authority{issuing("2025"), s.desired.Authorities[0]}
	s.desired.Bindings[0].Spec.Authority = "fleet-issuing"
	s.commitTo(0, "a Signing")
	s.hasPair("a.2025", keyA2025, key2025)
	s.pointToPair("a.2025", keyA2025)
	s.proveRoot("2025", key2025)
	s.leaf().Chain = []pki.Certificate{newLeaf("broker under a", keyA2025).Certificate, keyA2025.Certificate}
	s.reload()
	return s
}

func issuing(string) v1alpha1.Authority {
	made := authority("fleet-issuing", "Fleet Issuing")
	made.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: "fleet-root"}
	made.Spec.Duration = &metav1.Duration{Duration: 43800 * time.Hour}
	return made
}

// hasPair gives fleet-issuing a key pair.
func (s *site) hasPair(pair string, certificate, by entity) {
	spec := caSpec
	spec.CommonName, spec.SignedBy = "Fleet Issuing "+pair, planner.Ref{Namespace: "cert-manager", Name: "fleet-root-" + by.CommonName()[len("Fleet Root "):]}
	s.observed.Keys = append(s.observed.Keys, planner.Key{
		Authority: issuingRef, Name: pair, HasCertificate: true, HasIssuer: true, Issued: true, Spec: spec, Certificate: certificate.Certificate,
	})
}

func (s *site) pointToPair(pair string, key entity) {
	s.pointTo(pair, key)
	s.issuer().SecretName = "fleet-issuing-" + pair
}

// proveRoot lets a canary come back through the root's internal issuer.
func (s *site) proveRoot(name string, key entity) {
	k := s.key(name)
	k.Generation = 1
	k.Canary = planner.Canary{Name: "root-1", At: s.now, Generation: 1, State: planner.CanarySigned, Certificate: newLeaf("canary of root "+name, key).Certificate, CA: key.Certificate}
}

// rolledRoot is the plant in which 2026 is distributed and soaked, and its internal
// issuer proved; the intermediate is to follow.
func rolledRoot() *site {
	s := chained()
	s.rest(0)
	s.commitTo(1, "2025 Retired", "2026 Signing")
	s.has("2026", key2026)
	s.distribute(key2025, key2026)
	s.reload()
	s.rest(10 * time.Minute)
	s.proveRoot("2026", key2026)
	return s
}

const (
	rootRests    = "fleet-root none → 2025: Settled: 2025 signs; 0 leaves chain to it, and 1 intermediate"
	rootRestsOn2 = "fleet-root none → 2025: Settled: 2025 signs; 0 leaves chain to it, and 2 intermediates"
	issuingRests = "fleet-issuing none → a.2025: Settled: a.2025 signs; 1 leaf chains to it"
	dropA2025    = "drop a.2025 of Certificate plant/broker: chains to a.2025"
	dropOf2025   = "drop 2025 of Certificate plant/broker: chains to 2025"
)

// An intermediate rolls alone: no bundle is written, no verifier restarted, and the root
// rests.
func TestAnIntermediateAlone(t *testing.T) {
	roll := func(s *site) { s.commitTo(0, "a Retired", "b Signing") }
	keys := func(more ...string) []string {
		return append(append([]string{"key fleet-issuing a.2025 Certificate Issuer"}, more...), "key fleet-root 2025 Certificate Issuer")
	}
	play(t, map[string]scene{
		"at rest": {
			site: chained(), want: []string{issuingRests, rootRests, inAnHour},
			targets: append(keys(), "issuer fleet signs with a.2025 of fleet-issuing", "bundle fleet-trust 2025"),
		},
		"its new pair is asked for under the same key of the root": {
			site: chained(), change: roll,
			want: []string{
				"fleet-issuing a.2025 → b.2025: Introduce: b.2025 is being made",
				"- issue: Certificate cert-manager/fleet-issuing-b.2025: the Certificate does not exist yet",
				rootRests, dropA2025, inAnHour,
			},
			targets: append(keys("key fleet-issuing b.2025 Certificate Issuer"), "issuer fleet signs with a.2025 of fleet-issuing", "bundle fleet-trust 2025"),
		},
		"Distribute is skipped": {
			site: chained(), change: func(s *site) {
				roll(s)
				s.hasPair("b.2025", keyB2025, key2025)
			},
			want: []string{
				"fleet-issuing a.2025 → b.2025: Switch: 0 of 1 issuer signs with b.2025",
				"- issuer: ClusterIssuer fleet: moves to b.2025 now",
				rootRestsOn2, dropA2025, inAnHour,
			},
			targets: append(keys("key fleet-issuing b.2025 Certificate Issuer"), "issuer fleet signs with b.2025 of fleet-issuing", "bundle fleet-trust 2025", "decisive"),
		},
		"presenters are restarted": {
			site: chained(), change: func(s *site) {
				roll(s)
				s.hasPair("b.2025", keyB2025, key2025)
				s.pointToPair("b.2025", keyB2025)
				s.leaf().Chain = []pki.Certificate{newLeaf("broker under b", keyB2025).Certificate, keyB2025.Certificate}
			},
			want: []string{
				"fleet-issuing a.2025 → b.2025: Reissue: 1 of 1 leaf chains to b.2025; 0 of 1 presenters have reloaded",
				"- reload: Deployment plant/broker: restarting now",
				rootRestsOn2,
				"do Restart Deployment plant/broker: not all of its pods are known to have started since its leaves chain to b.2025",
				inAnHour,
			},
		},
		"the old pair goes at once": {
			site: chained(), change: func(s *site) {
				roll(s)
				s.hasPair("b.2025", keyB2025, key2025)
				s.pointToPair("b.2025", keyB2025)
				s.leaf().Chain = []pki.Certificate{newLeaf("broker under b", keyB2025).Certificate, keyB2025.Certificate}
				s.reload()
			},
			want: []string{
				"fleet-issuing a.2025 → b.2025: Retire: nothing chains to a.2025; its Certificate goes",
				"- removal: Certificate cert-manager/fleet-issuing-a.2025: being removed",
				rootRestsOn2, inAnHour,
			},
			targets: []string{
				"key fleet-issuing a.2025 Issuer", "key fleet-issuing b.2025 Certificate Issuer", "key fleet-root 2025 Certificate Issuer",
				"issuer fleet signs with b.2025 of fleet-issuing", "bundle fleet-trust 2025", "decisive",
			},
		},
	})
}

// A root's new key is followed by a new pair of its intermediate; the root's old key goes
// when the intermediate has moved, and the intermediate's old pair when the root's old
// anchor is out.
func TestARootWithItsIntermediate(t *testing.T) {
	follow := func(s *site) {
		s.hasPair("a.2026", keyA2026, key2026)
		s.pointToPair("a.2026", keyA2026)
		s.leaf().Chain = []pki.Certificate{newLeaf("broker under a.2026", keyA2026).Certificate, keyA2026.Certificate}
	}
	play(t, map[string]scene{
		"the intermediate waits for the root": {
			site: chained(), change: func(s *site) {
				s.commitTo(1, "2025 Retired", "2026 Signing")
				s.has("2026", key2026)
			},
			want: []string{
				"fleet-issuing a.2025 → a.2026: Introduce: a.2026 is being made",
				"- parent: Authority fleet-root: signs with 2026 first: it is at Distribute",
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"do Prove cert-manager/fleet-root-2026: it is not proved that Issuer cert-manager/fleet-root-2026 signs with 2026",
				dropOf2025, dropA2025, inAnHour,
			},
		},
		"the root's own issuer is proved first": {
			site: rolledRoot(), change: func(s *site) { s.key("2026").Canary.State = planner.CanaryPending },
			want: []string{
				"fleet-issuing a.2025 → a.2026: Introduce: a.2026 is being made",
				"- parent: Authority fleet-root: signs with 2026 first: it is at Switch",
				"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026",
				"- canary: Issuer cert-manager/fleet-root-2026: canary root-1 has not come back",
				dropOf2025, dropA2025, inFifty,
			},
		},
		"then it follows": {
			site: rolledRoot(), want: []string{
				"fleet-issuing a.2025 → a.2026: Introduce: a.2026 is being made",
				"- issue: Certificate cert-manager/fleet-issuing-a.2026: the Certificate does not exist yet",
				"fleet-root 2025 → 2026: Reissue: 1 authority below is still to follow to 2026",
				"- intermediate: Authority cert-manager/fleet-issuing: is at Introduce of a.2026",
				dropOf2025, dropA2025, inFifty,
			},
			targets: []string{
				"key fleet-issuing a.2025 Certificate Issuer", "key fleet-issuing a.2026 Certificate Issuer",
				"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
				"issuer fleet signs with a.2025 of fleet-issuing", "bundle fleet-trust 2025 2026",
			},
		},
		"the root's anchor goes when everyone presents the new chain": {
			site: rolledRoot(), change: func(s *site) {
				follow(s)
				s.reload()
			},
			want: []string{
				"fleet-issuing a.2025 → a.2026: Retire: a.2025 is not drained",
				"- intermediate: Authority cert-manager/fleet-root: bundles hold 2025: until they do not any more, one can go back to it",
				"fleet-root 2025 → 2026: Retire: 0 of 2 copies are without 2025",
				"- anchors: ConfigMap lab/fleet-trust: still holds Fleet Root 2025 (#2025)",
				"- anchors: ConfigMap plant/fleet-trust: still holds Fleet Root 2025 (#2025)",
				inAnHour,
			},
			targets: []string{
				"key fleet-issuing a.2025 Certificate Issuer", "key fleet-issuing a.2026 Certificate Issuer",
				"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer",
				"issuer fleet signs with a.2026 of fleet-issuing", "bundle fleet-trust 2026", "decisive",
			},
		},
		"not before a presenter has loaded it": {
			site: rolledRoot(), change: follow,
			want: []string{
				"fleet-issuing a.2025 → a.2026: Reissue: 1 of 1 leaf chains to a.2026; 0 of 1 presenters have reloaded",
				"- reload: Deployment plant/broker: restarting now",
				"fleet-root 2025 → 2026: Reissue: 1 authority below is still to follow to 2026",
				"- intermediate: Authority cert-manager/fleet-issuing: is at Reissue of a.2026",
				"do Restart Deployment plant/broker: not all of its pods are known to have started since its leaves chain to a.2026",
				inAnHour,
			},
		},
		"the intermediate's old pair goes before the root's key": {
			site: rolledRoot(), change: func(s *site) {
				follow(s)
				s.distribute(key2026)
				s.reload()
			},
			want: []string{
				"fleet-issuing a.2025 → a.2026: Retire: nothing chains to a.2025; its Certificate goes",
				"- removal: Certificate cert-manager/fleet-issuing-a.2025: being removed",
				"fleet-root 2025 → 2026: Retire: what 2025 signed goes first",
				"- intermediate: Certificate cert-manager/fleet-issuing-a.2025: signed by 2025, it goes first",
				inAnHour,
			},
		},
		"git revert in the middle of the reissue": {
			site: rolledRoot(), change: func(s *site) {
				follow(s)
				s.commitTo(1, "2025 Signing")
			},
			want: []string{
				"fleet-issuing a.2026 → a.2025: Switch: 0 of 1 issuer signs with a.2025",
				"- issuer: ClusterIssuer fleet: moves to a.2025 now",
				"fleet-root 2026 → 2025: Reissue: 1 authority below is still to follow to 2025",
				"- intermediate: Authority cert-manager/fleet-issuing: is at Switch of a.2025",
				"drop 2026 of Certificate plant/broker: chains to 2026",
				"drop a.2026 of Certificate plant/broker: chains to a.2026",
				inFifty,
			},
		},
		"while the root's old key is Trusted, the pair under it stays": {
			site: rolledRoot(), change: func(s *site) {
				s.commitTo(1, "2025 Trusted", "2026 Signing")
				follow(s)
				s.reload()
			},
			want: []string{
				"fleet-issuing none → a.2026: Settled: a.2026 signs; 1 leaf chains to it",
				"fleet-root none → 2026: Settled: 2026 signs; 0 leaves chain to it, and 1 intermediate",
				inAnHour,
			},
		},
	})
}

// A parent in another namespace is reached through a ClusterIssuer, which is there for as
// long as somebody elsewhere needs it.
func TestAnIntermediateElsewhere(t *testing.T) {
	s := rolledRoot()
	s.desired.Authorities[0].Metadata.Namespace = "plant"
	s.desired.Bindings[0].Spec.Scope, s.desired.Bindings[0].Metadata.Namespace = v1alpha1.ScopeNamespace, "plant"
	for i := range s.observed.Keys {
		if k := &s.observed.Keys[i]; k.Authority == issuingRef {
			k.Authority.Namespace, k.Spec.SignedBy.Namespace = "plant", ""
		}
	}
	s.key("2025").HasClusterIssuer = true
	cluster := map[string]bool{}
	for _, key := range s.next().Target.Keys {
		cluster[planner.KeyObjectName(key.Authority.Name, key.Name)] = key.ClusterIssuer
		if key.Name == "a.2026" && key.Spec.SignedBy != (planner.Ref{Name: "fleet-root-2026"}) {
			t.Errorf("a.2026 is to be signed by %s", key.Spec.SignedBy)
		}
	}
	for name, want := range map[string]bool{"fleet-root-2025": true, "fleet-root-2026": true, "fleet-issuing-a.2025": false, "fleet-issuing-a.2026": false} {
		if cluster[name] != want {
			t.Errorf("%s has a ClusterIssuer: %v, want %v", name, cluster[name], want)
		}
	}
}

// What must not be: each is held in Introduce, and says what to do.
func TestIntermediatesThatAreHeld(t *testing.T) {
	introducing := "fleet-issuing a.2025 → b.2025: Introduce: b.2025 is being made"
	held := func(holds ...string) []string {
		return append(append([]string{introducing}, holds...), rootRests, dropA2025, inAnHour)
	}
	with := func(key entity) func(*site) {
		return func(s *site) {
			s.commitTo(0, "a Retired", "b Signing")
			s.hasPair("b.2025", key, key2025)
		}
	}
	another := newIntermediate("b of another", key2026)
	longer := newIntermediate("b longer", key2025, lives(noon.Add(-time.Hour), key2025.NotAfter().Add(time.Second)))
	play(t, map[string]scene{
		"another root signed it": {
			site: chained(), change: with(another),
			want: append([]string{introducing, "- certificate: Fleet Issuing b of another (#b of another): it is not a CA certificate that 2025 of fleet-root signed: name a new key"}, rootRestsOn2, dropA2025, inAnHour),
		},
		"it ends after its root": {
			site: chained(), change: with(longer),
			want: []string{
				introducing,
				"- lifetime: Fleet Issuing b longer (#b longer): it ends at 2036-02-27T12:00:01Z, after Fleet Root 2025 (#2025), which signed it, does at 2036-02-27T12:00:00Z: give fleet-root a new key, or this one a shorter duration under a new name",
				rootRestsOn2, dropA2025, inAnHour,
			},
		},
		"it would outlive its root": {
			site: chained(), change: func(s *site) {
				s.commitTo(0, "a Retired", "b Signing")
				s.desired.Authorities[0].Spec.Duration.Duration = 87601 * time.Hour
			},
			want: append(held("- lifetime: Certificate cert-manager/fleet-issuing-b.2025: it would live 87601h0m0s, and Fleet Root 2025 (#2025), which would sign it, ends at 2036-02-27T12:00:00Z: give fleet-root a new key first, or this one a shorter duration")[:3],
				"hold lifetime: Fleet Root 2025 (#2025): it ends at 2036-02-27T12:00:00Z, a new key needs 15m0s to take over, and what it signs lives up to 87601h0m0s: that would outlive it; add a key", dropA2025, inAnHour),
			targets: []string{
				"key fleet-issuing a.2025 Certificate Issuer", "key fleet-root 2025 Certificate Issuer",
				"issuer fleet signs with a.2025 of fleet-issuing", "bundle fleet-trust 2025",
			},
		},
		"its parent is paused": {
			site: rolledRoot(), change: func(s *site) { s.desired.Authorities[1].Spec.Rollover.Paused = true },
			want: []string{
				"fleet-issuing a.2025 → a.2026: Introduce: a.2026 is being made",
				"- parent: Authority fleet-root: it is paused: unset its spec.rollover.paused to go on",
				"fleet-root 2025 → 2026: Reissue: 1 authority below is still to follow to 2026",
				"- intermediate: Authority cert-manager/fleet-issuing: is at Introduce of a.2026",
				"- paused: spec.rollover.paused is true: unset it to go on",
				dropOf2025, dropA2025, inFifty,
			},
		},
	})
}

// A CA that somebody made through our issuer is a leaf to us, and what it signed chains
// to our key through it.
func TestAForeignCA(t *testing.T) {
	s := switched()
	foreign := newIntermediate("foreign", key2025)
	s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{
		Ref: planner.Ref{Namespace: "plant", Name: "press"}, Issuer: planner.Ref{Namespace: "plant", Name: "press-ca"}, SecretName: "press-tls", Foreign: true,
		Chain: []pki.Certificate{newLeaf("press under foreign", foreign).Certificate, foreign.Certificate},
	})
	same(t, "the plan says", tell(s.next(), s.now), []string{
		"fleet-root 2025 → 2026: Reissue: 0 of 2 leaves chain to 2026 (1 of the 2 foreign)",
		"- leaf: Certificate plant/broker: chains to 2025, not to 2026",
		"- leaf: Certificate plant/press: chains to 2025, not to 2026",
		"do Reissue plant/broker: chains to 2025, not to 2026",
		"do Reissue plant/press: chains to 2025, not to 2026",
		"drop 2025 of Certificate plant/broker: chains to 2025",
		"drop 2025 of Certificate plant/press: chains to 2025",
		inAnHour,
	})
}
