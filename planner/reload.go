package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// reload is what is still to do until a set of workloads has loaded something.
type reload struct {
	asked   int
	holds   []Hold
	actions []Action
	// closed says why nobody is restarted now, nil where that waits for nothing; window is
	// what it said.
	closed func() *Hold
	window *Hold
}

// waitsForWindow reports whether nobody is restarted before a window opens.
func (r *reload) waitsForWindow() bool {
	if r.closed != nil {
		r.window = r.closed()
	}
	return r.window != nil
}

// all are the holds, and the window that restarts wait for.
func (r *reload) all() []Hold { return behind(r.window, r.holds) }

// progress says how many of those who were asked have loaded it.
func (r *reload) progress(who string) string {
	return fmt.Sprintf("%d of %d %s reloaded", r.asked-len(r.holds), r.asked, who)
}

func (r *reload) hold(w Workload, why string) {
	r.holds = append(r.holds, Hold{Gate: "reload", Subject: w.String(), Why: why})
}

// load is something that a workload must have loaded: what it mounts of it, the digest
// that its pods then bear and the one that its pod template asks for.
type load struct {
	mounts        []Mount
	digest, asked string
	// unknown says why there is no digest yet.
	unknown string
	// since is when it became what it is.
	since time.Time
	// why it is not known to have been loaded.
	why string
}

// askVerifier asks whether a workload has loaded its bundles as they have been
// since the time given, when the copies came to be as the words say: "hold 2026".
func (t *turn) askVerifier(r *reload, w Workload, since time.Time, words string) {
	l := load{mounts: w.Bundles, asked: w.BundleDigest, since: since}
	l.digest, l.unknown = t.copiesDigest(w)
	l.why = "not all of its pods are known to have started since the copies " + words
	t.ask(r, w, l)
}

// askPresenter asks whether a workload has loaded its leaves as they have been
// since the time given.
func (t *turn) askPresenter(r *reload, w Workload, since time.Time, key string) {
	l := load{mounts: w.Secrets, asked: w.LeavesDigest, since: since}
	l.digest, l.unknown = t.leavesDigest(w)
	l.why = "not all of its pods are known to have started since its leaves chain to " + key
	t.ask(r, w, l)
}

func (t *turn) ask(r *reload, w Workload, l load) {
	r.asked++
	switch {
	case reloadsByItself(w, l.mounts):
		t.waitForReload(r, w, l.since)
	case l.unknown != "":
		r.hold(w, l.unknown)
	case !startedSince(w, l.since):
		t.askPods(r, w, l.asked == l.digest, l.why)
	}
}

// reloadsByItself reports whether the workload's owner says so and the kubelet
// refreshes every one of the mounts.
func reloadsByItself(w Workload, mounts []Mount) bool {
	return w.Reloads > 0 && !slices.ContainsFunc(mounts, func(m Mount) bool { return m.Kind != MountVolume })
}

// clockMargin is how far the API server's clock may be ahead of ours.
const clockMargin = time.Minute

// startedSince reports whether a pod that nothing can restart was made anew since
// then: it bears no digest, but it can have loaded nothing older.
func startedSince(w Workload, since time.Time) bool {
	return w.Kind == "Pod" && !w.OldestStart.Before(since.Add(clockMargin))
}

func (t *turn) waitForReload(r *reload, w Workload, since time.Time) {
	until := since.Add(w.Reloads)
	if !t.now.Before(until) {
		return
	}
	t.lookAt(until)
	r.hold(w, fmt.Sprintf("reloads by itself within %s, by %s", w.Reloads, instant(until)))
}

// askPods asks whether every pod bears the digest; if the pod template does not even
// ask for it, the workload is restarted. A workload without pods has nothing to
// reload: what starts later loads what is there then.
func (t *turn) askPods(r *reload, w Workload, asked bool, why string) {
	switch {
	case w.Pods == 0:
	case !asked:
		t.restart(r, w, why)
	case w.Bearing < w.Pods && w.Paused:
		r.hold(w, "asked to restart, but its rollouts are paused: resume them, with kubectl rollout resume")
	case w.Bearing < w.Pods:
		r.hold(w, fmt.Sprintf("restarting: %d of %s from the new pod template", w.Bearing, counted(w.Pods, "pod is", "pods are")))
	}
}

// restart plans a restart, one at a time among the verifiers of a bundle.
func (t *turn) restart(r *reload, w Workload, why string) {
	if w.Kind == "Pod" {
		r.hold(w, why+"; nothing that can be restarted owns it: recreate it, a minute from now or later")
		return
	}
	if r.waitsForWindow() {
		r.hold(w, why)
		return
	}
	if other := t.before(w); other != "" {
		r.hold(w, "waits its turn: "+other+" is being restarted")
		return
	}
	if !w.Paused {
		t.occupyLanes(w)
	}
	action := Action{Kind: ActionRestart, Subject: w.Ref, Workload: w.Kind, Why: why}
	if digest, stale := t.copiesDigest(w); stale == "" && len(w.Bundles) > 0 {
		action.BundleDigest = digest
	}
	if digest, unknown := t.leavesDigest(w); unknown == "" && len(w.Secrets) > 0 {
		action.LeavesDigest = digest
	}
	if asked := t.askedBefore(action); !asked.IsZero() {
		r.hold(w, fmt.Sprintf("asked to restart at %s, but its pod template does not say so; something may put it back: see who owns its annotations", instant(asked)))
		return
	}
	r.actions = append(r.actions, action)
	r.hold(w, "restarting now")
}

