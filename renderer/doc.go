// Package renderer loads a domain's documents from a Git tree, and renders what
// the planner decided into manifests. Only this package knows kustomize.
//
//	loaded, err := renderer.Load(snapshot.FS(), "clusters/plant", renderer.Options{})
//	…                                          // plan with loaded.Desired
//	manifests, err := loaded.Render(plan.Target, planner.Ref{Namespace: "pki", Name: "plant"})
//
// # Load
//
// A domain's folder has an ordinary kustomization.yaml. [Load] walks what it
// reaches, and nothing else of the repository, before kustomize sees any of it:
//
//	clusters/plant/kustomization.yaml    the domain: lists, bases, patches
//	clusters/plant/*.yaml                documents of reanchor.dev/v1alpha1, and native manifests
//	clusters/plant/overlay/              a Component, applied over what is rendered
//	clusters/plant/devices/, anchors/    never composed
//	base/kustomization.yaml              reached as ../../base
//
// Refused by name, before a build, is whatever
//
//   - fetches: URLs, user@host:path, git::, github.com/…, ?ref=, repository//path,
//     in any field that kustomize reads from;
//   - escapes: absolute paths, paths out of the repository, files out of their
//     kustomization's folder, symbolic links;
//   - runs: Helm charts, generators, validators, transformers other than
//     kustomize's own;
//   - grows: files, trees, YAML aliases, nesting and repeated bases beyond
//     [Limits], and copies in JSON patches;
//   - would be ignored: openapi, since the renderer brings a schema of its own.
//
// What is left is composed in memory: one build at a time, its panics turned into
// errors. Documents are decoded strictly, as they are written and again as they
// are composed: a patch may complete a document, and an error has the file and the
// line where the document stands.
//
// # kustomize and the documents
//
// Three things that overlays do would break documents. A kustomization on top of
// every build, and a schema for our kinds, keep them whole:
//
//	an overlay sets       kustomize alone                      here
//	namespace             gives one to a binding of scope      bindings of the cluster, bundles,
//	                      Cluster, to bundles, ClusterIssuers  ClusterIssuers and kinds whose CRD
//	                                                           lies beside them get none
//	namePrefix, -Suffix   leaves the names in authority,       they follow, in every layer, and so do
//	                      authorities and issuedBy behind      the issuers of Certificates and Ingresses
//	a patch with keys     replaces the whole list              keys merge by name
//
// An issuer's name is followed by name alone: a Certificate that refers to an
// issuer outside of Git is renamed along if a binding has the same name.
//
// # Render
//
// A target becomes cert-manager's and trust-manager's objects:
//
//	planner.TargetKey       Certificate, Issuer   "<authority>-<key>", with the Secret of that name
//	                        Issuer                "<authority>-self-signed", while a Certificate is wanted
//	planner.TargetIssuer    ClusterIssuer, Issuer the binding's name
//	planner.TargetBundle    Bundle                the bundle's name; none without anchors
//
// Native manifests stand beside them as they are. The overlay is applied over all
// of it; it may change objects and add some, but not rename, move or remove what
// is rendered, for that is how reanchor finds it again. Every object bears the
// labels of its domain, on its own metadata only.
//
// Equal input gives equal manifests in equal order.
package renderer
