package registrartest

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
)

// World is Git and the cluster in memory. Its methods are what [registrar.Options] asks for.
type World struct {
	// Clock tells the time.
	Clock func() time.Time
	// Issuer signs what devices ask for.
	Issuer *Authority

	mu       sync.Mutex
	revision int
	groups   []admission.Group
	devices  map[string]admission.Device
	trust    map[string]admission.Trust
	issued   map[registrar.Holder]registrar.Issued
	keys     map[registrar.Holder]crypto.Signer
	changed  chan struct{}
	// commits, proposals and evidence are what was taken, in order.
	commits  []registrar.Registration
	evidence []registrar.Evidence
	fail     error
	refuse   error
	slow     bool
	onCommit func()
}

// NewWorld is one without groups, whose devices trust an issuer's own certificate.
func NewWorld(issuer *Authority, clock func() time.Time) *World {
	return &World{
		Clock: clock, Issuer: issuer, devices: map[string]admission.Device{}, trust: map[string]admission.Trust{},
		issued: map[registrar.Holder]registrar.Issued{}, keys: map[registrar.Holder]crypto.Signer{}, changed: make(chan struct{}),
	}
}

// Group declares one.
func (w *World) Group(name string, bootstrap *Authority, change func(*v1alpha1.DeviceGroupSpec)) {
	group := v1alpha1.DeviceGroup{Spec: v1alpha1.DeviceGroupSpec{Bootstrap: v1alpha1.Bootstrap{Identity: v1alpha1.IdentitySubjectCommonName}}}
	if change != nil {
		change(&group.Spec)
	}
	group.Default()
	w.do(func() {
		w.groups = append(w.groups, admission.Group{Name: name, Spec: group.Spec, Bootstrap: pki.NewAnchors(bootstrap.Certificate)})
		slices.SortFunc(w.groups, func(a, b admission.Group) int { return strings.Compare(a.Name, b.Name) })
		w.trust[name] = admission.Trust{Anchors: pki.NewAnchors(w.Issuer.Certificate)}
	})
}

// do something to the world: one change at a time, which is seen by who waits.
func (w *World) do(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	w.revision++
	close(w.changed)
	w.changed = make(chan struct{})
}

// Put a device into Git.
func (w *World) Put(device admission.Device) {
	w.do(func() { w.devices[device.Group+"/"+device.ID] = device })
}

// Trust says what a group's devices shall trust.
func (w *World) Trust(group string, trust admission.Trust) { w.do(func() { w.trust[group] = trust }) }

// FailCommits makes commits fail until it is given nil.
func (w *World) FailCommits(err error) { w.do(func() { w.fail = err }) }

// RefuseIssuance makes the issuer refuse until it is given nil.
func (w *World) RefuseIssuance(err error) { w.do(func() { w.refuse = err }) }

// HoldIssuance keeps commits from leading to certificates, or lets them again.
func (w *World) HoldIssuance(hold bool) { w.do(func() { w.slow = hold }) }

// OnCommit does something before a commit is looked at, without a lock held.
func (w *World) OnCommit(what func()) { w.do(func() { w.onCommit = what }) }

// Issue gives a holder a certificate.
func (w *World) Issue(holder registrar.Holder, certificate pki.Certificate, chain ...pki.Certificate) {
	w.do(func() { w.issued[holder] = registrar.Issued{Certificate: certificate, Chain: chain} })
}

// Release issues what a registration asks for, and all later ones.
func (w *World) Release(registration registrar.Registration) {
	w.do(func() {
		w.slow = false
		w.certify(registration)
	})
}

// Commits are what was committed or proposed.
func (w *World) Commits() []registrar.Registration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.commits)
}

// Seen is the evidence that was recorded.
func (w *World) Seen() []registrar.Evidence {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.evidence)
}

// Fleet is the world as it is now.
func (w *World) Fleet() (admission.Fleet, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &fleet{
		revision: fmt.Sprintf("main@sha1:%040x", w.revision), groups: slices.Clone(w.groups),
		devices: maps.Clone(w.devices), trust: maps.Clone(w.trust),
	}, nil
}

