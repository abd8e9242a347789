package forecast_test

import (
	"fmt"
	"testing"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/simulation"
)

// BenchmarkPlan forecasts a rollover of a root from a cluster with so many leaves, ten to a
// namespace, of which every fourth is presented by a workload of its own that verifies the
// others.
func BenchmarkPlan(b *testing.B) {
	for _, leaves := range []int{10, 100, 1000} {
		base, head := swift(fleet(signing("2025"))), swift(fleet(retired("2025"), signing("2026")))
		world := simulation.New(1, base, crowd(leaves))
		world.KeepRecord()
		world.Prompt = true
		for range 12 {
			plan := world.Turn()
			world.SleepUntil(world.Now.Add(horizon), plan)
		}
		observed, at := world.Observe(), world.Now
		b.Run(fmt.Sprintf("leaves=%d", leaves), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if f := forecast.Run(seen(base, head, observed, at)); f.Verdict != forecast.Safe {
					b.Fatal(f.Summary)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(leaves), "ns/leaf")
		})
	}
}

const horizon = 24 * 3600 * 1e9

// crowd are so many leaves, and a workload for every fourth.
func crowd(leaves int) simulation.Users {
	var users simulation.Users
	for i := range leaves {
		ref := planner.Ref{Namespace: fmt.Sprintf("n%03d", i/10), Name: fmt.Sprintf("w%04d", i)}
		if i%10 == 0 {
			users.Namespaces = append(users.Namespaces, ref.Namespace)
		}
		users.Leaves = append(users.Leaves, planner.Leaf{Ref: ref, Issuer: planner.Ref{Name: "fleet"}, SecretName: ref.Name + "-tls"})
		if i%4 == 0 {
			users.Workloads = append(users.Workloads, planner.Workload{
				Kind: "Deployment", Ref: ref, Bundles: []planner.Mount{{Name: "fleet-trust", Kind: planner.MountVolume}},
				Secrets: []planner.Mount{{Name: ref.Name + "-tls", Kind: planner.MountVolume}},
			})
		}
	}
	return users
}
