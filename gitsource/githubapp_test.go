package gitsource

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

var appKeyOnce = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func appPEM(t testing.TB) []byte {
	t.Helper()
	key, err := appKeyOnce()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// github is GitHub: an API, and repositories for those who have its tokens. Its time
// is another than this machine's.
type github struct {
	now      time.Time
	lifetime time.Duration
	minted   int
	valid    string
	claim    string
	// answer replaces that of the API.
	answer func(w http.ResponseWriter, r *http.Request)
}

func (g *github) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", g.now.UTC().Format(http.TimeFormat))
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/v3"):
			g.serveAPI(w, r)
		default:
			if user, token, _ := r.BasicAuth(); user != "x-access-token" || token != g.valid {
				http.Error(w, "you sent "+r.Header.Get("Authorization")+" "+token, http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		}
	})
}

func (g *github) serveAPI(w http.ResponseWriter, r *http.Request) {
	if g.answer != nil {
		g.answer(w, r)
		return
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/api/v3/app/installations/4711/access_tokens" {
		http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
		return
	}
	g.claim = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if err := g.checkClaim(); err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": err.Error()})
		return
	}
	g.minted++
	g.valid = fmt.Sprintf("ghs_hunter22_%d", g.minted)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": g.valid, "expires_at": g.now.Add(g.lifetime).UTC().Format(time.RFC3339)})
}

func (g *github) checkClaim() error {
	parts := strings.Split(g.claim, ".")
	if len(parts) != 3 {
		return errors.New("a JSON web token could not be decoded")
	}
	key, err := appKeyOnce()
	if err != nil {
		return err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return errors.New("the signature does not fit")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	if claims.Iss != "12" || claims.Iat > g.now.Unix() || claims.Exp <= g.now.Unix() || claims.Exp > g.now.Add(10*time.Minute).Unix() {
		return fmt.Errorf("these claims are not good at %s: %s", g.now, payload)
	}
	return nil
}

func newGitHub(t *testing.T) (*github, Remote) {
	t.Helper()
	h := newHostile(t, site)
	g := &github{now: time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC), lifetime: time.Hour}
	remote := h.web(t, nil, g.wrap)
	remote.GitHubApp = &GitHubApp{AppID: "12", InstallationID: "4711", PrivateKey: appPEM(t)}
	return g, remote
}

func TestGitHubApp(t *testing.T) {
	t.Parallel()
	g, remote := newGitHub(t)
	repository := open(t, remote)
	defer repository.Close()
	base := pull(t, repository)
	push(t, repository, base, map[string][]byte{"x": []byte("x")})
	pull(t, repository)
	if g.minted != 1 {
		t.Errorf("%d tokens were minted, want that the first is used again", g.minted)
	}

	g.valid = "revoked meanwhile"
	_, err := repository.Pull(context.Background())
	if !errors.Is(err, ErrAuthentication) || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("a token that was revoked gave %v", err)
	}
	pull(t, repository)
	if g.minted != 2 {
		t.Errorf("%d tokens were minted, want a second", g.minted)
	}

	g.lifetime = renewBefore + 50*time.Millisecond
	g.valid = "revoked again"
	_, _ = repository.Pull(context.Background())
	eventually(t, "a token is replaced before it expires", func() bool {
		pull(t, repository)
		return g.minted >= 4
	})
}

