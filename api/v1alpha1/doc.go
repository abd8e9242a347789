// Package v1alpha1 holds the nouns of reanchor: the documents that stand in Git
// and the one object that stands in the cluster.
//
// # Documents
//
// An [Authority] is one certificate authority through all its keys, an
// [IssuerBinding] a cert-manager issuer that always signs with the authority's
// signing key, a [TrustBundle] the anchors that clients hold; a [DeviceGroup] says
// which devices may register, a [Device] is one of them, a [Policy] a rule of the
// team's own. They are files, not custom resources: they are read from a Git
// snapshot, decoded strictly by [Decode] (an unknown field is an error that names file,
// line and field), checked against each other by [Validate], and described to editors by
// the JSON Schemas in the folder schemas.
//
//	apiVersion: reanchor.dev/v1alpha1
//	kind: Authority
//	metadata: {name: fleet-root, namespace: cert-manager}
//	spec:
//	  subject: {commonName: Fleet Root}
//	  keys:
//	  - {name: "2025", state: Retired}
//	  - {name: "2026", state: Signing}
//
// What the program does not enforce yet, a kind, a field or a value ([Unenforced]), is
// decoded and then refused by Validate, never accepted and ignored. All that is wrong
// comes back at once, as an [ErrorList] of lines such as
//
//	authorities/root.yaml:7: spec.privatKey: unknown field; did you mean "privateKey"?
//
// A file is read like this:
//
//	documents, err := v1alpha1.Decode("authorities/root.yaml", data)
//	…
//	invalid, warnings := v1alpha1.Validate(documents, v1alpha1.Site{})
//	if err := invalid.Err(); err != nil {
//		return err
//	}
//
// # Intermediates and their key pairs
//
// An authority that names another in issuedBy is an intermediate. It lists keys as a
// root does, and has a key pair for each of them under each key pair of its parent
// that came to sign: when the parent moves to a new key, the intermediate follows by
// itself with a new pair. A pair is named by its key and, after a dot, its parent's
// pair ([KeyUnder]), all the way up:
//
//	authority      issuedBy       keys in Git   key pairs
//	fleet-root                    2025, 2026    2025          2026
//	fleet-issuing  fleet-root     a             a.2025        a.2026
//	fleet-devices  fleet-issuing  x             x.a.2025      x.a.2026
//
// Objects, common names and the record carry the pair's name: the Secret
// fleet-issuing-a.2025, "Fleet Issuing a.2025", anchors/fleet-issuing/a.2025.pem. A
// parent signs for its own namespace, or for any if it lies in cert-manager's cluster
// resource namespace. Bundles name roots alone, and no CA is declared to live longer
// than the one that signs it.
//
// # Keys from elsewhere
//
// A key that says no more than name and state is made here, by cert-manager. Any other
// is known by the certificate that Git gives, and lies in a Secret that somebody else
// makes, stays behind an external issuer, or is never here ([AuthorityKey] has the
// table). Its certificate is its identity, so Validate holds it against everything that
// Git says: that it is a CA's, that a root's is self-signed and an intermediate's is
// signed by a key of its parent, that no other key has it, its Secret or its issuer, and
// that no two signers are mistaken for each other by their names. Such a key of an
// intermediate has one pair, under the key that signed it.
//
// # The object in the cluster
//
// A [TrustDomain] names the repository, how often to look at it and as whom to
// write; its status says what has been applied and why a rollover waits.
//
// The package imports no client, reads no file and no clock: equal input gives
// equal output.
//
// +kubebuilder:object:generate=true
// +groupName=reanchor.dev
package v1alpha1