// Commit is [registrar.Committer]'s. Unless issuance is held, the certificate is there as
// soon as it returns.
func (w *World) Commit(_ context.Context, registration registrar.Registration) (string, error) {
	w.mu.Lock()
	first := w.onCommit
	w.mu.Unlock()
	if first != nil {
		first()
	}
	var commit string
	var err error
	w.do(func() { commit, err = w.commit(registration) })
	return commit, err
}

func (w *World) commit(registration registrar.Registration) (string, error) {
	name := registration.Device.Group + "/" + registration.Device.ID
	stands, there := w.devices[name]
	switch {
	case w.fail != nil:
		return "", w.fail
	case there != (registration.Was != nil) || (there && stands.Key != registration.Was.Key) || (there && stands.State != registration.Was.State):
		return "", registrar.ErrChanged
	}
	w.commits = append(w.commits, registration)
	if registration.Approval == v1alpha1.ApprovalPullRequest {
		return "", registrar.ErrProposed
	}
	device := registration.Device
	if !w.slow {
		device.Key = w.certify(registration)
	}
	w.devices[name] = device
	return fmt.Sprintf("%040x", len(w.commits)), nil
}

// certify what a registration asks for, and tell for which key.
func (w *World) certify(registration registrar.Registration) pki.Fingerprint {
	now := w.Clock()
	template := Leaf(registration.Device.ID, now.Add(-time.Minute), now.Add(90*24*time.Hour))
	holder := registrar.Holder{Group: registration.Device.Group, ID: registration.Device.ID, Key: registration.Device.Key}
	block, _ := pem.Decode([]byte(registration.Request))
	if block == nil {
		key := Key()
		issued := registrar.Issued{Certificate: w.Issuer.Sign(template, key.Public())}
		w.keys[holder], w.issued[holder] = key, issued
		holder.Key = KeyID(key.Public())
		w.keys[holder], w.issued[holder] = key, issued
		return holder.Key
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		panic(err) // the endpoint has read it
	}
	template.RawSubject, template.DNSNames = request.RawSubject, request.DNSNames
	w.issued[holder] = registrar.Issued{Certificate: w.Issuer.Sign(template, request.PublicKey)}
	return holder.Key
}

// Newest is [registrar.Certificates]'.
func (w *World) Newest(holder registrar.Holder) (registrar.Issued, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	issued, found := w.issued[holder]
	return issued, found
}

// Await is [registrar.Certificates]'.
func (w *World) Await(ctx context.Context, holder registrar.Holder, enough func(registrar.Issued) bool) (registrar.Issued, error) {
	for {
		w.mu.Lock()
		issued, found := w.issued[holder]
		changed, refuse := w.changed, w.refuse
		w.mu.Unlock()
		switch {
		case refuse != nil:
			return registrar.Issued{}, refuse
		case found && enough(issued):
			return issued, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return registrar.Issued{}, ctx.Err()
		}
	}
}

// PrivateKey is [registrar.Keys]'.
func (w *World) PrivateKey(_ context.Context, holder registrar.Holder) (crypto.Signer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if key, found := w.keys[holder]; found {
		return key, nil
	}
	return nil, errors.New("there is no such Secret")
}

// Record is [registrar.Recorder]'s.
func (w *World) Record(evidence registrar.Evidence) error {
	w.do(func() { w.evidence = append(w.evidence, evidence) })
	return nil
}

// fleet is the world at one moment.
type fleet struct {
	revision string
	groups   []admission.Group
	devices  map[string]admission.Device
	trust    map[string]admission.Trust
}

func (f *fleet) Revision() string                   { return f.revision }
func (f *fleet) Groups() []admission.Group          { return f.groups }
func (f *fleet) Trust(group string) admission.Trust { return f.trust[group] }

func (f *fleet) Device(group, id string) (admission.Device, bool) {
	device, found := f.devices[group+"/"+id]
	return device, found
}

func (f *fleet) Holder(key pki.Fingerprint) (admission.Holder, bool) {
	for _, device := range f.devices {
		holder := admission.Holder{Group: device.Group, ID: device.ID, Superseded: slices.Contains(device.Superseded, key)}
		if holder.Superseded || (device.Key == key && !key.IsZero()) {
			return holder, true
		}
	}
	return admission.Holder{}, false
}
