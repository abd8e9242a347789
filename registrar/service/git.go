package service

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/renderer"
)

// GitOptions of [NewGit]. All are required but those that say what they are when absent.
type GitOptions struct {
	// Writer to the branch that devices and the record lie on.
	Writer *gitsource.Writer
	// Proposals opens the writer of a group whose registrations wait in a pull request. It is
	// asked once for each group.
	Proposals func(group string) (*gitsource.Writer, error)
	// Documents pulls the branch with the documents; nil: it is the Writer's.
	Documents func(ctx context.Context) (*gitsource.Snapshot, error)
	// Folder of the domain in both, as fs.FS names it.
	Folder string
	// ClusterResourceNamespace of cert-manager; empty: its default.
	ClusterResourceNamespace string
	// Cluster tells of the keys that cert-manager makes.
	Cluster *Cluster
	// Landed is told of each commit that holds registrations; it does not wait. Nil: nobody is.
	Landed func(commit string)
	// Proposed is told of each group of which a registration waits to be merged, as often as a
	// device asks; it does not wait. Nil: nobody is.
	Proposed func(group string)
}

// Git is the repository as the endpoint sees it: the newest fleet, and the way to write to it.
// It may be used by several goroutines.
type Git struct {
	options GitOptions
	newest  atomic.Pointer[view]
	// mutex is held by who makes the next view.
	mutex sync.Mutex
	// opening guards proposals.
	opening   sync.Mutex
	proposals map[string]*gitsource.Writer
}

// NewGit reads nothing yet: that is [Git.Refresh]'s.
func NewGit(options GitOptions) *Git {
	return &Git{options: options, proposals: map[string]*gitsource.Writer{}}
}

// Close the writers of the groups.
func (g *Git) Close() {
	g.opening.Lock()
	defer g.opening.Unlock()
	for _, writer := range g.proposals {
		writer.Close()
	}
}

// Errors of what is not known yet.
var (
	errNotRead  = errors.New("the repository has not been read yet: see in the log why, and wait")
	errNoAnchor = errors.New("no group has an anchor in the record yet: wait until the controller has made and recorded the first key")
)

// Fleet is the newest that is known, at no cost.
func (g *Git) Fleet() (admission.Fleet, error) {
	v := g.newest.Load()
	switch {
	case v == nil:
		return nil, errNotRead
	case len(v.groups) == 0 && len(v.desired.Groups) > 0:
		return nil, errNoAnchor
	}
	return v, nil
}

// CheckRequest holds a device's CSR against the rules that Git declares.
func (g *Git) CheckRequest(id, request string, group v1alpha1.DeviceGroup, now time.Time) []policies.Violation {
	if v := g.newest.Load(); v != nil {
		return v.rules.CheckRequest(id, request, group, now)
	}
	return nil
}

// trust of all groups, as it is known; nil: nothing is.
func (g *Git) trust() *trusts {
	if v := g.newest.Load(); v != nil {
		return v.trust
	}
	return nil
}

