package inventory

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/cert-manager/cert-manager/pkg/apis/certmanager"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// asked is what a request asks, and whom, beside the key that it is for.
type asked struct {
	IssuerRef certmanagermeta.IssuerReference
	Duration  *metav1.Duration
	Usages    []certmanagerv1.KeyUsage
}

// asks is what a rule's requests ask.
func (r Rule) asks() asked {
	var wanted certmanagerv1.CertificateRequest
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(r.Template.Object, &wanted); err != nil {
		return asked{} // the API server refuses what is stamped from it
	}
	return askedIn(wanted.Spec)
}

// askedIn a request, with what cert-manager takes for what is left out.
func askedIn(spec certmanagerv1.CertificateRequestSpec) asked {
	issuer := spec.IssuerRef
	issuer.Kind, issuer.Group = cmp.Or(issuer.Kind, certmanagerv1.IssuerKind), cmp.Or(issuer.Group, certmanager.GroupName)
	return asked{issuer, spec.Duration, spec.Usages}
}

// sum is the value of the annotation [v1alpha1.AnnotationAsked].
func (a asked) sum() string {
	text, err := json.Marshal(a)
	if err != nil { // of names and a duration
		panic(fmt.Sprintf("write what a request asks: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
