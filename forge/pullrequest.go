package forge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// gitHubAPI is that of github.com.
const gitHubAPI = "https://api.github.com"

// ForRepository is a repository, for [Forge.Propose] alone. The provider and the repository
// must be given; the API must be too, but for github.com. The token comes from the environment
// alone, from the variable that [FromEnvironment] takes it from.
func ForRepository(provider string, getenv func(string) string, settings Settings) (*Forge, error) {
	names, known := environments[provider]
	if !known {
		return nil, fmt.Errorf("the forge %q is not known: give one of %v", provider, Providers)
	}
	address := settings.API
	if provider == GitHub {
		address = cmp.Or(address, gitHubAPI)
	}
	api, err := endpoint(address)
	if err != nil {
		return nil, fmt.Errorf("the URL of the API of %s: %w", provider, err)
	}
	if !repositories[provider].MatchString(settings.Repository) {
		return nil, fmt.Errorf("the repository of %s is %q: give 'owner/name'; for GitLab the project's number or path", provider, settings.Repository)
	}
	token := getenv(names.token)
	if token == "" {
		return nil, fmt.Errorf("%w in %s: give one that may open pull requests", ErrNoToken, names.token)
	}
	return newForge(provider, api, settings.Repository, 0, token, ""), nil
}

// Proposal is what a pull request is to say.
type Proposal struct {
	// From is the branch that is to be merged, Into the one that it is for.
	From, Into string
	// Title in one line, and Body in Markdown.
	Title, Body string
}

// pull is a pull request as the three forges tell of it; GitLab calls most otherwise.
type pull struct {
	Number int `json:"number"`
	IID    int `json:"iid"`

	Title       string `json:"title"`
	Body        string `json:"body"`
	Description string `json:"description"`

	Head         side   `json:"head"`
	Base         side   `json:"base"`
	SourceBranch string `json:"source_branch"`
	TargetBranch string `json:"target_branch"`

	SourceProject int `json:"source_project_id"`
	TargetProject int `json:"target_project_id"`
}

// side of a pull request.
type side struct {
	Ref  string `json:"ref"`
	Repo struct {
		FullName string `json:"full_name"`
	} `json:"repo"`
}

// isOf reports whether a pull request is the one that a proposal is about, and not one of the
// same name from a fork.
func (p pull) isOf(wanted Proposal) bool {
	return cmp.Or(p.Head.Ref, p.SourceBranch) == wanted.From && cmp.Or(p.Base.Ref, p.TargetBranch) == wanted.Into &&
		p.Head.Repo == p.Base.Repo && p.SourceProject == p.TargetProject
}

func (p pull) says(wanted Proposal) bool {
	body := strings.ReplaceAll(cmp.Or(p.Body, p.Description), "\r\n", "\n")
	return p.Title == wanted.Title && strings.TrimSpace(body) == strings.TrimSpace(wanted.Body)
}

// Propose sees that one pull request is open from a branch into another, and that it says what
// is wanted: it is opened if there is none, and edited if it says something else.
func (f *Forge) Propose(ctx context.Context, wanted Proposal) (Outcome, error) {
	outcome, err := f.persevere(ctx, func() (Outcome, error) { return f.propose(ctx, wanted) })
	if err != nil {
		return "", fmt.Errorf("open a pull request from %s on %s: %w", wanted.From, f, err)
	}
	return outcome, nil
}

func (f *Forge) propose(ctx context.Context, wanted Proposal) (Outcome, error) {
	open, err := f.pulls(ctx, wanted)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(open, func(p pull) bool { return p.isOf(wanted) })
	switch {
	case at < 0:
		_, err := f.ask(ctx, http.MethodPost, f.allPulls(), f.written(wanted, true), nil)
		return Made, err
	case open[at].says(wanted):
		return Unchanged, nil
	}
	method, number := http.MethodPatch, open[at].Number
	if f.provider == GitLab {
		method, number = http.MethodPut, open[at].IID
	}
	_, err = f.ask(ctx, method, fmt.Sprintf("%s/%d", f.allPulls(), number), f.written(wanted, false), nil)
	return Edited, err
}

// allPulls is the path of the pull requests.
func (f *Forge) allPulls() string {
	if f.provider == GitLab {
		return "projects/" + url.PathEscape(f.repository) + "/merge_requests"
	}
	return "repos/" + f.repository + "/pulls"
}

// pulls are those that are open, of which the forge leaves out as many others as it can.
func (f *Forge) pulls(ctx context.Context, wanted Proposal) ([]pull, error) {
	query := url.Values{"state": {"open"}, "per_page": {"100"}}
	switch f.provider {
	case GitHub:
		owner, _, _ := strings.Cut(f.repository, "/")
		query.Set("head", owner+":"+wanted.From)
		query.Set("base", wanted.Into)
	case GitLab:
		query = url.Values{"state": {"opened"}, "per_page": {"100"}, "source_branch": {wanted.From}, "target_branch": {wanted.Into}}
	case Gitea:
		query = url.Values{"state": {"open"}, "limit": {"50"}}
	}
	return pages[pull](ctx, f, f.allPulls(), query.Encode())
}

// written is a request to open a pull request, or to edit one.
func (f *Forge) written(p Proposal, anew bool) map[string]any {
	text, from, into := "body", "head", "base"
	if f.provider == GitLab {
		text, from, into = "description", "source_branch", "target_branch"
	}
	request := map[string]any{"title": p.Title, text: p.Body}
	if anew {
		request[from], request[into] = p.From, p.Into
	}
	return request
}

// pages are all that a path lists, from all of its pages.
func pages[T any](ctx context.Context, f *Forge, path, query string) ([]T, error) {
	var all []T
	for range mostPages {
		var page []T
		header, err := f.ask(ctx, http.MethodGet, path+"?"+query, nil, &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		next := nextPage(header)
		if next == "" || next == query {
			return all, nil
		}
		query = next
	}
	return nil, errTooManyPages
}

var errTooManyPages = errors.New("the list has no end")
