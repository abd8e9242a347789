package planner

import (
	"cmp"
	"fmt"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Plan is the next safe step, and why it is no bigger.
type Plan struct {
	// Target is what the cluster should hold right now. Any subset of the writes
	// that lead to it, in any order, is safe.
	Target Target `json:"target"`
	// Actions that no manifest can express, in the order in which to start them.
	Actions []Action `json:"actions,omitempty"`
	// Probes are the servers to shake hands with. What comes of it is given to the next
	// plan as Observed.Probes; it moves nothing by itself.
	Probes []Probe `json:"probes,omitempty"`
	// Rollovers tells of every authority where it stands, in order of their names.
	Rollovers []Rollover `json:"rollovers,omitempty"`
	// Holds that are no single authority's: a bundle that Git no longer declares
	// and that somebody still mounts, say.
	Holds []Hold `json:"holds,omitempty"`
	// Record says what the record in Git shall newly say, in order of authority and key.
	Record []RecordedKey `json:"record,omitempty"`
	// LinkRecord says what the record shall newly say of link certificates, in order of
	// authority and keys, and Links how far those of rollovers under way have come.
	LinkRecord []RecordedLink `json:"linkRecord,omitempty"`
	Links      []LinkStatus   `json:"links,omitempty"`
	// Drops names who would lose trust if what is to be retired went now.
	Drops []Drop `json:"drops,omitempty"`
	// StillTrust names who may still trust a key that is compromised.
	StillTrust []Drop `json:"stillTrust,omitempty"`
	// Gates is what the next turn must be given as Observed.Since.
	Gates []Gate `json:"gates,omitempty"`
	// LookAgain is when time alone may change the plan; zero if never.
	LookAgain time.Time `json:"lookAgain,omitzero"`
	// Blind reports that something could not be read (Observed.Unknown). The target
	// was made of what was, and must not be applied; there are no actions.
	Blind bool `json:"blind,omitempty"`
	// Decisive reports that the target moves an issuer or takes an anchor out. Such a plan
	// is carried out only from a snapshot that is the head of its branch: where the last
	// good one stands in for a head that cannot be used, it is not. (That it is made from
	// an uncached observation holds for whatever is written, decisive or not.)
	Decisive bool `json:"decisive,omitempty"`
}

// Target is what the cluster should hold right now.
type Target struct {
	Keys    []TargetKey    `json:"keys,omitempty"`
	Issuers []TargetIssuer `json:"issuers,omitempty"`
	Bundles []TargetBundle `json:"bundles,omitempty"`
	// DeviceRules say of every device group which key signs, sorted by group.
	DeviceRules []DeviceRule `json:"deviceRules,omitempty"`
}

// DeviceRule is what becomes of the certificates of a group's devices.
type DeviceRule struct {
	Group string `json:"group"`
	// Authority and Key that sign: what was signed by another is issued anew. Empty: no
	// key may sign yet.
	Authority Ref    `json:"authority,omitzero"`
	Key       string `json:"key,omitempty"`
	// Later is the percent of the group's devices, the last in the order of waves, that keep
	// what another key signed for now. Who among them has no certificate, or one that is due
	// for renewal, gets one of Key all the same. 0: nobody is kept back; 100: everybody is.
	// Who is: [WaveRanks], [InWave].
	Later int `json:"later,omitempty"`
	// Stolen: Key signs still, and somebody else may sign with it too. Nobody is to change to
	// it, not even in renewal: who has no certificate waits for the key that takes over, and
	// so does whoever has one of another key, unless that would end before long.
	Stolen bool `json:"stolen,omitempty"`
}

// CASpec is what a CA certificate is like. Once issued it is frozen.
type CASpec struct {
	CommonName          string                `json:"commonName"`
	Organizations       []string              `json:"organizations,omitempty"`
	OrganizationalUnits []string              `json:"organizationalUnits,omitempty"`
	Countries           []string              `json:"countries,omitempty"`
	Algorithm           v1alpha1.KeyAlgorithm `json:"algorithm"`
	Size                int                   `json:"size,omitempty"`
	Duration            time.Duration         `json:"duration"`
	// SignedBy is the internal issuer of the parent's key that signs the certificate: a
	// ClusterIssuer if it has no namespace. Zero: a root, which signs itself.
	SignedBy Ref `json:"signedBy,omitzero"`
}

// TargetKey is a key's objects: all are named KeyObjectName(Authority.Name, Name)
// and lie in the authority's namespace.
type TargetKey struct {
	Authority Ref    `json:"authority"`
	Name      string `json:"name"`
	// Secret that the internal issuers sign with, where the key comes from elsewhere;
	// else it is named as they are.
	Secret string `json:"secret,omitempty"`
	// Certificate says that its Certificate shall exist, with Spec.
	Certificate bool   `json:"certificate,omitempty"`
	Spec        CASpec `json:"spec,omitzero"`
	// Issuer says that its internal issuer shall exist.
	Issuer bool `json:"issuer,omitempty"`
	// ClusterIssuer says that a ClusterIssuer of the same name shall exist beside it, for
	// intermediates in other namespaces.
	ClusterIssuer bool `json:"clusterIssuer,omitempty"`
}

// TargetIssuer is a binding's issuer and the key that it signs with.
type TargetIssuer struct {
	// Ref has no namespace for a ClusterIssuer.
	Ref       Ref    `json:"ref"`
	Authority Ref    `json:"authority,omitzero"`
	Key       string `json:"key,omitempty"`
	// Secret of the key, where it comes from elsewhere.
	Secret string `json:"secret,omitempty"`
	// Spec of the issuer, as JSON, where the key stays behind an external one.
	Spec string `json:"spec,omitempty"`
	// Foreign is the Secret that an issuer of ours is left with that somebody pointed
	// to none of our keys; Authority and Key are empty then.
	Foreign string `json:"foreign,omitempty"`
}

// SecretName is the Secret that the issuer signs with; meaningless with a Spec.
func (t TargetIssuer) SecretName() string {
	return cmp.Or(t.Foreign, t.Secret, KeyObjectName(t.Authority.Name, t.Key))
}

// SignsWith names the key that the issuer is given, "cert-manager/fleet-root/2025": the
// value of the annotation [v1alpha1.AnnotationSignsWith] of an issuer with a Spec. It tells
// whose spec it is and no more; what really signs is seen by the leaves. Empty of an issuer
// that is left with a spec of none of our keys.
func (t TargetIssuer) SignsWith() string {
	if t.Key == "" {
		return ""
	}
	return t.Authority.String() + "/" + t.Key
}

// TargetBundle is a bundle and its anchors.
type TargetBundle struct {
	Name string `json:"name"`
	// Via is Bundle or ConfigMap.
	Via v1alpha1.BundleVia `json:"via,omitempty"`
	// Anchors of the bundle, Certificates included.
	Anchors pki.Anchors `json:"anchors"`
	// Certificates are those of the Anchors that spec.certificates lists. Their
	// fingerprints stand in the annotation [v1alpha1.AnnotationCertificates] of the Bundle
	// or of each copy, by which it is known where they came from when they leave Git.
	Certificates pki.Anchors `json:"certificates,omitempty"`
	// UseDefaultCAs adds the public CAs that trust-manager was installed with.
	UseDefaultCAs bool                  `json:"useDefaultCAs,omitempty"`
	Target        v1alpha1.BundleTarget `json:"target"`
	// Namespaces that hold a copy, sorted, where reanchor writes the copies itself.
	Namespaces []string `json:"namespaces,omitempty"`
}

// ActionKind is what an action does.
type ActionKind string

// The kinds of action.
const (
	// ActionProve sends a canary CertificateRequest through the issuer Subject.
	ActionProve ActionKind = "Prove"
	// ActionReissue sets the Issuing condition of the Certificate Subject.
	ActionReissue ActionKind = "Reissue"
	// ActionRestart writes BundleDigest and LeavesDigest to the pod template of
	// the workload Subject of kind Workload.
	ActionRestart ActionKind = "Restart"
	// ActionDeleteSecret deletes the Secret Subject of a key that is retired.
	ActionDeleteSecret ActionKind = "DeleteSecret"
	// ActionLink has the internal issuer Issuer of an old root sign the request of the new
	// root whose Certificate is Subject, until Until: a link certificate.
	ActionLink ActionKind = "Link"
	// ActionRepoint sets the Field of an object of somebody else's, Subject, that names the
	// issuer From, to name To, and nothing else; if it names another by then, it is left.
	ActionRepoint ActionKind = "Repoint"
	// ActionUnlink deletes the CertificateRequest Subject of a link.
	ActionUnlink ActionKind = "Unlink"
)

// Action is something that no manifest can express. Doing it twice does no harm.
type Action struct {
	Kind    ActionKind `json:"kind"`
	Subject Ref        `json:"subject"`
	// Workload is the kind of the workload to restart.
	Workload string `json:"workload,omitempty"`
	// BundleDigest and LeavesDigest are the pod template's annotations after a
	// restart; an empty one is left as it is.
	BundleDigest string `json:"bundleDigest,omitempty"`
	LeavesDigest string `json:"leavesDigest,omitempty"`
	// Generation of the issuer's spec that a canary is made for.
	Generation int64 `json:"generation,omitempty"`
	// Issuer that signs a link, and Until when at most.
	Issuer Ref       `json:"issuer,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	// Field that is set, and the names of the issuers that it holds before and after.
	Field Field  `json:"field,omitzero"`
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
	// Why, with its numbers.
	Why string `json:"why"`
}

// String says what the action does and why.
func (a Action) String() string {
	subject := a.Subject.String()
	if a.Kind == ActionRepoint {
		subject = a.Field.String()
	}
	if a.Workload != "" {
		subject = a.Workload + " " + subject
	}
	return fmt.Sprintf("%s %s: %s", a.Kind, subject, a.Why)
}

// Phase is one of the five steps of a rollover, or its rest.
type Phase string

// The phases, in their order.
const (
	Introduce  Phase = "Introduce"
	Distribute Phase = "Distribute"
	Switch     Phase = "Switch"
	Reissue    Phase = "Reissue"
	Retire     Phase = "Retire"
	Settled    Phase = "Settled"
)

// Rollover is where one authority stands on its way to its end state.
type Rollover struct {
	Authority Ref `json:"authority"`
	// From is the key that signed before; empty before the first, and once no
	// other key is left.
	From string `json:"from,omitempty"`
	// To is the key that shall sign; empty for an authority that is going.
	To    string    `json:"to,omitempty"`
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since"`
	// Progress in the phase's own words, with its numbers.
	Progress string `json:"progress"`
	// Holds say what the phase waits for.
	Holds []Hold `json:"holds,omitempty"`
}

// String is the rollover in one line.
func (r Rollover) String() string {
	return fmt.Sprintf("%s %s → %s: %s", r.Authority, orNone(r.From), orNone(r.To), r.Phase) + ": " + r.Progress
}

// GateUnknown is the gate of holds for what could not be read.
const GateUnknown = "unknown"

// GateRestart begins the name of a gate that remembers when a restart was asked for.
const GateRestart = "restart "

// GateRetiring begins the name of a gate that remembers that a key began to go while a
// window was open.
const GateRetiring = "retiring "

// Hold is a reason to wait, with its evidence.
type Hold struct {
	// Gate that is shut: "copies", "reload", "soak".
	Gate string `json:"gate"`
	// Subject names the object that is waited for; empty when it is time.
	Subject string `json:"subject,omitempty"`
	// Why, with its numbers, ending in what to do where something can be done.
	Why string `json:"why"`
	// Alarm reports that trust is at risk already, not only progress.
	Alarm bool `json:"alarm,omitempty"`
}

// String is the hold in one line.
func (h Hold) String() string {
	if h.Subject == "" {
		return h.Gate + ": " + h.Why
	}
	return h.Gate + ": " + h.Subject + ": " + h.Why
}

// Drop is somebody who would lose trust if a key were retired now, or who loses it because
// it is compromised; or, in StillTrust, somebody who does not lose it though he should.
type Drop struct {
	Authority Ref    `json:"authority"`
	Key       string `json:"key"`
	// Who: a leaf, a workload.
	Who string `json:"who"`
	// Why it would drop.
	Why string `json:"why"`
}

func orNone(key string) string {
	if key == "" {
		return "none"
	}
	return key
}
