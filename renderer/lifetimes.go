package renderer

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// defaultLeafLife is what cert-manager gives a Certificate that asks for nothing.
const defaultLeafLife = 2160 * time.Hour

// CheckRecord holds what the repository declares against the certificates that it knows,
// those that it recorded and those that it gives of keys from elsewhere, at the time now.
// Refused are CAs that verifiers cannot tell apart, CAs that have ended, and given
// certificates that the record or the parent's keys speak against; warned is of CAs that
// end too soon for a rollover, of those that end after the CA that signed them, and of
// further certificates of a bundle that have ended. Both lists are in order of their
// files.
//
//	ends too soon   what is left of a CA < the longest life of a leaf under it + soak + skew
//
// The leaves are the Certificates beside the documents, those of an intermediate
// counting for its parents too; where there is none, cert-manager's 2160h stands for
// them. Keys that the record calls retired are not looked at, and of keys that Git does
// not list or calls Retired it does not matter when they end.
func (l *Loaded) CheckRecord(record planner.Record, now time.Time) (errors, warnings v1alpha1.ErrorList) {
	c := recordCheck{
		endState: newEndState(l.Desired, record), bundles: l.Desired.Bundles, lives: l.leafLives(record), now: now,
	}
	known := slices.Concat(c.recordedKeys(l.folder, record), l.givenKeys(c.endState))
	for i, key := range known {
		authority := c.authorities[key.Authority]
		c.identity(key, known[:i])
		c.ending(key, authority)
		c.outlivesIssuer(key, authority)
		c.agrees(key, authority)
	}
	for _, bundle := range l.Desired.Bundles {
		c.endedCertificates(l.at(documentID(v1alpha1.KindTrustBundle, planner.Ref{Name: bundle.Metadata.Name})), bundle)
	}
	return sorted(c.errors), sorted(c.warnings)
}

// recordCheck collects what is wrong with known keys.
type recordCheck struct {
	endState
	bundles          []v1alpha1.TrustBundle
	lives            map[string]time.Duration
	now              time.Time
	errors, warnings v1alpha1.ErrorList
}

func (c *recordCheck) refuse(key knownKey, format string, args ...any) {
	c.errors = append(c.errors, told(key.at, format, args...))
}

func (c *recordCheck) warn(key knownKey, format string, args ...any) {
	c.warnings = append(c.warnings, told(key.at, format, args...))
}

func told(at v1alpha1.Error, format string, args ...any) v1alpha1.Error {
	at.Message = fmt.Sprintf(format, args...)
	return at
}

// endedCertificates warns of further anchors of a bundle that nobody needs any more.
func (c *recordCheck) endedCertificates(at v1alpha1.Error, bundle v1alpha1.TrustBundle) {
	for i, text := range bundle.Spec.Certificates {
		certificates, _ := pki.ParsePEM([]byte(text)) // validation has refused what cannot be read
		at.Field = fmt.Sprintf("spec.certificates[%d]", i)
		for _, certificate := range certificates {
			if ends := certificate.NotAfter(); c.now.After(ends) {
				c.warnings = append(c.warnings, told(at, "%s ended at %s, and verifiers accept nothing that it signed: take it out", certificate, instant(ends)))
			}
		}
	}
}

// identity refuses what verifiers cannot tell apart: they find a leaf's issuer by its
// subject, and among equal ones by the subject key identifier (RFC 5280, sections
// 4.2.1.1 and 4.2.1.2).
func (c *recordCheck) identity(key knownKey, earlier []knownKey) {
	ski := key.Certificate.SubjectKeyID()
	if len(ski) == 0 {
		c.refuse(key, "%s has no subject key identifier: verifiers could not tell it from its neighbours; add a key to Authority %s and make this one Retired",
			key.Certificate, key.Authority)
	}
	for _, other := range earlier {
		if !sameSubject(key.Certificate, other.Certificate) || !c.neighbours(key.Authority, other.Authority) {
			continue
		}
		switch theirs := other.Certificate.SubjectKeyID(); {
		case len(ski) == 0 || len(theirs) == 0:
			c.refuse(key, "%s has the subject of %s, and not both have a subject key identifier: verifiers that hold both cannot tell which of them signed; add a key under another common name to Authority %s",
				key.Certificate, other, key.Authority)
		case bytes.Equal(ski, theirs):
			c.refuse(key, "%s has the subject and the subject key identifier of %s: verifiers that hold both cannot tell which of them signed; add a key under another common name to Authority %s",
				key.Certificate, other, key.Authority)
		}
	}
}

func sameSubject(a, b pki.Certificate) bool {
	return bytes.Equal(a.X509().RawSubject, b.X509().RawSubject)
}

// neighbours reports whether verifiers may hold anchors of both authorities.
func (c *recordCheck) neighbours(a, b string) bool {
	return a == b || slices.ContainsFunc(c.bundles, func(bundle v1alpha1.TrustBundle) bool {
		return slices.Contains(bundle.Spec.Authorities, a) && slices.Contains(bundle.Spec.Authorities, b)
	})
}

