package forecast

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// Run forecasts what becomes of a commit.
//
// The world begins as the cluster was seen, or else as the base ends. Then the planner takes
// its turns over it with what the head declares; everyone reacts at once and in order, and
// where time alone is waited for, it jumps. After every write the invariants are asked. It
// ends when the world rests, when an invariant is broken, or when nobody can go on.
func Run(request Request) Forecast {
	f := Forecast{
		Schema: SchemaID, Folder: request.Folder, Base: request.Base.Revision, Head: request.Head.Revision, Stages: []Stage{},
		Blocks: slices.Clone(request.Blocks), Warnings: slices.Clone(request.Warnings), Conflicts: request.Conflicts, Diffs: request.Diffs,
	}
	if request.Observed != nil {
		f.Live = Live{At: request.Seen.UTC(), Digest: liveDigest(*request.Observed)}
	}
	var end ending
	if !request.Head.Broken {
		r := newRun(request, &f)
		r.begin()
		if len(request.WhatIf) > 0 {
			r.loseKeys(request.WhatIf)
		} else {
			end = r.follow()
		}
		r.world.Look()
		f.Proof.Pairs, f.Proof.States, f.Proof.Verified = r.world.Proof().Pairs, r.world.Proof().States, r.world.Proof().Verified
	}
	f.conclude(request, end)
	return f
}

// run is a forecast in the making.
type run struct {
	request Request
	*Forecast
	world  *simulation.World
	twins  *simulation.Twins
	record *recorder
	// assumed are the names of what stands for those who are not known.
	assumed map[string]string
	// stood are the CAs that were there before anything was done.
	stood pki.Anchors
	// known are the violations that were there before anything was done.
	known map[string]bool
	// plan is the last one, and rested counts how often nothing came of it.
	plan   planner.Plan
	rested int
	told   map[Finding]bool
	// believers are those who trust a compromised key on the way, and stolen the
	// certificates of intermediates' keys that are compromised.
	believers map[string]believer
	stolen    pki.Anchors
	// inUse are the authorities that Git takes away and that cannot go.
	inUse map[planner.Ref]bool
	// enrolled are the groups of which a device stands in the world, and there the ledgers of
	// those whose devices were there when the cluster was seen.
	enrolled map[string]bool
	there    map[string]planner.Ledger
}

func newRun(request Request, f *Forecast) *run {
	r := &run{request: request, Forecast: f, known: map[string]bool{}, told: map[Finding]bool{}, believers: map[string]believer{}, inUse: map[planner.Ref]bool{}, enrolled: map[string]bool{}}
	var observed planner.Observed
	if request.Observed != nil {
		observed = *request.Observed
		if request.Record.Enabled && !observed.Record.Enabled {
			observed.Record = request.Record
		}
		observed.Leaves = leavesOfHead(request, observed.Leaves)
	} else {
		a := assume(request)
		observed, r.assumed = a.Observed, a.names
		f.Warnings = append(f.Warnings, a.findings...)
	}
	r.world, r.twins = simulation.FromObserved(1, observed, request.Now, patient(request.Base.Desired), patient(request.Head.Desired))
	r.world.Prompt = true
	return r
}

// ages is how long a canary counts as proof in a forecast: routine ones are no news.
const ages = 50 * 365 * 24 * time.Hour

// patient is what Git declares without the canaries that are sent now and then.
func patient(desired planner.Desired) planner.Desired {
	desired.Authorities = slices.Clone(desired.Authorities)
	for i := range desired.Authorities {
		desired.Authorities[i].Spec.Rollover.CanaryInterval = &metav1.Duration{Duration: ages}
	}
	return desired
}

// begin brings the world to where the commit finds it.
func (r *run) begin() {
	head := r.world.Desired
	if len(r.request.Base.Desired.Authorities)+len(r.request.Base.Desired.Bundles) > 0 {
		r.world.Desired = r.twins.Desired(patient(r.request.Base.Desired))
		r.enrol(r.request.Base)
		if r.request.Observed == nil {
			r.reachBase()
		} else {
			r.there = r.seenDevices()
			r.tellDrift()
		}
	}
	r.world.Desired = head
	r.enrol(r.request.Head)
	r.stood = r.world.Authorities()
	r.world.Acquaint()
	r.world.Look()
	r.tellBroken()
	r.world.ForgetProof()
	r.stolen = r.stolenIntermediates()
	r.record = newRecorder(r)
	r.record.beside(r.request.Beside)
}

