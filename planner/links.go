package planner

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// A link certificate is the public key of a new root signed by an old one. A device that
// was away for the whole rollover knows the old root alone; with the link in what it is
// presented it verifies what the new root signs, and so can fetch the new bundle.
//
// It is asked for when the new key has been introduced, signed by the old key's internal
// issuer, and kept in the record, where it stays when both keys are gone. Nothing waits for
// it but Retire: once the old key is deleted nobody can make it any more.
//
//	a link of 2026 under 2025 is …   when                                    Retire of 2025
//	not thought of                   2026 is not introduced, or 2025 is no   goes on
//	                                 anchor that anyone may know alone
//	impossible (None)                2025 signs nothing here, say            goes on
//	asked for, failed                                                        waits
//	recorded                         Git holds it                            goes on
//
// It is an intermediate: it enters no bundle, and it is no evidence for anything.

// LinkState is how far a link certificate has come.
type LinkState string

// The states of a link.
const (
	// LinkRecorded: the record holds it.
	LinkRecorded LinkState = "Recorded"
	// LinkPending: it is asked for, or about to be recorded.
	LinkPending LinkState = "Pending"
	// LinkFailed: cert-manager refused it; it is asked for again.
	LinkFailed LinkState = "Failed"
	// LinkNone: it cannot be made, or shall not be.
	LinkNone LinkState = "None"
	// LinkWithdrawn: it was taken out of use, since one of its keys is compromised.
	LinkWithdrawn LinkState = "Withdrawn"
)

// LinkStatus tells of one link certificate of a rollover under way.
type LinkStatus struct {
	Authority Ref `json:"authority"`
	// Key whose public key it holds, and the key Under which it stands: "2026", "2025".
	Key   string    `json:"key"`
	Under string    `json:"under"`
	State LinkState `json:"state"`
	// Why it is not recorded, ending in what to do where something can be done.
	Why string `json:"why,omitempty"`
}

// String says how far the link has come, and why.
func (s LinkStatus) String() string {
	return fmt.Sprintf("link of %s %s under %s: %s%s", s.Authority, s.Key, s.Under, s.State, because(s.Why))
}

// LinkRequest is the CertificateRequest of a link as it stands in the cluster.
type LinkRequest struct {
	Authority Ref `json:"authority"`
	// Key whose request it repeats, and the key Under whose internal issuer it was sent.
	Key   string `json:"key"`
	Under string `json:"under"`
	// Name of the CertificateRequest, in the authority's namespace.
	Name string `json:"name"`
	// At is when it was created.
	At    time.Time   `json:"at,omitzero"`
	State CanaryState `json:"state"`
	// Certificate that came back, when Signed: what it is, is not said by the request.
	Certificate pki.Certificate `json:"certificate,omitzero"`
	// Problem in cert-manager's words, when Failed or Pending.
	Problem string `json:"problem,omitempty"`
}

// linkRetry is how long after one that failed a link is asked for again, linkMargin how
// long it ends before the key that signs it, and linkLife the shortest that cert-manager
// grants.
const (
	linkRetry  = 10 * time.Minute
	linkMargin = 5 * time.Minute
	linkLife   = time.Hour
)

// planLinks asks for the links of all rollovers, records those that came back and throws
// away the requests that nobody needs any more.
func (t *turn) planLinks() {
	for _, c := range t.courses {
		if c.spec.Rollover.Paused {
			continue
		}
		c.withdrawLinks()
		needed := map[string]bool{}
		for _, old := range c.keys {
			c.planLink(old, needed)
		}
		for _, request := range t.observed.Links {
			if request.Authority == c.ref && !needed[request.Name] {
				t.plan.Actions = append(t.plan.Actions, Action{
					Kind: ActionUnlink, Subject: Ref{Namespace: c.ref.Namespace, Name: request.Name}, Why: "what it was for is done",
				})
			}
		}
	}
}

// planLink takes the next step to the link under an old key, and notes whose request stays.
func (c *course) planLink(old *key, needed map[string]bool) {
	if !c.wantsLink(old) {
		return
	}
	link := c.link(old)
	c.turn.plan.Links = append(c.turn.plan.Links, link.status)
	if link.request != nil && link.status.State != LinkRecorded {
		needed[link.request.Name] = true
	}
	if link.due {
		c.turn.plan.Actions = append(c.turn.plan.Actions, Action{
			Kind: ActionLink, Subject: c.keyObject(c.to), Issuer: c.keyObject(old), Until: old.seen.Certificate.NotAfter().Add(-linkMargin), Why: link.status.Why,
		})
	}
	if link.made {
		c.turn.plan.LinkRecord = append(c.turn.plan.LinkRecord, c.recordedLink(old, link.request.Certificate))
	}
	hold := c.linkHold(old)
	if link.status.State == LinkFailed && !slices.Contains(c.current.holds, *hold) {
		c.turn.plan.Holds = append(c.turn.plan.Holds, *hold)
	}
}

