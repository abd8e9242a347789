package forecast

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// recorder tells stages from turns: one for each phase of each key of an authority, in the
// order in which they begin.
type recorder struct {
	run     *run
	entries []*entry
	byPhase map[stageID]*entry
	// current are the stages in which the authorities are.
	current map[planner.Ref]*entry
	last    time.Time
	// removed are the objects that go.
	removed         []simulation.Written
	pointOfNoReturn int
	// roots that stand.
	roots roots
}

type stageID struct {
	authority planner.Ref
	phase     planner.Phase
	key       string
}

// entry is a stage in the making.
type entry struct {
	Stage
	key string
	// gates that were shut in it, in their order, and the subjects that they told of.
	gates    []string
	subjects map[string]bool
	// progress is what the rollover told of itself: "2 of 2 copies hold 2026".
	progress []string
	// rollover is how carefully Git says that the key is brought in.
	rollover v1alpha1.Rollover
	// assumed: nobody knows how many there are.
	assumed bool
	// isStolen: the key that signed before is compromised, or one above it. stays: a revert
	// leaves the stage's key where it is.
	isStolen, stays bool
	leaves          map[string]bool
	// workloads that are restarted or load by themselves, and namespaces with a copy that
	// changes.
	workloads, namespaces map[string]bool
	// devices are the groups whose devices get a certificate.
	devices map[string]bool
}

func newRecorder(r *run) *recorder {
	return &recorder{run: r, byPhase: map[stageID]*entry{}, current: map[planner.Ref]*entry{}, last: r.world.Now, roots: rootsOf(r)}
}

// beside begins with the stage of the manifests that stand in Git beside the documents: they
// are applied with the first turn.
func (r *recorder) beside(changes []Change) {
	if len(changes) == 0 {
		return
	}
	e := r.begin(stageID{phase: planner.Settled}, planner.Rollover{Phase: planner.Settled})
	e.Changes = slices.Clone(changes)
	for _, change := range changes {
		if change.Verb != simulation.Removed && strings.HasPrefix(change.Object, "Certificate ") {
			e.leaves[change.Object] = true
		}
	}
}

// note takes in a turn.
func (r *recorder) note(plan planner.Plan, written []simulation.Written, now time.Time) {
	passed := now.Sub(r.last)
	r.last = now
	for _, e := range r.current {
		e.Takes += passed
	}
	for _, rollover := range plan.Rollovers {
		r.enter(rollover)
	}
	for _, write := range r.withSelfSigned(r.withoutEnrolments(written)) {
		for _, e := range r.stagesOf(write, plan) {
			r.add(e, write)
		}
	}
}

// enter notes where an authority stands.
func (r *recorder) enter(rollover planner.Rollover) {
	if rollover.Phase == planner.Settled {
		delete(r.current, rollover.Authority)
		return
	}
	key := rollover.To
	if rollover.Phase == planner.Retire {
		key = rollover.From
	}
	id := stageID{rollover.Authority, rollover.Phase, key}
	e := r.byPhase[id]
	if e == nil {
		if waitsForOthers(rollover) {
			delete(r.current, rollover.Authority)
			return
		}
		e = r.begin(id, rollover)
	}
	r.current[rollover.Authority] = e
	e.hear(rollover)
}

// waitsForOthers reports whether nothing is done but to wait for another authority.
func waitsForOthers(rollover planner.Rollover) bool {
	return !slices.ContainsFunc(rollover.Holds, func(h planner.Hold) bool { return h.Gate != "parent" && h.Gate != "intermediate" })
}

func (r *recorder) begin(id stageID, rollover planner.Rollover) *entry {
	e := &entry{
		Stage: Stage{Number: len(r.entries) + 1, Authority: id.authority, Phase: id.phase, From: rollover.From, To: rollover.To},
		key:   id.key, subjects: map[string]bool{},
		leaves: map[string]bool{}, workloads: map[string]bool{}, namespaces: map[string]bool{}, devices: map[string]bool{},
	}
	r.entries, r.byPhase[id] = append(r.entries, e), e
	return e
}

// hear notes what a rollover is held by.
func (e *entry) hear(rollover planner.Rollover) {
	if !slices.Contains(e.progress, rollover.Progress) {
		e.progress = append(e.progress, rollover.Progress)
	}
	for _, hold := range rollover.Holds {
		if !slices.Contains(e.gates, hold.Gate) {
			e.gates = append(e.gates, hold.Gate)
		}
		e.subjects[hold.Subject] = true
		if hold.Gate == "reload" && hold.Subject != "" {
			e.workloads[hold.Subject] = true
		}
	}
}

