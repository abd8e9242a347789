package renderer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// anchorSuffix ends the name of every file of the record.
const anchorSuffix = ".pem"

// besideAnchors may stand in the record and are passed over.
var besideAnchors = []string{"README.md", ".gitkeep"}

// LoadRecord reads the record of a domain's folder, "" for the repository's root:
// every certificate below its anchors/, in order of [planner.RecordedKey.Compare].
// No such folder is an empty record.
//
// The record is written by reanchor and merged by people. Whatever does not belong
// is refused rather than passed over, for a file that is not understood may be a
// key that is not remembered. All that is wrong comes back at once, as a
// [v1alpha1.ErrorList] that names each file and says what to do with it.
func LoadRecord(fsys fs.FS, folder string, limits Limits) (planner.Record, error) {
	record, err := loadRecord(fsys, folder, limits.withDefaults())
	if err != nil {
		return planner.Record{}, fmt.Errorf("load the record of %s: %w", nameOf(folder), err)
	}
	return record, nil
}

func loadRecord(fsys fs.FS, folder string, limits Limits) (planner.Record, error) {
	domain, err := domainFolder(folder)
	if err != nil {
		return planner.Record{}, err
	}
	r := recordReader{tree: newTree(fsys, limits), folder: path.Join(domain, planner.RecordFolder)}
	if err := r.all(); err != nil {
		return planner.Record{}, err
	}
	slices.SortFunc(r.keys, planner.RecordedKey.Compare)
	slices.SortFunc(r.links, planner.RecordedLink.Compare)
	if len(r.problems) == 0 {
		r.distinct()
		r.genuine()
	}
	return planner.Record{Enabled: true, Keys: r.keys, Links: r.links}, sorted(r.problems).Err()
}

