package simulation

import (
	"maps"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// memory is what the last turn left to the next, and what Git remembers.
func (b *builder) memory() {
	for _, gate := range b.observed.Since {
		b.since = append(b.since, planner.Gate{Name: b.gate(gate.Name), Since: gate.Since})
	}
	if !b.observed.Record.Enabled {
		return
	}
	b.KeepRecord()
	b.recordProblem = b.observed.Record.Problem
	record := b.twins.record(b.observed.Record)
	for _, recorded := range record.Keys {
		b.record[recorded.Path()] = recorded
	}
	for _, recorded := range record.Links {
		b.linkRecord[recorded.Path()] = recorded
	}
}

// requested are the links that are asked for.
func (b *builder) requested() {
	for _, seen := range b.observed.Links {
		request := &linkRequest{
			authority: seen.Authority, key: seen.Key, under: seen.Under, at: seen.At, signed: b.twins.of(seen.Certificate),
			issuer: planner.Ref{Namespace: seen.Authority.Namespace, Name: planner.KeyObjectName(seen.Authority.Name, seen.Under)},
			until:  b.Now.Add(leafLife),
		}
		if seen.State == planner.CanaryFailed {
			request.problem = seen.Problem
		}
		if root := b.cas[planner.Ref{Namespace: seen.Authority.Namespace, Name: planner.KeyObjectName(seen.Authority.Name, seen.Key)}]; root != nil {
			request.root = root.issued
		}
		b.linksAsked++
		b.links[planner.Ref{Namespace: seen.Authority.Namespace, Name: seen.Name}] = request
	}
}

// probes are the handshakes that were seen, with the twins of what was trusted.
func (b *builder) probes() {
	for _, result := range b.observed.Probes {
		trusted, found := b.trustedIn(result)
		if !found {
			continue
		}
		id, twins := probeID{result.Bundle, result.Name}, b.twins.anchors(trusted)
		result.Anchors = twins.SHA256()
		if b.probed[probed{id, result.Anchors}] = result; result.OK {
			b.handshakes[id] = append(b.handshakes[id], handshake{result.At, twins})
		}
	}
}

// trustedIn is what was trusted in a handshake, of which the digest is known: what the bundle
// holds, but for a few anchors that were to go, or to come.
func (b *builder) trustedIn(result planner.ProbeResult) (pki.Anchors, bool) {
	var held pki.Anchors
	for _, standing := range b.observed.Bundles {
		if standing.Name == result.Bundle {
			held = held.Union(standing.Anchors)
		}
	}
	s := search{anchors: held.Union(b.twins.roots()), digest: result.Anchors, left: searched}
	for _, anchor := range s.anchors {
		s.chosen = append(s.chosen, held.Has(anchor))
	}
	for differences := range len(s.anchors) + 1 {
		if s.differing(differences, 0) {
			return s.set(), true
		}
	}
	return nil, false
}

// searched is how many sets of anchors are tried.
const searched = 1 << 12

// search is for the set of anchors of which the digest is.
type search struct {
	anchors pki.Anchors
	chosen  []bool
	digest  pki.Fingerprint
	left    int
}

// differing tries the sets that differ from what is chosen in so many of the anchors, from
// one of them on, and leaves the one that is found chosen.
func (s *search) differing(differences, from int) bool {
	if differences == 0 {
		s.left--
		return s.set().SHA256() == s.digest
	}
	for at := from; at <= len(s.anchors)-differences && s.left > 0; at++ {
		s.chosen[at] = !s.chosen[at]
		if s.differing(differences-1, at+1) {
			return true
		}
		s.chosen[at] = !s.chosen[at]
	}
	return false
}

// set is what is chosen.
func (s *search) set() pki.Anchors {
	var set pki.Anchors
	for at, anchor := range s.anchors {
		if s.chosen[at] {
			set = append(set, anchor)
		}
	}
	return set
}

// references are the fields of other operators' objects. Which Certificates their operators
// make for them, nothing tells: those that Git does not declare, in the object's namespace and
// of the issuer that it names, are taken to follow.
func (b *builder) references() {
	for _, seen := range b.observed.References {
		r := &Referrer{
			Field: seen.Field, Names: seen.Value, Kind: seen.IssuerKind, Group: seen.IssuerGroup,
			Owner: seen.Owner, Refused: seen.Refused, Problem: seen.Problem,
		}
		for _, leaf := range b.observed.Leaves {
			if leaf.Foreign && leaf.SecretName != "" && leaf.Issuer == r.issuer() && leaf.Ref.Namespace == seen.Field.Object.Namespace {
				r.Leaves = append(r.Leaves, leaf.Ref)
			}
		}
		b.referrers = append(b.referrers, r)
	}
}

// gate is the name of a gate in this world.
func (b *builder) gate(name string) string {
	if !strings.HasPrefix(name, planner.GateRestart) {
		return b.twins.gate(name)
	}
	for i, seen := range b.observed.Workloads {
		for _, leaves := range []string{"", b.leavesDigest(seen, asSeen)} {
			for _, copies := range []string{"", b.copiesDigest(seen)} {
				asked := planner.Action{Workload: seen.Kind, Subject: seen.Ref, BundleDigest: copies, LeavesDigest: leaves}
				if name != planner.RestartGate(asked) {
					continue
				}
				if leaves != "" {
					asked.LeavesDigest = b.leavesDigest(b.observed.Workloads[i], asTwins)
				}
				return planner.RestartGate(asked)
			}
		}
	}
	return name
}

// Which certificates of leaves a digest is made of.
const (
	asSeen  = false
	asTwins = true
)

// leavesDigest is the digest of the leaves that a workload would load now.
func (b *builder) leavesDigest(seen planner.Workload, twins bool) string {
	presented := map[string]pki.Fingerprint{}
	for _, mount := range seen.Secrets {
		l := b.leafOf(seen.Ref.Namespace, mount.Name)
		if l == nil || len(l.chain) == 0 {
			continue
		}
		presented[mount.Name] = l.chain[0].Fingerprint()
		if original, _ := b.twins.Original(l.chain[0]); !twins {
			presented[mount.Name] = original.Fingerprint()
		}
	}
	return planner.LeavesDigest(presented)
}

// copiesDigest is the digest of the copies that a workload would load now: it is the same
// of what was seen and of the twins, for the copies keep their digests.
func (b *builder) copiesDigest(seen planner.Workload) string {
	var held []planner.Copy
	names := map[string]bool{}
	for _, mount := range seen.Bundles {
		names[mount.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, c := range b.observed.Copies {
			if c.Bundle == name && c.Namespace == seen.Ref.Namespace {
				held = append(held, c)
			}
		}
	}
	return planner.CopiesDigest(held, b.observed.Bundles)
}