// stagesOf are the stages that a write belongs to: those of its authorities, or of those who
// wait for its object.
func (r *recorder) stagesOf(write simulation.Written, plan planner.Plan) []*entry {
	var found []*entry
	if write.Kind == simulation.KindDevice && write.Verb == simulation.Reissued {
		found = r.reissueOf(write)
	}
	if len(found) > 0 {
		return found
	}
	for _, authority := range write.Authorities {
		if e := r.current[authority]; e != nil {
			found = append(found, e)
		}
	}
	if write.Verb == simulation.Restarted {
		for _, rollover := range plan.Rollovers {
			if e := r.current[rollover.Authority]; e != nil && isHeldBy(rollover, write.Object()) {
				found = append(found, e)
			}
		}
	}
	if last := r.lastOf(write); len(found) == 0 && last != nil && write.Verb != simulation.Proved {
		found = append(found, last) // what is tidied up after it
	}
	if len(found) == 0 && write.Verb != simulation.Proved {
		found = append(found, r.aside(write))
	}
	return found
}

// lastOf is the last stage of the authority of whose link a request is removed: that is done
// when the rollover is over.
func (r *recorder) lastOf(write simulation.Written) *entry {
	if write.Kind != simulation.KindRequest || write.Verb != simulation.Removed {
		return nil
	}
	for _, e := range slices.Backward(r.entries) {
		if slices.Contains(write.Authorities, e.Authority) {
			return e
		}
	}
	return nil
}

func isHeldBy(rollover planner.Rollover, subject string) bool {
	return slices.ContainsFunc(rollover.Holds, func(h planner.Hold) bool { return h.Subject == subject })
}

// aside is the stage of what changes outside of any rollover.
func (r *recorder) aside(write simulation.Written) *entry {
	id := stageID{phase: planner.Settled}
	if len(write.Authorities) > 0 {
		id.authority = write.Authorities[0]
	}
	if r.byPhase[id] == nil {
		return r.begin(id, planner.Rollover{})
	}
	return r.byPhase[id]
}

// add notes a write in a stage.
func (r *recorder) add(e *entry, write simulation.Written) {
	change := Change{Verb: write.Verb, Object: write.Object(), What: r.run.what(write)}
	switch {
	case write.Kind == simulation.KindDevice:
		e.devices[write.Ref.Namespace] = true
		change.Object = devicesOf + write.Ref.Namespace
	case write.Verb == simulation.Reissued:
		e.leaves[change.Object] = true
	case write.Verb == simulation.Restarted:
		e.workloads[change.Object] = true
	case write.Kind == "Bundle":
		for _, namespace := range r.run.world.Namespaces(write.Ref.Name) {
			e.namespaces[namespace] = true
		}
	case write.Kind == "ConfigMap":
		e.namespaces[write.Ref.Namespace] = true
	}
	if write.Verb == simulation.Removed {
		r.remove(e, write)
	}
	if instead, assumed := r.run.assumed[change.Object]; assumed {
		change.Object = instead
	}
	at := slices.IndexFunc(e.Changes, func(c Change) bool { return c.Object == change.Object && c.Verb == change.Verb })
	switch {
	case at < 0:
		e.Changes = append(e.Changes, change)
	case change.What != "" && !strings.Contains(e.Changes[at].What, change.What):
		e.Changes[at].What = strings.TrimPrefix(e.Changes[at].What+", "+change.What, ", ")
	}
}

func (r *recorder) remove(e *entry, write simulation.Written) {
	r.removed = append(r.removed, write)
	if write.Kind == "Secret" && e.Phase == planner.Retire && r.pointOfNoReturn == 0 {
		r.pointOfNoReturn = e.Number
	}
}

// latest is the number of the stage that began last.
func (r *recorder) latest() int { return len(r.entries) }

// waitingFor is the number of the stage in which a subject is waited for.
func (r *recorder) waitingFor(subject string) int {
	for _, e := range slices.Backward(r.entries) {
		if e.subjects[subject] {
			return e.Number
		}
	}
	return r.latest()
}

