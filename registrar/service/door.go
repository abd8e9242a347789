package service

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
)

// Door is what the endpoint shows of itself: its certificate, the links by which a device that
// knows only an older root finds its way to it, and the certificate of the proof name. What it
// shows changes with what it is given, and with the record in Git.
type Door struct {
	git       *Git
	proofName string
	clock     func() time.Time

	mutex      sync.Mutex
	own, proof tls.Certificate
	// served was made of what was known then; nil: something is another since.
	served *registrar.Serving
	known  *trusts
}

// NewDoor opens no handshake before it was given a certificate. An empty proof name has none.
func NewDoor(git *Git, proofName string, clock func() time.Time) *Door {
	return &Door{git: git, proofName: proofName, clock: clock}
}

// Show a certificate from now on: the leaf, and the intermediates that follow it.
func (d *Door) Show(certificate tls.Certificate) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.own, d.served = certificate, nil
}

// ShowProof gives the proof name a certificate of its own: until then it has the ordinary one,
// without links.
func (d *Door) ShowProof(certificate tls.Certificate) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.proof, d.served = certificate, nil
}

var errNoCertificate = errors.New("the endpoint has no certificate yet: see that the Secret or the files that it is started with are there")

// Serving is [registrar.Options]'.
func (d *Door) Serving() (*registrar.Serving, error) {
	trust := d.git.trust()
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if len(d.own.Certificate) == 0 {
		return nil, errNoCertificate
	}
	if d.served != nil && d.known == trust {
		return d.served, nil
	}
	served, err := d.serve(trust)
	if err != nil {
		return nil, err
	}
	d.served, d.known = served, trust
	return served, nil
}

// serve works out what is shown beside what the devices are told to trust; nil: that is not
// known yet.
func (d *Door) serve(trust *trusts) (*registrar.Serving, error) {
	serving := &registrar.Serving{Certificate: d.own}
	if trust == nil {
		return serving, nil
	}
	root, found, err := rootOf(d.own, trust.all.Anchors)
	if err != nil {
		return nil, fmt.Errorf("read the endpoint's certificate: %w", err)
	}
	if found {
		serving.Links = linksFrom(root, trust.all.Links, trust.all.Anchors.Union(trust.former), d.clock())
	}
	if d.proofName == "" {
		return serving, nil
	}
	serving.ProofName, serving.Proof = d.proofName, d.own
	if len(d.proof.Certificate) > 0 {
		serving.Proof = d.proof
	}
	serving.ProofAnchor, _, err = rootOf(serving.Proof, trust.all.Anchors)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of the proof name: %w", err)
	}
	return serving, nil
}

// rootOf a chain is the anchor that its last certificate is, or was signed by.
func rootOf(credential tls.Certificate, anchors pki.Anchors) (pki.Certificate, bool, error) {
	last, err := pki.Parse(credential.Certificate[len(credential.Certificate)-1])
	if err != nil {
		return pki.Certificate{}, false, err
	}
	at := slices.IndexFunc(anchors, func(anchor pki.Certificate) bool { return last.Equal(anchor) || last.SignedBy(anchor) })
	if at < 0 {
		return pki.Certificate{}, false, nil
	}
	return anchors[at], true, nil
}

// linksFrom are those by which what a root signed verifies with each of the other anchors,
// those of devices among them that were away until long after a rollover.
func linksFrom(root pki.Certificate, links []pki.Certificate, anchors pki.Anchors, at time.Time) []pki.Certificate {
	var shown []pki.Certificate
	for _, anchor := range anchors {
		for _, link := range pki.Bridge(root, links, anchor, at) {
			if !slices.ContainsFunc(shown, link.Equal) {
				shown = append(shown, link)
			}
		}
	}
	return shown
}
