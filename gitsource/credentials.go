package gitsource

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// checkCredentials refuses credentials that contradict each other or have no place
// on the way that the URL takes: who gives them expects them to be used.
func (r Remote) checkCredentials(scheme string) error {
	over := []struct {
		given  bool
		scheme string
		name   string
	}{
		{r.Password != "", "https", "Password"},
		{r.BearerToken != "", "https", "BearerToken"},
		{len(r.ClientCertificate) > 0, "https", "ClientCertificate"},
		{len(r.ClientKey) > 0, "https", "ClientKey"},
		{r.GitHubApp != nil, "https", "GitHubApp"},
		{len(r.SSHKey) > 0, "ssh", "SSHKey"},
		{r.SSHPassphrase != "", "ssh", "SSHPassphrase"},
	}
	for _, credential := range over {
		if credential.given && credential.scheme != scheme {
			return fmt.Errorf("%s has no use with a %s:// URL: leave it out, or use %s://", credential.name, scheme, credential.scheme)
		}
	}
	if scheme == "ssh" {
		return r.checkSSH()
	}
	ways := 0
	for _, given := range []bool{scheme == "https" && r.Username+r.Password != "", r.BearerToken != "", r.GitHubApp != nil} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		return errors.New("there is more than one of Username with Password, BearerToken and GitHubApp: give one")
	}
	if (len(r.ClientCertificate) > 0) != (len(r.ClientKey) > 0) {
		return errors.New("a client certificate takes both ClientCertificate and ClientKey: give the one that is missing")
	}
	return nil
}

func (r Remote) checkSSH() error {
	if len(r.SSHKey) == 0 {
		return errors.New("ssh:// takes a private key: give SSHKey (ssh-keygen -t ed25519 makes one), and let the server know its public half")
	}
	if len(bytes.TrimSpace(r.KnownHosts)) == 0 {
		return errors.New("ssh:// takes the server's host keys: give KnownHosts, lines of \"host keytype key\" as OpenSSH's known_hosts holds them (ssh-keyscan host prints them; compare their fingerprints with those that the server's operator publishes)")
	}
	return nil
}

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

// secrets lists the forms in which the credentials go over the wire.
func (r Remote) secrets() []string {
	forms := basicSecrets(r.Proxy.Username, r.Proxy.Password)
	if !strings.HasPrefix(r.URL, "ssh:") {
		forms = append(forms, basicSecrets(r.Username, r.Password)...)
	}
	plain := []string{r.BearerToken, r.SSHPassphrase}
	if r.SigningKey != nil {
		plain = append(plain, r.SigningKey.Passphrase)
	}
	for _, secret := range plain {
		forms = append(forms, spellings(secret)...)
	}
	if r.app != nil {
		forms = append(forms, r.app.secrets()...)
	}
	return forms
}

// basicSecrets are the forms of basic authentication. A user name without a password
// is a token.
func basicSecrets(username, password string) []string {
	secret := password
	if secret == "" {
		secret = username
	}
	if secret == "" {
		return nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte(username + ":" + password))
	return append([]string{basic}, spellings(secret)...)
}

// spellings of a secret, in text and in a URL.
func spellings(secret string) []string {
	if secret == "" {
		return nil
	}
	return []string{url.QueryEscape(secret), url.PathEscape(secret), secret}
}
