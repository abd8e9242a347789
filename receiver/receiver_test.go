package receiver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

const token = "hunter2 is what nobody must see"

var plant = planner.Ref{Namespace: "plant", Name: "fleet"}

// desk is a receiver among fakes.
type desk struct {
	handler  http.Handler
	registry *prometheus.Registry

	mu     sync.Mutex
	hook   Hook
	token  string
	err    error // of reading the token
	idle   bool
	now    time.Time
	read   int // how often
	asked  []planner.Ref
	logged []string
}

func newDesk(t *testing.T, sender v1alpha1.WebhookType) *desk {
	t.Helper()
	d := &desk{
		registry: prometheus.NewRegistry(), token: token, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		hook: Hook{Type: sender, URL: "https://git.example/example/pki.git", Branches: []string{"main", "records"}, Secret: "hook"},
	}
	metrics, err := NewMetrics(d.registry)
	if err != nil {
		t.Fatal(err)
	}
	d.handler = New(Options{
		Hook: func(_ context.Context, domain planner.Ref) (Hook, bool, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.hook, domain == plant, nil
		},
		Token: func(context.Context, planner.Ref) ([]byte, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.read++
			return []byte(d.token), d.err
		},
		Ask: func(domain planner.Ref) bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.asked = append(d.asked, domain)
			return !d.idle
		},
		Now: func() time.Time { return d.now },
		Log: func(err error, message string, keysAndValues ...any) {
			d.logged = append(d.logged, fmt.Sprint(message, err, keysAndValues))
		},
		Metrics: metrics,
	})
	return d
}

// send posts a body with headers, "Name: value".
func (d *desk) send(path string, body []byte, headers ...string) (int, string) {
	request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	d.handler.ServeHTTP(recorder, request)
	return recorder.Code, strings.TrimSpace(recorder.Body.String())
}

// sum is the HMAC of a body under the token.
func sum(body []byte) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// headers by which each sender proves itself, with the event that it tells of.
func headers(sender v1alpha1.WebhookType, event string, body []byte) []string {
	switch sender {
	case v1alpha1.WebhookGitHub:
		return []string{"X-GitHub-Event: " + event, "X-Hub-Signature-256: sha256=" + sum(body)}
	case v1alpha1.WebhookGitLab:
		return []string{"X-Gitlab-Event: " + event, "X-Gitlab-Token: " + token}
	case v1alpha1.WebhookGitea:
		return []string{"X-Gitea-Event: " + event, "X-Gitea-Signature: " + sum(body)}
	}
	return []string{"X-Signature: sha256=" + sum(body)}
}

func TestAPushAsksForATurn(t *testing.T) {
	for name, test := range map[string]struct {
		sender  v1alpha1.WebhookType
		file    string
		headers func(body []byte) []string
	}{
		"GitHub":                      {v1alpha1.WebhookGitHub, "github-push.json", func(b []byte) []string { return headers(v1alpha1.WebhookGitHub, "push", b) }},
		"GitLab":                      {v1alpha1.WebhookGitLab, "gitlab-push.json", func(b []byte) []string { return headers(v1alpha1.WebhookGitLab, "Push Hook", b) }},
		"GitLab, of the whole system": {v1alpha1.WebhookGitLab, "gitlab-push.json", func(b []byte) []string { return headers(v1alpha1.WebhookGitLab, "System Hook", b) }},
		"Gitea":                       {v1alpha1.WebhookGitea, "gitea-push.json", func(b []byte) []string { return headers(v1alpha1.WebhookGitea, "push", b) }},
		"Forgejo":                     {v1alpha1.WebhookGitea, "gitea-push.json", func(b []byte) []string { return []string{"X-Forgejo-Event: push", "X-Forgejo-Signature: " + sum(b)} }},
		"Gitea, as GitHub signs": {v1alpha1.WebhookGitea, "gitea-push.json", func(b []byte) []string {
			return []string{"X-Gitea-Event: push", "X-Hub-Signature-256: sha256=" + sum(b)}
		}},
		"anybody": {v1alpha1.WebhookGeneric, "generic.json", func(b []byte) []string { return headers(v1alpha1.WebhookGeneric, "", b) }},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, test.sender)
			body := read(t, test.file)
			status, text := d.send("/hook/plant/fleet", body, test.headers(body)...)
			if status != http.StatusAccepted || len(d.asked) != 1 || d.asked[0] != plant || text != "a turn of TrustDomain plant/fleet was asked for" {
				t.Errorf("answered %d %q, asked for turns of %v", status, text, d.asked)
			}
		})
	}
}

