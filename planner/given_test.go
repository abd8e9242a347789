package planner_test

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

const (
	acme2025 = `{"acme":{"server":"https://old.example"}}`
	acme2026 = `{"acme":{"server":"https://new.example"}}`
)

// give says that a key comes from elsewhere.
func (s *site) give(name string, certificate entity, edit func(*v1alpha1.AuthorityKey)) {
	keys := s.desired.Authorities[0].Spec.Keys
	key := &keys[slices.IndexFunc(keys, func(k v1alpha1.AuthorityKey) bool { return k.Name == name })]
	key.Certificate = string(certificate.PEM())
	edit(key)
}

func inSecret(name string) func(*v1alpha1.AuthorityKey) {
	return func(k *v1alpha1.AuthorityKey) { k.Secret = &v1alpha1.SecretReference{Name: name} }
}

func behindIssuer(spec string) func(*v1alpha1.AuthorityKey) {
	return func(k *v1alpha1.AuthorityKey) { k.Issuer = &apiextensionsv1.JSON{Raw: []byte(spec)} }
}

// brought is the plant with both keys in Secrets that somebody else made: 2025 signs, and
// 2026 was committed just now.
func brought() *site {
	s := settled()
	s.commit("2025 Retired", "2026 Signing")
	s.give("2025", key2025, inSecret("brought-2025"))
	s.give("2026", key2026, inSecret("brought-2026"))
	s.observed.Keys = nil
	s.hasSecret("2025", "brought-2025", key2025)
	s.issuer().SecretName = "brought-2025"
	return s
}

// hasSecret gives fleet-root the internal issuer of a key from elsewhere, and a canary that
// came back signed by the key that the Secret holds.
func (s *site) hasSecret(name, secret string, holds entity) *planner.Key {
	canary := planner.Canary{Name: "fleet-root-" + name + "-1", At: s.now, Generation: 1, State: planner.CanarySigned, Certificate: newLeaf("canary of the Secret of "+name, holds).Certificate, CA: holds.Certificate}
	s.observed.Keys = append(s.observed.Keys, planner.Key{
		Authority: fleetRoot, Name: name, SecretName: secret, HasIssuer: true, SecretSeen: true, Generation: 1, Canary: canary, Proof: canary,
	})
	return s.key(name)
}

// outside is the plant behind external issuers: 2025 signs, everyone trusts both, and the
// soak is over.
func outside() *site {
	s := soaked()
	s.observed.Keys = nil
	s.give("2025", key2025, behindIssuer(acme2025))
	s.give("2026", key2026, behindIssuer(acme2026))
	s.turnOver("2025", acme2025)
	return s
}

// turnOver gives the issuer the spec of a key.
func (s *site) turnOver(name, spec string) {
	*s.issuer() = planner.Issuer{Ref: planner.Ref{Name: "fleet"}, Exists: true, Ours: true, Spec: spec, SignsWith: "cert-manager/fleet-root/" + name, Ready: true, Generation: s.issuer().Generation + 1}
}

// second adds another leaf to the plant.
func (s *site) second(by entity) {
	s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{
		Ref: planner.Ref{Namespace: "plant", Name: "press"}, Issuer: planner.Ref{Name: "fleet"}, SecretName: "press-tls",
		Chain: []pki.Certificate{newLeaf("press", by).Certificate},
	})
}

