package reconciler

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// secretUse is what a field of a TrustDomain wants of the Secret that it names.
type secretUse struct {
	field, name string
	// keys that have a meaning there; "*.asc" stands for all that end so.
	keys []string
	// take puts what the Secret holds into credentials. Its errors go on after the Secret's
	// name, and hold none of its values.
	take func(*Credentials, secretData) error
}

// knows reports whether a key of the Secret has a meaning.
func (u secretUse) knows(key string) bool {
	return slices.ContainsFunc(u.keys, func(known string) bool {
		ending, any := strings.CutPrefix(known, "*")
		return key == known || any && strings.HasSuffix(key, ending)
	})
}

// secrets reads those of one domain, from its own namespace and at the API server.
type secrets struct {
	reader    client.Reader
	namespace string
	uses      []secretUse
}

func secretsOf(reader client.Reader, domain *v1alpha1.TrustDomain) secrets {
	uses := usesOf(domain.Spec)
	if webhook := domain.Spec.Webhook; webhook != nil {
		uses = append(uses, webhookUse(webhook.SecretRef.Name))
	}
	return secrets{reader: reader, namespace: domain.Namespace, uses: uses}
}

// subject names a Secret, and the field by which it is used.
func (s secrets) subject(use secretUse) string {
	return fmt.Sprintf("%s: Secret %s/%s", use.field, s.namespace, use.name)
}

// read returns what a Secret holds, all of which must have a meaning.
func (s secrets) read(ctx context.Context, use secretUse) (secretData, error) {
	var secret corev1.Secret
	switch err := s.reader.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: use.name}, &secret); {
	case apierrors.IsNotFound(err):
		return nil, failed(ReasonCredentialsInvalid, fmt.Errorf("%s does not exist: create it, or correct the name", s.subject(use)))
	case apierrors.IsForbidden(err):
		return nil, failed(ReasonCredentialsInvalid, fmt.Errorf("%s may not be read: grant the controller's service account get on secrets with resourceNames [%s] in namespace %s", s.subject(use), use.name, s.namespace))
	case err != nil:
		return nil, failed(ReasonGitOperationFailed, fmt.Errorf("%s: %w: see that the API server answers", s.subject(use), err))
	}
	for _, key := range slices.Sorted(maps.Keys(secret.Data)) {
		if err := s.hasMeaning(use, key); err != nil {
			return nil, failed(ReasonCredentialsInvalid, fmt.Errorf("%s %w", s.subject(use), err))
		}
	}
	return secretData(secret.Data), nil
}

// hasMeaning refuses a key that no use of its Secret knows: whoever put it there expects
// it to be used.
func (s secrets) hasMeaning(use secretUse, key string) error {
	known := slices.ContainsFunc(s.uses, func(other secretUse) bool { return other.name == use.name && other.knows(key) })
	switch {
	case known:
		return nil
	case sshUse.knows(key) && use.field == httpsUse.field:
		return fmt.Errorf("has the key %q, which is for an ssh:// URL: remove it, or change spec.source.url", key)
	case httpsUse.knows(key) && use.field == sshUse.field:
		return fmt.Errorf("has the key %q, which is for an https:// URL: remove it, or change spec.source.url", key)
	case certificatesUse.knows(key):
		return fmt.Errorf("has the key %q, which is read from the Secret that %s names: name this one there too, or remove the key", key, certificatesUse.field)
	}
	return fmt.Errorf("has the key %q, which means nothing here: remove it, or correct its name to one of %s", key, strings.Join(use.keys, ", "))
}

// secretData is what a Secret holds.
type secretData map[string][]byte

// has reports whether one of the keys is there, and not empty.
func (d secretData) has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return len(d[key]) > 0 })
}

// require fails unless all of the keys are there.
func (d secretData) require(keys ...string) error {
	for _, key := range keys {
		if !d.has(key) {
			return fmt.Errorf("has no key %q: add it", key)
		}
	}
	return nil
}

// singleLines fails if one of the keys that must be a single line is not, as one that was
// made with echo and --from-file.
func (d secretData) singleLines(keys ...string) error {
	for _, key := range keys {
		if bytes.ContainsAny(d[key], "\r\n") {
			return fmt.Errorf("has a line break in the key %q: store the value without one (printf instead of echo)", key)
		}
	}
	return nil
}

// takeHTTPS reads exactly one of three ways to authenticate over https://.
func takeHTTPS(into *Credentials, data secretData) error {
	ways := []struct {
		keys, needs []string
	}{
		{[]string{secretUsername, secretPassword}, []string{secretUsername, secretPassword}},
		{[]string{secretBearerToken}, []string{secretBearerToken}},
		{[]string{secretAppID, secretInstallationID, secretAppKey, secretAppURL}, []string{secretAppID, secretInstallationID, secretAppKey}},
	}
	var chosen []string
	for _, way := range ways {
		if !data.has(way.keys...) {
			continue
		}
		if chosen != nil {
			return fmt.Errorf("holds %s and %s, which contradict each other: keep one", first(data, chosen), first(data, way.keys))
		}
		chosen = way.keys
		if err := data.require(way.needs...); err != nil {
			return err
		}
	}
	if chosen == nil {
		return fmt.Errorf("has no credentials: add %s and %s, or %s, or %s, %s and %s",
			secretUsername, secretPassword, secretBearerToken, secretAppID, secretInstallationID, secretAppKey)
	}
	if err := data.singleLines(secretUsername, secretPassword, secretBearerToken, secretAppID, secretInstallationID, secretAppURL); err != nil {
		return err
	}
	into.Username, into.Password, into.BearerToken = string(data[secretUsername]), string(data[secretPassword]), string(data[secretBearerToken])
	if data.has(secretAppID) {
		into.GitHubApp = &GitHubApp{
			AppID: string(data[secretAppID]), InstallationID: string(data[secretInstallationID]),
			PrivateKey: data[secretAppKey], BaseURL: string(data[secretAppURL]),
		}
		return data.privateKey(secretAppKey)
	}
	return nil
}

