package inventory

import (
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// shares are what each heir minds of a device that Git lists no more. Who has the key that a
// request is for in Git is that device, by whatever name, and minds it alone. An id proves
// less: where ids are local to a site, hall-b/001 is a stranger to hall-a/001. So only what no
// active device has the key for goes by it, to all of that id.
func (l *Lane) shares(of name, m *member) map[name][]place {
	shares := map[name][]place{}
	namesakes := l.namesakes(of)
	if len(namesakes) == 0 {
		namesakes = l.holders(of, m)
	}
	for _, p := range m.places {
		for heir, part := range l.parts(of, p, namesakes) {
			shares[heir] = append(shares[heir], *part)
		}
	}
	return shares
}

// holders are the active devices that have a key of the device that left: it is called so by
// now, and may still show what was made for another key that it had.
func (l *Lane) holders(of name, m *member) []name {
	var holders []name
	for _, p := range m.places {
		for _, r := range slices.Concat(p.requests, p.issued) {
			holders = append(holders, l.heirs(of, r.key, nil)...)
		}
	}
	slices.SortFunc(holders, name.compare)
	return slices.Compact(holders)
}

// parts of a place, by who minds them. A Certificate is minded by all who mind what
// cert-manager asked for it, and by the device's namesakes.
func (l *Lane) parts(of name, p place, namesakes []name) map[name]*place {
	parts := map[name]*place{}
	part := func(heir name) *place {
		if parts[heir] == nil {
			parts[heir] = &place{namespace: p.namespace}
		}
		return parts[heir]
	}
	for _, r := range p.requests {
		for _, heir := range l.heirs(of, r.key, namesakes) {
			part(heir).requests = append(part(heir).requests, r)
		}
	}
	for _, r := range p.issued {
		for _, heir := range l.heirs(of, r.key, namesakes) {
			part(heir).issued, part(heir).certificate = append(part(heir).issued, r), p.certificate
		}
	}
	if p.certificate != nil {
		for _, heir := range namesakes {
			part(heir).certificate = p.certificate
		}
	}
	return parts
}

// heirs of what is there for a key: the active device that has it in Git, else the namesakes.
func (l *Lane) heirs(of name, key pki.Fingerprint, namesakes []name) []name {
	if key.IsZero() {
		return namesakes
	}
	for _, heir := range namesakes { // as a rule it is one of them, which is known at once
		if l.members[heir].device.Key == key {
			return []name{heir}
		}
	}
	holder, held := l.inventory.Holder(key)
	if heir := (name{holder.Group, holder.ID}); held && heir != of && l.isActiveInGit(heir) {
		return []name{heir}
	}
	return namesakes
}

// namesakes are the active devices of the same id in other groups, in order: where
// cert-manager makes the keys, Git has nothing else to know a device by.
func (l *Lane) namesakes(of name) []name {
	var namesakes []name
	for group := range l.homes {
		if other := (name{group, of.id}); other != of && l.isActiveInGit(other) {
			namesakes = append(namesakes, other)
		}
	}
	slices.SortFunc(namesakes, name.compare)
	return namesakes
}

func (l *Lane) isActiveInGit(of name) bool {
	m := l.members[of]
	return m != nil && m.device != nil && m.device.State == v1alpha1.DeviceActive
}

// agreed are the objects of which all who mind them say that they need them no more, each
// once.
func (l *Lane) agreed(discard []client.Object) []client.Object {
	said := map[object]int{}
	var agreed []client.Object
	for _, o := range discard {
		at := objectOf(o)
		if said[at]++; said[at] == max(l.shared[at], 1) {
			agreed = append(agreed, o)
		}
	}
	return agreed
}
