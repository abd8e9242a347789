package gitsource

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// web starts an HTTPS server for the repository of a hostile one.
func (h *hostile) web(t testing.TB, settings *tls.Config, wrap func(next http.Handler) http.Handler) Remote {
	t.Helper()
	server := httptest.NewUnstartedServer(wrap(http.HandlerFunc(h.serveHTTP)))
	server.Listener = watched{server.Listener, h}
	server.TLS = settings
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return Remote{URL: server.URL + "/pki.git", Branch: "main", CA: pemOf(server.Certificate())}
}

func asIs(next http.Handler) http.Handler { return next }

func TestBearerToken(t *testing.T) {
	h := newHostile(t, site)
	remote := h.web(t, nil, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer t0ken/of+mine" {
				http.Error(w, "you sent "+r.Header.Get("Authorization"), http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	remote.BearerToken = "t0ken/of+mine"
	repository := open(t, remote)
	push(t, repository, pull(t, repository), map[string][]byte{"x": []byte("x")})
	remote.BearerToken = "wr0ng-password"
	_, err := open(t, remote).Pull(context.Background())
	if !errors.Is(err, ErrAuthentication) {
		t.Fatalf("got %v", err)
	}
	wantTold(t, err, remote, "check the username and the password or token")
}

// clientCertificate is a certificate and its key, and the CA that issued it.
func clientCertificate(t testing.TB, until time.Time) (certificate, key []byte, ca *x509.Certificate) {
	t.Helper()
	caKey, clientKey := newKey(t), newKey(t)
	ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Client CA"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	block, _ := pem.Decode(sign(t, ca, ca, caKey, caKey))
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "reanchor"}, NotBefore: ca.NotBefore, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return sign(t, leaf, ca, clientKey, caKey), encodedKey(t, clientKey), parsed
}

func encodedKey(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestClientCertificate(t *testing.T) {
	h := newHostile(t, site)
	certificate, key, ca := clientCertificate(t, time.Now().Add(time.Hour))
	stranger, strangersKey, _ := clientCertificate(t, time.Now().Add(time.Hour))
	trusted := x509.NewCertPool()
	trusted.AddCert(ca)
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			remote := h.web(t, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted, MinVersion: version, MaxVersion: version}, asIs)
			remote.ClientCertificate, remote.ClientKey = certificate, key
			repository := open(t, remote)
			push(t, repository, pull(t, repository), map[string][]byte{"x": []byte(name)})
			repository.Close()
			for title, change := range map[string]func(*Remote){
				"none":     func(r *Remote) { r.ClientCertificate, r.ClientKey = nil, nil },
				"stranger": func(r *Remote) { r.ClientCertificate, r.ClientKey = stranger, strangersKey },
			} {
				remote := remote
				change(&remote)
				_, err := open(t, remote).Pull(context.Background())
				if title == "none" && version == tls.VersionTLS12 {
					// This version has no alert that says so.
					if !errors.Is(err, ErrTLS) {
						t.Fatalf("none gave %v", err)
					}
					continue
				}
				if !errors.Is(err, ErrAuthentication) {
					t.Fatalf("%s gave %v", title, err)
				}
				wantTold(t, err, remote, "the server wants a client certificate that it trusts")
			}
		})
	}
}

