// Package gitsource is the repository, in and out: it pulls a branch, hands out
// read-only snapshots of it, says what changed between two of them, and commits
// and pushes files back. No other package knows go-git.
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
// A [Remote] is https:// with basic authentication and, where wanted, CAs of its
// own, or file:// for a repository on this machine. Neither needs a git binary.
// Plain http:// is refused, and so is a redirect to another host: credentials go
// where the URL says and nowhere else, and stand in no error and no log.
//
// Over file:// the hooks of the repository do not run, and a branch that is
// checked out there is not pushed to.
//
// # Pull
//
// A branch that did not move costs one listing of refs and returns the [Snapshot]
// that the last pull returned. One that moved brings only what is new, without
// history. Where a server refuses that, or the store on disk is damaged or has
// been added to a hundred times, a new store is cloned beside the old one, without
// history or, if the server knows no such thing, with it. The old store stays as
// long as a Snapshot of it is in use.
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
// again.
//
// # Errors
//
// Errors that a caller may branch on are [ErrBranchNotFound], [ErrAuthentication],
// [ErrNotRepository], [ErrUnreachable], [ErrTLS], [ErrRejected], [ErrTooLarge],
// [ErrInvalidCommit] and [ConflictError], found by errors.Is and errors.As. A
// context that ended is found in the same way. All say what to do next.
//
// The package reads no clock: the time of a commit is given.
package gitsource
