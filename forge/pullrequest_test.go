package forge

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/forge/forgetest"
)

var sensors = Proposal{From: "reanchor/registrations/sensors", Into: "main", Title: "Register devices of sensors", Body: "1 waits\n"}

// repositoryOn is the repository of a forge on loopback, whose waiting takes no time.
func repositoryOn(t *testing.T, server *forgetest.Server, provider string) *Forge {
	t.Helper()
	environment := server.Environment()
	f, err := ForRepository(provider, func(name string) string { return environment[name] }, Settings{API: server.URL, Repository: "example/pki"})
	if err != nil {
		t.Fatal(err)
	}
	f.wait = func(context.Context, time.Duration) error { return nil }
	return f
}

// One pull request is open for a branch: opened once, edited in place, and opened anew when a
// person has closed it. Others, and those of forks, are left alone.
func TestPropose(t *testing.T) {
	for _, provider := range Providers {
		t.Run(provider, func(t *testing.T) {
			server := forgetest.New(t, provider)
			server.PerPage = 2
			others := []forgetest.Pull{
				{From: "reanchor/registrations/sensors", Into: "next", Title: "for another branch"},
				{From: "reanchor/registrations/sensors", Into: "main", Title: "from a fork", Fork: true},
				{From: "topic", Into: "main", Title: "something else"},
				{From: "reanchor/registrations/sensors", Into: "main", Title: "closed long ago", Closed: true},
			}
			for _, other := range others {
				server.Open(other)
			}
			f := repositoryOn(t, server, provider)
			more := sensors
			more.Body = "2 wait\n"
			for i, step := range []struct {
				wanted Proposal
				want   Outcome
			}{{sensors, Made}, {sensors, Unchanged}, {more, Edited}, {more, Unchanged}} {
				got, err := f.Propose(t.Context(), step.wanted)
				if err != nil || got != step.want {
					t.Fatalf("step %d: %q (%v), want %q", i, got, err, step.want)
				}
			}
			all := server.Pulls()
			want := forgetest.Pull{Number: all[len(all)-1].Number, From: sensors.From, Into: "main", Title: sensors.Title, Body: more.Body}
			if len(all) != len(others)+1 || all[len(all)-1] != want {
				t.Errorf("there are %+v", all)
			}
			for i, other := range others {
				if other.Number = all[i].Number; all[i] != other {
					t.Errorf("%+v became %+v", other, all[i])
				}
			}
		})
	}
}

// Trouble is sat out, and what was made before an answer was lost is not made twice. No error
// holds the token.
func TestProposeInTrouble(t *testing.T) {
	for _, provider := range Providers {
		t.Run(provider, func(t *testing.T) {
			server := forgetest.New(t, provider)
			f := repositoryOn(t, server, provider)
			failures := 0
			server.Trouble = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost && failures < 2 {
					failures++
					w.WriteHeader(http.StatusBadGateway)
					return true
				}
				return false
			}
			if got, err := f.Propose(t.Context(), sensors); err != nil || got != Made || len(server.Pulls()) != 1 {
				t.Errorf("%q %v, and there are %+v", got, err, server.Pulls())
			}
			server.Trouble = nil
			f.token = "wr0ng-token"
			_, err := f.Propose(t.Context(), sensors)
			want := "open a pull request from " + sensors.From + " on " + provider + " example/pki: "
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, f), f.token) {
				t.Errorf("with a wrong token: %v", err)
			}
			f.token, server.ReadOnly = server.Token, true
			if _, err := f.Propose(t.Context(), Proposal{From: "x", Into: "main", Title: "x", Body: "x"}); err == nil || !strings.Contains(err.Error(), "may not do that") {
				t.Errorf("with a token that only reads: %v", err)
			}
			if asked := server.Asked(); !slices.ContainsFunc(asked, func(a string) bool { return strings.HasPrefix(a, "GET ") }) {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

func TestForRepository(t *testing.T) {
	token := func(string) string { return "t" }
	for name, test := range map[string]struct {
		provider string
		getenv   func(string) string
		settings Settings
		want     string
	}{
		"GitHub's own":    {GitHub, token, Settings{Repository: "example/pki"}, "github example/pki"},
		"GitLab by path":  {GitLab, token, Settings{API: "https://git.example/api/v4", Repository: "a/b/pki"}, "gitlab a/b/pki"},
		"no API":          {Gitea, token, Settings{Repository: "example/pki"}, "the URL of the API of gitea: is not known"},
		"in clear":        {Gitea, token, Settings{API: "http://git.example", Repository: "example/pki"}, "would carry the token in clear"},
		"of no kind":      {"bitbucket", token, Settings{}, `the forge "bitbucket" is not known`},
		"no repository":   {GitHub, token, Settings{}, `the repository of github is ""`},
		"another's paths": {GitHub, token, Settings{Repository: "../../user"}, `the repository of github is "../../user"`},
		"no token":        {GitHub, func(string) string { return "" }, Settings{Repository: "example/pki"}, "there is no token in GITHUB_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := ForRepository(test.provider, test.getenv, test.settings)
			got := fmt.Sprint(err)
			if err == nil {
				got = f.String()
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
