package planner

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

func waving(percents ...int) *course {
	return &course{turn: &turn{}, spec: v1alpha1.AuthoritySpec{Rollover: v1alpha1.Rollover{Waves: percents}}}
}

func drawLeaves(t *rapid.T) []Leaf {
	var leaves []Leaf
	for i := range rapid.IntRange(0, 60).Draw(t, "leaves") {
		leaves = append(leaves, Leaf{Ref: Ref{Namespace: fmt.Sprintf("line-%d", i%4), Name: fmt.Sprintf("leaf-%d", i)}, SecretName: "tls"})
	}
	return leaves
}

func drawPercents(t *rapid.T) []int {
	percents := rapid.SliceOfNDistinct(rapid.IntRange(1, 99), 0, 4, rapid.ID).Draw(t, "percents")
	slices.Sort(percents)
	return append(percents, 100)
}

// TestEveryLeafIsInOneWave: the waves are a partition, each with those before as large as
// its percent says, rounded up.
func TestEveryLeafIsInOneWave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves, percents := drawLeaves(t), drawPercents(t)
		seen, so := map[leafID]int{}, 0
		for i, w := range waving(percents...).waves(leaves) {
			so += len(w.leaves)
			if want := (percents[i]*len(leaves) + 99) / 100; so != want {
				t.Errorf("wave %d of %v ends at %d of %d leaves, want %d", w.number, percents, so, len(leaves), want)
			}
			for _, leaf := range w.leaves {
				seen[leaf.id()]++
				if !w.has(leaf) {
					t.Errorf("%s is in the wave and is not", leaf.Ref)
				}
			}
		}
		for _, leaf := range leaves {
			if seen[leaf.id()] != 1 {
				t.Errorf("%s is in %d waves", leaf.Ref, seen[leaf.id()])
			}
		}
	})
}

// TestALeafThatIsAddedMovesNonePastAnother: whichever leaf comes or goes, the order of the
// others stays, and no more of them change their wave than one at each border.
func TestALeafThatIsAddedMovesNonePastAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves, percents := drawLeaves(t), drawPercents(t)
		before := waveOf(waving(percents...).waves(leaves))
		added := Leaf{Ref: Ref{Namespace: "line-9", Name: fmt.Sprint(rapid.Int().Draw(t, "name"))}, SecretName: "tls"}
		more := slices.Insert(slices.Clone(leaves), rapid.IntRange(0, len(leaves)).Draw(t, "place"), added)
		after, moved := waveOf(waving(percents...).waves(more)), 0
		for _, leaf := range leaves {
			if distance := after[leaf.id()] - before[leaf.id()]; distance != 0 {
				moved++
			}
		}
		if moved >= len(percents) {
			t.Errorf("%d of %d leaves changed their wave among %v", moved, len(leaves), percents)
		}
		rank := func(of []Leaf) map[leafID]int {
			ranks := map[leafID]int{}
			for i, r := range ranksOf(of) {
				ranks[of[i].id()] = r
			}
			return ranks
		}
		was, is := rank(leaves), rank(more)
		for _, a := range leaves {
			for _, b := range leaves {
				if (was[a.id()] < was[b.id()]) != (is[a.id()] < is[b.id()]) {
					t.Fatalf("%s and %s have changed places", a.Ref, b.Ref)
				}
			}
		}
	})
}

func waveOf(waves []wave) map[leafID]int {
	numbers := map[leafID]int{}
	for _, w := range waves {
		for _, leaf := range w.leaves {
			numbers[leaf.id()] = w.number
		}
	}
	return numbers
}

// TestAWaveIsSpread: the first twentieth of a plant is not all of one namespace.
func TestAWaveIsSpread(t *testing.T) {
	var leaves []Leaf
	for i := range 400 {
		leaves = append(leaves, Leaf{Ref: Ref{Namespace: fmt.Sprintf("line-%d", i/100), Name: fmt.Sprintf("leaf-%03d", i%100)}})
	}
	namespaces := map[string]int{}
	for _, leaf := range waving(5, 100).waves(leaves)[0].leaves {
		namespaces[leaf.Ref.Namespace]++
	}
	if len(namespaces) != 4 {
		t.Errorf("the first wave is %v", namespaces)
	}
}