func TestContradictoryCredentials(t *testing.T) {
	t.Parallel()
	certificate, key, _ := clientCertificate(t, time.Now().Add(time.Hour))
	_, otherKey, _ := clientCertificate(t, time.Now().Add(time.Hour))
	app := &GitHubApp{AppID: "1", InstallationID: "2", PrivateKey: appPEM(t)}
	hostKey := newSSHKey(t, "").signer.PublicKey()
	for name, c := range map[string]struct {
		url    string
		change func(*Remote)
		says   string
	}{
		"basic and bearer":         {"https://git.example/x", func(r *Remote) { r.Username, r.Password, r.BearerToken = "u", "hunter22", "hunter23" }, "more than one of Username with Password, BearerToken and GitHubApp: give one"},
		"bearer in URL and App":    {"https://u:hunter22@git.example/x", func(r *Remote) { r.GitHubApp = app }, "more than one of"},
		"certificate without key":  {"https://git.example/x", func(r *Remote) { r.ClientCertificate = certificate }, "takes both ClientCertificate and ClientKey"},
		"key without certificate":  {"https://git.example/x", func(r *Remote) { r.ClientKey = key }, "takes both"},
		"certificate of other key": {"https://git.example/x", func(r *Remote) { r.ClientCertificate, r.ClientKey = certificate, otherKey }, "cannot be read or do not belong together"},
		"SSH key over HTTPS":       {"https://git.example/x", func(r *Remote) { r.SSHKey = []byte("hunter22") }, "SSHKey has no use with a https:// URL: leave it out, or use ssh://"},
		"SSH without a key":        {"ssh://git.example/x", func(*Remote) {}, "ssh:// takes a private key: give SSHKey"},
		"SSH without known hosts":  {"ssh://git.example/x", func(r *Remote) { r.SSHKey = newSSHKey(t, "").pem }, "ssh:// takes the server's host keys: give KnownHosts"},
		"SSH with a password":      {"ssh://git.example/x", func(r *Remote) { r.Password = "hunter22" }, "Password has no use with a ssh:// URL"},
		"SSH with password in URL": {"ssh://git:hunter22@git.example/x", func(*Remote) {}, "Password has no use with a ssh:// URL"},
		"SSH with a bearer token":  {"ssh://git.example/x", func(r *Remote) { r.BearerToken = "hunter22" }, "BearerToken has no use with a ssh:// URL"},
		"SSH with a certificate":   {"ssh://git.example/x", func(r *Remote) { r.ClientCertificate = certificate }, "ClientCertificate has no use"},
		"SSH as a GitHub App":      {"ssh://git.example/x", func(r *Remote) { r.GitHubApp = app }, "GitHubApp has no use"},
		"file with a token":        {"file:///srv/x", func(r *Remote) { r.BearerToken = "hunter22" }, "BearerToken has no use with a file:// URL"},
		"proxy without a host":     {"https://git.example/x", func(r *Remote) { r.Proxy.URL = "proxy:hunter22" }, "the URL of the proxy cannot be read: write it as http://host:port"},
		"proxy of another scheme":  {"https://git.example/x", func(r *Remote) { r.Proxy.URL = "ftp://u:hunter22@proxy" }, `proxies of scheme "ftp" are not supported`},
		"proxy with a path":        {"https://git.example/x", func(r *Remote) { r.Proxy.URL = "http://u:hunter22@proxy/x" }, "the URL of the proxy cannot be read"},
		"credentials for no proxy": {"https://git.example/x", func(r *Remote) { r.Proxy.Password = "hunter22" }, "credentials for a proxy, but no proxy"},
		"App without ID":           {"https://git.example/x", func(r *Remote) { r.GitHubApp = &GitHubApp{InstallationID: "2"} }, "the GitHub App's AppID is missing"},
		"App without installation": {"https://git.example/x", func(r *Remote) { r.GitHubApp = &GitHubApp{AppID: "1"} }, "the GitHub App's InstallationID is missing"},
		"App with an odd ID":       {"https://git.example/x", func(r *Remote) { r.GitHubApp = &GitHubApp{AppID: "1", InstallationID: "2/../3"} }, "the GitHub App's InstallationID is missing or none"},
		"App without key":          {"https://git.example/x", func(r *Remote) { r.GitHubApp = &GitHubApp{AppID: "1", InstallationID: "2"} }, "the GitHub App's PrivateKey cannot be read"},
		"App with another key":     {"https://git.example/x", func(r *Remote) { r.GitHubApp = &GitHubApp{AppID: "1", InstallationID: "2", PrivateKey: key} }, "the GitHub App's PrivateKey cannot be read"},
		"App over plain HTTP": {"https://git.example/x", func(r *Remote) {
			r.GitHubApp = &GitHubApp{AppID: "1", InstallationID: "2", PrivateKey: app.PrivateKey, BaseURL: "http://api.example"}
		}, "the GitHub App's BaseURL cannot be used"},
		"App with a secret in URL": {"https://git.example/x", func(r *Remote) {
			r.GitHubApp = &GitHubApp{AppID: "1", InstallationID: "2", PrivateKey: app.PrivateKey, BaseURL: "https://u:hunter22@api.example"}
		}, "the GitHub App's BaseURL cannot be used"},
		"a path for SSH is missing": {"ssh://git.example/", func(r *Remote) {
			r.SSHKey, r.KnownHosts = newSSHKey(t, "").pem, knownHostsFor(t, "ssh://git.example", hostKey)
		}, "the URL names no path"},
	} {
		t.Run(name, func(t *testing.T) {
			remote := Remote{URL: c.url, Branch: "main"}
			c.change(&remote)
			_, err := Open(t.TempDir(), remote)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want it to say %q", err, c.says)
			}
			wantTold(t, err, remote, "")
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q holds a secret", err)
			}
		})
	}
}

