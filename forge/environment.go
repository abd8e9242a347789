package forge

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// The providers.
const (
	GitHub = "github"
	GitLab = "gitlab"
	Gitea  = "gitea"
)

// Providers are those that there are.
var Providers = []string{GitHub, GitLab, Gitea}

// Settings say what the environment does not, or otherwise. All may be empty.
type Settings struct {
	// API is the URL of the forge's API: https://api.github.com,
	// https://gitlab.example/api/v4, https://gitea.example/api/v1.
	API string
	// Repository is "owner/name"; for GitLab the project's number or path.
	Repository string
	// Number of the pull request; 0: that of the job.
	Number int
	// Author whose comments are the program's own. Empty: whom the token belongs to.
	Author string
}

// variables are what a provider's CI calls what is needed.
type variables struct {
	api, repository, token string
	// number is the variable that holds the pull request's, or a reference with it.
	number string
	// hint says how a job comes by a token.
	hint string
}

// environments of the three. A job of Gitea has GitHub's variables.
var environments = map[string]variables{
	GitHub: {"GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN", "GITHUB_REF", "give the step `env: {GITHUB_TOKEN: ${{ github.token }}}` and the job `permissions: {pull-requests: write}`"},
	GitLab: {"CI_API_V4_URL", "CI_MERGE_REQUEST_PROJECT_ID", "GITLAB_TOKEN", "CI_MERGE_REQUEST_IID", "make a project access token of scope api, and give it to the project's CI as the masked variable GITLAB_TOKEN"},
	Gitea:  {"GITHUB_API_URL", "GITHUB_REPOSITORY", "GITEA_TOKEN", "GITHUB_REF", "give the step `env: {GITEA_TOKEN: ${{ secrets.GITEA_TOKEN }}}`"},
}

// ErrNoToken says that the environment holds no token, as in jobs of pull requests from forks.
var ErrNoToken = errors.New("there is no token")

// FromEnvironment is the pull request that a CI job is for, by the variables that its forge
// sets. An empty provider is told by them too. The token comes from the environment alone.
func FromEnvironment(provider string, getenv func(string) string, settings Settings) (*Forge, error) {
	provider = cmp.Or(provider, detect(getenv))
	names, known := environments[provider]
	if !known {
		return nil, fmt.Errorf("--provider %q: give one of %v", provider, Providers)
	}
	api, err := endpoint(cmp.Or(settings.API, getenv(names.api)))
	if err != nil {
		return nil, fmt.Errorf("the API of %s: %w: give --api-url, or set %s", provider, err, names.api)
	}
	repository := cmp.Or(settings.Repository, getenv(names.repository))
	if !repositories[provider].MatchString(repository) {
		return nil, fmt.Errorf("the repository of %s is %q: give --repository, or set %s", provider, repository, names.repository)
	}
	number := cmp.Or(settings.Number, numberIn(getenv(names.number)))
	if number <= 0 {
		return nil, fmt.Errorf("this job is of no pull request (%s is %q): run it for pull requests, or give --number", names.number, getenv(names.number))
	}
	token := getenv(names.token)
	if token == "" {
		return nil, fmt.Errorf("%w in %s: %s. A pull request from a fork has none: print the plan to the job's summary instead", ErrNoToken, names.token, names.hint)
	}
	return newForge(provider, api, repository, number, token, settings.Author), nil
}

// detect tells a forge by what its CI sets. Runners of Gitea and Forgejo set GitHub's
// variables beside their own.
func detect(getenv func(string) string) string {
	switch {
	case getenv("GITEA_ACTIONS") != "" || getenv("FORGEJO_ACTIONS") != "":
		return Gitea
	case getenv("GITLAB_CI") != "":
		return GitLab
	case getenv("GITHUB_ACTIONS") != "":
		return GitHub
	}
	return ""
}

var owned = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

// repositories are the forms of their names.
var repositories = map[string]*regexp.Regexp{
	GitHub: owned, Gitea: owned, GitLab: regexp.MustCompile(`^([0-9]+|[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+)$`),
}

var pulled = regexp.MustCompile(`^refs/pull/([0-9]{1,9})/`)

// numberIn "17" or "refs/pull/17/merge"; 0 if there is none.
func numberIn(text string) int {
	if match := pulled.FindStringSubmatch(text); match != nil {
		text = match[1]
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return number
}

// endpoint is the URL of an API that a token may be sent to.
func endpoint(text string) (*url.URL, error) {
	parsed, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case text == "":
		return nil, errors.New("is not known")
	case err != nil || parsed.Hostname() == "" || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "":
		return nil, errors.New("is no URL of a server, such as https://git.example/api/v1")
	case parsed.Scheme != "https" && !(parsed.Scheme == "http" && loopback(parsed.Hostname())):
		return nil, errors.New("would carry the token in clear: it must begin with https://")
	}
	return parsed, nil
}

func loopback(host string) bool {
	address := net.ParseIP(host)
	return host == "localhost" || address != nil && address.IsLoopback()
}
