package applier

import (
	"crypto/sha256"

	"github.com/reanchor/reanchor/pki"
)

// parsing reads each content once: the copies of a bundle are alike, and with the public
// CAs there are some 140 certificates in each.
type parsing map[parsedContent]parsed

type parsedContent struct {
	store
	content string
}

type parsed struct {
	anchors pki.Anchors
	digest  pki.Fingerprint
	err     error
}

// parse reads PEM. The digest is that of the content.
func (p parsing) parse(content string) parsed {
	key := parsedContent{content: content}
	read, known := p[key]
	if !known {
		certificates, err := pki.ParsePEM([]byte(content))
		read = parsed{pki.NewAnchors(certificates...), sha256.Sum256([]byte(content)), err}
		p[key] = read
	}
	return read
}

// parseStore reads a keystore. The digest is that of its certificates: two stores with the
// same ones may differ in every byte.
func (p parsing) parseStore(s store, content string, decode func([]byte, string) (pki.Anchors, error)) parsed {
	key := parsedContent{store: s, content: content}
	read, known := p[key]
	if !known {
		anchors, err := decode([]byte(content), s.password)
		read = parsed{anchors, anchors.SHA256(), err}
		p[key] = read
	}
	return read
}