func TestWhatDoesNotConcernTheDomainIsIgnored(t *testing.T) {
	for name, test := range map[string]struct {
		sender v1alpha1.WebhookType
		event  string
		body   string
		want   string
	}{
		"a ping":              {v1alpha1.WebhookGitHub, "ping", string(read(t, "github-ping.json")), "pong"},
		"another event":       {v1alpha1.WebhookGitHub, "issues", "{}", `ignored: the event "issues" is no push to a branch`},
		"a tag of GitLab":     {v1alpha1.WebhookGitLab, "Tag Push Hook", "{}", `ignored: the event "Tag Push Hook" is no push to a branch`},
		"a new project":       {v1alpha1.WebhookGitLab, "System Hook", string(read(t, "gitlab-system.json")), `ignored: the event "project_create" is no push to a branch`},
		"a tag":               {v1alpha1.WebhookGitea, "push", `{"ref":"refs/tags/v1","repository":{"full_name":"example/pki"}}`, `ignored: a push to "refs/tags/v1", which is no branch`},
		"another branch":      {v1alpha1.WebhookGitea, "push", `{"ref":"refs/heads/next","repository":{"full_name":"example/pki"}}`, `ignored: a push to the branch "next", and this TrustDomain reads main and records`},
		"another repository":  {v1alpha1.WebhookGitHub, "push", `{"ref":"refs/heads/main","repository":{"full_name":"example/other"}}`, `ignored: a push to the repository "example/other", which is not this TrustDomain's`},
		"half a name":         {v1alpha1.WebhookGitHub, "push", `{"ref":"refs/heads/main","repository":{"full_name":"ample/pki"}}`, `ignored: a push to the repository "ample/pki", which is not this TrustDomain's`},
		"no event is told of": {v1alpha1.WebhookGitea, "", "{}", `ignored: the event "" is no push to a branch`},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, test.sender)
			status, text := d.send("/hook/plant/fleet", []byte(test.body), headers(test.sender, test.event, []byte(test.body))...)
			if status != http.StatusOK || text != test.want || len(d.asked) > 0 {
				t.Errorf("answered %d %q, want %q; asked for turns of %v", status, text, test.want, d.asked)
			}
		})
	}
}

func TestNamesAndBranchesThatAreMeant(t *testing.T) {
	for repository, url := range map[string]string{
		"example/pki":     "https://git.example:8443/Example/PKI.git/",
		"Example/Pki":     "ssh://git@git.example/example/pki",
		"example/sub/pki": "https://git.example/gitlab/example/sub/pki.git",
		"pki":             "file:///srv/git/pki.git",
	} {
		if !names(url, repository) {
			t.Errorf("%s is not found to be %s", url, repository)
		}
	}
	d := newDesk(t, v1alpha1.WebhookGitHub)
	body := []byte(`{"ref":"refs/heads/records","repository":{"full_name":"example/pki"}}`)
	if status, text := d.send("/hook/plant/fleet", body, headers(v1alpha1.WebhookGitHub, "push", body)...); status != http.StatusAccepted {
		t.Errorf("a push to the record's branch: %d %q", status, text)
	}
}

