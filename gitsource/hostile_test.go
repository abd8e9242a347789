package gitsource

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// hostile is a server that answers as git does, over HTTPS or SSH, except where it is
// told to misbehave.
type hostile struct {
	origin     *origin
	https, ssh Remote
	open       atomic.Int64 // connections

	mutex    sync.Mutex // guards what follows
	released chan struct{}
	ways     map[string]misbehaviour
}

// misbehaviour answers in git's place. honest is what git would have said.
type misbehaviour struct {
	// answer writes to the client.
	answer func(h *hostile, w io.Writer, honest []byte)
	// status, over HTTPS; 0: 200.
	status int
	// complaint is written to the standard error, over SSH, instead of an answer.
	complaint string
	// location of a redirect, over HTTPS.
	location string
	// before: it happens before the first word of either protocol.
	before func(h *hostile, conn net.Conn)
}

func newHostile(t *testing.T, files map[string]string) *hostile {
	t.Helper()
	h := &hostile{origin: newOriginWith(t, files), released: make(chan struct{})}
	h.startHTTPS(t)
	h.startSSH(t)
	return h
}

// watched is a listener that counts open connections, and may misbehave itself.
type watched struct {
	net.Listener
	h *hostile
}

func (w watched) Accept() (net.Conn, error) {
	for {
		conn, err := w.Listener.Accept()
		if err != nil {
			return nil, err
		}
		w.h.open.Add(1)
		counted := &countedConn{Conn: conn, h: w.h}
		if before := w.h.way("connection").before; before != nil {
			go func() {
				before(w.h, counted)
				_ = counted.Close()
			}()
			continue
		}
		return counted, nil
	}
}

type countedConn struct {
	net.Conn
	h    *hostile
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.h.open.Add(-1) })
	return c.Conn.Close()
}

func (h *hostile) startHTTPS(t *testing.T) {
	t.Helper()
	web := httptest.NewUnstartedServer(http.HandlerFunc(h.serveHTTP))
	web.Listener = watched{web.Listener, h}
	web.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	web.Config.ErrorLog = quiet()
	web.StartTLS()
	t.Cleanup(web.Close)
	h.https = Remote{URL: web.URL + "/pki.git", Branch: "main", Username: testUser, Password: testPassword, CA: pemOf(web.Certificate())}
}

