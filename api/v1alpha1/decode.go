package v1alpha1

import (
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Object is what a document declares: *Authority, *IssuerBinding, *TrustBundle,
// *DeviceGroup, *Device or *Policy.
//
// +kubebuilder:object:generate=false
type Object interface {
	// meta is the document's metadata.
	meta() *Metadata
	// kind of the document.
	kind() string
}

func (a *Authority) meta() *Metadata     { return &a.Metadata }
func (b *IssuerBinding) meta() *Metadata { return &b.Metadata }
func (b *TrustBundle) meta() *Metadata   { return &b.Metadata }
func (g *DeviceGroup) meta() *Metadata   { return &g.Metadata }
func (d *Device) meta() *Metadata        { return &d.Metadata }
func (p *Policy) meta() *Metadata        { return &p.Metadata }

func (*Authority) kind() string     { return KindAuthority }
func (*IssuerBinding) kind() string { return KindIssuerBinding }
func (*TrustBundle) kind() string   { return KindTrustBundle }
func (*DeviceGroup) kind() string   { return KindDeviceGroup }
func (*Device) kind() string        { return KindDevice }
func (*Policy) kind() string        { return KindPolicy }

// KindOf is the kind of what a document declares.
func KindOf(object Object) string { return object.kind() }

// MetadataOf is the metadata of what a document declares.
func MetadataOf(object Object) Metadata { return *object.meta() }

// Document is one decoded document and where it stands.
//
// +kubebuilder:object:generate=false
type Document struct {
	// File as it was given to [Decode], and the Line, from 1, where the document
	// begins.
	File string
	Line int
	// Object that it declares, with its defaults filled in.
	Object Object

	lines map[string]int
}

// line of a field, or of the nearest field above it that was written.
func (d Document) line(field string) int {
	for field != "" {
		if line, found := d.lines[field]; found {
			return line
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return max(d.Line, 1)
}

// String names the document: "Authority cert-manager/fleet-root".
func (d Document) String() string {
	meta := d.Object.meta()
	if meta.Namespace == "" {
		return d.Object.kind() + " " + meta.Name
	}
	return d.Object.kind() + " " + meta.Namespace + "/" + meta.Name
}

// Decode reads the documents of a YAML or JSON file, however many it has, and
// fills in their defaults. The file's name is used in errors alone.
//
// What is not of reanchor's API group is passed over. What is, is decoded
// strictly: an unknown, duplicate or missing field, a value of the wrong type and an
// unknown kind or version are errors. All errors of the file come back together, as an
// [ErrorList], and no document with them; each has file and line. What is not enforced
// yet is decoded like anything else, and refused by [Validate].
//
// A file of more than [MaxFileSize] bytes, or nested or aliased beyond reason, is
// refused before anything is made of it.
func Decode(file string, data []byte) ([]Document, error) {
	roots, errors := parse(file, data)
	var documents []Document
	for _, root := range roots {
		d := decoder{file: file, lines: map[string]int{}}
		if object := d.document(root); object != nil {
			documents = append(documents, Document{File: file, Line: root.Line, Object: object, lines: d.lines})
		}
		errors = append(errors, d.errors...)
		if len(errors) >= maxErrors {
			break
		}
	}
	if err := errors.sorted().Err(); err != nil {
		return nil, err
	}
	return documents, nil
}

// document decodes one document; nil when it is not ours or not decodable at all.
func (d *decoder) document(root *yaml.Node) Object {
	version, kind := topLevel(root, "apiVersion"), topLevel(root, "kind")
	if !d.ours(root, scalar(version), scalar(kind)) {
		return nil
	}
	object := newObject(kind.Value)
	d.decode("", root, reflect.ValueOf(object).Elem())
	if defaulter, ok := object.(interface{ Default() }); ok {
		defaulter.Default()
	}
	return object
}

// ours tells the documents of this package from other people's, and refuses those
// that mean to be ours and are not.
func (d *decoder) ours(root *yaml.Node, version, kind string) bool {
	group, _, _ := strings.Cut(version, "/")
	known := slices.Contains(kinds, kind)
	switch {
	case version == "" && known:
		d.refuse(root, "apiVersion", "is missing: write %s", APIVersion)
	case group != GroupVersion.Group:
	case version != APIVersion:
		d.refuse(topLevel(root, "apiVersion"), "apiVersion", "%s is not known: write %s", quote(version), APIVersion)
	case kind == "":
		d.refuse(root, "kind", "is missing: write %s", oneOf(enforcedKinds()))
	case kind == kindTrustDomain:
		d.refuse(topLevel(root, "kind"), "kind", "TrustDomain is an object of the cluster, not a document: "+
			"apply it with kubectl, and keep it outside the folder that it names")
	case !known:
		d.refuse(topLevel(root, "kind"), "kind", "%s is not known: write %s%s", quote(kind), oneOf(enforcedKinds()), didYouMean(kind, kinds))
	default:
		return true
	}
	return false
}

// kindTrustDomain is the one kind of ours that is no document.
const kindTrustDomain = "TrustDomain"

var kinds = []string{KindAuthority, KindIssuerBinding, KindTrustBundle, KindDeviceGroup, KindDevice, KindPolicy}

// newObject is an empty object of one of the kinds.
func newObject(kind string) Object {
	switch kind {
	case KindAuthority:
		return &Authority{}
	case KindIssuerBinding:
		return &IssuerBinding{}
	case KindTrustBundle:
		return &TrustBundle{}
	case KindDeviceGroup:
		return &DeviceGroup{}
	case KindDevice:
		return &Device{}
	default:
		return &Policy{}
	}
}

// topLevel is the value of a field of the document; nil when there is none, or
// when the document is no mapping.
func topLevel(root *yaml.Node, name string) *yaml.Node {
	if root == nil || root.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == name {
			return follow(root.Content[i+1])
		}
	}
	return nil
}

func scalar(node *yaml.Node) string {
	if node == nil || node.Kind != yaml.ScalarNode || isNull(node) {
		return ""
	}
	return node.Value
}
