package gitsource

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func shardOf(name string) byte { return sha256.Sum256([]byte(name))[0] }

func registration(name string) Edit {
	return Edit{Path: devicePath("sensors", name), Content: []byte("kind: Device\n# " + name + "\n"), Subject: "Register " + name + " of sensors"}
}

func put(t testing.TB, w *Writer, edit Edit) Landed {
	t.Helper()
	landed, err := w.Put(t.Context(), edit)
	if err != nil {
		t.Fatal(err)
	}
	return landed
}

func TestWriter(t *testing.T) {
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	options := testWriterOptions()
	options.Committer = Author{Name: "registrar", Email: "registrar@example.com"}
	writer, err := OpenWriter(t.TempDir(), server.remote("pki.git"), options)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	first := registration("one")
	if _, err := writer.Get(t.Context(), first.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before it is there: %v", err)
	}
	landed := put(t, writer, first)
	if want := (Landed{Revision: "main@sha1:" + origin.head("main"), Made: true}); landed != want {
		t.Errorf("landed in %+v, want %+v", landed, want)
	}
	if got, want := origin.git(t, "log", "-1", "--format=%an %ae %cn %at %s"), fmt.Sprintf("reanchor reanchor@example.com registrar %d Register one of sensors", testTime.Unix()); got != want {
		t.Errorf("the commit is %q, want %q", got, want)
	}
	server.take()
	if again := put(t, writer, first); again != (Landed{Revision: landed.Revision}) {
		t.Errorf("the same again landed in %+v", again)
	}
	if requests, _ := server.take(); len(requests) != 1 {
		t.Errorf("the same again asked %q", requests)
	}

	document, err := writer.Get(t.Context(), first.Path)
	want := Document{Path: first.Path, Blob: blobOf(string(first.Content)), Content: first.Content, Revision: landed.Revision}
	if err != nil || document.Blob != want.Blob || string(document.Content) != string(want.Content) || document.Revision != want.Revision {
		t.Errorf("got %+v (%v), want %+v", document, err, want)
	}
	changed := registration("one")
	changed.Content, changed.Was = []byte("kind: Device\n# recovered\n"), document.Blob
	put(t, writer, changed)
	if got := origin.git(t, "show", "main:"+first.Path); got != strings.TrimSpace(string(changed.Content)) {
		t.Errorf("the file holds %q", got)
	}
	origin.check(t)
}

func TestWriterConflict(t *testing.T) {
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	writer := testWriter(t, server.remote("pki.git"))
	edit := registration("one")
	server.between(func() { origin.commit(t, map[string]string{edit.Path: "theirs"}) })
	_, err := writer.Put(t.Context(), edit)
	conflict, ok := errors.AsType[*EditConflictError](err)
	if !ok || !errors.Is(err, ErrConflict) || string(conflict.Stands.Content) != "theirs" || conflict.Stands.Revision != "main@sha1:"+origin.head("main") {
		t.Fatalf("got %v", err)
	}
	edit.Was = conflict.Stands.Blob
	put(t, writer, edit)

	edit.Content = []byte("kind: Device\n# another\n")
	edit.Was = blobOf("kind: Device\n# one\n")
	server.between(func() { origin.commit(t, map[string]string{edit.Path: "-"}) })
	_, err = writer.Put(t.Context(), edit)
	if conflict, ok = errors.AsType[*EditConflictError](err); !ok || conflict.Stands != nil || !strings.Contains(err.Error(), "is not there any more") {
		t.Errorf("of a file that is gone: %v", err)
	}
}

// hold keeps pushes back. The channel tells of each that came; what it gives back lets go.
func (s *server) hold() (came <-chan struct{}, release func()) {
	arrived, released := make(chan struct{}, 100), make(chan struct{})
	s.answer(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			arrived <- struct{}{}
			<-released
		}
		return false
	})
	return arrived, sync.OnceFunc(func() { close(released) })
}

func (w *Writer) waits() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return len(w.queue)
}

