// Package planner decides the next safe step of a fleet's PKI. [Next] is a pure
// function of what Git declares, what the cluster was seen to hold, and the time;
// it talks to nobody and remembers nothing but the gates that it is handed back.
//
// # A rollover
//
// An authority reaches a new signing key in five phases. Each is done when it is
// seen to be done, and only then does the next begin: one phase per authority and
// turn.
//
//	            what it does                       done when it is seen that
//	Introduce   the new key's Certificate exists   it is issued, and past its skew
//	Distribute  bundles hold old and new           every copy holds it, every verifier has
//	                                               reloaded since, and that has soaked
//	Switch      issuers sign with the new key      a canary comes back signed by it
//	Reissue     leaves are renewed                 every leaf chains to it and its
//	                                               presenters have reloaded
//	Retire      the old anchor leaves the bundles, no copy holds the old anchor; then
//	            then the old key goes              Certificate, Secret and issuer are gone
//
// # What holds at every moment
//
//   - Trust before use: no issuer moves to a key whose anchor is not seen in every
//     copy and in every verifier.
//   - Drain before retire: an anchor goes only when every live chain verifies
//     without it.
//   - Bundles only grow, but for the anchor that Retire takes out.
//   - Any subset of a Target's writes, in any order, is safe, so that a crash, a
//     second leader or a revert in the middle needs no code of its own.
//   - Missing, unreadable or unknown is "not yet", with a [Hold] that names it.
//
// # How to read the code
//
// [Next] gathers everything about one authority in a course, walks the course's
// steps to the first that is not done, and lets that step alone say what the
// target and the actions are. Each step is a file of its own: introduce.go,
// distribute.go, switch.go, reissue.go, retire.go.
package planner
