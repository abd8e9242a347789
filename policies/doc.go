// Package policies says what must never be. [Check] looks at a plan and the final
// manifests, overlay included, after they are rendered and before anything is
// written; [CheckFile] looks at the files of a repository as they are pulled. A
// violation that denies stops the turn.
//
//	violations := policies.Check(plan, manifests)
//	if denied := policies.Denied(violations); len(denied) > 0 {
//		return fmt.Errorf("the overlay is refused: %v", denied)
//	}
//
// # Rules
//
//	private-key             No private key stands in Git: not as PEM, PKCS#8, PKCS#12 or
//	                        Java keystore, not in base64, not in a Secret. What is found
//	                        is named and located, never shown.
//	anchor-changed          What trust hangs on is as planned: the anchors and the target
//	                        of every Bundle, the CA Certificates and whom each is pinned
//	                        to, the issuers; and nothing else writes to the same Secrets
//	                        and ConfigMaps.
//	intermediate-in-bundle  Every planned anchor is self-signed. It only warns: an
//	                        intermediate that somebody put into a Bundle by hand stops
//	                        nothing, and one that an overlay adds is an anchor-changed.
//	ca-outlives-leaves      No Certificate, an intermediate's included, asks for a longer
//	                        life than the CA that signs it has.
//
// The package is pure: no clock, no files, no cluster. Equal input gives equal
// output, in order of rule, subject and message.
package policies
