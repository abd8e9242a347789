package reconciler

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

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

// mute is a reader that gets no answer.
type mute struct{ client.Reader }

func (mute) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("connection refused")
}

// privateKey is one of the name, PEM, which belongs to authority's certificate.
func privateKey(t *testing.T, name string) string {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// The keys that the tests put into Secrets.
const (
	armouredPublic  = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nx\n-----END PGP PUBLIC KEY BLOCK-----\n"
	armouredPrivate = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nhunter2\n-----END PGP PRIVATE KEY BLOCK-----\n"
	hosts           = "git.example ssh-ed25519 AAAAC3Nz\n"
)

// each Secret of a domain that uses all five, over https.
func secretsOver(t *testing.T, scheme string) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{
		"git":    {"username": "bot", "password": "hunter2"},
		"tls":    {"ca.crt": string(authority(t, "ca").PEM()), "tls.crt": string(authority(t, "me").PEM()), "tls.key": privateKey(t, "me")},
		"proxy":  {"address": "http://proxy.example:3128", "username": "via", "password": "hunter2"},
		"verify": {"ada.asc": armouredPublic, "bob.pub": "ssh-ed25519 AAAAb bob", "allowed_signers": "eve@example ssh-ed25519 AAAAe\n"},
		"sign":   {"git.asc": armouredPrivate, "passphrase": "hunter2"},
	}
	if scheme == "ssh" {
		all["git"] = map[string]string{"identity": privateKey(t, "me"), "identity.pub": "ssh-ed25519 AAAAm", "password": "hunter2", "known_hosts": hosts}
		delete(all, "tls")
	}
	return all
}

// readOver reads the credentials of a domain that names those of the Secrets that there are.
func readOver(t *testing.T, scheme string, data map[string]map[string]string) (Credentials, error) {
	t.Helper()
	domain := newDomain()
	domain.Spec.Source.URL = scheme + "://git.example/fleet.git"
	name := func(name string) *v1alpha1.LocalReference {
		if data[name] == nil {
			return nil
		}
		return &v1alpha1.LocalReference{Name: name}
	}
	domain.Spec.Source.SecretRef, domain.Spec.Source.CertSecretRef, domain.Spec.Source.ProxySecretRef = name("git"), name("tls"), name("proxy")
	if reference := name("verify"); reference != nil {
		domain.Spec.Source.Verify = &v1alpha1.Verification{SecretRef: *reference}
	}
	if reference := name("sign"); reference != nil {
		domain.Spec.WriteBack.SigningKey = &v1alpha1.SigningKey{SecretRef: *reference}
	}
	builder := fake.NewClientBuilder().WithScheme(newScheme(t))
	for name, values := range data {
		builder = builder.WithObjects(secret(name, values))
	}
	return readCredentials(t.Context(), builder.Build(), domain)
}

func TestEveryFormOfCredentialsIsRead(t *testing.T) {
	overHTTPS, err := readOver(t, "https", secretsOver(t, "https"))
	if err != nil {
		t.Fatal(err)
	}
	if overHTTPS.Username != "bot" || overHTTPS.Password != "hunter2" || len(overHTTPS.CAs) == 0 || len(overHTTPS.ClientCertificate) == 0 ||
		string(overHTTPS.ClientKey) != privateKey(t, "me") || overHTTPS.Proxy != (Proxy{"http://proxy.example:3128", "via", "hunter2"}) {
		t.Errorf("read %s", overHTTPS)
	}
	if v := overHTTPS.Verify; len(v.OpenPGP) != 1 || string(v.OpenPGP[0]) != armouredPublic || string(v.SSH) != "eve@example ssh-ed25519 AAAAe\nssh-ed25519 AAAAb bob\n" {
		t.Errorf("verified by %q, %q", v.OpenPGP, v.SSH)
	}
	if k := overHTTPS.SigningKey; string(k.OpenPGP) != armouredPrivate || k.SSH != nil || k.Passphrase != "hunter2" {
		t.Error("another signing key was read")
	}

	overSSH, err := readOver(t, "ssh", secretsOver(t, "ssh"))
	if err != nil {
		t.Fatal(err)
	}
	if string(overSSH.SSHKey) != privateKey(t, "me") || overSSH.SSHPassphrase != "hunter2" || string(overSSH.KnownHosts) != hosts || overSSH.Password != "" {
		t.Errorf("read %s", overSSH)
	}

	token, err := readOver(t, "https", map[string]map[string]string{"git": {"bearerToken": "hunter2"}})
	if err != nil || token.BearerToken != "hunter2" || token.Username+token.Password != "" {
		t.Errorf("read %s (%v)", token, err)
	}
	app, err := readOver(t, "https", map[string]map[string]string{"git": {
		"githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": privateKey(t, "app"), "githubAppBaseURL": "https://github.example/api/v3",
	}})
	if err != nil || app.GitHubApp.AppID != "1" || app.GitHubApp.InstallationID != "2" || string(app.GitHubApp.PrivateKey) != privateKey(t, "app") ||
		app.GitHubApp.BaseURL != "https://github.example/api/v3" {
		t.Errorf("read %s (%v)", app, err)
	}
}

