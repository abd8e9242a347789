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

// keys are the key pairs that have a Certificate or an internal issuer.
func (w *world) keys() []planner.Key {
	found := map[pair]*planner.Key{}
	for i := range w.certificates.Items {
		certificate := &w.certificates.Items[i]
		if p, is := w.pairOf(certificate); is {
			w.readKey(entry(found, p), certificate)
		}
	}
	for i := range w.issuers.Items {
		issuer := &w.issuers.Items[i]
		if p, is := w.pairOf(issuer); is {
			w.readInternalIssuer(entry(found, p), issuer)
		}
	}
	for i := range w.clusterIssuers.Items {
		if p, is := w.labelledPair(&w.clusterIssuers.Items[i]); is {
			entry(found, p).HasClusterIssuer = true
		}
	}
	return sortedKeys(found)
}

// A pair names a key pair of an authority, as v1alpha1.KeyUnder has it.
type pair struct {
	authority planner.Ref
	name      string
}

// object is the name of the pair's Certificate, Secret and internal issuer.
func (p pair) object() planner.Ref {
	return planner.Ref{Namespace: p.authority.Namespace, Name: planner.KeyObjectName(p.authority.Name, p.name)}
}

// namedPairs are the key pairs that Git can name, by the name of their objects.
func namedPairs(authorities []v1alpha1.Authority) map[planner.Ref]pair {
	byName := map[string]v1alpha1.Authority{}
	for _, authority := range authorities {
		byName[authority.Metadata.Name] = authority
	}
	named := map[planner.Ref]pair{}
	for _, authority := range authorities {
		for _, name := range pairNames(authority, byName) {
			p := pair{planner.AuthorityRef(authority), name}
			named[p.object()] = p
		}
	}
	return named
}

// pairNames are the names of an authority's key pairs: of a root its keys, whatever
// their state; of an intermediate each of its keys under each pair of its parent.
func pairNames(authority v1alpha1.Authority, byName map[string]v1alpha1.Authority) []string {
	var names []string
	if authority.Spec.IssuedBy == nil {
		for _, key := range authority.Spec.Keys {
			names = append(names, key.Name)
		}
		return names
	}
	others := maps.Clone(byName)
	delete(others, authority.Metadata.Name) // those that issue each other come to an end
	above := pairNames(others[authority.Spec.IssuedBy.Name], others)
	for _, key := range authority.Spec.Keys {
		for _, parent := range above {
			names = append(names, v1alpha1.KeyUnder(key.Name, parent))
		}
	}
	return names
}

// pairOf is the key pair that an object belongs to: by its labels; without them by its
// name alone, if Git can name the pair.
func (w *world) pairOf(object client.Object) (pair, bool) {
	if p, is := w.labelledPair(object); is {
		return p, true
	}
	p, is := w.named[refOf(object)]
	return p, is
}

// labelledPair is the key pair that an object belongs to by its labels, if it has the
// name that goes with them. A ClusterIssuer signs with a Secret of cert-manager's
// cluster resource namespace, and so belongs to an authority there.
func (w *world) labelledPair(object client.Object) (pair, bool) {
	labels := object.GetLabels()
	p := pair{
		authority: planner.Ref{
			Namespace: clusterNamespace(refOf(object), w.ClusterResourceNamespace),
			Name:      labels[v1alpha1.LabelAuthority],
		},
		name: labels[v1alpha1.LabelKey],
	}
	return p, belongs(object, w.domain) && p.authority.Name != "" && object.GetName() == p.object().Name
}

func entry(found map[pair]*planner.Key, p pair) *planner.Key {
	if found[p] == nil {
		found[p] = &planner.Key{Authority: p.authority, Name: p.name}
	}
	return found[p]
}

func sortedKeys(found map[pair]*planner.Key) []planner.Key {
	keys := make([]planner.Key, 0, len(found))
	for key := range maps.Values(found) {
		switch {
		case key.HasCertificate:
			key.SecretName = "" // the Certificate says which Secret is the key's
		case key.SecretName == "":
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
	key.Spec.SignedBy = signedBy(key.Authority, certificate)
	chain, problem := w.requests.chain(certificate)
	if len(chain) > 0 {
		key.Certificate, key.Requested = chain[0], true
		return
	}
	key.Problem = cmp.Or(problem, "nothing issued yet: "+conditionMessage(certificate))
}

// readInternalIssuer fills in what the internal issuer of a key says, and what came
// back through it. That of a key from elsewhere names somebody else's Secret.
func (w *world) readInternalIssuer(key *planner.Key, issuer *certmanagerv1.Issuer) {
	key.HasIssuer, key.SecretSeen, key.SecretGone = true, secretSeen(issuer), secretGone(issuer)
	read := w.readIssuer(issuer)
	if read.SecretName != planner.KeyObjectName(key.Authority.Name, key.Name) {
		key.SecretName = read.SecretName
	}
	key.Generation, key.Canary, key.Proof = read.Generation, read.Canary, read.Proof
}

// signedBy is the issuer that a CA's Certificate asks; zero if it is the one by which
// the authority's roots sign themselves.
func signedBy(authority planner.Ref, certificate *certmanagerv1.Certificate) planner.Ref {
	issuer := issuerOf(certificate.Namespace, certificate.Spec.IssuerRef)
	if issuer == (planner.Ref{Namespace: authority.Namespace, Name: planner.SelfSignedName(authority.Name)}) {
		return planner.Ref{}
	}
	return issuer
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

// caSpec reads a Certificate's spec, with cert-manager's own defaults filled in, but for
// who signs it.
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

// secretSeen reports whether an internal issuer says, of its present spec, that it can
// sign with its Secret.
func secretSeen(issuer certmanagerv1.GenericIssuer) bool {
	return readyAs(issuer, isTrue)
}

// secretGone reports whether an internal issuer says, of its present spec, that its
// Secret is not there. cert-manager looks again at once when the Secret goes.
func secretGone(issuer *certmanagerv1.Issuer) bool {
	if issuer.Spec.CA == nil {
		return false
	}
	absent := fmt.Sprintf("%q not found", issuer.Spec.CA.SecretName)
	return readyAs(issuer, func(c certmanagerv1.IssuerCondition) bool {
		return c.Status == certmanagermeta.ConditionFalse && c.Reason == reasonNoKeyPair && strings.HasSuffix(c.Message, absent)
	})
}

// readyAs reports whether an issuer's Ready condition speaks of its present spec, and
// says so.
func readyAs(issuer certmanagerv1.GenericIssuer, says func(certmanagerv1.IssuerCondition) bool) bool {
	return slices.ContainsFunc(issuer.GetStatus().Conditions, func(c certmanagerv1.IssuerCondition) bool {
		return c.Type == certmanagerv1.IssuerConditionReady && c.ObservedGeneration == issuer.GetGeneration() && says(c)
	})
}

func isTrue(c certmanagerv1.IssuerCondition) bool { return c.Status == certmanagermeta.ConditionTrue }
