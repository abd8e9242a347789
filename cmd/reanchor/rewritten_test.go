package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/gitsource"
)

// What a person accepts is read once: to go back to it later is to rewrite the history anew.
func TestAnAcceptanceIsReadOnce(t *testing.T) {
	url := newBare(t)
	folder := strings.TrimPrefix(url, "file://")
	write := func(name string) {
		git(t, "commit refs/heads/main\ncommitter Ada <ada@example.com> 1700000001 +0000\ndata 4\nnext\nfrom refs/heads/main^0\nM 100644 inline site/"+name+"\ndata 1\nx\n",
			"-C", folder, "fast-import", "--quiet", "--force")
	}
	repository, err := gitsource.Open(t.TempDir(), gitsource.Remote{URL: url, Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(repository.Close)
	var accept string
	l := &lineal{repository: repository, after: func() gitsource.After { return gitsource.After{Accept: accept} }}
	pull := func() (string, error) {
		snapshot, err := l.Pull(t.Context())
		if err != nil {
			return "", err
		}
		return snapshot.Revision(), nil
	}
	expect := func(what string, rewritten bool) string {
		t.Helper()
		revision, err := pull()
		if errors.Is(err, gitsource.ErrRewritten) != rewritten || err != nil && !rewritten {
			t.Fatalf("%s: %v", what, err)
		}
		return revision
	}
	first := expect("the first", false)
	back := func() {
		git(t, "", "-C", folder, "update-ref", "refs/heads/main", strings.TrimPrefix(first, "main@sha1:"))
	}
	write("second.yaml")
	expect("what goes on", false)
	back()
	expect("what was taken back", true)
	accept = first
	expect("what was accepted", false)
	write("third.yaml")
	expect("what goes on from there", false)
	back()
	expect("what was accepted once, and taken back to anew", true)
	accept = ""
	expect("what nobody accepts any more", true)
	accept = first
	expect("what is accepted anew", false)
}

// What the controller had read by an acceptance is no permit, until the annotation was taken
// away; and that is what people are told to do.
func TestAnAcceptanceOfBeforeCountsOnceItIsGivenAnew(t *testing.T) {
	const head = "main@sha1:0a4d55a8d778e5022fab701977c5d840bbc486d0"
	var k known
	r := rewrites{domain: &v1alpha1.TrustDomain{}, known: &k}
	for _, step := range []struct {
		annotation, accept string
		told               bool
	}{{head, "", true}, {head, "", true}, {"", "", false}, {head, head, true}, {head, head, true}} {
		domain := &v1alpha1.TrustDomain{}
		domain.Annotations = map[string]string{v1alpha1.AnnotationAcceptRevision: step.annotation}
		domain.Status.LastAcceptedRevision = head
		k.read(domain)
		if got := k.after("main").Accept; got != step.accept {
			t.Errorf("with %q, %q is accepted", step.annotation, got)
		}
		advice := r.advice(&gitsource.RewrittenError{Is: head})
		if strings.Contains(advice, "remove the annotation first") != step.told {
			t.Errorf("with %q, people are told that %s", step.annotation, advice)
		}
	}
}
