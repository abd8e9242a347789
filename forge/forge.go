package forge

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Forge is a pull request and the way to its comments, or a repository and the way to its pull
// requests.
type Forge struct {
	provider, repository, token, author string
	api                                 *url.URL
	number                              int
	web                                 *http.Client
	// wait for so long, or until the context ends.
	wait func(context.Context, time.Duration) error
}

// Bounds of a conversation.
const (
	patience  = 30 * time.Second // for one request
	mostBytes = 32 << 20         // of one answer
	mostPages = 300              // of a list, a hundred entries each
)

func newForge(provider string, api *url.URL, repository string, number int, token, author string) *Forge {
	return &Forge{
		provider: provider, api: api, repository: repository, number: number, token: token, author: author,
		web:  &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		wait: sit,
	}
}

// sit out a time.
func sit(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// String names the pull request: "github example/pki #17"; or the repository alone.
func (f *Forge) String() string {
	if f.number == 0 {
		return f.provider + " " + f.repository
	}
	return fmt.Sprintf("%s %s #%d", f.provider, f.repository, f.number)
}

// GoString is String, so that no format prints the token.
func (f *Forge) GoString() string { return f.String() }

// Outcome is what became of the comment.
type Outcome string

// The outcomes.
const (
	Made      Outcome = "made"
	Edited    Outcome = "edited"
	Unchanged Outcome = "left as it is"
)

// comment as all three forges tell of it; GitLab calls its author otherwise.
type comment struct {
	ID     int64  `json:"id"`
	Body   string `json:"body"`
	User   login  `json:"user"`
	Author login  `json:"author"`
}

type login struct {
	Login    string `json:"login"`
	Username string `json:"username"`
}

// by are the names that an author may go by.
func (c comment) by() []string {
	return []string{c.User.Login, c.User.Username, c.Author.Login, c.Author.Username}
}

// Upsert keeps the one comment of ours that begins with the marker as the body says, which
// begins with it too.
func (f *Forge) Upsert(ctx context.Context, marker, body string) (Outcome, error) {
	outcome, err := f.persevere(ctx, func() (Outcome, error) { return f.upsert(ctx, marker, body) })
	if err != nil {
		return "", fmt.Errorf("comment on %s: %w", f, err)
	}
	return outcome, nil
}

func (f *Forge) upsert(ctx context.Context, marker, body string) (Outcome, error) {
	authors, err := f.authors(ctx)
	if err != nil {
		return "", err
	}
	all, err := f.comments(ctx)
	if err != nil {
		return "", err
	}
	ours := slices.DeleteFunc(all, func(c comment) bool {
		first, _, _ := strings.Cut(c.Body, "\n")
		return strings.TrimSpace(first) != marker || !slices.ContainsFunc(c.by(), func(name string) bool { return slices.Contains(authors, name) })
	})
	if len(ours) == 0 {
		return Made, f.say(ctx, http.MethodPost, f.list(), body)
	}
	slices.SortFunc(ours, func(a, b comment) int { return cmp.Compare(a.ID, b.ID) })
	for _, later := range ours[1:] {
		if _, err := f.ask(ctx, http.MethodDelete, f.one(later.ID), nil, nil); err != nil {
			return "", err
		}
	}
	if strings.TrimSpace(strings.ReplaceAll(ours[0].Body, "\r\n", "\n")) == strings.TrimSpace(body) {
		return Unchanged, nil
	}
	edit := http.MethodPatch
	if f.provider == GitLab {
		edit = http.MethodPut
	}
	return Edited, f.say(ctx, edit, f.one(ours[0].ID), body)
}

func (f *Forge) say(ctx context.Context, method, path, body string) error {
	_, err := f.ask(ctx, method, path, map[string]string{"body": body}, nil)
	return err
}

// bots are whom the tokens that forges give to jobs belong to. Such a token may not ask.
var bots = map[string][]string{GitHub: {"github-actions[bot]"}, Gitea: {"gitea-actions", "forgejo-actions"}}

// authors whose comments are ours.
func (f *Forge) authors(ctx context.Context) ([]string, error) {
	if f.author != "" {
		return []string{f.author}, nil
	}
	var me login
	_, err := f.ask(ctx, http.MethodGet, "user", nil, &me)
	if mayNotAsk(err) && len(bots[f.provider]) > 0 {
		return bots[f.provider], nil
	}
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc([]string{me.Login, me.Username}, func(name string) bool { return name == "" })
	if len(names) == 0 {
		return nil, fmt.Errorf("%s does not say whom the token belongs to: give --author", f.api.Host)
	}
	return names, nil
}

// list is the path of the comments, and one that of one.
func (f *Forge) list() string {
	if f.provider == GitLab {
		return fmt.Sprintf("projects/%s/merge_requests/%d/notes", url.PathEscape(f.repository), f.number)
	}
	return fmt.Sprintf("repos/%s/issues/%d/comments", f.repository, f.number)
}

func (f *Forge) one(id int64) string {
	if f.provider == GitLab {
		return f.list() + "/" + strconv.FormatInt(id, 10)
	}
	return fmt.Sprintf("repos/%s/issues/comments/%d", f.repository, id)
}

// comments are all of them, from all pages.
func (f *Forge) comments(ctx context.Context) ([]comment, error) {
	all, err := pages[comment](ctx, f, f.list(), "per_page=100")
	if errors.Is(err, errTooManyPages) {
		return nil, fmt.Errorf("there are more than %d pages of comments: begin a new pull request", mostPages)
	}
	return all, err
}

// nextPage is the query of the page that follows; empty on the last one.
func nextPage(header http.Header) string {
	for link := range strings.SplitSeq(strings.Join(header.Values("Link"), ","), ",") {
		target, parameters, _ := strings.Cut(strings.TrimSpace(link), ";")
		if !strings.Contains(strings.ReplaceAll(parameters, " ", ""), `rel="next"`) {
			continue
		}
		if parsed, err := url.Parse(strings.Trim(strings.TrimSpace(target), "<>")); err == nil {
			return parsed.RawQuery
		}
	}
	return ""
}

// ask sends a request, and reads the answer unless into is nil.
func (f *Forge) ask(ctx context.Context, method, path string, body, into any) (http.Header, error) {
	request, err := f.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	response, err := f.web.Do(request)
	if err != nil {
		return nil, &unreachableError{host: f.api.Host, err: err}
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(response.Body, mostBytes))
	if err != nil {
		return nil, &unreachableError{host: f.api.Host, err: err}
	}
	if response.StatusCode/100 != 2 {
		return nil, f.refusal(request, response, data)
	}
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil {
			return nil, fmt.Errorf("%s answers %s with something else than JSON: see that --api-url is the API's", f.api.Host, request.URL.Path)
		}
	}
	return response.Header, nil
}

func (f *Forge) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, f.api.String()+"/"+path, content)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "reanchor")
	switch f.provider {
	case GitHub:
		request.Header.Set("Accept", "application/vnd.github+json")
		request.Header.Set("X-GitHub-Api-Version", "2022-11-28")
		request.Header.Set("Authorization", "Bearer "+f.token)
	case GitLab:
		request.Header.Set("PRIVATE-TOKEN", f.token)
	default:
		request.Header.Set("Authorization", "token "+f.token)
	}
	return request, nil
}
