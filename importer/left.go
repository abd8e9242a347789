package importer

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Left is something that is not taken over.
type Left struct {
	// Object as in "ClusterIssuer fleet".
	Object string
	// Why it is not taken over.
	Why string
	// Do is what a person can do about it.
	Do string
}

// String says what is left, why, and what to do.
func (l Left) String() string { return fmt.Sprintf("%s: %s: %s", l.Object, l.Why, l.Do) }

// Taken is something that is taken over.
type Taken struct {
	// Object as in "ClusterIssuer fleet".
	Object string
	// As is the document, as in "IssuerBinding fleet".
	As string
	// Note is what is worth knowing about it; empty if nothing is.
	Note string
}

func (d *description) leave(left Left) {
	if !slices.Contains(d.left, left) {
		d.left = append(d.left, left)
	}
}

func (d *description) take(object, as, note string) {
	d.repository.Taken = append(d.repository.Taken, Taken{object, as, note})
}

// leftAuthorities says of every authority that is left why, and of its issuers that they
// are left with it.
func (d *description) leftAuthorities() {
	for _, a := range d.authorities {
		if a.left == nil {
			continue
		}
		d.leave(*a.left)
		for _, by := range a.kept {
			if by.String() != a.left.Object {
				d.leave(Left{Object: by.String(), Why: "it signs with the key of " + a.left.Object + ", which is not taken over", Do: "see there"})
			}
		}
	}
}

// leftUnused names the CAs that cert-manager makes and that no issuer signs with.
func (d *description) leftUnused() {
	known := map[planner.Ref]bool{}
	for _, a := range d.authorities {
		for _, maker := range a.makers {
			known[planner.Ref{Namespace: maker.Namespace, Name: maker.Name}] = true
		}
	}
	for i := range d.seen.Certificates {
		certificate := &d.seen.Certificates[i]
		ref := planner.Ref{Namespace: certificate.Namespace, Name: certificate.Name}
		if certificate.Spec.IsCA && !known[ref] {
			d.leave(Left{Object: "Certificate " + ref.String(), Why: "no issuer signs with its Secret", Do: "nothing, if only its certificate is needed; else make an issuer that does, and import again"})
		}
	}
}

func (d *description) sortedLeft() []Left {
	slices.SortFunc(d.left, func(a, b Left) int { return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Why, b.Why)) })
	return d.left
}

// leftToWriter says who else keeps writing an object, and would undo what reanchor does;
// nil if nobody is known to.
func leftToWriter(object string, meta metav1.Object) *Left {
	writer := writerOf(meta)
	if writer == "" {
		return nil
	}
	return &Left{Object: object, Why: writer + " writes it, and would undo a rollover", Do: "have it left alone there without being deleted, take off the mark by which it is known, and import again"}
}

// writerOf is who keeps writing an object, by the marks that the usual ones leave on it;
// empty if there is none.
func writerOf(object metav1.Object) string {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	if domain := labels[v1alpha1.LabelDomainName]; domain != "" {
		return fmt.Sprintf("the TrustDomain %s/%s", labels[v1alpha1.LabelDomainNamespace], domain)
	}
	if owner := metav1.GetControllerOf(object); owner != nil {
		return owner.Kind + " " + owner.Name
	}
	for _, mark := range []struct{ name, value string }{
		{"the Helm release", annotations["meta.helm.sh/release-name"]},
		{"the Flux HelmRelease", labels["helm.toolkit.fluxcd.io/name"]},
		{"the Flux Kustomization", labels["kustomize.toolkit.fluxcd.io/name"]},
		{"the Argo CD application", cmp.Or(labels["argocd.argoproj.io/instance"], annotations["argocd.argoproj.io/tracking-id"])},
	} {
		if mark.value != "" {
			return mark.name + " " + mark.value
		}
	}
	return ""
}

func instant(at time.Time) string { return at.UTC().Format(time.RFC3339) }
