package applier

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// fieldName is the one field that the API server selects objects of any kind by.
const fieldName = "metadata.name"

// IndexCopies prepares a cache for the lists of an [Observer]: ConfigMaps by their
// names. Without it, the cache refuses them.
func IndexCopies(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &corev1.ConfigMap{}, fieldName, nameOf); err != nil {
		return fmt.Errorf("index ConfigMaps by their names: %w", err)
	}
	return nil
}

func nameOf(object client.Object) []string { return []string{object.GetName()} }

// A place is where a copy of a bundle must lie, or lies.
type place struct {
	bundle, namespace string
	secret            bool
}

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.bundle, other.bundle), cmp.Compare(p.namespace, other.namespace), cmp.Compare(p.kind(), other.kind()))
}

func (p place) kind() string {
	if p.secret {
		return "Secret"
	}
	return "ConfigMap"
}

// A form is what a copy must hold: PEM under a key, and keystores beside it.
type form struct {
	key         string
	jks, pkcs12 store
}

// A store is the key of a keystore and its password; without a key there is none.
type store struct{ key, password string }

// defaultJKSPassword is trust-manager's, and Java's.
const defaultJKSPassword = "changeit"

func formOf(key string, formats v1alpha1.AdditionalFormats) form {
	f := form{key: key}
	if jks := formats.JKS; jks != nil {
		f.jks = store{key: jks.Key, password: defaultJKSPassword}
		if jks.Password != nil {
			f.jks.password = *jks.Password
		}
	}
	if pkcs12 := formats.PKCS12; pkcs12 != nil {
		f.pkcs12 = store{key: pkcs12.Key}
		if pkcs12.Password != nil {
			f.pkcs12.password = *pkcs12.Password
		}
	}
	return f
}

// A holder is a ConfigMap or Secret that has a bundle's name.
type holder struct {
	metav1.ObjectMeta
	texts  map[string]string
	binary map[string][]byte
}

// content is what stands under a key.
func (h holder) content(key string) (string, bool) {
	if text, is := h.texts[key]; is {
		return text, true
	}
	content, is := h.binary[key]
	return string(content), is
}

// revision tells an object from what it was before, and never comes back.
func (h holder) revision() string { return string(h.UID) + "/" + h.ResourceVersion }

// findConfigMaps lists the ConfigMaps of a bundle's name, wherever they are.
func (w *world) findConfigMaps(ctx context.Context, bundle string) error {
	var list corev1.ConfigMapList
	known, err := w.list(ctx, configMaps, &list, client.MatchingFields{fieldName: bundle})
	if err != nil {
		return err
	}
	w.copiesUnknown = w.copiesUnknown || !known
	for i := range list.Items {
		w.holders[place{bundle: bundle, namespace: list.Items[i].Namespace}] = holder{
			ObjectMeta: list.Items[i].ObjectMeta, texts: list.Items[i].Data, binary: list.Items[i].BinaryData,
		}
	}
	return nil
}

// gatherSecrets lists the Secrets of the bundles that have one as target, and no others.
func (w *world) gatherSecrets(ctx context.Context, standing []planner.Bundle) error {
	for _, name := range slices.Sorted(maps.Keys(w.inSecrets(standing))) {
		if err := w.findSecrets(ctx, name, w.secretForms(name, standing)); err != nil {
			return err
		}
	}
	return nil
}

// inSecrets are the names of the bundles that have a Secret as target, or are to have one.
func (w *world) inSecrets(standing []planner.Bundle) map[string]bool {
	names := map[string]bool{}
	for name := range w.names {
		if len(w.secretForms(name, standing)) > 0 {
			names[name] = true
		}
	}
	return names
}

// secretForms are what the Secrets of a bundle hold, as it stands and as it shall be.
func (w *world) secretForms(name string, standing []planner.Bundle) []form {
	targets := []v1alpha1.BundleTarget{w.declared[name].Target}
	for _, bundle := range standing {
		if bundle.Name == name {
			targets = append(targets, bundle.Target)
		}
	}
	var forms []form
	for _, target := range targets {
		for _, f := range formsOf(target) {
			if f.secret {
				forms = append(forms, f.form)
			}
		}
	}
	return forms
}