// A key in somebody else's Secret is introduced when a canary has shown that the Secret
// holds the key of the certificate in Git.
func TestKeysInSecrets(t *testing.T) {
	const (
		introduced = "fleet-root 2025 → 2026: Introduce: 2026 is being made"
		secret     = "- proof: Secret cert-manager/brought-2026: "
	)
	both := []string{"key fleet-root 2025 Issuer", "key fleet-root 2026 Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025"}
	play(t, map[string]scene{
		"its internal issuer is made first": {
			site:    brought(),
			want:    []string{introduced, secret + "no canary has shown yet that it holds the key of Fleet Root 2026 (#2026)", drop2025, inAnHour},
			targets: both,
		},
		"the Secret is not there": {
			site: brought(), change: func(s *site) {
				*s.hasSecret("2026", "brought-2026", key2026) = planner.Key{Authority: fleetRoot, Name: "2026", SecretName: "brought-2026", HasIssuer: true, SecretGone: true, Generation: 1}
			},
			want:    []string{introduced, secret + "it is not there yet: whoever makes it has not", drop2025, inAnHour},
			targets: both,
		},
		"a canary is sent when the Secret is there": {
			site: brought(), change: func(s *site) {
				*s.hasSecret("2026", "brought-2026", key2026) = planner.Key{Authority: fleetRoot, Name: "2026", SecretName: "brought-2026", HasIssuer: true, SecretSeen: true, Generation: 1}
			},
			want: []string{
				introduced, secret + "no canary has shown yet that it holds the key of Fleet Root 2026 (#2026)",
				"do Prove cert-manager/fleet-root-2026: it is not proved that Issuer cert-manager/fleet-root-2026 signs with 2026", drop2025, inAnHour,
			},
			targets: both,
		},
		"the Secret holds another key": {
			site: brought(), change: func(s *site) { s.hasSecret("2026", "brought-2026", stranger) },
			want: []string{
				introduced, secret + "it does not hold the key of Fleet Root 2026 with fingerprint ##2026, as Git says: canary fleet-root-2026-1 came back signed by a strange key, Fleet Root 2026 with fingerprint ##stranger; put the Secret or the certificate in Git right",
				drop2025, "look again after 1m0s",
			},
			targets: both,
		},
		"the Secret holds the key": {
			site: brought(), change: func(s *site) { s.hasSecret("2026", "brought-2026", key2026) },
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: TrustBundle fleet-trust: its Bundle does not hold 2026 yet",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet",
				drop2025, inAnHour,
			},
			targets: []string{"key fleet-root 2025 Issuer", "key fleet-root 2026 Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025 2026"},
		},
		"the name of the Secret was changed": {
			site: brought(), change: func(s *site) {
				s.hasSecret("2026", "brought-2026", key2026)
				s.give("2026", key2026, inSecret("elsewhere"))
			},
			want: []string{
				introduced, "- certificate: Issuer cert-manager/fleet-root-2026: 2026 was in the Secret brought-2026, and Git says elsewhere: put the name back, or name a new key",
				drop2025, inAnHour,
			},
			targets: both,
		},
		"it was made here before": {
			site: brought(), change: func(s *site) { s.has("2026", key2026) },
			want: []string{
				introduced, "- certificate: Certificate cert-manager/fleet-root-2026: 2026 was made here, and Git says now that it comes from elsewhere: give that key a name of its own",
				drop2025, inAnHour,
			},
			targets: []string{"key fleet-root 2025 Issuer", "key fleet-root 2026 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025"},
		},
		"Git gives its certificate no more, and no key is made under its name": {
			site: brought(), change: func(s *site) {
				s.hasSecret("2026", "brought-2026", key2026)
				s.commit("2025 Retired", "2026 Signing")
				s.give("2025", key2025, inSecret("brought-2025"))
			},
			want: []string{
				"fleet-root 2025 → 2026: Introduce: 2026 is being made",
				"- certificate: Issuer cert-manager/fleet-root-2026: 2026 came from elsewhere, in the Secret brought-2026: give its certificate and its Secret in Git again, or name a new key",
				drop2025, inAnHour,
			},
			targets: both,
		},
		"its Secret is not deleted when it is retired": {
			site: released(), change: func(s *site) {
				s.observed.Keys = nil
				s.give("2025", key2025, inSecret("brought-2025"))
				s.give("2026", key2026, inSecret("brought-2026"))
				s.hasSecret("2025", "brought-2025", key2025)
				s.hasSecret("2026", "brought-2026", key2026)
				s.issuer().SecretName = "brought-2026"
			},
			want: []string{
				"fleet-root 2025 → 2026: Retire: the Secret of 2025 is somebody else's and stays; its internal issuer goes",
				"- removal: Issuer cert-manager/fleet-root-2025: being removed", inAnHour,
			},
			targets: []string{"key fleet-root 2026 Issuer", "issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2026"},
		},
	})
}

