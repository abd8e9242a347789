package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const listing = "GET /pki.git/info/refs?service=git-upload-pack"

var site = map[string]string{
	"kustomization.yaml":       "resources: [authorities]\n",
	"authorities/root.yaml":    "kind: Authority\n",
	"authorities/issuing.yaml": "kind: Authority\n# issuing\n",
	"devices/a/01/one.yaml":    "kind: Device\n",
}

func TestPull(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	snapshot := pull(t, open(t, server.remote("pki.git")))

	wantContents(t, snapshot, site)
	if want := "main@sha1:" + origin.head("main"); snapshot.Revision() != want {
		t.Errorf("revision %s, want %s", snapshot.Revision(), want)
	}
	if !regexp.MustCompile(`^main@sha1:[0-9a-f]{40}$`).MatchString(snapshot.Revision()) {
		t.Errorf("revision %s is not of Flux's form", snapshot.Revision())
	}
	if want := (Author{Name: "Ada", Email: "ada@example.com"}); snapshot.Author() != want {
		t.Errorf("author %v, want %v", snapshot.Author(), want)
	}
	if !snapshot.When().Equal(testTime) || snapshot.Message() != "Change 4 files" {
		t.Errorf("made at %s with the message %q", snapshot.When(), snapshot.Message())
	}
}

func TestUnchangedPullIsOneListing(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.repository(t, "pki.git", site)
	folder := t.TempDir()
	repository := openIn(t, folder, server.remote("pki.git"))
	first := pull(t, repository)
	server.take()

	if second := pull(t, repository); second != first {
		t.Error("an unchanged branch gave another snapshot")
	}
	if requests, _ := server.take(); !slices.Equal(requests, []string{listing}) {
		t.Errorf("an unchanged pull made the requests %q", requests)
	}

	reopened := pull(t, openIn(t, folder, server.remote("pki.git")))
	if requests, _ := server.take(); !slices.Equal(requests, []string{listing}) {
		t.Errorf("an unchanged pull after a restart made the requests %q", requests)
	}
	wantContents(t, reopened, site)
}

func TestPullBringsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	files := manyFiles(2000)
	origin := server.repository(t, "pki.git", files)
	repository := open(t, server.remote("pki.git"))
	before := pull(t, repository)
	_, whole := server.take()

	origin.commit(t, map[string]string{"devices/a/new.yaml": "new\n"})
	after := pull(t, repository)
	requests, part := server.take()
	if want := []string{listing, "POST /pki.git/git-upload-pack"}; !slices.Equal(requests, want) {
		t.Errorf("requests %q, want %q", requests, want)
	}
	if part*10 > whole {
		t.Errorf("one file of 2000 took %d bytes, all of them %d", part, whole)
	}
	wantContents(t, before, files)
	changed, err := after.Changed(before)
	if want := []string{"devices/a/new.yaml"}; err != nil || !slices.Equal(changed, want) {
		t.Errorf("changed %q (%v), want %q", changed, err, want)
	}
}

func manyFiles(count int) map[string]string {
	files := make(map[string]string, count)
	for i := range count {
		files[fmt.Sprintf("devices/group/%02x/device-%05d.yaml", i%256, i)] = fmt.Sprintf("kind: Device\nmetadata: {name: device-%05d}\n", i)
	}
	return files
}

// A branch that is moved back and forth must never lead to a commit of which the
// server believes that we have it: the file that comes back is the trap.
func TestRewrittenHistory(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"https", "file"} {
		t.Run(scheme, func(t *testing.T) {
			server := newServer(t)
			origin := server.repository(t, "pki.git", map[string]string{"a": "1", "b": "old"})
			remote := map[string]Remote{"https": server.remote("pki.git"), "file": origin.remote()}[scheme]
			first := origin.head("main")
			second := origin.commit(t, map[string]string{"b": "new"})
			repository := open(t, remote)
			wantContents(t, pull(t, repository), map[string]string{"a": "1", "b": "new"})

			rewritten := origin.commitTo(t, "main", "", map[string]string{"c": "other"})
			wantContents(t, pull(t, repository), map[string]string{"c": "other"})
			origin.git(t, "update-ref", "refs/heads/main", second)
			wantContents(t, pull(t, repository), map[string]string{"a": "1", "b": "new"})
			origin.commit(t, map[string]string{"b": "old"})
			wantContents(t, pull(t, repository), map[string]string{"a": "1", "b": "old"})
			origin.git(t, "update-ref", "refs/heads/main", first)
			wantContents(t, pull(t, repository), map[string]string{"a": "1", "b": "old"})
			origin.git(t, "update-ref", "refs/heads/main", rewritten)
			wantContents(t, pull(t, repository), map[string]string{"c": "other"})
		})
	}
}

