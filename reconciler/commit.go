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
// keys and links say: the certificate of each, and nil for the place that a retired key or a
// withdrawn link leaves.
func recordFiles(folder string, keys []planner.RecordedKey, links ...planner.RecordedLink) map[string][]byte {
	files := map[string][]byte{}
	for _, key := range slices.SortedFunc(slices.Values(keys), planner.RecordedKey.Compare) {
		if key.Retired {
			files[path.Join(folder, inUse(key).Path())] = nil
		}
		files[path.Join(folder, key.Path())] = recordFile(key.Certificate)
	}
	for _, link := range slices.SortedFunc(slices.Values(links), planner.RecordedLink.Compare) {
		if link.Withdrawn {
			before := link
			before.Withdrawn = false
			files[path.Join(folder, before.Path())] = nil
		}
		files[path.Join(folder, link.Path())] = recordFile(link.Certificate)
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
func recordMessage(folder string, keys []planner.RecordedKey, links ...planner.RecordedLink) string {
	said := map[string][]string{}
	var body strings.Builder
	tell := func(verb, subject, file string, certificate pki.Certificate) {
		said[verb] = append(said[verb], subject)
		fmt.Fprintf(&body, "%s\n    %s\n    SHA-256 %s\n", path.Join(folder, file), oneLine(certificate.Subject()), certificate.Fingerprint())
	}
	for _, key := range slices.SortedFunc(slices.Values(keys), planner.RecordedKey.Compare) {
		verb := "record"
		if key.Retired {
			verb = "retire"
		}
		tell(verb, key.Authority+" "+key.Name, key.Path(), key.Certificate)
	}
	for _, link := range slices.SortedFunc(slices.Values(links), planner.RecordedLink.Compare) {
		verb := "link"
		if link.Withdrawn {
			verb = "withdraw"
		}
		tell(verb, fmt.Sprintf("%s %s under %s", link.Authority, link.Key, link.Under), link.Path(), link.Certificate)
	}
	return recordTitle(said) + "\n\n" + body.String()
}

// recordTitle is the first line of the message, of what is done to whom.
func recordTitle(said map[string][]string) string {
	var title []string
	for _, verb := range []string{"record", "retire", "link", "withdraw"} {
		if len(said[verb]) > 0 {
			title = append(title, verb+" "+counted(said[verb]))
		}
	}
	first := strings.Join(title, ", ")
	return strings.ToUpper(first[:1]) + first[1:]
}

// counted names a key, or a link, or counts several and names the first of them.
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