// Nothing is proved by a canary behind an external issuer: the first leaf shows what signs.
func TestKeysBehindIssuers(t *testing.T) {
	strangeLeaf := func(s *site) {
		s.turnOver("2026", acme2026)
		s.leaf().Chain = []pki.Certificate{newLeaf("broker of a stranger", stranger).Certificate}
	}
	const strangeWhy = "chains to a strange key (Fleet Root 2026), not to 2026"
	play(t, map[string]scene{
		"the issuer is given the spec": {
			site:    outside(),
			want:    []string{"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026", "- issuer: ClusterIssuer fleet: moves to 2026 now", drop2025},
			targets: []string{"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026", "decisive"},
		},
		"the issuer is not ready with it": {
			site: outside(), change: func(s *site) {
				s.turnOver("2026", acme2026)
				s.issuer().Ready, s.issuer().Problem = false, "the server does not answer"
			},
			want:    []string{"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026", "- issuer: ClusterIssuer fleet: it is not ready with the spec of 2026: the server does not answer", drop2025},
			targets: []string{"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026"},
		},
		"somebody changed the spec": {
			site: outside(), change: func(s *site) { s.turnOver("2026", `{"acme":{"server":"https://evil.example"}}`) },
			want:    []string{"fleet-root 2025 → 2026: Switch: 0 of 1 issuer signs with 2026", "- issuer: ClusterIssuer fleet: its spec becomes that of 2026 now", drop2025},
			targets: []string{"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026", "decisive"},
		},
		"one leaf asks first": {
			site: outside(), change: func(s *site) {
				s.turnOver("2026", acme2026)
				s.second(key2025)
			},
			want: []string{
				"fleet-root 2025 → 2026: Reissue: 0 of 2 leaves chain to 2026",
				"- leaf: Certificate plant/broker: chains to 2025, not to 2026",
				"- leaf: Certificate plant/press: chains to 2025, not to 2026; waits for the Certificate plant/broker, which is the first to ask the new issuer",
				"do Reissue plant/broker: chains to 2025, not to 2026",
				drop2025, "drop 2025 of Certificate plant/press: chains to 2025",
			},
		},
		"it is under way": {
			site: outside(), change: func(s *site) {
				s.turnOver("2026", acme2026)
				s.second(key2025)
				s.leaf().Issuing = true
			},
			want: []string{
				"fleet-root 2025 → 2026: Reissue: 0 of 2 leaves chain to 2026",
				"- leaf: Certificate plant/broker: being reissued",
				"- leaf: Certificate plant/press: chains to 2025, not to 2026; waits for the Certificate plant/broker, which is the first to ask the new issuer",
				drop2025, "drop 2025 of Certificate plant/press: chains to 2025",
			},
		},
		"the others follow": {
			site: outside(), change: func(s *site) {
				s.turnOver("2026", acme2026)
				s.second(key2025)
				s.leaf().Chain = []pki.Certificate{newLeaf("broker anew", key2026).Certificate}
			},
			want: []string{
				"fleet-root 2025 → 2026: Reissue: 1 of 2 leaves chain to 2026",
				"- leaf: Certificate plant/press: chains to 2025, not to 2026",
				"do Reissue plant/press: chains to 2025, not to 2026",
				"drop 2025 of Certificate plant/press: chains to 2025",
			},
		},
		"a leaf came back signed by a stranger, and asks once more": {
			site: outside(), change: strangeLeaf,
			want: []string{"fleet-root 2025 → 2026: Reissue: 0 of 1 leaf chains to 2026", "- leaf: Certificate plant/broker: " + strangeWhy, "do Reissue plant/broker: " + strangeWhy},
		},
		"and then not for an hour": {
			site: outside(), change: func(s *site) {
				strangeLeaf(s)
				s.rest(time.Minute)
			},
			want: []string{
				"fleet-root 2025 → 2026: Reissue: 0 of 1 leaf chains to 2026",
				"- leaf: Certificate plant/broker: came back signed by a strange key (Fleet Root 2026), not by Fleet Root 2026 (#2026): everyone who does not trust that refuses it; put the certificate of 2026 or its issuer in Git right; asked for again at 2026-03-01T13:10:00Z",
				"look again after 59m0s",
			},
		},
		"it is in a Secret all at once": {
			site: outside(), change: func(s *site) {
				s.turnOver("2026", acme2026)
				s.give("2026", key2026, func(k *v1alpha1.AuthorityKey) { k.Issuer = nil })
				s.give("2026", key2026, inSecret("brought-2026"))
				s.leaf().Chain = []pki.Certificate{newLeaf("broker anew", key2026).Certificate}
			},
			want: []string{
				"fleet-root 2025 → 2026: Introduce: 2026 is being made",
				"- certificate: ClusterIssuer fleet: 2026 was behind an external issuer, and Git says that it is in a Secret: put its issuer back, or name a new key",
			},
			targets: []string{"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026"},
		},
		"the key has left Git, and is on record": {
			site: outside(), change: func(s *site) {
				s.turnOver("2026", acme2026)
				s.commit("2025 Signing")
				s.give("2025", key2025, behindIssuer(acme2025))
				s.observed.Record = planner.Record{Enabled: true, Keys: []planner.RecordedKey{
					{Authority: "fleet-root", Name: "2025", Certificate: key2025.Certificate}, {Authority: "fleet-root", Name: "2026", Certificate: key2026.Certificate},
				}}
				s.leaf().Chain = []pki.Certificate{newLeaf("broker anew", key2026).Certificate}
				s.rest(10 * time.Minute)
			},
			want: []string{
				"fleet-root 2026 → 2025: Switch: 0 of 1 issuer signs with 2025", "- issuer: ClusterIssuer fleet: moves to 2025 now",
				"drop 2026 of Certificate plant/broker: chains to 2026",
			},
			targets: []string{"issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025 2026", "decisive"},
		},
		"the key has left Git, and nothing but the issuer tells of it": {
			site: outside(), change: func(s *site) {
				s.turnOver("2026", acme2026)
				s.commit("2025 Signing")
				s.give("2025", key2025, behindIssuer(acme2025))
			},
			want: []string{
				"fleet-root 2026 → 2025: Distribute: 2 of 2 copies hold 2025; soaking until 2026-03-01T12:20:00Z",
				"- soak: distributed at 2026-03-01T12:10:00Z; signing moves 10m0s later, at 2026-03-01T12:20:00Z",
				"look again after 10m0s",
			},
			targets: []string{"issuer fleet signs with 2026 of fleet-root", "bundle fleet-trust 2025 2026"},
		},
	})
}