// Whatever is wrong with a signature, the answer is the same.
func TestWhoDoesNotKnowTheTokenIsRefused(t *testing.T) {
	body := read(t, "github-push.json")
	signature := sum(body)
	wrong := strings.Repeat("0", len(signature))
	for name, test := range map[string]struct {
		sender  v1alpha1.WebhookType
		headers []string
	}{
		"GitHub, none":            {v1alpha1.WebhookGitHub, []string{"X-GitHub-Event: push"}},
		"GitHub, wrong":           {v1alpha1.WebhookGitHub, []string{"X-GitHub-Event: push", "X-Hub-Signature-256: sha256=" + wrong}},
		"GitHub, no prefix":       {v1alpha1.WebhookGitHub, []string{"X-GitHub-Event: push", "X-Hub-Signature-256: " + signature}},
		"GitHub, SHA-1":           {v1alpha1.WebhookGitHub, []string{"X-GitHub-Event: push", "X-Hub-Signature: sha1=" + signature}},
		"GitHub, cut":             {v1alpha1.WebhookGitHub, []string{"X-GitHub-Event: push", "X-Hub-Signature-256: sha256=" + signature[:32]}},
		"GitHub, not hexadecimal": {v1alpha1.WebhookGitHub, []string{"X-GitHub-Event: push", "X-Hub-Signature-256: sha256=" + signature + "zz"}},
		"GitHub, a ping":          {v1alpha1.WebhookGitHub, []string{"X-GitHub-Event: ping"}},
		"GitHub, GitLab's way":    {v1alpha1.WebhookGitHub, []string{"X-Gitlab-Event: Push Hook", "X-Gitlab-Token: " + token}},
		"GitLab, none":            {v1alpha1.WebhookGitLab, []string{"X-Gitlab-Event: Push Hook"}},
		"GitLab, wrong":           {v1alpha1.WebhookGitLab, []string{"X-Gitlab-Event: Push Hook", "X-Gitlab-Token: " + token[1:]}},
		"Gitea, wrong":            {v1alpha1.WebhookGitea, []string{"X-Gitea-Event: push", "X-Gitea-Signature: " + wrong}},
		"Gitea, one of two wrong": {v1alpha1.WebhookGitea, []string{"X-Gitea-Event: push", "X-Gitea-Signature: " + wrong, "X-Hub-Signature-256: sha256=" + signature}},
		"anybody, none":           {v1alpha1.WebhookGeneric, nil},
		"anybody, SHA-512":        {v1alpha1.WebhookGeneric, []string{"X-Signature: sha512=" + signature}},
		"of no type":              {"", []string{"X-Signature: sha256=" + signature}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, test.sender)
			status, text := d.send("/hook/plant/fleet", body, test.headers...)
			if status != http.StatusUnauthorized || text != "the signature or the token is not accepted" || len(d.asked) > 0 {
				t.Errorf("answered %d %q, asked for turns of %v", status, text, d.asked)
			}
		})
	}
}

func TestAnEmptyTokenProvesNothing(t *testing.T) {
	for _, sender := range []v1alpha1.WebhookType{v1alpha1.WebhookGitHub, v1alpha1.WebhookGitLab, v1alpha1.WebhookGitea, v1alpha1.WebhookGeneric} {
		mac := hmac.New(sha256.New, nil)
		digits := hex.EncodeToString(mac.Sum(nil))
		header := http.Header{
			"X-Hub-Signature-256": {"sha256=" + digits}, "X-Gitlab-Token": {""}, "X-Signature": {"sha256=" + digits},
		}
		if signed(sender, nil, header, nil) {
			t.Errorf("%s takes an empty token", sender)
		}
	}
}

func TestWhatIsNoWebhookIsTurnedAway(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGeneric)
	for name, test := range map[string]struct {
		method, path string
		body         []byte
		want         int
	}{
		"another domain":  {http.MethodPost, "/hook/plant/other", nil, http.StatusNotFound},
		"another path":    {http.MethodPost, "/hooks", nil, http.StatusNotFound},
		"a longer path":   {http.MethodPost, "/hook/plant/fleet/x", nil, http.StatusNotFound},
		"a shorter path":  {http.MethodPost, "/hook/plant/", nil, http.StatusNotFound},
		"another method":  {http.MethodGet, "/hook/plant/fleet", nil, http.StatusMethodNotAllowed},
		"a large body":    {http.MethodPost, "/hook/plant/fleet", make([]byte, maxBody+1), http.StatusRequestEntityTooLarge},
		"a body at limit": {http.MethodPost, "/hook/plant/fleet", make([]byte, maxBody), http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(test.method, test.path, bytes.NewReader(test.body))
			recorder := httptest.NewRecorder()
			d.handler.ServeHTTP(recorder, request)
			if recorder.Code != test.want {
				t.Errorf("answered %d %q, want %d", recorder.Code, recorder.Body, test.want)
			}
		})
	}
	if len(d.asked) > 0 {
		t.Errorf("asked for turns of %v", d.asked)
	}
}

