package reconciler

import (
	"slices"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

func TestAWebhookIsFoundByItsDomain(t *testing.T) {
	w := newWorld(t, secret("hook", map[string]string{"token": "hunter2"}))
	if hook, err := w.reconciler.Webhook(t.Context(), fleet); err != nil || hook != nil {
		t.Errorf("a domain without a webhook: %+v (%v)", hook, err)
	}
	if _, err := w.reconciler.WebhookToken(t.Context(), fleet); err == nil || !strings.Contains(err.Error(), "has no spec.webhook") {
		t.Errorf("a token without a webhook: %v", err)
	}
	w.edit(func(d *v1alpha1.TrustDomain) {
		d.Spec.Webhook = &v1alpha1.Webhook{Type: v1alpha1.WebhookGitea, SecretRef: *named("hook")}
		d.Spec.WriteBack = v1alpha1.WriteBack{Branch: "anchors"}
	})
	hook, err := w.reconciler.Webhook(t.Context(), fleet)
	if err != nil || hook.Type != v1alpha1.WebhookGitea || hook.URL != "https://git.example/fleet.git" || !slices.Equal(hook.Branches, []string{"main", "anchors"}) {
		t.Errorf("found %+v (%v)", hook, err)
	}
	if token, err := w.reconciler.WebhookToken(t.Context(), fleet); err != nil || string(token) != "hunter2" {
		t.Errorf("the token is another (%v)", err)
	}
	other := fleet
	other.Name = "other"
	if hook, err := w.reconciler.Webhook(t.Context(), other); err != nil || hook != nil {
		t.Errorf("a domain that is not there: %+v (%v)", hook, err)
	}
}

func TestATokenThatIsOfNoUseIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		data map[string]string
		want string
	}{
		"missing":     {nil, `spec.webhook.secretRef: Secret plant/hook has no key "token": add it`},
		"empty":       {map[string]string{"token": ""}, `has no key "token"`},
		"echoed":      {map[string]string{"token": "hunter2\n"}, `has a line break in the key "token"`},
		"another key": {map[string]string{"token": "hunter2", "password": "hunter2"}, `has the key "password", which means nothing here: remove it, or correct its name to one of token`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, secret("hook", test.data))
			w.edit(func(d *v1alpha1.TrustDomain) {
				d.Spec.Webhook = &v1alpha1.Webhook{Type: v1alpha1.WebhookGitHub, SecretRef: *named("hook")}
			})
			_, err := w.reconciler.WebhookToken(t.Context(), fleet)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
