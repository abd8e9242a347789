package gitsource

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	gittransport "github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// https talks to a server over Git's smart HTTP protocol (gitprotocol-http).
type https struct {
	remote Remote
	url    *url.URL
	client gittransport.Transport
	auth   gittransport.AuthMethod
}

func newHTTPS(remote Remote) (*https, error) {
	address, err := url.Parse(remote.URL)
	if err != nil {
		return nil, err
	}
	roundTripper, err := roundTripperFor(remote)
	if err != nil {
		return nil, err
	}
	h := &https{remote: remote, url: address}
	h.client = githttp.NewClient(&http.Client{Transport: roundTripper, CheckRedirect: h.checkRedirect})
	if remote.Username != "" || remote.Password != "" {
		h.auth = &githttp.BasicAuth{Username: remote.Username, Password: remote.Password}
	}
	return h, nil
}

// Connections that are not used for this long are closed.
const idleTimeout = 90 * time.Second

func roundTripperFor(remote Remote) (http.RoundTripper, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(remote.CA) > 0 {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(remote.CA) {
			return nil, errors.New("the CA holds no certificate: give PEM with at least one CERTIFICATE block")
		}
	}
	return bounded{limit: remote.Limits.Fetch, next: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		TLSClientConfig:       settings,
		TLSHandshakeTimeout:   15 * time.Second,
		ForceAttemptHTTP2:     true,
		IdleConnTimeout:       idleTimeout,
		ExpectContinueTimeout: time.Second,
	}}, nil
}

// bounded limits how much a server may answer.
type bounded struct {
	next  http.RoundTripper
	limit int64
}

// maxListing is how much a server may answer to anything but a fetch: the listing
// of a repository with some hundred thousand refs.
const maxListing = 32 << 20

func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	limit := int64(maxListing)
	if strings.HasSuffix(request.URL.Path, "/"+gittransport.UploadPackServiceName) {
		// Framing adds five bytes to each packet; a second limit stands on the pack.
		limit = b.limit + b.limit/64 + maxListing
	}
	response.Body = &boundedBody{ReadCloser: response.Body, left: limit}
	return response, nil
}

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

// checkRedirect lets a request go to another path of the same host and port only:
// where else credentials and trust may go is not the server's to say.
func (h *https) checkRedirect(request *http.Request, _ []*http.Request) error {
	if request.URL.Scheme == h.url.Scheme && request.URL.Host == h.url.Host {
		return nil
	}
	to := h.remote.quote(request.URL.Scheme + "://" + request.URL.Host)
	return &failure{kind: ErrNotRepository, detail: "the server redirects to " + to, hint: "write that address into the URL if you trust it"}
}

// endpoint is the URL as go-git wants it; it changes it when it is redirected.
func (h *https) endpoint() *gittransport.Endpoint {
	port, _ := strconv.Atoi(h.url.Port())
	host, _, _ := strings.Cut(h.url.Host, ":"+h.url.Port())
	return &gittransport.Endpoint{Protocol: h.url.Scheme, Host: host, Port: port, Path: h.url.EscapedPath()}
}

func (h *https) read(ctx context.Context) (reading, error) {
	session, err := h.client.NewUploadPackSession(h.endpoint(), h.auth)
	if err != nil {
		return reading{}, h.explain(ctx, err)
	}
	refs, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return reading{}, h.explainAnswer(ctx, err)
	}
	tip, err := h.tip(refs)
	if err != nil {
		return reading{}, err
	}
	return reading{tip: tip, fetch: func(ctx context.Context, into *store, want extent) error {
		return h.explain(ctx, h.fetch(ctx, session, refs.Capabilities, tip, into, want))
	}}, nil
}

func (h *https) tip(refs *packp.AdvRefs) (plumbing.Hash, error) {
	tip, found := refs.References[h.remote.reference().String()]
	if !found {
		return plumbing.ZeroHash, noBranch(h.remote.Branch)
	}
	return tip, nil
}