// Further certificates come and go as Git says, unless somebody needs one.
func TestFurtherCertificates(t *testing.T) {
	further := newRoot("further", "Another Site")
	listed := func(s *site) { s.desired.Bundles[0].Spec.Certificates = []string{string(further.PEM())} }
	stands := func(s *site) {
		s.distribute(key2025, further)
		s.observed.Bundles[0].Certificates = anchorsOf(further)
		s.reload()
	}
	key := []string{"key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root"}
	at := "fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it"
	play(t, map[string]scene{
		"one comes": {
			site: settled(), change: listed, want: []string{at, inAnHour},
			targets: append(slices.Clone(key), "bundle fleet-trust 2025 further"),
		},
		"one is there": {
			site: settled(), change: func(s *site) { listed(s); stands(s) }, want: []string{at, inAnHour},
			targets: append(slices.Clone(key), "bundle fleet-trust 2025 further"),
		},
		"one goes": {
			site: settled(), change: stands, want: []string{at, inAnHour},
			targets: append(slices.Clone(key), "bundle fleet-trust 2025", "decisive"),
		},
		"one is needed": {
			site: settled(), change: func(s *site) {
				stands(s)
				s.second(further)
			},
			want: []string{
				"fleet-root none → 2025: Distribute: 2 of 2 copies hold 2025; soaking until 2026-03-01T12:10:00Z",
				"- soak: distributed at 2026-03-01T12:00:00Z; signing moves 10m0s later, at 2026-03-01T12:10:00Z",
				"hold bundle: TrustBundle fleet-trust: Git no longer lists Another Site with fingerprint ##further, but the Certificate plant/press does not verify without it: it stays until that has moved",
				"look again after 10m0s",
			},
			targets: append(slices.Clone(key), "bundle fleet-trust 2025 further"),
		},
		"nobody knows where it came from": {
			site: settled(), change: func(s *site) { s.distribute(key2025, further); s.reload() },
			want:    []string{at, "hold bundle: TrustBundle fleet-trust: it holds Another Site with fingerprint ##further, which is no key of its authorities; it stays until it is taken out by hand", inAnHour},
			targets: append(slices.Clone(key), "bundle fleet-trust 2025 further"),
		},
	})
}

