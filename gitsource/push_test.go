package gitsource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPush(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", map[string]string{
		"keep": "kept\n", "a/b/c": "deep\n", "a/only": "goes\n", "run.sh": "100755|#!/bin/sh\n", "gone/one": "1\n", "gone/two": "2\n", "a.b": "sorts between a and a/\n",
	})
	repository := open(t, server.remote("pki.git"))
	base := pull(t, repository)
	server.take()

	pushed := push(t, repository, base, map[string][]byte{
		"a/b/c":        []byte("changed\n"),
		"a/only":       nil,
		"run.sh":       []byte("#!/bin/sh\ntrue\n"),
		"gone/one":     nil,
		"gone/two":     nil,
		"absent/file":  nil,
		"new/x/y/z":    []byte("new\n"),
		"empty":        {},
		"späß/日本.yaml": []byte("names are UTF-8\n"),
	})
	requests, _ := server.take()
	if want := []string{"GET /pki.git/info/refs?service=git-receive-pack", "POST /pki.git/git-receive-pack"}; !slices.Equal(requests, want) {
		t.Errorf("a push made the requests %q, want %q", requests, want)
	}
	want := map[string]string{
		"keep": "kept\n", "a/b/c": "changed\n", "run.sh": "#!/bin/sh\ntrue\n", "a.b": "sorts between a and a/\n", "new/x/y/z": "new\n", "empty": "", "späß/日本.yaml": "names are UTF-8\n",
	}
	wantContents(t, pushed, want)
	if head := origin.head("main"); pushed.Commit() != head {
		t.Errorf("pushed %s, the server stands at %s", pushed.Commit(), head)
	}
	if again := pull(t, repository); again != pushed {
		t.Error("a pull after the push gave another snapshot")
	}
	wantContents(t, pull(t, open(t, server.remote("pki.git"))), want)
	origin.check(t)

	if tree := origin.git(t, "-c", "core.quotePath=false", "ls-tree", "-r", "--format=%(objectmode) %(path)", "main"); tree != "100644 a.b\n100644 a/b/c\n100644 empty\n100644 keep\n100644 new/x/y/z\n100755 run.sh\n100644 späß/日本.yaml" {
		t.Errorf("git sees the tree\n%s", tree)
	}
	if log := origin.git(t, "log", "-1", "--format=%an <%ae> %at|%cn <%ce> %ct|%B", "main"); log != fmt.Sprintf("reanchor <reanchor@example.com> %[1]d|reanchor <reanchor@example.com> %[1]d|Write files", testTime.Unix()) {
		t.Errorf("git sees the commit %q", log)
	}
}

func TestPushThatChangesNothing(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, site)
	repository := open(t, origin.remote())
	base := pull(t, repository)
	for name, files := range map[string]map[string][]byte{
		"no files":          nil,
		"the same content":  {"kustomization.yaml": []byte(site["kustomization.yaml"])},
		"deleting nothing":  {"absent": nil, "absent/below": nil, "kustomization.yaml/below": nil},
		"added and deleted": {"authorities/new": nil},
	} {
		t.Run(name, func(t *testing.T) {
			if pushed := push(t, repository, base, files); pushed != base {
				t.Errorf("it made %s", pushed.Revision())
			}
		})
	}
	if count := origin.git(t, "rev-list", "--count", "main"); count != "1" {
		t.Errorf("there are %s commits", count)
	}
}

func TestPushEmptiesTheRepository(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, map[string]string{"a/b": "1"})
	repository := open(t, origin.remote())
	wantContents(t, push(t, repository, nil, map[string][]byte{"a/b": nil}), nil)
	wantContents(t, push(t, repository, nil, map[string][]byte{"c": []byte("2")}), map[string]string{"c": "2"})
	wantContents(t, pull(t, open(t, origin.remote())), map[string]string{"c": "2"})
	origin.check(t)
}

