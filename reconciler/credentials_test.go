package reconciler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

func secret(name string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name}, Data: map[string][]byte{}}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	return s
}

// forbidden is a reader that may read nothing.
type forbidden struct{ client.Reader }

func (forbidden) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, key.Name, errors.New("no"))
}

func TestCredentialsAreReadByName(t *testing.T) {
	w := newWorld(t, secret("git", map[string]string{"username": "bot", "password": "hunter2"}), secret("ca", map[string]string{"ca.crt": "PEM"}))
	w.edit(func(d *v1alpha1.TrustDomain) {
		d.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "git"}
		d.Spec.Source.CertSecretRef = &v1alpha1.LocalReference{Name: "ca"}
	})
	w.turn()
	got := w.pulledWith[0]
	if got.Username != "bot" || got.Password != "hunter2" || string(got.CAs) != "PEM" {
		t.Errorf("pulled with other credentials than the Secrets hold: %s", got)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, got); strings.Contains(text, "hunter2") || strings.Contains(text, "bot") {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

func TestMissingCredentialsAreNamed(t *testing.T) {
	for name, test := range map[string]struct {
		secret *corev1.Secret
		may    bool
		want   string
	}{
		"missing":   {secret("other", nil), true, "spec.source.secretRef: Secret plant/git does not exist: create it, or correct the name"},
		"key":       {secret("git", map[string]string{"username": "bot"}), true, `spec.source.secretRef: Secret plant/git has no key "password": add it`},
		"forbidden": {secret("git", nil), false, "spec.source.secretRef: Secret plant/git may not be read: grant the controller's service account get on secrets with resourceNames [git] in namespace plant"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.secret)
			w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "git"} })
			if !test.may {
				w.reconciler.APIReader = forbidden{w.client}
			}
			w.turn()
			expectCalls(t, w)
			if got := w.domain().Status.Conditions[0].Message; got != test.want {
				t.Errorf("message\n\t%s\nwant\n\t%s", got, test.want)
			}
		})
	}
}

// A calm turn reads no Secret; one whose pull fails reads it and pulls again, so
// that a changed password heals at once.
func TestAChangedPasswordHealsAtOnce(t *testing.T) {
	s := secret("git", map[string]string{"username": "bot", "password": "old"})
	w := newWorld(t, s)
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "git"} })
	w.turn()

	w.reconciler.APIReader = forbidden{w.client}
	w.turn()
	expectCalls(t, w, "pull")

	w.reconciler.APIReader = uncached{w.client}
	s.Data["password"] = []byte("new")
	if err := w.client.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.reconciler.Parts.Source = pickySource{w, "new"}
	w.turn()
	expectCalls(t, w, "pull", "pull")
	if w.pulledWith[len(w.pulledWith)-1].Password != "new" {
		t.Error("pulled again with the old password")
	}
}

type pickySource struct {
	*world
	password string
}

func (s pickySource) Pull(ctx context.Context, from Branch) (Snapshot, error) {
	snapshot, err := s.world.Pull(ctx, from)
	if from.Credentials.Password != s.password {
		return nil, errors.New("authentication required: correct the Secret")
	}
	return snapshot, err
}