func (h *hostile) startSSH(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	config := &gossh.ServerConfig{PublicKeyCallback: func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) {
		if h.way("login").status != 0 {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
	key := newSSHKey(t, "")
	config.AddHostKey(key.signer)
	h.ssh = sshRemote(t, "ssh://git@"+listener.Addr().String()+"/pki.git", key.signer.PublicKey())
	go func() {
		for {
			conn, err := watched{listener, h}.Accept()
			if err != nil {
				return
			}
			go h.serveSSH(conn, config)
		}
	}()
}

// misbehave installs what happens at a stage: connection, login, listing, pack,
// push listing, push. No stage: all is well again.
func (h *hostile) misbehave(stage string, way misbehaviour) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.ways = map[string]misbehaviour{stage: way}
}

// release is closed when the client has been seen to let go.
func (h *hostile) release() <-chan struct{} {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.released
}

func (h *hostile) way(stage string) misbehaviour {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.ways[stage]
}

// say answers at a stage.
func (h *hostile) say(stage string, w io.Writer, honest []byte) {
	if answer := h.way(stage).answer; answer != nil {
		answer(h, w, honest)
		return
	}
	_, _ = w.Write(honest)
}

// git runs a service of git once.
func (h *hostile) git(service string, stdin io.Reader, args ...string) []byte {
	command := exec.Command("git", append(append([]string{strings.TrimPrefix(service, "git-"), "--stateless-rpc"}, args...), h.origin.folder)...)
	command.Stdin = stdin
	out, _ := command.Output()
	return out
}

func (h *hostile) serveHTTP(w http.ResponseWriter, r *http.Request) {
	service, stage := filepath.Base(r.URL.Path), "pack"
	if service == "refs" {
		service, stage = r.URL.Query().Get("service"), "listing"
	}
	if service == "git-receive-pack" {
		stage = map[string]string{"listing": "push listing", "pack": "push"}[stage]
	}
	way := h.way(stage)
	if way.location != "" {
		w.Header().Set("Location", way.location+r.URL.RequestURI())
	}
	if way.status != 0 {
		w.WriteHeader(way.status)
		_, _ = io.WriteString(w, "you sent "+r.Header.Get("Authorization"))
		return
	}
	var honest []byte
	if strings.Contains(stage, "listing") {
		honest = append([]byte(pktLine("# service="+service+"\n")+"0000"), h.git(service, nil, "--http-backend-info-refs")...)
	} else if stage == "pack" || way.answer == nil {
		honest = h.git(service, r.Body)
	}
	h.say(stage, w, honest)
}

func (h *hostile) serveSSH(conn net.Conn, config *gossh.ServerConfig) {
	defer conn.Close()
	server, channels, requests, err := gossh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer server.Close()
	go gossh.DiscardRequests(requests)
	for opened := range channels {
		channel, requests, err := opened.Accept()
		if err != nil {
			return
		}
		go func() {
			defer channel.Close()
			for request := range requests {
				if request.Type != "exec" {
					continue
				}
				_ = request.Reply(true, nil)
				h.serveCommand(channel, string(request.Payload[4:]))
				return
			}
		}()
	}
}

func (h *hostile) serveCommand(channel gossh.Channel, line string) {
	service, _, _ := strings.Cut(line, " ")
	listing, stage := "listing", "pack"
	if service == "git-receive-pack" {
		listing, stage = "push listing", "push"
	}
	if complaint := h.way(listing).complaint; complaint != "" {
		_, _ = io.WriteString(channel.Stderr(), complaint+"\n")
		_, _ = channel.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{128}))
		return
	}
	h.say(listing, channel, h.git(service, nil, "--http-backend-info-refs"))
	if h.way(listing).answer != nil {
		return
	}
	var asked bytes.Buffer
	for !bytes.HasSuffix(asked.Bytes(), []byte("done\n")) {
		if stage == "push" && h.way(stage).answer != nil {
			break
		}
		if _, err := io.CopyN(&asked, channel, 1); err != nil || asked.String() == "0000" {
			return
		}
	}
	h.say(stage, channel, h.git(strings.Replace(service, "receive", "upload", 1), &asked))
}

// The ways to misbehave.
var (
	stall = misbehaviour{answer: func(h *hostile, _ io.Writer, _ []byte) { <-h.release() }}
	half  = misbehaviour{answer: func(_ *hostile, w io.Writer, honest []byte) {
		_, _ = w.Write(honest[:len(honest)/2])
	}}
	halfThenStall = misbehaviour{answer: func(h *hostile, w io.Writer, honest []byte) {
		_, _ = w.Write(honest[:len(honest)/2])
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
		<-h.release()
	}}
	rubble = misbehaviour{answer: func(_ *hostile, w io.Writer, honest []byte) {
		_, _ = w.Write(bytes.Repeat([]byte("rubble, "+testPassword+"\n"), 10+len(honest)/10))
	}}
	nothing   = misbehaviour{answer: func(*hostile, io.Writer, []byte) {}}
	endless   = misbehaviour{answer: func(_ *hostile, w io.Writer, honest []byte) { writeEndlessly(w, honest) }}
	spoiled   = misbehaviour{answer: func(_ *hostile, w io.Writer, honest []byte) { _, _ = w.Write(spoil(honest)) }}
	silent    = misbehaviour{before: func(h *hostile, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }}
	hangingUp = misbehaviour{before: func(*hostile, net.Conn) {}}
)

// writeEndlessly lists refs until the client has had enough.
func writeEndlessly(w io.Writer, honest []byte) {
	refs := strings.Repeat(pktLine(strings.Repeat("1", 40)+" refs/heads/"+strings.Repeat("x", 900)+"\n"), 64)
	_, err := w.Write(honest[:len(honest)-len("0000")])
	for err == nil {
		_, err = io.WriteString(w, refs)
	}
}