// linkHold says that the link under a key is still to come, without which those who know
// that key alone would be left behind; nil if nothing is waited for.
func (c *course) linkHold(old *key) *Hold {
	if !c.wantsLink(old) {
		return nil
	}
	status := c.link(old).status
	if status.State != LinkPending && status.State != LinkFailed {
		return nil
	}
	return &Hold{Gate: "link", Subject: c.recordedLink(old, pki.Certificate{}).Path(), Why: status.Why}
}

// wantsLink reports whether somebody may know the old root alone while the new one signs:
// the new one is introduced, and the old one, which came before it, is an anchor.
func (c *course) wantsLink(old *key) bool {
	if !c.turn.observed.Record.Enabled || !c.declared || c.isIntermediate() || !c.reached(Distribute) {
		return false
	}
	return old != c.to && old.known() && c.to.known() && !old.recorded.IsZero() &&
		c.cameBefore(old) && (len(c.bundles) == 0 || c.anchored(old))
}

// cameBefore reports whether a key was there before the one that shall sign. The dates of
// one from elsewhere do not tell when it came here, and so it is taken to follow what goes.
func (c *course) cameBefore(old *key) bool {
	return old.seen.Certificate.NotBefore().Before(c.to.seen.Certificate.NotBefore()) || c.to.fromElsewhere() && old.going()
}

// link is how far the link under an old key has come.
type link struct {
	status  LinkStatus
	request *LinkRequest
	// due: it is asked for now. made: it came back as it should, and is recorded now.
	due, made bool
}

func (c *course) link(old *key) link {
	l := link{status: LinkStatus{Authority: c.ref, Key: c.to.name, Under: old.name}, request: c.linkRequest(old)}
	recorded, isRecorded := c.findLink(old)
	switch {
	case isRecorded && recorded.Withdrawn:
		l.status.State, l.status.Why = LinkWithdrawn, "one of its keys was compromised"
	case isRecorded:
		l.status.State = LinkRecorded
	case c.linkObstacle(old, l.request) != "":
		l.status.State, l.status.Why = LinkNone, c.linkObstacle(old, l.request)
	default:
		c.judgeLink(old, &l)
	}
	return l
}

// judgeLink looks at what became of the request.
func (c *course) judgeLink(old *key, l *link) {
	l.status.State = LinkPending
	problem := ""
	switch request := l.request; {
	case request == nil:
		l.due, l.status.Why = true, fmt.Sprintf("%s is to sign the key of %s, for devices that know %s alone", old.name, c.to.name, old.name)
		return
	case request.State == CanaryPending:
		l.status.Why = "CertificateRequest " + request.Name + " has not come back" + because(request.Problem)
		return
	case request.State == CanaryFailed:
		problem = "CertificateRequest " + request.Name + " failed" + because(request.Problem)
	case request.Certificate.NotAfter().After(old.seen.Certificate.NotAfter()):
		problem = fmt.Sprintf("what came back ends at %s, after %s does", instant(request.Certificate.NotAfter()), old.name)
	case c.to.recorded.IsZero():
		l.status.Why = "it is recorded in Git once " + c.to.name + " is"
		return
	default:
		l.made, l.status.Why = true, "being recorded in Git"
		if problem := c.turn.observed.Record.Problem; problem != "" {
			l.status.Why = "not recorded in Git yet: " + problem
		}
		return
	}
	again := l.request.At.Add(linkRetry)
	l.due = !c.turn.now.Before(again)
	l.status.State = LinkFailed
	l.status.Why = fmt.Sprintf("%s; asked for again at %s; to do without it, write spec.rollover.links: None", problem, instant(again))
	if !l.due {
		c.turn.lookAt(again)
	}
}

// linkObstacle says why there is no link under an old key; empty if there can be one.
func (c *course) linkObstacle(old *key, request *LinkRequest) string {
	left := old.seen.Certificate.NotAfter().Sub(c.turn.now)
	switch {
	case c.spec.Rollover.Links == v1alpha1.LinksNone:
		return "spec.rollover.links is None"
	case old.compromised():
		return old.name + " is compromised: what it signs is not to be believed"
	case bytes.Equal(old.seen.Certificate.X509().RawSubject, c.to.seen.Certificate.X509().RawSubject):
		return "both keys have one subject, so that cert-manager would not say in it which of them signed it, and verifiers would not find the old one"
	case c.to.fromElsewhere():
		return c.to.name + " comes from elsewhere, and its request is not here: whoever keeps it must let " + old.name + " sign it"
	case !c.to.seen.Requested:
		return "the CertificateRequest that " + c.to.name + " was issued for is gone"
	case c.secretName(old) == "":
		return old.name + " signs nothing here, being offline or behind an external issuer: have whoever keeps it sign " + c.to.name
	case c.changed(old) != nil:
		return old.name + " changed without a plan"
	case !old.seen.HasIssuer || old.seen.SecretGone:
		return "nothing here can sign with " + old.name + " any more"
	case left < linkLife+linkMargin:
		return fmt.Sprintf("%s ends at %s, too soon for one", old.name, instant(old.seen.Certificate.NotAfter()))
	case request != nil && request.State == CanarySigned && !request.Certificate.Links(c.to.seen.Certificate, old.seen.Certificate):
		return fmt.Sprintf("CertificateRequest %s came back with %s, which is not the key of %s as %s would sign it", request.Name, request.Certificate, c.to.name, old.name)
	}
	return ""
}

