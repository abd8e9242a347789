package gitsource

import (
	"errors"
	"strings"
	"testing"
)

// A Writer neither reads nor writes a branch that lost what it has pushed, until a person
// accepts what is there instead; and that once.
func TestWriterFollowsNoRewrittenBranch(t *testing.T) {
	server := newServer(t)
	for name, base := range map[string]string{"the branch itself": "", "the one that proposals are made on": "main"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repository := strings.Fields(name)[1] + ".git"
			origin := server.repository(t, repository, site)
			var after After
			options := testWriterOptions()
			options.After = func() After { return after }
			remote := server.remote(repository)
			if options.Base = base; base != "" {
				remote.Branch = RegistrationBranch("sensors")
			}
			writer, err := OpenWriter(t.TempDir(), remote, options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(writer.Close)
			put(t, writer, registration("one"))
			origin.commit(t, map[string]string{"more": "of main"})
			put(t, writer, registration("two"))
			was := origin.head("main")

			rewritten := origin.commitTo(t, "main", "", site)
			refused := func(what string) {
				t.Helper()
				if _, err := writer.Put(t.Context(), registration("three")); !errors.Is(err, ErrRewritten) {
					t.Errorf("%s: put came to %v", what, err)
				}
				if _, err := writer.Refresh(t.Context()); !errors.Is(err, ErrRewritten) || !strings.Contains(err.Error(), was) {
					t.Errorf("%s: refresh came to %v", what, err)
				}
				if _, err := writer.Newest().Document(registration("one").Path); err != nil {
					t.Errorf("%s: what was read before is lost: %v", what, err)
				}
			}
			refused("rewritten")
			if origin.head("main") != rewritten {
				t.Error("it was written to")
			}
			after.Accept = "main@sha1:" + was
			refused("with another accepted")

			after.Accept = "main@sha1:" + rewritten
			was = origin.commit(t, map[string]string{"more": "by another who accepted it"})
			put(t, writer, registration("three"))
			if _, err := writer.Newest().Document("more"); err != nil {
				t.Error(err)
			}
			if base == "" {
				was = origin.head("main")
			}
			origin.git(t, "update-ref", "refs/heads/main", rewritten)
			if _, err := writer.Refresh(t.Context()); !errors.Is(err, ErrRewritten) || !strings.Contains(err.Error(), was) {
				t.Errorf("back to what was accepted once: %v", err)
			}
			after.Accept = ""
			if _, err := writer.Refresh(t.Context()); !errors.Is(err, ErrRewritten) {
				t.Errorf("back to what nobody accepts any more: %v", err)
			}
			after.Accept = "main@sha1:" + rewritten
			if _, err := writer.Refresh(t.Context()); err != nil {
				t.Errorf("back to what is accepted anew: %v", err)
			}
		})
	}
}

// After a restart nothing is known but what was told.
func TestWriterGoesOnFromWhatWasKnown(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	origin := server.repository(t, "pki.git", site)
	known := After{Revision: "main@sha1:" + origin.head("main")}
	folder := t.TempDir()
	for _, step := range []struct {
		rewrite bool
		want    error
	}{{}, {rewrite: true, want: ErrRewritten}, {want: ErrRewritten}} {
		if step.rewrite {
			origin.commitTo(t, "main", "", map[string]string{"another": "root"})
			origin.commit(t, map[string]string{"devices/a/01/one.yaml": "kind: Device\n# others\n"})
		}
		options := testWriterOptions()
		options.After = func() After { return known }
		writer, err := OpenWriter(folder, server.remote("pki.git"), options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Put(t.Context(), registration("one")); !errors.Is(err, step.want) {
			t.Errorf("put came to %v, want %v", err, step.want)
		}
		if newest := writer.Newest(); (newest == nil) != (step.want != nil) {
			t.Errorf("the newest is %v", newest)
		}
		writer.Close()
	}
}
