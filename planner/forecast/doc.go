// Package forecast says what becomes of a commit before it is merged: the planner itself,
// run forward over a simulated world until it rests, with every state on the way proved by
// X.509 verification.
//
//	f := forecast.Run(forecast.Request{
//		Base: forecast.Side{Desired: declaredNow}, Head: forecast.Side{Desired: declaredThen},
//		Observed: &observed, Seen: at, Now: at, // or nil: the base's end is where it begins
//	})
//	f.Verdict    // Safe
//	f.Summary    // Rolls fleet-root from 2025 to 2026 in 5 stages over at least 24h5m; no client loses trust.
//
// # From a commit to its end
//
//	assume or observe    the cluster, as it was seen or as it must be (assumed.go)
//	begin                a world of twins stands for it (simulation.FromObserved); what is
//	                     otherwise than the base says, or broken already, is drift
//	settle               the planner's turns, until the world rests (run.go)
//	record               the turns become stages, one for each phase of each key (recorder.go)
//	conclude             what bundles hold then, the verdict, the digest (outcome.go)
//
// # Verdicts
//
//	the world …                                                     verdict
//	needs nothing                                                   Nothing
//	comes to rest, and nobody was refused on the way                Safe
//	does so if people do the steps that are listed                  Waits
//	does so, and a key is compromised: somebody was refused, or     Drops
//	trusts the thief for a while or for good
//	breaks an invariant, cannot go on, or a rule denies it          Blocked
//
// The package is pure: equal requests give equal forecasts, byte for byte.
package forecast
