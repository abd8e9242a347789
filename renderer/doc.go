// Package renderer loads a domain's documents from a Git tree, and renders what
// the planner decided into manifests. Only this package knows kustomize.
//
//	record, err := renderer.LoadRecord(snapshot.FS(), "clusters/plant", renderer.Limits{})
//	loaded, err := renderer.Load(snapshot.FS(), "clusters/plant", renderer.Options{Record: record})
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
//	clusters/plant/anchors/              the record, see below; never composed
//	clusters/plant/devices/              never composed, see package inventory
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
//     [Limits], and copies in JSON patches; too large a file, or too long a list of
//     them, is refused before it is read;
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
// kustomize follows a name within one namespace; a binding's authority, and the
// parent of an intermediate, are followed into another one too.
//
// An issuer's name is followed by name alone: a Certificate that refers to an
// issuer outside of Git is renamed along if a binding has the same name.
//
// # The record
//
// [LoadRecord] reads what Git remembers of the keys that came to be, one certificate
// in a file:
//
//	anchors/fleet-root/2025.pem             a root's key
//	anchors/fleet-issuing/a.2025.pem        an intermediate's key a, under the root's 2025
//	anchors/fleet-root/retired/2024.pem     a key that was retired: its name is used up
//	anchors/README.md, .gitkeep             passed over, in any of these folders
//
// Anything else there is refused, all of it at once. [Load] takes the record for the
// names that are used up, and [Loaded.CheckRecord] holds the certificates against what
// the repository declares, at a time that the caller gives. Where a document gives the
// certificate of a key from elsewhere, and the record knows one of that name, both are one.
//
// # Render
//
// A target becomes cert-manager's and trust-manager's objects:
//
//	planner.TargetKey       Certificate, Issuer   "<authority>-<key pair>", with the Secret of that name
//	                        ClusterIssuer         of that name too, for intermediates in other namespaces
//	                        Issuer                "<authority>-self-signed", while a root's Certificate is wanted
//	  from elsewhere        Issuer, ClusterIssuer the same names, with the Secret that somebody else makes
//	planner.TargetIssuer    ClusterIssuer, Issuer the binding's name
//	  of an external key    ClusterIssuer, Issuer the binding's name, with the key's spec, and an annotation that names the key
//	planner.TargetBundle    Bundle                the bundle's name; none without anchors or public CAs
//	  via ConfigMap         ConfigMap             the bundle's name, in each of its namespaces; none without anchors
//
// A root's Certificate refers to the self-signed Issuer, an intermediate's to the
// internal issuer of the one key pair of its parent that shall sign it: moving a
// binding moves no CA.
//
// The copies of a bundle are made from one template, a ConfigMap in the namespace
// "reanchor-any-namespace", which the overlay sees in their place: kustomize takes a time
// that grows with the square of what it is given, and 500 namespaces cost what one does. An
// overlay may give it labels and annotations, and nothing else.
//
// Native manifests stand beside them as they are. The overlay is applied over all
// of it; it may change objects and add some, but not rename, move or remove what
// is rendered, for that is how reanchor finds it again. Every object bears the
// labels of its domain, on its own metadata only.
//
// [Loaded.EndState] is a target to render without a cluster, for a look at what a
// repository comes to before it is merged; [Loaded.Origin] tells where in it a
// manifest comes from.
//
// Equal input gives equal manifests in equal order.
package renderer
