package preflight

import (
	"context"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// bundleDefinition is trust-manager's.
const bundleDefinition = "bundles.trust.cert-manager.io"

func (l *look) trustManager(ctx context.Context) bool {
	const hint = "install trust-manager, or give every TrustBundle via: ConfigMap"
	err := l.Get(ctx, client.ObjectKey{Name: bundleDefinition}, &apiextensionsv1.CustomResourceDefinition{})
	if isAbsent(err) {
		l.warn(hint, "it is not installed: bundles with via: Bundle, the default, would wait for ever")
		return true
	}
	if l.definition(ctx, bundleDefinition, "v1alpha1", hint) != nil {
		l.deployments(ctx, "trust-manager", "see its Deployment")
	}
	return true
}
