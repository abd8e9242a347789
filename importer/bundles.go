package importer

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// kubernetesRoots is the ConfigMap that Kubernetes itself keeps in every namespace.
const kubernetesRoots = "kube-root-ca.crt"

// describeBundles takes over the Bundles whose anchors stand inline, and has the copies of
// the others looked at where they hold an anchor that matters.
func (d *description) describeBundles() {
	for i := range d.seen.Bundles {
		object := &d.seen.Bundles[i]
		d.bundleNames[object.GetName()] = true
		if !isName(object.GetName()) {
			d.leave(Left{Object: "Bundle " + object.GetName(), Why: "its name is longer than the value of a label, by which reanchor knows its own", Do: "make one of a shorter name, and move its users"})
			continue
		}
		bundle, err := applier.ReadBundle(object)
		switch writer := writerOf(object); {
		case err != nil:
			d.observeBundle(object, fmt.Sprintf("it takes anchors from elsewhere (%v)", err),
				"give it its certificates inline (spec.sources: [{inLine: …}]), and import again")
		case writer != "":
			d.observeBundle(object, writer+" writes it", "have it left alone there, and import again")
		default:
			d.adoptBundle(object, bundle)
		}
	}
}

// adoptBundle describes a Bundle that reanchor is to write from now on.
func (d *description) adoptBundle(object *unstructured.Unstructured, bundle planner.Bundle) {
	spec := v1alpha1.TrustBundleSpec{UseDefaultCAs: bundle.UseDefaultCAs, Target: targetOf(bundle.Target)}
	var rest pki.Anchors
	spec.Authorities, rest = d.authoritiesIn(bundle.Anchors)
	for _, anchor := range rest {
		if !anchor.IsCA() {
			d.leave(Left{Object: "Bundle " + bundle.Name, Why: fmt.Sprintf("it holds %s, which is not a CA's certificate", anchor), Do: "take that out of it, and import again"})
			return
		}
		spec.Certificates = append(spec.Certificates, string(anchor.PEM()))
	}
	if len(bundle.Anchors) == 0 && !bundle.UseDefaultCAs {
		d.leave(Left{Object: "Bundle " + bundle.Name, Why: "it holds no anchor", Do: "delete it, if nobody needs it"})
		return
	}
	d.addBundle(v1alpha1.TrustBundle{Metadata: toAdopt(bundle.Name, ""), Spec: spec})
	note := ""
	if n := len(spec.Certificates); n > 0 {
		note = counted(n, "anchor of it is no Authority's, and stands under certificates", "anchors of it are no Authority's, and stand under certificates") + intermediatesIn(rest)
	}
	d.take("Bundle "+object.GetName(), "TrustBundle "+bundle.Name, note)
}

