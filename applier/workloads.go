package applier

import (
	"cmp"
	"context"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// The kinds of workload.
const (
	kindDeployment  = "Deployment"
	kindStatefulSet = "StatefulSet"
	kindDaemonSet   = "DaemonSet"
	kindPod         = "Pod"
)

// workloads are those that verify with a bundle or present a leaf.
func (w *world) workloads(ctx context.Context, interesting interests) ([]planner.Workload, error) {
	if interesting.none() {
		return nil, nil
	}
	all, err := w.runners(ctx)
	if err != nil {
		return nil, err
	}
	var found []planner.Workload
	for _, r := range all {
		if workload, uses := r.read(interesting); uses {
			found = append(found, workload)
		}
	}
	slices.SortFunc(found, func(a, b planner.Workload) int {
		return cmp.Or(a.Ref.Compare(b.Ref), cmp.Compare(a.Kind, b.Kind))
	})
	return found, nil
}

// interests are the ConfigMaps and Secrets to look for.
type interests struct {
	// bundles by name, in ConfigMaps and in Secrets, in every namespace: one that has lost
	// the label by which it gets a copy holds verifiers that still run with it.
	bundles, bundleSecrets map[string]bool
	// leaves are the Secrets of the leaves.
	leaves map[planner.Ref]bool
}

func interestsIn(bundles, bundleSecrets map[string]bool, leaves []planner.Leaf) interests {
	found := interests{bundles: bundles, bundleSecrets: bundleSecrets, leaves: map[planner.Ref]bool{}}
	for _, leaf := range leaves {
		if leaf.SecretName != "" {
			found.leaves[planner.Ref{Namespace: leaf.Ref.Namespace, Name: leaf.SecretName}] = true
		}
	}
	return found
}

func (i interests) none() bool { return len(i.bundles)+len(i.leaves) == 0 }

// isLeaf reports whether a source of a namespace is a leaf's Secret.
func (i interests) isLeaf(namespace string, from source) bool {
	return from.secret && i.leaves[planner.Ref{Namespace: namespace, Name: from.name}]
}

// isBundle reports whether a source that is no leaf's Secret is a bundle's copy.
func (i interests) isBundle(from source) bool {
	if from.secret {
		return i.bundleSecrets[from.name]
	}
	return i.bundles[from.name]
}

// A runner is something that runs pods of one template.
type runner struct {
	kind                string
	ref                 planner.Ref
	annotations         map[string]string
	templateAnnotations map[string]string
	spec                *corev1.PodSpec
	rolling, paused     bool
	pods                []*corev1.Pod
}

// read is the runner as a workload; false if it uses nothing of interest.
func (r runner) read(interesting interests) (planner.Workload, bool) {
	workload := planner.Workload{
		Kind:         r.kind,
		Ref:          r.ref,
		Reloads:      cmp.Or(reloads(r.annotations), reloads(r.templateAnnotations)),
		BundleDigest: r.templateAnnotations[v1alpha1.AnnotationBundleSHA256],
		LeavesDigest: r.templateAnnotations[v1alpha1.AnnotationLeavesSHA256],
		OwnCAUnused:  ownCAUnused(r.annotations, r.templateAnnotations),
		Rolling:      r.rolling,
		Paused:       r.paused,
		Pods:         len(r.pods),
	}
	workload.Bundles, workload.Secrets = r.mounts(interesting)
	for _, pod := range r.pods {
		if created := pod.CreationTimestamp.UTC(); workload.OldestStart.IsZero() || created.Before(workload.OldestStart) {
			workload.OldestStart = created
		}
		if started(pod) {
			workload.Started++
		}
		if sameDigests(pod.Annotations, r.templateAnnotations) {
			workload.Bearing++
		}
	}
	return workload, len(workload.Bundles)+len(workload.Secrets) > 0
}

// started reports whether a container of the pod runs.
func started(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodRunning || slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.State.Running != nil })
}

// sameDigests reports whether a pod bears what its template says; absent equals
// absent only.
func sameDigests(pod, template map[string]string) bool {
	for _, annotation := range []string{v1alpha1.AnnotationBundleSHA256, v1alpha1.AnnotationLeavesSHA256} {
		borne, has := pod[annotation]
		wanted, wants := template[annotation]
		if borne != wanted || has != wants {
			return false
		}
	}
	return true
}

// defaultReload is what "true" means: the kubelet refreshes a volume within its
// sync period and the life of its cache, a minute each by default.
const defaultReload = 2 * time.Minute

// reloads reads the annotation; what is not understood counts as absent.
func reloads(annotations map[string]string) time.Duration {
	value := annotations[v1alpha1.AnnotationReloads]
	if value == "true" {
		return defaultReload
	}
	within, err := time.ParseDuration(value)
	if err != nil || within < 0 {
		return 0
	}
	return within
}

