package pki

import "sync"

// verdicts remember which certificate's signature was checked against which CA's, and
// with what result: checking one costs a hundred times what looking it up does, and a
// fleet asks the same of the same certificates at every turn. A verdict is a fact about
// two fingerprints, so that remembering it changes no answer.
//
// Two generations bound the memory: when the younger one is full it becomes the older,
// and what was not asked for since is forgotten.
type verdicts struct {
	mu             sync.Mutex
	younger, older map[signature]bool
}

// signature is a certificate and the CA that is said to have signed it.
type signature struct{ certificate, ca Fingerprint }

// verdictsKept is how many verdicts a generation holds: 65 bytes each.
const verdictsKept = 1 << 16

var signatures verdicts

// of looks a verdict up, or finds it out.
func (v *verdicts) of(s signature, check func() bool) bool {
	if verdict, known := v.lookUp(s); known {
		return verdict
	}
	verdict := check()
	v.keep(s, verdict)
	return verdict
}

func (v *verdicts) lookUp(s signature) (verdict, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if verdict, known = v.younger[s]; known {
		return verdict, true
	}
	if verdict, known = v.older[s]; known {
		v.add(s, verdict)
	}
	return verdict, known
}

func (v *verdicts) keep(s signature, verdict bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.add(s, verdict)
}

func (v *verdicts) add(s signature, verdict bool) {
	if v.younger == nil || len(v.younger) >= verdictsKept {
		v.younger, v.older = make(map[signature]bool), v.younger
	}
	v.younger[s] = verdict
}
