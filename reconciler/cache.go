package reconciler

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
)

// CacheOptions are those of the manager's cache: TrustDomains that the selector
// picks (nil: all), and pods and ConfigMaps without what no turn reads. Whose ConfigMap is
// a bundle's copy only Git knows, by its name, so all of them are watched.
func CacheOptions(domains labels.Selector) cache.Options {
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&v1alpha1.TrustDomain{}: {Label: domains},
		&corev1.ConfigMap{}:     {Transform: trimConfigMap},
		&corev1.Pod{}:           {Transform: trimPod},
	}}
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

// trimConfigMap keeps what a copy of a bundle is known by: its labels, our annotations,
// and, if there is a certificate in any text of it, the texts with one and the keystores
// beside. Everything else, which is most of what a cluster's ConfigMaps hold, is dropped;
// what reanchor applies is not read from the cache (see ClientOptions).
func trimConfigMap(object any) (any, error) {
	configMap, ok := object.(*corev1.ConfigMap)
	if !ok {
		return object, nil
	}
	configMap.ManagedFields = nil
	maps.DeleteFunc(configMap.Annotations, func(key, _ string) bool { return !strings.HasPrefix(key, v1alpha1.GroupVersion.Group+"/") })
	if isCopy(configMap) {
		return configMap, nil
	}
	maps.DeleteFunc(configMap.Data, func(_, text string) bool { return !strings.Contains(text, beginCertificate) })
	if len(configMap.Data) == 0 {
		configMap.Data, configMap.BinaryData = nil, nil
	}
	return configMap, nil
}

const beginCertificate = "-----BEGIN CERTIFICATE-----"

// isCopy reports whether a ConfigMap is known to be a copy without looking into it: one
// that holds no certificate is told for what it is.
func isCopy(configMap *corev1.ConfigMap) bool {
	labels := configMap.Labels
	return labels[v1alpha1.LabelBundle] == configMap.Name || labels[applier.LabelBundleCopy] == configMap.Name
}
