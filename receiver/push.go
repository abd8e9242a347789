package receiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// push is what a server tells of a push: the fields of all of them that matter here.
//
//	GitHub   https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
//	GitLab   https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events
//	Gitea    https://docs.gitea.com/usage/webhooks
type push struct {
	Ref        string `json:"ref"`
	EventName  string `json:"event_name"` // GitLab's
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
	Project struct { // GitLab's
		Path string `json:"path_with_namespace"`
	} `json:"project"`
}

// errNotPush says that a body cannot be read as a push.
var errNotPush = errors.New("the body is no push in JSON: set the webhook's content type to application/json")

// why tells the sender of a webhook why it is ignored; empty: it concerns the hook.
func why(hook Hook, header http.Header, body []byte) (string, error) {
	if hook.Type == v1alpha1.WebhookGeneric {
		return "", nil // there is no telling what it says
	}
	event := eventOf(hook.Type, header)
	if event == eventPing {
		return "pong", nil
	}
	if event != eventPush && event != eventSystem {
		return fmt.Sprintf("ignored: the event %.40q is no push to a branch", event), nil
	}
	var told push
	if err := json.Unmarshal(body, &told); err != nil {
		return "", errNotPush
	}
	if event == eventSystem && told.EventName != eventPush {
		return fmt.Sprintf("ignored: the event %.40q is no push to a branch", told.EventName), nil
	}
	return other(hook, told)
}

// other tells of a push that it is to another branch or repository than the hook's.
func other(hook Hook, told push) (string, error) {
	repository := told.Repository.FullName + told.Project.Path
	if told.Ref == "" || repository == "" {
		return "", errNotPush
	}
	branch, is := strings.CutPrefix(told.Ref, "refs/heads/")
	switch {
	case !names(hook.URL, repository):
		return fmt.Sprintf("ignored: a push to the repository %.200q, which is not this TrustDomain's", repository), nil
	case !is:
		return fmt.Sprintf("ignored: a push to %.200q, which is no branch", told.Ref), nil
	case !slices.Contains(hook.Branches, branch):
		return fmt.Sprintf("ignored: a push to the branch %.200q, and this TrustDomain reads %s", branch, strings.Join(hook.Branches, " and ")), nil
	}
	return "", nil
}

// names reports whether a repository's full name, org/pki, is the end of a URL's path. The
// hosts are not compared: a server need not know by which of its names it is reached here.
func names(address, repository string) bool {
	parsed, err := url.Parse(address)
	if err != nil {
		return false
	}
	path := strings.ToLower(strings.TrimSuffix(strings.Trim(parsed.Path, "/"), ".git"))
	name := strings.ToLower(strings.Trim(repository, "/"))
	return path == name || strings.HasSuffix(path, "/"+name)
}

// The events that matter, in one server's words or another's.
const (
	eventPush   = "push"
	eventPing   = "ping"
	eventSystem = "System Hook" // of a whole GitLab: the body says more
)

// eventOf a webhook, as its headers say.
func eventOf(sender v1alpha1.WebhookType, header http.Header) string {
	switch sender {
	case v1alpha1.WebhookGitHub:
		return header.Get("X-GitHub-Event")
	case v1alpha1.WebhookGitLab:
		if event := header.Get("X-Gitlab-Event"); event != "Push Hook" {
			return event
		}
		return eventPush
	}
	for _, name := range []string{"X-Forgejo-Event", "X-Gitea-Event"} {
		if event := header.Get(name); event != "" {
			return event
		}
	}
	return ""
}
