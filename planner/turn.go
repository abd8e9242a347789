package planner

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// turn is one call of Next: its input, indexed, and the plan as it grows.
type turn struct {
	desired  Desired
	observed Observed
	now      time.Time
	memory   *memory
	// courses of all authorities, a parent before those that it issues.
	courses   []*course
	plan      Plan
	lookAgain time.Time
	// anchors that each bundle shall hold, by its name.
	anchors map[string]pki.Anchors
	// signers tells to which key of ours a leaf, or a key's certificate, chains next.
	signers map[pki.Fingerprint]pki.Fingerprint
	// holders tell whose certificate a fingerprint is: the key's and its authority.
	holders map[pki.Fingerprint]holder
	// bySecret are the leaves by the Secrets that they are written to.
	bySecret map[Ref][]Leaf
	// copiesAt are the copies by namespace and bundle, mounted the workloads that mount a
	// bundle, by the same.
	copiesAt map[Ref][]Copy
	mounted  map[Ref]Workload
	// vouched are the certificates of all keys that are known, and those that bundles list.
	vouched pki.Anchors
	// distrusted are the anchors, by bundle, that its copies hold and that nothing vouches for.
	distrusted map[string]pki.Anchors
	// presented are the CA certificates that leaves bring with them.
	presented pki.Anchors
	// restarting holds by its lane who is being restarted, or is planned to be.
	restarting map[string][]string
}

func newTurn(desired Desired, observed Observed, now time.Time) *turn {
	t := &turn{
		desired:    desired,
		observed:   observed.sorted(),
		now:        now,
		memory:     newMemory(observed.Since, now),
		anchors:    map[string]pki.Anchors{},
		restarting: map[string][]string{},
		distrusted: map[string]pki.Anchors{},
	}
	t.passOverMakers()
	t.indexCopies()
	t.indexLeaves()
	t.gatherPresented()
	t.gatherVouched()
	t.distrustCopies()
	t.gatherCourses()
	t.findSigners()
	t.gatherPairs()
	t.gatherFamilies()
	t.findEmergencies()
	for _, bundle := range t.allBundles() {
		t.anchors[bundle] = t.bundleAnchors(bundle)
	}
	t.noteRestartsUnderWay()
	return t
}

// indexCopies finds the copies, and who mounts one, by namespace and bundle.
func (t *turn) indexCopies() {
	t.copiesAt, t.mounted = map[Ref][]Copy{}, map[Ref]Workload{}
	for _, c := range t.observed.Copies {
		at := Ref{Namespace: c.Namespace, Name: c.Bundle}
		t.copiesAt[at] = append(t.copiesAt[at], c)
	}
	for _, w := range slices.Backward(t.observed.Workloads) {
		for _, name := range bundleNames(w) {
			t.mounted[Ref{Namespace: w.Ref.Namespace, Name: name}] = w
		}
	}
}

// indexLeaves finds the leaves by the Secrets that they are written to.
func (t *turn) indexLeaves() {
	t.bySecret = map[Ref][]Leaf{}
	for _, leaf := range t.observed.Leaves {
		secret := Ref{Namespace: leaf.Ref.Namespace, Name: leaf.SecretName}
		t.bySecret[secret] = append(t.bySecret[secret], leaf)
	}
}

// gatherPresented collects the CA certificates in the chains of live leaves.
func (t *turn) gatherPresented() {
	seen := map[pki.Fingerprint]pki.Certificate{}
	for _, leaf := range t.observed.Leaves {
		if t.live(leaf) {
			for _, above := range leaf.Chain[1:] {
				seen[above.Fingerprint()] = above
			}
		}
	}
	t.presented = pki.NewAnchors(slices.Collect(maps.Values(seen))...)
}

// holder is a key and its authority.
type holder struct {
	course *course
	key    *key
}

// findSigners finds for every leaf, and for every key's certificate, the key that it
// chains to next.
func (t *turn) findSigners() {
	t.signers, t.holders = map[pki.Fingerprint]pki.Fingerprint{}, map[pki.Fingerprint]holder{}
	for _, leaf := range t.observed.Leaves {
		if len(leaf.Chain) > 0 {
			t.findSigner(leaf.Chain)
		}
	}
	for _, c := range t.courses {
		for _, k := range c.keys {
			if k.known() {
				t.findSigner([]pki.Certificate{k.seen.Certificate})
				t.holders[k.seen.Certificate.Fingerprint()] = holder{c, k}
			}
		}
	}
}

// findSigner looks for the first key of ours on the way up: what signed the leaf, or,
// where a CA that is none of ours stands between, what signed that.
func (t *turn) findSigner(chain []pki.Certificate) {
	for i, certificate := range chain {
		if i > 0 && !chain[i-1].SignedBy(certificate) {
			return
		}
		for _, c := range t.courses {
			for _, k := range c.keys {
				if k.known() && certificate.SignedBy(k.seen.Certificate) {
					t.signers[chain[0].Fingerprint()] = k.seen.Certificate.Fingerprint()
					return
				}
			}
		}
	}
}

// signed reports whether the key is the first of ours that the leaf chains to.
func (t *turn) signed(k *key, leaf Leaf) bool {
	return k.known() && len(leaf.Chain) > 0 && t.signers[leaf.Chain[0].Fingerprint()] == k.seen.Certificate.Fingerprint()
}

// passes reports whether the chain of the leaf leads through the key: the key signed
// it, or signed the key that did, and so on up to the root.
func (t *turn) passes(leaf Leaf, k *key) bool {
	return k.known() && slices.Contains(t.path(leaf), k.seen.Certificate.Fingerprint())
}

// path are the certificates of the keys that the leaf chains to, up to the root's.
func (t *turn) path(leaf Leaf) []pki.Fingerprint {
	if len(leaf.Chain) == 0 {
		return nil
	}
	var path []pki.Fingerprint
	for at := leaf.Chain[0].Fingerprint(); len(path) <= len(t.courses); {
		signer, found := t.signers[at]
		if !found || signer == at {
			break
		}
		path = append(path, signer)
		at = signer
	}
	return path
}

// live reports whether something was issued for the leaf that has not expired.
func (t *turn) live(leaf Leaf) bool {
	return len(leaf.Chain) > 0 && !t.now.After(leaf.Chain[0].NotAfter())
}

// lookAt remembers that the plan may change at that time without anything else
// changing.
func (t *turn) lookAt(at time.Time) {
	if t.lookAgain.IsZero() || at.Before(t.lookAgain) {
		t.lookAgain = at
	}
}

// unknownHolds say what could not be read: while there is any, nothing moves that
// cannot be moved back.
func (t *turn) unknownHolds() []Hold {
	var holds []Hold
	for _, unknown := range t.observed.Unknown {
		holds = append(holds, Hold{Gate: GateUnknown, Subject: unknown.Subject, Why: unknown.Why})
	}
	return holds
}

// counted is "1 leaf" or "3 leaves".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func orElse(first int, a, b string) int { return cmp.Or(first, cmp.Compare(a, b)) }
