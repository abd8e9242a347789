package renderer

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// linksOf reads the links of an authority, those in use and those withdrawn.
func (r *recordReader) linksOf(authority, folder string) {
	folders, used := r.entries(folder)
	r.readLinks(authority, used, false)
	for _, deeper := range folders {
		if path.Base(deeper) != planner.WithdrawnFolder {
			r.refuse(deeper, "is no folder of the record: links lie in %s, withdrawn ones in %s; move what it holds there, or delete it", folder, path.Join(folder, planner.WithdrawnFolder))
			continue
		}
		gone := r.flat(deeper, path.Join(path.Dir(folder), planner.RetiredFolder))
		r.readLinks(authority, gone, true)
		for _, file := range gone {
			if back := path.Join(folder, path.Base(file)); slices.Contains(used, back) {
				r.refuse(back, "the link is recorded as withdrawn too (%s), and a withdrawn link does not come back: delete %s", file, back)
			}
		}
	}
}

func (r *recordReader) readLinks(authority string, files []string, withdrawn bool) {
	if r.crowded(len(files)) {
		return
	}
	for _, file := range files {
		link, err := r.link(file)
		if err != nil {
			r.refuse(file, "%s", err)
			continue
		}
		link.Authority, link.Withdrawn = authority, withdrawn
		r.links = append(r.links, link)
	}
}

// link reads the link of a file, "2026.2025.pem". Its errors do not name the file.
func (r *recordReader) link(file string) (planner.RecordedLink, error) {
	name := strings.TrimSuffix(path.Base(file), anchorSuffix)
	key, under, _ := strings.Cut(name, ".")
	if name == path.Base(file) || !isPair(key) || !isPair(under) || strings.Contains(under, ".") {
		return planner.RecordedLink{}, fmt.Errorf("is no link of a root to another, <new>.<old>%s: rename it, or delete it", anchorSuffix)
	}
	certificate, err := r.certificate(file)
	return planner.RecordedLink{Key: key, Under: under, Certificate: certificate}, err
}

// genuine refuses a link that is not what it says: whoever presents it would speak for
// another key.
func (r *recordReader) genuine() {
	for _, link := range r.links {
		to, from := r.keyOf(link.Authority, link.Key), r.keyOf(link.Authority, link.Under)
		file := path.Join(path.Dir(r.folder), link.Path())
		switch {
		case to.IsZero() || from.IsZero():
			r.refuse(file, "the record does not hold both keys of the link, %s and %s: restore them from the repository's history, or delete the link", link.Key, link.Under)
		case !link.Certificate.Links(to, from):
			r.refuse(file, "is not the key of %s signed by %s: restore the link from the repository's history, or delete the file", link.Key, link.Under)
		}
	}
}

// keyOf is the certificate of a key, in use or retired; zero if there is none.
func (r *recordReader) keyOf(authority, name string) pki.Certificate {
	for _, key := range r.keys {
		if key.Authority == authority && key.Name == name {
			return key.Certificate
		}
	}
	return pki.Certificate{}
}
