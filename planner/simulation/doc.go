// Package simulation is the world that the planner is proved against: a cluster
// with models of cert-manager, trust-manager, workloads and a clock, holding real
// keys and certificates.
//
// A [World] is made of what Git declares and who uses it. [World.Turn] lets the
// neighbours act, shows the planner what there is, and carries out what it
// planned: all of it in order, or, under disorder, any part of it in any order, as
// a crash would leave it. After every single write the invariants are asked
// ([World.Violations]), with crypto/x509 itself for every pair of a presenter and a
// verifier.
//
//	world := simulation.New(seed, desired, users)
//	log, err := world.Settle(200)
//
// Everything that is random comes from the seed: equal seeds give equal worlds,
// certificates and logs.
package simulation
