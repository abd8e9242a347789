package simulation

import (
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// replicas is how many pods every workload has.
const replicas = 2

// workload is a Deployment: a pod template's annotations and its pods.
type workload struct {
	planner.Workload
	pods []*pod
}

// pod is a running process: what it loaded when it started, or reloaded.
type pod struct {
	bundleDigest, leavesDigest string
	anchors                    map[string]pki.Anchors
	chains                     map[string][]pki.Certificate
	ordinal                    int
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

func (w *workload) rolling() bool { return w.bearing() < replicas || len(w.pods) > replicas }

// roll brings the pods one step nearer to the pod template: a new one first, then
// an old one goes, as a rolling update with maxUnavailable 0 does.
func (w *World) roll(workload *workload) {
	if w.lazy() {
		return
	}
	if workload.bearing() < replicas {
		if p := w.start(workload); p != nil {
			workload.pods = append(workload.pods, p)
		}
	}
	for i, p := range workload.pods {
		if !workload.current(p) && len(workload.pods) > replicas {
			workload.pods = append(workload.pods[:i], workload.pods[i+1:]...)
			return
		}
	}
}

// start loads what the pod mounts; a pod whose mounts are not there does not start.
func (w *World) start(workload *workload) *pod {
	p := &pod{bundleDigest: workload.BundleDigest, leavesDigest: workload.LeavesDigest, ordinal: len(workload.pods)}
	if !w.load(workload, p) {
		return nil
	}
	return p
}

func (w *World) load(workload *workload, p *pod) bool {
	anchors, chains := map[string]pki.Anchors{}, map[string][]pki.Certificate{}
	for _, mount := range workload.Bundles {
		c := w.copies[copyID{mount.Name, workload.Ref.Namespace}]
		if c == nil {
			return false
		}
		anchors[mount.Name] = c.anchors
	}
	for _, mount := range workload.Secrets {
		l := w.leafOf(workload.Ref.Namespace, mount.Name)
		if l == nil || len(l.chain) == 0 {
			return false
		}
		chains[mount.Name] = l.chain
	}
	p.anchors, p.chains = anchors, chains
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

// reload lets the pods of a workload that reloads by itself do so: each as late as
// the workload's owner says it may, the first pod at once.
func (w *World) reload(workload *workload) {
	if workload.Reloads == 0 {
		return
	}
	for i, p := range workload.pods {
		late := workload.Reloads * time.Duration(i) / replicas
		if w.changedBefore(workload, w.Now.Add(-late)) {
			w.load(workload, p)
		}
	}
}

func (w *World) changedBefore(workload *workload, at time.Time) bool {
	for _, mount := range workload.Bundles {
		c := w.copies[copyID{mount.Name, workload.Ref.Namespace}]
		if c == nil || c.changed.After(at) {
			return false
		}
	}
	return true
}
