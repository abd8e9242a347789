package v1alpha1

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// link is an authority in its chain, which ends in a root.
type link struct {
	document  Document
	authority *Authority
	// parent that signs; nil for a root.
	parent *link
	// root is the name of the authority that the chain ends in.
	root string
	// keys that are well named, and the key pairs that can come of them.
	keys []linkKey
	// crowded reports that the key pairs were too many, and none was made out.
	crowded bool
	// signing is the key pair that shall sign in the end; empty where none shall.
	signing string
	// waits is the soak and skew of the chain's authorities, one after the other.
	waits time.Duration
	// abroad reports a child that makes keys in another namespace.
	abroad bool
}

// chains links every authority to its parent, parents first, and refuses circles.
// What hangs under a circle or an unknown parent gets no link, and is looked at
// again when that is mended; so it is with names that are none.
func (v *validator) chains() {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(v.authorities)) {
		path, end := v.climb(name, seen)
		if i := slices.Index(path, end); i >= 0 {
			v.circle(path[i:])
		}
		for _, name := range slices.Backward(path) {
			v.link(name)
		}
	}
}

// climb goes up from an authority, child by parent, and ends at a root, at a name
// that leads nowhere, or at one that was seen before.
func (v *validator) climb(name string, seen map[string]bool) (path []string, end string) {
	for !seen[name] && isName(name) {
		document, known := v.authorities[name]
		if !known {
			break
		}
		seen[name] = true
		path = append(path, name)
		parent := document.Object.(*Authority).Spec.IssuedBy
		if parent == nil {
			return path, ""
		}
		name = parent.Name
	}
	return path, name
}

// circle refuses authorities that issue each other, once for all of them.
func (v *validator) circle(members []string) {
	first := slices.Index(members, slices.Min(members))
	members = slices.Concat(members[first:], members[:first], members[first:first+1])
	document := v.authorities[members[0]]
	const mend = "name its parent, or take issuedBy out for a self-signed root"
	if len(members) == 2 {
		v.refuse(document, "spec.issuedBy.name", "Authority %s is issued by itself: %s", members[0], mend)
		return
	}
	v.refuse(document, "spec.issuedBy.name", "the authorities %s are issued by each other in a circle: "+
		"take issuedBy out of the one that is a self-signed root", strings.Join(members, " → "))
}

// link puts an authority under its parent, which has been linked before if it can be.
func (v *validator) link(name string) {
	document := v.authorities[name]
	authority := document.Object.(*Authority)
	l := &link{document: document, authority: authority, root: name}
	if above := authority.Spec.IssuedBy; above != nil {
		l.parent = v.links[above.Name]
		if l.parent == nil {
			return
		}
		l.root, l.waits = l.parent.root, l.parent.waits
		if authority.makesKeys() && authority.Metadata.Namespace != l.parent.authority.Metadata.Namespace {
			l.parent.abroad = true
		}
	}
	l.waits += authority.Spec.Rollover.Soak.Duration + authority.Spec.Rollover.Skew.Duration
	v.makePairs(l)
	v.links[name] = l
}

// rootOf is the root of an intermediate with a blank before it; nothing where its
// chain leads to none.
func (v *validator) rootOf(name string) string {
	if l := v.links[name]; l != nil {
		return " " + l.root
	}
	return ""
}

// chain checks an authority against those above it.
func (v *validator) chain(document Document, authority *Authority) {
	if parent := authority.Spec.IssuedBy; parent != nil {
		v.authorityOf(document, "spec.issuedBy.name", parent.Name)
	}
	l := v.links[authority.Metadata.Name]
	if l == nil || l.authority != authority {
		return
	}
	if l.parent != nil {
		v.parent(l, authority.Metadata, l.parent.authority)
		v.offlineParent(l, l.parent.authority)
		v.lifetimes(l, authority.Spec, l.parent.authority)
	}
	v.keyPairs(l)
}

func (v *validator) parent(l *link, child Metadata, parent *Authority) {
	const field = "spec.issuedBy.name"
	name, namespace, everywhere := parent.Metadata.Name, parent.Metadata.Namespace, v.site.ClusterResourceNamespace
	if l.authority.makesKeys() && child.Namespace != "" && child.Namespace != namespace && namespace != everywhere {
		v.refuse(l.document, field, "Authority %s lies in %s, and only one that lies in %s signs for another namespace: "+
			"move it there, or Authority %s to %s", name, namespace, everywhere, child.Name, namespace)
	}
	if parent.Leaving() && !l.authority.Leaving() {
		v.refuse(l.document, field, "every key of Authority %s is Retired, so nothing is left to sign with: "+
			"retire every key of Authority %s as well, or let a key of %s be Signing", name, child.Name, name)
	}
}

// lifetimes holds the duration of an intermediate that makes its keys against that of a
// parent that does, past whose end cert-manager signs and no verifier goes, and against
// the time that a rollover takes.
func (v *validator) lifetimes(l *link, child AuthoritySpec, parent *Authority) {
	if !l.authority.makesKeys() || !parent.makesKeys() {
		return
	}
	const field = "spec.duration"
	duration, above, name := child.Duration.Duration, parent.Spec.Duration.Duration, parent.Metadata.Name
	switch {
	case duration > above:
		v.refuse(l.document, field, "%s is longer than the %s of Authority %s: a CA must not outlive the one that signs it, so shorten it",
			duration, above, name)
	case duration == above:
		v.warn(l.document, field, "%s is as long as that of Authority %s: what is signed later than its CA outlives it, so shorten it", duration, name)
	}
	own := child.Rollover.Soak.Duration + child.Rollover.Skew.Duration
	if own < duration && duration <= l.waits {
		v.warn(l.document, field, "a key that lives %s may expire while the authorities above it roll over: soak and skew from Authority %s down take %s",
			duration, l.root, l.waits)
	}
}
