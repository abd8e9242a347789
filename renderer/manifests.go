package renderer

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

const (
	certManagerGroup  = "cert-manager.io"
	certManager       = certManagerGroup + "/v1"
	kindCertificate   = "Certificate"
	kindIssuer        = "Issuer"
	kindClusterIssuer = "ClusterIssuer"
	trustManager      = "trust.cert-manager.io/v1alpha1"
	// keptRequests is how many CertificateRequests of a key stay: with fewer, the
	// current one goes when a reissue starts, and with it the leaf's chain.
	keptRequests = 3
)

// manifests are the objects of a target, each with the labels by which it is
// found again.
func (l *Loaded) manifests(target planner.Target) ([]*unstructured.Unstructured, error) {
	var made []*unstructured.Unstructured
	roots := map[planner.Ref]bool{}
	for _, key := range target.Keys {
		made = append(made, l.key(key)...)
		if key.Certificate && isRoot(key) && !roots[key.Authority] {
			roots[key.Authority] = true
			made = append(made, l.selfSignedIssuer(key.Authority))
		}
	}
	for _, issuer := range target.Issuers {
		object, err := l.issuer(issuer)
		if err != nil {
			return nil, err
		}
		made = append(made, object)
	}
	for _, bundle := range target.Bundles {
		object, err := l.bundle(bundle)
		if err != nil {
			return nil, err
		}
		if object != nil {
			made = append(made, object)
		}
	}
	return made, nil
}

// isRoot reports whether a key signs its own certificate.
func isRoot(key planner.TargetKey) bool { return key.Spec.SignedBy == planner.Ref{} }

// key are the objects of a key pair. They bear no binding's label, not even the
// issuers: nobody but reanchor refers to them. A key from elsewhere has no Certificate
// here, and its issuers sign with the Secret that somebody else makes.
func (l *Loaded) key(key planner.TargetKey) []*unstructured.Unstructured {
	namespace, name := key.Authority.Namespace, planner.KeyObjectName(key.Authority.Name, key.Name)
	labels := labelsOf(l.authority(key.Authority), v1alpha1.LabelAuthority, key.Authority.Name, v1alpha1.LabelKey, key.Name)
	secret := cmp.Or(key.Secret, name)
	var made []*unstructured.Unstructured
	if key.Certificate {
		made = append(made, manifest(certManager, kindCertificate, namespace, name, labels, certificateSpec(name, key)))
	}
	if key.Issuer {
		made = append(made, manifest(certManager, kindIssuer, namespace, name, labels, signsWith(secret)))
	}
	if key.ClusterIssuer {
		made = append(made, manifest(certManager, kindClusterIssuer, "", name, labels, signsWith(secret)))
	}
	return made
}

// issuerRef pins the issuer that signs a key's certificate: its parent's key, by
// that key's own issuer, or itself.
func issuerRef(key planner.TargetKey) map[string]any {
	signer := key.Spec.SignedBy
	if isRoot(key) {
		signer = planner.Ref{Namespace: key.Authority.Namespace, Name: planner.SelfSignedName(key.Authority.Name)}
	}
	return map[string]any{"name": signer.Name, "kind": issuerKind(signer), "group": certManagerGroup}
}

// issuerKind is the kind of the cert-manager issuer that a Ref names.
func issuerKind(issuer planner.Ref) string {
	if issuer.Namespace == "" {
		return kindClusterIssuer
	}
	return kindIssuer
}

// certificateSpec is the spec of a CA's Certificate
// (https://cert-manager.io/docs/reference/api-docs/#cert-manager.io/v1.CertificateSpec).
func certificateSpec(name string, key planner.TargetKey) map[string]any {
	ca := key.Spec
	privateKey := map[string]any{"algorithm": string(ca.Algorithm), "rotationPolicy": "Never"}
	if ca.Size != 0 {
		privateKey["size"] = int64(ca.Size)
	}
	spec := map[string]any{
		"isCA":                 true,
		"commonName":           ca.CommonName,
		"secretName":           name,
		"duration":             ca.Duration.String(),
		"privateKey":           privateKey,
		"renewal":              map[string]any{"policy": "Disabled"},
		"revisionHistoryLimit": int64(keptRequests),
		"issuerRef":            issuerRef(key),
	}
	if subject := subjectOf(ca); len(subject) > 0 {
		spec["subject"] = subject
	}
	return spec
}