func TestABodyThatIsNoPushIsSaidToBeNone(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON":       "payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D",
		"another shape": `{"ref":7}`,
		"no branch":     `{"repository":{"full_name":"example/pki"}}`,
		"no repository": `{"ref":"refs/heads/main"}`,
		"nothing":       "",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, v1alpha1.WebhookGitHub)
			status, text := d.send("/hook/plant/fleet", []byte(body), headers(v1alpha1.WebhookGitHub, "push", []byte(body))...)
			if status != http.StatusBadRequest || text != errNotPush.Error() || len(d.asked) > 0 {
				t.Errorf("answered %d %q", status, text)
			}
		})
	}
}

// A flood of wrong signatures is no flood at the API server, and a token that was replaced
// is found within seconds.
func TestTheSecretIsReadRarely(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGeneric)
	body := read(t, "generic.json")
	good := headers(v1alpha1.WebhookGeneric, "", body)
	for range 100 {
		d.send("/hook/plant/fleet", body, good...)
	}
	for range 100 {
		d.send("/hook/plant/fleet", body, "X-Signature: sha256=00")
	}
	if d.read != 1 {
		t.Errorf("the Secret was read %d times for 200 requests at once", d.read)
	}
	d.token = "another"
	d.now = d.now.Add(doubtfulTokenFor)
	d.send("/hook/plant/fleet", body, "X-Signature: sha256=00")
	if d.read != 2 {
		t.Errorf("the Secret was read %d times: a signature that does not match must have it read again", d.read)
	}
	d.token = token
	d.now = d.now.Add(doubtfulTokenFor)
	if status, _ := d.send("/hook/plant/fleet", body, good...); status != http.StatusAccepted {
		t.Errorf("a token that was replaced: answered %d", status)
	}
	d.now = d.now.Add(tokenFor)
	d.token = "taken away"
	if status, _ := d.send("/hook/plant/fleet", body, good...); status != http.StatusUnauthorized {
		t.Errorf("a token that was taken away a minute ago: answered %d", status)
	}
	d.hook.Secret, d.token = "next", token
	if status, _ := d.send("/hook/plant/fleet", body, good...); status != http.StatusAccepted {
		t.Errorf("another Secret was named: answered %d", status)
	}
}

// What is not the sender's fault is answered without its reason, which the log has.
func TestASecretThatCannotBeReadIsLogged(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGeneric)
	d.err = errors.New("spec.webhook.secretRef: Secret plant/hook does not exist")
	status, text := d.send("/hook/plant/fleet", nil, "X-Signature: sha256=00")
	if status != http.StatusServiceUnavailable || strings.Contains(text, "Secret") || len(d.logged) != 1 || !strings.Contains(d.logged[0], "Secret plant/hook does not exist") {
		t.Errorf("answered %d %q, logged %q", status, text, d.logged)
	}
}

// It is a line in the log, not one for each request.
func TestTheLogIsNotFlooded(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGeneric)
	d.err = errors.New("Secret plant/hook does not exist")
	for second := range 120 {
		d.now = time.Date(2026, 3, 1, 12, 0, second, 0, time.UTC)
		d.send("/hook/plant/fleet", nil, "X-Signature: sha256=00")
	}
	if len(d.logged) != 2 {
		t.Errorf("two minutes of requests logged %d lines", len(d.logged))
	}
}