func TestBranchDeletedLater(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	repository := open(t, server.remote("pki.git"))
	snapshot := pull(t, repository)

	origin.git(t, "update-ref", "-d", "refs/heads/main")
	origin.commitTo(t, "other", "", map[string]string{"x": "x"})
	if _, err := repository.Pull(context.Background()); !errors.Is(err, ErrBranchNotFound) {
		t.Errorf("a deleted branch gave %v", err)
	}
	wantContents(t, snapshot, site)

	origin.commit(t, map[string]string{"back": "again"})
	wantContents(t, pull(t, repository), map[string]string{"back": "again"})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.repository(t, "pki.git", site)
	newOrigin(t, filepath.Join(server.root, "empty.git"))
	good := server.remote("pki.git")
	_, _, otherCA := newCertificates(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()

	cases := map[string]struct {
		change func(*Remote)
		answer int
		want   error
		hint   string
	}{
		"wrong password":   {change: func(r *Remote) { r.Password = "wr0ng-password" }, want: ErrAuthentication, hint: "check the username and the password"},
		"no password":      {change: func(r *Remote) { r.Username, r.Password = "", "" }, want: ErrAuthentication},
		"forbidden":        {answer: http.StatusForbidden, want: ErrAuthentication, hint: "check what these credentials may do"},
		"another CA":       {change: func(r *Remote) { r.CA = otherCA }, want: ErrTLS, hint: "check the host in the URL, and that the CA"},
		"the system's CAs": {change: func(r *Remote) { r.CA = nil }, want: ErrTLS},
		"no TLS":           {change: func(r *Remote) { r.URL = "https" + strings.TrimPrefix(plain.URL, "http") + "/pki.git" }, want: ErrTLS},
		"missing branch":   {change: func(r *Remote) { r.Branch = "absent" }, want: ErrBranchNotFound, hint: "git push origin HEAD:absent"},
		"empty repository": {change: func(r *Remote) { r.URL = server.address + "/empty.git" }, want: ErrBranchNotFound, hint: "push a first commit"},
		"no repository":    {change: func(r *Remote) { r.URL = server.address + "/absent.git" }, want: ErrNotRepository, hint: "check the path in the URL"},
		"nobody listens":   {change: func(r *Remote) { r.URL = "https" + strings.TrimPrefix(gone.URL, "http") + "/pki.git" }, want: ErrUnreachable, hint: "check the host in the URL"},
		"server broken":    {answer: http.StatusBadGateway, want: ErrUnreachable, hint: "try again later"},
		"odd answer":       {answer: http.StatusTeapot, want: ErrNotRepository},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			remote := good
			if c.change != nil {
				c.change(&remote)
			}
			if c.answer != 0 {
				server.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
					http.Error(w, "you sent "+r.Header.Get("Authorization"), c.answer)
					return true
				})
				defer server.answer(nil)
			}
			_, err := open(t, remote).Pull(context.Background())
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			wantTold(t, err, remote, c.hint)
		})
	}
}

// wantTold checks that an error names the remote and what to do, and no secret.
func wantTold(t *testing.T, err error, remote Remote, hint string) {
	t.Helper()
	text := err.Error()
	if !strings.Contains(text, remote.String()) || !strings.Contains(text, hint) {
		t.Errorf("%q does not name %q and %q", text, remote, hint)
	}
	for _, secret := range append(remote.secrets(), "wr0ng-password") {
		if strings.Contains(text, secret) {
			t.Errorf("%q holds the secret %q", text, secret)
		}
	}
}

func TestAnswersThatAreNotGit(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.repository(t, "pki.git", site)
	for name, body := range map[string]string{
		"a login page": "<html>Please log in</html>",
		"nothing":      "",
		"an error":     pktLine("# service=git-upload-pack\n") + "0000" + pktLine("ERR the answer to "+testPassword+" is no"),
	} {
		t.Run(name, func(t *testing.T) {
			server.answer(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
				_, _ = io.WriteString(w, body)
				return true
			})
			defer server.answer(nil)
			remote := server.remote("pki.git")
			_, err := open(t, remote).Pull(context.Background())
			if !errors.Is(err, ErrNotRepository) {
				t.Fatalf("got %v", err)
			}
			wantTold(t, err, remote, "")
		})
	}
}