// spoil changes bytes of the pack and leaves the packets around it as they are.
func spoil(honest []byte) []byte {
	spoilt := bytes.Clone(honest)
	begin := bytes.Index(spoilt, []byte("PACK"))
	for i := begin + 12; i < begin+40 && i < len(spoilt)-4; i++ {
		spoilt[i] ^= 0xff
	}
	return spoilt
}

// What a server does, what it is called, and what is said about it.
func TestHostileServers(t *testing.T) {
	h := newHostile(t, site)
	elsewhere := "https://elsewhere.example"
	answers := func(code int) misbehaviour { return misbehaviour{status: code} }
	complains := func(text string) misbehaviour { return misbehaviour{complaint: text} }
	cases := []struct {
		name, stage string
		way         misbehaviour
		over        string // empty: both
		want        error
		says        string
	}{
		{"accepts and is silent", "connection", silent, "", ErrUnreachable, "it did not answer in time: check the server, or give it more time"},
		{"hangs up", "connection", hangingUp, "", ErrUnreachable, "check the host in the URL, and the way there"},
		{"stalls after the handshake", "listing", stall, "", ErrUnreachable, "it did not answer in time"},
		{"stalls in the listing", "listing", halfThenStall, "", ErrUnreachable, "it did not answer in time"},
		{"stalls before the pack", "pack", stall, "", ErrUnreachable, "it did not answer in time"},
		{"stalls in the pack", "pack", halfThenStall, "", ErrUnreachable, "it did not answer in time"},
		{"cuts the listing off", "listing", half, "https", ErrUnreachable, "unexpected EOF: check the host in the URL"},
		{"cuts the listing off", "listing", half, "ssh", ErrUnreachable, "the server ended the conversation without a word"},
		{"cuts the pack off", "pack", half, "", ErrUnreachable, "unexpected EOF"},
		{"sends a listing without end", "listing", endless, "", ErrTooLarge, "the server's answer does not end"},
		{"says nothing", "listing", nothing, "https", ErrNotRepository, "the answer is not Git's: empty input: check that the URL"},
		{"says nothing", "listing", nothing, "ssh", ErrUnreachable, "the server ended the conversation without a word: check the path in the URL"},
		{"talks rubble", "listing", rubble, "", ErrNotRepository, "the answer is not Git's"},
		{"sends rubble for a pack", "pack", rubble, "", ErrUnreachable, "cut off or garbled"},
		{"sends a spoilt pack", "pack", spoiled, "", ErrUnreachable, "cut off or garbled"},
		{"redirects", "listing", misbehaviour{status: 302, location: elsewhere}, "https", ErrRedirect, "the server redirects to https://elsewhere.example: write that address into the URL if you trust it"},
		{"redirects to plain HTTP", "listing", misbehaviour{status: 302, location: "http://elsewhere.example"}, "https", ErrRedirect, "redirects to http://elsewhere.example"},
		{"redirects the fetch", "pack", misbehaviour{status: 307, location: elsewhere}, "https", ErrRedirect, "redirects to https://elsewhere.example"},
		{"redirects in a circle", "listing", misbehaviour{status: 302, location: strings.TrimSuffix(h.https.URL, "/pki.git")}, "https", ErrRedirect, "redirects: check the URL"},
		{"answers 401", "listing", answers(401), "https", ErrAuthentication, "the server answered 401: check the username and the password or token"},
		{"answers 403", "listing", answers(403), "https", ErrAuthentication, "the server answered 403: check what these credentials may do"},
		{"answers 404", "listing", answers(404), "https", ErrNotRepository, "the server answered 404: check the path in the URL"},
		{"answers 500", "listing", answers(500), "https", ErrUnreachable, "the server answered 500: try again later"},
		{"answers 503", "listing", answers(503), "https", ErrUnreachable, "the server answered 503: try again later"},
		{"answers 401 to the fetch", "pack", answers(401), "https", ErrAuthentication, "the server answered 401"},
		{"answers 500 to the fetch", "pack", answers(500), "https", ErrUnreachable, "the server answered 500"},
		{"refuses the key", "login", answers(1), "ssh", ErrAuthentication, `the server does not accept the key for user "git": let it know the public half of SSHKey`},
		{"knows no such repository", "listing", complains("fatal: '/pki.git' does not appear to be a git repository"), "ssh", ErrNotRepository, "the server says: fatal: '/pki.git' does not appear to be a git repository: check the path"},
		{"denies access", "listing", complains("ERROR: Permission to pki.git denied to deploy key"), "ssh", ErrAuthentication, "the server says: ERROR: Permission to pki.git denied to deploy key: check what these credentials may do"},
		{"is in maintenance", "listing", complains("closed until Monday"), "ssh", ErrNotRepository, "the server says: closed until Monday"},
	}
	for _, c := range cases {
		for scheme, remote := range map[string]Remote{"https": h.https, "ssh": h.ssh} {
			if c.over != "" && c.over != scheme {
				continue
			}
			t.Run(c.name+" over "+scheme, func(t *testing.T) {
				h.misbehave("", misbehaviour{})
				goroutines := runtime.NumGoroutine()
				repository := open(t, remote)
				snapshot := pull(t, repository)
				was := contents(t, snapshot)
				repository.Close()
				h.origin.commit(t, map[string]string{"more": fmt.Sprint(c.name, scheme)})

				h.misbehave(c.stage, c.way)
				ctx, cancel := context.WithTimeout(context.Background(), patience(c.says))
				defer cancel()
				_, err := repository.Pull(ctx)
				defer repository.Close()
				h.wantFailure(t, err, remote, c.want, c.says)
				wantContents(t, snapshot, was)
				repository.Close()
				h.wantNothingLeft(t, goroutines)

				h.misbehave("", misbehaviour{})
				if again := pull(t, repository); again.Commit() != h.origin.head("main") {
					t.Errorf("afterwards it is at %s", again.Revision())
				}
				repository.Close()
			})
		}
	}
}

