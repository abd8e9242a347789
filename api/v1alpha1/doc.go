// Package v1alpha1 holds the nouns of reanchor: the documents that stand in Git
// and the one object that stands in the cluster.
//
// # Documents
//
// An [Authority] is one certificate authority through all its keys, an
// [IssuerBinding] a cert-manager issuer that always signs with the authority's
// signing key, a [TrustBundle] the anchors that clients hold. They are files, not
// custom resources: they are read from a Git snapshot, decoded strictly by
// [Decode] (an unknown field is an error that names file, line and field), checked
// against each other by [Validate], and described to editors by the JSON Schemas
// in the folder schemas.
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
// A field that the program does not enforce is refused, never accepted and
// ignored. All that is wrong comes back at once, as an [ErrorList] of lines such as
//
//	authorities/root.yaml:7: spec.privatKey: unknown field; did you mean "privateKey"?
//
// A file is read like this:
//
//	documents, err := v1alpha1.Decode("authorities/root.yaml", data)
//	…
//	invalid, warnings := v1alpha1.Validate(documents, v1alpha1.DefaultClusterResourceNamespace)
//	if err := invalid.Err(); err != nil {
//		return err
//	}
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
