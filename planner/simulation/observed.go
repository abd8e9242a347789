package simulation

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// FromObserved makes the world that was seen, at the time now, with twins for all
// certificates: see [Twins]. Git declares the last of the desired, by the originals'
// certificates; the others are what it declared before or will declare. Who depends on whom
// is what all of them say together, the first of them where they differ.
//
// What was not seen is assumed, and rather worse than better:
//
//   - a pod that is not known to have loaded an anchor since it was distributed verifies
//     without it, and one that is not known to have loaded its leaf anew presents one that
//     another key of the authority has signed;
//   - a Secret that somebody else makes holds the key that Git says, or what its issuer was
//     seen to sign with, unless that says that it is not there;
//   - every device comes by at once;
//   - a bundle that was not looked at gets copies in all namespaces in which others have one.
//
// The first observation of the world plans as what was observed does.
func FromObserved(seed uint64, observed planner.Observed, now time.Time, desired ...planner.Desired) (*World, *Twins) {
	twins := newTwins()
	twins.knowObserved(observed)
	for _, d := range desired {
		twins.knowDesired(d)
	}
	twins.makeKnown()
	w := New(seed, twins.Desired(desired[len(desired)-1]), Users{})
	w.Now, w.keySpace = now, "another "
	b := builder{World: w, twins: twins, observed: observed, given: givenIn(desired...)}
	w.inventory = inventory(twins, desired)
	for _, build := range []func(){b.keys, b.foreignSecrets, b.outsideIssuers, b.issuers, b.leaves, b.bundles, b.copies, b.workloads, b.devices, b.requested, b.references, b.probes, b.memory} {
		build()
	}
	return w, twins
}

// inventory is what all of them declare, the first of them where they differ.
func inventory(twins *Twins, all []planner.Desired) planner.Desired {
	var joined planner.Desired
	for _, desired := range all {
		desired = twins.Desired(desired)
		joined.Authorities = join(joined.Authorities, desired.Authorities, planner.AuthorityRef)
		joined.Bindings = join(joined.Bindings, desired.Bindings, planner.BindingRef)
		joined.Bundles = join(joined.Bundles, desired.Bundles, func(b v1alpha1.TrustBundle) planner.Ref { return planner.Ref{Name: b.Metadata.Name} })
	}
	return joined
}

func join[T any](to, from []T, ref func(T) planner.Ref) []T {
	for _, item := range from {
		if !slices.ContainsFunc(to, func(other T) bool { return ref(other) == ref(item) }) {
			to = append(to, item)
		}
	}
	return to
}

// builder makes a world of what was observed.
type builder struct {
	*World
	twins    *Twins
	observed planner.Observed
	given    []givenKey
	// needed are the twins of roots that leaves chain to, and of the CAs on the way there.
	needed map[pki.Fingerprint]bool
}

// keys are the Certificates of key pairs, their Secrets and internal issuers.
func (b *builder) keys() {
	for _, key := range b.observed.Keys {
		ref := planner.Ref{Namespace: key.Authority.Namespace, Name: planner.KeyObjectName(key.Authority.Name, key.Name)}
		target := planner.TargetKey{Authority: key.Authority, Name: key.Name, Secret: key.SecretName, Spec: key.Spec, Certificate: key.HasCertificate, Issuer: key.HasIssuer, ClusterIssuer: key.HasClusterIssuer}
		if key.HasCertificate {
			b.cas[ref] = &caObject{target: target, issued: b.twins.of(key.Certificate), unknown: key.Issued && key.Certificate.IsZero(), unrequested: key.Issued && !key.Requested, problem: key.Problem}
		}
		if key.HasIssuer || key.HasClusterIssuer {
			b.internal[ref] = &internalIssuer{
				target: target, cluster: key.HasClusterIssuer, generation: key.Generation,
				canary: b.twins.canary(key.Canary), proof: b.twins.canary(key.Proof), silent: !key.SecretSeen && !key.SecretGone,
			}
		}
		switch held := b.heldBy(key); {
		case key.SecretGone || key.SecretName != "":
		case !held.IsZero() || key.SecretSeen || key.Issued || key.Adopted:
			b.secrets[ref] = b.secretHolding(held, target)
		}
	}
}