// pktLine is a line of Git's protocol (gitprotocol-common, pkt-line).
func pktLine(line string) string { return fmt.Sprintf("%04x%s", len(line)+4, line) }

func TestStalledServer(t *testing.T) {
	t.Parallel()
	stages := map[string]string{
		"at the listing":   "/info/refs",
		"before the pack":  "/git-upload-pack",
		"before a push":    "/info/refs?service=git-receive-pack",
		"during a push":    "/git-receive-pack",
		"halfway the pack": "/git-upload-pack halfway",
	}
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			server.repository(t, "pki.git", site)
			repository := open(t, server.remote("pki.git"))
			stage, halfway := strings.CutSuffix(stage, " halfway")
			isPush := strings.Contains(stage, "receive")
			var base *Snapshot
			if isPush {
				base = pull(t, repository)
			}
			released := make(chan struct{})
			defer close(released)
			server.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
				if !strings.Contains(r.URL.RequestURI(), stage) {
					return false
				}
				if halfway {
					recorded := httptest.NewRecorder()
					next.ServeHTTP(recorded, r)
					_, _ = w.Write(recorded.Body.Bytes()[:recorded.Body.Len()/2])
					w.(http.Flusher).Flush()
				}
				<-released
				return true
			})

			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			err := func() error {
				if !isPush {
					_, err := repository.Pull(ctx)
					return err
				}
				_, err := repository.Push(ctx, base, testCommit(map[string][]byte{"x": []byte("x")}))
				return err
			}()
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnreachable) {
				t.Fatalf("got %v", err)
			}
			wantTold(t, err, server.remote("pki.git"), "give it more time")
			eventually(t, "no goroutine is left behind", func() bool { return !leftBehind() })
			if names, _ := filepath.Glob(filepath.Join(repository.folder, "*", "objects", "tmp_*")); len(names) > 0 {
				t.Errorf("left behind: %q", names)
			}
		})
	}
}

// leftBehind reports whether a goroutine of go-git, or of an HTTP client that
// waits for an answer, is there.
func leftBehind() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for goroutine := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(goroutine, "go-git/v5") || strings.Contains(goroutine, "(*persistConn).roundTrip") || strings.Contains(goroutine, "(*http2ClientConn)") {
			return true
		}
	}
	return false
}

func TestCanceledWhileAnotherIsUnderWay(t *testing.T) {
	t.Parallel()
	repository := open(t, newOriginWith(t, site).remote())
	repository.turn <- struct{}{}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := repository.Pull(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Pull gave %v", err)
	}
	if _, err := repository.Push(ctx, nil, testCommit(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("Push gave %v", err)
	}
}

func newOriginWith(t testing.TB, files map[string]string) *origin {
	t.Helper()
	o := newOrigin(t, filepath.Join(t.TempDir(), "origin.git"))
	o.commit(t, files)
	return o
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	server, elsewhere := newServer(t), newServer(t)
	server.repository(t, "pki.git", site)
	elsewhere.repository(t, "pki.git", site)
	var leaked []string
	elsewhere.answer(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		leaked = append(leaked, r.Header.Get("Authorization"))
		return false
	})
	redirect := func(to string) {
		server.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if !strings.HasPrefix(r.URL.Path, "/old.git/") {
				return false
			}
			http.Redirect(w, r, to+"/pki.git"+strings.TrimPrefix(r.URL.RequestURI(), "/old.git"), http.StatusMovedPermanently)
			return true
		})
	}
	remote := server.remote("old.git")
	remote.CA = slices.Concat(server.ca, elsewhere.ca)

	redirect(elsewhere.address)
	_, err := open(t, remote).Pull(context.Background())
	if !errors.Is(err, ErrRedirect) || !strings.Contains(err.Error(), "redirects to "+elsewhere.address) {
		t.Errorf("a redirect to another host gave %v", err)
	}
	if requests, _ := elsewhere.take(); len(requests)+len(leaked) > 0 {
		t.Errorf("the other host got %q with %q", requests, leaked)
	}

	redirect(server.address)
	wantContents(t, pull(t, open(t, remote)), site)
}

