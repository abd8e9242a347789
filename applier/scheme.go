package applier

import (
	"cmp"
	"errors"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// DefaultClusterResourceNamespace is where cert-manager keeps what belongs to
// ClusterIssuers, unless its flag --cluster-resource-namespace says otherwise.
const DefaultClusterResourceNamespace = "cert-manager"

// bundleKind is trust-manager's Bundle.
var bundleKind = schema.GroupVersionKind{Group: "trust.cert-manager.io", Version: "v1alpha1", Kind: "Bundle"}

// LabelBundleCopy is the label that trust-manager sets on every copy of a bundle;
// its value is the bundle's name.
const LabelBundleCopy = "trust.cert-manager.io/bundle"

// AddToScheme adds the types that the package reads and writes to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	return errors.Join(
		corev1.AddToScheme(scheme),
		appsv1.AddToScheme(scheme),
		certmanagerv1.AddToScheme(scheme),
		v1alpha1.AddToScheme(scheme),
	)
}

// domainLabels are on everything that belongs to a domain.
func domainLabels(domain planner.Ref) client.MatchingLabels {
	return client.MatchingLabels{
		v1alpha1.LabelDomainName:      domain.Name,
		v1alpha1.LabelDomainNamespace: domain.Namespace,
	}
}

// belongs reports whether an object carries the domain's labels.
func belongs(object metav1.Object, domain planner.Ref) bool {
	labels := object.GetLabels()
	return labels[v1alpha1.LabelDomainName] == domain.Name &&
		labels[v1alpha1.LabelDomainNamespace] == domain.Namespace
}

func refOf(object metav1.Object) planner.Ref {
	return planner.Ref{Namespace: object.GetNamespace(), Name: object.GetName()}
}

func objectKey(ref planner.Ref) client.ObjectKey {
	return client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}
}

// clusterNamespace is the namespace of what belongs to an issuer: its own, or
// cert-manager's for a ClusterIssuer.
func clusterNamespace(issuer planner.Ref, configured string) string {
	return cmp.Or(issuer.Namespace, configured, DefaultClusterResourceNamespace)
}