// Whoever writes the copies, and wherever they lie, nothing goes before its successor is
// there.
func TestBundleTargets(t *testing.T) {
	const at = "fleet-root none → 2025: Settled: 2025 signs; 1 leaf chains to it"
	const remedy = ": declare a TrustBundle of another name beside it, move its users, then remove this one"
	bundle := func(edit func(*v1alpha1.TrustBundleSpec)) func(*site) {
		return func(s *site) { edit(&s.desired.Bundles[0].Spec) }
	}
	password := "changeit"
	own := func(s *site) {
		s.desired.Bundles[0].Spec.Via, s.observed.Bundles[0].Via = v1alpha1.ViaConfigMap, v1alpha1.ViaConfigMap
		s.observed.Copies[0].Unselected = true // lab
	}
	play(t, map[string]scene{
		"a format is added": {
			site: settled(), change: bundle(func(b *v1alpha1.TrustBundleSpec) {
				b.Target.AdditionalFormats.JKS = &v1alpha1.KeystoreFormat{Key: "trust.jks", Password: &password}
			}),
			want: []string{at, inAnHour},
		},
		"a Secret is added": {
			site: settled(), change: bundle(func(b *v1alpha1.TrustBundleSpec) { b.Target.Secret.Key = "ca.crt" }),
			want: []string{at, inAnHour},
		},
		"the key of the copies changes": {
			site: settled(), change: bundle(func(b *v1alpha1.TrustBundleSpec) { b.Target.ConfigMap.Key = "other.crt" }),
			want: []string{at, "hold bundle: TrustBundle fleet-trust: its target was changed in Git; the old copies would be removed before the new ones are there" + remedy, inAnHour},
		},
		"somebody else is to write them": {
			site: settled(), change: bundle(func(b *v1alpha1.TrustBundleSpec) { b.Via = v1alpha1.ViaConfigMap }),
			want:    []string{at, "hold bundle: TrustBundle fleet-trust: its copies were written via Bundle, and Git says via ConfigMap; the old ones would go before the new ones are there" + remedy, inAnHour},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025"},
		},
		"the public CAs are taken out, and nobody mounts it": {
			site: settled(), change: func(s *site) { s.observed.Bundles[0].UseDefaultCAs, s.observed.Workloads = true, nil }, want: []string{at, inAnHour},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025", "decisive"},
		},
		"a namespace is not selected any more, and a workload mounts the copy there": {
			site: settled(), change: own,
			want:    []string{at, "hold bundle: TrustBundle fleet-trust: its selector does not pick the namespace lab any more, but Deployment lab/client mounts the copy there: move the workload first", inAnHour},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025"},
		},
		"and nobody mounts it": {
			site: settled(), change: func(s *site) { own(s); s.client().Bundles = nil }, want: []string{at, inAnHour},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root", "bundle fleet-trust 2025", "decisive"},
		},
		"a copy in a Secret lacks the new anchor": {
			site: introduced(), change: func(s *site) {
				s.distribute(key2025, key2026)
				s.observed.Copies[0].Secret, s.observed.Copies[0].Anchors = true, anchorsOf(key2025)
			},
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 1 of 2 copies hold 2026",
				"- copies: Secret lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet", drop2025, "look again after 5s",
			},
		},
		"somebody else has not added the new anchor": {
			site: introduced(), change: func(s *site) {
				s.desired.Bundles[0].Spec.Via, s.observed.Bundles[0].Via = v1alpha1.ViaObserved, v1alpha1.ViaObserved
			},
			want: []string{
				"fleet-root 2025 → 2026: Distribute: 0 of 2 copies hold 2026",
				"- copies: ConfigMap lab/fleet-trust: does not hold Fleet Root 2026 (#2026) yet; somebody else writes it: have the certificate with fingerprint ##2026 added",
				"- copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (#2026) yet; somebody else writes it: have the certificate with fingerprint ##2026 added",
				drop2025, inAnHour,
			},
			targets: []string{"key fleet-root 2025 Certificate Issuer", "key fleet-root 2026 Certificate Issuer", "issuer fleet signs with 2025 of fleet-root"},
		},
	})
}