// sorted puts problems into the order of files, lines, fields and messages.
func sorted(problems v1alpha1.ErrorList) v1alpha1.ErrorList {
	slices.SortFunc(problems, func(a, b v1alpha1.Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	return problems
}

// recordReader reads the record and collects what is wrong with it.
type recordReader struct {
	tree     *tree
	folder   string
	files    int
	keys     []planner.RecordedKey
	links    []planner.RecordedLink
	problems v1alpha1.ErrorList
}

func (r *recordReader) refuse(file, format string, args ...any) {
	r.problems = append(r.problems, v1alpha1.Error{File: file, Line: 1, Message: fmt.Sprintf(format, args...)})
}

// all reads the record, if there is one.
func (r *recordReader) all() error {
	switch err := r.tree.errNotDomain(path.Dir(r.folder)); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	mode, err := r.tree.mode(r.folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !mode.IsDir():
		r.refuse(r.folder, "is no folder (%s): put the record itself there", mode.Type())
		return nil
	}
	r.authorities()
	return nil
}

// authorities reads the folder of each authority.
func (r *recordReader) authorities() {
	folders, files := r.entries(r.folder)
	for _, file := range files {
		r.refuse(file, "belongs to no authority: move it to %s, or delete it", path.Join(r.folder, "<authority>", "<key>"+anchorSuffix))
	}
	for _, folder := range folders {
		r.authority(folder)
	}
}

// entries are the folders and the files of a folder.
func (r *recordReader) entries(folder string) (folders, files []string) {
	listed, err := fs.ReadDir(r.tree.fsys, folder)
	if err != nil {
		r.refuse(folder, "cannot be listed: %s", err)
	}
	for _, entry := range listed {
		name := path.Join(folder, entry.Name())
		switch {
		case entry.IsDir():
			folders = append(folders, name)
		case !entry.Type().IsRegular():
			r.refuse(name, "is neither a file nor a folder (%s): put the file itself there", entry.Type())
		case !slices.Contains(besideAnchors, entry.Name()):
			files = append(files, name)
		}
	}
	return folders, files
}

// authority reads the keys of one authority, those in use and those retired, and its links.
func (r *recordReader) authority(folder string) {
	authority := path.Base(folder)
	if len(authority) > validation.LabelValueMaxLength || len(validation.IsDNS1123Subdomain(authority)) > 0 {
		r.refuse(folder, "is not named after an authority: rename it, or delete it")
		return
	}
	folders, used := r.entries(folder)
	r.certificates(authority, used, false)
	for _, deeper := range folders {
		switch path.Base(deeper) {
		case planner.RetiredFolder:
			gone := r.flat(deeper, deeper)
			r.certificates(authority, gone, true)
			r.once(used, gone)
		case planner.LinksFolder:
			r.linksOf(authority, deeper)
		default:
			r.tooDeep(deeper, path.Join(folder, planner.RetiredFolder))
		}
	}
}

// flat are the files of a folder that has no folders below.
func (r *recordReader) flat(folder, retired string) []string {
	folders, files := r.entries(folder)
	for _, deeper := range folders {
		r.tooDeep(deeper, retired)
	}
	return files
}

func (r *recordReader) tooDeep(folder, retired string) {
	r.refuse(folder, "is no folder of the record: keys in use lie in %s, retired ones in %s; move what it holds there, or delete it", path.Dir(retired), retired)
}

// once refuses a key that is in use and retired at the same time. A key is retired
// last, so that it is the other file that a merge brought back.
func (r *recordReader) once(used, retired []string) {
	for _, file := range retired {
		back := path.Join(path.Dir(path.Dir(file)), path.Base(file))
		if slices.Contains(used, back) {
			r.refuse(back, "the key is recorded as retired too (%s), and a retired key does not come back: delete %s", file, back)
		}
	}
}

// distinct refuses a certificate that stands in two files: a copy under another name would
// speak for a key that is none.
func (r *recordReader) distinct() {
	first := map[pki.Fingerprint]string{}
	for _, key := range r.keys {
		file := path.Join(path.Dir(r.folder), key.Path())
		if original, copied := first[key.Certificate.Fingerprint()]; copied {
			r.refuse(file, "holds the very certificate of %s: a key has one of its own; delete the copy, or restore what was there", original)
			continue
		}
		first[key.Certificate.Fingerprint()] = file
	}
}

func (r *recordReader) certificates(authority string, files []string, retired bool) {
	if r.crowded(len(files)) {
		return
	}
	for _, file := range files {
		certificate, err := r.certificate(file)
		if err != nil {
			r.refuse(file, "%s", err)
			continue
		}
		name := strings.TrimSuffix(path.Base(file), anchorSuffix)
		r.keys = append(r.keys, planner.RecordedKey{Authority: authority, Name: name, Certificate: certificate, Retired: retired})
	}
}

// crowded refuses more certificates than there may be, once and before they are read.
func (r *recordReader) crowded(added int) bool {
	limit, before := r.tree.limits.Anchors, r.files
	r.files += added
	if before <= limit && r.files > limit {
		r.refuse(r.folder, "holds more than %d certificates: split the domain", limit)
	}
	return r.files > limit
}

// certificate reads the one certificate of a file. Its errors do not name the file.
func (r *recordReader) certificate(file string) (pki.Certificate, error) {
	name, isAnchor := strings.CutSuffix(path.Base(file), anchorSuffix)
	if !isAnchor {
		return pki.Certificate{}, fmt.Errorf("is no certificate of a key, <key>%s: rename it, or delete it", anchorSuffix)
	}
	if !isPair(name) {
		return pki.Certificate{}, fmt.Errorf("%q is not the name of a key, %q or %q say: rename the file, or delete it", name, "2025", v1alpha1.KeyUnder("a", "2025"))
	}
	data, err := r.read(file)
	if err != nil {
		return pki.Certificate{}, err
	}
	certificates, err := pki.ParsePEM(data)
	switch {
	case err != nil:
		return pki.Certificate{}, fmt.Errorf("%w: restore the key's certificate from the repository's history", err)
	case len(certificates) > 1:
		return pki.Certificate{}, fmt.Errorf("holds %d certificates: keep the key's own, and no chain", len(certificates))
	case !certificates[0].IsCA():
		return pki.Certificate{}, fmt.Errorf("%s is not the certificate of a CA: restore the key's own from the repository's history, or delete the file", certificates[0])
	}
	return certificates[0], nil
}

// isPair reports whether a name is that of a key pair: names of keys, joined by dots
// ([v1alpha1.KeyUnder]), and a label's value in all.
func isPair(name string) bool {
	return len(name) <= validation.LabelValueMaxLength && !slices.ContainsFunc(strings.Split(name, "."), func(key string) bool {
		return len(validation.IsDNS1123Label(key)) > 0
	})
}

func (r *recordReader) read(file string) ([]byte, error) {
	info, err := fs.Lstat(r.tree.fsys, file)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if limit := r.tree.limits.AnchorBytes; info.Size() > limit {
		return nil, fmt.Errorf("has %d bytes, and a certificate has at most %d: restore the key's certificate from the repository's history", info.Size(), limit)
	}
	return r.tree.readLimited(file)
}

// retiredPairs are the names that are used up, by authority.
func retiredPairs(record planner.Record) map[string][]string {
	retired := map[string][]string{}
	for _, key := range record.Keys {
		if key.Retired {
			retired[key.Authority] = append(retired[key.Authority], key.Name)
		}
	}
	return retired
}
