package v1alpha1

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reanchor/reanchor/pki"
)

// DefaultClusterResourceNamespace is where cert-manager looks for the Secrets of
// ClusterIssuers unless it is told otherwise (--cluster-resource-namespace).
const DefaultClusterResourceNamespace = "cert-manager"

// Site is what [Validate] goes by beside the documents. The zero value is a site
// where nothing was retired yet.
//
// +kubebuilder:object:generate=false
type Site struct {
	// ClusterResourceNamespace is where cert-manager looks for the Secrets of
	// ClusterIssuers; [DefaultClusterResourceNamespace] when empty.
	ClusterResourceNamespace string
	// Retired are, by the name of their authority, the key pairs that the record in Git
	// lists as retired, named as [KeyUnder] has it. Their names are used up.
	Retired map[string][]string
	// Zones are the time zones that the documents name, as far as there are such.
	Zones Zones
	// CheckPolicies holds the policies of the domain against the rules that there are;
	// policies.Problems. Without it their expressions are not looked at here, and what is
	// wrong with one denies every turn.
	CheckPolicies func([]Policy) []PolicyProblem
}

// Validate checks decoded documents, each for itself and all against each other.
// Errors must be mended before anything is planned; warnings are told and no more.
// Both are sorted, and point to file and line.
//
// The documents are all those of one domain: a reference leads to one of them or
// nowhere.
func Validate(documents []Document, site Site) (errors, warnings ErrorList) {
	site.ClusterResourceNamespace = cmp.Or(site.ClusterResourceNamespace, DefaultClusterResourceNamespace)
	v := newValidator(site)
	for _, document := range documents {
		v.metadata(document)
		v.enforced(document)
		v.declare(document)
	}
	v.chains()
	for _, document := range documents {
		switch object := document.Object.(type) {
		case *Authority:
			v.chain(document, object)
			v.windowsBelow(document, object)
		case *Device:
			v.device(document, object)
		}
	}
	for _, document := range documents {
		switch object := document.Object.(type) {
		case *IssuerBinding:
			v.binding(document, object)
		case *TrustBundle:
			v.bundle(document, object)
		}
	}
	v.policies(documents)
	return v.errors.sorted(), v.warnings.sorted()
}

// declare checks what others refer to, as far as it goes by itself.
func (v *validator) declare(document Document) {
	switch object := document.Object.(type) {
	case *Authority:
		v.authority(document, object)
	case *DeviceGroup:
		v.once(document)
		v.group(document, object)
	case *Device:
		v.once(document)
	case *Policy:
		v.once(document)
		v.policy(document, object)
	}
}

type validator struct {
	site Site
	// authorities by their names, and the links of those that hang under a root.
	authorities map[string]Document
	links       map[string]*link
	// certificates of the keys of an authority that come from elsewhere; each the zero
	// value where there is none, or none that can be read.
	certificates map[*Authority][]pki.Certificate
	// groups of devices by their names.
	groups map[string]*DeviceGroup
	// pairs counts the key pairs of intermediates.
	pairs int
	// claims are the objects of the cluster, and secrets the names of the keys' Secrets.
	claims, secrets map[string]claim
	// subjects are those of keys that are made here, givenSubjects those of keys from
	// elsewhere, and identities the latter with their key identifiers.
	subjects, givenSubjects, identities map[string]claim
	// fingerprints are the certificates of keys from elsewhere.
	fingerprints     map[pki.Fingerprint]claim
	errors, warnings ErrorList
}

func newValidator(site Site) *validator {
	return &validator{
		site:          site,
		authorities:   map[string]Document{},
		links:         map[string]*link{},
		certificates:  map[*Authority][]pki.Certificate{},
		groups:        map[string]*DeviceGroup{},
		claims:        map[string]claim{},
		secrets:       map[string]claim{},
		subjects:      map[string]claim{},
		givenSubjects: map[string]claim{},
		identities:    map[string]claim{},
		fingerprints:  map[pki.Fingerprint]claim{},
	}
}

func (v *validator) refuse(document Document, field, format string, args ...any) {
	v.errors = append(v.errors, document.problem(field, format, args...))
}

func (v *validator) warn(document Document, field, format string, args ...any) {
	v.warnings = append(v.warnings, document.problem(field, format, args...))
}

func (d Document) problem(field, format string, args ...any) Error {
	message := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ") // a name may have a line break in it
	return Error{File: d.File, Line: d.line(field), Field: field, Message: message}
}

// claim says which document an object of the cluster will belong to.
type claim struct {
	document Document
	role     string
}

// claim takes an object of the cluster for a document, unless another has it: two
// documents that write one object would undo each other's work for ever.
func (v *validator) claim(document Document, field, object, role string) bool {
	earlier, taken := v.claims[object]
	if !taken {
		v.claims[object] = claim{document, role}
		return true
	}
	v.refuse(document, field, "%s would be %s, but it is %s already (%s:%d): rename one of them",
		object, role, earlier.role, earlier.document.File, max(earlier.document.Line, 1))
	return false
}

// once refuses a document whose name another of its kind has; of devices, another of its group.
func (v *validator) once(document Document) {
	among, name := "its kind", document.Object.kind()+" "+document.Object.meta().Name
	if device, is := document.Object.(*Device); is {
		among, name = "the devices of its group", KindDevice+" "+device.Spec.Group+"/"+device.Metadata.Name
	}
	earlier, taken := v.claims[name]
	if !taken {
		v.claims[name] = claim{document: document}
		return
	}
	v.refuse(document, "metadata.name", "%s is declared already (%s:%d): a name is used once among %s, so rename one of them",
		name, earlier.document.File, max(earlier.document.Line, 1), among)
}

