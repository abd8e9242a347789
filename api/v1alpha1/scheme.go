package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the TrustDomain.
var GroupVersion = schema.GroupVersion{Group: "reanchor.dev", Version: "v1alpha1"}

// AddToScheme adds the TrustDomain to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &TrustDomain{}, &TrustDomainList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
