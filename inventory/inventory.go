package inventory

import (
	"cmp"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Inventory is what Git lists at one revision. It does not change.
type Inventory struct {
	// hash of the folder, empty on a disk, and the groups that it was read beside.
	hash   string
	groups map[string]*v1alpha1.DeviceGroup
	shards map[string]*shard // by their folders
	// problems that are no single file's, and the folders that were not read at all.
	problems v1alpha1.ErrorList
	unread   []string
	// shared are the files of devices that have the key of another, by whose file.
	shared map[string]string
}

// maxProblems is how many are told.
const maxProblems = 200

// Problems are what is wrong, by file, line and field. Of very many the first are told, and
// how many there are.
func (i *Inventory) Problems() v1alpha1.ErrorList {
	all := slices.Clone(i.problems)
	for _, s := range i.shards {
		all = append(all, s.problem...)
		for _, e := range s.entries {
			all = append(all, e.problems...)
		}
	}
	for file, other := range i.shared { // told of all of them: which is in the right, Git does not say
		all = append(all, v1alpha1.Error{File: file, Line: 1, Field: "spec.request", Message: "is for the key of another device (" + other + "): a key belongs to one device, and until then who has a certificate for it keeps that; have the other make another key, or delete its file"})
	}
	slices.SortFunc(all, func(a, b v1alpha1.Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	if more := len(all) - maxProblems; more > 0 {
		all = append(all[:maxProblems:maxProblems], problem(all[maxProblems].File, "and %d more problems from here on: mend these first", more))
	}
	return all
}

// All are the devices that can be used, in no particular order.
func (i *Inventory) All() iter.Seq[*Device] {
	return func(yield func(*Device) bool) {
		for _, s := range i.shards {
			for _, e := range s.entries {
				if e.device != nil && i.shared[e.device.File] == "" && !yield(e.device) {
					return
				}
			}
		}
	}
}

// Counts of a group's devices by their states.
type Counts struct{ Active, Blocked, Retired int }

// Count counts the devices of each group.
func (i *Inventory) Count() map[string]Counts {
	counts := map[string]Counts{}
	for device := range i.All() {
		c := counts[device.Group]
		switch device.State {
		case v1alpha1.DeviceBlocked:
			c.Blocked++
		case v1alpha1.DeviceRetired:
			c.Retired++
		default:
			c.Active++
		}
		counts[device.Group] = c
	}
	return counts
}

// Readable reports whether it is known what Git says of a device: false of one whose file,
// or a folder above it, could not be used. Such a device is neither new nor gone.
func (i *Inventory) Readable(root, group, id string) bool {
	file := path.Join(root, v1alpha1.DevicePath(group, id))
	if slices.ContainsFunc(i.unread, func(folder string) bool { return strings.HasPrefix(file, folder+"/") }) {
		return false
	}
	s := i.shards[path.Dir(file)]
	if s == nil {
		return true
	}
	e := s.entries[path.Base(file)]
	return len(s.problem) == 0 && (e == nil || len(e.problems) == 0) && i.shared[file] == ""
}

// isUsable reports whether a device that is listed stands in a folder that could be listed
// now: else it is what was read before, perhaps beside another group.
func (i *Inventory) isUsable(device *Device) bool {
	return device != nil && len(i.shards[path.Dir(device.File)].problem) == 0
}

// contested are the devices that could be used, had none the key of another.
func (i *Inventory) contested() iter.Seq[*Device] {
	return func(yield func(*Device) bool) {
		for file := range i.shared {
			if !yield(i.shards[path.Dir(file)].entries[path.Base(file)].device) {
				return
			}
		}
	}
}

// shareNoKey finds the devices that have the key of another. None of them can be used as
// Git lists it: a newcomer must not drive out the holder because its file comes first.
func (i *Inventory) shareNoKey() {
	i.shared = map[string]string{}
	holders := map[pki.Fingerprint]string{}
	for _, folder := range slices.Sorted(maps.Keys(i.shards)) {
		for _, name := range slices.Sorted(maps.Keys(i.shards[folder].entries)) {
			device := i.shards[folder].entries[name].device
			if device == nil || device.Key.IsZero() || device.State != v1alpha1.DeviceActive {
				continue
			}
			if holder, held := holders[device.Key]; held {
				i.shared[device.File] = holder
				if i.shared[holder] == "" {
					i.shared[holder] = device.File
				}
				continue
			}
			holders[device.Key] = device.File
		}
	}
}
