package reconciler

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// Credentials are what a repository is pulled and pushed to with. They are never printed: their
// String says only which of them there are.
type Credentials struct {
	// Username and Password of basic authentication; empty: none.
	Username, Password string
	// BearerToken is sent in the place of both.
	BearerToken string
	// GitHubApp is the App as whose installation to come; nil: none.
	GitHubApp *GitHubApp
	// SSHKey is a private key, PEM, that SSHPassphrase opens if it is encrypted; empty: none.
	SSHKey        []byte
	SSHPassphrase string
	// KnownHosts are the host keys that an SSH server may show, as in OpenSSH's known_hosts.
	KnownHosts []byte
	// CAs that the server is verified with, PEM; empty: the system's.
	CAs []byte
	// ClientCertificate and ClientKey, PEM, are shown to the server; empty: none.
	ClientCertificate, ClientKey []byte
	// Proxy on the way to the server; its zero value: none.
	Proxy Proxy
	// Verify holds those by one of whom a commit must be signed; nil: none need be.
	Verify *Verification
	// SigningKey that commits are signed with; nil: none.
	SigningKey *SigningKey
}

// GitHubApp is an installation of a GitHub App.
type GitHubApp struct {
	// AppID and InstallationID in decimal.
	AppID, InstallationID string
	// PrivateKey of the App, PEM.
	PrivateKey []byte
	// BaseURL of a GitHub of one's own; empty: github.com.
	BaseURL string
}

// Proxy is a proxy, as http://, https:// or socks5:// URL, and what it asks for.
type Proxy struct {
	URL, Username, Password string
}

// Verification holds the public keys of those who may sign.
type Verification struct {
	// OpenPGP keys, armoured.
	OpenPGP [][]byte
	// SSH keys in lines as in allowed_signers or authorized_keys.
	SSH []byte
}

// SigningKey is a private key of one of two kinds, and the passphrase that opens it.
type SigningKey struct {
	// OpenPGP key, armoured, or SSH key, PEM.
	OpenPGP, SSH []byte
	Passphrase   string
}

// String tells which credentials there are, not what they are.
func (c Credentials) String() string {
	var there []string
	for _, part := range []struct {
		name  string
		given bool
	}{
		{"password", c.Password != ""},
		{"bearer token", c.BearerToken != ""},
		{"GitHub App", c.GitHubApp != nil},
		{"SSH key", len(c.SSHKey) > 0},
		{"CAs", len(c.CAs) > 0},
		{"client certificate", len(c.ClientCertificate) > 0},
		{"proxy", c.Proxy.URL != ""},
		{"verification", c.Verify != nil},
		{"signing key", c.SigningKey != nil},
	} {
		if part.given {
			there = append(there, part.name)
		}
	}
	return fmt.Sprintf("credentials (%s)", strings.Join(there, ", "))
}

// String says nothing of the App but that there is one.
func (GitHubApp) String() string { return "a GitHub App" }

// String says nothing of the proxy: its URL may hold a password.
func (Proxy) String() string { return "a proxy" }

// String says nothing of the key but that there is one.
func (SigningKey) String() string { return "a signing key" }

// GoString is String, so that no format prints a secret.
func (c Credentials) GoString() string { return c.String() }

// GoString is String, so that no format prints the key.
func (a GitHubApp) GoString() string { return a.String() }

// GoString is String, so that no format prints a password.
func (p Proxy) GoString() string { return p.String() }

// GoString is String, so that no format prints the key.
func (k SigningKey) GoString() string { return k.String() }