func noBranch(branch string) error {
	return &failure{kind: ErrBranchNotFound, hint: "correct its name, or create it: git push origin HEAD:" + branch}
}

// fetch asks for the tip and stores the answer.
func (h *https) fetch(ctx context.Context, session gittransport.UploadPackSession, can *capability.List, tip plumbing.Hash, into *store, want extent) error {
	request, err := fetchRequest(can, tip, into, want)
	if err != nil {
		return err
	}
	// What go-git does not close is closed with the context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	response, err := session.UploadPack(ctx, request)
	if err != nil {
		return err
	}
	defer response.Close()
	if err := into.addBoundaries(response.Shallows); err != nil {
		return err
	}
	return into.addPack(h.remote.Limits, func(w io.Writer) error {
		_, err := io.Copy(w, demultiplex(request.Capabilities, response))
		return err
	})
}

func fetchRequest(can *capability.List, tip plumbing.Hash, into *store, want extent) (*packp.UploadPackRequest, error) {
	request := packp.NewUploadPackRequestFromCapabilities(can)
	request.Wants = []plumbing.Hash{tip}
	if can.Supports(capability.NoProgress) {
		_ = request.Capabilities.Set(capability.NoProgress)
	}
	if want.shallow && can.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(1)
	}
	if !want.have.IsZero() {
		request.Haves = []plumbing.Hash{want.have}
		var err error
		if request.Shallows, err = into.boundaries(); err != nil {
			return nil, err
		}
	}
	if !request.Depth.IsZero() || len(request.Shallows) > 0 {
		_ = request.Capabilities.Set(capability.Shallow)
	}
	return request, nil
}

func demultiplex(agreed *capability.List, response io.Reader) io.Reader {
	switch {
	case agreed.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, response)
	case agreed.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, response)
	}
	return response
}

func (h *https) write(ctx context.Context) (writing, error) {
	session, err := h.client.NewReceivePackSession(h.endpoint(), h.auth)
	if err != nil {
		return writing{}, h.explain(ctx, err)
	}
	refs, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return writing{}, h.explainAnswer(ctx, err)
	}
	tip, err := h.tip(refs)
	if err != nil {
		return writing{}, err
	}
	return writing{tip: tip, push: func(ctx context.Context, from, to plumbing.Hash, pack []byte) error {
		return h.push(ctx, session, refs.Capabilities, &packp.Command{Name: h.remote.reference(), Old: from, New: to}, pack)
	}}, nil
}

func (h *https) push(ctx context.Context, session gittransport.ReceivePackSession, can *capability.List, command *packp.Command, pack []byte) error {
	request := packp.NewReferenceUpdateRequestFromCapabilities(can)
	request.Commands = []*packp.Command{command}
	request.Packfile = io.NopCloser(bytes.NewReader(pack))
	var said words
	if can.Supports(capability.Sideband64k) {
		_ = request.Capabilities.Set(capability.Sideband64k)
		request.Progress = &said
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	report, err := session.ReceivePack(ctx, request)
	switch {
	case report != nil && err != nil:
		return h.refused(err, said)
	case err != nil:
		return h.explainAnswer(ctx, err)
	case report == nil:
		return &failure{kind: ErrUnreachable, detail: "the server did not answer the push", hint: "check that the credentials may write, then try again"}
	}
	return nil
}

func (h *https) refused(status error, said words) error {
	reason := h.remote.quote(status.Error())
	if len(said) > 0 {
		reason += ": " + h.remote.quote(string(said))
	}
	return &refusal{reason: reason, busy: strings.Contains(status.Error(), "lock")}
}

// words keeps the first of what a server says to people while it is pushed to.
type words []byte

func (w *words) Write(p []byte) (int, error) {
	*w = append(*w, p[:min(len(p), 4*maxQuoted-len(*w))]...)
	return len(p), nil
}

// explain makes a failure of an error of net/http or go-git. What it does not know
// it leaves as it is, without credentials.
func (h *https) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*failure](err); ok {
		return known
	}
	if ended := ctx.Err(); ended != nil {
		return stopped(ended)
	}
	err = unwrapped(err)
	if status, ok := errors.AsType[*githttp.Err](err); ok {
		return explainStatus(status.StatusCode())
	}
	if known := explainRefusal(err); known != nil {
		return known
	}
	if isTLS(err) {
		return &failure{kind: ErrTLS, detail: h.remote.quote(cause(err)), hint: "check the host in the URL, and that the CA is the one that issued the server's certificate"}
	}
	if isNetwork(err) {
		return &failure{kind: ErrUnreachable, detail: h.remote.quote(cause(err)), hint: "check the host in the URL, and the way there (DNS, proxy, network policy)"}
	}
	return errors.New(h.remote.quote(err.Error()))
}