// heldBy is the certificate of the key that its Secret holds, by what was seen of it: what
// was issued, or else what is remembered of it and what a canary was signed by.
func (b *builder) heldBy(key planner.Key) pki.Certificate {
	candidates := []pki.Certificate{key.Certificate}
	for _, recorded := range b.observed.Record.Keys {
		if recorded.Authority == key.Authority.Name && recorded.Name == key.Name {
			candidates = append(candidates, recorded.Certificate)
		}
	}
	for _, canary := range []planner.Canary{key.Canary, key.Proof} {
		if signer, known := b.signerOf(canary); known {
			return signer
		}
	}
	for _, candidate := range candidates {
		if !candidate.IsZero() {
			return candidate
		}
	}
	return pki.Certificate{}
}

func (b *builder) signerOf(canary planner.Canary) (pki.Certificate, bool) {
	if canary.State != planner.CanarySigned || canary.Certificate.IsZero() {
		return pki.Certificate{}, false
	}
	return b.twins.signer(canary.Certificate)
}

// secretHolding is the Secret of a key that holds a CA's twin; if it is not known which, a CA
// that nobody knows.
func (b *builder) secretHolding(held pki.Certificate, target planner.TargetKey) *caSecret {
	if held.IsZero() {
		return b.issueCA(target, b.newKey(), nil)
	}
	return b.secretOfCA(held)
}

// secretOfCA is the Secret of a CA's twin.
func (b *builder) secretOfCA(original pki.Certificate) *caSecret {
	twin := b.twins.of(original)
	secret := &caSecret{private: b.twins.keyOf(original), certificate: twin, root: twin}
	if original.SelfSigned() {
		return secret
	}
	above, root := b.twins.chain(original)
	secret.above, secret.root = append([]pki.Certificate{twin}, b.twins.all(above)...), b.twins.of(root)
	return secret
}

// foreignSecrets are those that somebody else makes: those that Git names, and those that an
// internal issuer still names, though Git has forgotten the key.
func (b *builder) foreignSecrets() {
	for _, given := range b.given {
		if given.key.Secret == nil {
			continue
		}
		ref, held := planner.Ref{Namespace: given.authority.Namespace, Name: given.key.Secret.Name}, given.original
		for _, seen := range b.observed.Keys {
			if seen.Authority != given.authority || seen.SecretName != ref.Name {
				continue
			}
			if seen.SecretGone {
				held = pki.Certificate{}
			} else if signer, known := b.signerOf(seen.Proof); known {
				held = signer
			}
		}
		if b.foreign[ref] = true; !held.IsZero() {
			b.secrets[ref] = b.secretOfCA(held)
		}
	}
	for _, seen := range b.observed.Keys {
		ref := planner.Ref{Namespace: seen.Authority.Namespace, Name: seen.SecretName}
		if seen.SecretName == "" || b.foreign[ref] {
			continue
		}
		if b.foreign[ref] = true; !seen.SecretGone {
			b.secrets[ref] = b.secretHolding(b.heldBy(seen), planner.TargetKey{Authority: seen.Authority, Name: seen.Name})
		}
	}
}

// outsideIssuers are what signs behind external issuers: with an intermediate, where the
// leaves that came from there have one. Behind one of a key that Git has forgotten it is what
// signed its leaves.
func (b *builder) outsideIssuers() {
	for _, given := range b.given {
		if given.key.Issuer != nil {
			b.outside[string(given.key.Issuer.Raw)] = b.behind(given)
		}
	}
	for _, issuer := range b.observed.Issuers {
		if issuer.Spec == "" || b.outside[issuer.Spec] != nil {
			continue
		}
		for _, given := range b.given {
			named := issuer.SignsWith == planner.TargetIssuer{Authority: given.authority, Key: given.key.Name}.SignsWith()
			if given.key.Issuer != nil && (named || sameJSON(issuer.Spec, string(given.key.Issuer.Raw))) {
				b.outside[issuer.Spec] = b.behind(given)
			}
		}
		if seen := b.seenBehind(issuer); b.outside[issuer.Spec] == nil && !seen.IsZero() {
			b.outside[issuer.Spec] = b.secretOfCA(seen)
		}
	}
}

