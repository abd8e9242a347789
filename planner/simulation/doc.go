// Package simulation is the world that the planner is proved against: a cluster
// with models of cert-manager, trust-manager, workloads and a clock, holding real
// keys and certificates.
//
// A [World] is made of what Git declares and who uses it. [World.Turn] lets the
// neighbours act, shows the planner what there is, and carries out what it
// planned: all of it in order, or, under disorder, any part of it in any order, as
// a crash would leave it, from a cache that is a few turns old or refuses a list. After
// every single write the invariants are asked ([World.Violations]), with crypto/x509 itself
// for every pair of a presenter and a verifier. Who depends on whom is what Git said on
// the first day: whoever leaves Git is still there.
//
// Beside what is planned, things happen: Secrets are deleted or swapped, requests lost,
// whole clusters, and put back (events.go). [World.Stuck] names those of whom nothing
// more comes.
//
//	world := simulation.New(seed, desired, users)
//	log, err := world.Settle(200)
//
// Everything that is random comes from the seed: equal seeds give equal worlds,
// certificates and logs.
package simulation
