package reconciler

import (
	"strings"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

func TestValidateSpec(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.TrustDomainSpec)
		want   string // empty: it is valid
	}{
		"as it is":       {func(*v1alpha1.TrustDomainSpec) {}, ""},
		"file URL":       {func(s *v1alpha1.TrustDomainSpec) { s.Source.URL = "file:///srv/pki.git" }, ""},
		"the root":       {func(s *v1alpha1.TrustDomainSpec) { s.Source.Path = "" }, ""},
		"no mode":        {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Mode = "" }, ""},
		"mode Enabled":   {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Mode = v1alpha1.WriteBackEnabled }, ""},
		"another branch": {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Branch = "records/plant" }, ""},
		"an author": {func(s *v1alpha1.TrustDomainSpec) {
			s.WriteBack.Author = v1alpha1.CommitAuthor{Name: "Ada L.", Email: "a@b.c"}
		}, ""},
		"SSH":              {func(s *v1alpha1.TrustDomainSpec) { s.Source.URL = "ssh://git@git.example/a.git" }, `scheme "ssh"`},
		"credentials":      {func(s *v1alpha1.TrustDomainSpec) { s.Source.URL = "https://me:hunter2@git.example/a.git" }, "spec.source.secretRef"},
		"path":             {func(s *v1alpha1.TrustDomainSpec) { s.Source.Path = "../x" }, "spec.source.path"},
		"no branch":        {func(s *v1alpha1.TrustDomainSpec) { s.Source.Ref.Branch = "" }, "spec.source.ref.branch is empty"},
		"a reference":      {func(s *v1alpha1.TrustDomainSpec) { s.Source.Ref.Branch = "refs/heads/main" }, "spec.source.ref.branch"},
		"another mode":     {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Mode = "Fork" }, `spec.writeBack.mode is "Fork": set it to Enabled or Disabled`},
		"record reference": {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Branch = "refs/heads/anchors" }, "spec.writeBack.branch"},
		"author's name":    {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Author.Name = "a\nparent 00" }, "spec.writeBack.author"},
		"author's address": {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Author.Email = "a> 0" }, "spec.writeBack.author"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := newDomain().Spec
			test.change(&spec)
			err := validateSpec(spec)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2")):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
