package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/forge/forgetest"
)

const (
	plant   = "<!-- reanchor-plan: sites/plant -->"
	harbour = "<!-- reanchor-plan: sites/harbour -->"
)

// on a forge, with the times that it was waited for.
func on(t *testing.T, server *forgetest.Server, settings Settings) (*Forge, *[]time.Duration) {
	t.Helper()
	environment := server.Environment()
	f, err := FromEnvironment("", func(name string) string { return environment[name] }, settings)
	if err != nil {
		t.Fatal(err)
	}
	var waited []time.Duration
	f.wait = func(_ context.Context, d time.Duration) error {
		waited = append(waited, d)
		return nil
	}
	return f, &waited
}

func upsert(t *testing.T, f *Forge, marker, text string, want Outcome) {
	t.Helper()
	if outcome, err := f.Upsert(t.Context(), marker, marker+"\n"+text); err != nil || outcome != want {
		t.Fatalf("the comment was %q (%v), want it %q", outcome, err, want)
	}
}

// bodies of the comments of an author, without their markers.
func bodies(server *forgetest.Server, author string) []string {
	var found []string
	for _, c := range server.Comments() {
		if c.Author == author {
			_, text, _ := strings.Cut(c.Body, "\n")
			found = append(found, text)
		}
	}
	return found
}

func TestOneCommentForEachDomain(t *testing.T) {
	for _, provider := range Providers {
		t.Run(provider, func(t *testing.T) {
			server := forgetest.New(t, provider)
			server.PerPage = 2
			for i := range 5 {
				server.Say("somebody", fmt.Sprintf("comment %d", i))
			}
			f, _ := on(t, server, Settings{})
			upsert(t, f, plant, "one", Made)
			upsert(t, f, harbour, "two", Made)
			server.Say("somebody", "more")
			upsert(t, f, plant, "three", Edited)
			upsert(t, f, plant, "three", Unchanged)
			if got := bodies(server, "bot"); !slices.Equal(got, []string{"three", "two"}) {
				t.Errorf("the comments are %q", got)
			}
			if got := len(server.Comments()); got != 8 {
				t.Errorf("there are %d comments, want 8", got)
			}
		})
	}
}

// A token that a forge gives to jobs may not ask whose it is.
func TestTheJobsOwnTokenWrites(t *testing.T) {
	for _, provider := range []string{GitHub, Gitea} {
		server := forgetest.New(t, provider)
		server.Me = ""
		f, _ := on(t, server, Settings{})
		upsert(t, f, plant, "one", Made)
		upsert(t, f, plant, "two", Edited)
		if got := len(server.Comments()); got != 1 {
			t.Errorf("%s: there are %d comments, want 1", provider, got)
		}
	}
}

// Whoever may comment may write a marker. He must not have his comment edited, in which he
// could put something else afterwards.
func TestNobodyElsesCommentIsEdited(t *testing.T) {
	for _, provider := range Providers {
		server := forgetest.New(t, provider)
		server.Say("mallory", plant+"\nsafe to merge")
		server.Say("bot", "I said "+plant+"\nonce")
		f, _ := on(t, server, Settings{})
		upsert(t, f, plant, "blocked", Made)
		if got := bodies(server, "mallory"); !slices.Equal(got, []string{"safe to merge"}) {
			t.Errorf("%s: mallory says %q", provider, got)
		}
		if got := bodies(server, "bot"); !slices.Equal(got, []string{"once", "blocked"}) {
			t.Errorf("%s: the program says %q", provider, got)
		}
	}
}

func TestAnAuthorThatIsGivenIsNotAskedFor(t *testing.T) {
	server := forgetest.New(t, GitHub)
	server.Say("pki-app[bot]", plant+"\nold")
	f, _ := on(t, server, Settings{Author: "pki-app[bot]"})
	upsert(t, f, plant, "new", Edited)
	if asked := server.Asked(); slices.Contains(asked, "GET /user") {
		t.Errorf("asked %q", asked)
	}
}

// Two jobs that began at once leave two comments; the next run leaves one.
func TestTwinsAreRemoved(t *testing.T) {
	for _, provider := range Providers {
		server := forgetest.New(t, provider)
		for i := range 3 {
			server.Say("bot", fmt.Sprintf("%s\ntwin %d", plant, i))
		}
		f, _ := on(t, server, Settings{})
		upsert(t, f, plant, "only", Edited)
		if got := bodies(server, "bot"); !slices.Equal(got, []string{"only"}) {
			t.Errorf("%s: the comments are %q", provider, got)
		}
	}
}

