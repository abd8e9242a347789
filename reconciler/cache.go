package reconciler

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
)

// CacheOptions are those of the manager's cache: TrustDomains that the selector
// picks (nil: all), ConfigMaps that are a bundle's copies, and pods without what no
// turn reads.
func CacheOptions(domains labels.Selector) (cache.Options, error) {
	copied, err := labels.NewRequirement(applier.LabelBundleCopy, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, err
	}
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&v1alpha1.TrustDomain{}: {Label: domains},
		&corev1.ConfigMap{}:     {Label: labels.NewSelector().Add(*copied)},
		&corev1.Pod{}:           {Transform: trimPod},
	}}, nil
}

// ClientOptions are those of the manager's client. Secrets are never read through
// the cache, so that no informer for them is started and neither list nor watch
// has to be granted. Unstructured objects, which are those that reanchor applies,
// are not either: they are listed by their labels at the API server, and no
// informer holds all objects of every kind that a repository may declare.
func ClientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}}
}

// trimPod drops what makes up most of a pod in the cache and what no turn reads.
func trimPod(object any) (any, error) {
	if pod, ok := object.(*corev1.Pod); ok {
		pod.ManagedFields = nil
		pod.Status = corev1.PodStatus{
			Phase: pod.Status.Phase, Conditions: pod.Status.Conditions, ContainerStatuses: whatRuns(pod.Status.ContainerStatuses),
		}
	}
	return object, nil
}

// whatRuns keeps of container statuses that they run, and since when.
func whatRuns(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	var running []corev1.ContainerStatus
	for _, status := range statuses {
		running = append(running, corev1.ContainerStatus{Name: status.Name, State: corev1.ContainerState{Running: status.State.Running}})
	}
	return running
}
