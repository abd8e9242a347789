package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/receiver"
	"github.com/reanchor/reanchor/reconciler"
)

// A webhook finds its TrustDomain and its Secret; a controller that has no turns, since it
// does not lead, says so.
func TestWebhooksReachTheController(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := applier.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	domain := &v1alpha1.TrustDomain{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "fleet"}}
	domain.Spec.Source = v1alpha1.Source{URL: "https://git.example/example/pki.git", Ref: v1alpha1.Reference{Branch: "main"}}
	domain.Spec.Webhook = &v1alpha1.Webhook{Type: v1alpha1.WebhookGitHub, SecretRef: v1alpha1.LocalReference{Name: "hook"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "hook"}, Data: map[string][]byte{"token": []byte("hunter2")}}
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithObjects(domain, secret).Build()
	handler := receiver.New(hooksOf(&reconciler.Reconciler{Client: cluster, APIReader: cluster, Now: time.Now}, nil))

	body := `{"ref":"refs/heads/main","repository":{"full_name":"example/pki"}}`
	for name, test := range map[string]struct {
		path, token string
		want        int
	}{
		"it does not lead": {"/hook/plant/fleet", "hunter2", http.StatusServiceUnavailable},
		"a wrong token":    {"/hook/plant/fleet", "hunter3", http.StatusUnauthorized},
		"another domain":   {"/hook/plant/other", "hunter2", http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			mac := hmac.New(sha256.New, []byte(test.token))
			mac.Write([]byte(body))
			request := httptest.NewRequest(http.MethodPost, test.path, strings.NewReader(body))
			request.Header.Set("X-GitHub-Event", "push")
			request.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			if recorder.Code != test.want {
				t.Errorf("answered %d %q, want %d", recorder.Code, recorder.Body, test.want)
			}
			if test.want == http.StatusServiceUnavailable && !strings.Contains(recorder.Body.String(), "has no turns") {
				t.Errorf("answered %q", recorder.Body)
			}
		})
	}
}
