// Package admission decides who registers. It is pure: what a request shows of itself, what
// Git and the cluster held at one moment, and the time go in; a decision comes out.
//
//	chain ──Identify──▶ Caller ──┐
//	                             ├──Decide──▶ Decision: Existing | Register | Recover | Rekey
//	CSR ──────ParseRequest───────┘            or a Refusal: status, problem type, what to do
//
// # Who it is
//
// A device is who its certificate says, never who its request says. There are two kinds:
//
//   - a factory certificate, which chains to a bootstrap CA of a group: the device's id is the
//     part of it that the group's identity rule names ([Identity]);
//   - an operational certificate, which chains to an anchor of the fleet: the device is the one
//     that has its key ([Fleet.Holder]). Names do not count, so that another leaf of the same
//     CA, a broker's say, is nobody's.
//
// A certificate whose key a device had before (superseded) is refused for what it is, and so
// is one that has ended, of a blocked or of a retired device: the chain is verified here and
// not in the handshake, so that each gets its reason.
//
// # What it may ask
//
// cert-manager copies the subject, the SANs and the name constraints of a CSR into the
// certificate and checks no key size. So what a CSR asks must equal what the group derives
// from the id, exactly ([Derive]): the subject is CN=<id>, the SANs are the group's dnsNames
// and nothing else, usages are the group's or absent. A missing SAN is refused as a foreign
// one is.
//
// A device that shows its own certificate and keeps its key may keep its names as well, though
// the group derives others by now: nothing is written for it, and it is not to be cut off. It
// gets others with its next key.
//
// # What becomes of it
//
//	in Git              key of the CSR         shown by             decision
//	no such device      nobody's               factory              Register, as approval says
//	Active, no key yet  nobody's               factory              Register, it was listed by hand
//	Active              the device's           either               Existing: no commit
//	Active              nobody's               its own certificate  Rekey
//	Active              the device's, or none  the key before,      Existing: the answer to its Rekey
//	                    is asked for           given up by a Rekey  was lost, or told to come again;
//	                                                                403, event once the device was
//	                                                                seen with its present key
//	Active              nobody's               factory              Recover, while the quota lasts
//	Active              one that it had        either               403, event
//	any                 another device's       either               409, event
//	Blocked, Retired    any                    either               403
//
// Several groups may take one factory's certificates. A device that is blocked or retired in
// one of them is refused in all, and one that is registered in one is refused in the others
// (409) unless Git lists it there as well.
package admission
