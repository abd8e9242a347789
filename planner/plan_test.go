package planner_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

func asJSON(tb testing.TB, value any) string {
	tb.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

// stages are sites of every phase.
var stages = map[string]func() *site{
	"empty": empty, "settled": settled, "introduced": introduced, "distributed": distributed, "soaked": soaked,
	"switched": switched, "reissued": reissued, "drained": drained, "released": released, "two roots": twoRoots,
	"both distribute": func() *site {
		s := twoRoots()
		s.commit("2025 Retired", "2026 Signing")
		s.has("2026", key2026)
		s.commitTo(1, "2025 Retired", "2026 Signing")
		s.hasPress("2026", press2026)
		s.distribute(key2025, key2026, press2025, press2026)
		return s
	},
	"nothing declared": func() *site {
		s := twoRoots()
		s.desired = planner.Desired{}
		return s
	},
	"many leaves": func() *site {
		s := switched()
		for _, name := range []string{"a", "b", "c"} {
			s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{
				Ref: planner.Ref{Namespace: "lab", Name: name}, Issuer: planner.Ref{Name: "fleet"}, SecretName: name + "-tls",
				Chain: []pki.Certificate{newLeaf(name, key2025).Certificate},
			})
		}
		return s
	},
	"much unknown": func() *site {
		s := distributed()
		s.observed.Unknown = []planner.Unknown{{Subject: "Deployments", Why: "forbidden"}, {Subject: "Pods", Why: "forbidden"}}
		return s
	},
}

// In whatever order documents, keys, issuers, leaves, bundles and gates come, the plan
// is the same, byte for byte. (Copies, workloads and what is unknown are told in the
// order in which they come: an observer gives them sorted.)
func TestEqualInputGivesEqualBytes(t *testing.T) {
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			want := asJSON(t, stage().next())
			rapid.Check(t, func(t *rapid.T) {
				s := stage()
				shuffle(t, "authorities", &s.desired.Authorities)
				for i := range s.desired.Authorities {
					shuffle(t, "keys of Git", &s.desired.Authorities[i].Spec.Keys)
				}
				shuffle(t, "bindings", &s.desired.Bindings)
				for i := range s.desired.Bundles {
					shuffle(t, "authorities of a bundle", &s.desired.Bundles[i].Spec.Authorities)
				}
				shuffle(t, "keys", &s.observed.Keys)
				shuffle(t, "issuers", &s.observed.Issuers)
				shuffle(t, "leaves", &s.observed.Leaves)
				shuffle(t, "bundles", &s.observed.Bundles)
				shuffle(t, "gates", &s.observed.Since)
				got, err := json.Marshal(s.next())
				if err != nil || string(got) != want {
					t.Fatalf("planned, with the error %v,\n%s\nwant\n%s", err, got, want)
				}
			})
		})
	}
}

func shuffle[T any](t *rapid.T, what string, slice *[]T) {
	if len(*slice) > 1 {
		*slice = rapid.Permutation(*slice).Draw(t, what)
	}
}

// TestPlansComeFromAnyObservation: however little was seen, or however little it fits
// together, there is a plan; it says what it waits for; it is blind exactly if
// something is unknown; and nothing that Git does not retire leaves a bundle.
func TestPlansComeFromAnyObservation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desired, observed := drawDesired(t), drawObserved(t)
		now := noon.Add(time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "now")) * time.Second)
		plan := planner.Next(desired, observed, now)
		if plan.Blind != (len(observed.Unknown) > 0) || (plan.Blind && len(plan.Actions) > 0) {
			t.Fatalf("blind: %t, with %v unknown; does %v", plan.Blind, observed.Unknown, plan.Actions)
		}
		for _, rollover := range plan.Rollovers {
			if rollover.Phase != planner.Settled && len(rollover.Holds) == 0 {
				t.Fatalf("%s does not say what it waits for", rollover)
			}
			if rollover.Phase == planner.Settled && len(rollover.Holds) > 0 {
				t.Fatalf("%s is held by %v", rollover, rollover.Holds)
			}
		}
		for _, bundle := range plan.Target.Bundles {
			for _, standing := range observed.Bundles {
				gone := standing.Anchors.Minus(bundle.Anchors)
				if standing.Name != bundle.Name || len(gone) == 0 {
					continue
				}
				if !plan.Decisive {
					t.Fatalf("%s loses %v, and the plan is not decisive", bundle.Name, gone)
				}
				for _, anchor := range gone {
					failIfWanted(t, desired, observed, anchor)
				}
			}
		}
		again, err := json.Marshal(planner.Next(desired, observed, now))
		if first, _ := json.Marshal(plan); err != nil || string(first) != string(again) {
			t.Fatalf("planned twice, and differently, with the error %v:\n%s\n%s", err, first, again)
		}
	})
}