// What arrives while a push is under way goes into the next commit.
func TestWriterGroups(t *testing.T) {
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	writer := testWriter(t, server.remote("pki.git"))
	came, release := server.hold()
	defer release()
	var callers sync.WaitGroup
	landed := make([]Landed, 121)
	callers.Go(func() { landed[0] = put(t, writer, registration("first")) })
	<-came
	for i := range len(landed) - 1 {
		callers.Go(func() { landed[1+i] = put(t, writer, registration(fmt.Sprintf("device-%03d", i))) })
	}
	eventually(t, "all wait", func() bool { return writer.waits() == len(landed)-1 })
	release()
	callers.Wait()
	if count := origin.git(t, "rev-list", "--count", "main"); count != "3" {
		t.Errorf("there are %s commits, want the root and two groups", count)
	}
	for i, one := range landed[1:] {
		if want := (Landed{Revision: "main@sha1:" + origin.head("main"), Made: true}); one != want {
			t.Fatalf("device %d landed in %+v, want %+v", i, one, want)
		}
	}
	message := strings.Split(origin.git(t, "log", "-1", "--format=%B"), "\n")
	if message[0] != "Write 120 device documents" || !slices.Contains(message, "- Register device-007 of sensors") || message[len(message)-1] != "- and 20 more" {
		t.Errorf("the message is %q", message)
	}
	origin.check(t)
}

// Of two that want different things of one file, the second hears what the first made of it,
// once that is there for all to see.
func TestWriterRivals(t *testing.T) {
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	writer := testWriter(t, server.remote("pki.git"))
	came, release := server.hold()
	defer release()
	var callers sync.WaitGroup
	callers.Go(func() { put(t, writer, registration("first")) })
	<-came
	errs := make([]error, 8)
	for i := range errs {
		edit := registration("wanted")
		edit.Content = fmt.Appendf(nil, "kind: Device\n# key %d\n", i/2) // four keys, each asked for twice
		callers.Go(func() { _, errs[i] = writer.Put(t.Context(), edit) })
	}
	eventually(t, "all wait", func() bool { return writer.waits() == len(errs) })
	release()
	callers.Wait()
	stands := origin.git(t, "show", "main:"+registration("wanted").Path) + "\n"
	for i, err := range errs {
		asked := fmt.Sprintf("kind: Device\n# key %d\n", i/2)
		conflict, conflicts := errors.AsType[*EditConflictError](err)
		switch {
		case asked == stands && err != nil:
			t.Errorf("the winner heard %v", err)
		case asked != stands && (!conflicts || string(conflict.Stands.Content) != stands):
			t.Errorf("a loser heard %v", err)
		}
	}
	if count := origin.git(t, "rev-list", "--count", "main"); count != "3" {
		t.Errorf("there are %s commits", count)
	}
}

// Two edits that come together, with one claim: Vet sees what the first has written before the
// second is, and nothing is written without a look at what it was written on.
func TestWriterClaims(t *testing.T) {
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	writer := testWriter(t, server.remote("pki.git"))
	errHeld := errors.New("held by another")
	claimed := func(name string) Edit {
		edit := registration(name)
		edit.Claims = []string{"key 1"}
		edit.Vet = func(on *Snapshot) error {
			changed, err := on.Changed(nil)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(changed, func(path string) bool { return strings.HasPrefix(path, "devices/sensors/") && path != edit.Path }) {
				return errHeld
			}
			return nil
		}
		return edit
	}
	came, release := server.hold()
	defer release()
	var callers sync.WaitGroup
	results := make([]error, 3)
	call := func(i int, edit Edit) { callers.Go(func() { _, results[i] = writer.Put(t.Context(), edit) }) }
	call(0, Edit{Path: "devices/others/00/one.yaml", Content: []byte("kind: Device\n")})
	<-came
	call(1, claimed("one"))
	call(2, claimed("two"))
	eventually(t, "both wait", func() bool { return writer.waits() == 2 })
	release()
	callers.Wait()
	if results[0] != nil || (results[1] == nil) == (results[2] == nil) || !errors.Is(errors.Join(results...), errHeld) {
		t.Errorf("the three came to %v, want the first and one of the others to land", results)
	}
	if files := strings.Fields(origin.git(t, "ls-tree", "-r", "--name-only", "main", "devices/sensors/")); len(files) != 1 {
		t.Errorf("there are %q", files)
	}
}

