package simulation

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// Outside is where keys come from that are not made in a world: other people's Secrets,
// external issuers, a safe. Equal names give equal keys. It may be used by several
// goroutines at once.
//
//	outside := simulation.NewOutside()
//	keys := []v1alpha1.AuthorityKey{outside.InSecret("plant 2025", planner.Ref{Namespace: "cert-manager", Name: "plant-2025"})}
//	…
//	world.Join(outside)
type Outside struct {
	mu sync.Mutex
	// made are all keys by their names.
	made    map[string]*caSecret
	secrets map[planner.Ref]*caSecret
	// issuers by their specs.
	issuers map[string]*caSecret
	// offline are all keys by the PEM of their certificates.
	offline map[string]*caSecret
}

// NewOutside makes an empty one.
func NewOutside() *Outside {
	return &Outside{made: map[string]*caSecret{}, secrets: map[planner.Ref]*caSecret{}, issuers: map[string]*caSecret{}, offline: map[string]*caSecret{}}
}

// outsideLife is how long the CA certificates of outside live.
const outsideLife = 15 * 365 * 24 * time.Hour

// Offline is a self-signed root whose key is nowhere.
func (o *Outside) Offline(name string) v1alpha1.AuthorityKey {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.keep(o.make(name, nil, outsideLife))
}

// InSecret is a self-signed root whose key is in a Secret.
func (o *Outside) InSecret(name string, secret planner.Ref) v1alpha1.AuthorityKey {
	o.mu.Lock()
	defer o.mu.Unlock()
	made := o.make(name, nil, outsideLife)
	o.secrets[secret] = made
	key := o.keep(made)
	key.Secret = &v1alpha1.SecretReference{Name: secret.Name}
	return key
}

// Behind is a self-signed root behind an external issuer, which signs with an intermediate
// of its own and hands that out with each leaf.
func (o *Outside) Behind(name string) v1alpha1.AuthorityKey {
	o.mu.Lock()
	defer o.mu.Unlock()
	root := o.make(name, nil, outsideLife)
	spec := fmt.Sprintf(`{"acme":{"server":%q}}`, "https://"+name)
	o.issuers[spec] = o.make("issuing CA of "+name, root, outsideLife/2)
	key := o.keep(root)
	key.Issuer = &apiextensionsv1.JSON{Raw: []byte(spec)}
	return key
}

// Under is an intermediate that the parent has signed outside, and whose key is in a Secret.
func (o *Outside) Under(name string, parent v1alpha1.AuthorityKey, secret planner.Ref) v1alpha1.AuthorityKey {
	o.mu.Lock()
	defer o.mu.Unlock()
	made := o.make(name, o.offline[parent.Certificate], outsideLife/2)
	o.secrets[secret] = made
	key := o.keep(made)
	key.Secret = &v1alpha1.SecretReference{Name: secret.Name}
	return key
}

func (o *Outside) keep(made *caSecret) v1alpha1.AuthorityKey {
	text := string(made.certificate.PEM())
	o.offline[text] = made
	return v1alpha1.AuthorityKey{Certificate: text}
}

func (o *Outside) make(name string, parent *caSecret, life time.Duration) *caSecret {
	if o.made[name] == nil {
		o.made[name] = newOutside(name, parent, life)
	}
	return o.made[name]
}

func newOutside(name string, parent *caSecret, life time.Duration) *caSecret {
	seed := sha256.Sum256([]byte("outside " + name))
	private := ed25519.NewKeyFromSeed(seed[:])
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(seed[:8]), Subject: pkix.Name{CommonName: name},
		NotBefore: Epoch.Add(-24 * time.Hour), NotAfter: Epoch.Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		made := create(template, template, private.Public(), private)
		return &caSecret{private: private, certificate: made, root: made}
	}
	made := create(template, parent.certificate.X509(), private.Public(), parent.private)
	return &caSecret{private: private, certificate: made, above: append([]pki.Certificate{made}, parent.above...), root: parent.root}
}

