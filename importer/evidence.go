package importer

import (
	"slices"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// A leaf is what an issuer signed, and who holds it.
type leaf struct {
	// subject as in "Certificate plant/press".
	subject string
	chain   []pki.Certificate
	// ca that came with it as its root; zero if none did.
	ca pki.Certificate
}

// evidence is which certificates there are, and who was signed by whom.
type evidence struct {
	issued applier.Issued
	// leaves by the issuer that they refer to, newest first.
	leaves map[planner.Ref][]leaf
	// cas are all certificates of CAs that were seen, each once.
	cas pki.Anchors
}

func newEvidence(seen Seen) evidence {
	e := evidence{issued: applier.NewIssued(seen.Requests), leaves: map[planner.Ref][]leaf{}}
	e.readCertificates(seen)
	for _, request := range e.issued.Others() {
		if signed := read(request.Status.Certificate); len(signed) > 0 && isSigned(request) && !seen.Now.After(signed[0].NotAfter()) {
			e.add(request.Namespace, request.Spec.IssuerRef, leaf{"CertificateRequest " + request.Namespace + "/" + request.Name, signed, first(read(request.Status.CA))})
		}
	}
	for _, leaves := range e.leaves {
		slices.SortStableFunc(leaves, func(a, b leaf) int { return b.chain[0].NotBefore().Compare(a.chain[0].NotBefore()) })
	}
	e.gatherCAs(seen)
	return e
}

// readCertificates takes what every Certificate was issued last, if that is known.
func (e *evidence) readCertificates(seen Seen) {
	roots := map[pki.Fingerprint]pki.Certificate{}
	for _, request := range seen.Requests {
		if signed := read(request.Status.Certificate); len(signed) > 0 {
			roots[signed[0].Fingerprint()] = first(read(request.Status.CA))
		}
	}
	for i := range seen.Certificates {
		certificate := &seen.Certificates[i]
		if chain, _ := e.issued.Chain(certificate); len(chain) > 0 {
			e.add(certificate.Namespace, certificate.Spec.IssuerRef, leaf{"Certificate " + certificate.Namespace + "/" + certificate.Name, chain, roots[chain[0].Fingerprint()]})
		}
	}
}

func (e *evidence) add(namespace string, ref certmanagermeta.IssuerReference, signed leaf) {
	by := applier.IssuerOf(namespace, ref)
	e.leaves[by] = append(e.leaves[by], signed)
}

// gatherCAs collects the certificates of CAs wherever they stand in public.
func (e *evidence) gatherCAs(seen Seen) {
	var found []pki.Certificate
	for _, request := range seen.Requests {
		found = append(found, read(request.Status.Certificate)...)
		found = append(found, read(request.Status.CA)...)
	}
	for _, configMap := range seen.ConfigMaps {
		for _, text := range configMap.Data {
			found = append(found, read([]byte(text))...)
		}
	}
	for i := range seen.Bundles {
		if bundle, err := applier.ReadBundle(&seen.Bundles[i]); err == nil {
			found = append(found, bundle.Anchors...)
		}
	}
	for _, pem := range seen.Secrets {
		found = append(found, read(pem)...)
	}
	e.cas = pki.NewAnchors(slices.DeleteFunc(found, func(c pki.Certificate) bool { return !c.IsCA() })...)
}

// signerOf is the CA that signed what a leaf presents first; zero if it is not known.
func (e *evidence) signerOf(signed leaf) pki.Certificate {
	candidates := slices.Clone(signed.chain[1:])
	if !signed.ca.IsZero() {
		candidates = append(candidates, signed.ca)
	}
	return signerAmong(signed.chain[0], slices.Concat(candidates, e.cas))
}

// signerAmong is the first of the CAs that signed a certificate; zero if none did.
func signerAmong(signed pki.Certificate, cas []pki.Certificate) pki.Certificate {
	at := slices.IndexFunc(cas, func(ca pki.Certificate) bool { return !ca.Equal(signed) && ca.IsCA() && signed.SignedBy(ca) })
	if at < 0 {
		return pki.Certificate{}
	}
	return cas[at]
}

// strays are the leaves of issuers that another key than the one given has signed.
func (e *evidence) strays(issuers []issuer, ca pki.Certificate) (strays []string, all int) {
	for _, by := range issuers {
		for _, signed := range e.leaves[by.Ref] {
			if all++; !signed.chain[0].SignedBy(ca) {
				strays = append(strays, signed.subject)
			}
		}
	}
	slices.Sort(strays)
	return strays, all
}

// outliving counts the leaves of issuers that end after a CA does.
func (e *evidence) outliving(issuers []issuer, ends time.Time) int {
	n := 0
	for _, by := range issuers {
		for _, signed := range e.leaves[by.Ref] {
			if signed.chain[0].NotAfter().After(ends) {
				n++
			}
		}
	}
	return n
}

// read reads PEM; none if there is anything but certificates in it.
func read(pem []byte) []pki.Certificate {
	certificates, err := pki.ParsePEM(pem)
	if err != nil {
		return nil
	}
	return certificates
}

func first(certificates []pki.Certificate) pki.Certificate {
	if len(certificates) == 0 {
		return pki.Certificate{}
	}
	return certificates[0]
}

func isSigned(request *certmanagerv1.CertificateRequest) bool {
	return slices.ContainsFunc(request.Status.Conditions, func(c certmanagerv1.CertificateRequestCondition) bool {
		return c.Type == certmanagerv1.CertificateRequestConditionReady && c.Status == certmanagermeta.ConditionTrue
	})
}
