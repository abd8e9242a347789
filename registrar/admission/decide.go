package admission

import (
	"path"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/policies"
)

// Operation is what a device asks for.
type Operation string

// The operations.
const (
	// Enrol: a certificate for the key of a CSR, or, where cert-manager makes the keys, for
	// one of those. POST /v1/devices, /v1/register, EST's simpleenroll.
	Enrol Operation = "enrol"
	// Reenrol: another certificate in place of the one that is shown. EST's simplereenroll.
	Reenrol Operation = "reenrol"
	// Generate: a certificate and the key that cert-manager makes for it; of the CSR the key
	// and the signature do not count (RFC 7030, section 4.4.1). EST's serverkeygen.
	Generate Operation = "generate"
)

// Ask is what a caller asks for.
type Ask struct {
	Caller    Caller
	Operation Operation
	// Request is zero where cert-manager makes the key and no CSR was sent.
	Request Request
	Rules   Rules
	Now     time.Time
}

// Verdict is what becomes of an ask that is granted.
type Verdict string

// The verdicts.
const (
	// Existing: it is registered with that key; there is nothing to commit.
	Existing Verdict = "existing"
	// Register: it is new, or was listed by hand without a key.
	Register Verdict = "register"
	// Rekey: it has shown its present key, and gets another.
	Rekey Verdict = "rekey"
	// Recover: it comes back with a new key, and its quota is not used up.
	Recover Verdict = "recover"
)

// Decision is what becomes of an ask.
type Decision struct {
	Verdict Verdict
	// Approval says whether a person is to merge it first ([v1alpha1.ApprovalPullRequest]).
	Approval v1alpha1.Approval
	// Device as it shall stand in Git.
	Device Device
	// Request is the CSR in PEM that shall stand there; empty where cert-manager makes the
	// key.
	Request string
}

// Decide what becomes of an ask.
func Decide(fleet Fleet, ask Ask) (Decision, *Refusal) {
	for _, check := range []func(Ask) *Refusal{whoMakesKeys, keepsNames, wellMade, obeys} {
		if refusal := check(ask); refusal != nil {
			return Decision{}, refusal
		}
	}
	key := ask.Request.Key
	if ask.clusterMakesKey() {
		key = pki.Fingerprint{} // of the CSR it does not count
	}
	if refusal := freeKey(fleet, ask.Caller, key); refusal != nil {
		return Decision{}, refusal
	}
	decision, refusal := decide(ask, key)
	if refusal != nil || decision.Verdict == Existing {
		return decision, refusal
	}
	return decision, decision.fits()
}

func (a Ask) clusterMakesKey() bool { return a.Caller.Group.Spec.Keys == v1alpha1.KeysCluster }

// whoMakesKeys refuses what the group leaves to the other side.
func whoMakesKeys(ask Ask) *Refusal {
	switch {
	case ask.clusterMakesKey() && ask.Operation != Generate && !ask.Request.IsZero():
		return forbid(ProblemWhoMakesKeys, "in this group cert-manager makes the devices' keys: ask for keys: Cluster, or by serverkeygen")
	case !ask.clusterMakesKey() && ask.Operation == Generate:
		return forbid(ProblemWhoMakesKeys, "in this group a device makes its own key: ask by simpleenroll with its CSR")
	case !ask.clusterMakesKey() && ask.Request.IsZero():
		return forbid(ProblemWhoMakesKeys, "in this group a device makes its own key: send its CSR as request")
	case ask.Request.wantsEncryption:
		return malformed(ProblemUnsupportedRequest, "the CSR asks for its key to be encrypted beyond TLS, which is not done here: leave the attribute out")
	}
	return nil
}

// keepsNames refuses a re-enrolment under another name (RFC 7030, section 4.2.2): the names
// in the CSR are those of the certificate that is shown, byte for byte.
func keepsNames(ask Ask) *Refusal {
	if ask.Operation != Reenrol {
		return nil
	}
	if ask.Caller.Credential == Factory {
		if ask.Caller.Group.Spec.Bootstrap.Reenroll {
			return nil
		}
		return forbid(ProblemNames, "simplereenroll takes the certificate that the device got here: enrol with the factory certificate by simpleenroll")
	}
	return ask.Request.keepsNamesOf(ask.Caller.Certificate)
}

// wellMade refuses CSRs that are not signed, weak, or ask for what the group does not derive.
func wellMade(ask Ask) *Refusal {
	spec := ask.Caller.Group.Spec
	derived, refusal := ask.names()
	if refusal != nil || ask.Request.IsZero() {
		return refusal
	}
	if ask.Operation != Generate {
		if refusal := ask.Request.signed(); refusal != nil {
			return refusal
		}
		if refusal := ask.Request.strong(spec.Certificate.KeyAlgorithms); refusal != nil {
			return refusal
		}
	}
	return ask.Request.asks(derived)
}