// ending tells of a CA whose end is near or past.
func (c *recordCheck) ending(key knownKey, authority v1alpha1.Authority) {
	mend := map[v1alpha1.KeyState]string{
		v1alpha1.KeySigning: "add a key to Authority " + key.Authority,
		v1alpha1.KeyTrusted: "make it Retired, or add a key to Authority " + key.Authority,
	}[c.state(authority, key.Name)]
	if mend == "" {
		return
	}
	ends, rollover := key.Certificate.NotAfter(), authority.Spec.Rollover
	life, wait := cmp.Or(c.lives[key.Authority], defaultLeafLife), rollover.Soak.Duration+rollover.Skew.Duration
	latest := ends.Add(-life - wait)
	switch {
	case c.now.After(ends):
		c.refuse(key, "%s ended at %s, and verifiers accept nothing that it signed: %s", key.Certificate, instant(ends), mend)
	case c.now.After(latest):
		c.warn(key, "%s ends at %s: with leaves that live up to %s under it, and %s of soak and skew, a rollover must start by %s; %s",
			key.Certificate, instant(ends), brief(life), brief(wait), instant(latest), mend)
	}
}

// state is what Git says of a key pair: it signs if every key of its chain does, and it
// is retired with the first that is.
func (c *recordCheck) state(authority v1alpha1.Authority, name string) v1alpha1.KeyState {
	key, above := v1alpha1.SplitKey(name)
	own := v1alpha1.KeyRetired
	for _, listed := range authority.Spec.Keys {
		if listed.Name == key {
			own = listed.State
		}
	}
	parent, intermediate := c.parent(authority)
	if intermediate != (above != "") {
		return v1alpha1.KeyRetired
	}
	if !intermediate || own.Goes() {
		return own
	}
	if theirs := c.state(parent, above); theirs != v1alpha1.KeySigning {
		return theirs
	}
	return own
}

// outlivesIssuer tells of an intermediate that ends after the CA that signed it.
func (c *recordCheck) outlivesIssuer(key knownKey, authority v1alpha1.Authority) {
	parent, intermediate := c.parent(authority)
	if !intermediate {
		return
	}
	_, above := v1alpha1.SplitKey(key.Name)
	signer := c.certificate(parent, above)
	if signer.IsZero() || !key.Certificate.NotAfter().After(signer.NotAfter()) {
		return
	}
	shorten := "shorten spec.duration of Authority " + key.Authority
	if key.given {
		shorten = "have one issued that ends earlier"
	}
	c.warn(key, "%s ends at %s, and %s that signed it at %s already: verifiers accept it no longer than that; %s, or add a key to Authority %s in time",
		key.Certificate, instant(key.Certificate.NotAfter()), signer, instant(signer.NotAfter()), shorten, parent.Metadata.Name)
}

// leafLives are the longest lives that Certificates beside the documents ask for, by
// the authorities that sign them and those above.
func (l *Loaded) leafLives(record planner.Record) map[string]time.Duration {
	authorities, issuers := authoritiesOf(l.Desired), map[identity]string{}
	target := l.EndState(record)
	for _, key := range target.Keys {
		ref := planner.Ref{Namespace: key.Authority.Namespace, Name: planner.KeyObjectName(key.Authority.Name, key.Name)}
		issuers[issuerID(ref)] = key.Authority.Name
	}
	for _, issuer := range target.Issuers {
		issuers[issuerID(issuer.Ref)] = issuer.Authority.Name
	}
	lives := map[string]time.Duration{}
	for _, manifest := range l.Native {
		life, known := leafLife(manifest)
		for name := issuers[issuerOf(manifest)]; known && name != ""; {
			lives[name] = max(lives[name], life)
			above := authorities[name].Spec.IssuedBy
			if name = ""; above != nil {
				name = above.Name
			}
		}
	}
	return lives
}

func issuerID(ref planner.Ref) identity {
	return identity{certManagerGroup, issuerKind(ref), ref.Namespace, ref.Name}
}

// issuerOf is the issuer that a Certificate refers to, with cert-manager's defaults.
func issuerOf(manifest *unstructured.Unstructured) identity {
	reference := func(field string) string {
		value, _, _ := unstructured.NestedString(manifest.Object, "spec", "issuerRef", field)
		return value
	}
	found := identity{group: cmp.Or(reference("group"), certManagerGroup), kind: cmp.Or(reference("kind"), kindIssuer), name: reference("name")}
	if found.kind == kindIssuer {
		found.namespace = manifest.GetNamespace()
	}
	return found
}

// leafLife is the life that a Certificate asks for; false for anything else.
func leafLife(manifest *unstructured.Unstructured) (time.Duration, bool) {
	if id := identityOf(manifest); id.group != certManagerGroup || id.kind != kindCertificate {
		return 0, false
	}
	asked, found, _ := unstructured.NestedString(manifest.Object, "spec", "duration")
	if !found {
		return defaultLeafLife, true
	}
	life, err := time.ParseDuration(asked)
	return life, err == nil
}

// instant writes a time for people, in UTC.
func instant(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// brief writes a duration without the units that are zero: 2160h, not 2160h0m0s.
func brief(duration time.Duration) string {
	text := duration.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