// An intermediate from elsewhere stands under whoever signed it, and cannot follow by
// itself.
func TestIntermediatesFromElsewhere(t *testing.T) {
	issuing2025 := sign("issuing 2025", authorityTemplate("Issuing 2025"), &key2025)
	issuing2026 := sign("issuing 2026", authorityTemplate("Issuing 2026"), &key2026)
	offline := func(keys ...string) *site {
		s := settled()
		s.desired.Authorities = append(s.desired.Authorities, authority("fleet-issuing", "Fleet Issuing"))
		s.desired.Authorities[1].Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: "fleet-root"}
		s.desired.Bindings[0].Spec.Authority = "fleet-issuing"
		s.commit(keys...)
		s.give("2025", key2025, func(*v1alpha1.AuthorityKey) {})
		if len(keys) > 1 {
			s.give("2026", key2026, func(*v1alpha1.AuthorityKey) {})
		}
		s.observed.Keys = nil
		s.distribute(key2025, key2026)
		s.commitTo(1, "a Signing")
		s.desired.Authorities[1].Spec.Keys[0].Certificate = string(issuing2025.PEM())
		s.desired.Authorities[1].Spec.Keys[0].Secret = &v1alpha1.SecretReference{Name: "issuing-a"}
		key := s.hasSecret("a.2025", "issuing-a", issuing2025)
		key.Authority.Name = "fleet-issuing"
		s.issuer().SecretName, s.issuer().Canary.Certificate = "issuing-a", newLeaf("canary of a", issuing2025).Certificate
		s.leaf().Chain = []pki.Certificate{newLeaf("broker of a", issuing2025).Certificate, issuing2025.Certificate}
		s.reload()
		s.rest(10 * time.Minute)
		return s
	}
	play(t, map[string]scene{
		"it stands under an offline root": {
			site: offline("2025 Signing"),
			want: []string{
				"fleet-issuing none → a.2025: Settled: a.2025 signs; 1 leaf chains to it",
				"fleet-root none → 2025: Settled: 2025 signs; 0 leaves chain to it, and 1 intermediate",
				"hold bundle: TrustBundle fleet-trust: it holds Fleet Root 2026 with fingerprint ##2026, which is no key of its authorities; it stays until it is taken out by hand",
				inFifty,
			},
		},
		"the root moves on, and it cannot": {
			site: offline("2025 Retired", "2026 Signing"),
			want: []string{
				"fleet-issuing none → a.2025: Settled: a.2025 signs; 1 leaf chains to it",
				"fleet-root 2025 → 2026: Reissue: 1 authority below is still to follow to 2026",
				"- intermediate: Authority cert-manager/fleet-issuing: 2025 signed its key a.2025, which comes from elsewhere: a key that 2026 has signed must arrive, its Secret in the cluster and its certificate in Git",
				"drop 2025 of Certificate plant/broker: chains to 2025", inFifty,
			},
		},
		"the next one arrives": {
			site: offline("2025 Retired", "2026 Signing"), change: func(s *site) {
				s.desired.Authorities[1].Spec.Keys[0].State = v1alpha1.KeyRetired
				s.desired.Authorities[1].Spec.Keys = append(s.desired.Authorities[1].Spec.Keys, v1alpha1.AuthorityKey{
					Name: "b", State: v1alpha1.KeySigning, Certificate: string(issuing2026.PEM()), Secret: &v1alpha1.SecretReference{Name: "issuing-b"},
				})
			},
			want: []string{
				"fleet-issuing a.2025 → b.2026: Introduce: b.2026 is being made",
				"- proof: Secret cert-manager/issuing-b: no canary has shown yet that it holds the key of Issuing 2026 (#issuing 2026)",
				"fleet-root 2025 → 2026: Reissue: 1 authority below is still to follow to 2026",
				"- intermediate: Authority cert-manager/fleet-issuing: is at Introduce of b.2026",
				"drop 2025 of Certificate plant/broker: chains to 2025",
				"drop a.2025 of Certificate plant/broker: chains to a.2025", inFifty,
			},
		},
	})
}

