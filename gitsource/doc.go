// Package gitsource is the repository, in and out: it pulls a branch, hands out
// read-only snapshots of it, says who signed them and what changed between two of
// them, and commits and pushes files back. No other package knows go-git.
//
//	remote := gitsource.Remote{URL: "https://git.example/pki.git", Branch: "main", Username: "bot", Password: token}
//	repository, err := gitsource.Open("/var/lib/reanchor/pki", remote)
//	snapshot, err := repository.Pull(ctx)
//	snapshot.Revision()              // main@sha1:0a4d55a8d778e5022fab701977c5d840bbc486d0
//	fs.ReadFile(snapshot.FS(), "site/kustomization.yaml")
//	snapshot.Changed(earlier)        // [devices/sensors/3f/sensor-0042.yaml]
//	pushed, err := repository.Push(ctx, snapshot, gitsource.Commit{
//		Author:  gitsource.Author{Name: "reanchor", Email: "reanchor@example.com"},
//		Message: "Register sensor-0043",
//		When:    now,
//		Files:   map[string][]byte{"devices/sensors/9c/sensor-0043.yaml": document},
//	})
//
// # Remotes
//
// A [Remote] is reached in one of three ways, none of which needs a git binary:
//
//	https://host/path      Username and Password, BearerToken, GitHubApp, or nothing;
//	                       ClientCertificate and ClientKey besides; CA
//	ssh://user@host/path   SSHKey (and SSHPassphrase), KnownHosts; user@host:path is the same
//	file:///path           a repository on this machine
//
// Credentials that have no place on the way that the URL takes are refused, and so is
// plain http://. A redirect to another host is not followed: credentials go where the
// URL says and nowhere else, and stand in no error and no log.
//
// An SSH server shows a key that [Remote].KnownHosts holds, or nothing is asked of it.
// Of a server with several keys, one of which is known, that one is asked for. Each
// conversation over SSH is a connection of its own. Those over HTTPS are kept for a
// while to be used again; [Repository.Close] lets go of them.
//
// A [Proxy] may be of HTTP, HTTPS or SOCKS5, for either protocol. Without one the
// environment decides.
//
// A [GitHubApp] gets its tokens from GitHub's API when one is needed, and keeps each
// until a few minutes before it expires. What time it is, GitHub's answers say.
//
// Over file:// the hooks of the repository do not run, and a branch that is
// checked out there is not pushed to. Neither a copy that this package keeps nor what
// lies in [Remote].Storage is reached that way, and a repository that takes its objects
// from another one is refused.
//
// # Pull
//
// A branch that did not move costs one listing of refs and returns the [Snapshot]
// that the last pull returned. One that moved brings only what is new, without
// history. Where a server refuses that, or the store on disk is damaged, a new store is
// cloned beside the old one, without history or, if the server knows no such thing, with
// it. A store that has been added to a hundred times is replaced by one that holds what is
// still needed of it, without asking the server. The old store stays as long as a Snapshot
// of it is in use.
//
// # Rewritten history
//
// Pull takes a branch for what it is. [Repository.PullAfter] is told which revision was
// accepted last, and returns a [RewrittenError] if the branch is at a commit that does
// not descend from it: one was taken back, replaced, or the branch was moved back.
// Somebody may look at it and accept exactly that commit:
//
//	snapshot, err := repository.PullAfter(ctx, gitsource.After{Revision: accepted})
//	if rewritten, ok := errors.AsType[*gitsource.RewrittenError](err); ok {
//		... // later, if rewritten.Is was meant:
//		snapshot, err = repository.PullAfter(ctx, gitsource.After{Revision: accepted, Accept: rewritten.Is})
//	}
//
// The revision may be from before a restart, and the copy on disk may be gone. What a
// branch gained since it was pulled last is in the store, and shows whether it leads
// back to the revision. Where it does not show, the server is asked, once, for what the
// branch has and the revision has not, commits only if it knows how to leave out the
// rest: if the branch descends from the revision, then the revision is a parent of one
// of these. This holds whatever else the server sends, since commits name their parents
// by hash.
//
// # Signatures
//
// With a [Verification] no commit is handed out that is not signed by one of its keys,
// of OpenPGP or SSH, nor is anything pushed on top of one. Only the commit that the
// branch is at is looked at: it names all files by hash, and vouches for what it was
// made on. [Snapshot.Signer] says who signed. [Remote].SigningKey signs what is pushed,
// so that it verifies too.
//
// What a key may sign is told by the times that are signed along, not by the clock:
// see [Verification].
//
// # Snapshots
//
// A [Snapshot] is one commit. It never changes and stays readable whatever becomes
// of the branch: deleted, rewritten, its server gone. Its file system reads each
// file from the store as it is opened, so what it holds in memory does not grow
// with the repository. Symbolic links are followed inside the repository and
// refused where they lead out of it. A submodule is an empty folder.
//
// Every snapshot is complete when it is handed out: all of its folders were
// read, and all of its files were seen to be in the store.
//
// # Clones
//
// A person's own clone is read without a pull: [OpenClone] finds it, and [Clone.At] hands
// out a Snapshot of any revision that it has, leaving the worktree as it is.
//
// # Push
//
// A [Commit] is a set of files. Only the folders that lead to them are rewritten
// and sent: the cost grows with the files and their depth, not with the repository
// or its history. There is no worktree.
//
// When somebody else was faster, the files are put on top of the branch's new tip
// and pushed again, a bounded number of times. If one of these very files
// was changed since the snapshot that the commit was made from, that is a
// [ConflictError] instead: what was decided on the old content must be decided
// again. Push does not look whether history was rewritten meanwhile; the next
// PullAfter does, if it is told the revision that was accepted, and not the one that
// Push returned.
//
// # Registrations
//
// A [Writer] takes one device document at a time from many callers and commits them in
// groups: all that arrive while a push is under way go into the next commit.
//
//	writer, err := gitsource.OpenWriter(folder, remote, gitsource.WriterOptions{
//		Root: "clusters/plant", Author: author, Now: time.Now,
//	})
//	landed, err := writer.Put(ctx, gitsource.Edit{
//		Path:    "clusters/plant/devices/sensors/9c/sensor-0043.yaml",
//		Content: document,
//		Subject: "Register sensor-0043 of sensors",
//	})
//
// Put returns once the commit is pushed and accepted. An edit says what it was decided on:
// that there is no such file, or its blob, as [Writer.Get] tells it. Whenever somebody else
// was faster, every edit is looked at again on the branch's new tip:
//
//	stands there now          the edit
//	-----------------------   -----------------------------------------------------
//	what it was decided on    is written
//	the very same content     has landed already; no commit is made for it
//	anything else             is an [EditConflictError], which tells what stands there
//
// Nothing is half written: a commit holds a file whole, or its caller hears an error. Only
// [ErrOutcomeUnknown] leaves open which of the two, and the same Put again finds out. A
// document that the remote's hooks reject keeps out no other: the group is halved until it
// is found. Several Writers, of several programs, may write to one branch.
//
// With a Base the documents wait on a branch of their own for somebody to merge them: see
// [RegistrationBranch]. That branch is always one commit on top of the base, made anew on
// the newest base with each group, and lost to nobody: what others commit to it stays.
//
// # Errors
//
// Errors that a caller may branch on, found by errors.Is and errors.As:
//
//	ErrBranchNotFound   the branch is not there, or the repository is empty
//	ErrAuthentication   credentials, of whatever kind, are not accepted
//	ErrNotRepository    what is at the URL is no repository
//	ErrUnreachable      no answer, in time or at all, or one that broke off
//	ErrRedirect         the server leads to another host
//	ErrHostKey          an SSH server shows another key than the known one, or no known one
//	ErrTLS              an HTTPS server could not be verified
//	ErrRejected         a push was refused, by a hook or a rule
//	ErrBusy             others were faster, again and again; an ErrRejected, too
//	ErrOutcomeUnknown   a push was sent and no answer came: it may have landed
//	ErrQueueFull        more wait for a Writer than it holds
//	ErrConflict         somebody else changed the same files: ConflictError, EditConflictError
//	ErrSignature        a commit is not signed as it has to be
//	ErrRewritten        the branch lost what was accepted; see RewrittenError
//	ErrTooLarge         a limit was exceeded
//	ErrInvalidCommit    a commit that Git could not hold
//
// A context that ended is found in the same way, and ends whatever is under way. All
// say what to do next. After any of them the earlier snapshots are as they were, and
// neither a connection nor a goroutine is left behind that would not end by itself or
// with Close.
//
// The package reads no clock: the time of a commit is given.
package gitsource