// restartRetry is how long a restart that was asked for has to show in the pod
// template before it is asked for again.
const restartRetry = 5 * time.Minute

// RestartGate is the gate that remembers when a restart was asked for.
func RestartGate(restart Action) string {
	return fmt.Sprintf(GateRestart+"%s %s %s", restart.Workload, restart.Subject, digestOf([]string{restart.BundleDigest, restart.LeavesDigest})[:12])
}

// askedBefore tells when this very restart was asked for a short while ago; zero if
// it was not. Without it, whoever puts pod templates back would be in a fight with
// us, and the workload restarted without an end.
func (t *turn) askedBefore(action Action) time.Time {
	gate := RestartGate(action)
	again := t.memory.was[gate].Add(restartRetry)
	if !t.memory.remembers(gate) || !t.now.Before(again) {
		t.memory.begin(gate)
		return time.Time{}
	}
	t.lookAt(again)
	return t.memory.hold(gate)
}

// before is another workload that is being restarted in one of the lanes; empty if
// there is none.
func (t *turn) before(w Workload) string {
	for _, lane := range lanes(w) {
		for _, other := range t.restarting[lane] {
			if other != w.String() {
				return other
			}
		}
	}
	return ""
}

// lanes are what restarts are serialized by: every bundle that the workload
// verifies with, or all presenters that verify with none.
func lanes(w Workload) []string {
	if len(w.Bundles) == 0 {
		return []string{"leaves"}
	}
	var lanes []string
	for _, mount := range w.Bundles {
		lanes = append(lanes, "bundle "+mount.Name)
	}
	return lanes
}

func (t *turn) occupyLanes(w Workload) {
	for _, lane := range lanes(w) {
		t.restarting[lane] = append(t.restarting[lane], w.String())
	}
}

// noteRestartsUnderWay finds the workloads that are being rolled, by whomever. One
// of which nothing runs yet keeps nobody waiting: it may itself wait for a leaf that
// is issued only when all others have reloaded. Nor does one whose rollouts are paused:
// it loses no pod until somebody resumes them.
func (t *turn) noteRestartsUnderWay() {
	for _, w := range t.observed.Workloads {
		if w.Started > 0 && (w.Rolling || w.Bearing < w.Pods && !w.Paused) {
			t.occupyLanes(w)
		}
	}
}

// awaited are the anchors without which a copy is not what it shall be. Nobody asks somebody
// else who writes it for one that is to go.
func (t *turn) awaited(bundle string) pki.Anchors {
	anchors := t.anchors[bundle]
	if !t.isObserved(bundle) {
		return anchors
	}
	for _, c := range t.courses {
		for _, k := range c.keys {
			if c.distributes(bundle) && k.going() {
				anchors = anchors.Minus(c.anchorsOf(k))
			}
		}
	}
	return anchors
}

// copiesDigest is the digest of the copies that the workload's pods would load
// now; or why they must not yet: a copy is not what its bundle shall be.
func (t *turn) copiesDigest(w Workload) (digest, stale string) {
	var copies []Copy
	for _, name := range bundleNames(w) {
		there := t.copiesAt[Ref{Namespace: w.Ref.Namespace, Name: name}]
		if len(there) == 0 {
			return "", fmt.Sprintf("mounts %s, of which its namespace gets no copy: label the namespace", name)
		}
		for _, bundleCopy := range there {
			if bundleCopy.Problem != "" {
				return "", fmt.Sprintf("%s: %s", bundleCopy.subject(), bundleCopy.Problem)
			}
			if !bundleCopy.Anchors.Contains(t.awaited(name)) {
				return "", bundleCopy.subject() + " is not current yet"
			}
		}
		copies = append(copies, there...)
	}
	return CopiesDigest(copies, t.observed.Bundles), ""
}

func bundleNames(w Workload) []string {
	var names []string
	for _, mount := range w.Bundles {
		names = append(names, mount.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// leavesDigest is the digest of the leaves that the workload's pods would load
// now; or why it is not known.
func (t *turn) leavesDigest(w Workload) (digest, unknown string) {
	presented := map[string]pki.Fingerprint{}
	for _, leaf := range t.leavesOf(w) {
		if leaf.unissued() {
			continue
		}
		if !t.isOurs(leaf) {
			return "", fmt.Sprintf("presents %s, of which it is not known which key signed it", leaf.Ref)
		}
		presented[leaf.SecretName] = leaf.Chain[0].Fingerprint()
	}
	return LeavesDigest(presented), ""
}

// leavesOf are the leaves whose Secrets the workload mounts.
func (t *turn) leavesOf(w Workload) []Leaf {
	var leaves []Leaf
	seen := map[string]bool{}
	for _, mount := range w.Secrets {
		if !seen[mount.Name] {
			seen[mount.Name] = true
			leaves = append(leaves, t.bySecret[Ref{Namespace: w.Ref.Namespace, Name: mount.Name}]...)
		}
	}
	return leaves
}

// isOurs reports whether it is known which of our keys the leaf chains to.
func (t *turn) isOurs(leaf Leaf) bool {
	if len(leaf.Chain) == 0 {
		return false
	}
	_, found := t.holders[t.signers[leaf.Chain[0].Fingerprint()]]
	return found
}
