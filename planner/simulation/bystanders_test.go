package simulation_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// bystander is a bundle beside those of a site, which Git lets distribute no authority and
// which holds some of the site's CAs, whichever they are.
type bystander struct {
	declared v1alpha1.TrustBundle
	anchors  pki.Anchors
}

func drawBystander(t *rapid.T, observed planner.Observed) bystander {
	var known []pki.Certificate
	for _, key := range observed.Keys {
		if !key.Certificate.IsZero() {
			known = append(known, key.Certificate)
		}
	}
	held := rapid.SliceOfNDistinct(rapid.IntRange(0, len(known)-1), 1, min(2, len(known)), rapid.ID).Draw(t, "pinned")
	b := bystander{declared: bundle("pinned")}
	b.declared.Spec.Via = rapid.SampledFrom([]v1alpha1.BundleVia{v1alpha1.ViaBundle, v1alpha1.ViaConfigMap, v1alpha1.ViaObserved}).Draw(t, "via")
	for _, at := range held {
		b.anchors = b.anchors.Union(pki.NewAnchors(known[at]))
		if b.declared.Spec.Via != v1alpha1.ViaObserved {
			b.declared.Spec.Certificates = append(b.declared.Spec.Certificates, string(known[at].PEM()))
		}
	}
	return b
}

// stand adds the bundle, its copy in workload and who verifies with that to what was seen.
func (b bystander) stand(observed planner.Observed) planner.Observed {
	spec := b.declared.Spec
	observed.Bundles = append(observed.Bundles, planner.Bundle{
		Name: "pinned", Via: spec.Via, Seen: true, Revision: "u/1", Anchors: b.anchors, Certificates: b.anchors, Target: spec.Target,
	})
	observed.Copies = append(observed.Copies, planner.Copy{Bundle: "pinned", Namespace: "workload", Anchors: b.anchors, Digest: b.anchors.SHA256()})
	observed.Workloads = append(observed.Workloads, planner.Workload{
		Kind: "Deployment", Ref: planner.Ref{Namespace: "workload", Name: "pinner"}, Pods: 2, Started: 2,
		Bundles: []planner.Mount{{Name: "pinned", Kind: planner.MountVolume}},
	})
	return observed
}

// beside is what a site declares, with the bundle; as it was, with an authority in it that Git
// did not have there before, or without what it listed.
func (b bystander) beside(t *rapid.T, site shape, desired planner.Desired) planner.Desired {
	declared := b.declared
	switch rapid.IntRange(0, 5).Draw(t, "the bundle") {
	case 0:
		declared.Spec.Authorities = []string{site.authorities[0]}
	case 1:
		declared.Spec.Authorities, declared.Spec.Certificates = []string{site.authorities[0]}, nil
	case 2:
		return desired
	}
	desired.Bundles = append(slices.Clone(desired.Bundles), declared)
	return desired
}

// TestBystandersAreKept: whoever accepts what a site's leaves present by a bundle of which Git
// does not say so, one that pins an intermediate, say, goes on accepting it whatever is
// committed; where a key is compromised, whoever does not is named.
func TestBystandersAreKept(t *testing.T) {
	t.Parallel()
	inWorlds(t, func(t *rapid.T) {
		site := rapid.SampledFrom(homely()).Draw(t, "shape")
		before := site.world(t, site.drawUsers(t))
		before.Recreate = true
		if log, err := before.Settle(settling(site)); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		observed := before.Observe()
		pinned := drawBystander(t, observed)
		declared := before.Desired
		declared.Bundles = append(slices.Clone(declared.Bundles), pinned.declared)
		world, twins := simulation.FromObserved(rapid.Uint64().Draw(t, "seed after"), pinned.stand(observed), before.Now, declared)
		world.Acquaint()
		world.Disorder, world.Recreate = true, true
		for range rapid.IntRange(1, 3).Draw(t, "commits") {
			world.Desired = twins.Desired(pinned.beside(t, site, site.desired(site.drawn(t))))
			for range rapid.IntRange(0, 60).Draw(t, "turns") {
				if rapid.IntRange(0, 40).Draw(t, "forget") == 0 {
					world.ForgetStatus()
				}
				world.Turn()
				failOnViolation(t, world)
			}
		}
	})
}
