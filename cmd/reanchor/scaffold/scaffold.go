// Package scaffold writes the files of a domain's first folder: what `reanchor init` puts
// into a repository. It is a function from a few names to texts, and touches no disk.
//
//	kustomization.yaml           what the domain is made of
//	pki.yaml                     a root with one key, an issuer, a bundle
//	overlay/kustomization.yaml   an empty overlay, with an example in comments
//	trustdomain.yaml             the object for the cluster; no kustomization names it
//	README.md                    what to do next
//
// What it writes is valid: the script that specifies `reanchor init` asks `reanchor validate`.
package scaffold

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Options name what is declared.
type Options struct {
	// Name and Namespace of the TrustDomain.
	Name, Namespace string
	// Authority is the root's name, CommonName its certificates' without the key's name,
	// and Key its first key.
	Authority, CommonName, Key string
	// Issuer is the ClusterIssuer that leaves refer to, and Bundle the bundle that
	// verifiers mount.
	Issuer, Bundle string
	// ClusterResourceNamespace of cert-manager, in which the root's Secrets lie.
	ClusterResourceNamespace string
	// URL and Branch of the repository, and the domain's folder in it, Path: empty for its
	// root.
	URL, Branch, Path string
}

// File of a folder.
type File struct {
	// Path below the domain's folder, with slashes.
	Path string
	Text []byte
}

//go:embed templates
var templates embed.FS

// paths of the files, in the order in which to read them.
var paths = []string{"kustomization.yaml", "pki.yaml", "overlay/kustomization.yaml", "trustdomain.yaml", README}

// README is the one file that a repository may have of its own.
const README = "README.md"

// Files of a domain's folder, of options that are valid.
func Files(options Options) ([]File, error) {
	parsed, err := template.New("").Funcs(template.FuncMap{"quoted": quoted}).ParseFS(templates, "templates/*")
	if err != nil {
		return nil, fmt.Errorf("parse the templates: %w", err)
	}
	var files []File
	for _, path := range paths {
		var text strings.Builder
		if err := parsed.ExecuteTemplate(&text, strings.ReplaceAll(path, "/", "-")+".tmpl", options); err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		files = append(files, File{Path: path, Text: []byte(text.String())})
	}
	return files, nil
}

// Validate refuses names that no object could bear, and says what each may be.
func (o Options) Validate() error {
	for _, named := range []struct{ flag, value string }{
		{"name", o.Name},
		{"namespace", o.Namespace},
		{"authority", o.Authority},
		{"issuer", o.Issuer},
		{"bundle", o.Bundle},
		{"cluster-resource-namespace", o.ClusterResourceNamespace},
	} {
		if len(validation.IsDNS1123Label(named.value)) > 0 {
			return fmt.Errorf("--%s %q: give at most %d lower-case letters, digits and '-'", named.flag, named.value, validation.DNS1123LabelMaxLength)
		}
	}
	switch {
	case strings.TrimSpace(o.CommonName) == "":
		return fmt.Errorf("--common-name %q: give the name that the root's certificates bear", o.CommonName)
	case strings.HasPrefix(o.URL, "http://") || !strings.Contains(o.URL, "://"):
		return fmt.Errorf("--url %q: give one that begins with https:// or ssh://", o.URL)
	case o.Branch == "" || strings.HasPrefix(o.Branch, "refs/"):
		return fmt.Errorf("--branch %q: give a branch's name, main say", o.Branch)
	}
	return nil
}

// OverSSH reports whether the repository is reached with a key, and not a password.
func (o Options) OverSSH() bool { return strings.HasPrefix(o.URL, "ssh://") }

// quoted is a value as YAML and JSON both have it.
func quoted(value string) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}
