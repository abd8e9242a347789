package inventory

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// Registered is a device with all that Git says of it, as the registration endpoint decides
// by it.
type Registered struct {
	Device
	// Superseded are the keys that it had before.
	Superseded []pki.Fingerprint
	// Rekeyed is the last of them, if the device has shown it when it asked for its present
	// key; zero: it has not.
	Rekeyed pki.Fingerprint
	// Recoveries is how often it came back without having shown the key before.
	Recoveries int
	// Blob is the hash of its file as Git names it.
	Blob string
}

// Holder is whose a key is, or was.
type Holder struct {
	// Group and ID name the device.
	Group, ID string
	// Superseded: it has the key no more.
	Superseded bool
	file       string
}

// registeredOf is what a valid document says.
func registeredOf(document v1alpha1.Document, blob string) *Registered {
	spec := document.Object.(*v1alpha1.Device).Spec
	registered := &Registered{Device: deviceOf(document), Recoveries: spec.Recoveries, Blob: blob}
	for _, text := range spec.Superseded {
		if key, is := supersededKey(text); is {
			registered.Superseded = append(registered.Superseded, key)
		}
	}
	registered.Rekeyed, _ = supersededKey(spec.Rekeyed)
	return registered
}

// supersededKey reads "sha256:" and 64 hex digits.
func supersededKey(text string) (key pki.Fingerprint, is bool) {
	err := key.UnmarshalText([]byte(strings.TrimPrefix(text, v1alpha1.SupersededPrefix)))
	return key, err == nil
}

// Device finds a device below the folder that was read; false: its file is not there, or
// cannot be used (see [Inventory.Readable]).
func (i *Inventory) Device(root, group, id string) (Registered, bool) {
	file := path.Join(root, v1alpha1.DevicePath(group, id))
	s := i.shards[path.Dir(file)]
	if s == nil {
		return Registered{}, false
	}
	found := s.entries[path.Base(file)]
	if found == nil || found.registered == nil {
		return Registered{}, false
	}
	return *found.registered, true
}

// Holder tells whose a key is, of the requests in Git, or was, by spec.superseded. Where
// several name it, who has it comes before who had it, and the first file before a later.
func (i *Inventory) Holder(key pki.Fingerprint) (Holder, bool) {
	var holder Holder
	found := false
	for _, s := range i.shards {
		if other, is := s.holders[key]; is && (!found || other.before(holder)) {
			holder, found = other, true
		}
	}
	return holder, found
}

func (h Holder) before(other Holder) bool {
	if h.Superseded != other.Superseded {
		return !h.Superseded
	}
	return cmp.Less(h.file, other.file)
}

// manyChanged is how many changed files are looked at one by one before all are.
const manyChanged = 1000

// mayShare reports whether two devices may have one key: not if none had before, and what has
// changed since brings no key that another holds. That costs what has changed.
func (r *reader) mayShare() bool {
	if len(r.before.shards) == 0 || len(r.before.shared) > 0 {
		return true
	}
	looked := 0
	for folder, s := range r.made.shards {
		before := r.before.shards[folder]
		if before == s {
			continue
		}
		for name, e := range s.entries {
			if e.device == nil || before != nil && before.entries[name] == e {
				continue
			}
			if looked++; looked > manyChanged || r.made.isHeldElsewhere(*e.device) {
				return true
			}
		}
	}
	return false
}

// isHeldElsewhere reports whether another device has or had the key of one.
func (i *Inventory) isHeldElsewhere(device Device) bool {
	for _, s := range i.shards {
		if holder, held := s.holders[device.Key]; held && holder.file != device.File {
			return true
		}
	}
	return false
}

// holdersIn are those of the keys in the files of a folder.
func holdersIn(entries map[string]*entry) map[pki.Fingerprint]Holder {
	holders := map[pki.Fingerprint]Holder{}
	claim := func(key pki.Fingerprint, by Holder) {
		if other, held := holders[key]; !key.IsZero() && (!held || by.before(other)) {
			holders[key] = by
		}
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		device := entries[name].registered
		if device == nil {
			continue
		}
		claim(device.Key, Holder{Group: device.Group, ID: device.ID, file: device.File})
		for _, key := range device.Superseded {
			claim(key, Holder{Group: device.Group, ID: device.ID, Superseded: true, file: device.File})
		}
	}
	return holders
}