// Refresh asks the remote where its branches stand, and reads what is new there. What cannot
// be read leaves the fleet as it was known before.
func (g *Git) Refresh(ctx context.Context) error {
	devices, err := g.options.Writer.Refresh(ctx)
	if err != nil {
		return err
	}
	documents := devices
	if g.options.Documents != nil {
		if documents, err = g.options.Documents(ctx); err != nil {
			return err
		}
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	broken, err := g.read(documents)
	return errors.Join(err, broken)
}

// catchUp reads what the writer has written. What is wrong with documents, a refresh tells.
func (g *Git) catchUp() error {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	v := g.newest.Load()
	if v == nil {
		return errNotRead
	}
	documents := v.documents
	if g.options.Documents == nil {
		documents = g.options.Writer.Newest()
	}
	_, err := g.read(documents)
	return err
}

// read makes the next view, of the newest devices that the writer knows. It needs the mutex.
// Documents that are broken keep no device back: those before stay in force.
func (g *Git) read(documents *gitsource.Snapshot) (broken, err error) {
	before := g.newest.Load()
	next := &view{folder: g.options.Folder, cluster: g.options.Cluster, devices: g.options.Writer.Newest(), documents: documents}
	if before != nil && before.devices.Revision() == next.devices.Revision() && before.documents.Revision() == next.documents.Revision() {
		return nil, nil
	}
	broken = next.declare(before, g.options.ClusterResourceNamespace)
	if broken != nil && before == nil {
		return nil, broken
	}
	if broken != nil {
		next.keep(before)
	}
	var known *inventory.Inventory
	if before != nil {
		known = before.inventory
	}
	if next.inventory, err = inventory.Read(next.devices.FS(), next.folder, next.desired.Groups, known); err != nil {
		return broken, fmt.Errorf("%s: %w", next.devices.Revision(), err)
	}
	g.options.Cluster.lane.Declare(next.desired.Groups)
	g.newest.Store(next)
	return broken, nil
}

// keep what was declared before.
func (v *view) keep(before *view) {
	v.documents, v.desired, v.record = before.documents, before.desired, before.record
	v.groups, v.trust, v.rules = before.groups, before.trust, before.rules
}

// declare takes in documents and record, as far as they are others than before.
func (v *view) declare(before *view, clusterResourceNamespace string) error {
	sameRecord, err := v.isSame(before, func(b *view) *gitsource.Snapshot { return b.devices }, v.devices, v.isRecord)
	if err != nil {
		return err
	}
	sameDocuments, err := v.isSame(before, func(b *view) *gitsource.Snapshot { return b.documents }, v.documents, v.isDeclared)
	if err != nil {
		return err
	}
	if sameRecord && sameDocuments {
		documents := v.documents
		v.keep(before)
		v.documents = documents
		return nil
	}
	if v.record, err = renderer.LoadRecord(v.devices.FS(), v.folder, renderer.Limits{}); err != nil {
		return fmt.Errorf("the record in %s: %w", v.devices.Revision(), err)
	}
	loaded, err := renderer.Load(v.documents.FS(), v.folder, renderer.Options{
		ClusterResourceNamespace: clusterResourceNamespace, Record: v.record, CheckPolicies: policies.Problems,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", v.documents.Revision(), err)
	}
	v.desired, v.rules = loaded.Desired, rulesOf(loaded.Documents)
	v.trust = trustOf(v.desired, v.record)
	v.groups = groupsOf(v.desired, v.trust)
	return nil
}

// isSame reports whether no file that matters has changed between two snapshots.
func (v *view) isSame(before *view, of func(*view) *gitsource.Snapshot, now *gitsource.Snapshot, matters func(string) bool) (bool, error) {
	if before == nil {
		return false, nil
	}
	changed, err := now.Changed(of(before))
	if err != nil {
		return false, err
	}
	for _, file := range changed {
		if matters(file) {
			return false, nil
		}
	}
	return true, nil
}

func (v *view) isRecord(file string) bool {
	return strings.HasPrefix(file, path.Join(v.folder, planner.RecordFolder)+"/")
}

func (v *view) isDeclared(file string) bool {
	return !v.isRecord(file) && !strings.HasPrefix(file, path.Join(v.folder, v1alpha1.DevicesFolder)+"/")
}

// Commit writes a registration: see [registrar.Committer].
func (g *Git) Commit(ctx context.Context, registration registrar.Registration) (string, error) {
	edit, err := g.editOf(registration)
	if err != nil {
		return "", err
	}
	if registration.Approval == v1alpha1.ApprovalPullRequest {
		return "", g.propose(ctx, registration, edit)
	}
	landed, err := g.options.Writer.Put(ctx, edit)
	if read := g.catchUp(); err == nil && read != nil {
		return "", fmt.Errorf("%s is written, and cannot be read: %w", edit.Path, read)
	}
	if err != nil {
		return "", g.named(registration, err)
	}
	if landed.Made && g.options.Landed != nil {
		g.options.Landed(landed.Revision)
	}
	_, commit, _ := strings.Cut(landed.Revision, "@sha1:")
	return commit, nil
}

// editOf a registration. It is vetted on each tree that it is written on: the key may have
// become another's by a commit that nobody here has seen.
func (g *Git) editOf(registration registrar.Registration) (gitsource.Edit, error) {
	device := registration.Device
	content, err := registration.YAML()
	if err != nil {
		return gitsource.Edit{}, err
	}
	edit := gitsource.Edit{
		Path: path.Join(g.options.Folder, v1alpha1.DevicePath(device.Group, device.ID)), Content: content,
		Subject: subjects[registration.Verdict] + " " + device.ID + " of " + device.Group,
		Vet:     func(on *gitsource.Snapshot) error { return g.vet(on, registration) },
	}
	if registration.Was != nil {
		edit.Was = registration.Was.Blob
	}
	if !device.Key.IsZero() {
		edit.Claims = []string{"key " + device.Key.String()}
	}
	return edit, nil
}

var subjects = map[admission.Verdict]string{admission.Register: "Register", admission.Rekey: "Rekey", admission.Recover: "Recover"}

// vet refuses a registration for a key that is another device's in a tree, or was.
func (g *Git) vet(on *gitsource.Snapshot, registration registrar.Registration) error {
	v := g.newest.Load()
	if v == nil {
		return errNotRead
	}
	listed, err := v.listedOn(on)
	if err != nil {
		return err
	}
	device := registration.Device
	holder, held := listed.Holder(device.Key)
	if held && (holder.Group != device.Group || holder.ID != device.ID || holder.Superseded) {
		return registrar.ErrChanged
	}
	return nil
}

// named gives an error of a writer the name that the endpoint answers by.
func (g *Git) named(registration registrar.Registration, err error) error {
	switch {
	case errors.Is(err, registrar.ErrChanged), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, gitsource.ErrQueueFull):
		return fmt.Errorf("%w: %w", registrar.ErrQueueFull, err)
	case errors.Is(err, gitsource.ErrConflict):
		device := registration.Device
		if v := g.newest.Load(); v != nil && !v.inventory.Readable(v.folder, device.Group, device.ID) {
			return fmt.Errorf("the file of device %s/%s stands in Git and cannot be used: see the problems in the TrustDomain's status, and mend it", device.Group, device.ID)
		}
		return fmt.Errorf("%w: %w", registrar.ErrChanged, err)
	}
	return fmt.Errorf("%w: %w", registrar.ErrUnreachable, err)
}

// propose a registration on its group's branch, unless the branch has it already, or has
// another for the device: a person is to look at that. What was merged meanwhile is decided
// anew.
func (g *Git) propose(ctx context.Context, registration registrar.Registration, edit gitsource.Edit) error {
	device := registration.Device
	writer, err := g.proposal(device.Group)
	if err != nil {
		return fmt.Errorf("%w: %w", registrar.ErrUnreachable, err)
	}
	_, err = writer.Put(ctx, edit)
	if err != nil && !errors.Is(err, gitsource.ErrConflict) {
		return g.named(registration, err)
	}
	if err := g.Refresh(ctx); err != nil {
		return fmt.Errorf("%w: %w", registrar.ErrUnreachable, err)
	}
	if !g.stands(registration) {
		return registrar.ErrChanged
	}
	if g.options.Proposed != nil {
		g.options.Proposed(device.Group)
	}
	return registrar.ErrProposed
}

// Waiting are the files of a group's devices that wait to be merged, by their paths from the
// repository's root, sorted.
func (g *Git) Waiting(group string) ([]string, error) {
	writer, err := g.proposal(group)
	if err != nil {
		return nil, err
	}
	proposed, stands := writer.Newest(), g.options.Writer.Newest()
	if proposed == nil || stands == nil {
		return nil, errNotRead
	}
	changed, err := proposed.Changed(stands)
	if err != nil {
		return nil, err
	}
	folder := path.Join(g.options.Folder, v1alpha1.DevicesFolder, group) + "/"
	return slices.DeleteFunc(changed, func(file string) bool {
		_, missing := proposed.Document(file) // it was merged, or never proposed
		return !strings.HasPrefix(file, folder) || missing != nil
	}), nil
}

// stands reports whether a device is still what a registration was decided on.
func (g *Git) stands(registration registrar.Registration) bool {
	device, there := g.newest.Load().Device(registration.Device.Group, registration.Device.ID)
	if registration.Was == nil {
		return !there
	}
	return there && device.Blob == registration.Was.Blob
}

// proposal is the writer of a group's pull request.
func (g *Git) proposal(group string) (*gitsource.Writer, error) {
	g.opening.Lock()
	defer g.opening.Unlock()
	if g.proposals[group] == nil {
		opened, err := g.options.Proposals(group)
		if err != nil {
			return nil, err
		}
		g.proposals[group] = opened
	}
	return g.proposals[group], nil
}
