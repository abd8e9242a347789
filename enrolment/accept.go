package enrolment

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// backdated is by how much an issuer may date its certificates back, against clocks that are
// slow, more than the one before did: Vault does so by 30 s, ACME's servers by an hour.
const backdated = time.Hour

// skew is by how much a device's clock may be behind the issuer's: a certificate that was just
// issued begins in its future, and is valid for everybody else.
const skew = 5 * time.Minute

// acceptable refuses a certificate that the device could not use, or that is no step forward
// from the one that it holds.
func acceptable(next []pki.Certificate, id string, h *held, now time.Time) error {
	leaf := next[0]
	switch own, err := spki(h.key.Public()); {
	case err != nil:
		return err
	case leaf.SPKI() != own:
		return errors.New("it is for another key than the device's")
	case leaf.CommonName() != id:
		return fmt.Errorf("it is for %.100q, and the device is %.100q", leaf.CommonName(), id)
	case leaf.IsCA():
		return errors.New("it is a CA's")
	case len(h.chain) > 0 && leaf.NotBefore().Add(backdated).Before(h.chain[0].NotBefore()):
		return errors.New("it is older than the one that the device has")
	case leaf.NotBefore().After(now.Add(skew)):
		return fmt.Errorf("it begins at %s, and by the device's clock it is %s: set that", instant(leaf.NotBefore()), instant(now))
	case leaf.NotBefore().After(now):
		now = leaf.NotBefore()
	}
	return pki.Verify(next, h.anchors, now)
}

// trustworthy refuses anchors after which the device could not come back to the server that
// gave them: the chain that this shows must verify with them, too.
func trustworthy(anchors pki.Anchors, server []pki.Certificate, now time.Time) error {
	if len(anchors) == 0 || !slices.ContainsFunc(anchors, func(c pki.Certificate) bool { return now.Before(c.NotAfter()) }) {
		return errors.New("it holds no anchor that is valid still")
	}
	if err := pki.Verify(server, anchors, now); err != nil {
		return fmt.Errorf("the server's own certificate does not verify with it: %w", err)
	}
	return nil
}

func instant(at time.Time) string { return at.UTC().Format(time.RFC3339) }