// Join brings what is outside into the world's reach.
func (w *World) Join(outside *Outside) {
	outside.mu.Lock()
	defer outside.mu.Unlock()
	for ref, secret := range outside.secrets {
		w.secrets[ref], w.foreign[ref] = secret, true
	}
	maps.Copy(w.outside, outside.issuers)
}

// Redirect lets an external issuer sign as another one does: its root has changed, and
// nobody was told.
func (w *World) Redirect(key, as v1alpha1.AuthorityKey) {
	w.outside[string(key.Issuer.Raw)] = w.outside[string(as.Issuer.Raw)]
	w.Say("the issuer behind %s signs as another one does", key.Issuer.Raw)
}

// obey lets whoever writes a bundle that is only observed do what he is asked: add what a
// plan lacks, take out what it says that nobody needs.
func (w *World) obey() {
	for _, bundle := range w.Desired.Bundles {
		if bundle.Spec.Via != v1alpha1.ViaObserved {
			continue
		}
		for _, id := range w.placesOf(bundle.Metadata.Name) {
			if !w.lazy() && !w.Stuck[id.String()] {
				w.obeyIn(id, bundle)
			}
		}
	}
}

func (w *World) obeyIn(id copyID, bundle v1alpha1.TrustBundle) {
	var held pki.Anchors
	if c := w.copies[id]; c != nil {
		held = c.anchors
	}
	if _, stands := w.bundles[id.bundle]; stands || w.copies[id] != nil && w.copies[id].via != v1alpha1.ViaObserved {
		return // it is not his yet
	}
	next := held.Union(w.listed(bundle))
	next = slices.DeleteFunc(slices.Clone(next), func(anchor pki.Certificate) bool { return w.retired(anchor) && w.isAskedToTake(id, anchor) })
	if len(next) == 0 || next.Equal(held) {
		return
	}
	w.checkLoss(id.bundle, held, next)
	w.writeCopy(id, v1alpha1.ViaObserved, next)
}

// listed are the roots of a bundle that Git does not retire and that are there.
func (w *World) listed(bundle v1alpha1.TrustBundle) pki.Anchors {
	var found []pki.Certificate
	for _, authority := range w.Desired.Authorities {
		if !slices.Contains(bundle.Spec.Authorities, authority.Metadata.Name) {
			continue
		}
		for _, key := range authority.Spec.Keys {
			if key.State == v1alpha1.KeyRetired {
				continue
			}
			object := planner.Ref{Namespace: authority.Metadata.Namespace, Name: planner.KeyObjectName(authority.Metadata.Name, key.Name)}
			if ca := w.cas[object]; ca != nil && !ca.issued.IsZero() {
				found = append(found, ca.issued)
			}
			if certificates, err := pki.ParsePEM([]byte(key.Certificate)); err == nil {
				found = append(found, certificates...)
			}
		}
	}
	return pki.NewAnchors(found...)
}

// isAskedToTake reports whether the last plan asked to have an anchor taken out of a copy.
func (w *World) isAskedToTake(id copyID, anchor pki.Certificate) bool {
	for _, rollover := range w.told.Rollovers {
		if slices.ContainsFunc(rollover.Holds, func(h planner.Hold) bool {
			return h.Gate == "anchors" && h.Subject == id.String() && strings.Contains(h.Why, anchor.String())
		}) {
			return true
		}
	}
	return false
}

// Smuggle writes a certificate into one namespace's copy of a bundle, behind reanchor's back.
func (w *World) Smuggle(namespace, bundle string, key v1alpha1.AuthorityKey) {
	certificates, err := pki.ParsePEM([]byte(key.Certificate))
	if err != nil {
		panic(fmt.Sprintf("simulation: smuggle into %s/%s: %v", namespace, bundle, err))
	}
	id := copyID{bundle: bundle, namespace: namespace}
	w.writeCopy(id, w.copies[id].via, w.copies[id].anchors.Union(pki.NewAnchors(certificates...)))
	w.Say("somebody writes %s into ConfigMap %s/%s", certificates[0], namespace, bundle)
}