// What is wrong with a Secret is said in one sentence that names field, Secret and key,
// and none of its values.
func TestWhatIsWrongWithASecretIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		scheme, secret string
		set            map[string]string // "" removes
		want           string
	}{
		"no password":                {"https", "git", map[string]string{"password": ""}, `spec.source.secretRef: Secret plant/git has no key "password": add it`},
		"no user name":               {"https", "git", map[string]string{"username": ""}, `has no key "username"`},
		"a password and a token":     {"https", "git", map[string]string{"bearerToken": "hunter2"}, "holds username and bearerToken, which contradict each other: keep one"},
		"a password and an App":      {"https", "git", map[string]string{"githubAppID": "1"}, "holds username and githubAppID, which contradict each other"},
		"nothing":                    {"https", "git", map[string]string{"username": "", "password": ""}, "has no credentials: add username and password, or bearerToken, or githubAppID, githubAppInstallationID and githubAppPrivateKey"},
		"half an App":                {"https", "git", map[string]string{"username": "", "password": "", "githubAppID": "1"}, `has no key "githubAppInstallationID"`},
		"an App without a key":       {"https", "git", map[string]string{"username": "", "password": "", "githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": "hunter2"}, `holds no private key in PEM under "githubAppPrivateKey"`},
		"an echoed password":         {"https", "git", map[string]string{"password": "hunter2\n"}, `has a line break in the key "password": store the value without one (printf instead of echo)`},
		"an SSH key over https":      {"https", "git", map[string]string{"identity": "hunter2"}, `has the key "identity", which is for an ssh:// URL`},
		"a CA in the wrong place":    {"https", "git", map[string]string{"ca.crt": "hunter2"}, `has the key "ca.crt", which is read from the Secret that spec.source.certSecretRef names: name this one there too`},
		"a key of another tool":      {"https", "git", map[string]string{"caFile": "hunter2"}, `has the key "caFile", which means nothing here: remove it, or correct its name to one of username, password`},
		"no host keys":               {"ssh", "git", map[string]string{"known_hosts": ""}, `has no key "known_hosts": put there what ssh-keyscan prints for the server, after checking`},
		"blank host keys":            {"ssh", "git", map[string]string{"known_hosts": " \n"}, `has no key "known_hosts"`},
		"no identity":                {"ssh", "git", map[string]string{"identity": ""}, `has no key "identity": add it`},
		"a public key as identity":   {"ssh", "git", map[string]string{"identity": "ssh-ed25519 AAAAm"}, `holds no private key in PEM under "identity"`},
		"a token over SSH":           {"ssh", "git", map[string]string{"bearerToken": "hunter2"}, `has the key "bearerToken", which is for an https:// URL`},
		"no certificates":            {"https", "tls", map[string]string{"ca.crt": "", "tls.crt": "", "tls.key": "", "": ""}, "spec.source.certSecretRef: Secret plant/tls has neither ca.crt nor tls.crt with tls.key"},
		"a CA that is none":          {"https", "tls", map[string]string{"ca.crt": "hunter2"}, `holds no certificate in PEM under "ca.crt"`},
		"half a client certificate":  {"https", "tls", map[string]string{"tls.key": ""}, `has no key "tls.key": add it`},
		"another's key":              {"https", "tls", map[string]string{"tls.key": privateKey(t, "another")}, `holds under "tls.crt" and "tls.key" what is no certificate with its key, in PEM: tls: private key does not match public key`},
		"no address":                 {"https", "proxy", map[string]string{"address": ""}, `spec.source.proxySecretRef: Secret plant/proxy has no key "address"`},
		"half of a proxy's":          {"https", "proxy", map[string]string{"username": ""}, `has no key "username"`},
		"nobody to trust":            {"https", "verify", map[string]string{"ada.asc": "", "bob.pub": "", "allowed_signers": " "}, "spec.source.verify.secretRef: Secret plant/verify has no public key: add OpenPGP keys under names that end in .asc"},
		"a private key to verify":    {"https", "verify", map[string]string{"ada.asc": armouredPrivate}, `holds no armoured OpenPGP public key under "ada.asc"`},
		"a public key without name":  {"https", "verify", map[string]string{"ada": armouredPublic}, `has the key "ada", which means nothing here: remove it, or correct its name to one of allowed_signers, *.asc, *.pub`},
		"two signing keys":           {"https", "sign", map[string]string{"identity": privateKey(t, "me")}, "spec.writeBack.signingKey.secretRef: Secret plant/sign holds git.asc and identity, which contradict each other"},
		"no signing key":             {"https", "sign", map[string]string{"git.asc": ""}, "has no private key: add an OpenPGP key under git.asc, or an SSH key under identity"},
		"a public key to sign with":  {"https", "sign", map[string]string{"git.asc": armouredPublic}, `holds no armoured OpenPGP private key under "git.asc"`},
		"a public SSH key to sign":   {"https", "sign", map[string]string{"git.asc": "", "identity": "ssh-ed25519 AAAA"}, `holds no private key in PEM under "identity"`},
		"an echoed passphrase":       {"https", "sign", map[string]string{"passphrase": "hunter2\n"}, `has a line break in the key "passphrase"`},
		"keys for certs to sign too": {"https", "sign", map[string]string{"tls.key": "hunter2"}, `has the key "tls.key", which is read from the Secret that spec.source.certSecretRef names`},
	} {
		t.Run(name, func(t *testing.T) {
			data := secretsOver(t, test.scheme)
			maps.Copy(data[test.secret], test.set)
			maps.DeleteFunc(data[test.secret], func(_, value string) bool { return value == "" })
			_, err := readOver(t, test.scheme, data)
			if err == nil || !strings.Contains(err.Error(), test.want) || reasonOf(err) != ReasonCredentialsInvalid {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a value is told: %v", err)
			}
		})
	}
}

