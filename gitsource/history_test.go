package gitsource

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

func pullAfter(t *testing.T, r *Repository, after After) *Snapshot {
	t.Helper()
	snapshot, err := r.PullAfter(context.Background(), after)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func wantRewritten(t *testing.T, r *Repository, after After, is, says string) {
	t.Helper()
	_, err := r.PullAfter(context.Background(), after)
	rewritten, ok := errors.AsType[*RewrittenError](err)
	if !ok || !errors.Is(err, ErrRewritten) {
		t.Fatalf("got %v, want that history was rewritten", err)
	}
	if rewritten.Was != after.Revision || rewritten.Is != "main@sha1:"+is {
		t.Errorf("it was %s and is %s, want %s and %s", rewritten.Was, rewritten.Is, after.Revision, is)
	}
	for _, want := range []string{says, rewritten.Was, rewritten.Is, "put the branch back, or accept " + rewritten.Is} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// transports gives the same repository over each of them.
func transports(t *testing.T) map[string]func() (*origin, Remote) {
	t.Helper()
	server := newServer(t)
	over := server.overSSH(t)
	count := 0
	fresh := func(t *testing.T) (string, *origin) {
		count++
		name := fmt.Sprintf("pki-%d.git", count)
		return name, server.repository(t, name, map[string]string{"a": "1"})
	}
	return map[string]func() (*origin, Remote){
		"https": func() (*origin, Remote) { name, o := fresh(t); return o, server.remote(name) },
		"ssh":   func() (*origin, Remote) { name, o := fresh(t); return o, over(name) },
		"file":  func() (*origin, Remote) { _, o := fresh(t); return o, o.remote() },
		"filter": func() (*origin, Remote) {
			name, o := fresh(t)
			o.git(t, "config", "uploadpack.allowFilter", "true")
			return o, server.remote(name)
		},
	}
}

func TestRewrites(t *testing.T) {
	t.Parallel()
	for scheme, fresh := range transports(t) {
		t.Run(scheme, func(t *testing.T) {
			origin, remote := fresh()
			first := origin.head("main")
			for i := range 5 {
				origin.commit(t, map[string]string{"b": fmt.Sprint(i)})
			}
			accepted := origin.head("main")
			after := After{Revision: "main@sha1:" + accepted}
			folder := t.TempDir()
			known := openIn(t, folder, remote)
			pullAfter(t, known, after)
			// restarted knows the revision only.
			restarted := func() *Repository { return open(t, remote) }

			for i := range 3 {
				origin.commit(t, map[string]string{"c": fmt.Sprint(i)})
			}
			ahead := origin.head("main")
			for name, r := range map[string]*Repository{"moved on": known, "moved on, and restarted": restarted()} {
				if got := pullAfter(t, r, after).Commit(); got != ahead {
					t.Errorf("%s: it is at %s, want %s", name, got, ahead)
				}
			}
			for name, r := range map[string]*Repository{"known": known, "restarted": restarted(), "reopened": openIn(t, folder, remote)} {
				t.Run(name, func(t *testing.T) {
					origin.git(t, "update-ref", "refs/heads/main", accepted)
					pullAfter(t, r, after)
					origin.git(t, "update-ref", "refs/heads/main", first)
					wantRewritten(t, r, after, first, "was accepted last")
					fork := origin.commitTo(t, "main", first, map[string]string{"forked": name})
					wantRewritten(t, r, after, fork, "does not descend from it")
					wantRewritten(t, r, after, fork, "does not descend from it")
					unrelated := origin.commitTo(t, "main", "", map[string]string{"unrelated": name})
					wantRewritten(t, r, after, unrelated, "does not descend from it")
					if got := pullAfter(t, r, After{Revision: after.Revision, Accept: "main@sha1:" + unrelated}); got.Commit() != unrelated {
						t.Errorf("it is at %s, want what was accepted", got.Commit())
					}
					wantRewritten(t, r, After{Revision: after.Revision, Accept: "main@sha1:" + fork}, unrelated, "does not descend from it")
					if got := pull(t, r); got.Commit() != unrelated {
						t.Errorf("Pull is at %s", got.Commit())
					}
				})
			}
			origin.git(t, "update-ref", "refs/heads/main", first)
			wantRewritten(t, restarted(), after, first, "the branch was moved back")
			origin.git(t, "update-ref", "refs/heads/main", accepted)
			origin.git(t, "reflog", "expire", "--expire=now", "--all")
			lost := After{Revision: "main@sha1:" + strings.Repeat("ab", 20)}
			wantRewritten(t, restarted(), lost, accepted, "does not descend from it")
			if left, err := os.ReadDir(folder); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), scratchPrefix) }) {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
}

// What a merge brought in is history as well.
func TestHistoryOfMerges(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, map[string]string{"a": "1"})
	base := origin.head("main")
	side := origin.commitTo(t, "side", base, map[string]string{"side": "1"})
	main := origin.commit(t, map[string]string{"main": "1"})
	tree := origin.git(t, "rev-parse", "main^{tree}")
	merge := origin.git(t, "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit-tree", tree, "-p", main, "-p", side, "-m", "Merge")
	origin.git(t, "update-ref", "refs/heads/main", merge)
	for _, was := range []string{base, side, main, merge} {
		pullAfter(t, open(t, origin.remote()), After{Revision: "side@sha1:" + was})
	}
}

// Neither a branch that stands still nor one that moves on costs more than with Pull.
func TestHistoryCostsNothing(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	repository := open(t, server.remote("pki.git"))
	snapshot := pull(t, repository)
	server.take()
	for range 3 {
		if again := pullAfter(t, repository, After{Revision: snapshot.Revision()}); again != snapshot {
			t.Error("an unchanged branch gave another snapshot")
		}
		if requests, _ := server.take(); !slices.Equal(requests, []string{listing}) {
			t.Errorf("an unchanged branch took the requests %q", requests)
		}
	}
	for i := range 3 {
		origin.commit(t, map[string]string{"b": fmt.Sprint(i)})
		origin.commit(t, map[string]string{"c": fmt.Sprint(i)})
		snapshot = pullAfter(t, repository, After{Revision: snapshot.Revision()})
		if requests, _ := server.take(); !slices.Equal(requests, []string{listing, "POST /pki.git/git-upload-pack"}) {
			t.Errorf("a branch that moved on took the requests %q", requests)
		}
	}
}

// A program that starts anew asks once more, for commits, and then not again.
func TestHistoryAfterRestartIsAskedForOnce(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", manyFiles(2000))
	origin.git(t, "config", "uploadpack.allowFilter", "true")
	accepted := "main@sha1:" + origin.head("main")
	for i := range 20 {
		origin.commit(t, map[string]string{"b": fmt.Sprint(i)})
	}
	repository := open(t, server.remote("pki.git"))
	server.take()
	snapshot := pullAfter(t, repository, After{Revision: accepted})
	requests, _ := server.take()
	if want := []string{listing, "POST /pki.git/git-upload-pack", "POST /pki.git/git-upload-pack"}; !slices.Equal(requests, want) {
		t.Errorf("requests %q, want %q", requests, want)
	}
	if again := pullAfter(t, repository, After{Revision: accepted}); again != snapshot {
		t.Error("an unchanged branch gave another snapshot")
	}
	if requests, _ := server.take(); !slices.Equal(requests, []string{listing}) {
		t.Errorf("asked again: %q", requests)
	}
}

func TestServerThatRefusesHaves(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	first := origin.head("main")
	second := origin.commit(t, map[string]string{"b": "2"})
	third := origin.commit(t, map[string]string{"b": "3"})
	refuse := refusing("have ")
	server.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool { return refuse(w, r) })
	pullAfter(t, open(t, server.remote("pki.git")), After{Revision: "main@sha1:" + first})
	origin.git(t, "update-ref", "refs/heads/main", second)
	wantRewritten(t, open(t, server.remote("pki.git")), After{Revision: "main@sha1:" + third}, second, "does not descend from it")
}

