package applier

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/reanchor/reanchor/planner"
)

// A source is a ConfigMap or a Secret of a pod's namespace.
type source struct {
	secret bool
	name   string
}

// A use is one way in which a pod gets a source.
type use struct {
	source
	kind planner.MountKind
}

// uses are all ways in which a pod gets ConfigMaps and Secrets.
func uses(spec *corev1.PodSpec) map[use]bool {
	found := map[use]bool{}
	containers := slices.Concat(spec.InitContainers, spec.Containers)
	for _, volume := range spec.Volumes {
		for _, kind := range waysOf(volume.Name, containers) {
			for _, from := range volumeSources(volume) {
				found[use{from, kind}] = true
			}
		}
	}
	for _, container := range containers {
		for _, from := range environmentSources(container) {
			found[use{from, planner.MountEnv}] = true
		}
	}
	return found
}

// waysOf says how containers mount a volume. One that no container mounts counts
// as mounted: it is a sign that something will.
func waysOf(volume string, containers []corev1.Container) []planner.MountKind {
	var ways []planner.MountKind
	for _, container := range containers {
		for _, mount := range container.VolumeMounts {
			switch {
			case mount.Name != volume:
			case mount.SubPath != "" || mount.SubPathExpr != "":
				ways = append(ways, planner.MountSubPath)
			default:
				ways = append(ways, planner.MountVolume)
			}
		}
	}
	if len(ways) == 0 {
		return []planner.MountKind{planner.MountVolume}
	}
	return ways
}

func volumeSources(volume corev1.Volume) []source {
	var sources []source
	if volume.ConfigMap != nil {
		sources = append(sources, source{name: volume.ConfigMap.Name})
	}
	if volume.Secret != nil {
		sources = append(sources, source{secret: true, name: volume.Secret.SecretName})
	}
	if volume.Projected == nil {
		return sources
	}
	for _, projection := range volume.Projected.Sources {
		if projection.ConfigMap != nil {
			sources = append(sources, source{name: projection.ConfigMap.Name})
		}
		if projection.Secret != nil {
			sources = append(sources, source{secret: true, name: projection.Secret.Name})
		}
	}
	return sources
}

func environmentSources(container corev1.Container) []source {
	var sources []source
	for _, from := range container.EnvFrom {
		if from.ConfigMapRef != nil {
			sources = append(sources, source{name: from.ConfigMapRef.Name})
		}
		if from.SecretRef != nil {
			sources = append(sources, source{secret: true, name: from.SecretRef.Name})
		}
	}
	for _, variable := range container.Env {
		switch from := variable.ValueFrom; {
		case from == nil:
		case from.ConfigMapKeyRef != nil:
			sources = append(sources, source{name: from.ConfigMapKeyRef.Name})
		case from.SecretKeyRef != nil:
			sources = append(sources, source{secret: true, name: from.SecretKeyRef.Name})
		}
	}
	return sources
}

func compareMounts(a, b planner.Mount) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}
