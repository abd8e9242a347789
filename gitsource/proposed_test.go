package gitsource

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// proposing is a Writer to a group's branch, which is made from main.
func proposing(t *testing.T, remote Remote) *Writer {
	t.Helper()
	options := testWriterOptions()
	options.Base = remote.Branch
	remote.Branch = RegistrationBranch("sensors")
	writer, err := OpenWriter(t.TempDir(), remote, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(writer.Close)
	return writer
}

// proposals are the devices that the branch has and main has not, by git itself; the branch is
// one commit on top of main's history.
func (o *origin) proposals(t *testing.T) []string {
	t.Helper()
	branch := RegistrationBranch("sensors")
	if count := o.git(t, "rev-list", "--count", "main.."+branch); count != "1" {
		t.Errorf("the branch is %s commits ahead", count)
	}
	return strings.Fields(o.git(t, "diff", "--name-only", "main..."+branch))
}

func pathsOf(names ...string) []string {
	var paths []string
	for _, name := range names {
		paths = append(paths, registration(name).Path)
	}
	slices.Sort(paths)
	return paths
}

func TestProposedRegistrations(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"https", "ssh", "file"} {
		t.Run(scheme, func(t *testing.T) {
			server := newServer(t)
			origin := server.repository(t, "pki.git", site)
			remote := map[string]func() Remote{
				"https": func() Remote { return server.remote("pki.git") }, "file": origin.remote,
				"ssh": func() Remote { return server.overSSH(t)("pki.git") },
			}[scheme]()
			branch, base := RegistrationBranch("sensors"), origin.head("main")
			want := func(names ...string) {
				t.Helper()
				if got := origin.proposals(t); !slices.Equal(got, pathsOf(names...)) {
					t.Errorf("there are proposed %q, want %q", got, pathsOf(names...))
				}
			}
			writer := proposing(t, remote)
			if landed := put(t, writer, registration("one")); landed.Revision != branch+"@sha1:"+origin.head(branch) || !landed.Made {
				t.Errorf("landed in %+v", landed)
			}
			want("one")
			put(t, writer, registration("two"))
			want("one", "two")
			if landed := put(t, writer, registration("one")); landed.Made || landed.Revision != branch+"@sha1:"+origin.head(branch) {
				t.Errorf("what waits landed in %+v", landed)
			}
			if document, err := writer.Get(t.Context(), registration("two").Path); err != nil || document.Blob != blobOf(string(registration("two").Content)) {
				t.Errorf("got %+v (%v)", document, err)
			}
			if _, err := writer.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if document, err := writer.Get(t.Context(), registration("two").Path); err != nil || document.Revision != branch+"@sha1:"+origin.head(branch) {
				t.Errorf("after a refresh got %+v (%v)", document, err)
			}
			rival := registration("one")
			rival.Content = []byte("another key")
			_, err := writer.Put(t.Context(), rival)
			if conflict, ok := errors.AsType[*EditConflictError](err); !ok || string(conflict.Stands.Content) != string(registration("one").Content) {
				t.Errorf("against what waits: %v", err)
			}
			put(t, proposing(t, remote), registration("by-another"))
			want("one", "two", "by-another")
			put(t, writer, registration("three"))
			want("one", "two", "by-another", "three")
			if origin.head("main") != base {
				t.Error("main has moved")
			}

			// Squashed into main, and main goes on.
			origin.commit(t, map[string]string{registration("one").Path: string(registration("one").Content), registration("two").Path: "blocked in review"})
			put(t, writer, registration("four"))
			want("by-another", "three", "four")

			// Merged by a fast-forward; then the branch is deleted.
			origin.git(t, "update-ref", "refs/heads/main", branch)
			put(t, writer, registration("five"))
			want("five")
			put(t, proposing(t, remote), registration("six"))
			want("five", "six")
			origin.git(t, "update-ref", "-d", "refs/heads/"+branch)
			put(t, writer, registration("seven"))
			want("seven")
			if landed := put(t, writer, registration("three")); landed.Made {
				t.Errorf("what was merged landed in %+v", landed)
			}
			origin.check(t)
		})
	}
}

// What somebody else committed to the branch stays, until it is merged.
func TestProposedOnTopOfOthers(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	branch := RegistrationBranch("sensors")
	writer := proposing(t, server.remote("pki.git"))
	put(t, writer, registration("one"))
	theirs := origin.commitTo(t, branch, origin.head(branch), map[string]string{"devices/sensors/00/by-hand.yaml": "by hand"})
	put(t, writer, registration("two"))
	put(t, writer, registration("three"))
	if origin.git(t, "merge-base", theirs, branch) != theirs || origin.git(t, "rev-list", "--count", "main.."+branch) != "4" {
		t.Error("their commit is not in the branch any more")
	}
	origin.git(t, "update-ref", "refs/heads/main", origin.commitTo(t, "merged", origin.head("main"), map[string]string{
		"devices/sensors/00/by-hand.yaml": "by hand", registration("one").Path: string(registration("one").Content),
		registration("two").Path: string(registration("two").Content), registration("three").Path: string(registration("three").Content),
	}))
	put(t, writer, registration("four"))
	if got := origin.proposals(t); !slices.Equal(got, pathsOf("four")) {
		t.Errorf("there are proposed %q", got)
	}
	origin.check(t)
}

func TestProposedRejected(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	origin.hook(t, "pre-receive", `echo "no such branches here" >&2; exit 1`)
	_, err := proposing(t, server.remote("pki.git")).Put(t.Context(), registration("one"))
	if !errors.Is(err, ErrRejected) || errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "push to reanchor/registrations/sensors of") || !strings.Contains(err.Error(), "no such branches here: do what") {
		t.Errorf("got %v", err)
	}
	server.answer(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return true
	})
	if _, err = proposing(t, server.remote("pki.git")).Put(t.Context(), registration("one")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// Several replicas propose at once; nothing of one is lost by another's rebuilding.
func TestProposedTogether(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	const replicas, devices = 3, 8
	want := map[string]bool{}
	var group sync.WaitGroup
	for replica := range replicas {
		writer := proposing(t, server.remote("pki.git"))
		for i := range devices {
			name := fmt.Sprintf("device-%d-%d", replica, i)
			want[registration(name).Path] = true
			group.Go(func() {
				for {
					_, err := writer.Put(t.Context(), registration(name))
					if errors.Is(err, ErrBusy) {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					return
				}
			})
		}
	}
	group.Wait()
	if got := origin.proposals(t); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("there are proposed %q", got)
	}
	origin.check(t)
}
