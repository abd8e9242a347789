package renderer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

var (
	errRemote   = errors.New("is remote, and nothing is fetched; copy what it names into the repository")
	errAbsolute = errors.New("is absolute; write it relative to its kustomization")
	errEscapes  = errors.New("leads out of the repository; copy what it names into it")
	errNoPath   = errors.New("is no path; write one relative to its kustomization")
)

// userAt begins what git, and so kustomize, takes for user@host/path.
var userAt = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*@`)

// remote reports whether kustomize might take the reference for an address: any
// URL, scp's user@host:path, go-getter's git:: and ?ref=, a repository//path, and
// github.com without a scheme. It is wider than kustomize's own rule, which has
// changed with its versions.
func remote(reference string) bool {
	return strings.ContainsAny(reference, ":?") ||
		strings.Contains(reference, "//") ||
		userAt.MatchString(reference) ||
		strings.HasPrefix(strings.ToLower(reference), "github.com/")
}

// resolve is where in the repository a reference of a kustomization in folder
// leads to.
func resolve(folder, reference string) (string, error) {
	if path.IsAbs(reference) {
		return "", errAbsolute
	}
	if remote(reference) {
		return "", errRemote
	}
	name := path.Join(folder, reference)
	switch {
	case name == ".." || strings.HasPrefix(name, "../"):
		return "", errEscapes
	case reference == "" || !fs.ValidPath(name):
		return "", errNoPath
	}
	return name, nil
}

// domainFolder is the cleaned path of a domain's folder: "" and "." are the
// repository's root.
func domainFolder(folder string) (string, error) {
	if folder == "" {
		return ".", nil
	}
	name, err := resolve(".", folder)
	if err != nil {
		return "", fmt.Errorf("the path %q %w", folder, err)
	}
	return name, nil
}

// nameOf is what a person calls a folder of the repository.
func nameOf(folder string) string {
	if folder == "" || folder == "." {
		return "the repository"
	}
	return folder
}
