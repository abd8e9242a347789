package pki

import (
	"encoding/binary"
	"testing"
)

// A verdict is found out once, also after its generation has grown old; what nobody asked
// for in two generations is forgotten.
func TestVerdicts(t *testing.T) {
	var v verdicts[signature, bool]
	checked := 0
	ask := func(n uint64, verdict bool) bool {
		var s signature
		binary.BigEndian.PutUint64(s.certificate[:], n)
		return v.of(s, func() bool { checked++; return verdict })
	}
	for n := range uint64(verdictsKept) {
		if ask(n, n%2 == 0) != (n%2 == 0) {
			t.Fatalf("the verdict on %d is wrong", n)
		}
	}
	ask(verdictsKept, true) // the first of the next generation
	checked = 0
	for _, n := range []uint64{0, 1, 2, verdictsKept} {
		if ask(n, n%2 != 0) != (n%2 == 0) {
			t.Errorf("the verdict on %d changed", n)
		}
	}
	if checked != 0 {
		t.Errorf("%d known signatures were checked again", checked)
	}
	for n := range uint64(verdictsKept) {
		ask(2*verdictsKept+n, true)
	}
	if size := len(v.younger) + len(v.older); size > 2*verdictsKept {
		t.Errorf("%d verdicts are kept, more than two generations", size)
	}
	checked = 0
	if ask(5, true); checked != 1 {
		t.Error("what nobody asked for in two generations is still kept")
	}
}