// now is the Date of an answer.
var now = time.Date(2026, 1, 2, 6, 0, 0, 0, time.UTC)

// times answers the first requests with a status and headers.
func troubled(n, status int, headers ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if n == 0 {
			return false
		}
		n--
		w.Header().Set("Date", now.Format(http.TimeFormat))
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		return true
	}
}

func TestTroubleIsWaitedFor(t *testing.T) {
	inAMinute := now.Add(time.Minute)
	for name, test := range map[string]struct {
		trouble func(http.ResponseWriter, *http.Request) bool
		waited  []time.Duration
	}{
		"too many requests":              {troubled(1, 429, "Retry-After", "7"), []time.Duration{7 * time.Second}},
		"until a time":                   {troubled(1, 429, "Retry-After", inAMinute.Format(http.TimeFormat)), []time.Duration{time.Minute}},
		"without a time":                 {troubled(2, 429), []time.Duration{time.Second, 2 * time.Second}},
		"a second limit of GitHub":       {troubled(1, 403, "Retry-After", "60"), []time.Duration{time.Minute}},
		"an exhausted limit":             {troubled(1, 403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", strconv.FormatInt(inAMinute.Unix(), 10)), []time.Duration{time.Minute}},
		"a limit that was exhausted":     {troubled(1, 403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "17"), []time.Duration{time.Second}},
		"a server in trouble":            {troubled(3, 502), []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		"a Retry-After that makes haste": {troubled(1, 503, "Retry-After", "0"), []time.Duration{time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			server := forgetest.New(t, GitHub)
			server.Trouble = test.trouble
			f, waited := on(t, server, Settings{})
			upsert(t, f, plant, "text", Made)
			if !slices.Equal(*waited, test.waited) {
				t.Errorf("waited %v, want %v", *waited, test.waited)
			}
		})
	}
}

// A forge that writes a comment and then fails to say so has one comment in the end.
func TestNothingIsMadeTwice(t *testing.T) {
	server := forgetest.New(t, GitHub)
	f, _ := on(t, server, Settings{})
	said := make(chan struct{})
	server.Trouble = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		go func() {
			server.Say("bot", plant+"\ntext")
			close(said)
		}()
		w.WriteHeader(http.StatusBadGateway)
		return true
	}
	f.wait = func(context.Context, time.Duration) error {
		<-said
		return nil
	}
	upsert(t, f, plant, "text", Unchanged)
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*forgetest.Server, *Forge)
		want   []string
	}{
		"a token that is none": {func(s *forgetest.Server, f *Forge) { f.token = "wr0ng" }, []string{"401 Unauthorized (Bad credentials: …)", "the token in GITHUB_TOKEN is not accepted"}},
		"a fork's token": {func(s *forgetest.Server, _ *Forge) { s.ReadOnly = true }, []string{
			"POST /repos/example/pki/issues/17/comments: 403 Forbidden (Resource not accessible by integration)", "permissions: {pull-requests: write}", "print the plan to the job's summary",
		}},
		"another repository":     {func(_ *forgetest.Server, f *Forge) { f.repository = "example/other" }, []string{"404 Not Found", "there is no github example/other #17, or the token"}},
		"a server that is down":  {func(s *forgetest.Server, _ *Forge) { s.Trouble = troubled(99, 503) }, []string{"503 Service Unavailable: run the job again later"}},
		"an hour's limit":        {func(s *forgetest.Server, _ *Forge) { s.Trouble = troubled(99, 429, "Retry-After", "3600") }, []string{"429 Too Many Requests", "the forge asks to wait 1h0m0s"}},
		"a redirect":             {func(s *forgetest.Server, _ *Forge) { s.Trouble = troubled(99, 301, "Location", "https://evil.example") }, []string{"301 Moved Permanently", "give --api-url"}},
		"a page that is no JSON": {func(s *forgetest.Server, _ *Forge) { s.Trouble = troubled(99, 200) }, []string{"something else than JSON", "--api-url"}},
		"a comment refused":      {func(s *forgetest.Server, f *Forge) { s.Trouble = troubled(99, 422); f.author = "bot" }, []string{"422 Unprocessable Entity: see what the forge says"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := forgetest.New(t, GitHub)
			f, _ := on(t, server, Settings{})
			test.change(server, f)
			_, err := f.Upsert(t.Context(), plant, plant+"\ntext")
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(test.want, "comment on github example/") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%v %+v %#v", f, f, f)} {
				if strings.Contains(text, f.token) {
					t.Errorf("%s holds the token", text)
				}
			}
		})
	}
}