// reachBase lets the base come to its end.
func (r *run) reachBase() {
	r.record = newRecorder(r)
	if stuck := r.settle(); len(stuck) > 0 {
		r.warn(Finding{Rule: "base", Subject: stuck[0].Subject, Message: "what Git declares now does not come to rest: " + stuck[0].Message, Mend: "begin from a cluster: --live, or --observed FILE"})
	}
	r.plan, r.rested, r.Manual = planner.Plan{}, 0, nil
}

// tellDrift tells what the cluster holds otherwise than the base says.
func (r *run) tellDrift() {
	for _, write := range r.world.Due() {
		if write.Verb == simulation.Proved {
			continue
		}
		finding := Finding{Rule: "drift", Subject: write.Object(), Message: "it would be " + string(write.Verb) + " by what Git declares now"}
		if what := r.what(write); what != "" {
			finding.Message += ": " + what
		}
		r.Drift = append(r.Drift, finding)
	}
}

// podNumber is what tells one pod of a workload from another.
var podNumber = regexp.MustCompile(`\bpod \d+ of `)

// tellBroken tells what is broken already, and is not the commit's doing.
func (r *run) tellBroken() {
	for _, broken := range r.world.Violations() {
		text := podNumber.ReplaceAllString(r.twins.Text(broken.String()), "")
		if !r.known[text] {
			r.known[text] = true
			r.Drift = append(r.Drift, Finding{Rule: "broken", Subject: string(broken.Invariant), Message: "it is so already: " + r.twins.Text(broken.Evidence)})
		}
	}
	r.world.ForgetViolations()
}

// ending is how a forecast ended: whether it does not come to its end, and how many trust a
// thief for good.
type ending struct {
	unfinished bool
	believers  int
}

// follow lets the head come to its end, and tells of it.
func (r *run) follow() (end ending) {
	before := r.trust()
	stuck := r.settle()
	r.Stages = r.record.stages()
	r.PointOfNoReturn = r.record.pointOfNoReturn
	r.compareTrust(before, r.trust())
	r.tellLosses()
	end = ending{unfinished: len(stuck) > 0, believers: r.tellBelievers()}
	if r.Proof.Counterexample == nil && end.unfinished {
		r.tellInUse()
		stuck = r.holds()
	}
	r.Deletions = r.record.deletions()
	if r.Proof.Counterexample == nil {
		r.tellStuck(stuck)
	}
	return end
}

// settle takes turns until the world rests. It returns what holds it if it does not.
func (r *run) settle() []Finding {
	for range r.most() {
		r.turn()
		switch {
		case r.isBroken():
			return nil
		case r.plan.Blind:
			return r.holds()
		case r.rested == 0:
		case isSettled(r.plan) && !awaitsWindow(r.plan):
			return nil
		case r.rested > fruitless || !(r.peopleAct() || r.sleep()):
			return r.holds()
		}
	}
	return r.holds()
}

// fruitless is how often in a row nothing may come of a turn.
const fruitless = 40

// most is how many turns a world may take: everybody may be restarted one after the other, a
// few times.
func (r *run) most() int {
	seen := r.world.Observe()
	return 500 + 20*(len(seen.Workloads)+len(seen.Leaves)+len(r.world.Desired.Authorities))
}

// turn takes a turn and notes what it did.
func (r *run) turn() {
	plan := r.world.Turn()
	written := r.world.Written()
	proofs := 0
	for _, w := range written {
		if w.Verb == simulation.Proved {
			proofs++
		}
	}
	moved := !reflect.DeepEqual(plan.Rollovers, r.plan.Rollovers) || !reflect.DeepEqual(plan.Holds, r.plan.Holds)
	if r.rested++; moved || len(written) > proofs {
		r.rested = 0
	}
	r.record.note(plan, written, r.world.Now)
	r.noteBelievers(plan)
	r.warnOfLinks(plan)
	r.check(plan, written)
	r.plan = plan
	if proofs > 0 && r.rested > 0 && r.rested < fruitless {
		r.turn() // for the answer
	}
}

