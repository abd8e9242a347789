package gitsource

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// testProxy counts what goes through it.
type testProxy struct {
	URL  string
	ca   []byte
	used atomic.Int64
}

// connectProxy is an HTTP proxy that knows CONNECT. A password, where given, is asked
// for.
func connectProxy(t testing.TB, h *hostile, username, password string) *testProxy {
	t.Helper()
	p := &testProxy{}
	server := httptest.NewServer(p.handler(username, password))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

func (p *testProxy) handler(username, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		basic := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
		if user, pass, _ := basic.BasicAuth(); password != "" && (user != username || pass != password) {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect || !strings.HasPrefix(r.Host, "127.0.0.1:") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		p.used.Add(1)
		from, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		join(from, buffered.Reader, to)
	})
}

// join copies both ways until one side ends.
func join(a net.Conn, fromA io.Reader, b net.Conn) {
	go func() {
		_, _ = io.Copy(b, fromA)
		_ = b.Close()
	}()
	_, _ = io.Copy(a, b)
	_ = a.Close()
}

// socksProxy is a SOCKS5 proxy (RFC 1928) that asks for a password (RFC 1929).
func socksProxy(t testing.TB, username, password string) *testProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p := &testProxy{URL: "socks5://" + listener.Addr().String()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serveSOCKS(conn, username, password)
		}
	}()
	return p
}

func (p *testProxy) serveSOCKS(conn net.Conn, username, password string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	take := func(n byte) []byte {
		data := make([]byte, n)
		_, _ = io.ReadFull(in, data)
		return data
	}
	take(take(2)[1])
	_, _ = conn.Write([]byte{5, 2})
	user := string(take(take(2)[1]))
	if pass := string(take(take(1)[0])); user != username || pass != password {
		_, _ = conn.Write([]byte{1, 1})
		return
	}
	_, _ = conn.Write([]byte{1, 0})
	head := take(4)
	if head[3] != 1 { // only IPv4 addresses
		return
	}
	host, port := net.IP(take(4)), binary.BigEndian.Uint16(take(2))
	to, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: host, Port: int(port)})
	if err != nil {
		return
	}
	p.used.Add(1)
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	join(conn, in, to)
}

func TestProxies(t *testing.T) {
	h := newHostile(t, site)
	const user, password = "pr0xy-user", "pr0xy-password"
	secure := &testProxy{}
	server := httptest.NewTLSServer(secure.handler(user, password))
	t.Cleanup(server.Close)
	secure.URL, secure.ca = server.URL, pemOf(server.Certificate())
	for kind, proxy := range map[string]*testProxy{
		"HTTP": connectProxy(t, h, user, password), "HTTPS": secure, "SOCKS5": socksProxy(t, user, password),
	} {
		for scheme, remote := range map[string]Remote{"https": h.https, "ssh": h.ssh} {
			t.Run(scheme+" through "+kind, func(t *testing.T) {
				remote.CA = append(append([]byte{}, remote.CA...), proxy.ca...)
				remote.Proxy = Proxy{URL: proxy.URL, Username: user, Password: password}
				before := proxy.used.Load()
				repository := open(t, remote)
				wantContents(t, pull(t, repository), site)
				repository.Close()
				if proxy.used.Load() == before {
					t.Error("the proxy was not used")
				}
				remote.Proxy = Proxy{URL: strings.Replace(proxy.URL, "://", "://"+user+":wr0ng-password@", 1)}
				refused := open(t, remote)
				_, err := refused.Pull(context.Background())
				refused.Close()
				if !errors.Is(err, ErrAuthentication) {
					t.Fatalf("a wrong password gave %v", err)
				}
				wantTold(t, err, remote, "check the proxy's username and password")
			})
		}
	}
}

// TestProxyThatNeverEnds: the header of an answer is held in memory, and therefore short.
func TestProxyThatNeverEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	sent := make(chan int, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		total, line := 0, []byte("X-A: "+strings.Repeat("a", 8000)+"\r\n")
		for _, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"); err == nil; {
			var n int
			n, err = conn.Write(line)
			total += n
		}
		sent <- total
	}()
	remote := newHostile(t, site).ssh
	remote.Proxy = Proxy{URL: "http://" + listener.Addr().String()}
	_, err = open(t, remote).Pull(context.Background())
	if !errors.Is(err, ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
	wantTold(t, err, remote, "the proxy's answer has more than 65536 bytes")
	if total := <-sent; total > 64<<20 { // what the system buffers is not read
		t.Errorf("the proxy sent %d bytes", total)
	}
}

func TestProxyTrouble(t *testing.T) {
	h := newHostile(t, site)
	silentProxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silentProxy.Close() })
	forbids := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(forbids.Close)
	for name, c := range map[string]struct{ url, says string }{
		"nobody there, HTTP":   {"http://" + nobody(t), "connection refused"},
		"nobody there, SOCKS5": {"socks5://" + nobody(t), "connection refused"},
		"silent, HTTP":         {"http://" + silentProxy.Addr().String(), "it did not answer in time"},
		"silent, HTTPS":        {"https://" + silentProxy.Addr().String(), "it did not answer in time"},
		"silent, SOCKS5":       {"socks5://" + silentProxy.Addr().String(), "it did not answer in time"},
		"forbids":              {forbids.URL, ""},
	} {
		for scheme, remote := range map[string]Remote{"https": h.https, "ssh": h.ssh} {
			t.Run(name+" over "+scheme, func(t *testing.T) {
				remote.Proxy = Proxy{URL: c.url, Username: "u", Password: "pr0xy-password"}
				ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
				defer cancel()
				_, err := open(t, remote).Pull(ctx)
				if !errors.Is(err, ErrUnreachable) {
					t.Fatalf("got %v", err)
				}
				wantTold(t, err, remote, c.says)
			})
		}
	}
}
