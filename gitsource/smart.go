package gitsource

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// smart talks to a server in Git's smart protocol (gitprotocol-pack). How it gets
// there is the connector's business.
type smart struct {
	remote  Remote
	connect connector
}

// connector opens conversations with a server's two services. They end with the
// context at the latest.
type connector interface {
	upload(ctx context.Context) (uploadSession, error)
	receive(ctx context.Context) (receiveSession, error)
	close()
}

// uploadSession is a conversation with git-upload-pack: a listing, and fetches from it.
type uploadSession interface {
	AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error)
	UploadPack(ctx context.Context, request *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	io.Closer
}

// receiveSession is a conversation with git-receive-pack: a listing, and one push.
type receiveSession interface {
	AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error)
	ReceivePack(ctx context.Context, request *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error)
	io.Closer
}

func (s *smart) close() { s.connect.close() }

// listing reads a server's refs and finds the branch among them; zero: it is not. It ends
// the conversation if there is nothing more to say.
func (s *smart) listing(ctx context.Context, session interface {
	AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error)
	io.Closer
},
) (*packp.AdvRefs, plumbing.Hash, error) {
	refs, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		err = s.explainAnswer(ctx, err)
		_ = session.Close()
		return nil, plumbing.ZeroHash, err
	}
	return refs, refs.References[s.remote.reference().String()], nil
}

func noBranch(branch string) error {
	return &failure{kind: ErrBranchNotFound, hint: "correct its name, or create it: git push origin HEAD:" + branch}
}

func (s *smart) read(ctx context.Context) (reading, error) {
	session, err := s.connect.upload(ctx)
	if err != nil {
		return reading{}, s.explain(ctx, err)
	}
	refs, tip, err := s.listing(ctx, session)
	if err != nil {
		return reading{}, err
	}
	if tip.IsZero() {
		_ = session.Close()
		return reading{}, noBranch(s.remote.Branch)
	}
	u := uploading{smart: s, session: session, can: refs.Capabilities, tip: tip}
	return reading{tip: tip, fetch: u.fetch, relate: u.relate, close: func() { _ = session.Close() }}, nil
}

// uploading is a conversation of which the listing was read.
type uploading struct {
	*smart
	session uploadSession
	can     *capability.List
	tip     plumbing.Hash
}

func (u *uploading) fetch(ctx context.Context, into *store, want extent) error {
	return u.explainFetch(ctx, u.ask(ctx, into, want))
}

// wasReplaced reports that a commit which was listed is not there any more when it is fetched:
// another was put in its place by force in between. The words are git's (upload-pack.c).
func wasReplaced(err error) bool {
	return err != nil && strings.Contains(err.Error(), "upload-pack: not our ref ")
}

// errNotThere says that the server does not know the commit that was said to be had.
var errNotThere = errors.New("the server does not have the commit")

// ask asks for the tip and stores the answer.
func (u *uploading) ask(ctx context.Context, into *store, want extent) error {
	request, err := u.request(into, want)
	if err != nil {
		return err
	}
	// What go-git does not close is closed with the context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	response, err := u.session.UploadPack(ctx, request)
	if err != nil {
		return err
	}
	defer response.Close()
	if want.commits && !want.have.IsZero() && !slices.Contains(response.ACKs, want.have) {
		return errNotThere
	}
	if err := into.addBoundaries(response.Shallows); err != nil {
		return err
	}
	add := into.addPack
	if want.commits {
		add = into.addCommits
	}
	return add(u.remote.Limits, func(w io.Writer) error {
		_, err := io.Copy(w, demultiplex(request.Capabilities, response, nil))
		return err
	})
}

// explainFetch is explain for what comes after the listing: an answer that cannot be
// read is cut off or garbled. Trouble with the disk stays what it is.
func (u *uploading) explainFetch(ctx context.Context, err error) error {
	explained := u.explain(ctx, err)
	_, known := errors.AsType[*failure](explained)
	_, disk := errors.AsType[*fs.PathError](err)
	if err == nil || known || disk || ctx.Err() != nil {
		return explained
	}
	return &failure{kind: ErrUnreachable, detail: "the answer is cut off or garbled: " + explained.Error(), hint: "try again; if that does not help, look at what stands between, and run git fsck in the remote repository"}
}