// check asks what is wrong with a plan that writes something.
func (r *run) check(plan planner.Plan, written []simulation.Written) {
	if r.request.Check == nil || len(written) == 0 {
		return
	}
	plan.Target = r.twins.Target(plan.Target)
	blocks, warnings := r.request.Check(plan)
	for _, found := range blocks {
		r.block(found)
	}
	for _, found := range warnings {
		r.warn(found)
	}
}

// warnOfLinks tells of the link certificates that are not made: without one a device that is
// away for the whole rollover knows nobody when it comes back.
func (r *run) warnOfLinks(plan planner.Plan) {
	for _, link := range plan.Links {
		declared, _ := authorityOf(r.request.Head.Desired, link.Authority.Name)
		if link.State != planner.LinkNone && link.State != planner.LinkFailed || declared.Spec.Rollover.Links == v1alpha1.LinksNone {
			continue
		}
		if isCompromised(r.request.Head.Desired, link.Authority.Name, link.Under) {
			continue // nobody is to believe it
		}
		r.warn(Finding{
			Rule: "link", Subject: "Authority " + link.Authority.String(),
			Message: fmt.Sprintf("there will be no link certificate of %s under %s: %s", link.Key, link.Under, r.twins.Text(link.Why)),
			Mend:    "see that no device is away for the whole rollover, or bring the new bundle to those that are by hand",
		})
	}
}

func (r *run) block(found Finding) {
	if !r.told[found] && !slices.Contains(r.Blocks, found) {
		r.Blocks = append(r.Blocks, found)
	}
	r.told[found] = true
}

func (r *run) warn(found Finding) {
	if !r.told[found] && !slices.Contains(r.Warnings, found) && !slices.Contains(r.Blocks, found) {
		r.Warnings = append(r.Warnings, found)
	}
	r.told[found] = true
}

// isBroken reports whether an invariant is broken that was not before, and tells of the
// first.
func (r *run) isBroken() bool {
	for _, broken := range r.world.Violations() {
		text := r.twins.Text(broken.String())
		if r.known[podNumber.ReplaceAllString(text, "")] {
			continue
		}
		r.Proof.Counterexample = &Counterexample{Stage: r.record.latest(), Invariant: string(broken.Invariant), Evidence: r.twins.Text(broken.Evidence)}
		return true
	}
	r.world.ForgetViolations()
	return false
}

func isSettled(plan planner.Plan) bool {
	return !slices.ContainsFunc(plan.Rollovers, func(r planner.Rollover) bool { return r.Phase != planner.Settled })
}

// awaitsWindow reports whether something waits for a window that no rollover is about.
func awaitsWindow(plan planner.Plan) bool {
	return slices.ContainsFunc(plan.Holds, func(h planner.Hold) bool { return h.Gate == "window" })
}

// peopleAct lets people do what they are asked for, and notes that they must.
func (r *run) peopleAct() bool {
	deeds := r.world.LetPeopleAct()
	for _, deed := range deeds {
		step := Step{Stage: r.record.waitingFor(deed.Subject), Subject: deed.Subject, Do: r.twins.Text(deed.Do)}
		if !slices.Contains(r.Manual, step) {
			r.Manual = append(r.Manual, step)
		}
	}
	return len(deeds) > 0
}

// horizon is how far a world looks forward to what time alone may change.
const horizon = 2 * 365 * 24 * time.Hour