// linkRequest is the newest request of the link under an old key; nil if there is none.
func (c *course) linkRequest(old *key) *LinkRequest {
	var newest *LinkRequest
	for i, request := range c.turn.observed.Links {
		if request.Authority == c.ref && request.Key == c.to.name && request.Under == old.name && (newest == nil || request.At.After(newest.At)) {
			newest = &c.turn.observed.Links[i]
		}
	}
	return newest
}

// findLink is the link under an old key in the record.
func (c *course) findLink(old *key) (found RecordedLink, is bool) {
	for _, recorded := range c.turn.observed.Record.Links {
		if recorded.Authority == c.ref.Name && recorded.Key == c.to.name && recorded.Under == old.name {
			return recorded, true
		}
	}
	return RecordedLink{}, false
}

func (c *course) recordedLink(old *key, certificate pki.Certificate) RecordedLink {
	return RecordedLink{Authority: c.ref.Name, Key: c.to.name, Under: old.name, Certificate: certificate}
}

// withdrawLinks takes the links of a compromised key out of use: by one that it signed, or
// that bears it, whoever has the key could still speak for it.
func (c *course) withdrawLinks() {
	for _, recorded := range c.turn.observed.Record.Links {
		stolen := c.compromisedIn(recorded)
		if !c.declared || recorded.Authority != c.ref.Name || stolen == "" {
			continue
		}
		c.turn.plan.Links = append(c.turn.plan.Links, LinkStatus{
			Authority: c.ref, Key: recorded.Key, Under: recorded.Under, State: LinkWithdrawn, Why: stolen + " is compromised",
		})
		if !recorded.Withdrawn {
			recorded.Withdrawn = true
			c.turn.plan.LinkRecord = append(c.turn.plan.LinkRecord, recorded)
		}
	}
}

// compromisedIn is the key of a link that Git says is compromised; empty if neither is.
func (c *course) compromisedIn(recorded RecordedLink) string {
	for _, name := range []string{recorded.Under, recorded.Key} {
		if c.isCompromised(name) {
			return name
		}
	}
	return ""
}

// RecordedLink is one link certificate in the record.
type RecordedLink struct {
	// Authority by its name.
	Authority string `json:"authority"`
	// Key whose public key it holds, and the key Under which it stands.
	Key   string `json:"key"`
	Under string `json:"under"`
	// Certificate is the link: a CA's, signed by Under.
	Certificate pki.Certificate `json:"certificate"`
	// Withdrawn reports that it is presented to nobody any more, since one of its keys was
	// compromised.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// LinksFolder is the folder of an authority's links, below the authority's; WithdrawnFolder
// is that of those that were taken out of use, below it.
const (
	LinksFolder     = "links"
	WithdrawnFolder = "withdrawn"
)

// Path of the link's PEM file below the domain's folder:
// "anchors/fleet-root/links/2026.2025.pem", or
// "anchors/fleet-root/links/withdrawn/2026.2025.pem".
func (l RecordedLink) Path() string {
	folder := RecordFolder + "/" + l.Authority + "/" + LinksFolder + "/"
	if l.Withdrawn {
		folder += WithdrawnFolder + "/"
	}
	return folder + l.Key + "." + l.Under + ".pem"
}

// Compare orders by authority, then by the two keys; one in use comes first.
func (l RecordedLink) Compare(other RecordedLink) int {
	return cmp.Or(cmp.Compare(l.Authority, other.Authority), cmp.Compare(l.Key, other.Key), cmp.Compare(l.Under, other.Under), compareBools(l.Withdrawn, other.Withdrawn))
}

// A Bridge leads from a root to an anchor that came before it.
type Bridge struct {
	// Root whose leaves it is presented with.
	Root RecordedKey
	// Links from the root's own key to the one that the anchor signed: they follow the
	// leaf, and the intermediates below the root, in what is presented.
	Links []pki.Certificate
}

// LinksTo are the bridges by which a client that knows the anchor alone comes to trust
// what the roots in use sign, at that time; those of several rollovers are composed. In
// order of authority and key; a root without a bridge is not among them.
func (r Record) LinksTo(anchor pki.Certificate, at time.Time) []Bridge {
	byAuthority := map[string][]pki.Certificate{}
	for _, link := range r.Links {
		if !link.Withdrawn {
			byAuthority[link.Authority] = append(byAuthority[link.Authority], link.Certificate)
		}
	}
	var bridges []Bridge
	for _, root := range r.Keys {
		if links := pki.Bridge(root.Certificate, byAuthority[root.Authority], anchor, at); links != nil && !root.Retired {
			bridges = append(bridges, Bridge{Root: root, Links: links})
		}
	}
	return bridges
}
