// Package applier is the only one that touches the cluster: it observes, applies,
// prunes and acts. It decides nothing; what to do comes from package planner.
//
// # Observe
//
// [Observer.Look] fills a planner.Observed with one list for each kind, never a
// request for each object, and without reading any Secret but the copies of bundles that
// are to be Secrets:
//
//	planner.Observed   seen in
//	Keys               Certificates; internal issuers, their Ready condition and canaries
//	Links              CertificateRequests with the label of a link
//	References         the objects that spec.references names, each by a get
//	Issuers            Issuers and ClusterIssuers; canary CertificateRequests
//	Leaves             Certificates; CertificateRequests, theirs and nobody's
//	Bundles, Copies    trust-manager Bundles; namespaces; ConfigMaps and Secrets with the
//	                   name of a bundle, one list for each name
//	Workloads          pod templates and pods
//
// A bundle has copies whoever writes them, and a standing bundle says who does:
//
//	planner.Bundle.Via   stands if there is            a copy is
//	Bundle               the Bundle                    what bears trust-manager's label
//	ConfigMap            a copy with our labels        what bears our labels
//	Observed             a copy, by whomever           whatever has the name
//
// An object that has the name and is no copy is a planner.Copy with a Problem. A copy
// holds the anchors that all of its forms have in common: PEM, JKS and PKCS#12.
//
// Beside it stands what is foreign: objects that the repository names and that belong to
// another TrustDomain, which exists ([Foreign]).
//
// Its reader is the manager's cache or the API server itself; the code is the same.
// What the server forbids to list, or does not serve, is an entry of Unknown and
// never an empty list; so is a Bundle that can be read in part only. Every other
// failure, be it that the server is busy, ends the observation with an error.
//
// What a Certificate was issued is known only if the CertificateRequest of its
// status.revision is still there and its certificate has the dates of the
// Certificate's status. Everything else is "unknown", with the reason.
//
// A key pair's objects are known by their labels, or by their names alone where Git
// names the key: of an intermediate, each of its keys under each key of its parent.
// Whatever else hangs on a key of ours is a leaf, be it a CA that somebody made through
// one of our issuers.
//
// # Apply and prune
//
// [Applier.Apply] sends, by server-side apply as field manager "reanchor", what
// differs from the live objects, one list for each kind, eight objects of one kind side
// by side. An object is left alone if it carries every desired field, all of them owned
// by us, and we own nothing else: so what the server adds by itself (defaults, status) is
// no difference.
//
// What somebody else owns is reported as a [Conflict] and not taken: a field of another
// manager, an object of another TrustDomain, a ConfigMap that reanchor did not make in the
// place of a bundle's copy. Whose an object is, is looked up before it is made or taken
// over; [Claims] let no other domain of the process do so in between.
//
// What carries the domain's labels and is not among the manifests is pruned, but not in a
// turn in which one of them could not be applied. A dry run (Options.DryRun) goes the same
// way, asks for no owner and sends nothing.
//
// [Applier.Compare] says for people what would change, object by object, by reading alone:
// of a live object what the manifest has, and what we own and it has no more.
//
// # Act
//
// [Applier.Act] does what no manifest can say. Doing it twice does no harm.
//
//	Prove         a CertificateRequest through an issuer, a binding's or a key's own,
//	              with a key that is thrown away at once: the answer shows which key
//	              really signs
//	Link          the request of a new root once more, through the internal issuer of an
//	              old one; Unlink deletes it when the link is on record
//	Reissue       the Issuing condition, as "cmctl renew" sets it
//	Restart       two annotations on a pod template
//	Repoint       one field of an object of another operator, tested before it is replaced
//	DeleteSecret  by name, unread
//
// # Example
//
//	claims := &applier.Claims{} // one for all domains
//	observer := &applier.Observer{Reader: manager.GetClient(), APIReader: manager.GetAPIReader()}
//	seen, err := observer.Look(ctx, domain, desired, gates)
//	…                           // nothing may be written while there is seen.Foreign
//	hand := &applier.Applier{Reader: manager.GetClient(), Writer: manager.GetClient(), Claims: claims}
//	result, err := hand.Apply(ctx, domain, manifests, applier.Options{Prune: true, Kinds: kinds})
//	outcomes, err := hand.Act(ctx, domain, plan.Actions, now)
//
// The cache behind the manager's client is prepared by [IndexCopies].
//
// The permissions that all this needs are those in config/rbac, and no others; bundles in
// Secrets need its component bundle-secrets, references its component references.
package applier