// sleep lets time pass until the plan may change, if time is what is waited for.
func (r *run) sleep() bool {
	now, until := r.world.Now, r.plan.LookAgain
	if !until.After(now) || until.Sub(now) > horizon || !awaitsTime(r.plan) {
		return false
	}
	if steps := r.rested - 8; steps > 0 { // what was looked for did not come: look further
		until = later(until, now.Add(time.Minute<<min(steps, 20)))
	}
	if ends := r.world.LastsUntil(); ends.After(now) && ends.Before(until) {
		until = ends
	}
	r.world.Now = until
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// personal are the gates that no time opens.
var personal = []string{
	"name", "lifetime", "certificate", "identity", "key", "parent", "own-ca", "proof", "paused", "declaration", "intermediate",
	planner.GateUnknown, "record", "bundle", "prune",
}

// awaitsTime reports whether there is a hold that may go by itself.
func awaitsTime(plan planner.Plan) bool {
	return awaitsWindow(plan) || slices.ContainsFunc(plan.Rollovers, func(r planner.Rollover) bool {
		return slices.ContainsFunc(r.Holds, func(h planner.Hold) bool { return !slices.Contains(personal, h.Gate) })
	})
}

// holds are those of the last plan that keep it from going on, without those that wait for
// another authority, if there are others.
func (r *run) holds() []Finding {
	var own, waiting []Finding
	for _, hold := range r.plan.Holds {
		if hold.Gate == planner.GateUnknown {
			own = append(own, r.finding(hold))
		}
	}
	for _, rollover := range r.plan.Rollovers {
		if r.inUse[rollover.Authority] {
			continue // that is told already
		}
		for _, hold := range decisive(rollover) {
			if strings.HasPrefix(hold.Subject, "Authority ") && hold.Gate != "declaration" {
				waiting = append(waiting, r.finding(hold))
			} else {
				own = append(own, r.finding(hold))
			}
		}
	}
	if len(own) == 0 {
		return waiting
	}
	return own
}

// decisive are the holds of a rollover that count: the pause alone, if it is paused.
func decisive(rollover planner.Rollover) []planner.Hold {
	for _, hold := range rollover.Holds {
		if hold.Gate == "paused" {
			hold.Subject = "spec.rollover of " + rollover.Authority.String()
			return []planner.Hold{hold}
		}
	}
	return rollover.Holds
}

func (r *run) finding(hold planner.Hold) Finding {
	return Finding{Rule: hold.Gate, Subject: r.twins.Text(hold.Subject), Message: r.twins.Text(hold.Why)}
}

// byPeople are the gates that somebody may open while the rollover waits.
var byPeople = []string{"own-ca", "proof", "paused", "copies", "anchors", "reload", "leaf", "drain", "intermediate", "removal", "issue"}

// tellStuck tells what keeps the world from its end: what somebody may do on the way, or
// else what must be mended before.
func (r *run) tellStuck(stuck []Finding) {
	for _, found := range stuck {
		if slices.Contains(byPeople, found.Rule) {
			r.Manual = append(r.Manual, Step{Stage: r.record.waitingFor(found.Subject), Subject: found.Subject, Do: found.Message})
		} else {
			r.block(found)
		}
	}
	for _, hold := range r.plan.Holds {
		found := r.finding(hold)
		if slices.Contains(besideByPeople, hold.Gate) {
			r.Manual = append(r.Manual, Step{Stage: r.record.waitingFor(found.Subject), Subject: found.Subject, Do: found.Message})
			continue
		}
		r.warn(found)
	}
}

// besideByPeople are the gates beside all rollovers that somebody may open.
var besideByPeople = []string{planner.GatePublicCAs, "probe", "paused"}

// bundleNames are the bundles of both sides and of the world, sorted.
func (r *run) bundleNames() []string {
	names := bundles(r.request)
	for _, standing := range r.world.Observe().Bundles {
		names = append(names, standing.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func authorityOf(desired planner.Desired, name string) (v1alpha1.Authority, bool) {
	for _, authority := range desired.Authorities {
		if authority.Metadata.Name == name {
			return authority, true
		}
	}
	return v1alpha1.Authority{}, false
}

// what says what of an object changes, in a few words.
func (r *run) what(write simulation.Written) string {
	var words []string
	for _, anchor := range write.Added {
		words = append(words, "+ "+anchor.CommonName())
	}
	for _, anchor := range write.Lost {
		words = append(words, "− "+anchor.CommonName())
	}
	slices.Sort(words)
	switch {
	case write.Verb == simulation.Removed || write.Verb == simulation.Proved:
		return ""
	case len(words) > 0:
		return strings.Join(words, ", ")
	case strings.HasSuffix(write.Kind, "Issuer") && write.Key != "" && !strings.HasSuffix(write.Ref.Name, "-"+write.Key):
		return fmt.Sprintf("signs with %s", write.Key)
	}
	return ""
}