func TestWriterFailures(t *testing.T) {
	edit := registration("one")
	hook := func(script string) func(*testing.T, *server, *origin) {
		return func(t *testing.T, _ *server, o *origin) { o.hook(t, "pre-receive", script) }
	}
	answers := func(code int) func(*testing.T, *server, *origin) {
		return func(_ *testing.T, s *server, _ *origin) {
			s.answer(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
				http.Error(w, "no", code)
				return true
			})
		}
	}
	cases := map[string]struct {
		edit    Edit
		prepare func(*testing.T, *server, *origin)
		change  func(*Remote)
		want    error
		says    string
	}{
		"rejected":            {prepare: hook(`echo "devices need a ticket" >&2; exit 1`), want: ErrRejected, says: "devices need a ticket: do what the remote asks for"},
		"credentials":         {change: func(r *Remote) { r.Password = "wr0ng-password" }, want: ErrAuthentication, says: "check the username and the password"},
		"no right to write":   {prepare: answers(http.StatusForbidden), want: ErrAuthentication, says: "to push takes the right to write"},
		"server fails":        {prepare: answers(http.StatusBadGateway), want: ErrUnreachable, says: "try again later"},
		"nobody there":        {change: func(r *Remote) { r.URL = "https://127.0.0.1:1/pki.git" }, want: ErrUnreachable, says: "check"},
		"no branch":           {change: func(r *Remote) { r.Branch = "absent" }, want: ErrBranchNotFound, says: "git push origin HEAD:absent"},
		"others are faster":   {prepare: func(t *testing.T, s *server, o *origin) { othersWin(t, s, o) }, want: ErrBusy, says: "others were faster 12 times"},
		"conflict":            {edit: Edit{Path: "devices/a/01/one.yaml", Content: []byte("x")}, want: ErrConflict, says: "decide again on what is there now"},
		"below a file":        {edit: Edit{Path: "devices/a/01/one.yaml/x.yaml", Content: []byte("x")}, want: ErrInvalidCommit, says: "look at what stands there"},
		"another folder":      {edit: Edit{Path: "authorities/root.yaml", Content: []byte("x")}, want: ErrInvalidCommit, says: "write it to devices/<group>/<shard>/<name>.yaml"},
		"beside the devices":  {edit: Edit{Path: "devices.yaml", Content: []byte("x")}, want: ErrInvalidCommit, says: "is no device document"},
		"no group":            {edit: Edit{Path: "devices/x.yaml", Content: []byte("x")}, want: ErrInvalidCommit, says: "is no device document"},
		"no YAML":             {edit: Edit{Path: "devices/a/x.sh", Content: []byte("x")}, want: ErrInvalidCommit, says: "is no device document"},
		"out of the folder":   {edit: Edit{Path: "devices/../authorities/root.yaml", Content: []byte("x")}, want: ErrInvalidCommit, says: "without . and .."},
		"into .git":           {edit: Edit{Path: "devices/a/.git/x.yaml", Content: []byte("x")}, want: ErrInvalidCommit, says: "which no file may have"},
		"what it was decided": {edit: Edit{Path: edit.Path, Content: []byte("x"), Was: "main"}, want: ErrInvalidCommit, says: "give what Get says"},
		"a large file":        {edit: Edit{Path: edit.Path, Content: make([]byte, 9<<20)}, want: ErrTooLarge, says: "9.0 MiB"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			origin := server.repository(t, "pki.git", site)
			remote := server.remote("pki.git")
			if c.change != nil {
				c.change(&remote)
			}
			if c.prepare != nil {
				c.prepare(t, server, origin)
			}
			options := testWriterOptions()
			options.Jitter = func(time.Duration) time.Duration { return 0 }
			writer, err := OpenWriter(t.TempDir(), remote, options)
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close()
			if c.edit.Path == "" {
				c.edit = edit
			}
			_, err = writer.Put(t.Context(), c.edit)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want %v that says %q", err, c.want, c.says)
			}
			if errors.Is(err, ErrOutcomeUnknown) || strings.Contains(err.Error(), testPassword) || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("got %v", err)
			}
			server.answer(nil)
			if files := origin.git(t, "ls-tree", "-r", "--name-only", "main", "devices"); files != "devices/a/01/one.yaml" {
				t.Errorf("there are the devices %q", files)
			}
		})
	}
}

func othersWin(t *testing.T, s *server, o *origin) {
	pushes := 0
	s.answer(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			pushes++
			o.commit(t, map[string]string{"theirs": fmt.Sprint(pushes)})
		}
		return false
	})
}