// intermediatesIn says of a set that it pins intermediates: no rollover of one of those goes on
// while somebody verifies by it alone.
func intermediatesIn(anchors pki.Anchors) string {
	var names []string
	for _, anchor := range anchors {
		if !anchor.SelfSigned() {
			names = append(names, anchor.CommonName())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s: an intermediate is pinned there, and cannot be rolled over before the root is in it as well: name that under authorities", strings.Join(names, ", "))
}

// observeBundle describes a Bundle that somebody else writes, if its copies hold an anchor
// of an authority, and leaves it otherwise.
func (d *description) observeBundle(object *unstructured.Unstructured, why, do string) {
	name := object.GetName()
	var target struct {
		Spec struct {
			Target v1alpha1.BundleTarget `json:"target"`
		} `json:"spec"`
	}
	if err := fromUnstructured(object, &target); err != nil {
		d.leave(Left{Object: "Bundle " + name, Why: why + ", and its target is not understood", Do: do})
		return
	}
	at := target.Spec.Target
	authorities, _ := d.authoritiesIn(d.copiesOf(name, at.ConfigMap.Key))
	if len(authorities) == 0 {
		d.leave(Left{Object: "Bundle " + name, Why: why + ", and its copies hold no anchor of what is taken over", Do: do})
		return
	}
	d.addBundle(v1alpha1.TrustBundle{Metadata: v1alpha1.Metadata{Name: name}, Spec: v1alpha1.TrustBundleSpec{
		Authorities: authorities, Via: v1alpha1.ViaObserved,
		Target: v1alpha1.BundleTarget{ConfigMap: at.ConfigMap, NamespaceSelector: at.NamespaceSelector},
	}})
	d.take("Bundle "+name, "TrustBundle "+name+", via: Observed", why+": a rollover waits until whoever writes it has added the new anchor. For reanchor to write it, "+do)
}

// copiesOf are the anchors in the copies of a Bundle that are ConfigMaps.
func (d *description) copiesOf(bundle, key string) pki.Anchors {
	var anchors pki.Anchors
	for _, configMap := range d.seen.ConfigMaps {
		if configMap.Labels[applier.LabelBundleCopy] == bundle && configMap.Name == bundle {
			anchors = anchors.Union(pki.NewAnchors(read([]byte(configMap.Data[key]))...))
		}
	}
	return anchors
}

// authoritiesIn names the roots that have their anchor in a set, sorted, and gives the rest.
func (d *description) authoritiesIn(anchors pki.Anchors) (names []string, rest pki.Anchors) {
	rest = anchors
	for _, a := range d.taken() {
		if a.parent == nil && anchors.Has(a.certificate) {
			names = append(names, a.name)
			rest = rest.Minus(pki.NewAnchors(a.certificate))
		}
	}
	slices.Sort(names)
	return names, rest
}

// describeConfigMaps has the ConfigMaps looked at that people made by hand and that hold an
// anchor of an authority: all of one name are one bundle.
func (d *description) describeConfigMaps() {
	byName := map[string][]corev1.ConfigMap{}
	for _, configMap := range d.seen.ConfigMaps {
		if _, isCopy := configMap.Labels[applier.LabelBundleCopy]; !isCopy && configMap.Name != kubernetesRoots && len(d.keysIn(configMap)) > 0 {
			byName[configMap.Name] = append(byName[configMap.Name], configMap)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		d.describeConfigMapsOf(name, byName[name])
	}
	d.leaveUnclear()
}

// leaveUnclear tells of the ConfigMaps by which somebody may verify what an authority signs,
// and that are not taken over: in a plan they would be nobody.
func (d *description) leaveUnclear() {
	for _, configMap := range d.seen.ConfigMaps {
		if _, isCopy := configMap.Labels[applier.LabelBundleCopy]; isCopy || configMap.Name == kubernetesRoots || len(d.keysIn(configMap)) > 0 {
			continue
		}
		if why, do := d.unclear(configMap); why != "" {
			d.leave(Left{Object: fmt.Sprintf("ConfigMap %s/%s", configMap.Namespace, configMap.Name), Why: why, Do: do})
		}
	}
}

// unclear says why it is not known that nobody verifies with a ConfigMap what an authority
// signs, and what to do; empty if it is.
func (d *description) unclear(configMap corev1.ConfigMap) (why, do string) {
	for _, key := range slices.Sorted(maps.Keys(configMap.BinaryData)) {
		if holdsCertificate(configMap.BinaryData[key]) {
			return fmt.Sprintf("%s under binaryData holds certificates, which nobody distributes from there", key), "if clients verify with it, put the PEM under data, and import again"
		}
	}
	for _, key := range slices.Sorted(maps.Keys(configMap.Data)) {
		text := []byte(configMap.Data[key])
		certificates, err := pki.ParsePEM(text)
		switch {
		case err != nil && holdsCertificate(text):
			return fmt.Sprintf("%s holds certificates that cannot be read: %v", key, err), "if clients verify with it, mend it, and import again"
		case slices.ContainsFunc(certificates, d.isIntermediate):
			return fmt.Sprintf("%s holds an intermediate's certificate without its root: whoever verifies with it alone refuses the intermediate's next key", key), "put the root beside it before the intermediate rolls over, and import again"
		}
	}
	return "", ""
}

// isIntermediate reports whether a certificate is that of an authority below another.
func (d *description) isIntermediate(certificate pki.Certificate) bool {
	return slices.ContainsFunc(d.taken(), func(a *authority) bool { return a.parent != nil && a.certificate.Equal(certificate) })
}

// holdsCertificate reports whether a text has the beginning of a certificate in PEM (RFC 7468,
// section 5).
func holdsCertificate(text []byte) bool {
	return bytes.Contains(text, []byte("-----BEGIN CERTIFICATE-----")) || bytes.Contains(text, []byte("-----BEGIN TRUSTED CERTIFICATE-----"))
}

// keysIn are the keys of a ConfigMap that hold an anchor of an authority, sorted.
func (d *description) keysIn(configMap corev1.ConfigMap) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(configMap.Data)) {
		if names, _ := d.authoritiesIn(pki.NewAnchors(read([]byte(configMap.Data[key]))...)); len(names) > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

func (d *description) describeConfigMapsOf(name string, all []corev1.ConfigMap) {
	var namespaces, keys []string
	var anchors pki.Anchors
	for _, configMap := range all {
		namespaces = append(namespaces, configMap.Namespace)
		keys = append(keys, d.keysIn(configMap)...)
		for _, key := range d.keysIn(configMap) {
			anchors = anchors.Union(pki.NewAnchors(read([]byte(configMap.Data[key]))...))
		}
	}
	slices.Sort(namespaces)
	slices.Sort(keys)
	object := fmt.Sprintf("ConfigMap %s in %s", name, strings.Join(namespaces, ", "))
	switch keys = slices.Compact(keys); {
	case d.bundleNames[name]:
		d.leave(Left{Object: object, Why: "a Bundle has the same name", Do: "give the ConfigMaps another name, move their users, and import again"})
		return
	case !isName(name):
		d.leave(Left{Object: object, Why: "its name is longer than the value of a label, by which reanchor knows its own", Do: "make one of a shorter name, and move its users"})
		return
	case len(keys) > 1:
		d.leave(Left{Object: object, Why: "anchors stand under several keys: " + strings.Join(keys, ", "), Do: "let all of them hold the same under one key, and import again"})
		return
	}
	authorities, _ := d.authoritiesIn(anchors)
	d.addBundle(v1alpha1.TrustBundle{Metadata: v1alpha1.Metadata{Name: name}, Spec: v1alpha1.TrustBundleSpec{
		Authorities: authorities, Via: v1alpha1.ViaObserved,
		Target: v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: keys[0]}, NamespaceSelector: among(namespaces)},
	}})
	d.take(object, "TrustBundle "+name+", via: Observed", "a rollover waits until whoever writes it has added the new anchor; a bundle of another name that reanchor writes is a way out of that")
}

// among picks namespaces by their names.
func among(namespaces []string) metav1.LabelSelector {
	if len(namespaces) == 1 {
		return metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespaces[0]}}
	}
	return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: namespaces},
	}}
}

// targetOf is a Bundle's target without the empty password that the API server fills in.
func targetOf(target v1alpha1.BundleTarget) v1alpha1.BundleTarget {
	if store := target.AdditionalFormats.PKCS12; store != nil && store.Password != nil && *store.Password == "" {
		without := *store
		without.Password = nil
		target.AdditionalFormats.PKCS12 = &without
	}
	return target
}

func (d *description) addBundle(bundle v1alpha1.TrustBundle) {
	d.repository.Bundles = append(d.repository.Bundles, bundle)
	slices.SortFunc(d.repository.Bundles, func(a, b v1alpha1.TrustBundle) int { return cmp.Compare(a.Metadata.Name, b.Metadata.Name) })
}

func isName(name string) bool { return len(name) <= validation.LabelValueMaxLength }

// counted is "1 anchor" or "2 anchors".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
