package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// besideDevices may stand in any of the folders and are passed over.
var besideDevices = []string{"README.md", ".gitkeep"}

// Read reads the devices of a domain's folder, "." for the repository's root, beside the
// groups that it declares. What before has read already, and Git says is the same, is not
// read again; nil: nothing was. Its error says that the folder itself cannot be listed; what
// is wrong with single files is in [Inventory.Problems].
func Read(files fs.FS, folder string, groups []v1alpha1.DeviceGroup, before *Inventory) (*Inventory, error) {
	if before == nil {
		before = &Inventory{}
	}
	r := &reader{files: files, root: folder, before: before, groups: map[string]*v1alpha1.DeviceGroup{}, made: &Inventory{shards: map[string]*shard{}}}
	for i := range groups {
		r.groups[groups[i].Metadata.Name] = &groups[i]
	}
	r.made.groups = r.groups
	if r.unchanged() {
		return before, nil
	}
	if err := r.all(); err != nil {
		return nil, fmt.Errorf("read the devices of %s: %w", folder, err)
	}
	if r.mayShare() {
		r.made.shareNoKey()
	}
	return r.made, nil
}

// unchanged reports whether Git says that all is as it was when it was read before.
func (r *reader) unchanged() bool {
	info, err := fs.Stat(r.files, path.Join(r.root, v1alpha1.DevicesFolder))
	if err != nil {
		return false
	}
	r.made.hash, _ = info.Sys().(string)
	return r.made.hash != "" && r.made.hash == r.before.hash && reflect.DeepEqual(r.groups, r.before.groups)
}

// reader reads the folders, and then the shards side by side.
type reader struct {
	files  fs.FS
	root   string
	before *Inventory
	groups map[string]*v1alpha1.DeviceGroup
	made   *Inventory
}

func (r *reader) refuse(file, format string, args ...any) {
	r.made.problems = append(r.made.problems, problem(file, format, args...))
}

func problem(file, format string, args ...any) v1alpha1.Error {
	return v1alpha1.Error{File: file, Line: 1, Message: fmt.Sprintf(format, args...)}
}

// all reads the folder of the devices, if there is one.
func (r *reader) all() error {
	folder := path.Join(r.root, v1alpha1.DevicesFolder)
	listed, err := fs.ReadDir(r.files, folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var due []*shard
	for _, entry := range r.folders(folder, listed, "<group>/<shard>/<id>"+v1alpha1.DeviceSuffix) {
		due = append(due, r.group(path.Join(folder, entry.Name()), entry)...)
	}
	sideBySide(due, func(s *shard) { r.read(s) })
	return nil
}

// folders are those among the entries of a folder; files do not belong there.
func (r *reader) folders(folder string, listed []fs.DirEntry, belongs string) []fs.DirEntry {
	return slices.DeleteFunc(slices.Clone(listed), func(entry fs.DirEntry) bool {
		if !entry.IsDir() && !slices.Contains(besideDevices, entry.Name()) {
			r.refuse(path.Join(folder, entry.Name()), "is no file of a device: those are %s; move it there, or delete it", path.Join(v1alpha1.DevicesFolder, belongs))
		}
		return !entry.IsDir()
	})
}

// group lists the shards of a group that are to be read.
func (r *reader) group(folder string, entry fs.DirEntry) []*shard {
	name := entry.Name()
	declared := r.groups[name]
	if declared == nil {
		r.refuse(folder, "there is no DeviceGroup %q: declare it, or move its devices to another", name)
		r.made.unread = append(r.made.unread, folder)
		return nil
	}
	listed, err := fs.ReadDir(r.files, folder)
	if err != nil {
		r.refuse(folder, "cannot be listed: %s", err)
		r.made.unread = append(r.made.unread, folder)
		return nil
	}
	var due []*shard
	for _, entry := range r.folders(folder, listed, name+"/<shard>/<id>"+v1alpha1.DeviceSuffix) {
		at := path.Join(folder, entry.Name())
		known := r.before.shards[at]
		if hash := hashOf(entry); known != nil && hash != "" && known.hash == hash && reflect.DeepEqual(known.group, declared) {
			r.made.shards[at] = known
			continue
		}
		made := &shard{folder: at, hash: hashOf(entry), group: declared, before: known}
		r.made.shards[at] = made
		due = append(due, made)
	}
	return due
}

// hashOf is the hash by which Git names what an entry holds; empty on a disk.
func hashOf(entry fs.DirEntry) string {
	if hashed, ok := entry.(interface{ Sys() any }); ok {
		hash, _ := hashed.Sys().(string)
		return hash
	}
	return ""
}

// sideBySide does something with each of them, on all processors.
func sideBySide[T any](items []T, do func(T)) {
	queue := make(chan T)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for item := range queue {
				do(item)
			}
		})
	}
	for _, item := range items {
		queue <- item
	}
	close(queue)
	workers.Wait()
}

// shard is a folder of devices. Once read, it does not change.
type shard struct {
	folder string
	// hash of the folder, empty on a disk; and the group's document that it was read beside.
	hash  string
	group *v1alpha1.DeviceGroup
	// entries by their file's name.
	entries map[string]*entry
	// holders are those of the keys that its devices have or had.
	holders map[pki.Fingerprint]Holder
	// problem says why the folder could not be listed.
	problem v1alpha1.ErrorList
	before  *shard
}