// seenBehind is the CA that was seen to sign behind an issuer of a key that Git has forgotten:
// one that is none of the keys that are known. Zero if none was, or the issuer cannot sign.
func (b *builder) seenBehind(issuer planner.Issuer) pki.Certificate {
	for _, leaf := range b.observed.Leaves {
		if !issuer.Ready || leaf.Issuer != issuer.Ref || len(leaf.Chain) == 0 {
			continue
		}
		if signer, known := b.twins.signer(leaf.Chain[0]); known && !b.isOfKey(signer) {
			return signer
		}
	}
	return pki.Certificate{}
}

// isOfKey reports whether a CA is a key that is here or that Git gives, or one that such a key
// signed.
func (b *builder) isOfKey(ca pki.Certificate) bool {
	return slices.ContainsFunc(b.observed.Keys, func(k planner.Key) bool {
		return !k.Certificate.IsZero() && (ca.Equal(k.Certificate) || ca.SignedBy(k.Certificate))
	}) || slices.ContainsFunc(b.given, func(given givenKey) bool { return ca.Equal(given.original) || ca.SignedBy(given.original) })
}

func sameJSON(a, b string) bool {
	var left, right any
	if json.Unmarshal([]byte(a), &left) != nil || json.Unmarshal([]byte(b), &right) != nil {
		return false
	}
	x, _ := json.Marshal(left)
	y, _ := json.Marshal(right)
	return string(x) == string(y)
}

func (b *builder) behind(given givenKey) *caSecret {
	for _, leaf := range b.observed.Leaves {
		if len(leaf.Chain) > 1 && leaf.Chain[1].SignedBy(given.original) && leaf.Chain[0].SignedBy(leaf.Chain[1]) {
			return b.secretOfCA(leaf.Chain[1])
		}
	}
	return b.secretOfCA(given.original)
}

// issuers are those of bindings, and those that no binding names any more.
func (b *builder) issuers() {
	for _, seen := range b.observed.Issuers {
		if !seen.Exists {
			continue
		}
		b.World.issuers[seen.Ref] = &issuer{
			secretName: seen.SecretName, spec: seen.Spec, signsWith: seen.SignsWith, authority: b.boundTo(seen), foreign: !seen.Ours,
			generation: seen.Generation, canary: b.twins.canary(seen.Canary), proof: b.twins.canary(seen.Proof),
		}
	}
}

// boundTo is the authority that an issuer is bound to, or whose key it signs with.
func (b *builder) boundTo(seen planner.Issuer) planner.Ref {
	for _, key := range b.observed.Keys {
		if seen.SecretName != "" && seen.SecretName == cmp.Or(key.SecretName, planner.KeyObjectName(key.Authority.Name, key.Name)) {
			return key.Authority
		}
	}
	return b.authorityOf(&leaf{issuer: seen.Ref})
}

// leaves are presented as they were seen.
func (b *builder) leaves() {
	for _, seen := range b.observed.Leaves {
		l := &leaf{
			ref: seen.Ref, issuer: seen.Issuer, secret: seen.SecretName, foreign: seen.Foreign, issuing: seen.Issuing, unknown: seen.Unknown,
			withoutCA: seen.WithoutCA, failedAt: seen.FailedAt, problem: seen.Problem, chain: b.twins.all(seen.Chain),
		}
		if len(seen.Chain) > 0 {
			top := seen.Chain[len(seen.Chain)-1]
			_, root := b.twins.chain(top)
			if top.SelfSigned() {
				root = top
			}
			l.root = b.twins.of(root)
			l.life = seen.Chain[0].NotAfter().Sub(seen.Chain[0].NotBefore())
			l.renews = b.renewal(seen.Chain[0])
		}
		l.family = b.familyByChain(l)
		b.World.leaves[leafKey(seen)] = l
	}
}