func TestOpenWriterRefuses(t *testing.T) {
	cases := map[string]struct {
		change func(*WriterOptions)
		says   string
	}{
		"no clock":           {func(o *WriterOptions) { o.Now = nil }, "give Now"},
		"no author":          {func(o *WriterOptions) { o.Author.Name = "" }, "its author"},
		"a broken committer": {func(o *WriterOptions) { o.Committer = Author{Name: "a", Email: "b>"} }, "its committer"},
		"a root outside":     {func(o *WriterOptions) { o.Root = "../x" }, "not the path of a file"},
		"a broken template":  {func(o *WriterOptions) { o.Message = "{{" }, "write it as text/template says"},
		"an unknown field":   {func(o *WriterOptions) { o.Message = "{{.Changed}}" }, "use the fields Count, Edits"},
		"an empty message":   {func(o *WriterOptions) { o.Message = "{{/* nothing */}}" }, "say what the commit does"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			options := testWriterOptions()
			c.change(&options)
			if _, err := OpenWriter(t.TempDir(), newOrigin(t, t.TempDir()).remote(), options); !errors.Is(err, ErrInvalidCommit) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWriterMessages(t *testing.T) {
	two := []Edit{{Path: "devices/g/01/b.yaml", Subject: "Register b\nSigned-off-by: nobody \u202e\x00"}, {Path: "devices/g/00/a.yaml"}}
	cases := map[string]struct {
		template string
		edits    []Edit
		want     string
	}{
		"one":      {edits: two[1:], want: "Write devices/g/00/a.yaml"},
		"two":      {edits: two, want: "Write 2 device documents\n\n- Write devices/g/00/a.yaml\n- Register b Signed-off-by: nobody"},
		"template": {template: "{{.Branch}}: {{range .Edits}}{{.Path}} {{end}}({{.Count}}, {{.More}} more)", edits: two, want: "main: devices/g/00/a.yaml devices/g/01/b.yaml (2, 0 more)"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			parsed, err := parseMessage(c.template)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := newMessage("main", c.edits).render(parsed); err != nil || got != c.want {
				t.Errorf("got %q (%v), want %q", got, err, c.want)
			}
		})
	}
	parsed, err := parseMessage(`{{range .Edits}}{{.Path}}{{"\n"}}{{printf "%1000d" 1}}{{"\n"}}{{end}}`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := newMessage("main", slices.Repeat(two, 100)).render(parsed)
	if err != nil || len(got) > maxMessage+50 || !strings.HasSuffix(got, " bytes more)") {
		t.Errorf("a message of %d bytes (%v)", len(got), err)
	}
}

// One document that a hook does not like keeps out no other.
func TestWriterIsolatesWhatIsRejected(t *testing.T) {
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	origin.hook(t, "pre-receive", `while read old new ref; do git ls-tree -r --name-only $new | grep -q evil && { echo "evil is not welcome" >&2; exit 1; }; done; exit 0`)
	writer := testWriter(t, server.remote("pki.git"))
	came, release := server.hold()
	defer release()
	var callers sync.WaitGroup
	callers.Go(func() { put(t, writer, registration("first")) })
	<-came
	errs := make([]error, 40)
	for i := range errs {
		name := fmt.Sprintf("device-%02d", i)
		if i == 23 {
			name = "evil"
		}
		callers.Go(func() { _, errs[i] = writer.Put(t.Context(), registration(name)) })
	}
	eventually(t, "all wait", func() bool { return writer.waits() == len(errs) })
	release()
	callers.Wait()
	for i, err := range errs {
		if i == 23 && (!errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "evil is not welcome")) || i != 23 && err != nil {
			t.Errorf("device %d: %v", i, err)
		}
	}
	if pushes, _ := server.take(); len(pushes) > 60 {
		t.Errorf("it took %d requests", len(pushes))
	}
}

func TestWriterQueueIsBounded(t *testing.T) {
	server := newServer(t)
	server.repository(t, "pki.git", site)
	options := testWriterOptions()
	options.Queue = 2
	writer, err := OpenWriter(t.TempDir(), server.remote("pki.git"), options)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	came, release := server.hold()
	defer release()
	var callers sync.WaitGroup
	callers.Go(func() { put(t, writer, registration("first")) })
	<-came
	for i := range 2 {
		callers.Go(func() { put(t, writer, registration(fmt.Sprint("device-", i))) })
	}
	eventually(t, "two wait", func() bool { return writer.waits() == 2 })
	if _, err := writer.Put(t.Context(), registration("third")); !errors.Is(err, ErrQueueFull) || !strings.Contains(err.Error(), "2 edits wait: try again later") {
		t.Errorf("got %v", err)
	}
	release()
	callers.Wait()
}

// A caller that does not wait any longer hears whether its edit may be there.
func TestWriterCallersThatLeave(t *testing.T) {
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	writer := testWriter(t, server.remote("pki.git"))
	came, release := server.hold()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 2)
	go func() {
		_, err := writer.Put(ctx, registration("under-way"))
		results <- err
	}()
	<-came
	go func() {
		_, err := writer.Put(ctx, registration("in-the-queue"))
		results <- err
	}()
	eventually(t, "one waits", func() bool { return writer.waits() == 1 })
	cancel()
	for range 2 {
		err := <-results
		unknown := strings.Contains(err.Error(), "under-way")
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrOutcomeUnknown) != unknown || strings.Contains(err.Error(), "it was not written") == unknown {
			t.Errorf("got %v", err)
		}
	}
	if _, err := writer.Put(ctx, registration("too-late")); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	release()
	if landed := put(t, writer, registration("under-way")); landed.Made {
		t.Errorf("it was written twice: %+v", landed)
	}
	if files := origin.git(t, "ls-tree", "-r", "--name-only", "main", "devices/sensors"); files != registration("under-way").Path {
		t.Errorf("there are %q", files)
	}
}

