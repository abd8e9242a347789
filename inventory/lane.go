package inventory

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Lane is a domain's devices: what Git lists, what the cluster was seen to hold, and what is
// to be done. A watch tells it of objects, by [Lane.See] and [Lane.Forget], at any time; the
// other methods belong to the domain's turns. A device of which nothing changed costs
// nothing but its place in a count.
type Lane struct {
	mutex   sync.Mutex
	members map[name]*member
	// objects tell whose a CertificateRequest or a Certificate is, by kind and name.
	objects map[object]name

	root      string
	inventory *Inventory
	rules     map[string]Rule
	keys      []Key
	above     []keySet
	// epoch counts the changes of the keys.
	epoch int
}

// name of a device, and object of what is made for it.
type (
	name   struct{ group, id string }
	object struct {
		certificate bool
		planner.Ref
	}
)

// member is one device: listed in Git, or in the cluster, or both.
type member struct {
	device *Device
	standing
	// changed since it was decided last.
	changed  bool
	decision decision
	// tallied is how far it is with each of the known keys.
	tallied tallied
}

// NewLane makes an empty one.
func NewLane() *Lane {
	return &Lane{members: map[name]*member{}, objects: map[object]name{}, inventory: &Inventory{}, rules: map[string]Rule{}}
}

// Of tells which device an object is for, and which domain's; false: none.
func Of(seen client.Object) (domain planner.Ref, group, id string, is bool) {
	labels, annotations := seen.GetLabels(), seen.GetAnnotations()
	group, is = labels[v1alpha1.LabelDeviceGroup]
	domain = planner.Ref{Namespace: labels[v1alpha1.LabelDomainNamespace], Name: labels[v1alpha1.LabelDomainName]}
	id = annotations[v1alpha1.AnnotationDevice]
	return domain, group, id, is && id != ""
}

// See takes in a CertificateRequest or a Certificate of one of the domain's devices. The
// object is kept and must not be changed.
func (l *Lane) See(seen client.Object) {
	_, group, id, is := Of(seen)
	if !is {
		l.Forget(seen)
		return
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	m := l.member(name{group, id})
	l.objects[objectOf(seen)] = name{group, id}
	m.changed = true
	switch seen := seen.(type) {
	case *certmanagerv1.Certificate:
		m.certificate = seen
	case *certmanagerv1.CertificateRequest:
		m.drop(seen.Name)
		if read := readRequest(seen); metav1.GetControllerOfNoCopy(seen) == nil {
			m.requests = append(m.requests, read)
			slices.SortFunc(m.requests, (*request).compare)
		} else {
			read.renewal, _ = strconv.Atoi(seen.Annotations[certmanagerv1.CertificateRequestRevisionAnnotationKey])
			m.issued = append(m.issued, read)
			slices.SortFunc(m.issued, (*request).compare)
		}
	}
}

// Forget an object that is gone.
func (l *Lane) Forget(gone client.Object) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	whose, known := l.objects[objectOf(gone)]
	if !known {
		return
	}
	delete(l.objects, objectOf(gone))
	m := l.member(whose)
	m.changed = true
	if _, is := gone.(*certmanagerv1.Certificate); is {
		m.certificate = nil
	} else {
		m.drop(gone.GetName())
	}
	l.leave(whose)
}

func objectOf(seen client.Object) object {
	_, certificate := seen.(*certmanagerv1.Certificate)
	return object{certificate, planner.Ref{Namespace: seen.GetNamespace(), Name: seen.GetName()}}
}

func (l *Lane) member(of name) *member {
	m := l.members[of]
	if m == nil {
		m = &member{changed: true}
		l.members[of] = m
	}
	return m
}

// leave forgets a device of which nothing is known any more.
func (l *Lane) leave(of name) {
	if m := l.members[of]; m.device == nil && len(m.requests)+len(m.issued) == 0 && m.certificate == nil {
		delete(l.members, of)
	}
}

func (m *member) drop(gone string) {
	named := func(r *request) bool { return r.Name == gone }
	m.requests, m.issued = slices.DeleteFunc(m.requests, named), slices.DeleteFunc(m.issued, named)
}

// List takes in what Git lists below a folder.
func (l *Lane) List(read *Inventory, root string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.inventory == read && l.root == root {
		return
	}
	l.inventory, l.root = read, root
	listed := make(map[name]*Device, len(l.members))
	for device := range read.All() {
		listed[name{device.Group, device.ID}] = device
	}
	for of, m := range l.members {
		if m.device != nil && listed[of] == nil && read.Readable(root, of.group, of.id) {
			m.device, m.changed = nil, true
			l.leave(of)
		}
	}
	for of, device := range listed {
		if m := l.member(of); m.device == nil || *m.device != *device {
			m.device, m.changed = device, true
		}
	}
}

// IsEmpty reports that Git lists no device, and the cluster holds nothing of one.
func (l *Lane) IsEmpty() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.members) == 0
}

// Refuse notes that an object of the work was refused as it is: it is not tried again for a
// while, unless something of its device changes.
func (l *Lane) Refuse(stamped *unstructured.Unstructured, why string, now time.Time) {
	_, group, id, _ := Of(stamped)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if m := l.members[name{group, id}]; m != nil {
		m.decision = decision{state: StateFailed, why: why, due: now.Add(retryAfter)}
	}
}