func TestGitHubAppErrors(t *testing.T) {
	t.Parallel()
	message := func(code int, text string) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
		}
	}
	for name, c := range map[string]struct {
		change func(g *github, r *Remote)
		want   error
		says   string
	}{
		"another App":          {func(_ *github, r *Remote) { r.GitHubApp.AppID = "13" }, ErrAuthentication, "GitHub answered 401 to the request for a token of installation 4711 of GitHub App 13: these claims are not good"},
		"another installation": {func(_ *github, r *Remote) { r.GitHubApp.InstallationID = "4712" }, ErrAuthentication, "check the InstallationID, and that the App is still installed"},
		"suspended":            {func(g *github, _ *Remote) { g.answer = message(403, "This installation has been suspended") }, ErrAuthentication, "This installation has been suspended: check the App's permissions"},
		"broken":               {func(g *github, _ *Remote) { g.answer = message(502, "") }, ErrUnreachable, "GitHub answered 502 to the request for a token"},
		"busy":                 {func(g *github, _ *Remote) { g.answer = message(429, "slow down") }, ErrUnreachable, "slow down: try again later"},
		"not JSON": {func(g *github, _ *Remote) {
			g.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }
		}, ErrAuthentication, "is not JSON: check the GitHub App's BaseURL"},
		"no token": {func(g *github, _ *Remote) { g.answer = message(201, "") }, ErrAuthentication, "holds no token"},
		"no time": {func(g *github, _ *Remote) {
			g.answer = func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil }
		}, ErrUnreachable, "does not tell the time"},
		"redirects": {func(g *github, _ *Remote) {
			g.answer = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://elsewhere.example", http.StatusFound)
			}
		}, ErrRedirect, "GitHub's API redirects: correct the GitHub App's BaseURL"},
		"another CA":        {func(_ *github, r *Remote) { r.CA = nil }, ErrTLS, "GitHub's API at 127.0.0.1:"},
		"nobody there":      {func(_ *github, r *Remote) { r.GitHubApp.BaseURL = "https://" + nobody(t) }, ErrUnreachable, "connection refused"},
		"another host's CA": {func(_ *github, r *Remote) { r.GitHubApp.BaseURL = strings.Replace(r.URL, "127.0.0.1", "localhost", 1) }, ErrTLS, "GitHub's API at localhost:"},
		"stalls": {func(g *github, _ *Remote) {
			g.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, ErrUnreachable, "it did not answer in time"},
		"repeats secrets": {func(g *github, _ *Remote) {
			g.answer = func(w http.ResponseWriter, r *http.Request) {
				message(401, "you sent "+r.Header.Get("Authorization"))(w, r)
			}
		}, ErrAuthentication, "you sent Bearer ***"},
	} {
		t.Run(name, func(t *testing.T) {
			g, remote := newGitHub(t)
			c.change(g, &remote)
			repository := open(t, remote)
			defer repository.Close()
			ctx, cancel := context.WithTimeout(context.Background(), patience(c.says))
			defer cancel()
			_, err := repository.Pull(ctx)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			wantTold(t, err, remote, c.says)
			if strings.Contains(err.Error(), "eyJ") || g.minted > 0 {
				t.Errorf("%q holds the App's claim, or %d tokens were minted", err, g.minted)
			}
		})
	}
}

func TestGitHubAppIDs(t *testing.T) {
	address, err := url.Parse("https://github.com/example/pki")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ app, installation, says string }{
		{"12", "4711", ""},
		{"Iv1.8a61f9b3a7aba766", "4711", ""},
		{"Iv23liABCDEFGHIJKLMN", "4711", ""},
		{"", "4711", "AppID is missing or none"},
		{"12/../13", "4711", "AppID is missing or none"},
		{"12\n", "4711", "AppID is missing or none"},
		{"twelve", "4711", "AppID is missing or none"},
		{"12", "", "InstallationID is missing or none"},
		{"12", "..", "InstallationID is missing or none"},
		{"12", "..%2f4711", "InstallationID is missing or none"},
		{"12", "-1", "InstallationID is missing or none"},
	} {
		_, err := newInstallation(GitHubApp{AppID: c.app, InstallationID: c.installation, PrivateKey: appPEM(t)}, address)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("App %q, installation %q: got %v, want it to say %q", c.app, c.installation, err, c.says)
		}
	}
}

func TestAPIOf(t *testing.T) {
	for repository, want := range map[string]string{
		"https://github.com/o/r.git":     "https://api.github.com",
		"https://acme.ghe.com/o/r.git":   "https://api.acme.ghe.com",
		"https://git.example:8443/o/r":   "https://git.example:8443/api/v3",
		"https://notgithub.com/o/r":      "https://notgithub.com/api/v3",
		"https://github.com.example/o/r": "https://github.com.example/api/v3",
	} {
		parsed, err := url.Parse(repository)
		if err != nil {
			t.Fatal(err)
		}
		if got := apiOf(parsed); got != want {
			t.Errorf("%s has its API at %s, want %s", repository, got, want)
		}
	}
}