// failIfWanted fails if Git lists a key of that certificate that is not Retired.
func failIfWanted(t *rapid.T, desired planner.Desired, observed planner.Observed, anchor pki.Certificate) {
	for _, key := range observed.Keys {
		for _, authority := range desired.Authorities {
			for _, listed := range authority.Spec.Keys {
				if key.Certificate.Equal(anchor) && planner.AuthorityRef(authority) == key.Authority &&
					listed.Name == key.Name && listed.State != v1alpha1.KeyRetired {
					t.Fatalf("%s %s leaves a bundle", listed.State, anchor)
				}
			}
		}
	}
}

// What random sites are made of.
var (
	someKeys         = []string{"2025", "2026", "2027"}
	someCertificates = []entity{key2025, key2026, key2027, stranger, press2025, press2026}
	someBundles      = []string{"fleet-trust", "old-trust", "press-trust"}
	someNamespaces   = []string{"", "lab", "plant"}
	someSecrets      = []string{"", "fleet-root-2025", "fleet-root-2026", "press-root-2025", "by-hand"}
)

func one[T any](t *rapid.T, what string, of []T) T {
	return of[rapid.IntRange(0, len(of)-1).Draw(t, what)]
}

func some[T any](t *rapid.T, what string, draw func() T) []T {
	var all []T
	for range rapid.IntRange(0, 4).Draw(t, what) {
		all = append(all, draw())
	}
	return all
}

func yes(t *rapid.T, what string) bool { return rapid.Bool().Draw(t, what) }

// drawDesired draws valid documents: names are unique, and in each authority one key
// signs.
func drawDesired(t *rapid.T) planner.Desired {
	var desired planner.Desired
	for _, name := range []string{"fleet-root", "press-root"} {
		if !yes(t, name+" is declared") {
			continue
		}
		declared := authority(name, name)
		declared.Spec.Rollover.Paused = yes(t, "paused")
		signer := one(t, "signer", someKeys)
		for _, key := range someKeys {
			state := v1alpha1.KeySigning
			if key != signer {
				state = one(t, "state", []v1alpha1.KeyState{v1alpha1.KeyTrusted, v1alpha1.KeyRetired})
			}
			declared.Spec.Keys = append(declared.Spec.Keys, v1alpha1.AuthorityKey{Name: key, State: state})
		}
		desired.Authorities = append(desired.Authorities, declared)
		if yes(t, "it is bound") {
			desired.Bindings = append(desired.Bindings, binding(name[:5], name))
		}
	}
	for _, name := range someBundles {
		if yes(t, name+" is declared") {
			desired.Bundles = append(desired.Bundles, bundle(name, one(t, "of", [][]string{nil, {"fleet-root"}, {"fleet-root", "press-root"}})...))
		}
	}
	return desired
}

