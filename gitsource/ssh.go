package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	gittransport "github.com/go-git/go-git/v5/plumbing/transport"
	gossh "golang.org/x/crypto/ssh"
)

// ssh connects to a server over SSH: one connection for each conversation. go-git's
// own transport heeds no context once it is connected, reads the user's settings
// for SSH, and keeps nothing of what the server says to people.
type ssh struct {
	remote  Remote
	address string // host:port
	path    string
	via     dialer
	config  *gossh.ClientConfig
}

const (
	defaultSSHUser = "git"
	defaultSSHPort = "22"
)

func newSSH(remote Remote, address *url.URL, folder string) (*ssh, error) {
	key, err := parseKey(remote.SSHKey, remote.SSHPassphrase, "SSHKey")
	if err != nil {
		return nil, err
	}
	via, err := dialerFor(remote)
	if err != nil {
		return nil, err
	}
	s := &ssh{remote: remote, address: hostAndPort(address, defaultSSHPort), path: pathOf(address, remote.belowHome), via: via}
	known, err := readKnownHosts(remote.KnownHosts, folder)
	if err != nil {
		return nil, err
	}
	s.config = &gossh.ClientConfig{
		User:              remote.Username,
		Auth:              []gossh.AuthMethod{gossh.PublicKeys(key)},
		HostKeyCallback:   known.check,
		HostKeyAlgorithms: known.algorithms(s.address),
	}
	return s, nil
}

// pathOf is the path as the server is to take it: from its root, or from a home.
func pathOf(address *url.URL, belowHome bool) string {
	if belowHome || strings.HasPrefix(address.Path, "/~") {
		return strings.TrimPrefix(address.Path, "/")
	}
	return address.Path
}

