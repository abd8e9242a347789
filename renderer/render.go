package renderer

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Render makes the manifests of a target, with the native ones and the overlay
// applied over all of them. The domain is the TrustDomain that they belong to.
//
// Equal input gives equal manifests in equal order: the kinds that others need
// come first, then kind, namespace and name. The caller may change what it gets.
// The last result is kept, so that rendering the same target again costs a copy.
func (l *Loaded) Render(target planner.Target, domain planner.Ref) ([]*unstructured.Unstructured, error) {
	key, err := digest(target, domain)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", domain, err)
	}
	made, err := l.last.get(key, func() (all rendered, err error) { return l.render(target, domain) })
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", domain, err)
	}
	return made, nil
}

// rendered is all that a target comes to.
type rendered struct {
	manifests []*unstructured.Unstructured
	// templates of devices by their groups.
	templates map[string]*unstructured.Unstructured
}

func (l *Loaded) render(target planner.Target, domain planner.Ref) (all rendered, err error) {
	belongs, err := domainLabels(domain)
	if err != nil {
		return all, err
	}
	own, err := l.manifests(target)
	if err != nil {
		return all, err
	}
	own = append(own, l.deviceTemplates()...)
	stamps, err := l.stamps(own)
	if err != nil {
		return all, err
	}
	made, err := l.overlaid(append(own, copies(l.Native)...), belongs)
	if err != nil {
		return all, err
	}
	if err := errLost(made, stamps); err != nil {
		return all, err
	}
	if err := stamp(made, stamps, belongs); err != nil {
		return all, err
	}
	made, all.templates = l.withoutTemplates(made)
	if all.manifests, err = l.copied(made, target.Bundles); err != nil {
		return all, err
	}
	slices.SortFunc(all.manifests, compareObjects)
	return all, nil
}

// domainLabels name the domain that an object belongs to.
func domainLabels(domain planner.Ref) (map[string]string, error) {
	for _, part := range []string{domain.Name, domain.Namespace} {
		if problems := validation.IsValidLabelValue(part); len(problems) > 0 || part == "" {
			return nil, fmt.Errorf("%q cannot be a label's value, which names the domain on every object; "+
				"give the TrustDomain a name of at most %d characters", part, validation.LabelValueMaxLength)
		}
	}
	return map[string]string{v1alpha1.LabelDomainName: domain.Name, v1alpha1.LabelDomainNamespace: domain.Namespace}, nil
}

// marks are the labels and annotations by which a rendered object is known again.
type marks struct{ labels, annotations map[string]string }

// stamps are the marks that each rendered object bears. Two objects of one name are
// refused: one of them would be lost.
func (l *Loaded) stamps(rendered []*unstructured.Unstructured) (map[identity]marks, error) {
	stamps := make(map[identity]marks, len(rendered))
	for _, o := range rendered {
		id := identityOf(o)
		if _, twice := stamps[id]; twice {
			return nil, fmt.Errorf("%s: would be rendered twice; rename one of the documents or keys", id)
		}
		if at, native := l.origins[id]; native {
			return nil, fmt.Errorf("%s:%d: %s is what reanchor renders; rename it or take it out", at.file, at.line, id)
		}
		stamps[id] = marksOf(o)
	}
	return stamps, nil
}

// ownAnnotations are those that reanchor alone may set on what it renders.
var ownAnnotations = []string{v1alpha1.AnnotationSignsWith, v1alpha1.AnnotationCertificates, v1alpha1.AnnotationAdopt, v1alpha1.AnnotationAdopted}

// marksOf are those labels and annotations of an object that reanchor alone may set: every
// label of its group but the one for people, and the annotations by which it remembers what is in
// an object and where it came from.
// Others of the group are for owners of workloads.
func marksOf(o *unstructured.Unstructured) marks {
	kept := marks{map[string]string{}, map[string]string{}}
	for key, value := range o.GetLabels() {
		if strings.HasPrefix(key, v1alpha1.GroupVersion.Group+"/") && key != v1alpha1.LabelEnvironment {
			kept.labels[key] = value
		}
	}
	for key, value := range o.GetAnnotations() {
		if slices.Contains(ownAnnotations, key) {
			kept.annotations[key] = value
		}
	}
	return kept
}

