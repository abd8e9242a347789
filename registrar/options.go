package registrar

import (
	"context"
	"crypto"
	"errors"
	"log"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// Options of an endpoint. All are required but those that say what they are when absent.
type Options struct {
	// Fleet is what Git and the cluster hold, as far as it is known now. It is asked for
	// several times at each request, and costs no I/O. After [Committer.Commit] has returned
	// a commit, what that wrote is in it. An error means that nothing is known yet.
	Fleet func() (admission.Fleet, error)
	// Commits writes registrations to Git.
	Commits Committer
	// Certificates are what the cluster issued.
	Certificates Certificates
	// Keys reads the private keys that cert-manager made; nil: no group has such.
	Keys Keys
	// Evidence takes what requests show of the devices' trust; nil: nobody wants it.
	Evidence Recorder
	// Serving is what the endpoint shows of itself, asked for at each handshake. What it
	// points to does not change: another certificate is another pointer.
	Serving func() (*Serving, error)
	// Rules that CSRs are held against; nil: none.
	Rules admission.Rules
	// Clock tells the time.
	Clock func() time.Time
	// Alarm tells a person of a key in the wrong hands; nil: the audit log alone does.
	Alarm func(ctx context.Context, entry Entry)
	// Audit takes a line about each request; nil: nobody does. See [AuditLog].
	Audit func(entry Entry)
	// Metrics count; nil: nothing does.
	Metrics *Metrics
	// ErrorLog of the HTTP server, for handshakes that fail and the like; nil: none.
	ErrorLog *log.Logger
	// Proxies are the keys of the proxies that may speak for devices: the SHA-256 of the
	// SubjectPublicKeyInfo of the client certificates that they show. X-Forwarded-Client-Cert
	// of anybody else is not looked at. None by default.
	Proxies []pki.Fingerprint
	// LegacyKeystores makes PKCS#12 files that Java before 8u301 and 11.0.12 can read, with
	// Triple DES and SHA-1.
	LegacyKeystores bool
	// Limits of what the endpoint takes of time and memory; zero fields have the defaults of
	// [DefaultLimits].
	Limits Limits
}

// Registration is what is to be committed: a device's document, in place of what stood there
// when it was decided.
type Registration struct {
	admission.Decision
	// Was is the device as it stood when that was decided; nil: it was not there.
	Was *admission.Device
}

// Errors of [Committer.Commit] that are answered in their own way. Any other is answered as
// ErrUnreachable is, and stands in the audit log.
var (
	// ErrUnreachable: the repository cannot be reached, or takes no push.
	ErrUnreachable = errors.New("the repository cannot be written to")
	// ErrQueueFull: more registrations wait than are taken.
	ErrQueueFull = errors.New("too many registrations wait to be pushed")
	// ErrProposed: a pull request holds the registration, made now or before; it counts once
	// it is merged.
	ErrProposed = errors.New("the registration waits in a pull request")
	// ErrChanged: the device in Git is not what Was says any more, or its key has become
	// another's meanwhile. Nothing was written, and [Options.Fleet] shows what stands now.
	ErrChanged = errors.New("the device has changed in Git meanwhile")
)

// Committer writes registrations to Git.
type Committer interface {
	// Commit returns the commit that holds a registration once that is pushed, and not
	// before. With the approval PullRequest it opens a pull request instead, or finds the one
	// that is open already, and returns ErrProposed. If ctx ends first the registration may
	// or may not come to be: it is idempotent.
	Commit(ctx context.Context, registration Registration) (commit string, err error)
}

// Holder is whose certificate is meant: that of a device for one of its keys. The key is zero
// where cert-manager makes it: then any of the device's is meant.
type Holder struct {
	Group, ID string
	Key       pki.Fingerprint
}

// Issued is a certificate that the cluster issued.
type Issued struct {
	// Certificate of the device.
	Certificate pki.Certificate
	// Chain are the intermediates that follow it, up to the root and without it.
	Chain []pki.Certificate
}

// ErrIssuanceFailed says that the issuer has refused, and why the cluster's own status says.
var ErrIssuanceFailed = errors.New("the certificate was refused by its issuer")

// Certificates are what the cluster issued.
type Certificates interface {
	// Newest is the certificate that was issued last for a holder; false: there is none. It
	// costs no I/O.
	Newest(holder Holder) (Issued, bool)
	// Await returns the newest as soon as it is enough. When ctx ends first it returns the
	// error of ctx, and ErrIssuanceFailed when the issuer has refused.
	Await(ctx context.Context, holder Holder, enough func(Issued) bool) (Issued, error)
}

// Keys reads private keys that cert-manager made.
type Keys interface {
	// PrivateKey of a holder's newest certificate.
	PrivateKey(ctx context.Context, holder Holder) (crypto.Signer, error)
}

// Evidence is what a request shows of a device: the planner waits for it.
type Evidence struct {
	// Group and ID name the device.
	Group, ID string
	// Presented is the certificate that it showed, and Credential the kind of it. Zero of a
	// key that it has given up: that says nothing of which it will show next.
	Presented  pki.Certificate
	Credential admission.Credential
	// Trusts are the anchors that it has shown to trust: it has confirmed a bundle with
	// them, or has shaken hands with the proof name.
	Trusts []pki.Fingerprint
	// At is when.
	At time.Time
}

// Recorder takes evidence, keeps it for a while and writes it in batches.
type Recorder interface {
	// Record does not wait. It returns an error if it has no room; then the evidence is lost,
	// and the device is asked to come again if it came for that alone.
	Record(evidence Evidence) error
}
