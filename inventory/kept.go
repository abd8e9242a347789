package inventory

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kept is an object that may not be deleted where it lies.
type kept struct {
	version string
	until   time.Time
	why     string
}

// Kept tells of an object that nobody needs and that stays, since the account that writes may
// not delete it: "CertificateRequest plant/sensors-1", and what the API server says.
type Kept struct{ Object, Why string }

// Keep notes that an object of the work was not deleted, since that is forbidden there. It is
// not tried again for a while, unless the object changes.
func (l *Lane) Keep(object client.Object, why string, now time.Time) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	m := l.members[l.objects[objectOf(object)]]
	if m == nil {
		return // it is gone meanwhile
	}
	if m.kept == nil {
		m.kept = map[types.UID]kept{}
	}
	m.kept[object.GetUID()] = kept{object.GetResourceVersion(), now.Add(retryAfter), why}
	l.keeps = true
}

// withoutKept leaves out of what is to be discarded what may not be deleted for now.
func (l *Lane) withoutKept(d decision, now time.Time) decision {
	var discard []client.Object
	for _, object := range d.discard {
		m := l.members[l.objects[objectOf(object)]]
		var stays kept
		if m != nil {
			stays = m.kept[object.GetUID()]
		}
		if stays.version != object.GetResourceVersion() || !now.Before(stays.until) {
			discard = append(discard, object)
			continue
		}
		d.by(stays.until)
		d.kept = append(d.kept, Kept{objectOf(object).String(), stays.why})
	}
	d.discard = discard
	return d
}

// String is "CertificateRequest plant/sensors-1".
func (o object) String() string {
	if o.certificate {
		return "Certificate " + o.Ref.String()
	}
	return "CertificateRequest " + o.Ref.String()
}