func TestPushRefusesInvalidCommits(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, map[string]string{
		"folder/file": "1", "file": "2", "link": "120000|file", "module": "160000|" + strings.Repeat("1", 40),
	})
	remote := origin.remote()
	remote.Limits.File = 100
	repository := open(t, remote)
	base := pull(t, repository)
	cases := map[string]struct {
		change func(*Commit)
		want   error
		says   string
	}{
		"no author":           {change: func(c *Commit) { c.Author.Name = "" }, says: "give a name and an address"},
		"author with bracket": {change: func(c *Commit) { c.Author.Email = "a> 0 +0000\nparent 00" }, says: "give a name and an address"},
		"no message":          {change: func(c *Commit) { c.Message = " \n" }, says: "say what the commit does"},
		"no time":             {change: func(c *Commit) { c.When = time.Time{} }, says: "give the current time"},
		"large file":          {change: func(c *Commit) { c.Files = map[string][]byte{"big": make([]byte, 101)} }, want: ErrTooLarge, says: "big: too large: 101 bytes, more than 100 bytes"},
		"file over folder":    {change: func(c *Commit) { c.Files = map[string][]byte{"folder": []byte("x")} }, says: "folder is a folder"},
		"delete a folder":     {change: func(c *Commit) { c.Files = map[string][]byte{"folder": nil} }, says: "folder is a folder"},
		"file below a file":   {change: func(c *Commit) { c.Files = map[string][]byte{"file/x": []byte("x")} }, says: "file above it is a file"},
		"file and folder":     {change: func(c *Commit) { c.Files = map[string][]byte{"n": []byte("x"), "n/m": []byte("x")} }, says: "both a file and the folder"},
		"symbolic link":       {change: func(c *Commit) { c.Files = map[string][]byte{"link": []byte("x")} }, says: "symbolic link"},
		"submodule":           {change: func(c *Commit) { c.Files = map[string][]byte{"module": []byte("x")} }, says: "submodule"},
		"path":                {change: func(c *Commit) { c.Files = map[string][]byte{"../x": []byte("x")} }, says: "not the path of a file"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			commit := testCommit(map[string][]byte{"x": []byte("x")})
			c.change(&commit)
			_, err := repository.Push(context.Background(), base, commit)
			want := c.want
			if want == nil {
				want = ErrInvalidCommit
			}
			if !errors.Is(err, want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, want, c.says)
			}
		})
	}
	if origin.head("main") != base.Commit() {
		t.Error("the branch moved")
	}
}

func TestPushReplacesFileByFolder(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, map[string]string{"x": "file", "y/z": "below"})
	repository := open(t, origin.remote())
	base := pull(t, repository)
	push(t, repository, base, map[string][]byte{"x": nil, "x/y": []byte("1")})
	push(t, repository, nil, map[string][]byte{"y/z": nil})
	after := push(t, repository, nil, map[string][]byte{"y": []byte("2")})
	wantContents(t, after, map[string]string{"x/y": "1", "y": "2"})
	changed, err := after.Changed(base)
	if want := []string{"x", "x/y", "y", "y/z"}; err != nil || !slices.Equal(changed, want) {
		t.Errorf("changed %q (%v), want %q", changed, err, want)
	}
	origin.check(t)
}

func TestCheckPath(t *testing.T) {
	for _, path := range []string{"a", "a/b.yaml", ".gitignore", ".github/x", "a.git/b", "git~2", "..a", "a..", "...a", "späß/日本", "a b"} {
		if err := checkPath(path); err != nil {
			t.Errorf("%q is refused: %v", path, err)
		}
	}
	for _, path := range []string{
		"", ".", "..", "/", "/a", "a/", "a//b", "./a", "a/.", "../a", "a/../b", "a\\b", "a:b", "C:/x", "a\x00b", "a\nb", "\xff",
		".git", ".git/config", "a/.git/hooks/x", ".GIT/x", ".Git", ".git./x", ".git /x", ".git. . /x", "git~1/x", "GIT~1", ".g\u200cit/x", "a/...", "a/ /b",
		strings.Repeat("a", maxName+1), strings.Repeat("a/", 3000) + "a",
	} {
		if err := checkPath(path); !errors.Is(err, ErrInvalidCommit) {
			t.Errorf("%q gave %v", path, err)
		}
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, path := range []string{"a/b", "../a", "/a", "a//b", ".git/config", ".GiT", "git~1", ".git ", "a:b", "a\x00b", "späß"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if checkPath(path) != nil {
			return
		}
		if filepath.IsAbs(path) || !filepath.IsLocal(filepath.FromSlash(path)) || filepath.ToSlash(filepath.Clean(path)) != path {
			t.Errorf("%q leads elsewhere", path)
		}
		for name := range strings.SplitSeq(path, "/") {
			folded := strings.ToLower(strings.TrimRight(name, ". "))
			if folded == "" || folded == ".git" || folded == "git~1" || strings.ContainsAny(name, ":\\\x00") {
				t.Errorf("%q holds the name %q", path, name)
			}
		}
	})
}

