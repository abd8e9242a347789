// Package importer describes a cluster that already runs: it writes the repository that
// would have made it, for a person to read, commit and let reanchor take over.
//
//	seen, err := importer.Gather(ctx, reader, importer.Options{Now: now})
//	repository, left := importer.Describe(seen)
//	…                            // write repository.Files, print the rest
//
// Nothing in the cluster is changed. What [Describe] writes is made so that the first turn
// over it changes nothing either, but for labels and annotations on the issuers and Bundles
// that it takes over, and canary CertificateRequests that prove who signs.
//
// # What becomes what
//
//	in the cluster                             in the repository
//	a CA's Secret that issuers sign with       Authority, its key with secret and certificate
//	an issuer of Vault, Venafi or ACME         Authority, its key with issuer and certificate
//	a root of which only the certificate is    Authority, its key with the certificate alone
//	there
//	Issuer, ClusterIssuer                      IssuerBinding of the same name, to be adopted
//	Bundle whose anchors stand inline          TrustBundle of the same name, to be adopted
//	Bundle that reads Secrets or ConfigMaps,   TrustBundle with via: Observed, if it holds an
//	or that Helm, Flux or Argo CD writes       anchor of an Authority
//	ConfigMaps of one name that people made    TrustBundle with via: Observed, if they hold one
//	Certificates of leaves, and those that     nothing: they stay as they are, found by the
//	make a CA's Secret                         issuers that they refer to
//
// An intermediate is an Authority with issuedBy. Its root is the Authority of which the key
// is here, or one that the certificate alone makes, if the certificate is found anywhere: in
// a bundle, a ConfigMap, or beside what was signed.
//
// # What is left
//
// What would not stay as it is, or of which it is not known what it is, is not described but
// told of, as [Left]: why, and what a person can do about it. Among it are CAs that change
// their key by themselves, that have ended, that share a subject, whose root is nowhere, or
// of whose leaves some chain to another key: at the first turn these would be issued anew.
//
// # Secrets
//
// Public certificates are read from CertificateRequests, Certificates' status, Bundles and
// ConfigMaps. Secrets are read only if the caller says so ([Options].ReadSecrets), those
// alone that CA issuers sign with, and of each nothing is kept but tls.crt.
package importer