// A push whose answer is lost, and a server that is gone afterwards.
func TestWriterLosesTheAnswer(t *testing.T) {
	for _, landed := range []bool{true, false} {
		t.Run(fmt.Sprintf("landed %t", landed), func(t *testing.T) {
			server := newServer(t)
			origin := server.repository(t, "pki.git", site)
			writer := testWriter(t, server.remote("pki.git"))
			gone := false
			server.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
					gone = true
					if landed {
						next.ServeHTTP(httptest.NewRecorder(), r)
					}
				}
				if gone {
					http.Error(w, "bad gateway", http.StatusBadGateway)
				}
				return gone
			})
			_, err := writer.Put(t.Context(), registration("one"))
			if !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "push the same again, which finds it if it did") {
				t.Fatalf("got %v", err)
			}
			server.answer(nil)
			if again := put(t, writer, registration("one")); again.Made == landed {
				t.Errorf("then it landed in %+v", again)
			}
			if count := origin.git(t, "rev-list", "--count", "main"); count != "2" {
				t.Errorf("there are %s commits", count)
			}
		})
	}
}

func TestWriterOnAServerThatRefusesShallow(t *testing.T) {
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	writer := testWriter(t, server.remote("pki.git"))
	put(t, writer, registration("one"))
	for i, refused := range []string{"have ", "shallow ", "deepen"} {
		refuse := refusing(refused)
		server.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool { return refuse(w, r) })
		origin.commit(t, map[string]string{"theirs": fmt.Sprint(i)})
		put(t, writer, registration(fmt.Sprint("device-", i)))
	}
	origin.check(t)
}

func TestWriterSigns(t *testing.T) {
	ssh, pgp := newSSHKey(t, ""), pgpKey(t, "Registrar", 0)
	keys := map[string]struct {
		signing *SigningKey
		verify  *Verification
	}{
		"SSH":     {&SigningKey{SSH: ssh.pem}, &Verification{SSH: []byte("registrar@example.com " + authorized(ssh.signer))}},
		"OpenPGP": {&SigningKey{OpenPGP: privatePGP(t, pgp)}, &Verification{OpenPGP: [][]byte{publicPGP(t, pgp)}}},
	}
	for name, key := range keys {
		t.Run(name, func(t *testing.T) {
			origin := newOriginWith(t, site)
			remote := origin.remote()
			remote.SigningKey = key.signing
			put(t, testWriter(t, remote), registration("one"))
			remote.Verify = key.verify
			if snapshot := pull(t, open(t, remote)); snapshot.Signer() == "" {
				t.Error("nobody signed")
			}
		})
	}
}

