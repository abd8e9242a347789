package simulation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// probeID names a probe of a bundle.
type probeID struct{ bundle, name string }

// probed names a probe and what was trusted in it: of each the latest result is known.
type probed struct {
	probeID
	anchors pki.Fingerprint
}

// handshake is one that succeeded, and what was trusted in it.
type handshake struct {
	at      time.Time
	anchors pki.Anchors
}

// shakeHands answers what a plan asks for. A server is a workload that presents a leaf:
// "broker.operations.svc:443" is one of the pods of operations/broker. Of any other address
// nothing is known but that it may show whatever is verified with the bundle.
func (w *World) shakeHands(probes []planner.Probe) {
	for _, p := range probes {
		if w.lazy() {
			continue
		}
		id := probeID{p.Bundle, p.Name}
		result := planner.ProbeResult{
			Bundle: p.Bundle, Name: p.Name, Address: p.Address, ServerName: p.ServerName, Anchors: p.Anchors.SHA256(), At: w.Now,
		}
		result.Presented, result.Problem = w.shakeHand(p)
		result.OK = result.Problem == ""
		w.tellHandshake(p, result)
		w.probed[probed{id, result.Anchors}] = result
		if result.OK {
			w.handshakes[id] = append(w.handshakes[id], handshake{w.Now, p.Anchors})
		}
	}
}

// tellHandshake adds a line when a handshake ends in another way than the one before.
func (w *World) tellHandshake(p planner.Probe, result planner.ProbeResult) {
	last, made := w.probed[probed{probeID{p.Bundle, p.Name}, result.Anchors}]
	if made && last.Problem == result.Problem {
		return
	}
	w.log = append(w.log, fmt.Sprintf("%s  -- handshake with %s, trusting %s: %s", w.clock(), p.Address, names(p.Anchors), cmp.Or(result.Problem, "well")))
}

// shakeHand says what the server of a probe shows, and what is wrong with it.
func (w *World) shakeHand(p planner.Probe) (presented pki.Fingerprint, problem string) {
	chains, refuses := w.shownAt(p)
	if refuses {
		return pki.Fingerprint{}, "connection refused"
	}
	for _, chain := range chains {
		presented = chain[0].Fingerprint()
		if pki.Verify(chain, p.Anchors, w.Now) != nil {
			return presented, fmt.Sprintf("its chain, of %s, ends in none of the anchors", chain[0].X509().Issuer.CommonName)
		}
	}
	return presented, ""
}

// shownAt are the chains that whoever listens at the address of a probe may show.
func (w *World) shownAt(p planner.Probe) (chains [][]pki.Certificate, refuses bool) {
	host, _, _ := strings.Cut(p.Address, ":")
	name, rest, _ := strings.Cut(host, ".")
	namespace, _, _ := strings.Cut(rest, ".")
	at := slices.IndexFunc(w.workloads, func(x *workload) bool {
		return x.Ref == planner.Ref{Namespace: namespace, Name: name} && len(x.Secrets) > 0
	})
	if at < 0 {
		w.eachPresenter(p.Bundle, func(_ presenter, chain []pki.Certificate) { chains = append(chains, chain) })
		return chains, false
	}
	server := w.workloads[at]
	if len(server.pods) == 0 {
		return nil, true
	}
	answering := server.pods[w.random.IntN(len(server.pods))]
	return [][]pki.Certificate{answering.chains[server.Secrets[0].Name]}, false
}

// results are the latest of every probe and what was trusted in it, sorted.
func (w *World) results() []planner.ProbeResult {
	return slices.SortedFunc(maps.Values(w.probed), planner.ProbeResult.Compare)
}

