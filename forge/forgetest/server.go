// Package forgetest is a forge on loopback for tests: as much of the APIs of GitHub, GitLab
// and Gitea as comments and pull requests need, with pages, authors, permissions and trouble.
package forgetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Comment on the one pull request that there is.
type Comment struct {
	ID     int64
	Author string
	Body   string
}

// Server is a forge with one pull request: number 17 of example/pki, whose number on GitLab
// is 4.
type Server struct {
	// URL of the API.
	URL string
	// Token that is accepted, and Me, whom it belongs to; empty: it may not ask.
	Token, Me string
	// ReadOnly tokens may not write.
	ReadOnly bool
	// PerPage is how many comments or pull requests a page holds.
	PerPage int
	// Trouble answers a request instead, if it says so.
	Trouble func(http.ResponseWriter, *http.Request) bool

	provider string
	mu       sync.Mutex
	comments []Comment
	pulled   []Pull
	asked    []string
	last     int64
}

// New is a forge that ends with the test.
func New(t *testing.T, provider string) *Server {
	t.Helper()
	s := &Server{Token: "s3cret-token", Me: "bot", PerPage: 100, provider: provider, last: 100}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL + map[string]string{"github": "", "gitlab": "/api/v4", "gitea": "/api/v1"}[provider]
	return s
}

// Environment is what a CI job of the pull request has.
func (s *Server) Environment() map[string]string {
	switch s.provider {
	case "gitlab":
		return map[string]string{"GITLAB_CI": "true", "CI_API_V4_URL": s.URL, "CI_MERGE_REQUEST_PROJECT_ID": "4", "CI_MERGE_REQUEST_IID": "17", "GITLAB_TOKEN": s.Token}
	case "gitea":
		return map[string]string{"GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true", "GITHUB_API_URL": s.URL, "GITHUB_REPOSITORY": "example/pki", "GITHUB_REF": "refs/pull/17/head", "GITEA_TOKEN": s.Token}
	}
	return map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_API_URL": s.URL, "GITHUB_REPOSITORY": "example/pki", "GITHUB_REF": "refs/pull/17/merge", "GITHUB_TOKEN": s.Token}
}

// Say adds a comment of somebody's.
func (s *Server) Say(author, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(author, body)
}

func (s *Server) add(author, body string) Comment {
	s.last++
	s.comments = append(s.comments, Comment{s.last, author, body})
	return s.comments[len(s.comments)-1]
}

// Comments are all that there are, the oldest first.
func (s *Server) Comments() []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Comment(nil), s.comments...)
}

// Asked are the requests that came, "GET /user", since it was last called.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

var (
	list = regexp.MustCompile(`^/(?:repos/example/pki/issues/17/comments|api/v1/repos/example/pki/issues/17/comments|api/v4/projects/4/merge_requests/17/notes)$`)
	one  = regexp.MustCompile(`^/(?:repos/example/pki/issues/comments|api/v1/repos/example/pki/issues/comments|api/v4/projects/4/merge_requests/17/notes)/([0-9]+)$`)
	user = regexp.MustCompile(`^/(?:api/v[14]/)?user$`)
)

// ServeHTTP answers as the provider does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	if s.Trouble != nil && s.Trouble(w, r) {
		return
	}
	switch {
	case s.tokenOf(r) != s.Token:
		refuse(w, http.StatusUnauthorized, "Bad credentials: "+s.tokenOf(r))
	case r.Method != http.MethodGet && s.ReadOnly:
		refuse(w, http.StatusForbidden, "Resource not accessible by integration")
	case user.MatchString(r.URL.Path):
		s.whoAmI(w)
	case list.MatchString(r.URL.Path) && r.Method == http.MethodGet:
		s.page(w, r)
	case list.MatchString(r.URL.Path) && r.Method == http.MethodPost:
		s.post(w, r)
	case one.MatchString(r.URL.Path):
		s.single(w, r)
	case s.answerPulls(w, r):
	default:
		refuse(w, http.StatusNotFound, "Not Found")
	}
}

// tokenOf a request, where the provider looks for it.
func (s *Server) tokenOf(r *http.Request) string {
	switch s.provider {
	case "gitlab":
		return r.Header.Get("PRIVATE-TOKEN")
	case "gitea":
		return strings.TrimPrefix(r.Header.Get("Authorization"), "token ")
	}
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // whoever asked is gone
}

func (s *Server) whoAmI(w http.ResponseWriter) {
	if s.Me == "" {
		refuse(w, http.StatusForbidden, "Resource not accessible by integration")
		return
	}
	answer(w, http.StatusOK, s.named(s.Me))
}

// named is a user as the provider tells of one.
func (s *Server) named(name string) map[string]string {
	if s.provider == "gitlab" {
		return map[string]string{"username": name}
	}
	return map[string]string{"login": name}
}

func (s *Server) told(c Comment) map[string]any {
	by := map[string]string{"gitlab": "author"}[s.provider]
	if by == "" {
		by = "user"
	}
	return map[string]any{"id": c.ID, "body": c.Body, by: s.named(c.Author)}
}

// page of the comments. Gitea has one page alone.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	number, _ := strconv.Atoi(r.URL.Query().Get("page"))
	number = max(number, 1)
	from, to := (number-1)*s.PerPage, min(number*s.PerPage, len(s.comments))
	if s.provider == "gitea" {
		from, to = 0, len(s.comments)
	}
	if to < len(s.comments) {
		w.Header().Set("Link", fmt.Sprintf(`<https://elsewhere.example%s?page=1>; rel="first", <https://elsewhere.example%s?page=%d>; rel="next"`, r.URL.Path, r.URL.Path, number+1))
	}
	told := []map[string]any{}
	for _, c := range s.comments[min(from, to):to] {
		told = append(told, s.told(c))
	}
	answer(w, http.StatusOK, told)
}

// body of a comment that is written; empty is refused.
func body(w http.ResponseWriter, r *http.Request) (string, bool) {
	var written struct{ Body string }
	if err := json.NewDecoder(r.Body).Decode(&written); err != nil || written.Body == "" {
		refuse(w, http.StatusUnprocessableEntity, "body is missing")
		return "", false
	}
	return written.Body, true
}

func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	if text, ok := body(w, r); ok {
		answer(w, http.StatusCreated, s.told(s.add(s.Writer(), text)))
	}
}

// Writer is whose comments the token makes.
func (s *Server) Writer() string {
	if s.Me != "" {
		return s.Me
	}
	return map[string]string{"github": "github-actions[bot]", "gitea": "gitea-actions"}[s.provider]
}

// single comment, edited or deleted.
func (s *Server) single(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseInt(one.FindStringSubmatch(r.URL.Path)[1], 10, 64)
	edit := map[string]string{"gitlab": http.MethodPut}[s.provider]
	if edit == "" {
		edit = http.MethodPatch
	}
	for i, c := range s.comments {
		switch {
		case c.ID != id:
		case r.Method == edit:
			if text, ok := body(w, r); ok {
				s.comments[i].Body = text
				answer(w, http.StatusOK, s.told(s.comments[i]))
			}
			return
		case r.Method == http.MethodDelete:
			s.comments = append(s.comments[:i], s.comments[i+1:]...)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	refuse(w, http.StatusNotFound, "Not Found")
}
