package applier

import (
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Issued tells what Certificates were issued, from the CertificateRequests of a cluster:
// what an [Observer] goes by, for whoever has no domain yet.
type Issued struct{ requests requests }

// NewIssued takes all CertificateRequests of the cluster, which must not be changed
// afterwards.
func NewIssued(all []certmanagerv1.CertificateRequest) Issued { return Issued{newRequests(all, true)} }

// Chain is what a Certificate was issued last, the leaf first, or why that is not known.
// Neither means that nothing has been issued.
func (i Issued) Chain(certificate *certmanagerv1.Certificate) (chain []pki.Certificate, unknown string) {
	return i.requests.chain(certificate)
}

// Others are the CertificateRequests that no Certificate controls and that are no canaries.
func (i Issued) Others() []*certmanagerv1.CertificateRequest { return i.requests.others }

// IssuerOf is the issuer that something in a namespace refers to: without a namespace for a
// ClusterIssuer. One that is not cert-manager's own has a name that no object can have.
func IssuerOf(namespace string, ref certmanagermeta.IssuerReference) planner.Ref {
	return issuerOf(namespace, ref)
}

// ReadBundle reads a trust-manager Bundle. It fails if a source does not stand inline: what
// such a one adds cannot be read.
func ReadBundle(object *unstructured.Unstructured) (planner.Bundle, error) { return bundleOf(object) }
