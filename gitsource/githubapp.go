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
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// GitHubApp is an App and its installation, as which the program comes to GitHub:
// its tokens live for an hour and are fetched as needed. Nothing that prints it
// shows the key.
//
// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
type GitHubApp struct {
	// AppID of the App (or its client ID), and InstallationID of its installation
	// in the organisation or account that has the repository.
	AppID, InstallationID string
	// PrivateKey of the App, PEM, as GitHub hands it out.
	PrivateKey []byte
	// BaseURL of GitHub's REST API. Empty: https://api.github.com for repositories
	// on github.com, https://api.NAME.ghe.com for those on NAME.ghe.com, and
	// https://HOST/api/v3 (GitHub Enterprise Server) for any other host.
	//
	// The remote's CA, client certificate and proxy apply to the API if its host is
	// that of the repository, or that with api. before it. Else the system's CAs and
	// the environment's proxy do.
	BaseURL string
}

// String names the App and the installation.
func (a GitHubApp) String() string {
	return "installation " + a.InstallationID + " of GitHub App " + a.AppID
}

// GoString is String, so that no format prints the key.
func (a GitHubApp) GoString() string { return a.String() }

// MarshalText is String, so that no logger prints the key.
func (a GitHubApp) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// installation fetches an App's tokens.
type installation struct {
	app GitHubApp
	key *rsa.PrivateKey
	api *url.URL
	web *http.Client

	mutex sync.Mutex // guards what follows
	now   string     // the token in use; empty: none
	used  []string   // what was sent or got last, in order not to repeat it in an error
	spent <-chan time.Time
}

// The forms of an AppID, client IDs among them (Iv1.0123456789abcdef), and of an
// InstallationID, which becomes a part of a URL.
var (
	appID          = regexp.MustCompile(`^([0-9]{1,20}|Iv[0-9][0-9A-Za-z.]{1,64})$`)
	installationID = regexp.MustCompile(`^[0-9]{1,20}$`)
)

// newInstallation checks an App. Its tokens are for repositories at that address.
func newInstallation(app GitHubApp, repository *url.URL) (*installation, error) {
	if !appID.MatchString(app.AppID) {
		return nil, errors.New("the GitHub App's AppID is missing or none: give the number, or the client ID, that the App's settings show")
	}
	if !installationID.MatchString(app.InstallationID) {
		return nil, errors.New("the GitHub App's InstallationID is missing or none: give the number at the end of the installation's URL")
	}
	key, err := appKey(app.PrivateKey)
	if err != nil {
		return nil, err
	}
	if app.BaseURL == "" {
		app.BaseURL = apiOf(repository)
	}
	api, err := url.Parse(strings.TrimRight(app.BaseURL, "/"))
	if err != nil || api.Scheme != "https" || api.Hostname() == "" || api.User != nil || api.RawQuery != "" || api.Fragment != "" {
		return nil, errors.New("the GitHub App's BaseURL cannot be used: write it as https://api.github.com or https://host/api/v3")
	}
	return &installation{app: app, key: key, api: api}, nil
}

