package reconciler

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// recordFiles are the files by which the record below a domain's folder says what
// keys say: each key's certificate, and nil for the place that a retired one leaves.
func recordFiles(folder string, keys []planner.RecordedKey) map[string][]byte {
	files := map[string][]byte{}
	for _, key := range slices.SortedFunc(slices.Values(keys), planner.RecordedKey.Compare) {
		if key.Retired {
			files[path.Join(folder, inUse(key).Path())] = nil
		}
		files[path.Join(folder, key.Path())] = recordFile(key.Certificate)
	}
	return files
}

// inUse is a key as it was before it was retired.
func inUse(key planner.RecordedKey) planner.RecordedKey {
	key.Retired = false
	return key
}

// recordFile is a certificate as PEM (RFC 7468), with explanatory text before it.
func recordFile(certificate pki.Certificate) []byte {
	return fmt.Appendf(nil, "Subject: %s\nSHA-256: %s\nValid: from %s until %s\n%s",
		oneLine(certificate.Subject()), certificate.Fingerprint(),
		certificate.NotBefore().UTC().Format(time.RFC3339), certificate.NotAfter().UTC().Format(time.RFC3339), certificate.PEM())
}

// maxSubject bounds a subject in the record, in bytes.
const maxSubject = 256

// oneLine makes a subject fit to stand above a PEM block: whoever had the certificate
// made chose its words.
func oneLine(subject string) string {
	printable := strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, subject)
	return cut(strings.ReplaceAll(printable, "-----", "- - -"), maxSubject)
}

// recordMessage is the message of the commit that writes recordFiles:
//
//	Record fleet-root 2026, retire fleet-root 2025
//
//	site/anchors/fleet-root/2026.pem
//	    CN=Fleet Root 2026,O=Example
//	    SHA-256 4f6a…
//	site/anchors/fleet-root/retired/2025.pem
//	    …
func recordMessage(folder string, keys []planner.RecordedKey) string {
	var recorded, retired []string
	var body strings.Builder
	for _, key := range slices.SortedFunc(slices.Values(keys), planner.RecordedKey.Compare) {
		if key.Retired {
			retired = append(retired, key.Authority+" "+key.Name)
		} else {
			recorded = append(recorded, key.Authority+" "+key.Name)
		}
		fmt.Fprintf(&body, "%s\n    %s\n    SHA-256 %s\n", path.Join(folder, key.Path()), oneLine(key.Certificate.Subject()), key.Certificate.Fingerprint())
	}
	var title []string
	if len(recorded) > 0 {
		title = append(title, "record "+counted(recorded))
	}
	if len(retired) > 0 {
		title = append(title, "retire "+counted(retired))
	}
	first := strings.Join(title, ", ")
	return strings.ToUpper(first[:1]) + first[1:] + "\n\n" + body.String()
}

// counted names a key, or counts several and names the first of them.
func counted(keys []string) string {
	const named = 3
	if len(keys) == 1 {
		return keys[0]
	}
	names := strings.Join(keys[:min(len(keys), named)], ", ")
	if more := len(keys) - named; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%d keys: %s", len(keys), names)
}
