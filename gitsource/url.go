package gitsource

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// howToWriteURL ends the errors about URLs.
const howToWriteURL = "write it as https://host/path, ssh://user@host/path or file:///path"

// scpForm is SSH's short form of an address: user@host:path.
var scpForm = regexp.MustCompile(`^([^/@:\s]+)@(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(.+)$`)

// parseURL reads a URL, or the short form of SSH. belowHome says that the path begins
// at the user's home, as it does in the short form unless it is absolute.
func parseURL(text string) (parsed *url.URL, belowHome bool, err error) {
	short := scpForm.FindStringSubmatch(text)
	if short == nil || strings.Contains(text, "://") {
		parsed, err = url.Parse(text)
		if err != nil {
			return nil, false, errors.New("the URL cannot be read: " + howToWriteURL)
		}
		return parsed, false, nil
	}
	path := short[3]
	belowHome = !strings.HasPrefix(path, "/")
	if belowHome {
		path = "/" + path
	}
	parsed = &url.URL{Scheme: "ssh", User: url.User(short[1]), Host: short[2], Path: path}
	if _, err := url.Parse(parsed.String()); err != nil {
		return nil, false, errors.New("the URL cannot be read: " + howToWriteURL)
	}
	return parsed, belowHome, nil
}

// plainURL is the URL without user information and without a slash at its end.
func plainURL(u *url.URL) string {
	plain := *u
	plain.User = nil
	return strings.TrimRight(plain.String(), "/")
}

func checkURL(u *url.URL) error {
	switch {
	case u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return errors.New("the URL is not one of a repository: " + howToWriteURL + ", without ? and #")
	case (u.Scheme == "https" || u.Scheme == "ssh") && u.Hostname() == "":
		return fmt.Errorf("the URL names no host: write it as %s://host/path", u.Scheme)
	case u.Scheme == "ssh" && strings.Trim(u.Path, "/") == "":
		return errors.New("the URL names no path: write it as ssh://user@host/path")
	case u.Scheme == "ssh" && strings.ContainsAny(u.Path, "\x00\r\n"):
		return errors.New("the path of the URL holds a line break or a NUL: leave it out")
	case u.Scheme == "https" || u.Scheme == "ssh":
		return nil
	case u.Scheme == "http":
		return errors.New("http:// would carry credentials and anchors in clear: use https://")
	case u.Scheme == "file" && u.Host != "" && u.Host != "localhost":
		return errors.New("the URL names a host: a repository on this machine is file:///path, with three slashes")
	case u.Scheme == "file" && (!filepath.IsAbs(filepath.FromSlash(u.Path)) || strings.Trim(u.Path, "/") == ""):
		return errors.New("the URL names no absolute path: write it as file:///path")
	case u.Scheme == "file":
		return nil
	}
	return fmt.Errorf("URLs of scheme %q are not supported: use https://, ssh:// or file://", u.Scheme)
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
