package simulation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Observe is what the applier would see of this world.
func (w *World) Observe() planner.Observed {
	observed := planner.Observed{Since: w.since, Record: w.Record(), Probes: w.results()}
	w.observeKeys(&observed)
	w.observeLinks(&observed)
	w.observeReferences(&observed)
	for _, ref := range sortedKeys(w.issuers) {
		i := w.issuers[ref]
		observed.Issuers = append(observed.Issuers, planner.Issuer{
			Ref: ref, Exists: true, Ours: !i.foreign, SecretName: i.secretName, Spec: i.spec, SignsWith: i.signsWith,
			Ready: w.signingSecret(ref) != nil, Generation: i.generation, Canary: i.canary, Proof: i.proof,
		})
	}
	for _, l := range w.sortedLeaves() {
		observed.Leaves = append(observed.Leaves, l.observe())
	}
	for _, name := range w.bundleNames() {
		standing := w.bundles[name]
		standing.Seen = standing.Anchors.Equal(w.seen[name])
		observed.Bundles = append(observed.Bundles, standing)
	}
	w.observeCopies(&observed)
	w.observeLoose(&observed)
	for _, workload := range w.workloads {
		seen := workload.Workload
		seen.Pods, seen.Started, seen.Bearing, seen.Rolling = len(workload.pods), len(workload.pods), workload.bearing(), workload.rolling()
		seen.OldestStart = workload.oldest()
		observed.Workloads = append(observed.Workloads, seen)
	}
	w.observeDevices(&observed)
	return observed
}

func (l *leaf) observe() planner.Leaf {
	seen := planner.Leaf{
		Ref: l.ref, Issuer: l.issuer, SecretName: l.secret, Foreign: l.foreign, Chain: l.chain, Issuing: l.issuing,
		Unknown: l.unknown, WithoutCA: l.withoutCA, FailedAt: l.failedAt, Problem: l.problem,
	}
	if l.unknown != "" {
		seen.Chain = nil
	}
	return seen
}

// Orphans are the Secrets of keys that nobody has a Certificate for any more: private keys
// that were left behind.
func (w *World) Orphans() []planner.Ref {
	return slices.DeleteFunc(sortedKeys(w.secrets), func(ref planner.Ref) bool { return w.cas[ref] != nil || w.foreign[ref] })
}

// Record is what Git remembers.
func (w *World) Record() planner.Record {
	record := planner.Record{Enabled: w.record != nil, Problem: w.recordProblem}
	for _, path := range slices.Sorted(maps.Keys(w.record)) {
		record.Keys = append(record.Keys, w.record[path])
	}
	slices.SortFunc(record.Keys, planner.RecordedKey.Compare)
	for _, path := range slices.Sorted(maps.Keys(w.linkRecord)) {
		record.Links = append(record.Links, w.linkRecord[path])
	}
	slices.SortFunc(record.Links, planner.RecordedLink.Compare)
	return record
}

// howStale is how many turns a cache lags behind at most.
const howStale = 4

// observeStale is what a turn sees in its cache: under disorder, now and then, what was a
// few turns ago, and now and then a list is refused.
func (w *World) observeStale() planner.Observed {
	now := w.Observe()
	w.seenLately = append(w.seenLately, now)[max(0, len(w.seenLately)+1-howStale):]
	if !w.Disorder {
		return now
	}
	seen := now
	if w.random.IntN(4) == 0 {
		seen = w.seenLately[w.random.IntN(len(w.seenLately))]
		seen.Since, seen.Record, seen.Probes = now.Since, now.Record, now.Probes
	}
	return w.refuse(seen)
}

// refuse hides, now and then under disorder, one of the lists.
func (w *World) refuse(observed planner.Observed) planner.Observed {
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
		func() { observed.Ledger = nil },
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
	var target planner.TargetKey
	key := planner.Key{}
	if internal := w.internal[ref]; internal != nil {
		target = internal.target
		key.HasIssuer, key.HasClusterIssuer, key.SecretName = true, internal.cluster, target.Secret
		key.SecretGone, key.SecretSeen = w.secretOf(ref) == nil && !internal.silent, w.secretOf(ref) != nil && !internal.silent
		key.Generation, key.Canary, key.Proof = max(1, internal.generation), internal.canary, internal.proof
	}
	if ca := w.cas[ref]; ca != nil {
		target = ca.target
		key.HasCertificate, key.Spec = true, target.Spec
		key.Certificate, key.Issued = ca.issued, !ca.issued.IsZero() || ca.unknown
		key.Adopted, key.Problem = ca.adopted(w.secrets[ref]), ca.problem
		key.Requested = !ca.issued.IsZero() && !ca.unrequested
	}
	key.Authority, key.Name = target.Authority, target.Name
	return key
}

// observeLoose has an entry for each bundle without trust-manager that has a copy.
func (w *World) observeLoose(observed *planner.Observed) {
	loose := map[string]planner.Bundle{}
	for _, id := range w.sortedCopies() {
		c := w.copies[id]
		if c.via == v1alpha1.ViaBundle {
			continue
		}
		b, begun := loose[id.bundle]
		if !begun {
			b = w.loose[id.bundle]
			b.Target.ConfigMap.Key = cmp.Or(b.Target.ConfigMap.Key, "ca.crt")
		}
		if b.Via != v1alpha1.ViaConfigMap { // one copy of ours makes it ours
			b.Via = c.via
		}
		b.Name, b.Seen, b.Anchors = id.bundle, true, b.Anchors.Union(c.anchors)
		loose[id.bundle] = b
	}
	for _, name := range slices.Sorted(maps.Keys(loose)) {
		observed.Bundles = append(observed.Bundles, loose[name])
	}
}

// observeCopies has an entry for each bundle, declared or standing, in each
// namespace.
func (w *World) observeCopies(observed *planner.Observed) {
	names := w.bundleNames()
	for id := range w.copies {
		names = append(names, id.bundle)
	}
	for _, bundle := range w.Desired.Bundles {
		names = append(names, bundle.Metadata.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		for _, id := range w.placesOf(name) {
			observed.Copies = append(observed.Copies, w.observeCopy(id))
		}
	}
}

func (w *World) observeCopy(id copyID) planner.Copy {
	seen := planner.Copy{Bundle: id.bundle, Namespace: id.namespace, Secret: id.secret}
	c := w.copies[id]
	if c == nil {
		seen.Missing, seen.Problem = true, "there is no such ConfigMap yet"
		return seen
	}
	seen.Anchors, seen.Digest, seen.Problem, seen.Unselected = c.anchors, c.digest, c.problem, c.unselected
	if c.via != v1alpha1.ViaBundle {
		seen.Revision = c.revision
	}
	return seen
}