func stopped(ended error) error {
	if errors.Is(ended, context.Canceled) {
		return ended
	}
	return &failure{kind: ErrUnreachable, detail: "it did not answer in time", hint: "check the server, or give it more time", ended: ended}
}

// explainRefusal explains what go-git has a name for.
func explainRefusal(err error) error {
	switch {
	case errors.Is(err, gittransport.ErrAuthenticationRequired):
		return &failure{kind: ErrAuthentication, detail: "the server answered 401", hint: "check the username and the password or token"}
	case errors.Is(err, gittransport.ErrAuthorizationFailed):
		return explainStatus(http.StatusForbidden)
	case errors.Is(err, gittransport.ErrRepositoryNotFound):
		return explainStatus(http.StatusNotFound)
	case errors.Is(err, gittransport.ErrEmptyRemoteRepository):
		return &failure{kind: ErrBranchNotFound, detail: "the repository is empty", hint: "push a first commit to it"}
	}
	return nil
}

func explainStatus(code int) error {
	answer := fmt.Sprintf("the server answered %d", code)
	switch {
	case code == http.StatusForbidden:
		return &failure{kind: ErrAuthentication, detail: answer, hint: "check what these credentials may do: to push takes the right to write"}
	case code == http.StatusNotFound || code == http.StatusGone:
		return &failure{kind: ErrNotRepository, detail: answer, hint: "check the path in the URL, and that these credentials may see the repository"}
	case code >= http.StatusInternalServerError || code == http.StatusTooManyRequests:
		return &failure{kind: ErrUnreachable, detail: answer, hint: "try again later, or look at the server's log"}
	}
	return &failure{kind: ErrNotRepository, detail: answer, hint: "check that the URL is that of a Git repository"}
}

// explainAnswer is explain where there is no other way to ask: an answer that makes
// no sense is none of Git's.
func (h *https) explainAnswer(ctx context.Context, err error) error {
	err = h.explain(ctx, err)
	if _, ok := errors.AsType[*failure](err); ok || ctx.Err() != nil {
		return err
	}
	return &failure{kind: ErrNotRepository, detail: "the answer is not Git's: " + err.Error(), hint: "check that the URL is that of a Git repository"}
}

// unwrapped takes off go-git's wrappers, which errors.Unwrap does not see through.
func unwrapped(err error) error {
	if wrapper, ok := errors.AsType[*plumbing.UnexpectedError](err); ok {
		return wrapper.Err
	}
	if wrapper, ok := errors.AsType[*plumbing.PermanentError](err); ok {
		return wrapper.Err
	}
	return err
}

// cause is the innermost text of an error of net/http, without method and URL.
func cause(err error) string {
	if wrapper, ok := errors.AsType[*url.Error](err); ok {
		return wrapper.Err.Error()
	}
	return err.Error()
}

func isNetwork(err error) bool {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	_, ok := errors.AsType[*net.OpError](err)
	return ok || errors.Is(err, io.ErrUnexpectedEOF)
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "tls: ") || strings.Contains(text, "server gave HTTP response to HTTPS client")
}
