package simulation

import (
	"cmp"
	"crypto/x509"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Epoch is the time at which every world begins.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// tick is the time between two turns.
const tick = 10 * time.Second

// Users are those who depend on the PKI and are not made by it.
type Users struct {
	// Namespaces that every bundle is copied to.
	Namespaces []string
	// Leaves that are declared or foreign: their Ref, Issuer, SecretName and Foreign.
	Leaves []planner.Leaf
	// LeafLife is how long leaves live; ninety days if 0.
	LeafLife time.Duration
	// Workloads: their Kind, Ref, Bundles, Secrets and Reloads; each has two pods, but
	// for a bare Pod, which is one. One of which a Secret's OwnCA is named verifies with
	// that too, unless OwnCAUnused.
	Workloads []planner.Workload
}

// World is a cluster and the time in it.
type World struct {
	Desired planner.Desired
	Now     time.Time
	// Disorder makes the neighbours slow, the writes partial and shuffled, and what is
	// observed stale or refused now and then.
	Disorder bool
	// Recreate lets the owners of bare Pods make them anew now and then.
	Recreate bool

	// Quirk, if set, changes what CA certificates are made like.
	Quirk func(*x509.Certificate)
	// Stuck are those of whom nothing more comes: "ConfigMap workload/fleet-trust",
	// "Certificate operations/broker", "Deployment operations/broker", "canary fleet".
	Stuck map[string]bool
	// Silent are the devices that do not come by, "sensors/sensor-0042".
	Silent map[string]bool

	// inventory is what Git declared on the first day: who depends on whom. Whoever leaves
	// Git is still there.
	inventory planner.Desired
	random    *rand.Rand
	serial    int64
	// revisions counts the writes of bundles.
	revisions  int
	namespaces []string
	cas        map[planner.Ref]*caObject
	secrets    map[planner.Ref]*caSecret
	internal   map[planner.Ref]*internalIssuer
	issuers    map[planner.Ref]*issuer
	record     map[string]planner.RecordedKey // by path; nil: there is none
	bundles    map[string]planner.Bundle
	copies     map[copyID]*bundleCopy
	// seen are the anchors of each bundle as trust-manager last saw it.
	seen map[string]pki.Anchors
	// foreign are the Secrets that somebody else made, and outside the external issuers by
	// their specs.
	foreign map[planner.Ref]bool
	outside map[string]*caSecret
	// told is the last plan.
	told      planner.Plan
	leaves    map[planner.Ref]*leaf
	workloads []*workload
	devices   []*device
	// given are the devices that were waived at some time.
	given    map[string]bool
	leafLife time.Duration
	// writesLeft are those that the program lives to make; nil if it is not to be killed.
	writesLeft *int
	// probed are the latest results of probes, and handshakes all that succeeded.
	probed     map[probeID]planner.ProbeResult
	handshakes map[probeID][]handshake
	// begun are the anchors that were to leave while a window was open, and asked the leaves
	// of each authority that were asked for.
	begun      map[pki.Fingerprint]bool
	asked      map[planner.Ref]asked
	since      []planner.Gate
	seenLately []planner.Observed
	log        []string
	violations []Violation
	// hurt are the authorities of which a key was compromised, named those whom plans said to lose
	// trust or to keep it wrongly, refusals the pairs that did not verify.
	hurt     map[planner.Ref]bool
	named    map[string]bool
	refusals []Refusal
	// verified remembers the verdict on a chain and a set of anchors.
	verified map[verdictID]error
}

// verdictID is a leaf and the anchors that it was verified against.
type verdictID struct{ leaf, anchors pki.Fingerprint }

type copyID struct{ bundle, namespace string }

// bundleCopy is a namespace's ConfigMap, who writes it, and when it last changed.
type bundleCopy struct {
	via      v1alpha1.BundleVia
	anchors  pki.Anchors
	changed  time.Time
	revision int
	// before is what it was, for whoever reloads late.
	before *bundleCopy
}

// longestReload is longer than any workload takes to load what changed.
const longestReload = time.Hour

// put replaces a copy, and remembers what it was for as long as that may be loaded.
func (w *World) put(id copyID, next bundleCopy) {
	next.before, next.changed = w.copies[id], w.Now
	for c := &next; c.before != nil; c = c.before {
		if w.Now.Sub(c.changed) > longestReload {
			c.before = nil // nobody loads what that replaced any more
			break
		}
	}
	w.copies[id] = &next
}

// asOf is the copy as it was at that time; nil if it was not there yet.
func (c *bundleCopy) asOf(at time.Time) *bundleCopy {
	for c != nil && c.changed.After(at) {
		c = c.before
	}
	return c
}

// writeCopy writes a copy that is not trust-manager's.
func (w *World) writeCopy(id copyID, via v1alpha1.BundleVia, anchors pki.Anchors) {
	w.revisions++
	w.put(id, bundleCopy{via: via, anchors: anchors, revision: w.revisions})
}

// New makes a world in which nothing has been issued yet.
func New(seed uint64, desired planner.Desired, users Users) *World {
	w := &World{
		Desired:    desired,
		inventory:  desired,
		Now:        Epoch,
		random:     rand.New(rand.NewPCG(seed, 0)),
		namespaces: users.Namespaces,
		cas:        map[planner.Ref]*caObject{},
		secrets:    map[planner.Ref]*caSecret{},
		internal:   map[planner.Ref]*internalIssuer{},
		issuers:    map[planner.Ref]*issuer{},
		bundles:    map[string]planner.Bundle{},
		copies:     map[copyID]*bundleCopy{},
		seen:       map[string]pki.Anchors{},
		foreign:    map[planner.Ref]bool{},
		outside:    map[string]*caSecret{},
		leaves:     map[planner.Ref]*leaf{},
		probed:     map[probeID]planner.ProbeResult{},
		handshakes: map[probeID][]handshake{},
		begun:      map[pki.Fingerprint]bool{},
		asked:      map[planner.Ref]asked{},
		verified:   map[verdictID]error{},
		hurt:       map[planner.Ref]bool{},
		given:      map[string]bool{},
		named:      map[string]bool{},
		leafLife:   cmp.Or(users.LeafLife, leafLife),
	}
	for _, declared := range users.Leaves {
		w.leaves[declared.Ref] = &leaf{ref: declared.Ref, issuer: declared.Issuer, secret: declared.SecretName, foreign: declared.Foreign, issuing: true}
	}
	for _, declared := range users.Workloads {
		w.workloads = append(w.workloads, newWorkload(declared))
	}
	return w
}

// KeepRecord begins a record in Git, as it is when spec.writeBack is enabled.
func (w *World) KeepRecord() {
	if w.record == nil {
		w.record = map[string]planner.RecordedKey{}
	}
}

// neighbours lets everyone but reanchor do some of what they have to do.
func (w *World) neighbours() {
	w.issueCAs()
	w.issueLeaves()
	w.answerCanaries()
	w.syncCopies()
	w.obey()
	w.visit()
	for _, workload := range w.workloads {
		w.roll(workload)
		w.reload(workload)
	}
}

// lazy decides, in a world of disorder, whether somebody puts something off.
func (w *World) lazy() bool { return w.Disorder && w.random.IntN(3) == 0 }

// sortedKeys are a map's keys in an order that does not change.
func sortedKeys[V any](m map[planner.Ref]V) []planner.Ref {
	return slices.SortedFunc(maps.Keys(m), planner.Ref.Compare)
}

func (w *World) sortedCopies() []copyID {
	return slices.SortedFunc(maps.Keys(w.copies), func(a, b copyID) int {
		return cmp.Or(cmp.Compare(a.bundle, b.bundle), cmp.Compare(a.namespace, b.namespace))
	})
}
