package inventory

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What lies elsewhere: a group may be given another namespace or another name, and a device
// another group. The objects of before stay, and the devices hold their certificates until
// they have fetched others.
//
//	where it lies                        what counts of it
//	in the group's namespace             everything
//	in another, under the same name      that its certificates live, and no more
//	under the name of a device that Git  that its certificates live, for the one that has that
//	lists no more                        key now; if none has, for each that has that id in
//	                                     another group
//
// So a certificate in a strange place holds an anchor, and never lets one go: whoever may
// create CertificateRequests in some namespace steers nobody's device with it.

// elsewhere are the places beside the one where the device's objects are made now.
func (m *member) elsewhere() []place {
	return slices.Concat(m.otherPlaces(), m.inherited)
}

// otherPlaces are those under its own name.
func (m *member) otherPlaces() []place {
	var other []place
	for _, p := range m.places {
		if m.homeless || p.namespace != m.home {
			other = append(other, p)
		}
	}
	return other
}

// abroad are the objects there; of a group that is gone, nothing lies abroad.
func (m *member) abroad() []client.Object {
	if m.homeless {
		return nil
	}
	return objectsIn(m.otherPlaces())
}

func objectsIn(places []place) []client.Object {
	var all []client.Object
	for _, p := range places {
		all = append(all, p.all()...)
	}
	return all
}

// isOwn reports whether a request of the group's namespace is for the key that the device
// has: the one in Git, or where cert-manager makes it, one that belongs to its Certificate. Of
// a device whose file cannot be used that is not known, and all are.
func (m *member) isOwn(r *request) bool {
	device := m.device
	if device == nil {
		device = m.contested
	}
	switch {
	case device == nil:
		return true
	case device.Key.IsZero():
		return isOf(r, m.certificate)
	}
	return r.key == device.Key
}

// shown is the request whose certificate the device was seen with last, if that is its own and
// has not ended, and when that was; nil: there is none.
func (m *member) shown(now time.Time) (*request, time.Time) {
	known := m.confirmed(now)
	for _, r := range m.inOrder() {
		if r.live(now) && m.isOwn(r) && r.chain[0].Fingerprint() == known.Presented {
			return r, known.Seen
		}
	}
	return nil, time.Time{}
}

// mayShowOfOld are the requests elsewhere whose certificates a device may still show.
func (m *member) mayShowOfOld(now time.Time) []*request {
	places := m.elsewhere()
	if len(places) == 0 {
		return nil
	}
	shown, seen := m.shown(now)
	var may []*request
	for _, p := range places {
		for _, r := range slices.Concat(p.requests, p.issued) {
			if r.live(now) && !p.isOutgrown(r, shown, seen) {
				may = append(may, r)
			}
		}
	}
	return may
}

// isOutgrown reports whether the device was seen with its own certificate that came later than
// a request that lies elsewhere. What a Certificate there is renewed to reaches no device, so
// it is enough that the device was seen after that.
func (p place) isOutgrown(r, shown *request, seen time.Time) bool {
	switch {
	case shown == nil:
		return false
	case metav1.GetControllerOfNoCopy(r) != nil:
		return !r.CreationTimestamp.After(seen)
	}
	return !r.CreationTimestamp.After(shown.CreationTimestamp.Time)
}

// outgrown are the objects elsewhere that an active device needs no more: ended, refused, or
// followed by a certificate that it was seen with.
func (m *member) outgrown(now time.Time, d *decision) []client.Object {
	places := m.elsewhere()
	if len(places) == 0 {
		return nil
	}
	shown, seen := m.shown(now)
	if shown != nil {
		d.by(shown.ends().Add(time.Second)) // what it has followed may be shown again then
	}
	var gone []client.Object
	for _, p := range places {
		gone = append(gone, p.outgrown(shown, seen, now, d)...)
	}
	return gone
}

func (p place) outgrown(shown *request, seen, now time.Time, d *decision) []client.Object {
	var gone []client.Object
	needed := false
	for _, r := range slices.Concat(p.requests, p.issued) {
		switch {
		case r.live(now) && !p.isOutgrown(r, shown, seen):
			needed = true
			d.by(r.ends().Add(time.Second))
		case r.isPending() && shown == nil:
			needed = true
		case metav1.GetControllerOfNoCopy(r) == nil:
			gone = append(gone, r.CertificateRequest)
		}
	}
	if p.certificate != nil && shown != nil && !needed {
		gone = append(gone, p.certificate) // cert-manager's requests go with it
	}
	return gone
}

// bequeath finds for whatever is there of a device that Git lists no more who minds it now. That
// follows from what Git lists, from where the groups' objects are made, and from what is there
// of such devices: while those are as they were, so is this.
func (l *Lane) bequeath() {
	if !l.unshared {
		return
	}
	l.unshared = false
	inherited := map[name][]place{}
	l.shared = map[object]int{}
	var left []name
	for of, m := range l.members {
		if m.hasLeft() && len(m.places) > 0 {
			left = append(left, of)
		} else {
			m.leaves(false)
		}
	}
	slices.SortFunc(left, name.compare)
	for _, of := range left {
		m := l.members[of]
		shares := l.shares(of, m)
		for heir, places := range shares {
			inherited[heir] = append(inherited[heir], places...)
			for _, o := range objectsIn(places) {
				l.shared[objectOf(o)]++
			}
		}
		m.leaves(len(shares) > 0)
	}
	for of, m := range l.members {
		if places := inherited[of]; !slices.EqualFunc(m.inherited, places, place.equal) {
			m.inherited, m.changed = places, true
		}
	}
}

// hasLeft reports whether Git lists a device no more.
func (m *member) hasLeft() bool {
	return m.device == nil && m.contested == nil && !m.unusable
}

// leaves what there is of it to others, or does not.
func (m *member) leaves(bequeathed bool) {
	if bequeathed != m.bequeathed {
		m.bequeathed, m.changed = bequeathed, true
	}
}