func TestServerThatRefusesShallow(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	origin.commit(t, map[string]string{"second": "2"})
	refuse := func(what string) {
		refuse := refusing(what)
		server.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool { return refuse(w, r) })
	}
	want := maps.Clone(site)
	want["second"] = "2"

	t.Run("from the start", func(t *testing.T) {
		refuse("deepen")
		repository := open(t, server.remote("pki.git"))
		wantContents(t, pull(t, repository), want)
		boundaries, err := repository.last.store.boundaries()
		if err != nil || len(boundaries) > 0 {
			t.Errorf("a full clone has the boundaries %v (%v)", boundaries, err)
		}
		origin.commit(t, map[string]string{"third": "3"})
		want["third"] = "3"
		wantContents(t, pull(t, repository), want)
	})
	t.Run("later on", func(t *testing.T) {
		server.answer(nil)
		repository := open(t, server.remote("pki.git"))
		before := pull(t, repository)
		earlier := maps.Clone(want)
		refuse("have ")
		origin.commit(t, map[string]string{"fourth": "4"})
		want["fourth"] = "4"
		wantContents(t, pull(t, repository), want)
		wantContents(t, before, earlier)
	})
}

// refusing answers 500 to requests that hold a text, and reports whether it did.
func refusing(what string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), what) {
			http.Error(w, "no", http.StatusInternalServerError)
			return true
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		return false
	}
}

