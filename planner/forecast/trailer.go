package forecast

import (
	"fmt"
	"regexp"
	"strings"
)

// Trailer is the name of the line in a commit's message by which it is held to a plan,
// "Reanchor-Plan: sha256:…" (git-interpret-trailers(1)). Its value is [Forecast.Digest].
const Trailer = "Reanchor-Plan"

// trailer is such a line. Names of trailers are compared without regard to case, and a forge
// that squashes or merges may put lines of its own after it.
var trailer = regexp.MustCompile(`(?im)^` + Trailer + `:[ \t]*(.*?)[ \t]*\r?$`)

// digest is the form of a plan's digest.
var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Planned is the digest of the plan that a commit's message holds it to; empty if it names
// none. A value that is no digest, and two that differ, are errors.
func Planned(message string) (string, error) {
	found := ""
	for _, line := range trailer.FindAllStringSubmatch(message, -1) {
		value := strings.ToLower(line[1])
		switch {
		case !digest.MatchString(value):
			return "", fmt.Errorf("the trailer %s of the commit is %.100q: write it as sha256: and 64 hex digits, as reanchor plan prints it", Trailer, line[1])
		case found != "" && found != value:
			return "", fmt.Errorf("the commit has two trailers %s that differ, %s and %s: keep the one of the plan that was approved", Trailer, found, value)
		}
		found = value
	}
	return found, nil
}
