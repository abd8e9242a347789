package simulation

import (
	"cmp"
	"crypto/x509"
	"fmt"
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
	// Referrers are objects of other operators that name issuers; their Leaves stand above.
	Referrers []Referrer
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
	// Prompt lets everyone react at once and in order, and no time pass by itself: it is
	// for [World.SleepUntil] to jump. Nothing is told in the log, and people do nothing
	// until [World.LetPeopleAct].
	Prompt bool

	// Quirk, if set, changes what CA certificates are made like.
	Quirk func(*x509.Certificate)
	// Stuck are those of whom nothing more comes: "ConfigMap workload/fleet-trust",
	// "Certificate operations/broker", "Deployment operations/broker", "canary fleet",
	// "link 2026".
	Stuck map[string]bool
	// Silent are the devices that do not come by, "sensors/sensor-0042".
	Silent map[string]bool

	// inventory is what Git declared on the first day: who depends on whom. Whoever leaves
	// Git is still there.
	inventory planner.Desired
	random    *rand.Rand
	serial    int64
	// keySpace tells the keys of one kind of world from those of another.
	keySpace string
	// revisions counts the writes of bundles.
	revisions  int
	namespaces []string
	cas        map[planner.Ref]*caObject
	secrets    map[planner.Ref]*caSecret
	internal   map[planner.Ref]*internalIssuer
	issuers    map[planner.Ref]*issuer
	record     map[string]planner.RecordedKey // by path; nil: there is none
	// recordProblem says why the record could not be written last.
	recordProblem string
	bundles       map[string]planner.Bundle
	copies        map[copyID]*bundleCopy
	referrers     []*Referrer
	// links that are asked for, how many were asked and signed so far, and those on record.
	links      map[planner.Ref]*linkRequest
	linksAsked int64
	linkRecord map[string]planner.RecordedLink // by path
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
	// saidOfLinks is what the log says of them already.
	saidOfLinks map[string]bool
	// writesLeft are those that the program lives to make; nil if it is not to be killed.
	writesLeft *int
	// probed are the latest results of probes, and handshakes all that succeeded.
	probed     map[probed]planner.ProbeResult
	handshakes map[probeID][]handshake
	// begun are the anchors that were to leave while a window was open, and asked the leaves
	// of each authority that were asked for.
	begun      map[pki.Fingerprint]bool
	asked      map[planner.Ref]asked
	since      []planner.Gate
	seenLately []planner.Observed
	log        []string
	violations []Violation
	// written are the writes of the last turn.
	written []Written
	// certified are the devices that got a certificate since.
	certified []Written
	proofs
	// places are the copies that each bundle has, where they were observed; else it has
	// one in each of the namespaces.
	places map[string][]copyID
	// loose are the bundles without trust-manager as they were written last, but for their
	// anchors.
	loose map[string]planner.Bundle
	// ledger is what was observed of devices, until they come by; nil: they have.
	ledger []planner.Ledger
	// secretLeaves are the leaves by their Secrets, inOrder by their names; nil: not
	// gathered yet.
	secretLeaves map[planner.Ref]*leaf
	inOrder      []*leaf
	// acquainted are those who accepted what they were shown when the world was asked last: see
	// [World.Acquaint].
	acquainted map[acquaintance]bool
	// hurt are the authorities of which a key was compromised, named those whom plans said to lose
	// trust or to keep it wrongly, refusals the pairs that did not verify. Before it is planned,
	// while planning is set, unnamed are the pairs with a device that no plan has named yet.
	hurt     map[planner.Ref]bool
	named    map[string]bool
	refusals []Refusal
	planning bool
	unnamed  map[Refusal]string
}

// copyID names a bundle's ConfigMap, or Secret, in one namespace.
type copyID struct {
	bundle, namespace string
	secret            bool
}

// bundleCopy is a namespace's ConfigMap, who writes it, and when it last changed.
type bundleCopy struct {
	via      v1alpha1.BundleVia
	anchors  pki.Anchors
	digest   pki.Fingerprint
	changed  time.Time
	revision string
	// problem of a copy that cannot be read; unselected: it lies where no selector picks.
	problem    string
	unselected bool
	// before is what it was, for whoever reloads late.
	before *bundleCopy
}

// longestReload is longer than any workload takes to load what changed.
const longestReload = time.Hour

// put replaces a copy, and remembers what it was for as long as that may be loaded.
func (w *World) put(id copyID, next bundleCopy) {
	next.before, next.changed, next.digest = w.copies[id], w.Now, next.anchors.SHA256()
	next.unselected = next.before != nil && next.before.unselected
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
	w.put(id, bundleCopy{via: via, anchors: anchors, revision: fmt.Sprint(w.revisions)})
}

// placesOf are the copies that a bundle has, or is to have.
func (w *World) placesOf(bundle string) []copyID {
	if places, observed := w.places[bundle]; observed {
		return places
	}
	var places []copyID
	for _, namespace := range w.namespaces {
		places = append(places, copyID{bundle: bundle, namespace: namespace})
	}
	return places
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
		probed:     map[probed]planner.ProbeResult{},
		handshakes: map[probeID][]handshake{},
		begun:      map[pki.Fingerprint]bool{},
		asked:      map[planner.Ref]asked{},
		loose:      map[string]planner.Bundle{},
		proofs:     proofs{verdicts: map[verdictID]verdict{}},
		hurt:       map[planner.Ref]bool{},
		unnamed:    map[Refusal]string{},
		given:      map[string]bool{},
		named:      map[string]bool{},
		leafLife:   cmp.Or(users.LeafLife, leafLife),
		links:      map[planner.Ref]*linkRequest{},
		linkRecord: map[string]planner.RecordedLink{}, saidOfLinks: map[string]bool{},
	}
	for _, declared := range users.Leaves {
		w.leaves[declared.Ref] = &leaf{ref: declared.Ref, issuer: declared.Issuer, secret: declared.SecretName, foreign: declared.Foreign, issuing: true}
	}
	w.newReferrers(users.Referrers)
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
	if w.Prompt {
		w.react()
		return
	}
	w.issueCAs()
	w.operate()
	w.issueLeaves()
	w.answerCanaries()
	w.answerLinks()
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
	return slices.SortedFunc(maps.Keys(w.copies), copyID.compare)
}

func (id copyID) compare(other copyID) int {
	return cmp.Or(cmp.Compare(id.bundle, other.bundle), cmp.Compare(id.namespace, other.namespace), cmp.Compare(id.String(), other.String()))
}

// String is "ConfigMap namespace/bundle", or "Secret namespace/bundle".
func (id copyID) String() string {
	if id.secret {
		return "Secret " + id.namespace + "/" + id.bundle
	}
	return "ConfigMap " + id.namespace + "/" + id.bundle
}