// names are what the CSR is to ask for: what the group derives, or, of a device that shows its
// own certificate and keeps key and names, those of that. Nothing is written then, and a group
// that derives other names by now takes nobody's certificate from him.
func (a Ask) names() (Derived, *Refusal) {
	certificate := a.Caller.Group.Spec.Certificate
	keeps := a.Caller.Credential == Operational && !a.Request.IsZero() && a.Request.Key == a.Caller.Device.Key
	if keeps && a.Request.keepsNamesOf(a.Caller.Certificate) == nil {
		return namesOf(a.Caller.Certificate, certificate), nil
	}
	return Derive(certificate, a.Caller.ID)
}

// obeys refuses CSRs that violate a rule.
func obeys(ask Ask) *Refusal {
	if ask.Rules == nil || ask.Request.IsZero() || ask.Operation == Generate {
		return nil
	}
	group := v1alpha1.DeviceGroup{Metadata: v1alpha1.Metadata{Name: ask.Caller.Group.Name}, Spec: ask.Caller.Group.Spec}
	denied := policies.Denied(ask.Rules.CheckRequest(ask.Caller.ID, ask.Request.PEM(), group, ask.Now))
	if len(denied) == 0 {
		return nil
	}
	return forbid(ProblemPolicy, "a rule forbids it: %s", denied[0])
}

// freeKey refuses a key that another device has or had, and one that the device has given up.
func freeKey(fleet Fleet, caller Caller, key pki.Fingerprint) *Refusal {
	holder, held := fleet.Holder(key)
	switch {
	case key.IsZero() || !held:
		return nil
	case holder.Group != caller.Group.Name || holder.ID != caller.ID:
		return alarm(statusConflict, ProblemKeyInUse, "another device is registered with the key of this CSR, or was: make a new key on this device")
	case holder.Superseded:
		return supersededKey()
	}
	return nil
}

func supersededKey() *Refusal {
	return alarm(statusForbidden, ProblemSuperseded, "the device has given up the key of this CSR: make a new key")
}

// decide by what Git says of the device.
func decide(ask Ask, key pki.Fingerprint) (Decision, *Refusal) {
	caller := ask.Caller
	was := caller.Device
	shall := Device{Group: caller.Group.Name, ID: caller.ID, State: v1alpha1.DeviceActive, Key: key, Superseded: was.Superseded, Recoveries: was.Recoveries}
	decision := Decision{Device: shall, Approval: v1alpha1.ApprovalAutomatic}
	if !ask.clusterMakesKey() {
		decision.Request = ask.Request.PEM()
	}
	switch {
	case caller.Registered && (ask.clusterMakesKey() || was.Key == key):
		decision.Verdict, decision.Device, decision.Request = Existing, was, ""
	case caller.Registered && slices.Contains(was.Superseded, key):
		return Decision{}, supersededKey()
	case caller.Registered && was.Key.IsZero():
		decision.Verdict = Register
	case caller.Registered && caller.Credential == Operational:
		decision.Verdict = Rekey
		decision.Device.Superseded, decision.Device.Rekeyed = superseding(was), was.Key
	case caller.Registered:
		return recovered(decision, ask)
	default:
		decision.Verdict = Register
		return approved(decision, ask)
	}
	return decision, nil
}

// recovered lets a device come back with a new key while its quota lasts.
func recovered(decision Decision, ask Ask) (Decision, *Refusal) {
	was, quota := ask.Caller.Device, ask.Caller.Group.Spec.Recovery.Quota
	if was.Recoveries >= quota {
		return Decision{}, forbid(ProblemKeyChanged, "the device is registered with another key, and has come back with a new one %d times of %d: show its own certificate, or ask whoever runs the fleet", was.Recoveries, quota)
	}
	decision.Verdict = Recover
	decision.Device.Superseded = superseding(was)
	decision.Device.Recoveries++
	return approved(decision, ask)
}

// superseding are the keys that a device had, its present one now among them.
func superseding(was Device) []pki.Fingerprint {
	return append(slices.Clone(was.Superseded), was.Key)
}

// approved asks who admits a device.
func approved(decision Decision, ask Ask) (Decision, *Refusal) {
	spec := ask.Caller.Group.Spec
	decision.Approval = spec.Approval
	if spec.Approval != v1alpha1.ApprovalAllowList {
		return decision, nil
	}
	if !slices.ContainsFunc(spec.Allow, func(pattern string) bool { return matches(pattern, ask.Caller.ID) }) {
		return Decision{}, forbid(ProblemNotAllowed, "the device is not on the group's allow list: ask whoever runs the fleet to put its id there")
	}
	return decision, nil
}

// matches reports whether an id is what a pattern of spec.allow stands for.
func matches(pattern, id string) bool {
	matched, err := path.Match(pattern, id)
	return pattern == id || (err == nil && matched)
}
