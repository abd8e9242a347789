package gitsource

import (
	"strings"
	"testing"
)

func TestNormaliseURL(t *testing.T) {
	for url, want := range map[string]struct{ url, user, password string }{
		"https://git.example/a/b.git/":         {"https://git.example/a/b.git", "", ""},
		"https://u:p%20w@git.example:8443/a":   {"https://git.example:8443/a", "u", "p w"},
		"ssh://git.example/a":                  {"ssh://git.example/a", "git", ""},
		"ssh://deploy@git.example:2222/a.git/": {"ssh://git.example:2222/a.git", "deploy", ""},
		"ssh://git@[::1]:2222/a":               {"ssh://[::1]:2222/a", "git", ""},
		"git@git.example:a/b.git":              {"ssh://git.example/a/b.git", "git", ""},
		"deploy@git.example:/srv/b.git":        {"ssh://git.example/srv/b.git", "deploy", ""},
		"git@[::1]:a":                          {"ssh://[::1]/a", "git", ""},
		"file:///srv/a":                        {"file:///srv/a", "", ""},
	} {
		remote := Remote{URL: url, Branch: "main"}
		if strings.HasPrefix(want.url, "ssh") {
			remote.SSHKey, remote.KnownHosts = []byte("a key"), []byte("a host")
		}
		got, err := remote.normalise()
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got.URL != want.url || got.Username != want.user || got.Password != want.password {
			t.Errorf("%s is %s of %q with %q, want %+v", url, got.URL, got.Username, got.Password, want)
		}
	}
}

// A URL that is accepted stays what it is when it is normalised again, and keeps no
// credentials.
func FuzzNormaliseURL(f *testing.F) {
	for _, url := range []string{"https://u:p@git.example/a", "ssh://git@git.example:22/~/a", "git@git.example:a/b", "file:///a", "git@[::1]:a", "https://a?b#c", "a@b:c@d:e", "ssh://h/%0a"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		remote := Remote{URL: url, Branch: "main"}
		printed := remote.String()
		once, err := remote.normalise()
		if err != nil && strings.Contains(err.Error(), "ssh:// takes") {
			remote.SSHKey, remote.KnownHosts = []byte("a key"), []byte("a host")
			once, err = remote.normalise()
		}
		if err != nil {
			return
		}
		again, err := Remote{URL: once.URL, Branch: "main", SSHKey: remote.SSHKey, KnownHosts: remote.KnownHosts}.normalise()
		if err != nil || again.URL != once.URL {
			t.Errorf("%q is %q, and that is %q (%v)", url, once.URL, again.URL, err)
		}
		parsed, _, err := parseURL(once.URL)
		if err != nil || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
			t.Errorf("%q became %q (%v)", url, once.URL, err)
		}
		if once.String() != printed && !strings.HasSuffix(strings.TrimRight(printed, "/"), strings.TrimRight(once.String(), "/")) {
			t.Errorf("%q prints as %q and %q", url, printed, once)
		}
	})
}
