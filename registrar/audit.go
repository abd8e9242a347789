package registrar

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// Entry is what the audit log tells of a request: who, what, and what became of it. It holds
// no password, no private key and nothing of the body.
type Entry struct {
	// At is when the request came, and Remote the address that it came from.
	At     time.Time `json:"at"`
	Remote string    `json:"remote"`
	// Forwarded: a proxy spoke for the device.
	Forwarded bool `json:"forwarded,omitempty"`
	// Operation is what was asked for: "rest/register", "est/simpleenroll".
	Operation string `json:"operation"`
	// Group and Device are who asked, as far as that is known.
	Group  string `json:"group,omitempty"`
	Device string `json:"device,omitempty"`
	// Credential is the kind of certificate that was shown, and Certificate the SHA-256 of
	// it, in hex.
	Credential  string `json:"credential,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	// Key is the SHA-256 of the SubjectPublicKeyInfo that was asked about, in hex.
	Key string `json:"key,omitempty"`
	// Result is what became of it: a verdict of admission ("register"), "ok", "pending",
	// "proposed", "failed", or the problem ("unknown-ca").
	Result string `json:"result"`
	// Status is the HTTP status code.
	Status int `json:"status"`
	// Issued is the SHA-256 of the certificate that was handed out, in hex.
	Issued string `json:"issued,omitempty"`
	// Commit holds the registration, and Revision is what of Git it was decided by.
	Commit   string `json:"commit,omitempty"`
	Revision string `json:"revision,omitempty"`
	// Error is what went wrong behind the endpoint, if anything.
	Error string `json:"error,omitempty"`
	// Alarm: a key is in the wrong hands.
	Alarm bool `json:"alarm,omitempty"`
}

// AuditLog writes a line of JSON for each request; a write that fails is told to failed.
func AuditLog(w io.Writer, failed func(error)) func(Entry) {
	var mu sync.Mutex
	return func(entry Entry) {
		line, err := json.Marshal(entry)
		if err != nil {
			failed(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if _, err := w.Write(append(line, '\n')); err != nil {
			failed(err)
		}
	}
}