// first of the keys that is there.
func first(data secretData, keys []string) string {
	return keys[slices.IndexFunc(keys, func(key string) bool { return data.has(key) })]
}

func takeSSH(into *Credentials, data secretData) error {
	if err := data.require(secretIdentity); err != nil {
		return err
	}
	if len(bytes.TrimSpace(data[secretKnownHosts])) == 0 {
		return fmt.Errorf("has no key %q: put there what ssh-keyscan prints for the server, after checking that the fingerprints (ssh-keygen -lf) are those that its operator publishes", secretKnownHosts)
	}
	if err := data.singleLines(secretPassword); err != nil {
		return err
	}
	into.SSHKey, into.SSHPassphrase, into.KnownHosts = data[secretIdentity], string(data[secretPassword]), data[secretKnownHosts]
	return data.privateKey(secretIdentity)
}

// privateKey fails if a key is none in PEM.
func (d secretData) privateKey(key string) error {
	block, _ := pem.Decode(d[key])
	if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return fmt.Errorf("holds no private key in PEM under %q: put one there", key)
	}
	return nil
}

func takeCertificates(into *Credentials, data secretData) error {
	if !data.has(secretCAs, secretClientCert, secretClientKey) {
		return fmt.Errorf("has neither %s nor %s with %s: add what the server is to be verified with, or what it is to be shown", secretCAs, secretClientCert, secretClientKey)
	}
	if data.has(secretCAs) && !x509.NewCertPool().AppendCertsFromPEM(data[secretCAs]) {
		return fmt.Errorf("holds no certificate in PEM under %q: put the CA's there", secretCAs)
	}
	into.CAs = data[secretCAs]
	if !data.has(secretClientCert, secretClientKey) {
		return nil
	}
	if err := data.require(secretClientCert, secretClientKey); err != nil {
		return err
	}
	if _, err := tls.X509KeyPair(data[secretClientCert], data[secretClientKey]); err != nil {
		return fmt.Errorf("holds under %q and %q what is no certificate with its key, in PEM: %w", secretClientCert, secretClientKey, err)
	}
	into.ClientCertificate, into.ClientKey = data[secretClientCert], data[secretClientKey]
	return nil
}

func takeProxy(into *Credentials, data secretData) error {
	needed := []string{secretAddress}
	if data.has(secretPassword) {
		needed = append(needed, secretUsername)
	}
	if err := data.require(needed...); err != nil {
		return err
	}
	if err := data.singleLines(secretAddress, secretUsername, secretPassword); err != nil {
		return err
	}
	into.Proxy = Proxy{URL: string(data[secretAddress]), Username: string(data[secretUsername]), Password: string(data[secretPassword])}
	return nil
}

// The ends of the names under which public keys lie.
const (
	suffixOpenPGP = ".asc"
	suffixSSH     = ".pub"
)

func takeVerification(into *Credentials, data secretData) error {
	verify := &Verification{}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		switch value := data[key]; {
		case strings.HasSuffix(key, suffixOpenPGP):
			if !bytes.Contains(value, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")) {
				return fmt.Errorf("holds no armoured OpenPGP public key under %q: put there what gpg --armor --export prints", key)
			}
			verify.OpenPGP = append(verify.OpenPGP, value)
		case key == secretSigners || strings.HasSuffix(key, suffixSSH):
			verify.SSH = append(append(verify.SSH, bytes.TrimSpace(value)...), '\n')
		}
	}
	if len(verify.OpenPGP) == 0 && len(bytes.TrimSpace(verify.SSH)) == 0 {
		return fmt.Errorf("has no public key: add OpenPGP keys under names that end in %s, or SSH keys under names that end in %s or under %s", suffixOpenPGP, suffixSSH, secretSigners)
	}
	into.Verify = verify
	return nil
}

func takeSigningKey(into *Credentials, data secretData) error {
	switch {
	case data.has(secretOpenPGP) && data.has(secretIdentity):
		return fmt.Errorf("holds %s and %s, which contradict each other: keep one", secretOpenPGP, secretIdentity)
	case !data.has(secretOpenPGP, secretIdentity):
		return fmt.Errorf("has no private key: add an OpenPGP key under %s, or an SSH key under %s", secretOpenPGP, secretIdentity)
	case data.has(secretOpenPGP) && !bytes.Contains(data[secretOpenPGP], []byte("-----BEGIN PGP PRIVATE KEY BLOCK-----")):
		return fmt.Errorf("holds no armoured OpenPGP private key under %q: put there what gpg --armor --export-secret-keys prints", secretOpenPGP)
	}
	into.SigningKey = &SigningKey{OpenPGP: data[secretOpenPGP], SSH: data[secretIdentity], Passphrase: string(data[secretPassphrase])}
	if err := data.singleLines(secretPassphrase); err != nil || data.has(secretOpenPGP) {
		return err
	}
	return data.privateKey(secretIdentity)
}
