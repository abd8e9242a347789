package inventory

import (
	"cmp"
	"slices"
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

	// homes are the namespaces of the groups that Git declares.
	homes map[string]string
	// shared is how many devices mind an object of one that Git lists no more.
	shared map[object]int
	// unshared: who minds what of such devices is to be found anew.
	unshared bool

	root      string
	inventory *Inventory
	rules     map[string]Rule
	rankings  map[string]ranking
	keys      []Key
	above     []keySet
	// epoch counts the changes of the keys.
	epoch int
	// keeps: something may not be deleted, and who discards is to be decided anew.
	keeps bool
}

// name of a device, and object of what is made for it.
type (
	name   struct{ group, id string }
	object struct {
		certificate bool
		planner.Ref
	}
)

func (n name) compare(other name) int {
	return cmp.Or(cmp.Compare(n.group, other.group), cmp.Compare(n.id, other.id))
}

// member is one device: listed in Git, or in the cluster, or both.
type member struct {
	device *Device
	// unusable is a file that does not say what Git wants of it: it is left as it is.
	unusable bool
	// contested is what a file says that would be usable, were its key not another's too.
	contested *Device
	// places are what is seen of it, by namespace, and standing what the group's holds: what
	// somebody makes in another is not its.
	places []place
	standing
	// home is the namespace of its group.
	home string
	// homeless: there is no such group any more, and so no namespace of it.
	homeless bool
	// bequeathed: Git lists it no more, and what there is of it is another device's to mind.
	// inherited are the places of such as this one minds.
	bequeathed bool
	inherited  []place
	// kept are its objects that may not be deleted where they lie.
	kept map[types.UID]kept
	// rank is its place, of so many, in the order of waves, by the ranking of that number;
	// waits: it is not in turn yet.
	rank, of, ranking int
	waits             bool
	// changed since it was decided last.
	changed  bool
	decision decision
	// tallied is how far it is with each of the known keys.
	tallied tallied
}

// NewLane makes an empty one.
func NewLane() *Lane {
	return &Lane{members: map[name]*member{}, objects: map[object]name{}, inventory: &Inventory{}, rules: map[string]Rule{}, rankings: map[string]ranking{}}
}

// Of tells which device an object is for, and which domain's; false: none. It has reanchor's
// labels, and the name that follows from the device, or is what cert-manager made of such a
// Certificate. Whether it stands in the group's namespace, a lane looks at itself.
func Of(seen client.Object) (domain planner.Ref, group, id string, is bool) {
	labels, annotations := seen.GetLabels(), seen.GetAnnotations()
	group, is = labels[v1alpha1.LabelDeviceGroup]
	domain = planner.Ref{Namespace: labels[v1alpha1.LabelDomainNamespace], Name: labels[v1alpha1.LabelDomainName]}
	id = annotations[v1alpha1.AnnotationDevice]
	return domain, group, id, is && id != "" && isNamedFor(seen, v1alpha1.DeviceObjectName(group, id))
}

// isNamedFor reports whether an object bears the name of a device's objects: a Certificate
// that very name, a CertificateRequest one that begins so, and one that cert-manager made
// belongs to that Certificate.
func isNamedFor(seen client.Object, name string) bool {
	owner := metav1.GetControllerOfNoCopy(seen)
	switch {
	case owner != nil:
		return owner.Kind == certmanagerv1.CertificateKind && owner.Name == name
	case seen.GetName() == name:
		return true
	}
	return strings.HasPrefix(seen.GetName(), name+"-")
}

// See takes in a CertificateRequest or a Certificate of one of the domain's devices. The
// object is kept and must not be changed.
func (l *Lane) See(seen client.Object) {
	_, group, id, is := Of(seen)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	whose := name{group, id}
	if before, known := l.objects[objectOf(seen)]; known && (!is || before != whose) {
		l.forget(seen)
	}
	if !is {
		return
	}
	l.objects[objectOf(seen)] = whose
	m := l.member(whose)
	m.at(seen.GetNamespace()).see(seen)
	l.settle(whose, m)
}

// Forget an object that is gone.
func (l *Lane) Forget(gone client.Object) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.forget(gone)
}

