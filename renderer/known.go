package renderer

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// knownKey is a key whose certificate Git knows, and where it stands.
type knownKey struct {
	planner.RecordedKey
	at v1alpha1.Error
	// given reports that it comes from elsewhere.
	given bool
}

// String is where the certificate stands, for the messages of others.
func (k knownKey) String() string {
	if k.given {
		return k.at.File + ": " + k.at.Field
	}
	return k.Path()
}

// recordedKeys are those in use of the record, but for those that Git gives as well.
func (e endState) recordedKeys(folder string, record planner.Record) []knownKey {
	var keys []knownKey
	for _, key := range record.Keys {
		authority, declared := e.authorities[key.Authority]
		if !declared || key.Retired || e.isGiven(authority, key.Name) {
			continue
		}
		keys = append(keys, knownKey{RecordedKey: key, at: v1alpha1.Error{File: path.Join(folder, key.Path()), Line: 1}})
	}
	return keys
}

// isGiven reports whether Git gives the certificate of a key pair.
func (e endState) isGiven(authority v1alpha1.Authority, name string) bool {
	key, _ := v1alpha1.SplitKey(name)
	_, given := e.given[pair{authority.Metadata.Name, key}]
	return given && e.pairOf(authority, key) == name
}

// givenKeys are the keys from elsewhere.
func (l *Loaded) givenKeys(e endState) []knownKey {
	var keys []knownKey
	for _, authority := range l.Desired.Authorities {
		for i, key := range authority.Spec.Keys {
			certificate, given := e.given[pair{authority.Metadata.Name, key.Name}]
			if !given {
				continue
			}
			at := l.at(documentID(v1alpha1.KindAuthority, planner.Ref{Name: authority.Metadata.Name}))
			at.Line, at.Field = cmp.Or(l.certificates[pair{authority.Metadata.Name, key.Name}], at.Line), fmt.Sprintf("spec.keys[%d].certificate", i)
			name := e.pairOf(authority, key.Name)
			keys = append(keys, knownKey{planner.RecordedKey{Authority: authority.Metadata.Name, Name: name, Certificate: certificate}, at, true})
		}
	}
	return keys
}

// at is the place of a document.
func (l *Loaded) at(document identity) v1alpha1.Error {
	place := l.origins[document]
	return v1alpha1.Error{File: place.file, Line: place.line}
}

// agrees refuses a given certificate that is not the recorded one of its key, or that
// none of the parent's keys signed.
func (c *recordCheck) agrees(key knownKey, authority v1alpha1.Authority) {
	if !key.given {
		return
	}
	recorded, known := c.recorded[pair{key.Authority, key.Name}]
	if known && !recorded.Equal(key.Certificate) {
		c.refuse(key, "%s has the fingerprint %s, and %s records %s with the fingerprint %s for key %s: put back the recorded certificate, or give the new one to a key of another name",
			key.Certificate.CommonName(), key.Certificate.Fingerprint(), key.Path(), recorded.CommonName(), recorded.Fingerprint(), key.Name)
	}
	parent, intermediate := c.parent(authority)
	if intermediate && c.allKnown(parent) && c.signerOf(parent, key.Certificate) == "" {
		c.refuse(key, "%s was signed by no key of Authority %s: give a certificate that one of them signed, or the certificate of the key that did to Authority %s",
			key.Certificate, parent.Metadata.Name, parent.Metadata.Name)
	}
}

// allKnown reports whether Git knows the certificates of all keys of an authority that are
// in use.
func (c *recordCheck) allKnown(authority v1alpha1.Authority) bool {
	return !slices.ContainsFunc(authority.Spec.Keys, func(key v1alpha1.AuthorityKey) bool {
		return inUse(key) && c.certificate(authority, c.pairOf(authority, key.Name)).IsZero()
	})
}
