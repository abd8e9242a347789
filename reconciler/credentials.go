package reconciler

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Credentials are what a repository is pulled and pushed to with. They are never printed: their
// String says only which of them there are.
type Credentials struct {
	// Username and Password of basic authentication; empty: none.
	Username, Password string
	// CAs that the server is verified with, PEM; empty: the system's.
	CAs []byte
}

// String tells which credentials there are, not what they are.
func (c Credentials) String() string {
	return fmt.Sprintf("credentials (password: %t, CAs: %t)", c.Password != "", len(c.CAs) > 0)
}

// GoString is String, so that no format prints a password.
func (c Credentials) GoString() string { return c.String() }

// The keys of the Secrets that spec.source names.
const (
	secretUsername = "username"
	secretPassword = "password"
	secretCAs      = "ca.crt"
)

// readCredentials reads the Secrets that a domain's source names.
func readCredentials(ctx context.Context, reader client.Reader, domain *v1alpha1.TrustDomain) (Credentials, error) {
	var credentials Credentials
	if reference := domain.Spec.Source.SecretRef; reference != nil {
		values, err := readSecret(ctx, reader, "secretRef", domain.Namespace, reference.Name, secretUsername, secretPassword)
		if err != nil {
			return Credentials{}, err
		}
		credentials.Username, credentials.Password = string(values[0]), string(values[1])
	}
	if reference := domain.Spec.Source.CertSecretRef; reference != nil {
		values, err := readSecret(ctx, reader, "certSecretRef", domain.Namespace, reference.Name, secretCAs)
		if err != nil {
			return Credentials{}, err
		}
		credentials.CAs = values[0]
	}
	return credentials, nil
}

// readSecret returns the values of keys, all of which must be there.
func readSecret(ctx context.Context, reader client.Reader, field, namespace, name string, keys ...string) ([][]byte, error) {
	subject := fmt.Sprintf("spec.source.%s: Secret %s/%s", field, namespace, name)
	var secret corev1.Secret
	switch err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &secret); {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%s does not exist: create it, or correct the name", subject)
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("%s may not be read: grant the controller's service account get on secrets with resourceNames [%s] in namespace %s", subject, name, namespace)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", subject, err)
	}
	values := make([][]byte, 0, len(keys))
	for _, key := range keys {
		if len(secret.Data[key]) == 0 {
			return nil, fmt.Errorf("%s has no key %q: add it", subject, key)
		}
		values = append(values, secret.Data[key])
	}
	return values, nil
}
