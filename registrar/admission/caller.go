package admission

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Credential is the kind of certificate that a device shows.
type Credential string

// The kinds of certificate.
const (
	// Factory certificates chain to a group's bootstrap CA.
	Factory Credential = "factory"
	// Operational certificates are those that devices get here.
	Operational Credential = "operational"
)

// Caller is the device that a request comes from, as its certificate says.
type Caller struct {
	// Group that it is in.
	Group Group
	// ID of it.
	ID string
	// Credential is the kind of certificate that it shows, and Certificate the certificate.
	Credential  Credential
	Certificate pki.Certificate
	// Device is what Git says of it, if Registered.
	Device     Device
	Registered bool
}

// maxChain bounds what is verified of a chain.
const maxChain = 10

// Identify tells who shows a chain, the leaf first. The label is the group that is asked for;
// empty: the one that the certificate belongs to. The key is the one that a certificate is
// asked for; zero: none is.
func Identify(fleet Fleet, chain []pki.Certificate, label string, key pki.Fingerprint, now time.Time) (Caller, *Refusal) {
	if _, known := groupNamed(fleet, label); label != "" && !known {
		return Caller{}, noGroup(label)
	}
	switch {
	case len(chain) == 0:
		return Caller{}, refuse(statusUnauthorized, ProblemNoCertificate, "no client certificate was shown: show the device's factory certificate, or the one that it got here")
	case len(chain) > maxChain:
		return Caller{}, malformed(ProblemRequest, "the client certificate comes with %d others, and %d are looked at: send those between it and its root", len(chain)-1, maxChain-1)
	}
	if caller, is, refusal := operational(fleet, chain, label, key, now); is {
		return caller, refusal
	}
	return factory(fleet, chain, label, now)
}

func noGroup(label string) *Refusal {
	return refuse(statusNotFound, ProblemGroup, "there is no device group %.63q here that takes this certificate: name the device's own, or none", label)
}

// operational tells whose key it is that a chain to the fleet's anchors is for. It is no
// operational certificate if it is nobody's, or does not chain to an anchor.
func operational(fleet Fleet, chain []pki.Certificate, label string, key pki.Fingerprint, now time.Time) (Caller, bool, *Refusal) {
	leaf := chain[0]
	holder, held := fleet.Holder(leaf.SPKI())
	if !held {
		return Caller{}, false, nil
	}
	trust := fleet.Trust(holder.Group)
	standing := judge(slices.Concat(chain, trust.Intermediates, trust.Links), len(chain), trust.Anchors, now)
	if standing == stranger {
		return Caller{}, false, nil
	}
	group, known := groupNamed(fleet, holder.Group)
	device, registered := fleet.Device(holder.Group, holder.ID)
	caller := Caller{Group: group, ID: holder.ID, Credential: Operational, Certificate: leaf, Device: device, Registered: registered}
	switch {
	case holder.Superseded && !caller.mayShowOld(key, now):
		return caller, true, alarm(statusForbidden, ProblemSuperseded, "this certificate is of a key that the device has given up: show the one of its present key; if the device has no other, somebody has registered in its place")
	case !known || !registered:
		return caller, true, forbid(ProblemNotADevice, "the device of this certificate is not registered any more: register it with its factory certificate")
	case label != "" && label != group.Name:
		return caller, true, noGroup(label)
	}
	if refusal := inForce(device); refusal != nil {
		return caller, true, refusal
	}
	return caller, true, timely(standing, leaf, group.Spec.Recovery, now)
}

// mayShowOld reports whether a device may show its key before still: it gave it up for another
// that it asked for with it, and was not seen with that one yet. The answer was lost, or told
// it to come again, and it has no other certificate. It sees what it may see with either, and
// asks for the key that it was granted (the request is signed by that, or refused later), and
// for no other. That it sees ends a while after the certificate was issued: who has the new key
// takes that within minutes, and who does not have it shall be heard of.
func (c Caller) mayShowOld(key pki.Fingerprint, now time.Time) bool {
	own := c.Registered && c.Group.Spec.Keys == v1alpha1.KeysDevice
	between := c.Certificate.SPKI() == c.Device.Rekeyed && !c.Device.Shown
	late := !c.Device.Issued.IsZero() && now.After(c.Device.Issued.Add(maxBetween))
	return own && between && (key.IsZero() && !late || key == c.Device.Key)
}

// maxBetween is how long a device may see things by the key that it gave up, once there is a
// certificate for the one that it asked for.
const maxBetween = time.Hour

// ShowsOldKey reports whether the device shows a certificate of a key that it has given up, and
// may still.
func (c Caller) ShowsOldKey() bool {
	return c.Credential == Operational && slices.Contains(c.Device.Superseded, c.Certificate.SPKI())
}

// timely refuses an operational certificate that has ended, but for a while if the group says
// so.
func timely(standing standing, leaf pki.Certificate, recovery v1alpha1.Recovery, now time.Time) *Refusal {
	if standing == accepted {
		return nil
	}
	if accept := recovery.AcceptExpired; standing == expired && accept != nil && !now.After(leaf.NotAfter().Add(accept.Duration)) {
		return nil
	}
	return untimely(standing, leaf)
}

