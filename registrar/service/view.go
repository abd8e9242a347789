package service

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/registrar/admission"
)

// view is the fleet at one revision. It does not change; only of the keys that cert-manager
// makes it tells what the cluster holds now, and it remembers what it was compared with last.
type view struct {
	folder string
	// devices is the snapshot that the devices and the record were read from, and documents
	// the one that the rest was.
	devices, documents *gitsource.Snapshot
	inventory          *inventory.Inventory
	desired            planner.Desired
	record             planner.Record
	groups             []admission.Group
	trust              *trusts
	rules              policies.Rules
	cluster            *Cluster
	vetted             atomic.Pointer[listing]
}

// listing is the devices of another tree, as they were read last.
type listing struct {
	on        *gitsource.Snapshot
	inventory *inventory.Inventory
}

// listedOn are the devices of a tree on which registrations are vetted. Those of one commit are
// vetted on the same one, which is read once.
func (v *view) listedOn(on *gitsource.Snapshot) (*inventory.Inventory, error) {
	if on.Revision() == v.devices.Revision() {
		return v.inventory, nil
	}
	if last := v.vetted.Load(); last != nil && last.on == on {
		return last.inventory, nil
	}
	listed, err := inventory.Read(on.FS(), v.folder, v.desired.Groups, v.inventory)
	if err == nil {
		v.vetted.Store(&listing{on: on, inventory: listed})
	}
	return listed, err
}

// Revision that the devices were read at.
func (v *view) Revision() string { return v.devices.Revision() }

// Groups that the domain declares.
func (v *view) Groups() []admission.Group { return v.groups }

// Trust is what a group's devices shall trust.
func (v *view) Trust(group string) admission.Trust { return v.trust.byGroup[group] }

// Device finds one. Where cert-manager makes the key, it is the one of the newest certificate.
func (v *view) Device(group, id string) (admission.Device, bool) {
	found, is := v.inventory.Device(v.folder, group, id)
	if !is {
		return admission.Device{}, false
	}
	device := admission.Device{
		Group: found.Group, ID: found.ID, State: found.State, Key: found.Key,
		Superseded: found.Superseded, Rekeyed: found.Rekeyed, Recoveries: found.Recoveries, Blob: found.Blob,
	}
	if !found.Rekeyed.IsZero() {
		device.Shown = v.cluster.lane.HasShown(group, id, found.Key)
		if chain := v.cluster.lane.Newest(group, id, found.Key).Chain; len(chain) > 0 {
			device.Issued = chain[0].NotBefore()
		}
	}
	if device.Key.IsZero() {
		if chain := v.cluster.lane.Newest(group, id, device.Key).Chain; len(chain) > 0 {
			device.Key = chain[0].SPKI()
		}
	}
	return device, true
}

// Holder tells whose a key is, or was.
func (v *view) Holder(key pki.Fingerprint) (admission.Holder, bool) {
	if holder, held := v.inventory.Holder(key); held {
		return admission.Holder{Group: holder.Group, ID: holder.ID, Superseded: holder.Superseded}, true
	}
	whose, held := v.cluster.holder(key)
	return admission.Holder{Group: whose.group, ID: whose.id}, held
}

// groupsOf are the declared groups as admission knows them: those whose root has an anchor in
// the record, since there is nothing that devices of the others could be told to trust.
func groupsOf(desired planner.Desired, trust *trusts) []admission.Group {
	var groups []admission.Group
	for _, declared := range desired.Groups {
		if len(trust.byGroup[declared.Metadata.Name].Anchors) == 0 {
			continue
		}
		certificates, _ := pki.ParsePEM([]byte(declared.Spec.Bootstrap.Certificates)) // was found valid
		groups = append(groups, admission.Group{Name: declared.Metadata.Name, Spec: declared.Spec, Bootstrap: pki.NewAnchors(certificates...)})
	}
	slices.SortFunc(groups, func(a, b admission.Group) int { return strings.Compare(a.Name, b.Name) })
	return groups
}

// rulesOf are the team's own, compiled.
func rulesOf(documents []v1alpha1.Object) policies.Rules {
	var declared []v1alpha1.Policy
	for _, document := range documents {
		if policy, is := document.(*v1alpha1.Policy); is {
			declared = append(declared, *policy)
		}
	}
	rules, _ := policies.Compile(declared) // what does not compile was refused when it was loaded
	return rules
}