// One Secret may serve several fields: each of its keys needs a meaning for one of them.
func TestOneSecretMayServeSeveralFields(t *testing.T) {
	all := secret("git", map[string]string{"username": "bot", "password": "hunter2", "ca.crt": string(authority(t, "ca").PEM()), "token": "hook"})
	w := newWorld(t, all)
	w.edit(func(d *v1alpha1.TrustDomain) {
		d.Spec.Source.SecretRef, d.Spec.Source.CertSecretRef = named("git"), named("git")
		d.Spec.Webhook = &v1alpha1.Webhook{Type: v1alpha1.WebhookGitHub, SecretRef: *named("git")}
	})
	if token, err := w.reconciler.WebhookToken(t.Context(), fleet); err != nil || string(token) != "hook" {
		t.Errorf("the token is another (%v)", err)
	}
	w.turn()
	if len(w.pulledWith) != 1 || w.pulledWith[0].Password != "hunter2" || len(w.pulledWith[0].CAs) == 0 {
		t.Errorf("pulled with %v", w.pulledWith)
	}
}

// No format and no logger shows what is in credentials.
func TestCredentialsAreNotPrinted(t *testing.T) {
	data := secretsOver(t, "https")
	c, err := readOver(t, "https", data)
	if err != nil {
		t.Fatal(err)
	}
	c.GitHubApp = &GitHubApp{PrivateKey: []byte("hunter2")}
	var printed []string
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		printed = append(printed, fmt.Sprintf(format, c), fmt.Sprintf(format, &c), fmt.Sprintf(format, c.Proxy), fmt.Sprintf(format, c.SigningKey), fmt.Sprintf(format, c.GitHubApp))
	}
	for _, value := range []any{c, c.Proxy, c.SigningKey, c.GitHubApp} {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		printed = append(printed, string(encoded))
	}
	for _, text := range printed {
		for _, word := range []string{"hunter2", "bot", "PRIVATE"} {
			if strings.Contains(text, word) {
				t.Errorf("%q is printed: %s", word, text)
			}
		}
	}
	if want := "credentials (password, GitHub App, CAs, client certificate, proxy, verification, signing key)"; c.String() != want {
		t.Errorf("printed as %s, want %s", c, want)
	}
}

