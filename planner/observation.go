package planner

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
)

// KindObservation is the kind of an [Observation].
const KindObservation = "Observation"

// Observation is what a cluster was seen to hold, in a file: `reanchor observe` writes it
// where the cluster can be reached, and a forecast begins with it where it cannot. It
// holds public certificates, names and times, and no secret.
//
//	{
//	  "apiVersion": "reanchor.dev/v1alpha1",
//	  "kind": "Observation",
//	  "at": "2026-11-22T15:00:00Z",
//	  "domain": {"namespace": "plant", "name": "fleet"},
//	  "documents": "sha256:…",
//	  "observed": {"keys": […], "issuers": […], …}
//	}
type Observation struct {
	// APIVersion is [v1alpha1.APIVersion], and Kind KindObservation.
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// At is when the cluster was looked at.
	At time.Time `json:"at"`
	// Domain is the TrustDomain's namespace and name.
	Domain Ref `json:"domain"`
	// Documents is the [Desired.Digest] of the documents that said what to look for. Of
	// what others name, a bundle that is new say, nothing was looked at.
	Documents string `json:"documents"`
	// Foreign are objects that the documents name and that belong to another TrustDomain,
	// in words. While there is one, nothing is written.
	Foreign []string `json:"foreign,omitempty"`
	// Conflicts are objects whose end state, as the documents have it, is contested: somebody
	// else owns fields that are to be different, in words.
	Conflicts []string `json:"conflicts,omitempty"`
	// Observed is what was seen.
	Observed Observed `json:"observed"`
}

// NewObservation is an observation made at that time for a domain whose documents are
// desired.
func NewObservation(at time.Time, domain Ref, desired Desired, observed Observed) (Observation, error) {
	digest, err := desired.Digest()
	if err != nil {
		return Observation{}, err
	}
	return Observation{
		APIVersion: v1alpha1.APIVersion, Kind: KindObservation,
		At: at.UTC(), Domain: domain, Documents: digest, Observed: observed.sorted(),
	}, nil
}

// Digest is "sha256:…" over the documents: equal documents have equal digests, however
// they are written and in whatever files.
func (d Desired) Digest() (string, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("digest the documents: %w", err)
	}
	sum := sha256.Sum256(text)
	return digestPrefix + hex.EncodeToString(sum[:]), nil
}

const digestPrefix = "sha256:"

var digestForm = regexp.MustCompile(`^` + digestPrefix + `[0-9a-f]{64}$`)

// Encode writes the observation as JSON that ends in a line feed. Equal observations give
// equal bytes.
func (o Observation) Encode() ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(o); err != nil {
		return nil, fmt.Errorf("encode the observation: %w", err)
	}
	return text.Bytes(), nil
}

// DecodeObservation reads what [Observation.Encode] wrote. A field that it does not know is
// an error, for what is passed over in silence would count as not seen; so is whatever
// follows. An error says on which line, and what to do.
func DecodeObservation(text []byte) (Observation, error) {
	var o Observation
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		return Observation{}, fmt.Errorf("line %d: %w: make the observation anew with reanchor observe", lineOf(text, decoder, err), inWords(err))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Observation{}, fmt.Errorf("line %d: something follows the observation: keep one in a file", lineAt(text, decoder.InputOffset()))
	}
	if err := cmp.Or(o.badHeader(), o.Observed.badCertificates()); err != nil {
		return Observation{}, fmt.Errorf("%w: make the observation anew with reanchor observe", err)
	}
	return o, nil
}

// lineOf the place of an error, from 1.
func lineOf(text []byte, decoder *json.Decoder, err error) int {
	if syntax, is := errors.AsType[*json.SyntaxError](err); is {
		return lineAt(text, syntax.Offset)
	}
	if mistyped, is := errors.AsType[*json.UnmarshalTypeError](err); is {
		return lineAt(text, mistyped.Offset)
	}
	if _, name, is := strings.Cut(err.Error(), "unknown field "); is {
		if at := bytes.Index(text, []byte(name)); at >= 0 {
			return lineAt(text, int64(at))
		}
	}
	return lineAt(text, decoder.InputOffset())
}

func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(max(offset, 0), int64(len(text)))], []byte("\n"))
}

// inWords is an error of encoding/json without that package's name.
func inWords(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// badHeader says what is wrong beside what was seen; nil if nothing is.
func (o Observation) badHeader() error {
	switch {
	case o.APIVersion != v1alpha1.APIVersion || o.Kind != KindObservation:
		return fmt.Errorf("apiVersion %q, kind %q: want %s, %s", o.APIVersion, o.Kind, v1alpha1.APIVersion, KindObservation)
	case o.At.IsZero():
		return errors.New("at: it does not say when the cluster was looked at")
	case o.Domain.Name == "" || o.Domain.Namespace == "":
		return errors.New("domain: it does not say whose it is, by namespace and name")
	case !digestForm.MatchString(o.Documents):
		return fmt.Errorf("documents: %q is no digest, which is sha256: and 64 hex digits", o.Documents)
	}
	return nil
}

// badCertificates refuses lists with a certificate that is not there, each of which is one
// that was seen, and sets that nothing could be found in.
func (o Observed) badCertificates() error {
	for _, key := range o.Record.Keys {
		if key.Certificate.IsZero() {
			return fmt.Errorf("observed.record: %s has no certificate", key.Path())
		}
	}
	for _, link := range o.Record.Links {
		if link.Certificate.IsZero() {
			return fmt.Errorf("observed.record: %s has no certificate", link.Path())
		}
	}
	for _, leaf := range o.Leaves {
		if hasNone(leaf.Chain) {
			return fmt.Errorf("observed.leaves: the chain of %s has an empty certificate", leaf.Ref)
		}
	}
	for _, bundle := range o.Bundles {
		if isNoSet(bundle.Anchors) || isNoSet(bundle.Certificates) {
			return fmt.Errorf("observed.bundles: the certificates of %s are not sorted by fingerprint, or one is empty", bundle.Name)
		}
	}
	for _, copied := range o.Copies {
		if isNoSet(copied.Anchors) {
			return fmt.Errorf("observed.copies: the certificates of %s in namespace %s are not sorted by fingerprint, or one is empty", copied.Bundle, copied.Namespace)
		}
	}
	return nil
}

func hasNone(certificates []pki.Certificate) bool {
	return slices.ContainsFunc(certificates, pki.Certificate.IsZero)
}

// isNoSet reports whether anchors are not as [pki.NewAnchors] makes them.
func isNoSet(anchors pki.Anchors) bool {
	return hasNone(anchors) || !pki.NewAnchors(anchors...).Equal(anchors)
}
