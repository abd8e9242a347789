package gitsource

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
)

// Remote is a branch of a repository and what is needed to reach it. Nothing that
// prints it shows the credentials.
type Remote struct {
	// URL of the repository: https://host/path, or file:///path without host.
	// User information in it is taken for Username and Password if these are empty.
	URL string
	// Branch that is pulled and pushed: "main", not "refs/heads/main".
	Branch string
	// Username and Password of basic authentication (RFC 7617); both empty: none.
	Username, Password string
	// CA holds the certificates, PEM, that the server is verified with, in place
	// of the system's; empty: the system's.
	CA []byte
	// Limits on what is taken from the remote.
	Limits Limits
}

// Limits bound what a repository may take of memory and disk. A zero stands for
// the default.
type Limits struct {
	// File is the size, in bytes, of the largest file that is read or pushed.
	// Larger ones may lie in the repository; only to open them is an error.
	// Default 8 MiB.
	File int64
	// Object is the size, in bytes, of the largest file or folder that the
	// repository may hold at all: each one is in memory for a moment when it is
	// fetched. Default 64 MiB.
	Object int64
	// Fetch is how many bytes, compressed, one fetch may bring. Default 1 GiB.
	Fetch int64
	// Objects is how many files and folders a commit may have, and how many
	// objects one fetch may bring. Default 1,000,000.
	Objects int
}

func (l Limits) orDefaults() Limits {
	const mebibyte = 1 << 20
	if l.File <= 0 {
		l.File = 8 * mebibyte
	}
	if l.Object <= 0 {
		l.Object = 64 * mebibyte
	}
	if l.Fetch <= 0 {
		l.Fetch = 1024 * mebibyte
	}
	if l.Objects <= 0 {
		l.Objects = 1_000_000
	}
	return l
}

// String is the branch and the URL, without credentials: "main of
// https://git.example/pki.git".
func (r Remote) String() string { return r.Branch + " of " + r.address() }

// GoString is String, so that no format prints a password.
func (r Remote) GoString() string { return r.String() }

// MarshalText is String, so that no logger prints a password.
func (r Remote) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// address is the URL without user information, query and fragment, any of which
// may hold a token.
func (r Remote) address() string {
	parsed, err := url.Parse(r.URL)
	if err != nil {
		return "(a URL that cannot be read)"
	}
	return (&url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path}).String()
}

// normalise checks the remote, moves user information out of the URL and fills in
// the default limits.
func (r Remote) normalise() (Remote, error) {
	parsed, err := url.Parse(r.URL)
	if err != nil {
		return r, errors.New("the URL cannot be read: write it as https://host/path or file:///path")
	}
	if err := checkURL(parsed); err != nil {
		return r, err
	}
	if err := checkBranch(r.Branch); err != nil {
		return r, err
	}
	if parsed.User != nil && r.Username == "" && r.Password == "" {
		r.Username = parsed.User.Username()
		r.Password, _ = parsed.User.Password()
	}
	parsed.User = nil
	r.URL = strings.TrimRight(parsed.String(), "/")
	r.Limits = r.Limits.orDefaults()
	return r, nil
}

func checkURL(u *url.URL) error {
	switch {
	case u.Opaque != "" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("the URL is not one of a repository: write it as https://host/path or file:///path, without ? and #")
	case u.Scheme == "https" && u.Host == "":
		return errors.New("the URL names no host: write it as https://host/path")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http":
		return errors.New("http:// would carry credentials and anchors in clear: use https://")
	case u.Scheme == "file" && u.Host != "" && u.Host != "localhost":
		return errors.New("the URL names a host: a repository on this machine is file:///path, with three slashes")
	case u.Scheme == "file" && !filepath.IsAbs(filepath.FromSlash(u.Path)):
		return errors.New("the URL names no absolute path: write it as file:///path")
	case u.Scheme == "file":
		return nil
	}
	return fmt.Errorf("URLs of scheme %q are not supported: use https:// or file://", u.Scheme)
}

func checkBranch(branch string) error {
	if branch == "" {
		return errors.New("no branch is named: say which one, for instance main")
	}
	if strings.HasPrefix(branch, "refs/") || plumbing.NewBranchReferenceName(branch).Validate() != nil {
		return fmt.Errorf("%q is not the name of a branch: write main, not refs/heads/main (git check-ref-format says what a name may hold)", branch)
	}
	return nil
}

func (r Remote) reference() plumbing.ReferenceName { return plumbing.NewBranchReferenceName(r.Branch) }

// maxQuoted is how many bytes of another program's words an error repeats.
const maxQuoted = 1024

// quote makes somebody else's words fit to stand in an error: one line, of
// printable characters, short, and without the credentials, should they have been
// sent back.
func (r Remote) quote(text string) string {
	for _, secret := range r.secrets() {
		text = strings.ReplaceAll(text, secret, "***")
	}
	text = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return ' '
		}
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxQuoted {
		text = strings.ToValidUTF8(text[:maxQuoted], "") + "…"
	}
	return text
}

// secrets lists the forms in which the credentials go over the wire. A user name
// without a password is a token.
func (r Remote) secrets() []string {
	secret := r.Password
	if secret == "" {
		secret = r.Username
	}
	if secret == "" {
		return nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte(r.Username + ":" + r.Password))
	return []string{basic, url.QueryEscape(secret), url.PathEscape(secret), secret}
}