func TestReplacedStore(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.repository(t, "pki.git", site)
	server.repository(t, "other.git", map[string]string{"other": "repository"})
	folder := t.TempDir()
	packs := func() []string {
		names, err := filepath.Glob(filepath.Join(folder, "store-*", "objects", "pack", "pack-*.pack"))
		if err != nil || len(names) == 0 {
			t.Fatalf("no packs in %s: %v", folder, err)
		}
		return names
	}
	damages := map[string]func(name string) error{
		"pack removed":   os.Remove,
		"pack truncated": func(name string) error { return os.Truncate(name, 40) },
		"index removed":  func(name string) error { return os.Remove(strings.TrimSuffix(name, ".pack") + ".idx") },
		"config emptied": func(name string) error {
			return os.Truncate(filepath.Join(filepath.Dir(name), "..", "..", "config"), 0)
		},
		"ref garbled": func(name string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(name), "..", "..", "refs", "heads", "main"), []byte("garbage"), 0o600)
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			pull(t, openIn(t, folder, server.remote("pki.git")))
			for _, pack := range packs() {
				if err := damage(pack); err != nil {
					t.Fatal(err)
				}
			}
			wantContents(t, pull(t, openIn(t, folder, server.remote("pki.git"))), site)
			wantOneStore(t, folder)
		})
	}
	t.Run("another URL", func(t *testing.T) {
		wantContents(t, pull(t, openIn(t, folder, server.remote("other.git"))), map[string]string{"other": "repository"})
		wantOneStore(t, folder)
	})
	t.Run("another branch", func(t *testing.T) {
		remote := server.remote("pki.git")
		remote.Branch = "absent"
		if _, err := openIn(t, folder, remote).Pull(context.Background()); !errors.Is(err, ErrBranchNotFound) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("under way", func(t *testing.T) {
		repository := openIn(t, folder, server.remote("pki.git"))
		snapshot := pull(t, repository)
		for _, pack := range packs() {
			if err := os.Truncate(pack, 40); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := fs.ReadFile(snapshot.FS(), "kustomization.yaml"); err == nil || !strings.Contains(err.Error(), "pull again") {
			t.Errorf("a damaged store gave %v", err)
		}
		wantContents(t, pull(t, repository), site)
	})
}

func wantOneStore(t *testing.T, folder string) {
	t.Helper()
	if names, err := os.ReadDir(folder); err != nil || len(names) != 1 {
		t.Errorf("%s holds %v (%v), want one store", folder, names, err)
	}
}

// A store that was replaced stays until nobody reads it any more.
func TestReplacedStoreStaysWhileInUse(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, map[string]string{"a": "0"})
	folder := t.TempDir()
	repository := openIn(t, folder, origin.remote())
	held := pull(t, repository)
	push(t, repository, nil, map[string][]byte{"a": []byte("1")})
	push(t, repository, nil, map[string][]byte{"a": []byte("2")})
	for len(held.store.packs) < maxPacks {
		if held.store.worn() {
			t.Fatalf("it is worn after %d packs", len(held.store.packs))
		}
		held.store.packs = append(held.store.packs, held.store.packs[0])
	}
	origin.commit(t, map[string]string{"b": "b"})
	newest := pull(t, repository)
	if newest.store == held.store {
		t.Fatal("the store was not replaced")
	}
	runtime.GC()
	wantContents(t, held, map[string]string{"a": "0"})
	wantContents(t, newest, map[string]string{"a": "2", "b": "b"})
	runtime.KeepAlive(held)

	held = nil
	eventually(t, "the old store is removed", func() bool {
		runtime.GC()
		names, err := os.ReadDir(folder)
		return err == nil && len(names) == 1
	})
	wantContents(t, newest, map[string]string{"a": "2", "b": "b"})
	origin.check(t)
}

func TestFileWithoutGit(t *testing.T) {
	origin := newOriginWith(t, site)
	first := origin.head("main")
	t.Setenv("PATH", "")
	if _, err := exec.LookPath("git"); err == nil {
		t.Fatal("there still is a git")
	}
	repository := open(t, origin.remote())
	snapshot := pull(t, repository)
	if snapshot.Commit() != first {
		t.Errorf("pulled %s, want %s", snapshot.Commit(), first)
	}
	wantContents(t, snapshot, site)
	pushed := push(t, repository, snapshot, map[string][]byte{"devices/a/01/two.yaml": []byte("two\n")})
	again := pull(t, open(t, origin.remote()))
	if again.Revision() != pushed.Revision() {
		t.Errorf("pushed %s, pulled %s", pushed.Revision(), again.Revision())
	}
	changed, err := again.Changed(snapshot)
	if want := []string{"devices/a/01/two.yaml"}; err != nil || !slices.Equal(changed, want) {
		t.Errorf("changed %q (%v), want %q", changed, err, want)
	}
}

func TestFileRemotes(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, site)
	checkout := filepath.Join(t.TempDir(), "with space")
	run(t, "", "git", "clone", "--quiet", origin.folder, checkout)
	sha256 := filepath.Join(t.TempDir(), "sha256.git")
	run(t, "", "git", "init", "--quiet", "--bare", "--object-format=sha256", sha256)

	t.Run("worktree", func(t *testing.T) {
		repository := open(t, Remote{URL: "file://" + strings.ReplaceAll(checkout, " ", "%20"), Branch: "main"})
		wantContents(t, pull(t, repository), site)
		_, err := repository.Push(context.Background(), nil, testCommit(map[string][]byte{"x": []byte("x")}))
		if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "checked out") {
			t.Errorf("pushing to a branch that is checked out gave %v", err)
		}
	})
	shared := filepath.Join(t.TempDir(), "shared.git")
	run(t, "", "git", "clone", "--quiet", "--bare", "--shared", origin.folder, shared)
	run(t, "", "git", "-C", shared, "pack-refs", "--all")
	t.Run("packed refs, and made whole", func(t *testing.T) {
		remote := Remote{URL: "file://" + shared, Branch: "main"}
		repository := open(t, remote)
		_, err := repository.Pull(context.Background())
		if !errors.Is(err, ErrNotRepository) {
			t.Fatalf("of a repository that takes its objects from another one: %v", err)
		}
		wantTold(t, err, remote, "it takes objects from another repository (objects/info/alternates)")
		run(t, "", "git", "-C", shared, "repack", "-a", "-d", "--quiet")
		if err := os.Remove(filepath.Join(shared, "objects", "info", "alternates")); err != nil {
			t.Fatal(err)
		}
		wantContents(t, pull(t, repository), site)
		push(t, repository, nil, map[string][]byte{"x": []byte("x")})
		run(t, "", "git", "-C", shared, "fsck", "--strict")
	})
	for name, c := range map[string]struct {
		path string
		want error
	}{
		"no such folder":  {"/does/not/exist", ErrNotRepository},
		"no repository":   {t.TempDir(), ErrNotRepository},
		"SHA-256 objects": {sha256, ErrNotRepository},
	} {
		t.Run(name, func(t *testing.T) {
			remote := Remote{URL: "file://" + c.path, Branch: "main"}
			_, err := open(t, remote).Pull(context.Background())
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			wantTold(t, err, remote, "")
		})
	}
}