func subjectOf(ca planner.CASpec) map[string]any {
	subject := map[string]any{}
	for field, values := range map[string][]string{
		"organizations":       ca.Organizations,
		"organizationalUnits": ca.OrganizationalUnits,
		"countries":           ca.Countries,
	} {
		if len(values) > 0 {
			subject[field] = listOf(values)
		}
	}
	return subject
}

func listOf(values []string) []any {
	list := make([]any, len(values))
	for i, value := range values {
		list[i] = value
	}
	return list
}

// signsWith is the spec of an issuer that signs with a CA's Secret.
func signsWith(secret string) map[string]any {
	return map[string]any{"ca": map[string]any{"secretName": secret}}
}

func (l *Loaded) selfSignedIssuer(ref planner.Ref) *unstructured.Unstructured {
	labels := labelsOf(l.authority(ref), v1alpha1.LabelAuthority, ref.Name)
	spec := map[string]any{"selfSigned": map[string]any{}}
	return manifest(certManager, kindIssuer, ref.Namespace, planner.SelfSignedName(ref.Name), labels, spec)
}

// issuer is a binding's issuer. One whose key stays behind an external issuer tells by an
// annotation which key that is, since its spec does not. It bears no key's labels: by those
// a key's own objects are known.
func (l *Loaded) issuer(issuer planner.TargetIssuer) (*unstructured.Unstructured, error) {
	spec, annotations := signsWith(issuer.SecretName()), adoptionOf(l.binding(issuer.Ref))
	if issuer.Spec != "" {
		spec = nil
		if key := issuer.SignsWith(); key != "" {
			annotations[v1alpha1.AnnotationSignsWith] = key
		}
		if err := json.Unmarshal([]byte(issuer.Spec), &spec); err != nil {
			return nil, fmt.Errorf("IssuerBinding %s: read the issuer's spec that key %s has: %w", issuer.Ref.Name, issuer.SignsWith(), err)
		}
	}
	made := manifest(certManager, issuerKind(issuer.Ref), issuer.Ref.Namespace, issuer.Ref.Name, labelsOf(l.binding(issuer.Ref), v1alpha1.LabelBinding, issuer.Ref.Name), spec)
	setAnnotations(made, annotations)
	return made, nil
}

// adoptionOf is the annotation by which a document asks for the object that stands in the
// cluster already: whoever applies it is told so, and it goes no further.
func adoptionOf(document v1alpha1.Metadata) map[string]string {
	annotations := map[string]string{}
	if asked := document.Annotations[v1alpha1.AnnotationAdopt]; asked != "" {
		annotations[v1alpha1.AnnotationAdopt] = asked
	}
	return annotations
}

// authority is the metadata of an authority: none once it has left Git and its
// keys are being retired.
func (l *Loaded) authority(ref planner.Ref) v1alpha1.Metadata {
	for _, a := range l.Desired.Authorities {
		if planner.AuthorityRef(a) == ref {
			return a.Metadata
		}
	}
	return v1alpha1.Metadata{}
}

func (l *Loaded) binding(ref planner.Ref) v1alpha1.Metadata {
	for _, b := range l.Desired.Bindings {
		if planner.BindingRef(b) == ref {
			return b.Metadata
		}
	}
	return v1alpha1.Metadata{}
}

func (l *Loaded) trustBundle(name string) v1alpha1.Metadata {
	for _, b := range l.Desired.Bundles {
		if b.Metadata.Name == name {
			return b.Metadata
		}
	}
	return v1alpha1.Metadata{}
}

// labelsOf are a document's own labels, and ours as pairs of key and value.
func labelsOf(metadata v1alpha1.Metadata, pairs ...string) map[string]string {
	labels := make(map[string]string, len(metadata.Labels)+len(pairs)/2)
	for key, value := range metadata.Labels {
		labels[key] = value
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		labels[pairs[i]] = pairs[i+1]
	}
	return labels
}

func manifest(apiVersion, kind, namespace, name string, labels map[string]string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetLabels(labels)
	return o
}