func TestAForgeThatDoesNotAnswer(t *testing.T) {
	server := forgetest.New(t, GitHub)
	f, waited := on(t, server, Settings{API: "http://127.0.0.1:1"})
	if _, err := f.Upsert(t.Context(), plant, plant); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1 does not answer") || len(*waited) != attempts-1 {
		t.Errorf("%v after %v", err, *waited)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Upsert(ctx, plant, plant); !errors.Is(err, context.Canceled) || len(*waited) != attempts-1 {
		t.Errorf("%v after %v", err, *waited)
	}
	if err := sit(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A forge whose pages lead back to the first is left in the end.
func TestPagesEnd(t *testing.T) {
	server := forgetest.New(t, GitLab)
	pages := 0
	server.Trouble = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "notes") {
			return false
		}
		pages++
		w.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, r.URL.Path, pages))
		fmt.Fprint(w, "[]")
		return true
	}
	f, _ := on(t, server, Settings{})
	if _, err := f.Upsert(t.Context(), plant, plant); err == nil || pages != mostPages {
		t.Errorf("%v after %d pages", err, pages)
	}
}

func TestEnvironments(t *testing.T) {
	github := map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_API_URL": "https://api.git.example", "GITHUB_REPOSITORY": "example/pki", "GITHUB_REF": "refs/pull/17/merge", "GITHUB_TOKEN": "t"}
	with := func(changes ...string) map[string]string {
		changed := map[string]string{}
		for name, value := range github {
			changed[name] = value
		}
		for i := 0; i < len(changes); i += 2 {
			changed[changes[i]] = changes[i+1]
		}
		return changed
	}
	gitlab := map[string]string{"GITLAB_CI": "true", "CI_API_V4_URL": "https://git.example/api/v4", "CI_MERGE_REQUEST_PROJECT_ID": "4", "CI_MERGE_REQUEST_IID": "17", "GITLAB_TOKEN": "t"}
	for name, test := range map[string]struct {
		provider    string
		environment map[string]string
		settings    Settings
		want        string
	}{
		"GitHub":                 {"", github, Settings{}, "github example/pki #17"},
		"GitLab":                 {"", gitlab, Settings{}, "gitlab 4 #17"},
		"GitLab by its path":     {"", gitlab, Settings{Repository: "group/sub/pki"}, "gitlab group/sub/pki #17"},
		"Gitea":                  {"", with("GITEA_ACTIONS", "true", "GITEA_TOKEN", "t"), Settings{}, "gitea example/pki #17"},
		"Forgejo":                {"", with("FORGEJO_ACTIONS", "true", "GITEA_TOKEN", "t"), Settings{}, "gitea example/pki #17"},
		"by flags":               {GitHub, map[string]string{"GITHUB_TOKEN": "t"}, Settings{API: "https://api.git.example/", Repository: "a/b", Number: 3}, "github a/b #3"},
		"of no CI":               {"", nil, Settings{}, `--provider "": give one of [github gitlab gitea]`},
		"of another CI":          {"bitbucket", nil, Settings{}, `--provider "bitbucket": give one of`},
		"a push":                 {"", with("GITHUB_REF", "refs/heads/main"), Settings{}, `this job is of no pull request (GITHUB_REF is "refs/heads/main")`},
		"no token":               {"", with("GITHUB_TOKEN", ""), Settings{}, "there is no token in GITHUB_TOKEN"},
		"no API":                 {"", with("GITHUB_API_URL", ""), Settings{}, "the API of github: is not known: give --api-url, or set GITHUB_API_URL"},
		"in clear":               {"", with("GITHUB_API_URL", "http://git.example"), Settings{}, "would carry the token in clear"},
		"with a password":        {"", with("GITHUB_API_URL", "https://a:b@git.example"), Settings{}, "is no URL of a server"},
		"not a URL":              {"", with("GITHUB_API_URL", "git.example"), Settings{}, "is no URL of a server"},
		"a repository like none": {"", with("GITHUB_REPOSITORY", "../../user"), Settings{}, `the repository of github is "../../user"`},
		"a negative number":      {"", github, Settings{Number: -1}, "this job is of no pull request"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := FromEnvironment(test.provider, func(name string) string { return test.environment[name] }, test.settings)
			got := fmt.Sprint(err)
			if err == nil {
				got = f.String()
			}
			if !strings.HasPrefix(got, test.want) && !strings.Contains(got, test.want) {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
