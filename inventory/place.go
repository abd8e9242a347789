package inventory

import (
	"maps"
	"slices"
	"strconv"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// place is what a namespace holds of a device.
type place struct {
	namespace string
	standing
}

// equal reports whether two hold the same objects, as they were read.
func (p place) equal(other place) bool {
	return p.namespace == other.namespace && p.certificate == other.certificate && p.older.Equal(other.older) &&
		slices.Equal(p.requests, other.requests) && slices.Equal(p.issued, other.issued)
}

// see takes in an object of the place's namespace.
func (p *place) see(seen client.Object) {
	switch seen := seen.(type) {
	case *certmanagerv1.Certificate:
		p.certificate = seen
		if until := p.olderThan(seen); until.After(p.older) {
			p.older = until
		}
	case *certmanagerv1.CertificateRequest:
		p.forget(seen)
		if read := readRequest(seen); metav1.GetControllerOfNoCopy(seen) == nil {
			p.requests = inserted(p.requests, read)
		} else {
			read.renewal, _ = strconv.Atoi(seen.Annotations[certmanagerv1.CertificateRequestRevisionAnnotationKey])
			p.issued = inserted(p.issued, read)
		}
	}
}

// olderThan is until when a certificate lives that a Certificate was made over, since its
// Secret stayed: cert-manager has issued none for it yet. Zero: there is none. Once it has,
// nothing tells of that any more, and the device may show it still.
func (p *place) olderThan(made *certmanagerv1.Certificate) time.Time {
	status := made.Status
	stayed := status.Revision == nil && status.NotAfter != nil && status.NotBefore != nil && status.NotBefore.Before(&made.CreationTimestamp)
	issued := func(r *request) bool { return r.isSigned() && isOf(r, made) }
	if !stayed || slices.ContainsFunc(p.issued, issued) {
		return time.Time{}
	}
	return status.NotAfter.Time
}

// inserted leaves the requests that there were as they are: others may look at them.
func inserted(requests []*request, read *request) []*request {
	next := append(slices.Clone(requests), read)
	slices.SortFunc(next, (*request).compare)
	return next
}

// forget an object of the place's namespace.
func (p *place) forget(gone client.Object) {
	if _, is := gone.(*certmanagerv1.Certificate); is {
		p.certificate = nil
		return
	}
	named := func(r *request) bool { return r.Name == gone.GetName() }
	p.requests = slices.DeleteFunc(slices.Clone(p.requests), named)
	p.issued = slices.DeleteFunc(slices.Clone(p.issued), named)
}

// at is what a namespace holds of the device.
func (m *member) at(namespace string) *place {
	at := slices.IndexFunc(m.places, func(p place) bool { return p.namespace == namespace })
	if at < 0 {
		at = len(m.places)
		m.places = append(m.places, place{namespace: namespace})
	}
	return &m.places[at]
}

// all are the objects that were made here. Those of a group that is declared no more are
// known by their marks alone, wherever they stand.
func (m *member) all() []client.Object {
	if !m.homeless {
		return m.standing.all()
	}
	return objectsIn(m.places)
}

// Declare takes in the groups that Git declares, where nothing is listed: which namespace
// holds the objects of their devices.
func (l *Lane) Declare(groups []v1alpha1.DeviceGroup) {
	homes := make(map[string]string, len(groups))
	for _, group := range groups {
		homes[group.Metadata.Name] = group.Spec.Namespace
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.house(homes)
}

// house the groups in their namespaces.
func (l *Lane) house(homes map[string]string) {
	if maps.Equal(l.homes, homes) {
		return
	}
	l.homes, l.unshared = homes, true
	for of, m := range l.members {
		l.settle(of, m)
	}
}

// settle what counts of the places where something is seen of a device.
func (l *Lane) settle(of name, m *member) {
	home, declared := l.homes[of.group]
	m.standing, m.home, m.homeless, m.changed = standing{}, home, !declared, true
	l.unshared = l.unshared || m.hasLeft()
	for _, p := range m.places {
		if declared && p.namespace == home {
			m.standing = p.standing
		}
	}
}