// Listed is what Git lists.
func (l *Lane) Listed() *Inventory {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.inventory
}

// Obey takes in the rules of the groups.
func (l *Lane) Obey(rules []Rule) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	next := make(map[string]Rule, len(rules))
	changed := map[string]bool{}
	for _, rule := range rules {
		group := rule.Group.Metadata.Name
		next[group] = rule
		if before, known := l.rules[group]; !known || !before.equal(rule) {
			changed[group] = true
		}
	}
	l.rules = next
	for of, m := range l.members {
		m.changed = m.changed || changed[of.group]
	}
}

func (r Rule) equal(other Rule) bool {
	return r.signsWith() == other.signsWith() && r.Signer.Certificate.Fingerprint() == other.Signer.Certificate.Fingerprint() &&
		sameJSON(r.Group, other.Group) && sameJSON(r.Template, other.Template)
}

// Work is what is to be done for the devices.
type Work struct {
	// Apply are objects to write, in order of kind, namespace and name.
	Apply []*unstructured.Unstructured
	// Confirm says what to write on requests of what is known of their devices.
	Confirm []Confirm
	// Remove are objects that go, sorted likewise, and Reissue the Certificates to issue anew.
	Remove  []client.Object
	Reissue []planner.Ref
	// Standing devices have an object in the cluster; Leaving are those of them that would
	// lose all theirs.
	Standing, Leaving int
	// States counts the active devices, and Failed tells of the first that failed.
	States map[State]int
	Failed []Failure
	// Due is when time alone brings further work; zero: never.
	Due time.Time
}

// Confirm is an annotation to write: on a CertificateRequest, or on a Certificate where
// cert-manager makes the device's key.
type Confirm struct {
	Request     planner.Ref
	UID         types.UID
	Text        string
	Certificate bool
}

// Failure is a device that was refused a certificate, and why.
type Failure struct{ Device, Why string }

// namedFailures is how many devices are told of by name.
const namedFailures = 10

// Work says what is to be done now. Of a device of which nothing has changed, and whose time
// has not come, that is what it was.
func (l *Lane) Work(now time.Time) Work {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	work := Work{States: map[State]int{}}
	for of, m := range l.members {
		if due := m.decision.due; m.changed || !due.IsZero() && !now.Before(due) {
			m.decision, m.changed = l.decide(of, m, now), false
			m.tallied.epoch = 0
		}
		work.add(of, m)
	}
	work.sort()
	return work
}

// decide for one device. One whose file cannot be used, or whose group's rule is not known,
// is left as it is.
func (l *Lane) decide(of name, m *member, now time.Time) decision {
	rule, ruled := l.rules[of.group]
	switch {
	case m.device == nil && !l.inventory.Readable(l.root, of.group, of.id):
		return decision{}
	case m.device == nil:
		return decision{remove: m.all()}
	case !ruled:
		return decision{}
	}
	return decide(*m.device, m.standing, rule, now)
}

// add what is to be done for one device.
func (w *Work) add(of name, m *member) {
	d := m.decision
	if len(m.requests) > 0 || m.certificate != nil {
		w.Standing++
		if d.state == "" && len(d.remove) > 0 {
			w.Leaving++
		}
	}
	if d.state != "" {
		w.States[d.state]++
	}
	if d.state == StateFailed {
		w.Failed = append(w.Failed, Failure{of.group + "/" + of.id, d.why})
	}
	if d.apply != nil {
		w.Apply = append(w.Apply, d.apply)
	}
	if d.confirm != nil {
		w.Confirm = append(w.Confirm, *d.confirm)
	}
	w.Remove = append(w.Remove, d.remove...)
	if d.reissue {
		w.Reissue = append(w.Reissue, planner.Ref{Namespace: m.certificate.Namespace, Name: m.certificate.Name})
	}
	if !d.due.IsZero() && (w.Due.IsZero() || d.due.Before(w.Due)) {
		w.Due = d.due
	}
}

func (w *Work) sort() {
	slices.SortFunc(w.Apply, func(a, b *unstructured.Unstructured) int {
		return strings.Compare(a.GetKind()+" "+a.GetNamespace()+"/"+a.GetName(), b.GetKind()+" "+b.GetNamespace()+"/"+b.GetName())
	})
	slices.SortFunc(w.Confirm, func(a, b Confirm) int { return a.Request.Compare(b.Request) })
	slices.SortFunc(w.Remove, func(a, b client.Object) int { return objectOf(a).Compare(objectOf(b).Ref) })
	slices.SortFunc(w.Reissue, planner.Ref.Compare)
	slices.SortFunc(w.Failed, func(a, b Failure) int { return strings.Compare(a.Device, b.Device) })
	w.Failed = w.Failed[:min(len(w.Failed), namedFailures)]
}

// Idle reports that there is nothing to do.
func (w *Work) Idle() bool {
	return len(w.Apply)+len(w.Confirm)+len(w.Remove)+len(w.Reissue) == 0
}