// nameHint says what a name may be. Names end up as object names (RFC 1123,
// section 2.1) and as label values, which are shorter.
const nameHint = "use at most 63 lower-case letters, digits, '-' and '.', with a letter or a digit at both ends"

func isName(name string) bool {
	return len(name) <= validation.LabelValueMaxLength && len(validation.IsDNS1123Subdomain(name)) == 0
}

func (v *validator) metadata(document Document) {
	meta := document.Object.meta()
	v.name(document, meta.Name)
	if meta.Namespace != "" && len(validation.IsDNS1123Label(meta.Namespace)) > 0 {
		v.refuse(document, "metadata.namespace", "%s is not the name of a namespace", quote(meta.Namespace))
	}
	for _, key := range slices.Sorted(maps.Keys(meta.Labels)) {
		v.label(document, key, meta.Labels[key])
	}
	v.adoption(document)
}

// name checks a document's name; a device's is whatever its factory has called it.
func (v *validator) name(document Document, name string) {
	if _, isDevice := document.Object.(*Device); isDevice {
		if problem := DeviceIDProblem(name); problem != "" {
			v.refuse(document, "metadata.name", "%s is not the id of a device: it %s", quote(name), problem)
		}
		return
	}
	if !isName(name) {
		v.refuse(document, "metadata.name", "%s is not a name: %s", quote(name), nameHint)
	}
}

// adoption checks that a document which asks for what stands in the cluster is one that
// can have it.
func (v *validator) adoption(document Document) {
	asked, asks := document.Object.meta().Annotations[AnnotationAdopt]
	if !asks {
		return
	}
	field := "metadata.annotations[" + AnnotationAdopt + "]"
	if asked != Adopt {
		v.refuse(document, field, "%s says neither yes nor no: write %q, or take it out", quote(asked), Adopt)
	}
	switch object := document.Object.(type) {
	case *IssuerBinding:
	case *TrustBundle:
		if object.Spec.Via != ViaBundle {
			v.refuse(document, field, "is for a Bundle of trust-manager's, and with via: %s there is none to take over: take it out", object.Spec.Via)
		}
	default:
		v.refuse(document, field, "is for an IssuerBinding or a TrustBundle, whose issuer or Bundle is taken over: take it out")
	}
}

func (v *validator) label(document Document, key, value string) {
	field := "metadata.labels[" + short(key) + "]"
	switch {
	case strings.HasPrefix(key, GroupVersion.Group+"/") && key != LabelEnvironment:
		v.refuse(document, field, "labels under %s/ are set by reanchor itself: take it out", GroupVersion.Group)
	case len(validation.IsQualifiedName(key)) > 0:
		v.refuse(document, field, "is not a label's key")
	case len(validation.IsValidLabelValue(value)) > 0:
		v.refuse(document, field, "%s is not a label's value: %s", quote(value),
			"use at most 63 letters, digits, '-', '_' and '.', with a letter or a digit at both ends")
	}
}

// authorityOf looks up what a field refers to.
func (v *validator) authorityOf(document Document, field, name string) (*Authority, bool) {
	found, ok := v.authorities[name]
	if !ok {
		v.refuse(document, field, "there is no Authority %s%s", quote(name), hint(v, name, v.authorities))
		return nil, false
	}
	return found.Object.(*Authority), true
}

// maxHints is how many errors may come with a hint: to look through all names for each of
// very many would take too long.
const maxHints = 20

// hint is at the nearest of the names that are declared, or nothing.
func hint[T any](v *validator, name string, declared map[string]T) string {
	if len(v.errors) >= maxHints {
		return ""
	}
	return didYouMean(name, slices.Sorted(maps.Keys(declared)))
}

func (v *validator) binding(document Document, binding *IssuerBinding) {
	name := binding.Metadata.Name
	authority, found := v.authorityOf(document, "spec.authority", binding.Spec.Authority)
	if !found {
		return
	}
	if authority.Leaving() {
		v.refuse(document, "spec.authority", "every key of Authority %s is Retired, so nothing is left to sign with: take the binding out, or bind it under another name to another authority", authority.Metadata.Name)
	}
	if key, signs := authority.signingKey(); signs && key.isOffline() {
		v.refuse(document, "spec.authority", "nothing here can sign with key %s of Authority %s, which is offline (it has a certificate alone): "+
			"bind an intermediate below it, or give the key a secret or an issuer", key.Name, authority.Metadata.Name)
	}
	namespace := authority.Metadata.Namespace
	v.references(document, binding, namespace)
	if binding.Spec.Scope == ScopeCluster {
		v.claim(document, "metadata.name", "ClusterIssuer "+name, "the issuer of IssuerBinding "+name)
		if namespace != v.site.ClusterResourceNamespace {
			v.refuse(document, "spec.authority", "a ClusterIssuer signs only with Secrets of the namespace %s, and Authority %s lies in %s: "+
				"move the authority, or write scope: Namespace", v.site.ClusterResourceNamespace, authority.Metadata.Name, namespace)
		}
		return
	}
	v.claim(document, "metadata.name", "Issuer "+namespace+"/"+name, "the issuer of IssuerBinding "+name)
	if own := binding.Metadata.Namespace; own != "" && own != namespace {
		v.refuse(document, "metadata.namespace", "an Issuer signs only with Secrets of its own namespace, and Authority %s lies in %s: "+
			"write %s, or leave the namespace out", authority.Metadata.Name, namespace, namespace)
	}
}