// drawObserved draws what fits together or does not.
func drawObserved(t *rapid.T) planner.Observed {
	known := func(entity entity) pki.Certificate {
		if !yes(t, "certificate is known") {
			return pki.Certificate{}
		}
		return entity.Certificate
	}
	leafOf := func() pki.Certificate {
		return newLeaf("random", one(t, "leaf of", someCertificates)).Certificate
	}
	anchors := func() pki.Anchors {
		return anchorsOf(some(t, "anchors", func() entity { return one(t, "anchor", someCertificates) })...)
	}
	ref := func() planner.Ref {
		return planner.Ref{Namespace: one(t, "namespace", someNamespaces), Name: one(t, "name", []string{"", "fleet", "press", "x"})}
	}
	mounts := func() []planner.Mount {
		return some(t, "mounts", func() planner.Mount {
			return planner.Mount{Name: one(t, "mount", append(someBundles, "x-tls")), Kind: one(t, "kind", []planner.MountKind{"", planner.MountVolume, planner.MountSubPath, planner.MountEnv})}
		})
	}
	var observed planner.Observed
	for i, entity := range rapid.Permutation(someCertificates).Draw(t, "certificates") {
		authority, name := []planner.Ref{fleetRoot, pressRoot}[i/3], someKeys[i%3]
		if yes(t, "key is there") {
			observed.Keys = append(observed.Keys, planner.Key{
				Authority: authority, Name: name, HasCertificate: yes(t, "certificate"), HasIssuer: yes(t, "issuer"),
				SecretGone: yes(t, "secret gone"), Issued: yes(t, "issued"), Adopted: yes(t, "adopted"), Certificate: known(entity),
			})
		}
	}
	observed.Issuers = some(t, "issuers", func() planner.Issuer {
		return planner.Issuer{
			Ref: ref(), Exists: yes(t, "exists"), SecretName: one(t, "secret", someSecrets), Generation: 1,
			Canary: planner.Canary{
				Name: one(t, "canary", []string{"", "canary-1"}), At: noon, Generation: int64(rapid.IntRange(0, 1).Draw(t, "generation")),
				State: one(t, "state", []planner.CanaryState{planner.CanaryPending, planner.CanarySigned, planner.CanaryFailed}), Certificate: leafOf(), CA: known(one(t, "CA", someCertificates)),
			},
		}
	})
	observed.Leaves = some(t, "leaves", func() planner.Leaf {
		return planner.Leaf{
			Ref: ref(), Issuer: ref(), SecretName: one(t, "secret", []string{"", "x-tls"}), Issuing: yes(t, "issuing"),
			Chain: some(t, "chain", leafOf), Unknown: one(t, "unknown", []string{"", "gone"}),
		}
	})
	for _, name := range someBundles {
		if yes(t, name+" stands") {
			observed.Bundles = append(observed.Bundles, planner.Bundle{Name: name, Seen: yes(t, "seen"), Anchors: anchors()})
		}
	}
	observed.Copies = some(t, "copies", func() planner.Copy {
		return planner.Copy{Bundle: one(t, "bundle", someBundles), Namespace: one(t, "namespace", someNamespaces), Anchors: anchors(), Missing: yes(t, "missing"), Problem: one(t, "problem", []string{"", "missing"})}
	})
	observed.Workloads = some(t, "workloads", func() planner.Workload {
		return planner.Workload{
			Kind: one(t, "kind", []string{"", "Deployment", "Pod"}), Ref: ref(), Bundles: mounts(), Secrets: mounts(),
			Reloads: time.Duration(rapid.IntRange(0, 1).Draw(t, "reloads")) * time.Minute, Rolling: yes(t, "rolling"),
			Pods: rapid.IntRange(0, 2).Draw(t, "pods"), Started: rapid.IntRange(0, 2).Draw(t, "started"), Bearing: rapid.IntRange(0, 2).Draw(t, "bearing"),
		}
	})
	observed.Unknown = some(t, "unknown", func() planner.Unknown { return planner.Unknown{Subject: "Pods", Why: "forbidden"} })
	observed.Since = some(t, "gates", func() planner.Gate {
		k := one(t, "of", someCertificates)
		return planner.Gate{
			Name:  fmt.Sprintf("%s cert-manager/fleet-root %s %s", one(t, "gate", []string{"copies", "distributed", "reissued"}), one(t, "key", someKeys), k.Fingerprint().Short()),
			Since: noon.Add(time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "since")) * time.Second),
		}
	})
	return observed
}
