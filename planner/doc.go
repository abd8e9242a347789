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
//	Introduce   the new key's Certificate exists   it is issued, recorded in Git, and past
//	                                               its skew
//	Distribute  bundles hold old and new           every copy holds it, every verifier has
//	                                               reloaded since, and that has soaked
//	Switch      issuers sign with the new key      a canary comes back signed by it
//	Reissue     leaves are renewed                 every leaf chains to it and its
//	                                               presenters have reloaded
//	Retire      the old anchor leaves the bundles, no copy holds the old anchor; then
//	            then the old key goes              Certificate, Secret and issuer are gone,
//	                                               and the record says so
//
// # Intermediates
//
// An intermediate has one key pair for each of its keys in Git and each key of its parent
// that signs: "a.2025" is its key a under the root's 2025. When a root moves on, those
// below it follow by themselves:
//
//	root 2025 → 2026                     intermediate a.2025 → a.2026
//	Introduce, Distribute, Switch        waits
//	Reissue: what is below follows       Introduce, Switch, Reissue; nothing to distribute
//	Retire: 2025 leaves the bundles      keeps a.2025, so that one can go back to both
//	waits for what 2025 signed           Retire: a.2025 goes
//	Retire: 2025 goes
//
// # Care
//
// Leaves are reissued, and devices move, in waves, each proved before the next (waves.go). What a client may
// notice begins inside windows alone (windows.go). An anchor leaves a bundle only after
// every probe of that has shaken hands without it: the plan asks for the handshakes, and is
// given what came of them (probes.go).
//
// # What a key was
//
// The record in Git, or without one the anchors that stand, tells what a key was before
// (past.go). A key that changed without a plan is never taken for itself: it is held, with
// an alarm if trust is at risk. One that is not there any more is not made again.
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
// [Next] gathers everything about one authority in a course (course.go), walks the
// course's steps to the first that is not done, and lets that step alone say what the
// target and the actions are. Keys are brought in from the top of a hierarchy down, and
// taken out from the bottom up. Each step is a file of its own: introduce.go,
// distribute.go, switch.go, reissue.go, retire.go. What a CA's end means is in
// lifetime.go.
package planner