// findSecrets lists the Secrets of a bundle's name, wherever they are, and keeps of each
// what the forms name. The API server is asked, which a role may allow for that one name;
// a cache would have to be allowed all Secrets.
func (w *world) findSecrets(ctx context.Context, bundle string, forms []form) error {
	var list corev1.SecretList
	err := w.direct().List(ctx, &list, client.MatchingFields{fieldName: bundle})
	if apierrors.IsForbidden(err) {
		w.note("Secrets "+bundle, fmt.Sprintf("%v; add the component config/rbac/bundle-secrets, which grants list on the Secrets that it names, with %s among them", err, bundle))
		w.secretsUnknown[bundle] = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the Secrets %s: %w; the next turn asks again: if it stays so, see how the API server is", bundle, err)
	}
	for i := range list.Items {
		secret := &list.Items[i]
		h := holder{ObjectMeta: secret.ObjectMeta, binary: map[string][]byte{}}
		for _, f := range forms {
			h.keep(secret.Data, f)
		}
		w.holders[place{bundle: bundle, namespace: secret.Namespace, secret: true}] = h
	}
	return nil
}

// keep takes over what a form names.
func (h holder) keep(data map[string][]byte, f form) {
	for _, key := range []string{f.key, f.jks.key, f.pkcs12.key} {
		if content, has := data[key]; has && key != "" {
			h.binary[key] = content
		}
	}
}

// copies has one entry for each place that is selected, and for each copy of ours that
// lies elsewhere. Where a bundle's target is about to change, the places and forms of both
// targets count: neither may be behind.
func (w *world) copies(ctx context.Context, standing []planner.Bundle) ([]planner.Copy, error) {
	if w.copiesUnknown {
		return nil, nil
	}
	selected := w.places(standing)
	found := make([]planner.Copy, 0, len(selected))
	for _, at := range slices.SortedFunc(maps.Keys(selected), place.compare) {
		if at.secret && w.secretsUnknown[at.bundle] {
			continue
		}
		read, err := w.readCopy(ctx, at, selected[at])
		if err != nil {
			return nil, err
		}
		found = append(found, read)
	}
	elsewhere, err := w.unselected(ctx, standing, selected)
	if err != nil {
		return nil, err
	}
	found = append(found, elsewhere...)
	slices.SortFunc(found, func(a, b planner.Copy) int { return placeOf(a).compare(placeOf(b)) })
	return found, nil
}

func placeOf(c planner.Copy) place { return place{c.Bundle, c.Namespace, c.Secret} }

// places are all that are selected, each with the forms that the copy must have, the
// desired one last.
func (w *world) places(standing []planner.Bundle) map[place][]form {
	places := map[place][]form{}
	for _, bundle := range standing {
		target := bundle.Target
		if bundle.Via == v1alpha1.ViaConfigMap { // nothing but Git knows the selector
			target.NamespaceSelector = w.declared[bundle.Name].Target.NamespaceSelector
		}
		if w.declaredVia(bundle.Name) != "" || bundle.Via == v1alpha1.ViaBundle {
			w.pick(places, bundle.Name, target)
		}
	}
	for _, bundle := range w.desired.Bundles {
		w.pick(places, bundle.Metadata.Name, bundle.Spec.Target)
	}
	return places
}

// pick adds the namespaces that a target selects, but for those that are going.
func (w *world) pick(places map[place][]form, bundle string, target v1alpha1.BundleTarget) {
	selector, err := metav1.LabelSelectorAsSelector(&target.NamespaceSelector)
	if err != nil {
		w.note("Bundle "+bundle, fmt.Sprintf("its namespaceSelector is not understood: %v; put it right", err))
		return
	}
	for _, namespace := range w.namespaces.Items {
		if namespace.DeletionTimestamp != nil || !selector.Matches(labels.Set(namespace.Labels)) {
			continue
		}
		for _, f := range formsOf(target) {
			at := place{bundle, namespace.Name, f.secret}
			if !slices.Contains(places[at], f.form) {
				places[at] = append(places[at], f.form)
			}
		}
	}
}

// A targetForm is a form, in a ConfigMap or a Secret.
type targetForm struct {
	form
	secret bool
}

func formsOf(target v1alpha1.BundleTarget) []targetForm {
	var forms []targetForm
	if key := target.ConfigMap.Key; key != "" {
		forms = append(forms, targetForm{form: formOf(key, target.AdditionalFormats)})
	}
	if key := target.Secret.Key; key != "" {
		forms = append(forms, targetForm{form: formOf(key, target.AdditionalFormats), secret: true})
	}
	return forms
}

// unselected are the copies of ours in namespaces that no selector picks, but for those
// that are going.
func (w *world) unselected(ctx context.Context, standing []planner.Bundle, selected map[place][]form) ([]planner.Copy, error) {
	going := map[string]bool{}
	for _, namespace := range w.namespaces.Items {
		going[namespace.Name] = namespace.DeletionTimestamp != nil
	}
	var found []planner.Copy
	for at, h := range w.holders {
		if _, picked := selected[at]; picked || going[at.namespace] || !w.isOurs(h) {
			continue
		}
		var forms []form
		for _, bundle := range standing {
			if bundle.Name == at.bundle && bundle.Via == v1alpha1.ViaConfigMap {
				forms = append(forms, formOf(bundle.Target.ConfigMap.Key, bundle.Target.AdditionalFormats))
			}
		}
		read, err := w.readCopy(ctx, at, forms)
		if err != nil {
			return nil, err
		}
		read.Unselected = true
		found = append(found, read)
	}
	return found, nil
}