// Whatever prints a remote, or a part of one: no secret is in it.
func TestNothingPrintsSecrets(t *testing.T) {
	const secret = "hunter22"
	remote := Remote{
		URL: "https://user:" + secret + "@git.example/x?token=" + secret, Branch: "main", Username: secret, Password: secret, BearerToken: secret,
		ClientKey: []byte(secret), SSHKey: []byte(secret), SSHPassphrase: secret,
		Proxy:      Proxy{URL: "http://user:" + secret + "@proxy", Username: secret, Password: secret},
		GitHubApp:  &GitHubApp{AppID: "1", InstallationID: "2", PrivateKey: []byte(secret)},
		SigningKey: &SigningKey{OpenPGP: []byte(secret), SSH: []byte(secret), Passphrase: secret},
	}
	for _, value := range []any{remote, &remote, remote.Proxy, remote.GitHubApp, *remote.GitHubApp, remote.SigningKey, *remote.SigningKey} {
		marshalled, err := json.Marshal(value)
		if err != nil {
			t.Error(err)
		}
		for _, text := range []string{fmt.Sprint(value), fmt.Sprintf("%+v", value), fmt.Sprintf("%#v", value), fmt.Sprintf("%s", value), string(marshalled)} {
			if strings.Contains(text, secret) || text == "" {
				t.Errorf("%T prints %q", value, text)
			}
		}
	}
}

// A server that sends back all that it got, in every way that is repeated in errors.
func TestServersThatRepeatSecrets(t *testing.T) {
	h := newHostile(t, site)
	var secrets []string
	echo := func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, pktLine("ERR "+strings.Join(secrets, " "))) }
	remote := h.web(t, nil, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			secrets = append(secrets, r.Header.Get("Authorization"))
			echo(w)
		})
	})
	for name, change := range map[string]func(*Remote){
		"basic":     func(r *Remote) { r.Username, r.Password = "user", "hunter22" },
		"user only": func(r *Remote) { r.Username = "hunter22" },
		"bearer":    func(r *Remote) { r.BearerToken = "hunter22" },
		"proxy": func(r *Remote) {
			r.Proxy = Proxy{URL: connectProxy(t, h, "", "").URL, Username: "u", Password: "hunter22"}
		},
		"passphrase": func(r *Remote) { r.SigningKey = &SigningKey{SSH: newSSHKey(t, "hunter22").pem, Passphrase: "hunter22"} },
	} {
		t.Run(name, func(t *testing.T) {
			remote := remote
			change(&remote)
			secrets = append([]string{"hunter22", "HUNTER"}, remote.secrets()...)
			repository := open(t, remote)
			defer repository.Close()
			_, err := repository.Pull(context.Background())
			if err == nil || !strings.Contains(err.Error(), "the server says: ") {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "hunter22") || strings.Contains(err.Error(), "aHVudGVyMj") {
				t.Errorf("%q holds a secret", err)
			}
		})
	}
}
