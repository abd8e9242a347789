package simulation

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// linkRequest is the CertificateRequest of a link certificate: the request of a new root,
// sent through the internal issuer of an old one.
type linkRequest struct {
	authority  planner.Ref
	key, under string
	issuer     planner.Ref
	root       pki.Certificate // that the request was made for first
	until      time.Time
	at         time.Time
	signed     pki.Certificate
	problem    string
}

// linkSerials is where the serial numbers of links begin: other certificates are what they
// would be without links.
const linkSerials = 1 << 40

// askForLink sends the request of a new root's Certificate through an internal issuer. A
// request that cert-manager has refused makes way for the new one.
func (w *World) askForLink(action planner.Action) {
	ca, internal := w.cas[action.Subject], w.internal[action.Issuer]
	if ca == nil || ca.issued.IsZero() || internal == nil {
		return
	}
	request := &linkRequest{
		authority: ca.target.Authority, key: ca.target.Name, under: internal.target.Name,
		issuer: action.Issuer, root: ca.issued, until: action.Until, at: w.Now,
	}
	for _, name := range sortedKeys(w.links) {
		if other := w.links[name]; other.key == request.key && other.issuer == request.issuer {
			delete(w.links, name)
		}
	}
	w.linksAsked++
	w.links[planner.Ref{Namespace: action.Subject.Namespace, Name: fmt.Sprintf("link-%d", w.linksAsked)}] = request
}

// answerLinks signs what links ask for, with whatever key the issuer names now; cert-manager
// refuses one that is Stuck: "link 2026".
func (w *World) answerLinks() {
	for _, name := range sortedKeys(w.links) {
		request := w.links[name]
		signer := w.secretOf(request.issuer)
		switch {
		case w.internal[request.issuer] == nil:
			delete(w.links, name) // its owner is gone
		case !request.signed.IsZero() || request.problem != "" || signer == nil || w.lazy():
		case w.Stuck["link "+request.key]:
			request.problem = "it was refused"
		default:
			request.signed = w.signLink(request, signer)
		}
	}
}

func (w *World) signLink(request *linkRequest, signer *caSecret) pki.Certificate {
	w.linksAsked++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(linkSerials + w.linksAsked),
		Subject:      request.root.X509().Subject,
		NotBefore:    w.Now,
		NotAfter:     request.until,
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage:     x509.KeyUsageCertSign,
		SubjectKeyId: request.root.SubjectKeyID(),
	}
	return create(template, signer.certificate.X509(), request.root.X509().PublicKey, signer.private)
}

func (w *World) observeLinks(observed *planner.Observed) {
	for _, name := range sortedKeys(w.links) {
		request := w.links[name]
		seen := planner.LinkRequest{
			Authority: request.authority, Key: request.key, Under: request.under, Name: name.Name, At: request.at,
			State: planner.CanaryPending, Certificate: request.signed, Problem: request.problem,
		}
		switch {
		case request.problem != "":
			seen.State = planner.CanaryFailed
		case !request.signed.IsZero():
			seen.State = planner.CanarySigned
		}
		observed.Links = append(observed.Links, seen)
	}
}

// linkWrites are the commits by which the record learns of links.
func (w *World) linkWrites(links []planner.RecordedLink) []write {
	var writes []write
	for _, link := range links {
		writes = append(writes, write{"record " + link.Path(), func() { w.noteLink(link) }, w.linkTold(link)})
	}
	return writes
}

func (w *World) noteLink(link planner.RecordedLink) {
	if link.Withdrawn {
		before := link
		before.Withdrawn = false
		delete(w.linkRecord, before.Path())
	}
	w.linkRecord[link.Path()] = link
}

// checkLinked is asked when a bundle is about to lose an anchor: whoever has slept since
// before the rollover knows that one alone, and a link lets him in.
func (w *World) checkLinked(bundle string, anchor pki.Certificate) {
	authority, from, to, linkable := w.successor(anchor)
	if !linkable || w.record == nil {
		return
	}
	if _, withdrawn := w.linkRecord[(planner.RecordedLink{Authority: authority.Metadata.Name, Key: to.target.Name, Under: from, Withdrawn: true}).Path()]; withdrawn {
		return
	}
	bridge := pki.Bridge(to.issued, w.linksInUse(), anchor, w.Now)
	if bridge == nil {
		w.violate(LinkBeforeRetire, "%s loses %s, and no link leads from %s to it", bundle, anchor, to.issued)
		return
	}
	w.eachLeafOf(planner.AuthorityRef(authority), func(who presenter, chain []pki.Certificate) {
		alone := pki.NewAnchors(anchor)
		if successors := pki.NewAnchors(to.issued); w.verify(chain, successors, digest(successors)) != nil {
			return // it is another root's
		}
		if err := pki.Verify(slices.Concat(chain, bridge), alone, w.Now); err != nil {
			w.violate(LinkBeforeRetire, "who knows %s alone refuses %s with the link: %v", anchor, who, err)
		}
	})
}

func (w *World) linksInUse() []pki.Certificate {
	var links []pki.Certificate
	for _, link := range w.linkRecord {
		if !link.Withdrawn {
			links = append(links, link.Certificate)
		}
	}
	return links
}

// successor is the key that signs in an anchor's place, if the anchor's key could sign it:
// its Secret is here and holds it, the other was made here later under a subject of its own,
// and nobody has said that no link is wanted.
func (w *World) successor(anchor pki.Certificate) (authority v1alpha1.Authority, from string, to *caObject, linkable bool) {
	for _, ref := range sortedKeys(w.internal) {
		secret := w.secretOf(ref)
		if secret == nil || !secret.certificate.Equal(anchor) {
			continue
		}
		for _, authority := range w.Desired.Authorities {
			if planner.AuthorityRef(authority) != w.internal[ref].target.Authority || authority.Spec.Rollover.Links == v1alpha1.LinksNone {
				continue
			}
			to, from := w.madeToSign(authority), w.internal[ref].target.Name
			if to != nil && !isStolen(authority, from) && to.issued.CommonName() != anchor.CommonName() && anchor.NotBefore().Before(to.issued.NotBefore()) {
				return authority, from, to, true
			}
		}
	}
	return authority, "", nil, false
}

// isStolen reports whether Git says of a key that it is compromised.
func isStolen(authority v1alpha1.Authority, name string) bool {
	return slices.ContainsFunc(authority.Spec.Keys, func(k v1alpha1.AuthorityKey) bool { return k.Name == name && k.State == v1alpha1.KeyCompromised })
}

// madeToSign is the key that shall sign, if it was made here and its request is there.
func (w *World) madeToSign(authority v1alpha1.Authority) *caObject {
	for _, key := range authority.Spec.Keys {
		ca := w.cas[planner.Ref{Namespace: authority.Metadata.Namespace, Name: planner.KeyObjectName(authority.Metadata.Name, key.Name)}]
		if key.State == v1alpha1.KeySigning && !key.Given() && ca != nil && !ca.issued.IsZero() {
			return ca
		}
	}
	return nil
}