// stages are what was recorded, in words.
func (r *recorder) stages() []Stage {
	stages := make([]Stage, 0, len(r.entries))
	for _, e := range r.entries {
		e.Changes = grouped(e.Changes)
		e.assumed = r.run.assumed != nil
		e.isStolen = e.From != "" && isCompromised(r.run.request.Head.Desired, e.Authority.Name, e.From)
		e.stays = isKept(r.run.request.Base.Desired, e.Authority.Name, e.key)
		if authority, is := authorityOf(r.run.request.Head.Desired, e.Authority.Name); is {
			e.rollover = authority.Spec.Rollover
		}
		e.Title, e.Gate, e.Undo, e.Blast = e.title(), e.gateWords(), e.undo(), r.blast(e)
		stages = append(stages, e.Stage)
	}
	return stages
}

// grouped brings together what is done to objects of one kind, in the order in which each
// group begins, and sorts each group.
func grouped(changes []Change) []Change {
	first := map[string]int{}
	group := func(c Change) string {
		kind, _, _ := strings.Cut(c.Object, " ")
		return string(c.Verb) + " " + kind
	}
	for i, c := range changes {
		if _, begun := first[group(c)]; !begun {
			first[group(c)] = i
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(first[group(a)], first[group(b)]), cmp.Compare(a.Object, b.Object))
	})
	return changes
}

// namesShown is how many of those who are touched are named.
const namesShown = 5

// blast counts who is touched, of those who are known.
func (r *recorder) blast(e *entry) Blast {
	b := Blast{Namespaces: len(e.namespaces)}
	var names []string
	for _, touched := range []struct {
		objects map[string]bool
		count   *int
	}{{e.leaves, &b.Leaves}, {e.workloads, &b.Workloads}} {
		known := 0
		for object := range touched.objects {
			if r.run.assumed[object] == "" {
				names = append(names, object)
				known++
			}
		}
		*touched.count = known
	}
	devices, first := r.devicesIn(e)
	b.Devices, names = devices, append(names, first...)
	slices.Sort(names)
	b.Names = names[:min(len(names), namesShown)]
	for _, name := range names {
		if namespace, _, is := strings.Cut(name[strings.Index(name, " ")+1:], "/"); is && !e.namespaces[namespace] {
			e.namespaces[namespace] = true
			b.Namespaces++
		}
	}
	if r.run.assumed != nil {
		b.Namespaces = 0 // nobody knows
	}
	return b
}

// requestsOf a Certificate go with it.
const requestsOf = "its CertificateRequests"

// deletions are the objects that go, with what goes with them.
func (r *recorder) deletions() []Deletion {
	var deletions []Deletion
	for _, write := range r.removed {
		d := Deletion{Object: write.Object()}
		switch write.Kind {
		case "Certificate":
			d.Cascade = []string{requestsOf}
		case "Bundle":
			for _, namespace := range r.run.world.Namespaces(write.Ref.Name) {
				d.Cascade = append(d.Cascade, "ConfigMap "+namespace+"/"+write.Ref.Name)
			}
		}
		if !slices.ContainsFunc(deletions, func(other Deletion) bool { return other.Object == d.Object }) {
			deletions = append(deletions, d)
		}
	}
	for _, change := range r.run.request.Beside {
		if change.Verb == simulation.Removed {
			deletions = append(deletions, besideGone(change.Object))
		}
	}
	return append(r.authoritiesGone(), deletions...)
}

// besideGone is a manifest that leaves Git, with what goes with it.
func besideGone(object string) Deletion {
	d := Deletion{Object: object}
	if strings.HasPrefix(object, "Certificate ") {
		d.Cascade = []string{requestsOf}
	}
	return d
}

// authoritiesGone are the authorities that leave Git, with the key pairs that go with them.
func (r *recorder) authoritiesGone() []Deletion {
	var gone []Deletion
	for _, authority := range r.run.request.Base.Desired.Authorities {
		if _, stays := authorityOf(r.run.request.Head.Desired, authority.Metadata.Name); stays {
			continue
		}
		ref := planner.AuthorityRef(authority)
		d := Deletion{Object: "Authority " + ref.String()}
		for _, write := range r.removed {
			if slices.Contains(write.Authorities, ref) {
				d.Cascade = append(d.Cascade, write.Object())
			}
		}
		d.Cascade = append(d.Cascade, r.run.remains(ref)...)
		gone = append(gone, d)
	}
	return gone
}