func untimely(standing standing, leaf pki.Certificate) *Refusal {
	if standing == early {
		return forbid(ProblemExpired, "the client certificate is not valid before %s: set the device's clock, or wait", instant(leaf.NotBefore()))
	}
	return forbid(ProblemExpired, "the client certificate has ended (%s), or one that signed it has: register anew with a factory certificate that is valid", instant(leaf.NotAfter()))
}

func instant(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// inForce refuses devices that Git does not list as active.
func inForce(device Device) *Refusal {
	switch device.State {
	case v1alpha1.DeviceBlocked:
		return forbid(ProblemBlocked, "the device is blocked: ask whoever runs the fleet")
	case v1alpha1.DeviceRetired:
		return forbid(ProblemBlocked, "the device is retired: ask whoever runs the fleet")
	}
	return nil
}

// factory tells which group's bootstrap CAs a chain belongs to, and which device it is for.
func factory(fleet Fleet, chain []pki.Certificate, label string, now time.Time) (Caller, *Refusal) {
	known := knowing(fleet, chain, now)
	group, refusal := groupOf(fleet, chain[0], known, label)
	if refusal != nil {
		return Caller{}, refusal
	}
	caller := Caller{Group: group, Credential: Factory, Certificate: chain[0]}
	if caller.ID, refusal = idOf(chain[0], group.Spec.Bootstrap.Identity); refusal != nil {
		return caller, refusal
	}
	caller.Device, caller.Registered = fleet.Device(group.Name, caller.ID)
	if refusal := inForce(caller.Device); refusal != nil {
		return caller, refusal
	}
	return caller, elsewhere(fleet, caller, known)
}

// acquaintance is a group among whose factory certificates a chain is, or was.
type acquaintance struct {
	Group
	standing standing
}

// knowing are the groups that know a chain.
func knowing(fleet Fleet, chain []pki.Certificate, now time.Time) []acquaintance {
	var known []acquaintance
	for _, group := range fleet.Groups() {
		s := judge(chain, len(chain), group.Bootstrap, now)
		if s == stranger || s == accepted && !isClient(chain[0]) {
			continue
		}
		known = append(known, acquaintance{group, s})
	}
	return known
}

// elsewhere refuses a device that stands in another group which knows its chain, by the id
// that it has there: one that is not in force there gets in nowhere, and one that is gets no
// second certificate, and no second recovery quota, unless Git lists it in both.
func elsewhere(fleet Fleet, caller Caller, known []acquaintance) *Refusal {
	for _, other := range known {
		id, refusal := idOf(caller.Certificate, other.Spec.Bootstrap.Identity)
		if refusal != nil || other.Name == caller.Group.Name {
			continue
		}
		device, registered := fleet.Device(other.Name, id)
		if refusal := inForce(device); refusal != nil {
			return refusal
		}
		if registered && !caller.Registered {
			return refuse(statusConflict, ProblemRegisteredElsewhere, "the device of this certificate is registered in group %s: ask there, or ask whoever runs the fleet to list it in %s too, or to take it out there", other.Name, caller.Group.Name)
		}
	}
	return nil
}

// groupOf is the group among whose factory certificates one is: the one that the label names,
// the only one that takes it, or the only one of those in which the device is registered.
func groupOf(fleet Fleet, leaf pki.Certificate, known []acquaintance, label string) (Group, *Refusal) {
	var takes []Group
	late := stranger
	for _, group := range known {
		switch {
		case group.standing == accepted:
			takes = append(takes, group.Group)
		case label == "" || label == group.Name:
			late = group.standing
		}
	}
	named := slices.IndexFunc(takes, func(g Group) bool { return g.Name == label })
	switch {
	case named >= 0:
		return takes[named], nil
	case late != stranger:
		return Group{}, untimely(late, leaf)
	case len(takes) == 0:
		return Group{}, forbid(ProblemUnknownCA, "the client certificate chains to no CA that a device group here takes, or is not for clients: show the device's factory certificate with its intermediates")
	case label != "":
		return Group{}, noGroup(label)
	}
	return onlyOne(fleet, leaf, takes)
}

func onlyOne(fleet Fleet, leaf pki.Certificate, takes []Group) (Group, *Refusal) {
	if len(takes) == 1 {
		return takes[0], nil
	}
	registered := slices.DeleteFunc(slices.Clone(takes), func(group Group) bool {
		id, refusal := idOf(leaf, group.Spec.Bootstrap.Identity)
		_, found := fleet.Device(group.Name, id)
		return refusal != nil || !found
	})
	if len(registered) == 1 {
		return registered[0], nil
	}
	return Group{}, malformed(ProblemAmbiguous, "%d device groups take this certificate: name one, in the path of EST or as group", len(takes))
}

// isClient reports whether a factory certificate may be shown by a client (RFC 5280, section
// 4.2.1.12): many name no usage.
func isClient(leaf pki.Certificate) bool {
	usages := leaf.X509().ExtKeyUsage
	none := len(usages) == 0 && len(leaf.X509().UnknownExtKeyUsage) == 0
	return none || slices.Contains(usages, x509.ExtKeyUsageClientAuth) || slices.Contains(usages, x509.ExtKeyUsageAny)
}