func TestRevisions(t *testing.T) {
	t.Parallel()
	repository := open(t, newOriginWith(t, site).remote())
	good := "main@sha1:" + strings.Repeat("0a", 20)
	for _, bad := range []string{"main", "main@sha1:", "main@sha1:abc", good + "0", "main@sha256:" + strings.Repeat("0a", 32), "@sha1:" + strings.Repeat("xy", 20)} {
		for _, after := range []After{{Revision: bad}, {Revision: good, Accept: bad}} {
			_, err := repository.PullAfter(context.Background(), after)
			if err == nil || !strings.Contains(err.Error(), "is not a revision: write it as main@sha1: and 40 hex digits") {
				t.Errorf("%+v gave %v", after, err)
			}
		}
	}
	if hash, err := commitOf(good); err != nil || hash != plumbing.NewHash(strings.Repeat("0a", 20)) {
		t.Errorf("%s is %s (%v)", good, hash, err)
	}
}

// A file that is too large, and that was taken out again, is no part of what a branch has to
// follow: it holds nobody up for good.
func TestHistoryPastAHugeFile(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"https", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			server := newServer(t)
			origin := server.repository(t, "pki.git", site)
			remote := server.remote("pki.git")
			if scheme == "ssh" {
				remote = server.overSSH(t)("pki.git")
			}
			remote.Limits.Object = 1 << 16
			repository := open(t, remote)
			accepted := pull(t, repository)
			noise := make([]byte, 1<<17)
			rand.NewChaCha8([32]byte{}).Read(noise)
			origin.commit(t, map[string]string{"huge": string(noise)})
			after := After{Revision: accepted.Revision()}
			if _, err := repository.PullAfter(t.Context(), after); !errors.Is(err, ErrTooLarge) {
				t.Fatalf("got %v", err)
			}
			good := origin.commit(t, map[string]string{"huge": "-"})
			if got := pullAfter(t, repository, after); got.Revision() != "main@sha1:"+good {
				t.Errorf("pulled %s, not %s", got.Revision(), good)
			}
			origin.git(t, "update-ref", "refs/heads/main", origin.commitTo(t, "side", "", map[string]string{"a": "1"}))
			if _, err := repository.PullAfter(t.Context(), After{Revision: "main@sha1:" + good}); !errors.Is(err, ErrRewritten) {
				t.Errorf("a rewritten history: %v", err)
			}
		})
	}
}