// Of a sender that went away there is nothing to tell, and what it waited for is read again.
func TestASenderThatWentAwayIsNotLogged(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGeneric)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/hook/plant/fleet", http.NoBody)
	d.handler.ServeHTTP(httptest.NewRecorder(), request)
	if len(d.logged) > 0 {
		t.Errorf("logged %q", d.logged)
	}
	body := read(t, "generic.json")
	if status, text := d.send("/hook/plant/fleet", body, headers(v1alpha1.WebhookGeneric, "", body)...); status != http.StatusAccepted {
		t.Errorf("another was answered %d %q", status, text)
	}
}

// While one domain's Secret is being read, another domain's webhooks are taken.
func TestASlowSecretHoldsUpNoOtherDomain(t *testing.T) {
	asked, reading, end := make(chan planner.Ref, 1), make(chan struct{}), make(chan struct{})
	slow := planner.Ref{Namespace: "plant", Name: "slow"}
	handler := New(Options{
		Hook: func(context.Context, planner.Ref) (Hook, bool, error) {
			return Hook{Type: v1alpha1.WebhookGeneric, Branches: []string{"main"}, Secret: "hook"}, true, nil
		},
		Token: func(_ context.Context, domain planner.Ref) ([]byte, error) {
			if domain == slow {
				close(reading)
				<-end
			}
			return []byte(token), nil
		},
		Ask: func(domain planner.Ref) bool { asked <- domain; return true },
		Now: time.Now, Log: func(error, string, ...any) {},
	})
	send := func(domain planner.Ref) {
		request := httptest.NewRequest(http.MethodPost, "/hook/"+domain.String(), strings.NewReader("{}"))
		request.Header.Set("X-Signature", "sha256="+sum([]byte("{}")))
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}
	var senders sync.WaitGroup
	senders.Go(func() { send(slow) })
	<-reading
	send(plant)
	if first := <-asked; first != plant {
		t.Errorf("the first turn was of %s", first)
	}
	close(end)
	senders.Wait()
	if second := <-asked; second != slow {
		t.Errorf("the second turn was of %s", second)
	}
}

func TestAReplicaWithoutTurnsSaysSo(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGeneric)
	d.idle = true
	body := read(t, "generic.json")
	if status, text := d.send("/hook/plant/fleet", body, headers(v1alpha1.WebhookGeneric, "", body)...); status != http.StatusServiceUnavailable || !strings.Contains(text, "this replica has no turns") {
		t.Errorf("answered %d %q", status, text)
	}
}

func TestWebhooksAreCounted(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGeneric)
	body := read(t, "generic.json")
	d.send("/hook/plant/fleet", body, headers(v1alpha1.WebhookGeneric, "", body)...)
	d.send("/hook/plant/fleet", body)
	d.send("/hook/plant/other", body)
	const want = `# HELP reanchor_webhooks_total Push webhooks that were received, by what became of them.
# TYPE reanchor_webhooks_total counter
reanchor_webhooks_total{result="asked"} 1
reanchor_webhooks_total{result="refused"} 1
reanchor_webhooks_total{result="unknown"} 1
`
	if err := testutil.GatherAndCompare(d.registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// No answer, log or metric holds a token or a signature.
func TestNothingOfTheTokenIsTold(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGitLab)
	body := read(t, "gitlab-push.json")
	var told []string
	for _, given := range []string{token, token + "x", ""} {
		_, text := d.send("/hook/plant/fleet", body, "X-Gitlab-Event: Push Hook", "X-Gitlab-Token: "+given)
		told = append(told, text)
	}
	metrics, err := testutil.GatherAndCount(d.registry)
	if err != nil || metrics == 0 {
		t.Fatalf("%d metrics (%v)", metrics, err)
	}
	if all := fmt.Sprint(told, d.logged); strings.Contains(all, "hunter2") || strings.Contains(all, sum(body)) {
		t.Errorf("told %s", all)
	}
}