// MarshalText is String, so that no logger prints a secret.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// MarshalText is String, so that no logger prints the key.
func (a GitHubApp) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// MarshalText is String, so that no logger prints a password.
func (p Proxy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalText is String, so that no logger prints the key.
func (k SigningKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// ofTheRecord are the credentials for a branch that holds nothing but the record:
// spec.source.verify speaks of the source's.
func (c Credentials) ofTheRecord() Credentials {
	c.Verify = nil
	return c
}

// The keys of the Secrets that a TrustDomain names, which are Flux's.
const (
	secretUsername       = "username"
	secretPassword       = "password"
	secretBearerToken    = "bearerToken"
	secretAppID          = "githubAppID"
	secretInstallationID = "githubAppInstallationID"
	secretAppKey         = "githubAppPrivateKey"
	secretAppURL         = "githubAppBaseURL"
	secretIdentity       = "identity"
	secretPublicIdentity = "identity.pub" // beside identity, and not read
	secretKnownHosts     = "known_hosts"
	secretCAs            = "ca.crt"
	secretClientCert     = "tls.crt"
	secretClientKey      = "tls.key"
	secretAddress        = "address"
	secretOpenPGP        = "git.asc"
	secretPassphrase     = "passphrase"
	secretSigners        = "allowed_signers"
	secretToken          = "token"
)

// readCredentials reads the Secrets that a domain's source and write-back name.
func readCredentials(ctx context.Context, reader client.Reader, domain *v1alpha1.TrustDomain) (Credentials, error) {
	var credentials Credentials
	secrets := secretsOf(reader, domain)
	for _, use := range usesOf(domain.Spec) {
		data, err := secrets.read(ctx, use)
		if err != nil {
			return Credentials{}, err
		}
		if err := use.take(&credentials, data); err != nil {
			return Credentials{}, failed(ReasonCredentialsInvalid, fmt.Errorf("%s %w", secrets.subject(use), err))
		}
	}
	return credentials, nil
}

// usesOf a domain's spec for Secrets, in the order in which they are read for a pull.
func usesOf(spec v1alpha1.TrustDomainSpec) []secretUse {
	var uses []secretUse
	add := func(reference *v1alpha1.LocalReference, use secretUse) {
		if reference != nil {
			use.name = reference.Name
			uses = append(uses, use)
		}
	}
	if isSSH(spec.Source.URL) {
		add(spec.Source.SecretRef, sshUse)
	} else {
		add(spec.Source.SecretRef, httpsUse)
	}
	add(spec.Source.CertSecretRef, certificatesUse)
	add(spec.Source.ProxySecretRef, proxyUse)
	if verify := spec.Source.Verify; verify != nil {
		add(&verify.SecretRef, verifyUse)
	}
	if key := spec.WriteBack.SigningKey; key != nil {
		add(&key.SecretRef, signingUse)
	}
	return uses
}

func isSSH(url string) bool { return strings.HasPrefix(url, "ssh://") }

// The uses of Secrets.
var (
	httpsUse = secretUse{
		field: "spec.source.secretRef",
		keys:  []string{secretUsername, secretPassword, secretBearerToken, secretAppID, secretInstallationID, secretAppKey, secretAppURL},
		take:  takeHTTPS,
	}
	sshUse = secretUse{
		field: "spec.source.secretRef",
		keys:  []string{secretIdentity, secretPublicIdentity, secretPassword, secretKnownHosts},
		take:  takeSSH,
	}
	certificatesUse = secretUse{
		field: "spec.source.certSecretRef",
		keys:  []string{secretCAs, secretClientCert, secretClientKey},
		take:  takeCertificates,
	}
	proxyUse = secretUse{
		field: "spec.source.proxySecretRef",
		keys:  []string{secretAddress, secretUsername, secretPassword},
		take:  takeProxy,
	}
	verifyUse = secretUse{
		field: "spec.source.verify.secretRef",
		keys:  []string{secretSigners, "*" + suffixOpenPGP, "*" + suffixSSH},
		take:  takeVerification,
	}
	signingUse = secretUse{
		field: "spec.writeBack.signingKey.secretRef",
		keys:  []string{secretOpenPGP, secretIdentity, secretPublicIdentity, secretPassphrase},
		take:  takeSigningKey,
	}
)
