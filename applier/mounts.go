package applier

import (
	"cmp"
	"path"
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

// A sighting is all ways in which a pod gets ConfigMaps and Secrets, and what each
// shows of a Secret's own ca.crt (see ownca.go).
type sighting map[use]planner.OwnCA

// see notes a use; of what several mounts of the same kind show, the most counts.
func (s sighting) see(from source, kind planner.MountKind, shown planner.OwnCA) {
	if !from.secret {
		shown = planner.OwnCAHidden
	}
	u := use{from, kind}
	s[u] = most(s[u], shown)
}

// uses are all ways in which a pod gets ConfigMaps and Secrets.
func uses(spec *corev1.PodSpec) sighting {
	seen := sighting{}
	containers := slices.Concat(spec.InitContainers, spec.Containers)
	for _, volume := range spec.Volumes {
		for _, mounted := range waysOf(volume.Name, containers) {
			for _, part := range volumeParts(volume) {
				seen.see(part.source, mounted.kind, part.ownCA(mounted))
			}
		}
	}
	for _, container := range containers {
		seeEnvironment(seen, container)
	}
	return seen
}

// A way is one in which a pod mounts a volume, and what it shows of a file ca.crt that
// lies in the volume.
type way struct {
	kind  planner.MountKind
	ownCA planner.OwnCA
}

// waysOf says how containers mount a volume. One that no container mounts counts
// as mounted: it is a sign that something will.
func waysOf(volume string, containers []corev1.Container) []way {
	var ways []way
	for _, container := range containers {
		for _, mount := range container.VolumeMounts {
			if mount.Name == volume {
				ways = append(ways, wayOf(container, mount))
			}
		}
	}
	if len(ways) == 0 {
		return []way{{planner.MountVolume, planner.OwnCAVisible}}
	}
	return ways
}

func wayOf(container corev1.Container, mount corev1.VolumeMount) way {
	if within := cmp.Or(mount.SubPath, mount.SubPathExpr); within != "" {
		return way{planner.MountSubPath, shownWithin(within)}
	}
	if namesFile(container, path.Join(mount.MountPath, ownCAKey)) {
		return way{planner.MountVolume, planner.OwnCANamed}
	}
	return way{planner.MountVolume, planner.OwnCAVisible}
}

// A part is what a volume holds of a source: the keys that it lists, or all of them.
type part struct {
	source
	items []corev1.KeyToPath
}

func volumeParts(volume corev1.Volume) []part {
	var parts []part
	if from := volume.ConfigMap; from != nil {
		parts = append(parts, part{source{name: from.Name}, from.Items})
	}
	if from := volume.Secret; from != nil {
		parts = append(parts, part{source{secret: true, name: from.SecretName}, from.Items})
	}
	if volume.Projected == nil {
		return parts
	}
	for _, projection := range volume.Projected.Sources {
		if from := projection.ConfigMap; from != nil {
			parts = append(parts, part{source{name: from.Name}, from.Items})
		}
		if from := projection.Secret; from != nil {
			parts = append(parts, part{source{secret: true, name: from.Name}, from.Items})
		}
	}
	return parts
}

func seeEnvironment(seen sighting, container corev1.Container) {
	for _, from := range container.EnvFrom {
		if from.ConfigMapRef != nil {
			seen.see(source{name: from.ConfigMapRef.Name}, planner.MountEnv, planner.OwnCAHidden)
		}
		if from.SecretRef != nil {
			seen.see(source{secret: true, name: from.SecretRef.Name}, planner.MountEnv, planner.OwnCAVisible)
		}
	}
	for _, variable := range container.Env {
		switch from := variable.ValueFrom; {
		case from == nil:
		case from.ConfigMapKeyRef != nil:
			seen.see(source{name: from.ConfigMapKeyRef.Name}, planner.MountEnv, planner.OwnCAHidden)
		case from.SecretKeyRef != nil:
			seen.see(source{secret: true, name: from.SecretKeyRef.Name}, planner.MountEnv, shownOfKey(from.SecretKeyRef.Key))
		}
	}
}

// mounts are what a pod's template gets of the bundles and leaves of interest. A Secret of
// a bundle is what to verify with: its ca.crt is nobody's own.
func (r runner) mounts(interesting interests) (bundles, leaves []planner.Mount) {
	for u, shown := range uses(r.spec) {
		switch {
		case interesting.isLeaf(r.ref.Namespace, u.source):
			leaves = append(leaves, planner.Mount{Name: u.name, Kind: u.kind, OwnCA: shown})
		case interesting.isBundle(u.source):
			bundles = append(bundles, planner.Mount{Name: u.name, Kind: u.kind, OwnCA: planner.OwnCAHidden})
		}
	}
	slices.SortFunc(bundles, compareMounts)
	slices.SortFunc(leaves, compareMounts)
	return slices.Compact(bundles), leaves
}

func compareMounts(a, b planner.Mount) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}