// authorityTemplate is a CA certificate that lives for a year.
func authorityTemplate(name string) *x509.Certificate {
	template := *newRoot(name+" as a template", name).X509()
	template.NotAfter = noon.Add(8760 * time.Hour)
	return &template
}

// What a hostile or a damaged copy shows, and a change of hands in the middle, take nothing
// away that somebody needs.
func TestNothingIsTakenAway(t *testing.T) {
	further := newRoot("needed", "Another Needed Site")
	own := func(s *site) {
		s.desired.Bundles[0].Spec.Via, s.observed.Bundles[0].Via = v1alpha1.ViaConfigMap, v1alpha1.ViaConfigMap
		s.observed.Copies = append(s.observed.Copies, s.observed.Copies[0], s.observed.Copies[0])
		s.observed.Copies[2].Namespace, s.observed.Copies[3].Namespace = "press", "store"
	}
	bundleOf := func(plan planner.Plan) string {
		for _, line := range targets(plan) {
			if len(line) > 6 && line[:6] == "bundle" {
				return line
			}
		}
		return "none"
	}
	for name, c := range map[string]struct {
		site   *site
		change func(*site)
		want   string
	}{
		"a certificate that a leaf needs, and a copy is damaged": {settled(), func(s *site) {
			s.distribute(key2025, further)
			own(s)
			s.second(further)
			s.observed.Copies[3].Anchors, s.observed.Copies[3].Problem = nil, "not PEM"
		}, "bundle fleet-trust 2025 needed"},
		"a certificate that nobody needs, in all copies": {settled(), func(s *site) {
			s.distribute(key2025, further)
			own(s)
		}, "bundle fleet-trust 2025"},
		"a certificate in one copy, and a leaf is not known": {settled(), func(s *site) {
			own(s)
			s.observed.Bundles[0].Anchors = anchorsOf(key2025, further)
			s.observed.Copies[0].Anchors = anchorsOf(key2025, further)
			s.leaf().Chain, s.leaf().Unknown = nil, "its request is gone"
		}, "bundle fleet-trust 2025"},
		"a retired key of the record in one copy": {settled(), func(s *site) {
			own(s)
			s.observed.Record = planner.Record{Enabled: true, Keys: []planner.RecordedKey{
				{Authority: "fleet-root", Name: "2025", Certificate: key2025.Certificate},
				{Authority: "fleet-root", Name: "2024", Certificate: further.Certificate, Retired: true},
			}}
			s.observed.Bundles[0].Anchors = anchorsOf(key2025, further)
			s.observed.Copies[0].Anchors = anchorsOf(key2025, further)
		}, "bundle fleet-trust 2025"},
		"a certificate that no key is any more, in all copies, and no other is there yet": {settled(), func(s *site) {
			s.distribute(further)
			own(s)
			s.commit("2026 Signing")
			s.observed.Keys, s.observed.Leaves = nil, nil
		}, "bundle fleet-trust needed"},
		"somebody else is to write it in the middle": {reissued(), func(s *site) {
			s.desired.Bundles[0].Spec.Via = v1alpha1.ViaObserved
		}, "bundle fleet-trust 2025 2026"},
	} {
		t.Run(name, func(t *testing.T) {
			c.change(c.site)
			if got := bundleOf(c.site.next()); got != c.want {
				t.Errorf("planned %q, not %q", got, c.want)
			}
		})
	}
}

