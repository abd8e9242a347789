package pki_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/pki"
)

// pool are the certificates of which sets are drawn; some share a subject, some a key.
func pool(tb testing.TB) []pki.Certificate {
	var all []pki.Certificate
	for i := range 6 {
		all = append(all, root(tb, fmt.Sprintf("Root %d", i/2), fmt.Sprintf("key %d", i%4)).Certificate)
	}
	return all
}

// drawn is a set of anchors beside the plain set that it shall be.
type drawn struct {
	anchors pki.Anchors
	plain   map[pki.Fingerprint]bool
}

// draw draws certificates in any order, some of them more than once.
func draw(t *rapid.T, from []pki.Certificate, name string) drawn {
	picked := rapid.SliceOfN(rapid.IntRange(0, len(from)-1), 0, 10).Draw(t, name)
	d := drawn{plain: map[pki.Fingerprint]bool{}}
	var certificates []pki.Certificate
	for _, i := range picked {
		certificates = append(certificates, from[i])
		d.plain[from[i].Fingerprint()] = true
	}
	d.anchors = pki.NewAnchors(certificates...)
	return d
}

// is fails unless the anchors are the plain set, in the one order.
func is(t *rapid.T, what string, got pki.Anchors, want map[pki.Fingerprint]bool) {
	var fingerprints []pki.Fingerprint
	for _, certificate := range got {
		fingerprints = append(fingerprints, certificate.Fingerprint())
	}
	if !slices.Equal(fingerprints, slices.SortedFunc(maps.Keys(want), pki.Fingerprint.Compare)) {
		t.Fatalf("%s is %v", what, got)
	}
}

// TestAnchorsAreASet: whatever is put in, in whatever order, what comes out is what
// sets of fingerprints give, sorted, each once; and no operation changes its operands.
func TestAnchorsAreASet(t *testing.T) {
	certificates := pool(t)
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, certificates, "a"), draw(t, certificates, "b")
		is(t, "the set", a.anchors, a.plain)
		union, minus := maps.Clone(a.plain), maps.Clone(a.plain)
		contains := true
		for f := range b.plain {
			union[f] = true
			contains = contains && a.plain[f]
			delete(minus, f)
		}
		is(t, "the union", a.anchors.Union(b.anchors), union)
		is(t, "the difference", a.anchors.Minus(b.anchors), minus)
		if got := a.anchors.Contains(b.anchors); got != contains {
			t.Fatalf("%v contains %v: %t", a.anchors, b.anchors, got)
		}
		if got, want := a.anchors.Equal(b.anchors), maps.Equal(a.plain, b.plain); got != want {
			t.Fatalf("%v equals %v: %t", a.anchors, b.anchors, got)
		}
		for _, certificate := range certificates {
			if a.anchors.Has(certificate) != a.plain[certificate.Fingerprint()] {
				t.Fatalf("%v has %v: %t", a.anchors, certificate, a.anchors.Has(certificate))
			}
		}
		is(t, "the first operand afterwards", a.anchors, a.plain)
		is(t, "the second operand afterwards", b.anchors, b.plain)
	})
}

// TestAnchorsAreByteStable: sets are equal exactly if their bytes are, and so if
// their digests are; and the bytes are read as the same set.
func TestAnchorsAreByteStable(t *testing.T) {
	certificates := pool(t)
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, certificates, "a"), draw(t, certificates, "b")
		equal := a.anchors.Equal(b.anchors)
		if bytes.Equal(a.anchors.PEM(), b.anchors.PEM()) != equal || (a.anchors.SHA256() == b.anchors.SHA256()) != equal {
			t.Fatalf("%v and %v are equal: %t; their bytes disagree", a.anchors, b.anchors, equal)
		}
		shuffled := rapid.Permutation([]pki.Certificate(a.anchors)).Draw(t, "shuffled")
		if !bytes.Equal(pki.NewAnchors(shuffled...).PEM(), a.anchors.PEM()) {
			t.Fatal("another order gives other bytes")
		}
		if len(a.anchors) == 0 {
			return
		}
		read, err := pki.ParsePEM(a.anchors.PEM())
		if err != nil || !pki.NewAnchors(read...).Equal(a.anchors) {
			t.Fatalf("%v is read as %v, with the error %v", a.anchors, read, err)
		}
	})
}

func TestNoAnchors(t *testing.T) {
	var none pki.Anchors
	a := root(t, "A", "a").Certificate
	if none.Has(a) || !none.Contains(none) || !none.Equal(pki.NewAnchors()) || len(none.PEM()) != 0 {
		t.Error("the zero value is not the empty set")
	}
	if !none.Union(pki.NewAnchors(a)).Equal(pki.NewAnchors(a)) || !none.Minus(pki.NewAnchors(a)).Equal(none) {
		t.Error("the zero value does not count as the empty set")
	}
}
