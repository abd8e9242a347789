package simulation

import (
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/planner"
)

// Observe is what the applier would see of this world.
func (w *World) Observe() planner.Observed {
	observed := planner.Observed{Since: w.since}
	w.observeKeys(&observed)
	for _, ref := range sortedKeys(w.issuers) {
		i := w.issuers[ref]
		observed.Issuers = append(observed.Issuers, planner.Issuer{Ref: ref, Exists: true, Ours: true, SecretName: i.secretName, Generation: i.generation, Canary: i.canary, Proof: i.proof})
	}
	for _, ref := range sortedKeys(w.leaves) {
		l := w.leaves[ref]
		observed.Leaves = append(observed.Leaves, planner.Leaf{Ref: l.ref, Issuer: l.issuer, SecretName: l.secret, Chain: l.chain, Issuing: l.issuing})
	}
	for _, name := range w.bundleNames() {
		standing := w.bundles[name]
		standing.Seen = standing.Anchors.Equal(w.seen[name])
		observed.Bundles = append(observed.Bundles, standing)
	}
	w.observeCopies(&observed)
	for _, workload := range w.workloads {
		seen := workload.Workload
		seen.Pods, seen.Started, seen.Bearing, seen.Rolling = len(workload.pods), len(workload.pods), workload.bearing(), workload.rolling()
		observed.Workloads = append(observed.Workloads, seen)
	}
	return observed
}

// observe is what a turn sees: under disorder, now and then, a list is refused.
func (w *World) observe() planner.Observed {
	observed := w.Observe()
	if !w.Disorder || w.random.IntN(8) != 0 {
		return observed
	}
	refused := []func(){
		func() { observed.Keys = nil },
		func() { observed.Issuers = nil },
		func() { observed.Leaves = nil },
		func() { observed.Bundles = nil },
		func() { observed.Copies = nil },
		func() { observed.Workloads = nil },
	}
	list := w.random.IntN(len(refused))
	refused[list]()
	observed.Unknown = []planner.Unknown{{Subject: fmt.Sprintf("list %d", list), Why: "it was refused"}}
	return observed
}

func (w *World) observeKeys(observed *planner.Observed) {
	refs := slices.Concat(sortedKeys(w.internal), sortedKeys(w.cas))
	slices.SortFunc(refs, planner.Ref.Compare)
	for _, ref := range slices.Compact(refs) {
		observed.Keys = append(observed.Keys, w.observeKey(ref))
	}
}

func (w *World) observeKey(ref planner.Ref) planner.Key {
	target, hasIssuer := w.internal[ref]
	key := planner.Key{HasIssuer: hasIssuer, SecretGone: hasIssuer && w.secrets[ref] == nil}
	if ca := w.cas[ref]; ca != nil {
		target = ca.target
		key.HasCertificate, key.Spec = true, target.Spec
		key.Certificate, key.Issued = ca.issued, !ca.issued.IsZero()
		key.Adopted = ca.adopted(w.secrets[ref])
	}
	key.Authority, key.Name = target.Authority, target.Name
	return key
}

// observeCopies has an entry for each bundle, declared or standing, in each
// namespace.
func (w *World) observeCopies(observed *planner.Observed) {
	names := w.bundleNames()
	for _, bundle := range w.Desired.Bundles {
		names = append(names, bundle.Metadata.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		for _, namespace := range w.namespaces {
			seen := planner.Copy{Bundle: name, Namespace: namespace, Missing: true, Problem: "there is no such ConfigMap yet"}
			if c := w.copies[copyID{name, namespace}]; c != nil {
				seen.Missing, seen.Problem, seen.Anchors, seen.Digest = false, "", c.anchors, c.anchors.SHA256()
			}
			observed.Copies = append(observed.Copies, seen)
		}
	}
}