// What one copy alone holds, and nothing vouches for, stays in its namespace.
func TestLastAnchorDoesNotSpread(t *testing.T) {
	s := settled()
	s.distribute(newRoot("needed", "Another Needed Site"))
	s.desired.Bundles[0].Spec.Via, s.observed.Bundles[0].Via = v1alpha1.ViaConfigMap, v1alpha1.ViaConfigMap
	s.commit("2026 Signing")
	s.observed.Keys, s.observed.Leaves = nil, nil
	s.observed.Copies[1].Missing, s.observed.Copies[1].Anchors = true, nil
	bundles := s.next().Target.Bundles
	if len(bundles) != 1 || !slices.Equal(bundles[0].Namespaces, []string{s.observed.Copies[0].Namespace}) {
		t.Errorf("planned %+v", bundles)
	}
}

// A Secret that somebody else's key is in as well is not deleted with the key that was made
// here.
func TestSecretOfTwoKeysStays(t *testing.T) {
	s := released()
	s.has("2025", key2025).HasCertificate = false
	s.key("2025").Certificate = pki.Certificate{}
	s.commit("1999 Signing")
	s.give("1999", key2025, inSecret("fleet-root-2025"))
	s.pointTo("2025", key2025)
	for _, action := range s.next().Actions {
		if action.Kind == planner.ActionDeleteSecret {
			t.Errorf("planned: %s", action)
		}
	}
}

// A leaf that an issuer which is none of ours has signed a moment ago, with a key of ours, is
// not asked for again at once.
func TestLeafOfAForeignIssuerIsNotAskedForAgainAtOnce(t *testing.T) {
	s := switched()
	s.leaf().Issuer = planner.Ref{Namespace: "plant", Name: "theirs"}
	s.leaf().Chain = []pki.Certificate{newLeaf("broker of theirs", key2025, lives(s.now.Add(-time.Minute), s.now.Add(time.Hour))).Certificate}
	for _, action := range s.next().Actions {
		if action.Kind == planner.ActionReissue {
			t.Errorf("planned: %s", action)
		}
	}
	s.now = s.now.Add(10 * time.Minute)
	if !slices.ContainsFunc(s.next().Actions, func(a planner.Action) bool { return a.Kind == planner.ActionReissue }) {
		t.Error("it is never asked for again")
	}
}

// An authority that goes wholly keeps its last key while a copy cannot be read.
func TestUnreadableCopyHoldsTheLastKey(t *testing.T) {
	s := settled()
	s.commit("2025 Retired")
	s.desired.Bindings, s.observed.Issuers, s.observed.Leaves = nil, nil, nil
	s.observed.Bundles[0].Anchors = nil
	for i := range s.observed.Copies {
		s.observed.Copies[i].Anchors = nil
	}
	if plan := s.next(); !slices.ContainsFunc(plan.Rollovers[0].Holds, func(h planner.Hold) bool { return h.Gate == "removal" }) {
		t.Fatalf("nothing is in the way, and the key does not go: %v", tell(plan, s.now))
	}
	s.observed.Copies[0].Problem = "not PEM"
	plan := s.next()
	if !slices.ContainsFunc(plan.Rollovers[0].Holds, func(h planner.Hold) bool { return h.Subject == "ConfigMap lab/fleet-trust" }) || len(targets(plan)) == 0 {
		t.Errorf("the key goes though nobody knows what a copy holds: %v", tell(plan, s.now))
	}
}