func TestMessagesSince(t *testing.T) {
	t.Parallel()
	for scheme, fresh := range transports(t) {
		t.Run(scheme, func(t *testing.T) {
			origin, remote := fresh()
			repository := open(t, remote)
			before := pull(t, repository)
			said := func(r *Repository, s *Snapshot, since string) string {
				t.Helper()
				messages, err := r.MessagesSince(t.Context(), s, since)
				if err != nil {
					t.Fatal(err)
				}
				for i := range messages {
					messages[i] = strings.TrimSpace(messages[i])
				}
				return strings.Join(messages, ", ")
			}
			if got := said(repository, before, before.Revision()); got != "" {
				t.Errorf("nothing is new, and it says %s", got)
			}
			committed := func(parents []string, message string) string {
				args := []string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit-tree", "-m", message}
				for _, parent := range parents {
					args = append(args, "-p", parent)
				}
				return strings.TrimSpace(origin.git(t, append(args, parents[0]+"^{tree}")...))
			}
			direct := committed([]string{before.Commit()}, "direct")
			side := committed([]string{committed([]string{before.Commit()}, "side 1")}, "side 2")
			merge := committed([]string{direct, side}, "merge")
			tip := committed([]string{merge}, "tip")
			origin.git(t, "update-ref", "refs/heads/main", tip)
			after := pull(t, repository)
			const want = "tip, merge, side 2, side 1, direct"
			if got := said(repository, after, before.Revision()); got != want {
				t.Errorf("it says %s, want %s", got, want)
			}
			if got, want := said(repository, after, "main@sha1:"+merge), "tip"; got != want {
				t.Errorf("since the merge it says %s, want %s", got, want)
			}
			anew := open(t, remote)
			if got := said(anew, pull(t, anew), before.Revision()); got != want {
				t.Errorf("cloned anew it says %s, want %s", got, want)
			}
			if got := said(anew, pull(t, anew), ""); got != "tip" {
				t.Errorf("since ever it says %s, want its own message alone", got)
			}
			origin.git(t, "update-ref", "refs/heads/main", committed([]string{before.Commit()}, "another"))
			if got := said(anew, pull(t, anew), after.Revision()); got != "another" {
				t.Errorf("of another history it says %s, want its own message alone", got)
			}
			if got, err := anew.MessagesSince(t.Context(), after, "main@sha1:"+strings.Repeat("ab", 20)); err == nil {
				t.Errorf("of a snapshot that the branch has left it says %q", got)
			}
		})
	}
}