// leafKey tells a CertificateRequest from a Certificate of its name.
func leafKey(seen planner.Leaf) planner.Ref {
	if seen.SecretName == "" {
		return planner.Ref{Namespace: seen.Ref.Namespace, Name: seen.Ref.Name + " (a CertificateRequest)"}
	}
	return seen.Ref
}

// renewal is when cert-manager renews what it has not renewed yet.
func (b *builder) renewal(original pki.Certificate) time.Time {
	usual := original.NotAfter().Add(-original.NotAfter().Sub(original.NotBefore()) / 3)
	if left := original.NotAfter().Sub(b.Now); !usual.After(b.Now) {
		return b.Now.Add(left / 2)
	}
	return usual
}

// familyByChain is the root authority of a leaf: the one that its issuer is bound to, or
// else the one whose key is at the top of its chain.
func (b *builder) familyByChain(l *leaf) planner.Ref {
	if bound := b.authorityOf(l); bound != (planner.Ref{}) {
		return b.rootOf(bound)
	}
	for _, ref := range sortedKeys(b.cas) {
		if ca := b.cas[ref]; !l.root.IsZero() && ca.issued.Fingerprint() == l.root.Fingerprint() {
			return b.rootOf(ca.target.Authority)
		}
	}
	for _, given := range b.given {
		if b.twins.of(given.original).Fingerprint() == l.root.Fingerprint() {
			return b.rootOf(given.authority)
		}
	}
	return planner.Ref{}
}

// bundles are trust-manager's as they stand; of others the copies tell.
func (b *builder) bundles() {
	for _, standing := range b.observed.Bundles {
		standing.Anchors, standing.Certificates = b.twins.anchors(standing.Anchors), b.twins.anchors(standing.Certificates)
		if cmp.Or(standing.Via, v1alpha1.DefaultVia) != v1alpha1.ViaBundle {
			b.loose[standing.Name] = planner.Bundle{Target: standing.Target, Certificates: standing.Certificates, UseDefaultCAs: standing.UseDefaultCAs}
			continue
		}
		b.World.bundles[standing.Name] = standing
		if standing.Seen {
			b.seen[standing.Name] = standing.Anchors
		}
	}
}

// copies are where they were looked for, and hold what they were seen to hold.
func (b *builder) copies() {
	b.places = map[string][]copyID{}
	var namespaces []string
	for _, seen := range b.observed.Copies {
		id := copyID{seen.Bundle, seen.Namespace, seen.Secret}
		b.places[seen.Bundle] = append(b.places[seen.Bundle], id)
		namespaces = append(namespaces, seen.Namespace)
		if !seen.Missing {
			b.World.copies[id] = &bundleCopy{
				via: b.writerOf(seen.Bundle), anchors: b.twins.anchors(seen.Anchors), digest: seen.Digest, revision: seen.Revision,
				problem: seen.Problem, unselected: seen.Unselected,
			}
		}
	}
	for _, places := range b.places {
		slices.SortFunc(places, copyID.compare)
	}
	slices.Sort(namespaces)
	b.namespaces = slices.Compact(namespaces)
}

// writerOf is who writes the copies of a bundle.
func (b *builder) writerOf(bundle string) v1alpha1.BundleVia {
	for _, standing := range b.observed.Bundles {
		if standing.Name == bundle {
			return cmp.Or(standing.Via, v1alpha1.DefaultVia)
		}
	}
	for _, declared := range b.inventory.Bundles {
		if declared.Metadata.Name == bundle {
			return cmp.Or(declared.Spec.Via, v1alpha1.DefaultVia)
		}
	}
	return v1alpha1.DefaultVia
}

// devices are counted as they were, until they come by.
func (b *builder) devices() {
	for _, seen := range b.observed.Ledger {
		seen.Keys = slices.Clone(seen.Keys)
		for i := range seen.Keys {
			seen.Keys[i].Key = b.twins.fingerprint(seen.Keys[i].Key)
		}
		b.ledger = append(b.ledger, seen)
	}
}
