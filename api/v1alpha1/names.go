package v1alpha1

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// KeyUnder names the key pair that an intermediate has for one of its keys under a
// key of its parent: "a.2025" is the key a, signed by the parent's 2025, and "x.a.2025"
// one below that. Keys in Git have no dots. A root's key is named as it is in Git.
func KeyUnder(key, parent string) string { return key + "." + parent }

// SplitKey tells a key pair's name in Git from the name of its parent's key pair,
// which is empty for a root's.
func SplitKey(name string) (key, parent string) {
	key, parent, _ = strings.Cut(name, ".")
	return key, parent
}

// DevicesFolder lies in a domain's folder and holds its devices, each in a file of its own.
const DevicesFolder = "devices"

// MaxDeviceID is how many bytes a device's id has at most.
const MaxDeviceID = 253

// DeviceIDProblem says what keeps a text from being the id of a device; empty: nothing.
// An id is what a factory wrote into a certificate: "sensor-0042", "SN 4711",
// "urn:dev:mac:0024befffe804ff1". It is any printable text that leads nowhere when it is
// taken for a path, and that is a plain word in YAML. The endpoint registers no other, and Git
// lists none.
func DeviceIDProblem(id string) string {
	switch {
	case id == "":
		return "is empty"
	case len(id) > MaxDeviceID:
		return fmt.Sprintf("has %d bytes, and an id has at most %d", len(id), MaxDeviceID)
	case !utf8.ValidString(id):
		return "is not UTF-8"
	case strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has a character that does not print: a line break, a tab, or one that changes the direction of the text"
	case strings.TrimSpace(id) != id:
		return "begins or ends with a space"
	case slices.ContainsFunc(strings.FieldsFunc(id, isSeparator), func(part string) bool { return part == "." || part == ".." }):
		return "leads elsewhere when it is taken for a path"
	case isWrittenAsYAML(id):
		return "has characters that YAML gives a meaning: a bracket, a quotation mark, a sign that begins a value or a comment"
	}
	return ""
}

// isWrittenAsYAML reports a text that might be taken for more than a plain word, wherever
// somebody writes it down without quotes.
func isWrittenAsYAML(id string) bool {
	return strings.ContainsAny(id, "{}[]|>\"`\\") || strings.ContainsAny(id[:1], "-?:,#&*!%@'") ||
		strings.Contains(id, ": ") || strings.Contains(id, " #") || strings.HasSuffix(id, ":")
}

func isSeparator(r rune) bool { return r == '/' || r == '\\' }

// DevicePath is the file of a device in its domain's folder,
// "devices/sensors/3f/sensor-0042.yaml": the group, the first two hex digits of the
// SHA-256 of the id, so that no folder grows with the fleet, and the id as [EncodeDeviceID]
// has it.
func DevicePath(group, id string) string {
	return path.Join(DevicesFolder, group, DeviceShard(id), EncodeDeviceID(id)+DeviceSuffix)
}

// DeviceSuffix ends the name of a device's file.
const DeviceSuffix = ".yaml"

// DeviceShard is the subfolder of its group's that a device lies in: the first two
// lower-case hex digits of the SHA-256 of its id.
func DeviceShard(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:1])
}

// EncodeDeviceID makes a name of an id that is safe for files and objects (RFC 1123, section
// 2.1), of at most 63 characters. An id that is one already stays as it is. Any other becomes
// what is left of it that may stand in a name, a dot, and 32 hex digits of its SHA-256:
// "sn-4711.9f86d081884c7d659a2feaa0c55ad015". No two ids have the same name.
func EncodeDeviceID(id string) string {
	if isName(id) && !encodedID.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	words := unsafeInName.ReplaceAllString(strings.ToLower(id), "-")
	words = strings.Trim(words[:min(len(words), maxIDWords)], "-")
	return cmp.Or(words, "id") + "." + hex.EncodeToString(sum[:16])
}

// maxIDWords is how much of an unsafe id stays readable in its name.
const maxIDWords = 24

var (
	unsafeInName = regexp.MustCompile(`[^a-z0-9]+`)
	// encodedID is what a name looks like that was made of an id: an id that looks so is
	// encoded itself.
	encodedID = regexp.MustCompile(`\.[0-9a-f]{32}$`)
)

// DeviceObjectName is the name of a device's Certificate and Secret, where cert-manager makes
// its key, and what the names of its CertificateRequests begin with:
// "sensors-sensor-0042-3d5f1a9c27". The digits tell apart what group and id alone would not.
func DeviceObjectName(group, id string) string {
	sum := sha256.Sum256([]byte(group + "/" + id))
	return group + "-" + EncodeDeviceID(id) + "-" + hex.EncodeToString(sum[:5])
}
