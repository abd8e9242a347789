package gitsource

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	gittransport "github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// explain makes a failure of an error of net/http, x/crypto/ssh or go-git. What it
// does not know it leaves as it is, without credentials.
func (s *smart) explain(ctx context.Context, err error) error {
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
	if known := s.explainRefusal(err); known != nil {
		return known
	}
	if known := s.explainConnection(err); known != nil {
		return known
	}
	return errors.New(s.remote.quote(err.Error()))
}

// stopped explains the end of a context.
func stopped(ended error) error {
	if errors.Is(ended, context.Canceled) {
		return ended
	}
	return &failure{kind: ErrUnreachable, detail: "it did not answer in time", hint: "check the server, or give it more time", ended: ended}
}

// explainRefusal explains what go-git has a name for.
func (s *smart) explainRefusal(err error) error {
	if line, ok := errors.AsType[*pktline.ErrorLine](err); ok {
		return s.remote.complaint(line.Text, ErrNotRepository)
	}
	switch {
	case errors.Is(err, gittransport.ErrAuthenticationRequired):
		return explainStatus(http.StatusUnauthorized)
	case errors.Is(err, gittransport.ErrAuthorizationFailed):
		return explainStatus(http.StatusForbidden)
	case errors.Is(err, gittransport.ErrRepositoryNotFound):
		return explainStatus(http.StatusNotFound)
	case errors.Is(err, gittransport.ErrEmptyRemoteRepository):
		return &failure{kind: ErrBranchNotFound, detail: "the repository is empty", hint: "push a first commit to it"}
	}
	return nil
}

// explainStatus explains an answer by its HTTP status.
func explainStatus(code int) error {
	answer := fmt.Sprintf("the server answered %d", code)
	switch {
	case code == http.StatusUnauthorized:
		return &failure{kind: ErrAuthentication, detail: answer, hint: "check the username and the password or token"}
	case code == http.StatusForbidden:
		return &failure{kind: ErrAuthentication, detail: answer, hint: "check what these credentials may do: to push takes the right to write"}
	case code == http.StatusNotFound || code == http.StatusGone:
		return &failure{kind: ErrNotRepository, detail: answer, hint: "check the path in the URL, and that these credentials may see the repository"}
	case code >= http.StatusInternalServerError || code == http.StatusTooManyRequests:
		return &failure{kind: ErrUnreachable, detail: answer, hint: "try again later, or look at the server's log"}
	}
	return &failure{kind: ErrNotRepository, detail: answer, hint: "check that the URL is that of a Git repository"}
}

// complaint sorts what a server says to people when it ends a conversation. What it
// says otherwise is of the given kind.
func (r Remote) complaint(text string, otherwise error) error {
	detail := "the server says: " + r.quote(text)
	text = strings.ToLower(text)
	says := func(phrases ...string) bool {
		for _, phrase := range phrases {
			if strings.Contains(text, phrase) {
				return true
			}
		}
		return false
	}
	switch {
	case says("not found", "not appear to be a git repository", "does not exist", "no such repository", "could not be found"):
		return &failure{kind: ErrNotRepository, detail: detail, hint: "check the path in the URL, and that these credentials may see the repository"}
	case says("denied", "permission", "access", "unauthorized", "not authorized", "forbidden"):
		return &failure{kind: ErrAuthentication, detail: detail, hint: "check what these credentials may do: to push takes the right to write"}
	}
	return &failure{kind: otherwise, detail: detail, hint: "do what it asks for, or look at the server's log"}
}

// explainAnswer is explain where there is no other way to ask: an answer that makes
// no sense is none of Git's.
func (s *smart) explainAnswer(ctx context.Context, err error) error {
	err = s.explain(ctx, err)
	if _, ok := errors.AsType[*failure](err); ok || ctx.Err() != nil {
		return err
	}
	return &failure{kind: ErrNotRepository, detail: "the answer is not Git's: " + err.Error(), hint: "check that the URL is that of a Git repository"}
}

// explainConnection explains what a connection died of.
func (s *smart) explainConnection(err error) error {
	detail := s.remote.quote(cause(err))
	switch {
	case strings.Contains(detail, "remote error: tls: ") && strings.Contains(detail, "certificate"):
		return &failure{kind: ErrAuthentication, detail: detail, hint: "the server wants a client certificate that it trusts: check which one it was given, and that it has not expired"}
	case strings.Contains(detail, "Proxy Authentication Required"):
		return proxyRefuses("the proxy answered 407")
	case strings.Contains(detail, "socks") && strings.Contains(detail, "authentication failed"):
		return proxyRefuses("the proxy does not accept the credentials")
	case strings.Contains(detail, "redirect"):
		return &failure{kind: ErrRedirect, detail: detail, hint: "check the URL, and the server's settings"}
	case errors.Is(err, os.ErrDeadlineExceeded): // the connection's deadline is the context's, and may be seen first
		return stopped(context.DeadlineExceeded)
	case isTLS(err):
		return &failure{kind: ErrTLS, detail: detail, hint: "check the host in the URL, and that the CA is the one that issued the server's certificate"}
	case isNetwork(err):
		return &failure{kind: ErrUnreachable, detail: detail, hint: "check the host in the URL, and the way there (DNS, proxy, network policy)"}
	}
	return nil
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
	return ok || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
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