// entry is a file: a device, or what is wrong with it.
type entry struct {
	hash       string
	device     *Device
	registered *Registered
	problems   v1alpha1.ErrorList
}

// isOf reports whether this was made of the content that Git names so. What is no regular
// file, and what could not be read, has no such name, or one of another kind.
func (e *entry) isOf(hash string) bool { return e != nil && e.hash == hash }

// read reads the files of a shard.
func (r *reader) read(s *shard) {
	before := s.before
	s.before, s.entries = nil, map[string]*entry{}
	listed, err := fs.ReadDir(r.files, s.folder)
	if err != nil {
		s.problem = v1alpha1.ErrorList{problem(s.folder, "cannot be listed: %s", err)}
		if before != nil {
			s.entries, s.holders = before.entries, before.holders
		}
		return
	}
	if before == nil || !reflect.DeepEqual(before.group, s.group) {
		before = &shard{} // what was made of a file beside another group says nothing
	}
	for _, found := range listed {
		if name := found.Name(); !slices.Contains(besideDevices, name) {
			s.entries[name] = r.entry(s, found, before.entries[name])
		}
	}
	s.holders = holdersIn(s.entries)
}

// entry reads a file, unless it is as it was when it was read before.
func (r *reader) entry(s *shard, found fs.DirEntry, before *entry) *entry {
	if hash := hashOf(found); hash != "" && before.isOf(hash) {
		return before
	}
	at := path.Join(s.folder, found.Name())
	made := &entry{hash: hashOf(found)}
	refuse := func(format string, args ...any) { made.problems = append(made.problems, problem(at, format, args...)) }
	switch {
	case found.IsDir():
		refuse("is a folder, and devices lie in %s: move what it holds there", path.Join(v1alpha1.DevicesFolder, "<group>/<shard>/<id>"+v1alpha1.DeviceSuffix))
		return made
	case !found.Type().IsRegular():
		refuse("is no regular file (%s): put the document itself there", found.Type())
		return made
	case !strings.HasSuffix(found.Name(), v1alpha1.DeviceSuffix):
		refuse("is no file of a device: its name does not end in %s; rename it, or delete it", v1alpha1.DeviceSuffix)
		return made
	}
	data, err := content(r.files, at, found)
	if err != nil {
		refuse("%s", err)
		return made
	}
	if made.hash == "" { // on a disk
		made.hash = BlobHash(data)
	}
	if before.isOf(made.hash) {
		return before
	}
	document, problems := r.decode(s, at, data)
	if made.problems = problems; len(problems) == 0 {
		made.registered = registeredOf(document, made.hash)
		made.device = &made.registered.Device
	}
	return made
}

// content is what a file holds.
func content(files fs.FS, at string, found fs.DirEntry) ([]byte, error) {
	const tooLarge = "has %d bytes, and the file of a device has at most %d: make it smaller"
	if hashOf(found) == "" { // on a disk nothing bounds what a read brings
		if info, err := found.Info(); err == nil && info.Size() > v1alpha1.MaxDeviceDocument {
			return nil, fmt.Errorf(tooLarge, info.Size(), v1alpha1.MaxDeviceDocument)
		}
	}
	data, err := fs.ReadFile(files, at)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", err)
	case len(data) > v1alpha1.MaxDeviceDocument:
		return nil, fmt.Errorf(tooLarge, len(data), v1alpha1.MaxDeviceDocument)
	}
	return data, nil
}

// decode takes in the one device that a file holds.
func (r *reader) decode(s *shard, at string, data []byte) (v1alpha1.Document, v1alpha1.ErrorList) {
	documents, err := v1alpha1.Decode(at, data)
	var problems v1alpha1.ErrorList
	if errors.As(err, &problems) {
		return v1alpha1.Document{}, problems
	}
	if len(documents) != 1 {
		return v1alpha1.Document{}, v1alpha1.ErrorList{problem(at, "holds %d documents of %s: a file of a device holds that one, and nothing else", len(documents), v1alpha1.GroupVersion.Group)}
	}
	if problems = v1alpha1.ValidateDevice(documents[0], map[string]*v1alpha1.DeviceGroup{s.group.Metadata.Name: s.group}); len(problems) > 0 {
		if device, is := documents[0].Object.(*v1alpha1.Device); !is || device.Spec.Group == s.group.Metadata.Name {
			return v1alpha1.Document{}, problems
		}
	}
	if problems := r.place(documents[0], *documents[0].Object.(*v1alpha1.Device)); len(problems) > 0 {
		return v1alpha1.Document{}, problems
	}
	return documents[0], nil
}

// place refuses a device in the wrong file.
func (r *reader) place(document v1alpha1.Document, device v1alpha1.Device) v1alpha1.ErrorList {
	group, id := device.Spec.Group, device.Metadata.Name
	right := path.Join(r.root, v1alpha1.DevicePath(group, id))
	if document.File == right {
		return nil
	}
	wrong := v1alpha1.Error{File: document.File, Line: document.Line, Field: "metadata.name"}
	wrong.Message = fmt.Sprintf("device %q of group %s lies in %s and nowhere else: move it there, or correct the name or the group", id, group, right)
	if _, err := fs.Lstat(r.files, right); err == nil {
		wrong.Message = fmt.Sprintf("device %q of group %s is declared already (%s): delete this file", id, group, right)
	}
	return v1alpha1.ErrorList{wrong}
}
