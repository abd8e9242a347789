// Package policies says what must never be. [Check] looks at a plan, the final manifests,
// overlay included, and the documents, after they are rendered and before anything is
// written; [CheckFile] looks at the files of a repository as they are pulled, and
// [Rules.CheckRequest] at a device's request. A violation that denies stops what was to be
// done.
//
//	violations := policies.Check(policies.Input{Plan: plan, Manifests: manifests, Documents: documents, Now: now})
//	if denied := policies.Denied(violations); len(denied) > 0 {
//		return fmt.Errorf("denied: %v", denied)
//	}
//
// # Built-in rules
//
// [BuiltIn] lists them, with their severities. Nobody is exempt from those that are marked
// with a star.
//
//	private-key *           No private key stands in Git: not as PEM, PKCS#8, PKCS#12 or
//	                        Java keystore, not in base64, not in a Secret. What is found
//	                        is named and located, never shown.
//	anchor-changed *        What trust hangs on is as planned: the anchors, the public CAs and
//	                        the target of every Bundle, the copies that reanchor writes
//	                        itself, the CA Certificates and whom each is pinned to, the
//	                        issuers with their Secrets or the whole spec of an external one,
//	                        and the annotations by which the next turn knows what they hold;
//	                        and nothing else writes to the same Secrets and ConfigMaps, or
//	                        signs with the same keys. It warns of a Certificate that makes
//	                        the Secret of a key from elsewhere and renews it by itself.
//	anchor-unpinned         A Bundle beside the documents has its anchors inline.
//	intermediate-in-bundle  Every planned anchor is self-signed. It only warns: an
//	                        intermediate that somebody put into a Bundle by hand stops
//	                        nothing, and one that an overlay adds is an anchor-changed.
//	bundle-too-large *      A bundle fits into a ConfigMap.
//	ca-outlives-leaves      No Certificate, an intermediate's included, and no device group
//	                        asks for a longer life than the CA that signs it has.
//	ca-lifetime             A CA lives 30 years at most.
//	leaf-lifetime           A leaf lives 398 days at most.
//	overlap-too-short       What is left of a key that gives way covers the rollover.
//	weak-key                RSA has 2048 bits at least, in a CA 3072; nothing lies on P-224;
//	                        and no key is weaker than the one that it takes over from.
//	weak-signature          No certificate is signed with SHA-1, MD5 or DSA.
//	path-length             No intermediate hangs deeper than its CAs allow.
//	name-constraint         A leaf's names lie within the constraints of its CAs.
//	leaf-is-ca              No leaf of ours could sign certificates.
//	wildcard-name           No device group has a wildcard; a Certificate had better not.
//	shared-name             Each DNS name of a device group contains the device's id.
//	foreign-name            DNS names lie in the domains that the team lists.
//	authority-in-use *      No key goes while a leaf that it signed lives.
//	mass-deletion           No turn takes out more than a fifth of the devices.
//	key-name-reused *       A key's name stands for one key for ever.
//	no-soak                 In production a rollover has soak and skew.
//	policy *                The policies compile; none of their exemptions has ended.
//
// A certificate that Git gives is denied where one that stands already is warned of: what
// stood before a rule was made must not stop a whole domain.
//
// # Rules of the team's own
//
// A Policy document has expressions in CEL (https://cel.dev) that must be true of every
// document or manifest of some kinds, of the plan, or of a device's request. [Compile]
// checks them; a field that is not there, or a value of the wrong type, is told as a
// violation when the rule is applied, and never passes in silence.
//
//	kinds            variables
//	any but …        object, as it stands in Git or is to be applied; plan (planner.Plan
//	                 as JSON); now (timestamp)
//	Plan             object and plan, the same
//	DeviceRequest    object (Request); group, the DeviceGroup; now
//
//	function              yields
//	certificate(text)     the one Certificate in a PEM text
//	certificates(text)    all of them
//	request(text)         the Request, a CSR, in a PEM text
//
// The fields of [Certificate] and [Request] are known when an expression is compiled; those
// of objects are not. Beside them there are CEL's own extensions for texts, lists, sets,
// addresses (ip, cidr), regular expressions, base64, optional values and bindings. An
// expression costs at most so much, estimated when it is compiled and counted when it runs.
//
// # Exemptions
//
// A Policy may let somebody off a rule, for a reason and up to a day. The violation is told
// as a warning then, with the reason. After that day it counts again, and the exemption
// itself is warned of.
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
