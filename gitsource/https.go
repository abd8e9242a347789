package gitsource

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	gittransport "github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// https connects to a server over HTTP (gitprotocol-http).
type https struct {
	remote Remote
	url    *url.URL
	web    *http.Client
	client gittransport.Transport
}

func newHTTPS(remote Remote, address *url.URL) (*https, error) {
	direct, err := httpTransport(remote)
	if err != nil {
		return nil, err
	}
	h := &https{remote: remote, url: address}
	h.web = &http.Client{Transport: guarded{remote: remote, home: address, next: direct}}
	h.client = githttp.NewClient(h.web)
	if remote.app != nil {
		remote.app.use(address, direct)
	}
	return h, nil
}

// Time-outs of connections: those that are not used, and those that come to nothing.
const (
	idleTimeout      = 90 * time.Second
	dialTimeout      = 30 * time.Second
	handshakeTimeout = 15 * time.Second
)

func httpTransport(remote Remote) (*http.Transport, error) {
	settings, err := tlsSettings(remote)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                 remote.Proxy.forHTTP(),
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       settings,
		TLSHandshakeTimeout:   handshakeTimeout,
		ForceAttemptHTTP2:     true,
		IdleConnTimeout:       idleTimeout,
		ExpectContinueTimeout: time.Second,
	}, nil
}

func tlsSettings(remote Remote) (*tls.Config, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(remote.CA) > 0 {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(remote.CA) {
			return nil, errors.New("the CA holds no certificate: give PEM with at least one CERTIFICATE block")
		}
	}
	if len(remote.ClientCertificate) > 0 {
		pair, err := tls.X509KeyPair(remote.ClientCertificate, remote.ClientKey)
		if err != nil {
			return nil, errors.New("the client certificate and its key cannot be read or do not belong together: give both as PEM, the key unencrypted")
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return settings, nil
}

func (h *https) close() {
	h.web.CloseIdleConnections()
	if h.remote.app != nil {
		h.remote.app.close()
	}
}

func (h *https) upload(ctx context.Context) (uploadSession, error) {
	auth, err := h.auth(ctx)
	if err != nil {
		return nil, err
	}
	return h.client.NewUploadPackSession(h.endpoint(), auth)
}

func (h *https) receive(ctx context.Context) (receiveSession, error) {
	auth, err := h.auth(ctx)
	if err != nil {
		return nil, err
	}
	return h.client.NewReceivePackSession(h.endpoint(), auth)
}

// auth is what goes into the Authorization header; nil: nothing.
func (h *https) auth(ctx context.Context) (gittransport.AuthMethod, error) {
	switch {
	case h.remote.app != nil:
		token, err := h.remote.app.token(ctx)
		return &githttp.BasicAuth{Username: "x-access-token", Password: token}, err
	case h.remote.BearerToken != "":
		return &githttp.TokenAuth{Token: h.remote.BearerToken}, nil
	case h.remote.Username != "" || h.remote.Password != "":
		return &githttp.BasicAuth{Username: h.remote.Username, Password: h.remote.Password}, nil
	}
	return nil, nil
}

// endpoint is the URL as go-git wants it; it changes it when it is redirected.
func (h *https) endpoint() *gittransport.Endpoint {
	port, _ := strconv.Atoi(h.url.Port())
	host, _, _ := strings.Cut(h.url.Host, ":"+h.url.Port())
	return &gittransport.Endpoint{Protocol: h.url.Scheme, Host: host, Port: port, Path: h.url.EscapedPath()}
}

// guarded limits where a server may lead and how much it may answer, and notices
// when it does not accept an App's token any more.
type guarded struct {
	remote Remote
	home   *url.URL
	next   *http.Transport
}

// maxListing is how much a server may answer to anything but a fetch: the listing
// of a repository with some hundred thousand refs.
const maxListing = 32 << 20

// maxAnswer is how much a server may answer to a fetch. Framing adds five bytes to
// each packet; a second limit stands on the pack.
func maxAnswer(limits Limits) int64 { return limits.Fetch + limits.Fetch/64 + maxListing }

func (g guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := g.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if err := g.checkRedirect(response); err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	if response.StatusCode == http.StatusUnauthorized && g.remote.app != nil {
		g.remote.app.forget()
	}
	limit := int64(maxListing)
	if strings.HasSuffix(request.URL.Path, "/"+gittransport.UploadPackServiceName) {
		limit = maxAnswer(g.remote.Limits)
	}
	response.Body = &boundedBody{ReadCloser: response.Body, left: limit}
	return response, nil
}

// checkRedirect lets a server lead to another path of the same host and port only:
// where else credentials and trust may go is not the server's to say.
func (g guarded) checkRedirect(response *http.Response) error {
	to, err := response.Location()
	if err != nil || response.StatusCode/100 != 3 || to.Scheme == g.home.Scheme && to.Host == g.home.Host {
		return nil
	}
	detail := "the server redirects to " + g.remote.quote(to.Scheme+"://"+to.Host)
	return &failure{kind: ErrRedirect, detail: detail, hint: "write that address into the URL if you trust it"}
}

// CloseIdleConnections closes those that wait to be used again.
func (g guarded) CloseIdleConnections() { g.next.CloseIdleConnections() }

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &failure{kind: ErrTooLarge, detail: "the server's answer does not end", hint: "check that the URL is that of a Git repository of reasonable size"}
	}
	return n, err
}