func TestMissingCredentialsAreNamed(t *testing.T) {
	for name, test := range map[string]struct {
		secret *corev1.Secret
		reader func(client.Reader) client.Reader
		reason string
		want   string
	}{
		"missing": {
			secret("other", nil), nil, ReasonCredentialsInvalid,
			"spec.source.secretRef: Secret plant/git does not exist: create it, or correct the name",
		},
		"forbidden": {
			secret("git", nil), func(r client.Reader) client.Reader { return forbidden{r} }, ReasonCredentialsInvalid,
			"spec.source.secretRef: Secret plant/git may not be read: grant the controller's service account get on secrets with resourceNames [git] in namespace plant",
		},
		"no answer": {
			secret("git", nil), func(r client.Reader) client.Reader { return mute{r} }, ReasonGitOperationFailed,
			"spec.source.secretRef: Secret plant/git: connection refused: see that the API server answers",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.secret)
			w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "git"} })
			if test.reader != nil {
				w.reconciler.APIReader = test.reader(w.client)
			}
			w.turn()
			expectCalls(t, w)
			if ready := w.ready(); ready.Reason != test.reason || ready.Message != test.want {
				t.Errorf("Ready is %s\n\t%s\nwant %s\n\t%s", ready.Reason, ready.Message, test.reason, test.want)
			}
		})
	}
}

// A calm turn reads no Secret; one that is refused reads it and pulls again, so that a
// changed password heals at once.
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

func (s pickySource) Pull(ctx context.Context, from Branch, after After) (Snapshot, error) {
	snapshot, err := s.world.Pull(ctx, from, after)
	if from.Credentials.Password != s.password {
		return nil, &SourceError{ReasonAuthenticationFailed, errors.New("authentication required: correct the Secret")}
	}
	return snapshot, err
}

// Whoever is taken out of the Secret is not trusted in the very next turn, calm or not;
// and what they sign is said of the source's branch alone.
func TestWhoMaySignIsReadAtEveryTurn(t *testing.T) {
	s := secret("verify", map[string]string{"ada.asc": armouredPublic, "eve.pub": "ssh-ed25519 AAAAe"})
	w := newWorld(t, s)
	w.edit(func(d *v1alpha1.TrustDomain) {
		d.Spec.Source.Verify = &v1alpha1.Verification{SecretRef: v1alpha1.LocalReference{Name: "verify"}}
		d.Spec.WriteBack = v1alpha1.WriteBack{Branch: "anchors"}
	})
	w.signer, w.anchors.revision = "Ada <ada@example.com>", "anchors@sha1:aaaa"
	w.turn()
	if signer := w.domain().Status.Signer; signer != "Ada <ada@example.com>" {
		t.Errorf("the status tells of signer %q", signer)
	}
	delete(s.Data, "eve.pub")
	if err := w.client.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.turn()
	expectCalls(t, w, "pull", "pull anchors")
	if source := w.pulledWith[2].Verify; source == nil || len(source.SSH) > 0 {
		t.Error("the source's branch was pulled with who was trusted before")
	}
	if w.pulledWith[3].Verify != nil {
		t.Error("the record's branch was verified: spec.source.verify speaks of the source's")
	}
	w.edit(func(d *v1alpha1.TrustDomain) { d.Spec.Source.Verify = nil; d.Generation++ })
	w.signer = ""
	w.turn()
	if signer := w.domain().Status.Signer; signer != "" {
		t.Errorf("the status tells of signer %q, though nobody is asked for", signer)
	}
}
