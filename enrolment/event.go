package enrolment

import (
	"fmt"
	"strings"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// Event is something that has happened to a device; printed, it says what.
type Event struct {
	// Kind of it.
	Kind Kind
	// ID of the device.
	ID string
	// Chain of a certificate that is held from now on, the leaf first.
	Chain []pki.Certificate
	// Anchors that are held from now on, or were confirmed.
	Anchors pki.Anchors
	// Err is why something failed, and Wait how long it is before it is tried again.
	Err  error
	Wait time.Duration
}

// Kind of an event.
type Kind string

// The kinds of events.
const (
	Registered Kind = "Registered" // the first certificate is held
	Renewed    Kind = "Renewed"    // another certificate is held
	Trusts     Kind = "Trusts"     // other anchors are held
	Confirmed  Kind = "Confirmed"  // the server knows that these anchors are held
	Proved     Kind = "Proved"     // the handshake with the proof name has succeeded
	Failed     Kind = "Failed"     // something is tried again later
)

// String is one line for people.
func (e Event) String() string {
	switch e.Kind {
	case Registered, Renewed:
		leaf := e.Chain[0].X509()
		did := map[Kind]string{Registered: "is registered", Renewed: "has another certificate"}[e.Kind]
		return fmt.Sprintf("%s %s: signed by %s, until %s", e.ID, did, leaf.Issuer.CommonName, instant(leaf.NotAfter))
	case Trusts:
		return fmt.Sprintf("%s trusts %s", e.ID, namesOf(e.Anchors))
	case Confirmed:
		return fmt.Sprintf("%s has confirmed %s", e.ID, namesOf(e.Anchors))
	case Proved:
		return fmt.Sprintf("%s has shaken hands with the proof name", e.ID)
	}
	why := strings.ReplaceAll(e.Err.Error(), "\n", "; ") // of steps that failed apart
	return fmt.Sprintf("%s tries again in %s: %s", e.ID, e.Wait.Round(time.Second), why)
}

func namesOf(anchors pki.Anchors) string {
	var names []string
	for _, anchor := range anchors {
		names = append(names, anchor.String())
	}
	return strings.Join(names, ", ")
}