func appKey(encoded []byte) (*rsa.PrivateKey, error) {
	refused := errors.New("the GitHub App's PrivateKey cannot be read: give the PEM file that GitHub handed out, an RSA key")
	block, _ := pem.Decode(encoded)
	if block == nil {
		return nil, refused
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if key, ok := key.(*rsa.PrivateKey); ok && err == nil {
		return key, nil
	}
	return nil, refused
}

func apiOf(repository *url.URL) string {
	host := repository.Hostname()
	if host == "github.com" || strings.HasSuffix(host, ".ghe.com") {
		return "https://api." + host
	}
	return "https://" + repository.Host + "/api/v3"
}

// use says how the API is reached: as the repository is, if it lies on its host.
func (i *installation) use(repository *url.URL, settings *http.Transport) {
	if host := i.api.Hostname(); host != repository.Hostname() && host != "api."+repository.Hostname() {
		settings, _ = httpTransport(Remote{})
	}
	i.web = &http.Client{Transport: settings, CheckRedirect: func(*http.Request, []*http.Request) error {
		return &failure{kind: ErrRedirect, detail: "GitHub's API redirects", hint: "correct the GitHub App's BaseURL"}
	}}
}

func (i *installation) close() { i.web.CloseIdleConnections() }

// renewBefore is how long before its end a token is replaced: a fetch that begins
// with it should end with it.
const renewBefore = 5 * time.Minute

// token is one that GitHub accepts for a while yet.
func (i *installation) token(ctx context.Context) (string, error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	select {
	case <-i.spent:
		i.now = ""
	default:
	}
	if i.now != "" {
		return i.now, nil
	}
	if err := i.mint(ctx); err != nil {
		return "", i.explain(ctx, err)
	}
	return i.now, nil
}

// forget drops the token, since the server did not accept it.
func (i *installation) forget() {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.now = ""
}

// secrets lists what must not be repeated.
func (i *installation) secrets() []string {
	var forms []string
	for _, secret := range i.used {
		forms = append(forms, secret, base64.StdEncoding.EncodeToString([]byte("x-access-token:"+secret)))
	}
	return forms
}

// mint fetches a token. All times are those of GitHub's answers, so that it does not
// matter what this machine takes the time for.
func (i *installation) mint(ctx context.Context) error {
	now, err := i.time(ctx)
	if err != nil {
		return err
	}
	claim, err := i.claim(now)
	if err != nil {
		return err
	}
	i.used = []string{claim}
	var minted struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	at := i.api.JoinPath("app", "installations", i.app.InstallationID, "access_tokens")
	if err := i.post(ctx, at.String(), claim, &minted); err != nil {
		return err
	}
	if minted.Token == "" {
		return &failure{kind: ErrAuthentication, detail: "GitHub's answer holds no token", hint: "check the GitHub App's BaseURL"}
	}
	i.used = append(i.used, minted.Token)
	i.now, i.spent = minted.Token, time.After(minted.ExpiresAt.Sub(now)-renewBefore)
	return nil
}

// time is GitHub's: that of an answer to a question that nobody minds.
func (i *installation) time(ctx context.Context) (time.Time, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, i.api.String(), nil)
	if err != nil {
		return time.Time{}, err
	}
	response, err := i.web.Do(request)
	if err != nil {
		return time.Time{}, err
	}
	defer response.Body.Close()
	now, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return time.Time{}, &failure{kind: ErrUnreachable, detail: "GitHub's API does not tell the time (RFC 9110, section 6.6.1)", hint: "check the GitHub App's BaseURL, and what stands between"}
	}
	return now, nil
}

// claim is the App's own proof of identity (RFC 7519, signed with RS256), good for
// ten minutes at most.
func (i *installation) claim(now time.Time) (string, error) {
	const slack, lifetime = time.Minute, 9 * time.Minute
	payload, err := json.Marshal(map[string]any{
		"iat": now.Add(-slack).Unix(), "exp": now.Add(lifetime).Unix(), "iss": i.app.AppID,
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(payload)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	return text + "." + encode(signature), err
}

// maxTokenAnswer is how much GitHub may answer to a request for a token.
const maxTokenAnswer = 1 << 20

func (i *installation) post(ctx context.Context, to, claim string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+claim)
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	response, err := i.web.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTokenAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return i.refused(response.StatusCode, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return &failure{kind: ErrAuthentication, detail: "GitHub's answer to the request for a token is not JSON", hint: "check the GitHub App's BaseURL"}
	}
	return nil
}

// refused explains an answer without a token.
func (i *installation) refused(code int, body []byte) error {
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &said)
	detail := fmt.Sprintf("GitHub answered %d to the request for a token of %s", code, i.app)
	if said.Message != "" {
		detail += ": " + Remote{app: i}.quote(said.Message)
	}
	switch {
	case code == http.StatusUnauthorized:
		return &failure{kind: ErrAuthentication, detail: detail, hint: "check that AppID and PrivateKey belong to the same App, and that the key was not revoked"}
	case code == http.StatusNotFound:
		return &failure{kind: ErrAuthentication, detail: detail, hint: "check the InstallationID, and that the App is still installed"}
	case code >= http.StatusInternalServerError || code == http.StatusTooManyRequests:
		return &failure{kind: ErrUnreachable, detail: detail, hint: "try again later"}
	}
	return &failure{kind: ErrAuthentication, detail: detail, hint: "check the App's permissions, and that the installation is not suspended"}
}

// explain makes a failure of an error of the request.
func (i *installation) explain(ctx context.Context, err error) error {
	explained := (&smart{remote: Remote{app: i}}).explain(ctx, err)
	if known, ok := errors.AsType[*failure](explained); ok && !strings.Contains(known.detail, "GitHub") {
		known.detail = "GitHub's API at " + i.api.Host + ": " + known.detail
	}
	return explained
}