// A store that is pushed to again and again stays small, without asking the remote for what it
// has already, and a snapshot of what was before stays readable.
func TestWriterRecyclesItsStore(t *testing.T) {
	server := newServer(t)
	origin := server.repository(t, "pki.git", fleetOf(300))
	folder := t.TempDir()
	writer := testWriterIn(t, folder, server.remote("pki.git"))
	held, err := writer.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := len(contents(t, held))
	_, _ = server.take()
	for i := range maxPacks + 20 {
		put(t, writer, registration(fmt.Sprint("device-", i)))
	}
	newest := writer.last.Load()
	if newest.store == held.store || len(newest.store.packs) > maxPacks {
		t.Errorf("the store was not recycled, and has %d packs", len(newest.store.packs))
	}
	if requests, received := server.take(); len(requests) != 2*(maxPacks+20) || received > 1000*int64(len(requests)) {
		t.Errorf("%d requests, answered with %d bytes: something was fetched again", len(requests), received)
	}
	run(t, "", "git", "-C", newest.store.folder, "fsck", "--strict", "--no-dangling")
	if got := len(contents(t, held)); got != before {
		t.Errorf("the earlier snapshot holds %d files, want %d", got, before)
	}
	if got := len(contents(t, newest)); got != before+maxPacks+20 {
		t.Errorf("the branch holds %d files, want %d", got, before+maxPacks+20)
	}
	origin.commit(t, map[string]string{"theirs": "1"})
	put(t, writer, registration("on-top-of-theirs"))
	runtime.KeepAlive(held)
	held, newest = nil, nil
	eventually(t, "old stores are removed", func() bool {
		runtime.GC()
		names, err := os.ReadDir(folder)
		return err == nil && len(names) == 1
	})
	put(t, testWriterIn(t, folder, server.remote("pki.git")), registration("after-a-restart"))
	origin.check(t)
}

func TestWriterLeavesNothingBehind(t *testing.T) {
	h := newHostile(t, site)
	for scheme, remote := range map[string]Remote{"https": h.https, "ssh": h.ssh} {
		for _, end := range []string{"at rest", "under way"} {
			t.Run(scheme+" "+end, func(t *testing.T) {
				h.misbehave("", misbehaviour{})
				goroutines := runtime.NumGoroutine()
				writer, err := OpenWriter(t.TempDir(), remote, testWriterOptions())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := writer.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				if end == "under way" {
					arrived := make(chan struct{}, 2)
					h.misbehave("push", misbehaviour{answer: func(h *hostile, w io.Writer, honest []byte) {
						arrived <- struct{}{}
						stall.answer(h, w, honest)
					}})
					ended := make(chan error, 2)
					for i := range 2 {
						go func() {
							_, err := writer.Put(context.Background(), registration(fmt.Sprint(scheme, "late", i)))
							ended <- err
						}()
					}
					<-arrived
					writer.Close()
					for range 2 {
						if err := <-ended; !errors.Is(err, context.Canceled) {
							t.Errorf("a caller heard %v", err)
						}
					}
				}
				writer.Close()
				h.wantNothingLeft(t, goroutines)
				if _, err := writer.Put(context.Background(), registration("closed")); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "open another") {
					t.Errorf("after Close: %v", err)
				}
			})
		}
	}
}

// Ten callers register fifty devices each, through three Writers as three programs would have
// them. A hook rejects pushes now and then, and one of the three is stopped and started again at
// any moment. Whoever hears an error asks again, as a device does.
func TestWritersTogether(t *testing.T) {
	for _, scheme := range []string{"https", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			server := newServer(t)
			origin := server.repository(t, "pki.git", site)
			origin.hook(t, "pre-receive", `[ $(($$ % 8)) -ne 0 ] || { echo "come back later" >&2; exit 1; }`)
			remote := server.remote("pki.git")
			if scheme == "ssh" {
				remote = server.overSSH(t)("pki.git")
			}
			callers, devices := 10, 50
			if testing.Short() {
				devices = 5
			}
			replicas := []*replica{newReplica(t, remote), newReplica(t, remote), newReplica(t, remote)}
			replicas[2].restless = true
			var group sync.WaitGroup
			for caller := range callers {
				group.Go(func() {
					for i := range devices {
						replicas[caller%len(replicas)].register(t, fmt.Sprintf("device-%02d-%02d", caller, i))
					}
				})
			}
			group.Wait()
			wantFleet(t, origin, callers, devices)
		})
	}
}

