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
//	anchor-changed          What trust hangs on is as planned: the anchors, the public CAs and
//	                        the target of every Bundle, the copies that reanchor writes
//	                        itself, the CA Certificates and whom each is pinned to, the
//	                        issuers with their Secrets or the whole spec of an external one,
//	                        and the annotations by which the next turn knows what they hold;
//	                        and nothing else writes to the same Secrets and ConfigMaps, or
//	                        signs with the same keys. It warns of a Certificate that makes
//	                        the Secret of a key from elsewhere and renews it by itself.
//	bundle-too-large        A bundle fits into a ConfigMap.
//	intermediate-in-bundle  Every planned anchor is self-signed. It only warns: an
//	                        intermediate that somebody put into a Bundle by hand stops
//	                        nothing, and one that an overlay adds is an anchor-changed.
//	ca-outlives-leaves      No Certificate, an intermediate's included, asks for a longer
//	                        life than the CA that signs it has.
//
// # What an overlay may change
//
// Labels and annotations, those of the copies included; where an issuer's certificates
// point to for revocation; what a CA Certificate writes beside the key. Not the server,
// path or account of an external issuer, and not a keystore's password: what says who
// signs and whom to trust changes in the documents, where the planner sees it. (An overlay
// of documents, a kustomization on top of a base, is such a change.)
//
// # Keys from elsewhere
//
// The Secret of such a key is made by somebody else: External Secrets, a CSI driver, or a
// cert-manager Certificate that stands in Git beside the documents. That may refer to any
// issuer. A Secret of that name in Git is refused, even an empty one, since whoever
// applies it owns it.
//
// The package is pure: no clock, no files, no cluster. Equal input gives equal
// output, in order of rule, subject and message.
package policies