// TestCopiesAreNotReachedByPath: what was fetched with one user's credentials is not
// there for another one.
func TestCopiesAreNotReachedByPath(t *testing.T) {
	t.Parallel()
	storage := t.TempDir()
	origin := newOriginWith(t, site)
	pull(t, openIn(t, filepath.Join(storage, "victim", "fleet"), origin.remote()))
	stores, err := filepath.Glob(filepath.Join(storage, "victim", "fleet", storePrefix+"*"))
	if err != nil || len(stores) != 1 {
		t.Fatalf("the copy is in %v, %v", stores, err)
	}
	aside := t.TempDir()
	for link, to := range map[string]string{"store": stores[0], "storage": storage} {
		if err := os.Symlink(to, filepath.Join(aside, link)); err != nil {
			t.Fatal(err)
		}
	}
	own := t.TempDir()
	run(t, "", "git", "clone", "--quiet", "--bare", origin.folder, filepath.Join(own, "mine.git"))
	worktree := t.TempDir()
	if err := os.Symlink(stores[0], filepath.Join(worktree, ".git")); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(aside, "storage")
	relative, err := filepath.Rel(stores[0], aside)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, folder, storage string }{
		"by its path":                 {stores[0], filepath.Join(storage, "thief", "x"), storage},
		"by a link":                   {filepath.Join(aside, "store"), filepath.Join(storage, "thief", "x"), storage},
		"by a link that is .git":      {worktree, filepath.Join(storage, "thief", "x"), storage},
		"by dots":                     {stores[0] + "/" + relative + "/store", filepath.Join(storage, "thief", "x"), storage},
		"the storage has a link":      {stores[0], filepath.Join(linked, "thief", "x"), linked},
		"the storage itself":          {storage, filepath.Join(storage, "thief", "x"), storage},
		"above the storage":           {filepath.Dir(storage), filepath.Join(storage, "thief", "x"), storage},
		"beside its own copy":         {filepath.Join(own, "mine.git"), own, ""},
		"from within, elsewhere kept": {stores[0], t.TempDir(), storage},
	} {
		t.Run(name, func(t *testing.T) {
			remote := Remote{URL: "file://" + c.path, Branch: "main", Storage: c.storage}
			thief := openIn(t, c.folder, remote)
			_, err := thief.Pull(context.Background())
			if !errors.Is(err, ErrNotRepository) {
				t.Fatalf("a pull gave %v", err)
			}
			wantTold(t, err, remote, "where this program keeps its own copies")
			if _, err := thief.Push(context.Background(), nil, testCommit(map[string][]byte{"x": []byte("x")})); !errors.Is(err, ErrNotRepository) {
				t.Errorf("a push gave %v", err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		remote Remote
		want   string
	}{
		"plain HTTP":     {Remote{URL: "http://user:hunter22@git.example/a", Branch: "main"}, "use https://"},
		"a path":         {Remote{URL: "/srv/git/a", Branch: "main"}, "use https://, ssh:// or file://"},
		"no host":        {Remote{URL: "https:///a", Branch: "main"}, "names no host"},
		"a query":        {Remote{URL: "https://git.example/a?token=hunter22", Branch: "main"}, "without ? and #"},
		"file with host": {Remote{URL: "file://srv/git", Branch: "main"}, "three slashes"},
		"garbage":        {Remote{URL: "https://user:hunter22@git example/%zz", Branch: "main"}, "cannot be read"},
		"no branch":      {Remote{URL: "https://git.example/a"}, "no branch"},
		"a full ref":     {Remote{URL: "https://git.example/a", Branch: "refs/heads/main"}, "write main"},
		"an odd branch":  {Remote{URL: "https://git.example/a", Branch: "a..b"}, "not the name of a branch"},
		"no CA":          {Remote{URL: "https://git.example/a", Branch: "main", CA: []byte("garbage")}, "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.TempDir(), c.remote)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want it to say %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter22") {
				t.Errorf("%q holds the password", err)
			}
		})
	}
}

// git http-backend is git's own server side, for a second opinion.
func TestGitHTTPBackend(t *testing.T) {
	t.Parallel()
	execPath, err := exec.Command("git", "--exec-path").Output()
	backend := filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend")
	if _, statErr := os.Stat(backend); err != nil || statErr != nil {
		t.Skip("there is no git http-backend here")
	}
	server := &server{root: t.TempDir()}
	origin := server.repository(t, "pki.git", site)
	origin.git(t, "config", "http.receivepack", "true")
	web := httptest.NewTLSServer(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + server.root, "GIT_HTTP_EXPORT_ALL=1"}})
	defer web.Close()
	remote := Remote{URL: web.URL + "/pki.git", Branch: "main", CA: pemOf(web.Certificate())}

	repository := open(t, remote)
	snapshot := pull(t, repository)
	wantContents(t, snapshot, site)
	origin.commit(t, map[string]string{"devices/a/01/two.yaml": "two\n"})
	push(t, repository, snapshot, map[string][]byte{"devices/a/01/three.yaml": []byte("three\n")})
	want := maps.Clone(site)
	want["devices/a/01/two.yaml"], want["devices/a/01/three.yaml"] = "two\n", "three\n"
	wantContents(t, pull(t, open(t, remote)), want)
	origin.check(t)
}
