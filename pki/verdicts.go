package pki

import "sync"

// verdicts remember what was found out about certificates: which signature is by which CA's
// key, and which chain verifies against which anchors. Finding one out costs a hundred times
// what looking it up does, and a fleet asks the same of the same certificates at every turn.
// A verdict is a fact about fingerprints, so that remembering it changes no answer.
//
// Two generations bound the memory: when the younger one is full it becomes the older,
// and what was not asked for since is forgotten.
type verdicts[Q comparable, V any] struct {
	mu             sync.Mutex
	younger, older map[Q]V
}

// verdictsKept is how many verdicts a generation holds: 65 bytes each of a signature, a
// line of text more of a chain that is refused.
const verdictsKept = 1 << 16

// signature is a certificate and the CA that is said to have signed it.
type signature struct{ certificate, ca Fingerprint }

var (
	signatures verdicts[signature, bool]
	// chains are those that were verified while all certificates were valid, by the digest
	// of the chain and its anchors.
	chains verdicts[Fingerprint, error]
)

// of looks a verdict up, or finds it out.
func (v *verdicts[Q, V]) of(question Q, findOut func() V) V {
	if verdict, known := v.lookUp(question); known {
		return verdict
	}
	verdict := findOut()
	v.keep(question, verdict)
	return verdict
}

func (v *verdicts[Q, V]) lookUp(question Q) (verdict V, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if verdict, known = v.younger[question]; known {
		return verdict, true
	}
	if verdict, known = v.older[question]; known {
		v.add(question, verdict)
	}
	return verdict, known
}

func (v *verdicts[Q, V]) keep(question Q, verdict V) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.add(question, verdict)
}

func (v *verdicts[Q, V]) add(question Q, verdict V) {
	if v.younger == nil || len(v.younger) >= verdictsKept {
		v.younger, v.older = make(map[Q]V), v.younger
	}
	v.younger[question] = verdict
}