// Writers that know nothing of each other must all land, each file once.
func TestRaceOfWriters(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"https", "file"} {
		t.Run(scheme, func(t *testing.T) {
			server := newServer(t)
			origin := server.repository(t, "pki.git", site)
			remote := map[string]Remote{"https": server.remote("pki.git"), "file": origin.remote()}[scheme]
			const writers, commits = 3, 4
			want := maps.Clone(site)
			var group sync.WaitGroup
			for writer := range writers {
				repository := open(t, remote)
				base := pull(t, repository)
				for i := range commits {
					want[fmt.Sprintf("devices/%d/%d", writer, i)] = "device"
				}
				group.Go(func() {
					for i := range commits {
						path := fmt.Sprintf("devices/%d/%d", writer, i)
						if _, err := repository.Push(context.Background(), base, testCommit(map[string][]byte{path: []byte("device")})); err != nil {
							t.Errorf("writer %d: %v", writer, err)
						}
					}
				})
			}
			group.Wait()
			wantContents(t, pull(t, open(t, remote)), want)
			if count := origin.git(t, "rev-list", "--count", "main"); count != fmt.Sprint(1+writers*commits) {
				t.Errorf("there are %s commits", count)
			}
			origin.check(t)
		})
	}
}

// between calls act once, after a push has learnt where the branch stands and
// before it moves it.
func (s *server) between(act func()) {
	var once sync.Once
	s.answer(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			once.Do(act)
		}
		return false
	})
}

func TestLostRace(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	repository := open(t, server.remote("pki.git"))

	t.Run("another file", func(t *testing.T) {
		base := pull(t, repository)
		server.between(func() { origin.commit(t, map[string]string{"theirs": "1"}) })
		pushed := push(t, repository, base, map[string][]byte{"ours": []byte("2")})
		files := contents(t, pushed)
		if files["theirs"] != "1" || files["ours"] != "2" {
			t.Errorf("the branch holds %v", files)
		}
	})
	t.Run("rewritten", func(t *testing.T) {
		base := pull(t, repository)
		server.between(func() { origin.commitTo(t, "main", "", map[string]string{"rewritten": "1"}) })
		pushed := push(t, repository, base, map[string][]byte{"mine": []byte("2")})
		wantContents(t, pushed, map[string]string{"rewritten": "1", "mine": "2"})
	})
	t.Run("the same file", func(t *testing.T) {
		base := pull(t, repository)
		server.between(func() { origin.commit(t, map[string]string{"mine": "3"}) })
		_, err := repository.Push(context.Background(), base, testCommit(map[string][]byte{"mine": []byte("4"), "new": []byte("5")}))
		conflict, ok := errors.AsType[*ConflictError](err)
		if !ok || !slices.Equal(conflict.Paths, []string{"mine"}) {
			t.Fatalf("got %v", err)
		}
		wantContents(t, pull(t, repository), map[string]string{"rewritten": "1", "mine": "3"})
	})
	t.Run("the same file with the same content", func(t *testing.T) {
		base := pull(t, repository)
		var theirs string
		server.between(func() { theirs = origin.commit(t, map[string]string{"mine": "6"}) })
		if pushed := push(t, repository, base, map[string][]byte{"mine": []byte("6")}); pushed.Commit() != theirs {
			t.Errorf("made %s on top of %s", pushed.Commit(), theirs)
		}
	})
	t.Run("deleted by both", func(t *testing.T) {
		base := pull(t, repository)
		server.between(func() { origin.commit(t, map[string]string{"mine": "-", "rest": "7"}) })
		wantContents(t, push(t, repository, base, map[string][]byte{"mine": nil}), map[string]string{"rewritten": "1", "rest": "7"})
	})
	origin.check(t)
}