func (l *Lane) forget(gone client.Object) {
	whose, known := l.objects[objectOf(gone)]
	if !known {
		return
	}
	delete(l.objects, objectOf(gone))
	m := l.member(whose)
	m.at(gone.GetNamespace()).forget(gone)
	delete(m.kept, gone.GetUID())
	m.places = slices.DeleteFunc(m.places, func(p place) bool { return len(p.requests)+len(p.issued) == 0 && p.certificate == nil })
	l.settle(whose, m)
	l.leave(whose)
}

func objectOf(seen client.Object) object {
	_, certificate := seen.(*certmanagerv1.Certificate)
	return object{certificate, planner.Ref{Namespace: seen.GetNamespace(), Name: seen.GetName()}}
}

func (l *Lane) member(of name) *member {
	m := l.members[of]
	if m == nil {
		m = &member{changed: true, unusable: !l.inventory.Readable(l.root, of.group, of.id)}
		l.settle(of, m)
		l.members[of] = m
	}
	return m
}

// leave forgets a device of which nothing is known any more.
func (l *Lane) leave(of name) {
	if m := l.members[of]; m.device == nil && m.contested == nil && len(m.places) == 0 {
		delete(l.members, of)
	}
}

// List takes in what Git lists below a folder.
func (l *Lane) List(read *Inventory, root string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.inventory == read && l.root == root {
		return
	}
	l.inventory, l.root, l.unshared = read, root, true
	homes := make(map[string]string, len(read.groups))
	for group, declared := range read.groups {
		homes[group] = declared.Spec.Namespace
	}
	l.house(homes)
	listed := make(map[name]*Device, len(l.members))
	for device := range read.All() {
		listed[name{device.Group, device.ID}] = device
	}
	for of, m := range l.members {
		unusable := !read.isUsable(listed[of]) && !read.Readable(root, of.group, of.id)
		m.changed = m.changed || unusable != m.unusable || m.contested != nil
		m.unusable, m.contested = unusable, nil
		if m.device != nil && listed[of] == nil && !unusable {
			m.device, m.changed = nil, true
			l.leave(of)
		}
	}
	for of, device := range listed {
		if m := l.member(of); m.device == nil || *m.device != *device {
			m.device, m.changed = device, true
		}
	}
	for device := range read.contested() {
		m := l.member(name{device.Group, device.ID})
		m.contested, m.changed = device, true
	}
}

// listed is what Git lists of a device, and whether that can be used. Of those that contest
// a key, the one with a certificate for it that has not ended keeps it.
func (m *member) listed(now time.Time) (*Device, bool) {
	if m.contested != nil && m.holds(m.contested.Key, now) {
		return m.contested, true
	}
	return m.device, !m.unusable
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
	return r.signsWith() == other.signsWith() && r.Later == other.Later && r.Stolen == other.Stolen && r.Signer.Certificate.Fingerprint() == other.Signer.Certificate.Fingerprint() &&
		sameJSON(r.Group, other.Group) && sameJSON(r.Template, other.Template)
}

// Work is what is to be done for the devices.
type Work struct {
	// Apply are objects to write, in order of kind, namespace and name.
	Apply []*unstructured.Unstructured
	// Confirm says what to write on requests of what is known of their devices.
	Confirm []Confirm
	// Discard are objects that nobody needs any more, in order of namespace and name, and that
	// lie where the group's objects are made no more: whoever may not delete them there leaves
	// them.
	Discard []client.Object
	// Kept are such as may not be deleted there, in order; they are left alone for a while.
	Kept []Kept
	// Remove are objects that go, sorted likewise, and Reissue the Certificates to issue anew,
	// in order.
	Remove  []client.Object
	Reissue []Reissue
	// Standing devices have an object in the cluster; Leaving are those of them that would
	// lose all theirs.
	Standing, Leaving int
	// States counts the active devices, and Failed tells of the first that failed.
	States map[State]int
	Failed []Failure
	// Due is when time alone brings further work; zero: never.
	Due time.Time
}

// Reissue is a Certificate to issue anew, and why.
type Reissue struct {
	Certificate planner.Ref
	Why         string
	lost        bool
}