// overlaid are the objects with the overlay applied. They bear their domain's
// labels already, so that an overlay sees what will be applied.
func (l *Loaded) overlaid(objects []*unstructured.Unstructured, belongs map[string]string) ([]*unstructured.Unstructured, error) {
	slices.SortFunc(objects, compareObjects)
	if l.overlay == nil {
		return objects, nil
	}
	var manifests bytes.Buffer
	for _, o := range objects {
		setLabels(o, belongs)
		data, err := o.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", identityOf(o), err)
		}
		manifests.WriteString("---\n")
		manifests.Write(data)
	}
	made, err := l.overlay.over(manifests.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.overlay.folder, err)
	}
	withoutNamespaces(made)
	bare := make([]*unstructured.Unstructured, len(made))
	for i, o := range made {
		bare[i] = o.Unstructured
	}
	return bare, nil
}

// errLost refuses an overlay after which reanchor would not find its objects
// again, since it knows them by kind and name.
func errLost(objects []*unstructured.Unstructured, stamps map[identity]marks) error {
	lost := maps.Clone(stamps)
	for _, o := range objects {
		delete(lost, identityOf(o))
	}
	if len(lost) == 0 {
		return nil
	}
	var all []string
	for id := range lost {
		all = append(all, id.String())
	}
	slices.Sort(all)
	return fmt.Errorf("%s: renames, moves or removes %s, which reanchor would not find again; change the documents instead",
		overlayFolder, strings.Join(all, ", "))
}

// stamp sets the marks on the final objects, on their own metadata only.
func stamp(objects []*unstructured.Unstructured, stamps map[identity]marks, belongs map[string]string) error {
	for _, o := range objects {
		id := identityOf(o)
		want, set := stamps[id], marksOf(o)
		labels := maps.Clone(belongs)
		maps.Copy(labels, want.labels)
		if key := otherThan(set.labels, labels); key != "" {
			return fmt.Errorf("%s: the label %s is set by reanchor alone; take it out of the manifest or overlay", id, key)
		}
		if key := otherThan(set.annotations, want.annotations); key != "" {
			return fmt.Errorf("%s: the annotation %s is set by reanchor alone; take it out of the manifest or overlay", id, key)
		}
		setLabels(o, labels)
		setAnnotations(o, want.annotations)
	}
	return nil
}

// otherThan is the first key that is set and not wanted, or to another value; empty if
// there is none.
func otherThan(set, want map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if value, wanted := want[key]; !wanted || value != set[key] {
			return key
		}
	}
	return ""
}

func setLabels(o *unstructured.Unstructured, labels map[string]string) {
	all := o.GetLabels()
	if all == nil {
		all = make(map[string]string, len(labels))
	}
	maps.Copy(all, labels)
	o.SetLabels(all)
}

func setAnnotations(o *unstructured.Unstructured, annotations map[string]string) {
	if len(annotations) == 0 {
		return
	}
	all := o.GetAnnotations()
	if all == nil {
		all = make(map[string]string, len(annotations))
	}
	maps.Copy(all, annotations)
	o.SetAnnotations(all)
}

func copies(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	copied := make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		copied[i] = o.DeepCopy()
	}
	return copied
}

// digest tells one target and domain from another.
func digest(target planner.Target, domain planner.Ref) ([sha256.Size]byte, error) {
	data, err := json.Marshal(struct {
		Target planner.Target
		Domain planner.Ref
	}{target, domain})
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("write the target: %w", err)
	}
	return sha256.Sum256(data), nil
}

// memo keeps the last result.
type memo struct {
	mu   sync.Mutex
	key  [sha256.Size]byte
	made bool
	rendered
}

func (m *memo) get(
	key [sha256.Size]byte, make func() (rendered, error),
) ([]*unstructured.Unstructured, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.key != key || !m.made {
		made, err := make()
		if err != nil {
			return nil, err
		}
		m.key, m.made, m.rendered = key, true, made
	}
	return copies(m.manifests), nil
}
