package forecast

import (
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// SchemaID names the format of a Forecast in JSON, and its JSON Schema.
const SchemaID = "https://reanchor.dev/schemas/plan.v1alpha1.json"

// Forecast is what becomes of a commit: the planner run forward over a simulated world
// until it rests, with every state on the way proved. It is what `reanchor plan` prints,
// and holds no secret.
type Forecast struct {
	// Schema is SchemaID.
	Schema string `json:"schema"`
	// Folder of the domain as seen from the root of the repository, "sites/plant" say; "."
	// for the root itself.
	Folder string `json:"folder"`
	// Verdict says whether to merge, and Summary why, in one sentence.
	Verdict Verdict `json:"verdict"`
	Summary string  `json:"summary"`
	// Base and Head are the commits that were compared. A forecast is stale as soon as
	// any of the digests changes.
	Base Revision `json:"base"`
	Head Revision `json:"head"`
	// Live is what the forecast starts from, where that is a cluster; zero where it is the
	// end state of Base.
	Live Live `json:"live,omitzero"`
	// Digest is "sha256:…" over what the forecast says is done to whom, without times,
	// fingerprints and words: the value of the trailer Reanchor-Plan.
	Digest string `json:"digest"`
	// Stages in the order in which they begin; authorities that roll side by side take
	// turns.
	Stages []Stage `json:"stages"`
	// PointOfNoReturn is the number of the stage from which a revert no longer leads back
	// to the old key; 0: there is none.
	PointOfNoReturn int `json:"pointOfNoReturn,omitempty"`
	// Trust tells of every bundle what it holds before and after.
	Trust []TrustChange `json:"trust,omitempty"`
	// Blocks are what must be mended before the merge; Warnings what a reviewer should
	// know.
	Blocks   []Finding `json:"blocks,omitempty"`
	Warnings []Finding `json:"warnings,omitempty"`
	// Manual are steps that a person takes on the way, in their order.
	Manual []Step `json:"manual,omitempty"`
	// Drops are those who lose trust by it, and StillTrust those who trust a key that is
	// compromised, until the stage that is named or for good. Both are empty of an ordinary
	// rollover.
	Drops      []Loss `json:"drops,omitempty"`
	StillTrust []Loss `json:"stillTrust,omitempty"`
	// Drift is what the cluster holds otherwise than Base says, and is not this change's
	// doing; Conflicts are fields that somebody else owns. Known from a cluster alone.
	Drift     []Finding `json:"drift,omitempty"`
	Conflicts []Finding `json:"conflicts,omitempty"`
	// Deletions are the objects that go, with what goes with them.
	Deletions []Deletion `json:"deletions,omitempty"`
	// Proof says what was verified on the way.
	Proof Proof `json:"proof"`
	// Diffs of the documents and of the rendered manifests, by object.
	Diffs []Diff `json:"diffs,omitempty"`
}

// Verdict is what a forecast comes to.
type Verdict string

// The verdicts, from nothing to worst.
const (
	// Nothing: the cluster is left as it is.
	Nothing Verdict = "Nothing"
	// Safe: no client loses trust on the way, and it ends as Git says.
	Safe Verdict = "Safe"
	// Waits: safe as far as it goes, and then somebody must do something.
	Waits Verdict = "Waits"
	// DropsSome: it ends as Git says, and those named lose trust, or go on trusting a thief:
	// an emergency.
	DropsSome Verdict = "Drops"
	// Blocked: it must not be merged as it is.
	Blocked Verdict = "Blocked"
)

// Values are the verdicts that a forecast may have.
func (Verdict) Values() []string {
	return []string{string(Nothing), string(Safe), string(Waits), string(DropsSome), string(Blocked)}
}

// Revision is a commit and what the domain's folder holds there.
type Revision struct {
	// Name as it was asked for, "main" say, and Commit, "sha1:…"; both empty of an empty
	// base.
	Name   string `json:"name,omitempty"`
	Commit string `json:"commit,omitempty"`
	// Digest is "sha256:…" over the documents as they were composed.
	Digest string `json:"digest"`
}

// Live is what a cluster was seen to hold.
type Live struct {
	// At is when it was looked at.
	At time.Time `json:"at"`
	// Digest is "sha256:…" over what was seen, without its times.
	Digest string `json:"digest"`
}

// Stage is one phase of one key of an authority.
type Stage struct {
	// Number from 1.
	Number int `json:"number"`
	// Authority that rolls, and the Phase that it is in.
	Authority planner.Ref   `json:"authority"`
	Phase     planner.Phase `json:"phase"`
	// From is the key that signed before, and To the one that shall sign; as in
	// [planner.Rollover].
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Title says in a few words what happens.
	Title string `json:"title"`
	// Changes to objects, and what is done to Certificates and workloads, in their order.
	Changes []Change `json:"changes,omitempty"`
	// Gate says what is waited for before the next stage begins: "2 of 2 copies hold
	// 2026", "soak of 10m". One line each.
	Gate []string `json:"gate,omitempty"`
	// Blast counts who is touched.
	Blast Blast `json:"blast"`
	// Undo says how to go back from here.
	Undo string `json:"undo"`
	// Takes is how long it takes at least, in nanoseconds, by what Git says: skew, soak,
	// windows.
	Takes time.Duration `json:"takes,omitempty"`
}

// Change is one object, and what is done to it.
type Change struct {
	// Verb says what is done.
	Verb simulation.Verb `json:"verb"`
	// Object is its kind and name: "Certificate cert-manager/fleet-root-2026".
	Object string `json:"object"`
	// What of it, where that is not all of it: "+ Fleet Root 2026".
	What string `json:"what,omitempty"`
}

// Blast is who is touched by a stage: how many, and the first of them by name.
type Blast struct {
	// Leaves that are issued anew, Workloads that are restarted, Namespaces that these lie
	// in or whose copies change, Devices; and the first Names of all of them.
	Leaves     int      `json:"leaves,omitempty"`
	Workloads  int      `json:"workloads,omitempty"`
	Namespaces int      `json:"namespaces,omitempty"`
	Devices    int      `json:"devices,omitempty"`
	Names      []string `json:"names,omitempty"`
}

// TrustChange is what a bundle holds before and after.
type TrustChange struct {
	// Bundle is its name.
	Bundle string `json:"bundle"`
	// Before and After are equal where nothing changes, sorted by subject and date.
	Before []Anchor `json:"before"`
	After  []Anchor `json:"after"`
	// PublicBefore and PublicAfter report whether the public CAs that trust-manager brings
	// along are added to them (spec.useDefaultCAs).
	PublicBefore bool `json:"publicBefore,omitempty"`
	PublicAfter  bool `json:"publicAfter,omitempty"`
}

// Anchor is a certificate that a bundle holds, or will.
type Anchor struct {
	// Key is "fleet-root/2026"; empty of a certificate that is no key's.
	Key string `json:"key,omitempty"`
	// Subject of the certificate, its distinguished name.
	Subject string `json:"subject"`
	// Fingerprint is the SHA-256 of the certificate, and NotBefore and NotAfter its dates;
	// zero where KnownAfter says when they will be known.
	Fingerprint pki.Fingerprint `json:"fingerprint,omitzero"`
	NotBefore   time.Time       `json:"notBefore,omitzero"`
	NotAfter    time.Time       `json:"notAfter,omitzero"`
	// KnownAfter is the phase after which it is issued: "Introduce".
	KnownAfter planner.Phase `json:"knownAfter,omitempty"`
}

// Finding is something to know or to mend.
type Finding struct {
	// Rule or gate that says so: "bundle-too-large", "lifetime".
	Rule string `json:"rule"`
	// Subject is the object, key or document.
	Subject string `json:"subject"`
	// Place in the repository, "pki.yaml:12", where there is one.
	Place string `json:"place,omitempty"`
	// Message says what is wrong, with its numbers.
	Message string `json:"message"`
	// Mend says what to do.
	Mend string `json:"mend,omitempty"`
}

// Step is something that a person does while the rollover waits.
type Step struct {
	// Stage in which it is waited for.
	Stage int `json:"stage"`
	// Subject is the object or key that is waited for, and Do what to do.
	Subject string `json:"subject"`
	Do      string `json:"do"`
}

// Loss is somebody who loses trust, or keeps it where he should not.
type Loss struct {
	// Who: "Certificate plant/broker", "Deployment plant/press", "Device sensors/sensor-0042".
	Who string `json:"who"`
	// Why, with the key and the peer.
	Why string `json:"why"`
}

// Deletion is an object that goes.
type Deletion struct {
	// Object is its kind and name.
	Object string `json:"object"`
	// Cascade names what goes with it.
	Cascade []string `json:"cascade,omitempty"`
}

// Proof is what was verified on the way.
type Proof struct {
	// Pairs of a presented chain and a verifier's anchors in each of the States, at most,
	// and Verified in all of them together.
	Pairs    int `json:"pairs"`
	States   int `json:"states"`
	Verified int `json:"verified"`
	// Counterexample is the first state in which an invariant was broken; empty if none.
	Counterexample *Counterexample `json:"counterexample,omitempty"`
}

// Counterexample is a state that must not be.
type Counterexample struct {
	// Stage in which it is reached.
	Stage int `json:"stage"`
	// Invariant that is broken, and the Evidence.
	Invariant string `json:"invariant"`
	Evidence  string `json:"evidence"`
}

// Diff is what changes of one object.
type Diff struct {
	// Object, or the file of a document.
	Object string `json:"object"`
	// Text in the unified format, without any secret byte.
	Text string `json:"text"`
}
