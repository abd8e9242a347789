package gitsource

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/proxy"
)

// Proxy is a proxy on the way to a server. Nothing that prints it shows the
// credentials.
type Proxy struct {
	// URL of the proxy: http://host:port, https://host:port or socks5://host:port.
	// User information in it is taken for Username and Password if these are empty.
	URL string
	// Username and Password for the proxy; both empty: none.
	Username, Password string
}

// String is the URL without credentials.
func (p Proxy) String() string {
	parsed, err := url.Parse(p.URL)
	if err != nil {
		return "(a URL that cannot be read)"
	}
	return (&url.URL{Scheme: parsed.Scheme, Host: parsed.Host}).String()
}

// GoString is String, so that no format prints a password.
func (p Proxy) GoString() string { return p.String() }

// MarshalText is String, so that no logger prints a password.
func (p Proxy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// normalise checks the proxy and moves user information out of its URL.
func (p Proxy) normalise() (Proxy, error) {
	if p.URL == "" {
		if p.Username+p.Password != "" {
			return p, errors.New("there are credentials for a proxy, but no proxy: give its URL")
		}
		return p, nil
	}
	const howTo = "write it as http://host:port, https://host:port or socks5://host:port"
	parsed, err := url.Parse(p.URL)
	if err != nil || parsed.Hostname() == "" || parsed.RawQuery != "" || parsed.Fragment != "" || len(parsed.Path) > 1 {
		return p, errors.New("the URL of the proxy cannot be read: " + howTo)
	}
	if parsed.Scheme != "http" && parsed.Scheme != "https" && parsed.Scheme != "socks5" {
		return p, fmt.Errorf("proxies of scheme %q are not supported: %s", parsed.Scheme, howTo)
	}
	if parsed.User != nil && p.Username == "" && p.Password == "" {
		p.Username = parsed.User.Username()
		p.Password, _ = parsed.User.Password()
	}
	p.URL = (&url.URL{Scheme: parsed.Scheme, Host: parsed.Host}).String()
	return p, nil
}

// forHTTP is the proxy as net/http takes it: the one given, or the environment's.
func (p Proxy) forHTTP() func(*http.Request) (*url.URL, error) {
	if p.URL == "" {
		return http.ProxyFromEnvironment
	}
	return func(*http.Request) (*url.URL, error) {
		via, err := url.Parse(p.URL)
		if err == nil && p.Username+p.Password != "" {
			via.User = url.UserPassword(p.Username, p.Password)
		}
		return via, err
	}
}

// dialer opens connections, by way of a proxy or without one.
type dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// dialerFor is the way to an SSH server.
func dialerFor(remote Remote) (dialer, error) {
	via, err := url.Parse(remote.Proxy.URL)
	if err != nil {
		return nil, err
	}
	switch via.Scheme {
	case "":
		return fromEnvironment{}, nil
	case "socks5":
		var auth *proxy.Auth
		if remote.Proxy.Username+remote.Proxy.Password != "" {
			auth = &proxy.Auth{User: remote.Proxy.Username, Password: remote.Proxy.Password}
		}
		socks, err := proxy.SOCKS5("tcp", hostAndPort(via, "1080"), auth, &net.Dialer{Timeout: dialTimeout})
		if err != nil {
			return nil, err
		}
		return socks.(dialer), nil
	}
	settings, err := tlsSettings(remote)
	return tunnel{proxy: remote.Proxy, via: via, tls: settings}, err
}

func hostAndPort(u *url.URL, defaultPort string) string {
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// fromEnvironment dials as ALL_PROXY and NO_PROXY say.
type fromEnvironment struct{}

func (fromEnvironment) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return proxy.Dial(ctx, network, address)
}

// tunnel dials through an HTTP proxy (RFC 9110, section 9.3.6, CONNECT).
type tunnel struct {
	proxy Proxy
	via   *url.URL
	tls   *tls.Config
}

func (t tunnel) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := t.reach(ctx, network)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	through, err := t.connect(conn, address)
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return through, nil
}

// reach connects to the proxy itself.
func (t tunnel) reach(ctx context.Context, network string) (net.Conn, error) {
	if t.via.Scheme == "https" {
		return (&tls.Dialer{Config: t.tls}).DialContext(ctx, network, hostAndPort(t.via, "443"))
	}
	return (&net.Dialer{}).DialContext(ctx, network, hostAndPort(t.via, "80"))
}

// maxProxyAnswer is how many bytes a proxy's answer may have.
const maxProxyAnswer = 64 << 10

// connect asks the proxy for the way to an address.
func (t tunnel) connect(conn net.Conn, address string) (net.Conn, error) {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if t.proxy.Username+t.proxy.Password != "" {
		basic := base64.StdEncoding.EncodeToString([]byte(t.proxy.Username + ":" + t.proxy.Password))
		request.Header.Set("Proxy-Authorization", "Basic "+basic)
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	answer := &io.LimitedReader{R: conn, N: maxProxyAnswer}
	reader := bufio.NewReader(answer)
	response, err := http.ReadResponse(reader, request)
	if err != nil && answer.N == 0 {
		return nil, &failure{kind: ErrUnreachable, detail: fmt.Sprintf("the proxy's answer has more than %d bytes", maxProxyAnswer), hint: "check that the URL is that of a proxy"}
	}
	if err != nil {
		return nil, err
	}
	answer.N = math.MaxInt64 // what follows is the server's
	switch response.StatusCode {
	case http.StatusOK:
		return tunnelled{Conn: conn, reader: reader}, nil
	case http.StatusProxyAuthRequired:
		return nil, proxyRefuses("the proxy answered 407")
	}
	return nil, &failure{kind: ErrUnreachable, detail: fmt.Sprintf("the proxy answered %d", response.StatusCode), hint: "check what the proxy lets through"}
}

func proxyRefuses(detail string) error {
	return &failure{kind: ErrAuthentication, detail: detail, hint: "check the proxy's username and password"}
}

// tunnelled is a connection of which the proxy's answer was read, and perhaps some
// of what follows.
type tunnelled struct {
	net.Conn
	reader *bufio.Reader
}

func (t tunnelled) Read(p []byte) (int, error) { return t.reader.Read(p) }
