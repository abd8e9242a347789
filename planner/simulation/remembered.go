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

// probes are the handshakes that were seen, with the twins of what was trusted: the anchors
// of the bundle, or some of them.
func (b *builder) probes() {
	for _, result := range b.observed.Probes {
		for _, standing := range b.observed.Bundles {
			if trusted, found := subset(standing.Anchors, result.Anchors); found && standing.Name == result.Bundle {
				twins := b.twins.anchors(trusted)
				result.Anchors = twins.SHA256()
				b.probed[probeID{result.Bundle, result.Name}] = result
				if result.OK {
					b.handshakes[probeID{result.Bundle, result.Name}] = []handshake{{result.At, twins}}
				}
			}
		}
	}
}

// searched is how many anchors are tried in all their combinations.
const searched = 10

// subset finds those of the anchors of which the digest is.
func subset(anchors pki.Anchors, digest pki.Fingerprint) (pki.Anchors, bool) {
	if len(anchors) > searched {
		return nil, false
	}
	for chosen := range 1 << len(anchors) {
		var some pki.Anchors
		for i, anchor := range anchors {
			if chosen&(1<<i) != 0 {
				some = append(some, anchor)
			}
		}
		if some.SHA256() == digest {
			return some, true
		}
	}
	return nil, false
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