// replica is a Writer that may be stopped and started again, by anybody who uses it.
type replica struct {
	folder   string
	remote   Remote
	restless bool

	mutex  sync.RWMutex
	writer *Writer
}

func newReplica(t *testing.T, remote Remote) *replica {
	r := &replica{folder: t.TempDir(), remote: remote, writer: nil}
	r.writer = testWriterIn(t, r.folder, remote)
	return r
}

func (r *replica) current() *Writer {
	r.mutex.RLock()
	defer r.mutex.RUnlock()
	return r.writer
}

// restart ends whatever it does, and starts it again.
func (r *replica) restart(t *testing.T) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.writer.Close()
	r.writer = testWriterIn(t, r.folder, r.remote)
}

// register asks until the device is registered.
func (r *replica) register(t *testing.T, name string) {
	for {
		if r.restless && rand.N(8) == 0 {
			r.restart(t)
		}
		_, err := r.current().Put(t.Context(), registration(name))
		if err == nil {
			return
		}
		if !errors.Is(err, ErrRejected) && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

// wantFleet looks with git at what has become of the branch: every device is there, was written
// once, and whole.
func wantFleet(t *testing.T, origin *origin, callers, devices int) {
	t.Helper()
	want := map[string]string{}
	for caller := range callers {
		for i := range devices {
			edit := registration(fmt.Sprintf("device-%02d-%02d", caller, i))
			want[edit.Path] = blobOf(string(edit.Content))
		}
	}
	got := map[string]string{}
	for entry := range strings.Lines(origin.git(t, "ls-tree", "-r", "--format=%(path) %(objectname)", "main", "devices/sensors")) {
		path, blob, _ := strings.Cut(strings.TrimSpace(entry), " ")
		got[path] = blob
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d devices are there, want %d", len(got), len(want))
	}
	history := strings.Fields(origin.git(t, "log", "--format=", "--name-status", "main", "--", "devices/sensors"))
	added := 0
	for i := 0; i < len(history); i += 2 {
		if history[i] != "A" {
			t.Errorf("a commit did %s to %s", history[i], history[i+1])
		}
		added++
	}
	if added != len(want) {
		t.Errorf("%d files were added in all, want %d", added, len(want))
	}
	origin.check(t)
	t.Logf("%s commits", origin.git(t, "rev-list", "--count", "main"))
}

// FuzzEditPath: whatever path an edit has, it is below devices/ or refused.
func FuzzEditPath(f *testing.F) {
	writer, err := OpenWriter(f.TempDir(), Remote{URL: "https://git.example/pki.git", Branch: "main"}, WriterOptions{Root: "site", Author: Author{Name: "a", Email: "b"}, Now: func() time.Time { return testTime }})
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range []string{"site/devices/g/00/x.yaml", "devices/g/00/x.yaml", "site/devices/../x.yaml", "site/devicesx/g/x.yaml", "site/devices//x.yaml", "site/devices/g/\u202e.yaml", "site/devices/g/x.yaml/"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if writer.checkEdit(Edit{Path: path}) != nil {
			return
		}
		relative, err := filepath.Rel("site/devices", path)
		if err != nil || !filepath.IsLocal(relative) || strings.Count(relative, "/") < 1 || strings.ContainsAny(path, "\x00\n\\:") {
			t.Errorf("%q may be written", path)
		}
	})
}

// Messages stay within their bounds, and in one line for each edit, whatever an edit says.
func TestWriterMessagesAreBounded(t *testing.T) {
	parsed, err := parseMessage("")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		edits := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Edit {
			return Edit{Path: "devices/g/00/x.yaml", Subject: rapid.String().Draw(rt, "subject")}
		}), 1, 150).Draw(rt, "edits")
		text, err := newMessage("main", edits).render(parsed)
		if err != nil {
			rt.Fatal(err)
		}
		if len(text) > maxMessage+50 || strings.Count(text, "\n") > maxListed+3 || strings.ContainsRune(text, 0) {
			rt.Fatalf("a message of %d bytes and %d lines", len(text), strings.Count(text, "\n"))
		}
	})
}
