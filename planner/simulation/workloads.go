package simulation

import (
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
	return replicas
}

func (w *workload) rolling() bool {
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
	if w.Stuck[workload.String()] || w.lazy() {
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

// start loads what the pod mounts; a pod whose mounts are not there does not start.
func (w *World) start(workload *workload) *pod {
	p := &pod{
		bundleDigest: workload.BundleDigest, leavesDigest: workload.LeavesDigest, created: w.Now, ordinal: len(workload.pods),
		anchors: map[string]pki.Anchors{}, chains: map[string][]pki.Certificate{}, own: map[string]pki.Anchors{},
	}
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

// loadBundle loads a copy as it was at the time given, if it was there.
func (w *World) loadBundle(workload *workload, p *pod, mount planner.Mount, since time.Time) bool {
	c := w.copies[copyID{mount.Name, workload.Ref.Namespace}].asOf(since)
	if c == nil {
		return false
	}
	p.anchors[mount.Name] = c.anchors
	return true
}

// loadSecret loads a leaf, and its ca.crt where the workload verifies with that.
func (w *World) loadSecret(workload *workload, p *pod, mount planner.Mount, since time.Time) bool {
	l := w.leafOf(workload.Ref.Namespace, mount.Name)
	if l == nil || len(l.chain) == 0 || l.changed.After(since) {
		return false
	}
	p.chains[mount.Name] = l.chain
	if mount.OwnCA == planner.OwnCANamed && !workload.OwnCAUnused {
		p.own[mount.Name] = pki.NewAnchors(l.root)
	}
	return true
}

func (w *World) leafOf(namespace, secret string) *leaf {
	for _, ref := range sortedKeys(w.leaves) {
		if l := w.leaves[ref]; ref.Namespace == namespace && l.secret == secret {
			return l
		}
	}
	return nil
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