func (u *uploading) request(into *store, want extent) (*packp.UploadPackRequest, error) {
	request := packp.NewUploadPackRequestFromCapabilities(u.can)
	request.Wants = []plumbing.Hash{u.tip}
	if u.can.Supports(capability.NoProgress) {
		_ = request.Capabilities.Set(capability.NoProgress)
	}
	if want.shallow && u.can.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(1)
	}
	if want.parent && u.can.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(2)
	}
	if want.commits && u.can.Supports(capability.Filter) {
		_ = request.Capabilities.Set(capability.Filter)
		request.Filter = packp.FilterTreeDepth(0)
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

// demultiplex takes an answer out of its packets. What is meant for people goes to
// the writer, or nowhere if it is nil.
func demultiplex(agreed *capability.List, response io.Reader, people io.Writer) io.Reader {
	band := sideband.Sideband64k
	switch {
	case agreed.Supports(capability.Sideband64k):
	case agreed.Supports(capability.Sideband):
		band = sideband.Sideband
	default:
		return response
	}
	demuxer := sideband.NewDemuxer(band, response)
	demuxer.Progress = people
	return demuxer
}

// relate asks for what the tip has and the other commit has not. Every commit on
// the way from the tip down to the other is in the answer, so that the other is the
// parent of one of them, or not before the tip. A server that has nothing to send
// knows the tip as a part of the other's history.
func (u *uploading) relate(ctx context.Context, scratch *store, to plumbing.Hash, told func(commits) error) (relation, error) {
	err := u.ask(ctx, scratch, extent{have: to, commits: true})
	if errors.Is(err, errNotThere) {
		return departs, nil
	}
	if err == nil && !scratch.has(u.tip) {
		return precedes, nil
	}
	if err != nil && !isFinal(ctx, u.explainFetch(ctx, err)) {
		err = u.ask(ctx, scratch, extent{commits: true})
	}
	if err != nil {
		return unknown, u.explainFetch(ctx, err)
	}
	found, err := trace(ctx, u.tip, to, scratch.known)
	if found == follows {
		return follows, errors.Join(err, told(scratch.known))
	}
	return departs, err
}

func (s *smart) write(ctx context.Context) (writing, error) {
	session, err := s.connect.receive(ctx)
	if err != nil {
		return writing{}, s.explain(ctx, err)
	}
	refs, tip, err := s.listing(ctx, session)
	if err != nil {
		return writing{}, err
	}
	push := func(ctx context.Context, from, to plumbing.Hash, pack *pack) error {
		command := &packp.Command{Name: s.remote.reference(), Old: from, New: to}
		return s.push(ctx, session, refs.Capabilities, command, pack.data)
	}
	return writing{tip: tip, push: push, close: func() { _ = session.Close() }}, nil
}

func (s *smart) push(ctx context.Context, session receiveSession, can *capability.List, command *packp.Command, pack []byte) error {
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
		return s.refused(err, said)
	case err != nil:
		return s.explainAnswer(ctx, err)
	case report == nil:
		return &failure{kind: ErrUnreachable, detail: "the server did not answer the push", hint: "check that the credentials may write, then try again"}
	}
	return nil
}

func (s *smart) refused(status error, said words) error {
	reason := s.remote.quote(status.Error())
	if len(said) > 0 {
		reason += ": " + s.remote.quote(string(said))
	}
	return &refusal{reason: reason, busy: strings.Contains(status.Error(), "lock")}
}

// words keeps the first of what a server says to people.
type words []byte

func (w *words) Write(p []byte) (int, error) {
	*w = append(*w, p[:min(len(p), 4*maxQuoted-len(*w))]...)
	return len(p), nil
}