// parseKey reads a private key of SSH. The error says nothing of what it holds.
func parseKey(encoded []byte, passphrase, name string) (gossh.Signer, error) {
	key, err := gossh.ParsePrivateKey(encoded)
	if _, ok := errors.AsType[*gossh.PassphraseMissingError](err); ok {
		if passphrase == "" {
			return nil, fmt.Errorf("the %s is encrypted: give its passphrase", name)
		}
		if key, err = gossh.ParsePrivateKeyWithPassphrase(encoded, []byte(passphrase)); err != nil {
			return nil, fmt.Errorf("the passphrase does not open the %s: correct it", name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the %s cannot be read: give a private key as PEM, as ssh-keygen makes it", name)
	}
	return key, nil
}

// close has nothing to do: no connection outlives its conversation.
func (s *ssh) close() {}

func (s *ssh) upload(ctx context.Context) (uploadSession, error) {
	started, err := s.start(ctx, gittransport.UploadPackServiceName)
	return &sshUpload{command: started, again: s}, err
}

func (s *ssh) receive(ctx context.Context) (receiveSession, error) {
	started, err := s.start(ctx, gittransport.ReceivePackServiceName)
	return &sshReceive{started}, err
}

// start runs a service on the server. The connection dies with the context.
func (s *ssh) start(ctx context.Context, service string) (*command, error) {
	conn, err := s.via.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	c := &command{remote: s.remote, conn: conn}
	c.until(ctx)
	if err = s.handshake(ctx, c); err == nil {
		err = c.run(service + " " + quoted(s.path))
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// handshake agrees on keys and shows ours.
func (s *ssh) handshake(ctx context.Context, c *command) error {
	limited, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	release := context.AfterFunc(limited, func() { _ = c.conn.Close() })
	defer release()
	connection, channels, requests, err := gossh.NewClientConn(c.conn, s.address, s.config)
	if err == nil {
		c.client = gossh.NewClient(connection, channels, requests)
		return nil
	}
	if limited.Err() != nil && ctx.Err() == nil {
		return &failure{kind: ErrUnreachable, detail: "the SSH handshake was not done in " + handshakeTimeout.String(), hint: "check that an SSH server is at this host and port, and that it is not overloaded"}
	}
	if strings.Contains(err.Error(), "unable to authenticate") {
		return &failure{kind: ErrAuthentication, detail: fmt.Sprintf("the server does not accept the key for user %q", s.config.User), hint: "let it know the public half of SSHKey (a deploy key, for instance), and check the user in the URL"}
	}
	return err
}

// quoted makes a path one word of a POSIX shell, as git does (sq_quote_buf).
func quoted(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// command is a service that runs on a server, and its connection.
type command struct {
	remote  Remote
	conn    net.Conn
	release func() bool
	client  *gossh.Client
	session *gossh.Session

	in   io.WriteCloser
	out  *boundedBody
	said words
	// idle: the server waits for what it is asked for.
	idle bool
}

// until ends the connection with a context, and no longer with an earlier one.
func (c *command) until(ctx context.Context) {
	if c.release != nil {
		c.release()
	}
	c.release = context.AfterFunc(ctx, func() { _ = c.conn.Close() })
}

func (c *command) run(line string) error {
	var err error
	if c.session, err = c.client.NewSession(); err != nil {
		return err
	}
	if c.in, err = c.session.StdinPipe(); err != nil {
		return err
	}
	out, err := c.session.StdoutPipe()
	if err != nil {
		return err
	}
	c.out = &boundedBody{ReadCloser: io.NopCloser(out), left: maxListing}
	c.session.Stderr = &c.said
	return c.session.Start(line)
}

// Close ends the conversation and the connection, politely if the server waits.
func (c *command) Close() error {
	if c.idle {
		_, _ = c.in.Write(pktline.FlushPkt)
		c.idle = false
	}
	c.release()
	if c.client != nil {
		return c.client.Close()
	}
	return c.conn.Close()
}

// AdvertisedReferencesContext reads the listing.
func (c *command) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	c.until(ctx)
	refs := packp.NewAdvRefs()
	err := refs.Decode(c.out)
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		c.idle = true
		return nil, gittransport.ErrEmptyRemoteRepository
	case err != nil:
		return nil, c.ended(ctx, err)
	}
	c.idle = true
	if refs.IsEmpty() {
		return nil, gittransport.ErrEmptyRemoteRepository
	}
	gittransport.FilterUnsupportedCapabilities(refs.Capabilities)
	return refs, nil
}

// ended explains the end of a conversation by what the server said to people, if it
// did end it and said something.
func (c *command) ended(ctx context.Context, err error) error {
	over := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, packp.ErrEmptyInput)
	if !over || ctx.Err() != nil {
		return err
	}
	exit := c.exit()
	if ctx.Err() != nil {
		return err
	}
	if len(c.said) > 0 {
		return c.remote.complaint(string(c.said), ErrNotRepository)
	}
	detail := "the server ended the conversation without a word"
	if status, ok := errors.AsType[*gossh.ExitError](exit); ok {
		detail += fmt.Sprintf(", with exit status %d", status.ExitStatus())
	}
	return &failure{kind: ErrUnreachable, detail: detail, hint: "check the path in the URL, what this key may do, and the server's log"}
}

// exit waits, not for ever, until the server has said all that it has to say.
func (c *command) exit() error {
	late := time.AfterFunc(handshakeTimeout, func() { _ = c.conn.Close() })
	defer late.Stop()
	return c.session.Wait()
}

// ask sends a request and reads what comes before the pack.
func (c *command) ask(ctx context.Context, request *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	c.until(ctx)
	c.idle = false
	c.out.left += maxAnswer(c.remote.Limits)
	err := errors.Join(
		request.UploadRequest.Encode(c.in),
		request.UploadHaves.Encode(c.in, false),
		pktline.NewEncoder(c.in).EncodeString("done\n"),
	)
	if err != nil {
		return nil, c.ended(ctx, err)
	}
	response := packp.NewUploadPackResponse(request)
	if err := response.Decode(&answer{c}); err != nil {
		return nil, c.ended(ctx, err)
	}
	return response, nil
}

// answer is the rest of a conversation, which ends with it.
type answer struct{ *command }

func (a *answer) Read(p []byte) (int, error) { return a.out.Read(p) }

// sshUpload is a conversation with git-upload-pack. Each serves one request; for
// another, another is begun.
type sshUpload struct {
	*command
	again *ssh
	asked bool
}

// UploadPack asks for a pack.
func (u *sshUpload) UploadPack(ctx context.Context, request *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if u.asked {
		_ = u.Close()
		next, err := u.again.start(ctx, gittransport.UploadPackServiceName)
		if err != nil {
			return nil, err
		}
		u.command = next
		if _, err := u.AdvertisedReferencesContext(ctx); err != nil {
			return nil, err
		}
	}
	u.asked = true
	return u.ask(ctx, request)
}

// sshReceive is a conversation with git-receive-pack.
type sshReceive struct{ *command }

// ReceivePack pushes, and reads what became of it.
func (r *sshReceive) ReceivePack(ctx context.Context, request *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error) {
	r.until(ctx)
	r.idle = false
	if err := errors.Join(request.Encode(r.in), r.in.Close()); err != nil {
		return nil, r.ended(ctx, err)
	}
	report := packp.NewReportStatus()
	if err := report.Decode(demultiplex(request.Capabilities, r.out, request.Progress)); err != nil {
		return nil, r.ended(ctx, err)
	}
	return report, report.Error()
}