// isOurs reports whether reanchor made a copy for this domain.
func (w *world) isOurs(h holder) bool { return isOurCopy(&h) && belongs(&h, w.domain) }

// readCopy reads a copy in each of its forms. It holds the anchors that all of them hold.
func (w *world) readCopy(ctx context.Context, at place, forms []form) (planner.Copy, error) {
	read := planner.Copy{Bundle: at.bundle, Namespace: at.namespace, Secret: at.secret}
	h, there := w.holders[at]
	if !there {
		read.Missing, read.Problem = true, w.missing(at)
		return read, nil
	}
	problem, err := w.madeByOthers(ctx, at, h)
	if err != nil {
		return planner.Copy{}, err
	}
	if w.viaOf(at.bundle) != v1alpha1.ViaBundle { // which has a revision itself
		read.Revision = h.revision()
	}
	if read.Problem = problem; problem != "" {
		return read, nil
	}
	for n, f := range forms {
		anchors, digest, problem := w.readForm(at, h, f)
		if problem != "" {
			read.Problem, read.Anchors, read.Digest = problem, nil, pki.Fingerprint{}
			return read, nil
		}
		if n > 0 {
			anchors = anchors.Common(read.Anchors)
		}
		read.Anchors, read.Digest = anchors, digest
	}
	return read, nil
}

// missing says of a copy that is not there who has not written it yet.
func (w *world) missing(at place) string {
	switch w.viaOf(at.bundle) {
	case v1alpha1.ViaConfigMap:
		return fmt.Sprintf("there is no %s %s yet", at.kind(), at.bundle)
	case v1alpha1.ViaObserved:
		return fmt.Sprintf("nobody has written a %s %s yet", at.kind(), at.bundle)
	}
	return fmt.Sprintf("trust-manager has written no %s %s yet", at.kind(), at.bundle)
}

// madeByOthers says why an object is no copy of the bundle although it has its name;
// empty if it is one.
func (w *world) madeByOthers(ctx context.Context, at place, h holder) (string, error) {
	switch via := w.viaOf(at.bundle); {
	case via == v1alpha1.ViaObserved, via == v1alpha1.ViaBundle && h.Labels[LabelBundleCopy] == at.bundle:
		return "", nil
	case via == v1alpha1.ViaBundle:
		return fmt.Sprintf("a %s of that name is there that trust-manager did not make: see what the conditions of the Bundle say", at.kind()), nil
	case !isOurCopy(&h):
		return fmt.Sprintf("a %s of that name is there that reanchor did not make: delete it once nobody needs it, or give the bundle another name", at.kind()), nil
	}
	owner, other, err := w.owners.other(ctx, &h)
	if err != nil || !other {
		return "", err
	}
	return "it " + belongsTo(owner), nil
}

// isOurCopy reports whether reanchor made a ConfigMap as a copy, for whichever domain, and
// trust-manager has not taken it over since.
func isOurCopy(object metav1.Object) bool {
	_, labelled := ownerDomain(object)
	_, taken := object.GetLabels()[LabelBundleCopy]
	return labelled && !taken && object.GetLabels()[v1alpha1.LabelBundle] == object.GetName()
}

// readForm reads a copy in one form: the anchors that PEM and keystores have in common,
// and what tells this content from any other.
func (w *world) readForm(at place, h holder, f form) (anchors pki.Anchors, digest pki.Fingerprint, problem string) {
	content, has := h.content(f.key)
	if !has {
		return nil, digest, fmt.Sprintf("the %s has no key %q", at.kind(), f.key)
	}
	pem := w.parse(content)
	if pem.err != nil {
		return nil, digest, fmt.Sprintf("key %q: %v", f.key, pem.err)
	}
	anchors, digest = pem.anchors, pem.digest
	for _, format := range []struct {
		store
		read func([]byte, string) (pki.Anchors, error)
	}{{f.jks, readJKS}, {f.pkcs12, readPKCS12}} {
		if format.key == "" {
			continue
		}
		content, has := h.content(format.key)
		if !has {
			return nil, digest, fmt.Sprintf("the %s has no key %q", at.kind(), format.key)
		}
		held := w.parseStore(format.store, content, format.read)
		if held.err != nil {
			return nil, digest, fmt.Sprintf("key %q: %v", format.key, held.err)
		}
		anchors, digest = anchors.Common(held.anchors), sha256.Sum256(slices.Concat(digest[:], held.digest[:]))
	}
	return anchors, digest, ""
}