// runners are all workloads of the cluster, each with its pods.
func (w *world) runners(ctx context.Context) ([]runner, error) {
	var (
		deployed    appsv1.DeploymentList
		stateful    appsv1.StatefulSetList
		everywhere  appsv1.DaemonSetList
		running     corev1.PodList
		replicating = metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSetList"}}
	)
	if _, err := w.list(ctx, deployments, &deployed); err != nil {
		return nil, err
	}
	if _, err := w.list(ctx, statefulSets, &stateful); err != nil {
		return nil, err
	}
	if _, err := w.list(ctx, daemonSets, &everywhere); err != nil {
		return nil, err
	}
	if _, err := w.list(ctx, replicaSets, &replicating); err != nil {
		return nil, err
	}
	if _, err := w.list(ctx, pods, &running); err != nil {
		return nil, err
	}
	crew := newCrew(running.Items, replicating.Items)
	for i := range deployed.Items {
		d := &deployed.Items[i]
		crew.add(kindDeployment, d, &d.Spec.Template, deploymentRolls(d), d.Spec.Paused)
	}
	for i := range stateful.Items {
		s := &stateful.Items[i]
		crew.add(kindStatefulSet, s, &s.Spec.Template, statefulSetRolls(s), false)
	}
	for i := range everywhere.Items {
		d := &everywhere.Items[i]
		crew.add(kindDaemonSet, d, &d.Spec.Template, daemonSetRolls(d), false)
	}
	crew.addBarePods()
	return crew.runners, nil
}

// A crew assigns pods to what runs them.
type crew struct {
	runners []runner
	pods    map[types.UID][]*corev1.Pod // by the UID of what runs them
}

func newCrew(running []corev1.Pod, replicating []metav1.PartialObjectMetadata) *crew {
	above := map[types.UID]types.UID{}
	for i := range replicating {
		above[replicating[i].UID] = ownerOf(&replicating[i])
	}
	c := &crew{pods: map[types.UID][]*corev1.Pod{}}
	for i := range running {
		pod := &running[i]
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		owner := ownerOf(pod)
		owner = cmp.Or(above[owner], owner)
		c.pods[owner] = append(c.pods[owner], pod)
	}
	return c
}

func ownerOf(object metav1.Object) types.UID {
	if owner := metav1.GetControllerOfNoCopy(object); owner != nil {
		return owner.UID
	}
	return ""
}

func (c *crew) add(kind string, object client.Object, template *corev1.PodTemplateSpec, rolling, paused bool) {
	c.runners = append(c.runners, runner{
		kind:                kind,
		ref:                 refOf(object),
		annotations:         object.GetAnnotations(),
		templateAnnotations: template.Annotations,
		spec:                &template.Spec,
		rolling:             rolling,
		paused:              paused,
		pods:                c.pods[object.GetUID()],
	})
	delete(c.pods, object.GetUID())
}

// addBarePods adds the pods that nothing we can restart runs: each is its own
// template.
func (c *crew) addBarePods() {
	for _, left := range c.pods {
		for _, pod := range left {
			c.runners = append(c.runners, runner{
				kind:                kindPod,
				ref:                 refOf(pod),
				templateAnnotations: pod.Annotations,
				spec:                &pod.Spec,
				pods:                []*corev1.Pod{pod},
			})
		}
	}
}

// deploymentRolls reports whether the latest spec has not been carried out, or old
// pods remain; those of a paused one are meant to.
func deploymentRolls(d *appsv1.Deployment) bool {
	want, status := replicas(d.Spec.Replicas), d.Status
	return status.ObservedGeneration < d.Generation ||
		status.Replicas != want || status.AvailableReplicas != want ||
		status.UpdatedReplicas != want && !d.Spec.Paused
}

// statefulSetRolls counts what a partition keeps back as done, as "kubectl rollout
// status" does. With OnDelete or a partition the controller never makes the update
// revision the current one.
func statefulSetRolls(s *appsv1.StatefulSet) bool {
	want, status := replicas(s.Spec.Replicas), s.Status
	if status.ObservedGeneration < s.Generation || status.Replicas != want || status.AvailableReplicas != want {
		return true
	}
	kept := keptBack(s.Spec.UpdateStrategy)
	if kept > 0 || s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return status.UpdatedReplicas < want-kept
	}
	return status.UpdatedReplicas != want || status.CurrentRevision != status.UpdateRevision
}

// keptBack is the number of pods that a partition keeps at the earlier revision.
func keptBack(strategy appsv1.StatefulSetUpdateStrategy) int32 {
	if strategy.Type == appsv1.OnDeleteStatefulSetStrategyType || strategy.RollingUpdate == nil || strategy.RollingUpdate.Partition == nil {
		return 0
	}
	return *strategy.RollingUpdate.Partition
}

// daemonSetRolls counts alike whether the controller replaces the pods or, with
// OnDelete, waits for somebody to delete them.
func daemonSetRolls(d *appsv1.DaemonSet) bool {
	want, status := d.Status.DesiredNumberScheduled, d.Status
	return status.ObservedGeneration < d.Generation ||
		status.UpdatedNumberScheduled != want || status.CurrentNumberScheduled != want || status.NumberAvailable != want
}

// replicas is 1 when absent, as the API server has it.
func replicas(wanted *int32) int32 {
	if wanted == nil {
		return 1
	}
	return *wanted
}