func TestConflictNamesAFew(t *testing.T) {
	err := &ConflictError{Paths: []string{"a", "b", "c", "d", "e"}}
	if want := "somebody else changed a, b, c and 2 more since: pull, decide again on what is there now, and push"; err.Error() != want {
		t.Errorf("got %q", err)
	}
}

func TestPushThatOthersAlwaysWin(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	repository := open(t, server.remote("pki.git"))
	repository.jitter = func(time.Duration) time.Duration { return 0 }
	pull(t, repository)
	pushes := 0
	server.answer(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			pushes++
			origin.commit(t, map[string]string{"theirs": fmt.Sprint(pushes)})
		}
		return false
	})
	_, err := repository.Push(context.Background(), nil, testCommit(map[string][]byte{"ours": []byte("x")}))
	if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "others were faster") || pushes != maxAttempts {
		t.Errorf("%d attempts, %v", pushes, err)
	}
}

func TestRejectedByHook(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	for _, hook := range []string{"update", "pre-receive"} {
		t.Run(hook, func(t *testing.T) {
			origin.hook(t, hook, `echo "devices need a ticket, `+testPassword+`" >&2; exit 1`)
			defer os.Remove(filepath.Join(origin.folder, "hooks", hook))
			remote := server.remote("pki.git")
			repository := open(t, remote)
			base := pull(t, repository)
			server.take()
			_, err := repository.Push(context.Background(), base, testCommit(map[string][]byte{"x": []byte("x")}))
			if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "devices need a ticket") {
				t.Fatalf("got %v", err)
			}
			wantTold(t, err, remote, "do what the remote asks for")
			if requests, _ := server.take(); len(requests) != 3 {
				t.Errorf("it was tried again and again: %q", requests)
			}
			wantContents(t, pull(t, repository), site)
		})
	}
}

// What keeps a record does: one writer moves a file, another adds one beside it, a
// third deletes the last one of a folder; each decided before the others had landed.
func TestRaceInOneFolder(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"https", "file"} {
		t.Run(scheme, func(t *testing.T) {
			server := newServer(t)
			origin := server.repository(t, "pki.git", map[string]string{"anchors/root/2025.pem": "2025", "anchors/old/2024.pem": "2024"})
			remote := map[string]Remote{"https": server.remote("pki.git"), "file": origin.remote()}[scheme]
			commits := []map[string][]byte{
				{"anchors/root/2025.pem": nil, "anchors/root/retired/2025.pem": []byte("2025")},
				{"anchors/root/2026.pem": []byte("2026")},
				{"anchors/old/2024.pem": nil},
			}
			writers := make([]*Repository, len(commits))
			bases := make([]*Snapshot, len(commits))
			for i := range commits {
				writers[i] = open(t, remote)
				bases[i] = pull(t, writers[i])
			}
			var group sync.WaitGroup
			for i, files := range commits {
				group.Go(func() {
					if _, err := writers[i].Push(context.Background(), bases[i], testCommit(files)); err != nil {
						t.Errorf("writer %d: %v", i, err)
					}
				})
			}
			group.Wait()
			wantContents(t, pull(t, open(t, remote)), map[string]string{"anchors/root/retired/2025.pem": "2025", "anchors/root/2026.pem": "2026"})
			if count := origin.git(t, "rev-list", "--count", "main"); count != "4" {
				t.Errorf("there are %s commits", count)
			}
			origin.check(t)
		})
	}
}

func TestPushToABranchThatIsGone(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	origin.commitTo(t, "anchors", "", map[string]string{"README.md": "the record"})
	for scheme, remote := range map[string]Remote{"https": server.remote("pki.git"), "file": origin.remote()} {
		t.Run(scheme, func(t *testing.T) {
			remote.Branch = "anchors"
			repository := open(t, remote)
			base := pull(t, repository)
			tip := base.Commit()
			origin.git(t, "update-ref", "-d", "refs/heads/anchors")
			_, err := repository.Push(context.Background(), base, testCommit(map[string][]byte{"x": []byte("x")}))
			if !errors.Is(err, ErrBranchNotFound) {
				t.Fatalf("got %v", err)
			}
			wantTold(t, err, remote, "create it: git push origin HEAD:anchors")
			origin.git(t, "update-ref", "refs/heads/anchors", tip)
			push(t, repository, base, map[string][]byte{scheme: []byte("x")})
		})
	}
}