// Confirm is an annotation to write: on a CertificateRequest, or on a Certificate where
// cert-manager makes the device's key. ResourceVersion is the object's as it was read: what
// somebody else has written on it since is not written over.
type Confirm struct {
	Request         planner.Ref
	UID             types.UID
	ResourceVersion string
	Text            string
	Certificate     bool
}

// confirmOn is a Confirm of an object as it was read, without a text.
func confirmOn(read client.Object) Confirm {
	_, certificate := read.(*certmanagerv1.Certificate)
	return Confirm{Request: objectOf(read).Ref, UID: read.GetUID(), ResourceVersion: read.GetResourceVersion(), Certificate: certificate}
}

// saying is the same with a text.
func (c Confirm) saying(known Confirmation) *Confirm {
	c.Text = known.String()
	return &c
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
	l.bequeath()
	l.queue(now)
	work := Work{States: map[State]int{}}
	for of, m := range l.members {
		if due := m.decision.due; m.changed || l.keeps && len(m.decision.discard) > 0 || !due.IsZero() && !now.Before(due) {
			m.decision, m.changed = l.withoutKept(l.decide(of, m, now), now), false
			m.tallied.epoch = 0
		}
		work.add(of, m)
	}
	work.Discard = l.agreed(work.Discard)
	l.keeps = false
	work.sort()
	work.ration(l.lostIssuing(), now)
	return work
}

// decide for one device. One whose file cannot be used, or whose group's rule is not known,
// is left as it is.
func (l *Lane) decide(of name, m *member, now time.Time) decision {
	rule, ruled := l.rules[of.group]
	device, usable := m.listed(now)
	switch {
	case !usable:
		return decision{}
	case device == nil && m.bequeathed:
		return decision{}
	case device == nil:
		return decision{remove: m.all(), discard: m.abroad()}
	case !ruled:
		return decision{}
	}
	rule.waits = m.waits
	d := decide(*device, m.standing, rule, now)
	if device.State == v1alpha1.DeviceActive {
		d.discard = m.outgrown(now, &d)
	} else {
		d.discard = m.abroad()
	}
	if counts := m.counts(now); !counts.IsZero() {
		d.by(counts)
	}
	return d
}

// add what is to be done for one device.
func (w *Work) add(of name, m *member) {
	d := m.decision
	if all := m.all(); len(all) > 0 {
		w.Standing++
		if len(d.remove) == len(all) {
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
	w.Discard, w.Kept = append(w.Discard, d.discard...), append(w.Kept, d.kept...)
	if d.reissue {
		w.Reissue = append(w.Reissue, d.reissues(objectOf(m.certificate).Ref))
	}
	if !d.due.IsZero() {
		w.by(d.due)
	}
}

// by brings the time at which to look again forward.
func (w *Work) by(at time.Time) {
	if w.Due.IsZero() || at.Before(w.Due) {
		w.Due = at
	}
}

func (w *Work) sort() {
	slices.SortFunc(w.Apply, func(a, b *unstructured.Unstructured) int {
		return strings.Compare(a.GetKind()+" "+a.GetNamespace()+"/"+a.GetName(), b.GetKind()+" "+b.GetNamespace()+"/"+b.GetName())
	})
	slices.SortFunc(w.Confirm, func(a, b Confirm) int { return a.Request.Compare(b.Request) })
	for _, gone := range [][]client.Object{w.Remove, w.Discard} {
		slices.SortFunc(gone, func(a, b client.Object) int { return objectOf(a).Compare(objectOf(b).Ref) })
	}
	slices.SortFunc(w.Kept, func(a, b Kept) int { return strings.Compare(a.Object, b.Object) })
	w.Kept = slices.Compact(w.Kept) // several may mind one
	slices.SortFunc(w.Reissue, func(a, b Reissue) int { return a.Certificate.Compare(b.Certificate) })
	slices.SortFunc(w.Failed, func(a, b Failure) int { return strings.Compare(a.Device, b.Device) })
	w.Failed = w.Failed[:min(len(w.Failed), namedFailures)]
}

// Idle reports that there is nothing to do.
func (w *Work) Idle() bool {
	return len(w.Apply)+len(w.Confirm)+len(w.Remove)+len(w.Discard)+len(w.Reissue) == 0
}
