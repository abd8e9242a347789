package applier

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// keys are the keys that have a Certificate or an internal issuer.
func (w *world) keys() []planner.Key {
	found := map[planner.Ref]*planner.Key{}
	desired := w.desiredKeys()
	for i := range w.certificates.Items {
		certificate := &w.certificates.Items[i]
		if key, is := w.keyOf(certificate, desired); is {
			w.readKey(entry(found, refOf(certificate), key), certificate)
		}
	}
	for i := range w.issuers.Items {
		issuer := &w.issuers.Items[i]
		if key, is := w.keyOf(issuer, desired); is {
			k := entry(found, refOf(issuer), key)
			k.HasIssuer, k.SecretGone = true, secretGone(issuer)
		}
	}
	return sortedKeys(found)
}

// desiredKeys are the keys that Git names, by the name of their objects.
func (w *world) desiredKeys() map[planner.Ref]planner.Key {
	keys := map[planner.Ref]planner.Key{}
	for _, authority := range w.desired.Authorities {
		ref := planner.AuthorityRef(authority)
		for _, key := range authority.Spec.Keys {
			object := planner.Ref{Namespace: ref.Namespace, Name: planner.KeyObjectName(ref.Name, key.Name)}
			keys[object] = planner.Key{Authority: ref, Name: key.Name}
		}
	}
	return keys
}

// keyOf is the key that an object belongs to: by its name if Git names the key, by
// its labels if it does so no longer.
func (w *world) keyOf(object client.Object, desired map[planner.Ref]planner.Key) (planner.Key, bool) {
	if key, is := desired[refOf(object)]; is {
		return key, true
	}
	authority, name := object.GetLabels()[v1alpha1.LabelAuthority], object.GetLabels()[v1alpha1.LabelKey]
	if !belongs(object, w.domain) || authority == "" || object.GetName() != planner.KeyObjectName(authority, name) {
		return planner.Key{}, false
	}
	return planner.Key{Authority: planner.Ref{Namespace: object.GetNamespace(), Name: authority}, Name: name}, true
}

func entry(found map[planner.Ref]*planner.Key, object planner.Ref, key planner.Key) *planner.Key {
	if found[object] == nil {
		found[object] = &key
	}
	return found[object]
}

func sortedKeys(found map[planner.Ref]*planner.Key) []planner.Key {
	keys := make([]planner.Key, 0, len(found))
	for key := range maps.Values(found) {
		if !key.HasCertificate {
			key.Problem = "its Certificate does not exist"
		}
		keys = append(keys, *key)
	}
	slices.SortFunc(keys, func(a, b planner.Key) int {
		return cmp.Or(a.Authority.Compare(b.Authority), cmp.Compare(a.Name, b.Name))
	})
	return keys
}

// readKey fills in what the Certificate of a key says.
func (w *world) readKey(key *planner.Key, certificate *certmanagerv1.Certificate) {
	key.HasCertificate = true
	key.Issued = certificate.Status.Revision != nil
	key.Adopted = certificate.Status.Revision == nil && certificate.Status.NotAfter != nil && !isIssuing(certificate)
	key.Spec = caSpec(certificate.Spec)
	chain, problem := w.requests.chain(certificate)
	if len(chain) > 0 {
		key.Certificate = chain[0]
		return
	}
	key.Problem = cmp.Or(problem, "nothing issued yet: "+conditionMessage(certificate))
}

// conditionMessage is why nothing was issued, in cert-manager's words.
func conditionMessage(certificate *certmanagerv1.Certificate) string {
	var issuing, ready string
	for _, condition := range certificate.Status.Conditions {
		switch condition.Type {
		case certmanagerv1.CertificateConditionIssuing:
			issuing = condition.Message
		case certmanagerv1.CertificateConditionReady:
			ready = condition.Message
		}
	}
	return cmp.Or(issuing, ready, "cert-manager does not say why")
}

// caSpec reads a Certificate's spec, with cert-manager's own defaults filled in.
func caSpec(spec certmanagerv1.CertificateSpec) planner.CASpec {
	ca := planner.CASpec{
		CommonName: spec.CommonName,
		Algorithm:  v1alpha1.RSA,
		Duration:   certmanagerv1.DefaultCertificateDuration,
	}
	if spec.Duration != nil {
		ca.Duration = spec.Duration.Duration
	}
	if spec.Subject != nil {
		ca.Organizations = slices.Clone(spec.Subject.Organizations)
		ca.OrganizationalUnits = slices.Clone(spec.Subject.OrganizationalUnits)
		ca.Countries = slices.Clone(spec.Subject.Countries)
	}
	if spec.PrivateKey != nil {
		ca.Algorithm = v1alpha1.KeyAlgorithm(cmp.Or(spec.PrivateKey.Algorithm, certmanagerv1.RSAKeyAlgorithm))
		ca.Size = spec.PrivateKey.Size
	}
	ca.Size = cmp.Or(ca.Size, defaultSizes[ca.Algorithm])
	return ca
}

// defaultSizes are the bits of a key whose size a Certificate does not give; see
// https://cert-manager.io/docs/reference/api-docs/#cert-manager.io/v1.CertificatePrivateKey.
var defaultSizes = map[v1alpha1.KeyAlgorithm]int{v1alpha1.RSA: 2048, v1alpha1.ECDSA: 256}

// reasonNoKeyPair is what a CA issuer gives for a Secret that is absent or broken
// (cert-manager, pkg/issuer/ca/setup.go).
const reasonNoKeyPair = "ErrGetKeyPair"

// secretGone reports whether an internal issuer says, of its present spec, that its
// Secret is not there. cert-manager looks again at once when the Secret goes.
func secretGone(issuer *certmanagerv1.Issuer) bool {
	if issuer.Spec.CA == nil {
		return false
	}
	absent := fmt.Sprintf("%q not found", issuer.Spec.CA.SecretName)
	return slices.ContainsFunc(issuer.Status.Conditions, func(c certmanagerv1.IssuerCondition) bool {
		return c.Type == certmanagerv1.IssuerConditionReady &&
			c.Status == certmanagermeta.ConditionFalse &&
			c.ObservedGeneration == issuer.Generation &&
			c.Reason == reasonNoKeyPair && strings.HasSuffix(c.Message, absent)
	})
}
