package gitsource

import (
	"errors"
	"fmt"
	"strings"
)

// The errors that a caller may branch on, by errors.Is.
var (
	// ErrBranchNotFound: the repository is there, the branch is not, or nothing
	// was ever committed.
	ErrBranchNotFound = errors.New("branch not found")
	// ErrAuthentication: the server, or a proxy, wants other credentials, or these may
	// not do what was asked (HTTP 401, 403 and 407, TLS alerts about the client's
	// certificate, SSH's user authentication). Some servers answer so for a repository
	// that does not exist.
	ErrAuthentication = errors.New("authentication failed")
	// ErrNotRepository: what is at the URL is not a Git repository that this
	// program can read.
	ErrNotRepository = errors.New("repository not found")
	// ErrUnreachable: no answer, or not in time, or broken off, or the server failed
	// (HTTP 5xx).
	ErrUnreachable = errors.New("remote unreachable")
	// ErrRedirect: the server sends requests to another host, which is not followed.
	ErrRedirect = errors.New("redirected")
	// ErrHostKey: an SSH server showed a key that is not known, or not the one that
	// is.
	ErrHostKey = errors.New("host key not accepted")
	// ErrTLS: the server could not be verified, or speaks no TLS.
	ErrTLS = errors.New("TLS failed")
	// ErrRejected: the server was reached and refused the push, by a hook or a
	// rule, for a reason other than somebody else having been faster.
	ErrRejected = errors.New("push rejected")
	// ErrBusy: others pushed to the branch at the same time, and were faster each time. It is
	// an ErrRejected, too.
	ErrBusy = fmt.Errorf("%w: the branch is busy", ErrRejected)
	// ErrOutcomeUnknown: a commit was sent and no answer came. It may have landed, or land
	// yet: who pushes the same again finds it.
	ErrOutcomeUnknown = errors.New("it may have landed")
	// ErrConflict: somebody else changed the same file. The error is a [ConflictError], or
	// from a [Writer] an [EditConflictError].
	ErrConflict = errors.New("changed by somebody else")
	// ErrQueueFull: more wait for a [Writer] than it holds.
	ErrQueueFull = errors.New("queue full")
	// ErrSignature: a commit is not signed as the remote's Verification demands. What
	// was pulled before stays.
	ErrSignature = errors.New("signature not accepted")
	// ErrRewritten: the branch does not hold any more what was accepted from it. The
	// error is a [RewrittenError].
	ErrRewritten = errors.New("history rewritten")
	// ErrTooLarge: something exceeds the remote's Limits.
	ErrTooLarge = errors.New("too large")
	// ErrInvalidCommit: a commit that Git, or the file system of whoever checks it
	// out, could not hold.
	ErrInvalidCommit = errors.New("invalid commit")
)

// ConflictError says that files of a commit were changed by somebody else after
// the snapshot that the commit was made from. Nothing was pushed.
type ConflictError struct {
	// Paths that changed, sorted.
	Paths []string
}

// Error names the first few paths.
func (e *ConflictError) Error() string {
	const named = 3
	names := strings.Join(e.Paths[:min(named, len(e.Paths))], ", ")
	if more := len(e.Paths) - named; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return "somebody else changed " + names + " since: pull, decide again on what is there now, and push"
}

// Is says that it is an [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// EditConflictError says that an [Edit] was decided on something else than what stands there.
// It was not written.
type EditConflictError struct {
	// Path of the edit.
	Path string
	// Stands is what stands there now, on the branch; nil if nothing does.
	Stands *Document
}

// Error tells what to do.
func (e *EditConflictError) Error() string {
	if e.Stands == nil {
		return e.Path + " is not there any more: decide again, and put it with an empty Was if it shall be"
	}
	return fmt.Sprintf("%s was changed by somebody else, and is blob %s in %s: decide again on what is there now, and put it with that blob as its Was",
		e.Path, e.Stands.Blob, e.Stands.Revision)
}

// Is says that it is an [ErrConflict].
func (e *EditConflictError) Is(target error) bool { return target == ErrConflict }

// failure is one of the errors above with what was seen and what to do next. Its
// text is final: it holds no credentials. What caused it is kept for errors.Is
// only where it is the end of a context.
type failure struct {
	kind   error
	detail string
	hint   string
	ended  error
}

func (f *failure) Error() string {
	text := f.kind.Error()
	if f.detail != "" {
		text += ": " + f.detail
	}
	return text + ": " + f.hint
}

func (f *failure) Unwrap() []error {
	if f.ended == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.ended}
}
