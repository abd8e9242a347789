package renderer

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
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

// CheckRecord holds what the repository declares against the certificates that it
// recorded, at the time now. Refused are CAs that verifiers cannot tell apart and CAs
// that have ended; warned is of CAs that end too soon for a rollover, and of those
// that end after the CA that signed them. Both lists are in order of their files.
//
//	ends too soon   what is left of a CA < the longest life of a leaf under it + soak + skew
//
// The leaves are the Certificates beside the documents, those of an intermediate
// counting for its parents too; where there is none, cert-manager's 2160h stands for
// them. Keys that the record calls retired are not looked at, and of keys that Git does
// not list or calls Retired it does not matter when they end.
func (l *Loaded) CheckRecord(record planner.Record, now time.Time) (errors, warnings v1alpha1.ErrorList) {
	c := recordCheck{
		endState: endState{authorities: authoritiesOf(l.Desired), recorded: recordedOf(record)},
		folder:   l.folder, bundles: l.Desired.Bundles, lives: l.leafLives(record), now: now,
	}
	inUse := slices.DeleteFunc(slices.Clone(record.Keys), func(key planner.RecordedKey) bool { return key.Retired })
	for i, key := range inUse {
		if authority, declared := c.authorities[key.Authority]; declared {
			c.identity(key, inUse[:i])
			c.ending(key, authority)
			c.outlivesIssuer(key, authority)
		}
	}
	return sorted(c.errors), sorted(c.warnings)
}

// recordCheck collects what is wrong with recorded keys.
type recordCheck struct {
	endState
	folder           string
	bundles          []v1alpha1.TrustBundle
	lives            map[string]time.Duration
	now              time.Time
	errors, warnings v1alpha1.ErrorList
}

func (c *recordCheck) refuse(key planner.RecordedKey, format string, args ...any) {
	c.errors = append(c.errors, c.about(key, format, args...))
}

func (c *recordCheck) warn(key planner.RecordedKey, format string, args ...any) {
	c.warnings = append(c.warnings, c.about(key, format, args...))
}

func (c *recordCheck) about(key planner.RecordedKey, format string, args ...any) v1alpha1.Error {
	return v1alpha1.Error{File: path.Join(c.folder, key.Path()), Line: 1, Message: fmt.Sprintf(format, args...)}
}

// identity refuses what verifiers cannot tell apart: they find a leaf's issuer by its
// subject, and among equal ones by the subject key identifier (RFC 5280, sections
// 4.2.1.1 and 4.2.1.2).
func (c *recordCheck) identity(key planner.RecordedKey, earlier []planner.RecordedKey) {
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
				key.Certificate, other.Path(), key.Authority)
		case bytes.Equal(ski, theirs):
			c.refuse(key, "%s has the subject and the subject key identifier of %s: verifiers that hold both cannot tell which of them signed; add a key under another common name to Authority %s",
				key.Certificate, other.Path(), key.Authority)
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
func (c *recordCheck) ending(key planner.RecordedKey, authority v1alpha1.Authority) {
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
	if !intermediate || own == v1alpha1.KeyRetired {
		return own
	}
	if theirs := c.state(parent, above); theirs != v1alpha1.KeySigning {
		return theirs
	}
	return own
}

// outlivesIssuer tells of an intermediate that ends after the CA that signed it.
func (c *recordCheck) outlivesIssuer(key planner.RecordedKey, authority v1alpha1.Authority) {
	parent, intermediate := c.parent(authority)
	_, above := v1alpha1.SplitKey(key.Name)
	signer, recorded := c.recorded[pair{parent.Metadata.Name, above}]
	if !intermediate || !recorded || !key.Certificate.NotAfter().After(signer.NotAfter()) {
		return
	}
	c.warn(key, "%s ends at %s, and %s that signed it at %s already: verifiers accept it no longer than that; shorten spec.duration of Authority %s, or add a key to Authority %s in time",
		key.Certificate, instant(key.Certificate.NotAfter()), signer, instant(signer.NotAfter()), key.Authority, parent.Metadata.Name)
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
