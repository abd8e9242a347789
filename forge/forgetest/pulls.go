package forgetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
)

// Pull is a pull request.
type Pull struct {
	Number     int
	From, Into string
	Title      string
	Body       string
	Closed     bool
	// Fork: it comes from another repository.
	Fork bool
}

var (
	pulls   = regexp.MustCompile(`^/(?:repos/example/pki/pulls|api/v1/repos/example/pki/pulls|api/v4/projects/(?:4|example/pki)/merge_requests)$`)
	onePull = regexp.MustCompile(`^/(?:repos/example/pki/pulls|api/v1/repos/example/pki/pulls|api/v4/projects/(?:4|example/pki)/merge_requests)/([0-9]+)$`)
)

// Open a pull request as somebody else would.
func (s *Server) Open(p Pull) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open(p)
}

func (s *Server) open(p Pull) Pull {
	p.Number = len(s.pulled) + 20
	s.pulled = append(s.pulled, p)
	return p
}

// Pulls are all that there are, the oldest first.
func (s *Server) Pulls() []Pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pulled)
}

// asProvider is a pull request as the provider tells of it.
func (s *Server) asProvider(p Pull) map[string]any {
	if s.provider == "gitlab" {
		project := 4
		if p.Fork {
			project = 5
		}
		return map[string]any{"iid": p.Number, "title": p.Title, "description": p.Body, "source_branch": p.From, "target_branch": p.Into, "source_project_id": project, "target_project_id": 4}
	}
	own := map[string]string{"full_name": "example/pki"}
	from := own
	if p.Fork {
		from = map[string]string{"full_name": "other/pki"}
	}
	return map[string]any{
		"number": p.Number, "title": p.Title, "body": p.Body,
		"head": map[string]any{"ref": p.From, "repo": from}, "base": map[string]any{"ref": p.Into, "repo": own},
	}
}

// listPulls that are asked for. Gitea tells all that are open.
func (s *Server) listPulls(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	from, into, state := query.Get("head"), query.Get("base"), "open"
	if s.provider == "gitlab" {
		from, into, state = query.Get("source_branch"), query.Get("target_branch"), "opened"
	}
	told := []map[string]any{}
	for _, p := range s.pulled {
		head := p.From
		if s.provider == "github" {
			head = "example:" + p.From
		}
		if matches := s.provider == "gitea" || (from == head && into == p.Into); matches && !p.Closed && query.Get("state") == state {
			told = append(told, s.asProvider(p))
		}
	}
	number, _ := strconv.Atoi(query.Get("page"))
	number = max(number, 1)
	page := told[min((number-1)*s.PerPage, len(told)):min(number*s.PerPage, len(told))]
	if number*s.PerPage < len(told) {
		query.Set("page", strconv.Itoa(number+1))
		w.Header().Set("Link", fmt.Sprintf(`<https://elsewhere.example%s?%s>; rel="next"`, r.URL.Path, query.Encode()))
	}
	answer(w, http.StatusOK, page)
}

// writePull opens one, or edits one if there is a number.
func (s *Server) writePull(w http.ResponseWriter, r *http.Request, number int) {
	var written struct {
		Title, Body, Description, Head, Base string
		Source                               string `json:"source_branch"`
		Target                               string `json:"target_branch"`
	}
	if err := json.NewDecoder(r.Body).Decode(&written); err != nil || written.Title == "" {
		refuse(w, http.StatusUnprocessableEntity, "title is missing")
		return
	}
	wanted := Pull{From: written.Head, Into: written.Base, Title: written.Title, Body: written.Body}
	if s.provider == "gitlab" {
		wanted = Pull{From: written.Source, Into: written.Target, Title: written.Title, Body: written.Description}
	}
	if number == 0 {
		if slices.ContainsFunc(s.pulled, func(p Pull) bool { return !p.Closed && !p.Fork && p.From == wanted.From && p.Into == wanted.Into }) {
			refuse(w, http.StatusConflict, "A pull request already exists")
			return
		}
		answer(w, http.StatusCreated, s.asProvider(s.open(wanted)))
		return
	}
	at := slices.IndexFunc(s.pulled, func(p Pull) bool { return p.Number == number })
	if at < 0 {
		refuse(w, http.StatusNotFound, "Not Found")
		return
	}
	s.pulled[at].Title, s.pulled[at].Body = wanted.Title, wanted.Body
	answer(w, http.StatusOK, s.asProvider(s.pulled[at]))
}

// answerPulls answers what is about pull requests themselves; false: the request is not.
func (s *Server) answerPulls(w http.ResponseWriter, r *http.Request) bool {
	edit := http.MethodPatch
	if s.provider == "gitlab" {
		edit = http.MethodPut
	}
	single := onePull.FindStringSubmatch(r.URL.Path)
	switch {
	case pulls.MatchString(r.URL.Path) && r.Method == http.MethodGet:
		s.listPulls(w, r)
	case pulls.MatchString(r.URL.Path) && r.Method == http.MethodPost:
		s.writePull(w, r, 0)
	case single != nil && r.Method == edit:
		number, _ := strconv.Atoi(single[1])
		s.writePull(w, r, number)
	default:
		return false
	}
	return true
}