// patience is short where the deadline is what is tested.
func patience(says string) time.Duration {
	if strings.Contains(says, "in time") {
		return 300 * time.Millisecond
	}
	return time.Minute
}

func (h *hostile) wantFailure(t *testing.T, err error, remote Remote, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	wantTold(t, err, remote, says)
	if strings.Contains(says, "in time") && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not the end of the context", err)
	}
}

// wantNothingLeft waits until all connections are closed and all goroutines that were
// begun since have ended. Then the server lets go of those that it holds itself.
func (h *hostile) wantNothingLeft(t *testing.T, goroutines int) {
	t.Helper()
	h.mutex.Lock()
	close(h.released)
	h.released = make(chan struct{})
	h.mutex.Unlock()
	for deadline := time.Now().Add(20 * time.Second); h.open.Load() > 0 || runtime.NumGoroutine() > goroutines; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d connections and %d goroutines are left, of which %d were there before:\n%s",
				h.open.Load(), runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestHostileToPushes(t *testing.T) {
	h := newHostile(t, site)
	for _, c := range []struct {
		name, stage string
		way         misbehaviour
		want        error
		says        string
	}{
		{"stalls before the listing", "push listing", stall, ErrUnreachable, "it did not answer in time"},
		{"stalls in the listing", "push listing", halfThenStall, ErrUnreachable, "it did not answer in time"},
		{"stalls in the push", "push", stall, ErrUnreachable, "it did not answer in time"},
		{"talks rubble", "push listing", rubble, ErrNotRepository, "the answer is not Git's"},
	} {
		for scheme, remote := range map[string]Remote{"https": h.https, "ssh": h.ssh} {
			t.Run(c.name+" over "+scheme, func(t *testing.T) {
				h.misbehave("", misbehaviour{})
				goroutines := runtime.NumGoroutine()
				repository := open(t, remote)
				snapshot := pull(t, repository)
				repository.Close()
				h.misbehave(c.stage, c.way)
				ctx, cancel := context.WithTimeout(context.Background(), patience(c.says))
				defer cancel()
				_, err := repository.Push(ctx, snapshot, testCommit(map[string][]byte{"x": []byte("x")}))
				h.wantFailure(t, err, remote, c.want, c.says)
				wantContents(t, snapshot, site)
				repository.Close()
				h.wantNothingLeft(t, goroutines)
			})
		}
	}
	if pushed := h.origin.git(t, "rev-list", "--count", "main"); pushed != "1" {
		t.Errorf("there are %s commits", pushed)
	}
}
