package importer

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// The files of a repository.
const (
	fileKustomization = "kustomization.yaml"
	fileAuthorities   = "authorities.yaml"
	fileIssuers       = "issuers.yaml"
	fileBundles       = "bundles.yaml"
	// FileReport is for people: what was taken over, and what was not.
	FileReport = "IMPORTED.md"
)

// files writes the documents, and the report beside them.
func (r Repository) files(left []Left) []File {
	files := []File{{FileReport, r.report(left)}}
	var resources []string
	for _, part := range []struct {
		path, about string
		documents   []string
	}{
		{fileAuthorities, "Each key is where it was: to roll over, add a key that is Signing, and make this one Retired.", texts(r.Authorities, authorityText)},
		{fileIssuers, "Issuers keep their names through every rollover.", texts(r.Bindings, bindingText)},
		{fileBundles, "What clients verify with.", texts(r.Bundles, bundleText)},
	} {
		if len(part.documents) == 0 {
			continue
		}
		resources = append(resources, part.path)
		files = append(files, File{part.path, []byte("# " + part.about + "\n" + strings.Join(part.documents, "---\n"))})
	}
	if len(resources) > 0 { // kustomize takes none that is empty
		files = append(files, File{fileKustomization, []byte("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- " + strings.Join(resources, "\n- ") + "\n")})
	}
	return sortedFiles(files)
}

func sortedFiles(files []File) []File {
	order := map[string]int{fileKustomization: 0, fileAuthorities: 1, fileIssuers: 2, fileBundles: 3, FileReport: 4}
	sorted := make([]File, 0, len(files))
	for n := range len(order) {
		for _, file := range files {
			if order[file.Path] == n {
				sorted = append(sorted, file)
			}
		}
	}
	return sorted
}

func texts[T any](documents []T, text func(T) string) []string {
	all := make([]string, 0, len(documents))
	for _, document := range documents {
		all = append(all, text(document))
	}
	return all
}

// head is the first lines of a document, up to its spec.
func head(kind string, meta v1alpha1.Metadata) string {
	text := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n", v1alpha1.APIVersion, kind, scalar(meta.Name))
	if meta.Namespace != "" {
		text += "  namespace: " + scalar(meta.Namespace) + "\n"
	}
	if len(meta.Annotations) > 0 {
		text += "  annotations:\n" + indented(4, meta.Annotations)
	}
	return text + "spec:\n"
}

// authorityText is an Authority in the order in which people read it.
func authorityText(a v1alpha1.Authority) string {
	text := head(v1alpha1.KindAuthority, a.Metadata)
	if a.Spec.IssuedBy != nil {
		text += "  issuedBy: {name: " + scalar(a.Spec.IssuedBy.Name) + "}\n"
	}
	if a.Spec.Subject.CommonName != "" {
		text += "  subject:\n" + indented(4, a.Spec.Subject)
	}
	if a.Spec.PrivateKey != (v1alpha1.PrivateKey{}) {
		text += "  privateKey:\n" + indented(4, a.Spec.PrivateKey)
	}
	if a.Spec.Duration != nil {
		text += fmt.Sprintf("  duration: %dh\n", int(a.Spec.Duration.Hours()))
	}
	text += "  keys:\n"
	for _, key := range a.Spec.Keys {
		text += keyText(key)
	}
	return text
}

func keyText(key v1alpha1.AuthorityKey) string {
	text := fmt.Sprintf("  - name: %s\n    state: %s\n", scalar(key.Name), key.State)
	if key.Secret != nil {
		text += "    secret: {name: " + scalar(key.Secret.Name) + "}\n"
	}
	if key.Issuer != nil {
		text += "    issuer:\n" + indented(6, key.Issuer)
	}
	return text + "    certificate: |\n" + shifted(6, key.Certificate)
}

func bindingText(b v1alpha1.IssuerBinding) string {
	return head(v1alpha1.KindIssuerBinding, b.Metadata) +
		fmt.Sprintf("  scope: %s\n  authority: %s\n", b.Spec.Scope, scalar(b.Spec.Authority))
}

func bundleText(b v1alpha1.TrustBundle) string {
	text := head(v1alpha1.KindTrustBundle, b.Metadata)
	if len(b.Spec.Authorities) > 0 {
		text += "  authorities: [" + strings.Join(texts(b.Spec.Authorities, scalar), ", ") + "]\n"
	}
	if len(b.Spec.Certificates) > 0 {
		text += "  certificates:\n"
		for _, certificate := range b.Spec.Certificates {
			text += "  - |\n" + shifted(4, certificate)
		}
	}
	if b.Spec.UseDefaultCAs {
		text += "  useDefaultCAs: true\n"
	}
	if b.Spec.Via != "" {
		text += "  via: " + string(b.Spec.Via) + "\n"
	}
	return text + "  target:\n" + indented(4, b.Spec.Target)
}

// scalar is a text in one line of YAML, with quotes where it needs some.
func scalar(text string) string {
	return strings.TrimSuffix(yamlOf(text), "\n")
}

// indented is a value in YAML, so many blanks deep.
func indented(depth int, value any) string { return shifted(depth, yamlOf(value)) }

func yamlOf(value any) string {
	data, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Sprintf("# %v\n", err) // no value of ours fails: the document would not decode
	}
	return string(data)
}

// shifted moves every line of a text so many blanks to the right.
func shifted(depth int, text string) string {
	var out bytes.Buffer
	for line := range strings.Lines(text) {
		out.WriteString(strings.Repeat(" ", depth))
		out.WriteString(line)
	}
	return out.String()
}
