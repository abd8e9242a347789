package simulation

import (
	"cmp"
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// replicas is how many pods every workload has, but for a bare Pod.
const replicas = 2

// workload is something that runs pods: a pod template's annotations and its pods.
type workload struct {
	planner.Workload
	pods []*pod
	// scale is how many pods it shall have; 0: the usual number, and -1: none.
	scale int
}

// pod is a running process: what it loaded when it started, or reloaded.
type pod struct {
	bundleDigest, leavesDigest string
	anchors                    map[string]pki.Anchors
	chains                     map[string][]pki.Certificate
	// own are the anchors that it took from leaf Secrets' ca.crt, by Secret.
	own     map[string]pki.Anchors
	created time.Time
	ordinal int
}

func newWorkload(declared planner.Workload) *workload {
	if declared.Kind == "" {
		declared.Kind = "Deployment"
	}
	return &workload{Workload: declared}
}

// current reports whether a pod is of the present pod template.
func (w *workload) current(p *pod) bool {
	return p.bundleDigest == w.BundleDigest && p.leavesDigest == w.LeavesDigest
}

func (w *workload) bearing() int {
	n := 0
	for _, p := range w.pods {
		if w.current(p) {
			n++
		}
	}
	return n
}

// wanted is how many pods there shall be.
func (w *workload) wanted() int {
	if w.Kind == "Pod" {
		return 1
	}
	if w.scale < 0 {
		return 0
	}
	return cmp.Or(w.scale, replicas)
}

func (w *workload) rolling() bool {
	if w.Paused {
		return len(w.pods) != w.wanted()
	}
	return w.Kind != "Pod" && (w.bearing() < w.wanted() || len(w.pods) > w.wanted())
}

// oldest is when the oldest pod was created.
func (w *workload) oldest() time.Time {
	var oldest time.Time
	for _, p := range w.pods {
		if oldest.IsZero() || p.created.Before(oldest) {
			oldest = p.created
		}
	}
	return oldest
}

// roll brings the pods one step nearer to the pod template: a Deployment starts a new
// one first, then an old one goes; a StatefulSet and a DaemonSet take the old one away
// first. A bare Pod is made anew by its owner, now and then, or never.
func (w *World) roll(workload *workload) {
	if w.Stuck[workload.String()] || workload.Paused || w.lazy() {
		return
	}
	if workload.Kind == "Pod" && len(workload.pods) == 1 && w.Recreate && w.random.IntN(6) == 0 {
		workload.pods = nil
	}
	old := slices.IndexFunc(workload.pods, func(p *pod) bool { return !workload.current(p) })
	surge := workload.Kind == "Deployment" || len(workload.pods) < workload.wanted()
	if workload.bearing() < workload.wanted() && surge {
		if p := w.start(workload); p != nil {
			workload.pods = append(workload.pods, p)
		}
	}
	if old >= 0 && (len(workload.pods) > workload.wanted() || !surge) {
		workload.pods = slices.Delete(workload.pods, old, old+1)
	}
}

// newPod is a pod of the present pod template that has loaded nothing.
func newPod(of *workload) *pod {
	return &pod{
		bundleDigest: of.BundleDigest, leavesDigest: of.LeavesDigest,
		anchors: map[string]pki.Anchors{}, chains: map[string][]pki.Certificate{}, own: map[string]pki.Anchors{},
	}
}

// start loads what the pod mounts; a pod whose mounts are not there does not start.
func (w *World) start(workload *workload) *pod {
	p := newPod(workload)
	p.created, p.ordinal = w.Now, len(workload.pods)
	for _, mount := range workload.Bundles {
		if !w.loadBundle(workload, p, mount, w.Now) {
			return nil
		}
	}
	for _, mount := range workload.Secrets {
		if !w.loadSecret(workload, p, mount, w.Now) {
			return nil
		}
	}
	return p
}

// loadBundle loads a copy as it was at the time given, if it was there. Of one that is a
// ConfigMap and a Secret it counts what both hold.
func (w *World) loadBundle(workload *workload, p *pod, mount planner.Mount, since time.Time) bool {
	loaded, held := false, p.anchors[mount.Name]
	for _, secret := range []bool{false, true} {
		id := copyID{bundle: mount.Name, namespace: workload.Ref.Namespace, secret: secret}
		c := w.copies[id].asOf(since)
		switch {
		case w.copies[id] == nil:
		case c == nil:
			return false
		case loaded:
			p.anchors[mount.Name] = p.anchors[mount.Name].Common(c.anchors)
		default:
			p.anchors[mount.Name], loaded = c.anchors, true
		}
	}
	w.touched = w.touched || !p.anchors[mount.Name].Equal(held)
	return loaded
}

// loadSecret loads a leaf, and its ca.crt where the workload verifies with that.
func (w *World) loadSecret(workload *workload, p *pod, mount planner.Mount, since time.Time) bool {
	l := w.leafOf(workload.Ref.Namespace, mount.Name)
	if l == nil || len(l.chain) == 0 || l.changed.After(since) {
		return false
	}
	w.touched = w.touched || !slices.EqualFunc(p.chains[mount.Name], l.chain, pki.Certificate.Equal)
	p.chains[mount.Name] = l.chain
	if mount.OwnCA == planner.OwnCANamed && !workload.OwnCAUnused {
		p.own[mount.Name] = pki.NewAnchors(l.root)
	}
	return true
}

// leafOf is the leaf that is written to a Secret. Whose leaves there are never changes.
func (w *World) leafOf(namespace, secret string) *leaf {
	if w.secretLeaves == nil {
		w.secretLeaves = map[planner.Ref]*leaf{}
		for _, l := range slices.Backward(w.sortedLeaves()) {
			w.secretLeaves[planner.Ref{Namespace: l.ref.Namespace, Name: l.secret}] = l
		}
	}
	return w.secretLeaves[planner.Ref{Namespace: namespace, Name: secret}]
}

// reload lets the pods of a workload that reloads by itself load what changed in their
// volumes, which are all that the kubelet refreshes: each pod as late as the workload's
// owner says it may, the first one at once.
func (w *World) reload(workload *workload) {
	if workload.Reloads == 0 {
		return
	}
	for i, p := range workload.pods {
		since := w.Now.Add(-workload.Reloads * time.Duration(i) / replicas)
		for _, mount := range workload.Bundles {
			if mount.Kind == planner.MountVolume {
				w.loadBundle(workload, p, mount, since)
			}
		}
		for _, mount := range workload.Secrets {
			if mount.Kind == planner.MountVolume {
				w.loadSecret(workload, p, mount, since)
			}
		}
	}
}