// More requests than there are slots are sent away at once, and whoever holds a slot with a
// slow body loses it.
func TestSlowSendersDoNotPileUp(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGeneric)
	server := NewServer(d.handler)
	server.ReadTimeout = 300 * time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	answers := make(chan string, maxFromAddress)
	for range maxFromAddress {
		connection, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		if _, err := io.WriteString(connection, "POST /hook/plant/fleet HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		go func() {
			answer, _ := io.ReadAll(connection)
			answers <- string(answer)
		}()
	}
	for range maxFromAddress {
		if answer := <-answers; !strings.HasPrefix(answer, "HTTP/1.1 400 ") && !strings.HasPrefix(answer, "HTTP/1.1 503 ") {
			t.Errorf("a sender that was too slow was answered %q", answer)
		}
	}
	response, err := http.Post("http://"+listener.Addr().String()+"/hook/plant/fleet", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("after they were sent away, another was answered %d", response.StatusCode)
	}
}

// Slow senders of one address leave room for those of others, up to a bound for all of them.
func TestTooMuchAtOnceIsTurnedAway(t *testing.T) {
	d := newDesk(t, v1alpha1.WebhookGeneric)
	body, end := io.Pipe()
	var senders sync.WaitGroup
	arrived := make(chan struct{}, maxReaders)
	from := func(address string) {
		for range maxFromAddress {
			senders.Go(func() {
				request := httptest.NewRequest(http.MethodPost, "/hook/plant/fleet", arriving{body, arrived})
				request.RemoteAddr = address
				d.handler.ServeHTTP(httptest.NewRecorder(), request)
			})
		}
		for range maxFromAddress {
			<-arrived
		}
	}
	turnedAway := func(when string) {
		t.Helper()
		if status, text := d.send("/hook/plant/fleet", nil); status != http.StatusServiceUnavailable || !strings.Contains(text, "too many") {
			t.Errorf("%s, answered %d %q", when, status, text)
		}
	}
	from("192.0.2.2:1")
	if status, text := d.send("/hook/plant/fleet", nil); status != http.StatusUnauthorized {
		t.Errorf("while one address sends slowly, another was answered %d %q", status, text)
	}
	from("192.0.2.1:1") // that of what is sent by the desk
	turnedAway("with as many from its own address")
	from("[2001:db8::1]:1")
	from("[2001:db8:0:1::1]:1")
	turnedAway("with as many as there may be")
	if len(d.logged) > 0 {
		t.Errorf("logged %q", d.logged)
	}
	_ = end.Close()
	senders.Wait()
	if status, _ := d.send("/hook/plant/fleet", nil); status != http.StatusUnauthorized {
		t.Errorf("once they were served, another was answered %d", status)
	}
}

// arriving tells when a body is begun to be read.
type arriving struct {
	io.Reader
	arrived chan<- struct{}
}

func (a arriving) Read(p []byte) (int, error) {
	select {
	case a.arrived <- struct{}{}:
	default:
	}
	return a.Reader.Read(p)
}

// Whatever a sender that knows the token says, the receiver asks for a turn or says in one
// short line why not.
func FuzzWhy(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	senders := []v1alpha1.WebhookType{v1alpha1.WebhookGitHub, v1alpha1.WebhookGitLab, v1alpha1.WebhookGitea}
	for _, file := range files {
		for i := range senders {
			f.Add(uint8(i), "push", read(f, filepath.Base(file)))
		}
	}
	f.Add(uint8(1), "System Hook", []byte(`{"event_name":"push","ref":"refs/heads/main","project":{"path_with_namespace":"example/pki"}}`))
	f.Fuzz(func(t *testing.T, sender uint8, event string, body []byte) {
		hook := Hook{Type: senders[int(sender)%len(senders)], URL: "https://git.example/example/pki.git", Branches: []string{"main"}}
		header := http.Header{}
		for _, name := range []string{"X-GitHub-Event", "X-Gitlab-Event", "X-Gitea-Event"} {
			header.Set(name, event)
		}
		reason, err := why(hook, header, body)
		if err != nil && (!errors.Is(err, errNotPush) || reason != "") {
			t.Errorf("%q and %v", reason, err)
		}
		if strings.ContainsAny(reason, "\r\n\x00") || len(reason) > 4096 {
			t.Errorf("says %q", reason)
		}
		if err == nil && reason == "" && !bytes.Contains(body, []byte("main")) && !bytes.Contains(body, []byte(`\u`)) {
			t.Errorf("a turn was asked for by %q", body)
		}
	})
}
