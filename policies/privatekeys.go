package policies

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// mendLeak is what to do about a key that was committed: it must be taken for known.
const mendLeak = "take it out of the repository and its history, and replace the key wherever it is used: it has left the cluster"

// mendStore is what to do about a keystore, which may hold certificates alone.
const mendStore = "if it holds certificates alone, commit them as PEM; else " + mendLeak

func mendMaterial(what string) string {
	if bytes.HasSuffix([]byte(what), []byte("keystore")) {
		return mendStore
	}
	return mendLeak
}

// CheckFile looks for private keys in one file of a repository, whatever its name:
// PEM of any kind, PKCS #8, PKCS #1 and SEC 1 in DER, PKCS #12, JKS and JCEKS, also
// in base64. The path is for the messages; a violation's subject is "path:line".
// What was found is named, never shown.
//
// Equal bytes give equal violations, so that a caller may skip what it has seen.
func CheckFile(path string, data []byte) []Violation {
	text := narrow(data)
	var violations []Violation
	line, from := 1, 0
	for _, found := range inOrder(findMaterial(text)) {
		line += bytes.Count(text[from:found.offset], []byte("\n"))
		from = found.offset
		violations = append(violations, Violation{
			Rule: RulePrivateKey, Severity: Deny, Subject: fmt.Sprintf("%s:%d", path, line),
			Message: fmt.Sprintf("holds a private key (%s)", found.what), Mend: mendMaterial(found.what),
		})
	}
	return slices.Compact(violations)
}

func inOrder(found []material) []material {
	slices.SortStableFunc(found, func(a, b material) int { return a.offset - b.offset })
	return found
}

// narrow makes text of UTF-16, as PowerShell writes it, readable as ASCII.
func narrow(data []byte) []byte {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return bytes.ReplaceAll(data, []byte{0}, nil)
	}
	return data
}

// privateKeys looks into every string of every manifest: a key in a ConfigMap is
// out as much as one in a Secret.
func privateKeys(manifests []*unstructured.Unstructured) []Violation {
	var violations []Violation
	seen := map[string]string{} // what equal strings hold: a bundle may have many copies
	for _, manifest := range manifests {
		object := idOf(manifest)
		eachString("", manifest.Object, func(path, value string) {
			what, known := seen[value]
			if !known {
				what = firstMaterial(value)
				seen[value] = what
			}
			if what == "" && isKeyField(object, path) && value != "" {
				what = "in whatever form"
			}
			if what != "" {
				violations = append(violations, Violation{
					Rule: RulePrivateKey, Severity: Deny, Subject: object.String(),
					Message: fmt.Sprintf("holds a private key under %s (%s)", path, what), Mend: mendMaterial(what),
				})
			}
		})
	}
	return violations
}

// firstMaterial names the first key material in a string; empty if there is none.
func firstMaterial(value string) string {
	if found := findMaterial([]byte(value)); len(found) > 0 {
		return found[0].what
	}
	return ""
}

// isKeyField reports the field of a Secret whose content is a private key by its
// name (https://kubernetes.io/docs/concepts/configuration/secret/#tls-secrets).
func isKeyField(object id, path string) bool {
	return object.group == "" && object.kind == "Secret" && (path == "data.tls.key" || path == "stringData.tls.key")
}

// eachString visits the strings of a manifest with their paths, in order.
func eachString(path string, value any, visit func(path, value string)) {
	switch value := value.(type) {
	case string:
		visit(path, value)
	case []any:
		for i, item := range value {
			eachString(fmt.Sprintf("%s[%d]", path, i), item, visit)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			at := name
			if path != "" {
				at = path + "." + name
			}
			eachString(at, value[name], visit)
		}
	}
}