func TestPushWithoutTheRight(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.repository(t, "pki.git", site)
	server.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if strings.Contains(r.URL.RequestURI(), "git-receive-pack") {
			http.Error(w, "read only", http.StatusForbidden)
			return true
		}
		return false
	})
	repository := open(t, server.remote("pki.git"))
	_, err := repository.Push(context.Background(), pull(t, repository), testCommit(map[string][]byte{"x": []byte("x")}))
	if !errors.Is(err, ErrAuthentication) || !strings.Contains(err.Error(), "to push takes the right to write") {
		t.Errorf("got %v", err)
	}
}

// A push whose answer is lost has landed: it must not be made twice, nor be
// reported as failed.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	answers := map[string]func(w http.ResponseWriter){
		"empty":             func(http.ResponseWriter) {},
		"gateway error":     func(w http.ResponseWriter) { http.Error(w, "bad gateway", http.StatusBadGateway) },
		"connection closed": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	}
	for name, answer := range answers {
		for _, landed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, landed %t", name, landed), func(t *testing.T) {
				server := newServer(t)
				origin := server.repository(t, "pki.git", site)
				repository := open(t, server.remote("pki.git"))
				base := pull(t, repository)
				server.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
					if r.Method != http.MethodPost {
						return false
					}
					if landed {
						next.ServeHTTP(httptest.NewRecorder(), r)
					}
					answer(w)
					return true
				})
				pushed, err := repository.Push(context.Background(), base, testCommit(map[string][]byte{"x": []byte("x")}))
				if !landed {
					if !errors.Is(err, ErrUnreachable) || origin.head("main") != base.Commit() {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil || pushed.Commit() != origin.head("main") {
					t.Fatalf("got %v, the branch stands at %s", err, origin.head("main"))
				}
				if count := origin.git(t, "rev-list", "--count", "main"); count != "2" {
					t.Errorf("there are %s commits", count)
				}
			})
		}
	}
}

func TestFileLock(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, site)
	lock := filepath.Join(origin.folder, "refs", "heads", "main.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	repository := open(t, origin.remote())
	base := pull(t, repository)
	commit := testCommit(map[string][]byte{"x": []byte("x")})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := repository.Push(ctx, base, commit); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another process holds the lock: %v", err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = os.Remove(lock)
	}()
	if pushed := push(t, repository, base, commit.Files); pushed.Commit() != origin.head("main") {
		t.Error("the push did not land")
	}
	origin.check(t)
}

// Pushed edits are compared with the same edits of a map.
func TestEditsMatchAModel(t *testing.T) {
	t.Parallel()
	origin := newOriginWith(t, map[string]string{"start": "0"})
	repository := open(t, origin.remote())
	rapid.Check(t, func(rt *rapid.T) {
		base := pull(t, repository)
		model := contents(t, base)
		files := map[string][]byte{}
		for range rapid.IntRange(1, 6).Draw(rt, "edits") {
			path := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a.b", "a-b", "c"}), 1, 3).Draw(rt, "path"), "/")
			files[path] = nil
			if rapid.Bool().Draw(rt, "write") {
				files[path] = rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(rt, "data")
			}
		}
		pushed, err := repository.Push(context.Background(), base, testCommit(files))
		if errors.Is(err, ErrInvalidCommit) {
			rt.Skip("a file in the place of a folder")
		}
		if err != nil {
			rt.Fatal(err)
		}
		touched := map[string]bool{}
		for path, data := range files {
			old, there := model[path]
			if data == nil {
				delete(model, path)
			} else {
				model[path] = string(data)
			}
			if now, still := model[path]; there != still || old != now {
				touched[path] = true
			}
		}
		if got := contents(t, pushed); !maps.Equal(got, model) {
			rt.Fatalf("%q made %q, want %q", files, got, model)
		}
		changed, err := pushed.Changed(base)
		if want := slices.Sorted(maps.Keys(touched)); err != nil || !slices.Equal(changed, want) {
			rt.Fatalf("changed %q (%v), want %q", changed, err, want)
		}
	})
	origin.check(t)
}
