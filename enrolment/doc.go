// Package enrolment is the device's side of registration: it makes a key, gets a certificate
// for it from a registration endpoint of reanchor, tells what it trusts, and keeps all of that
// current, rollovers included. It needs the standard library, package pki and a reader of
// PKCS#7, and nothing of Kubernetes or Git.
//
//	device, err := enrolment.Open(enrolment.Options{
//		Server: "https://register.example.com:8443", Group: "sensors", Folder: "/var/lib/sensor",
//		Anchors: fromTheFactory, Bootstrap: factoryCertificate,
//		DNSNames: []string{"{{ .ID }}.sensors.example"}, Clock: time.Now,
//	})
//	…
//	err = device.Run(ctx)
//
// # What lies on disk
//
//	key.pem          the private key, made here, PKCS#8, for its owner alone; it never leaves
//	certificate.pem  the certificate and the intermediates that follow it
//	anchors.pem      the roots to trust, sorted
//	loaded           what [Options.Load] has succeeded for
//	group            the device's group, where the server told it and not [Options.Group]
//
// Each file is written beside its place, synced and renamed into it: after a crash there is the
// old content or the new one. Where the file system has no hard links the key alone is written
// in its place, the first time: what a crash leaves of it is empty, and made anew. Other software reads the first three as they are.
//
// # What it does, and why in this order
//
// The key is on disk before the first request leaves. The endpoint registers a key once,
// however often it is asked: who crashed before the answer asks again with the same key, and
// gets the certificate that was issued meanwhile.
//
// Each visit ([Device.Visit]) then takes four steps:
//
//	1 anchors      fetch the trust bundle, store it
//	2 certificate  fetch another one, if the server has another or the own one is due
//	3 load         have the device's own software take both ([Options.Load])
//	4 confirm      tell the hash of the bundle; shake hands with the proof name
//
// Anchors are those of the device's group, and asked for by its name: a server that does not know
// the device yet tells who names none the roots of all groups. So where it is not known a device
// first asks for a certificate, or after itself, and takes from the answer which group it is of.
//
// Anchors come before certificates, since a certificate is stored only if it chains to the
// anchors held: one by the new root is no use to a device that does not trust that yet. Loading
// comes before confirming: a rollover lets the new key sign once everybody has confirmed it, and
// what was confirmed and not loaded is the outage that it waits to avoid. A step that a person
// has to see to does not keep the others from being taken: a bundle that is wrong does not keep
// a certificate from being renewed.
//
// In a rollover the anchors go from old to old and new, the certificate to the new key, and
// the anchors to new alone, as the server tells at each visit.
//
// # What is believed
//
// Server trust is exactly the anchors held, at each connection anew; the system's roots are not
// looked at, redirects are not followed, and answers are bounded. A device that was away for a
// whole rollover holds the old root alone: the server's chain carries the link certificate, by
// which the new root's key verifies with the old one. If the device's own certificate is not
// accepted any more either, its factory certificate gets it the newest one, for the key that
// it has.
//
//   - A bundle is taken only if it is whole (its hash is its ETag), holds CAs alone, and the
//     server's own chain on this very connection verifies with it: after it was stored, the
//     device can come back. So anchors never shrink to nothing.
//   - A certificate is taken only if it is for the device's key and its id, is no CA's, has not
//     ended, is not older than the one held, and chains to the anchors held. Until such a one is
//     on disk the last one stays.
//
// Whatever a server says, no more is changed than these rules let through.
//
// # Time
//
// A visit comes each [Options.Interval], and when [Options.RenewAt] of the certificate's life
// has passed; all waits are jittered, so that a fleet does not come at once. What fails is tried
// again after Retry-After, or after 5 s, 10 s, 20 s and so on up to the interval. Clock, jitter
// and waiting are [Options], so that tests need no time.
package enrolment