// checkProbes is asked when a bundle is about to hold less: every probe of it has shaken hands
// lately with nothing but what is left. Of a bundle that somebody else writes, he takes his
// time: what he was asked for in an emergency he may do after it. What nobody vouches for goes
// at once.
func (w *World) checkProbes(bundle string, gone, after pki.Anchors) {
	if !slices.ContainsFunc(gone, w.isVouchedFor) {
		return
	}
	at := slices.IndexFunc(w.Desired.Bundles, func(b v1alpha1.TrustBundle) bool { return b.Metadata.Name == bundle })
	if at < 0 {
		return
	}
	declared := w.Desired.Bundles[at]
	if slices.ContainsFunc(declared.Spec.Authorities, w.isEmergencyOf) || declared.Spec.Via == v1alpha1.ViaObserved && w.anyHurt(declared.Spec.Authorities) {
		return
	}
	for _, name := range w.unshaken(declared, after) {
		w.violate(ProbesComeFirst, "%s is to hold %s, and nobody has shaken hands with %s so", bundle, names(after), name)
	}
}

// anyHurt reports whether a key of one of the authorities was ever compromised.
func (w *World) anyHurt(names []string) bool {
	return slices.ContainsFunc(w.Desired.Authorities, func(a v1alpha1.Authority) bool {
		return slices.Contains(names, a.Metadata.Name) && w.isHurt(planner.AuthorityRef(a))
	})
}

// unshaken are the probes of a bundle that have not shaken hands lately with nothing but what
// is left.
func (w *World) unshaken(declared v1alpha1.TrustBundle, after pki.Anchors) []string {
	var left []string
	for _, probe := range declared.Spec.Probes {
		probe.Default()
		lately := func(h handshake) bool {
			return after.Contains(h.anchors) && (declared.Spec.Via == v1alpha1.ViaObserved || w.Now.Sub(h.at) <= v1alpha1.DefaultCanaryInterval)
		}
		if !slices.ContainsFunc(w.handshakes[probeID{declared.Metadata.Name, probe.Name}], lately) {
			left = append(left, probe.Name)
		}
	}
	return left
}

// checkPublicCAs is asked when a bundle is about to be written. The public CAs leave one that
// somebody verifies with when it has probes, and all have shaken hands without them; not while
// an authority of it is paused, nor outside its windows.
func (w *World) checkPublicCAs(next planner.Bundle) {
	at := slices.IndexFunc(w.Desired.Bundles, func(b v1alpha1.TrustBundle) bool { return b.Metadata.Name == next.Name })
	if at < 0 || !w.bundles[next.Name].UseDefaultCAs || next.UseDefaultCAs || len(w.verifiersWith(next.Name)) == 0 {
		return
	}
	declared := w.Desired.Bundles[at]
	if left := w.unshaken(declared, next.Anchors); len(declared.Spec.Probes) == 0 || len(left) > 0 {
		w.violate(ProbesComeFirst, "%s loses the public CAs, of which no handshake shows that nobody needs them: %q", next.Name, left)
	}
	for _, authority := range w.Desired.Authorities {
		if slices.Contains(declared.Spec.Authorities, authority.Metadata.Name) && (authority.Spec.Rollover.Paused || w.isClosed(authority)) {
			w.violate(WindowsAreKept, "%s loses the public CAs at %s, outside the windows of %s", next.Name, w.Now, authority.Metadata.Name)
		}
	}
}

// isVouchedFor reports whether an anchor is that of a key that is there, is on record, or
// that Git gives.
func (w *World) isVouchedFor(anchor pki.Certificate) bool {
	for _, ca := range w.cas {
		if !ca.issued.IsZero() && ca.issued.Equal(anchor) {
			return true
		}
	}
	for _, recorded := range w.record {
		if !recorded.Retired && recorded.Certificate.Equal(anchor) {
			return true
		}
	}
	return slices.ContainsFunc(w.Desired.Authorities, func(a v1alpha1.Authority) bool {
		return slices.ContainsFunc(a.Spec.Keys, func(k v1alpha1.AuthorityKey) bool { return k.Certificate == string(anchor.PEM()) })
	})
}
