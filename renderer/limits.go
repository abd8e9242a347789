package renderer

import "cmp"

// Limits bound what one [Load] reads and composes, and one [LoadRecord] reads. A zero field takes its
// default; every refusal names the file that went over.
type Limits struct {
	// FileBytes is the size of one file in bytes, its YAML aliases written out;
	// 4 MiB when zero.
	FileBytes int64
	// TotalBytes is the size of all that is composed, aliases written out and a
	// base counted as often as it is used; 32 MiB when zero.
	TotalBytes int64
	// Files is the number of files that are read; 2,000 when zero.
	Files int
	// Documents is the number of objects that are composed, a base counted as
	// often as it is used; 3,000 when zero. The time of a build grows with its
	// square.
	Documents int
	// Values is the number of YAML values that are composed, fields and list entries, their
	// aliases written out and a base counted as often as it is used; 300,000 when zero. A
	// build takes more than a kilobyte of memory for each.
	Values int
	// Anchors is the number of certificates in the record; 5,000 when zero.
	Anchors int
	// AnchorBytes is the size of one of them in bytes, with the text around it; 64 KiB
	// when zero.
	AnchorBytes int64
}

const mebibyte = 1 << 20

func (l Limits) withDefaults() Limits {
	return Limits{
		FileBytes:   cmp.Or(l.FileBytes, 4*mebibyte),
		TotalBytes:  cmp.Or(l.TotalBytes, 32*mebibyte),
		Files:       cmp.Or(l.Files, 2000),
		Documents:   cmp.Or(l.Documents, 3000),
		Values:      cmp.Or(l.Values, 300_000),
		Anchors:     cmp.Or(l.Anchors, 5000),
		AnchorBytes: cmp.Or(l.AnchorBytes, mebibyte/16),
	}
}

// weight is what something adds to a build, in the units of Limits. Its sums
// stop at a ceiling, so that no repetition overflows them.
type weight struct {
	bytes     int64
	documents int64
	values    int64
}

const heaviest = 1 << 40

func (w weight) plus(other weight) weight {
	return weight{
		bytes:     min(w.bytes+other.bytes, heaviest),
		documents: min(w.documents+other.documents, heaviest),
		values:    min(w.values+other.values, heaviest),
	}
}
