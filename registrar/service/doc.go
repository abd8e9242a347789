// Package service puts the registration endpoint to work: it is what stands behind the
// interfaces of package registrar in a real process.
//
//	registrar.Options   here       which is
//	Fleet, Rules        [Git]      the newest tree that the writer knows, read into a view
//	Commits             [Git]      gitsource.Writer: one for the branch, one for each group
//	                               whose registrations are proposed
//	Certificates, Keys  [Cluster]  a watch of what the device lane makes, and Secrets read one
//	                               by one
//	Evidence            [Evidence] confirmations, collected and written by package applier
//	Serving             [Door]     the endpoint's own certificate, and the links of the record
//
// # What costs how much
//
// A view is made anew when the branch has moved, and shares with the one before all that Git
// names by the same hash: documents are composed again only if a file outside of devices/ and
// anchors/ has changed, a device's file is read again only if it has changed itself. A view
// never changes, so that decisions are taken from one moment's fleet without a lock.
//
// # What devices are told to trust
//
// The anchors of the record in Git: every key of the root above the group's issuer that came
// to be and is not retired, and those of the bundles that hold that root. The record knows a
// new key before anything is signed with it and an old one until nothing needs it, so that
// what devices are told is never less than what servers may show. What is compromised is not
// served from the commit on that says so.
package service
