package planner_test

import (
	"fmt"
	"testing"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// BenchmarkNext plans a site of many leaves, each presented by a workload of its own
// that also verifies; ten to a namespace. A settled one is what nearly every turn sees;
// in the other half of the leaves have moved to 2026, and all copies hold both anchors.
func BenchmarkNext(b *testing.B) {
	for _, leaves := range []int{10, 100, 1000} {
		for name, s := range map[string]*site{"settled": crowded(leaves, false), "reissuing": crowded(leaves, true)} {
			b.Run(fmt.Sprintf("%s/leaves=%d", name, leaves), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s.next()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(leaves), "ns/leaf")
			})
		}
	}
}

// crowded is a site with that many leaves and workloads, settled or in the middle of
// Reissue.
func crowded(leaves int, rolling bool) *site {
	s := switched()
	if !rolling {
		s = settled()
	}
	bundleCopy := s.observed.Copies[0]
	s.observed.Copies, s.observed.Leaves, s.observed.Workloads = nil, nil, nil
	for i := range leaves {
		ref := planner.Ref{Namespace: fmt.Sprintf("n%03d", i/10), Name: fmt.Sprintf("w%04d", i)}
		if i%10 == 0 {
			bundleCopy.Namespace = ref.Namespace
			s.observed.Copies = append(s.observed.Copies, bundleCopy)
		}
		key := key2025
		if rolling && i%2 == 0 {
			key = key2026
		}
		s.observed.Leaves = append(s.observed.Leaves, planner.Leaf{
			Ref: ref, Issuer: planner.Ref{Name: "fleet"}, SecretName: ref.Name + "-tls",
			Chain: []pki.Certificate{newLeaf(ref.String(), key).Certificate},
		})
		s.observed.Workloads = append(s.observed.Workloads, planner.Workload{
			Kind: "Deployment", Ref: ref, Bundles: volume("fleet-trust"), Secrets: volume(ref.Name + "-tls"), Pods: 2,
		})
	}
	s.reload()
	return s
}
