package reconciler

import (
	"strings"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// named refers to a Secret.
func named(name string) *v1alpha1.LocalReference { return &v1alpha1.LocalReference{Name: name} }

func TestValidateSpec(t *testing.T) {
	verification := &v1alpha1.Verification{SecretRef: *named("keys")}
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
		"another scheme": {func(s *v1alpha1.TrustDomainSpec) { s.Source.URL = "git://git.example/a.git" }, `scheme "git": give a URL that starts with https://, ssh:// or file://`},
		"SSH": {func(s *v1alpha1.TrustDomainSpec) {
			s.Source.URL, s.Source.SecretRef = "ssh://git@git.example/a.git", named("git")
		}, ""},
		"SSH without a Secret": {func(s *v1alpha1.TrustDomainSpec) { s.Source.URL = "ssh://git@git.example/a.git" }, "name in spec.source.secretRef a Secret with identity and known_hosts"},
		"SSH with a password":  {func(s *v1alpha1.TrustDomainSpec) { s.Source.URL = "ssh://git:hunter2@git.example/a.git" }, "spec.source.url holds credentials"},
		"SSH with CAs": {func(s *v1alpha1.TrustDomainSpec) {
			s.Source.URL, s.Source.SecretRef, s.Source.CertSecretRef = "ssh://git.example/a.git", named("git"), named("tls")
		}, "spec.source.certSecretRef has no use for an ssh:// URL"},
		"a file with credentials": {func(s *v1alpha1.TrustDomainSpec) {
			s.Source.URL, s.Source.SecretRef = "file:///srv/pki.git", named("git")
		}, "have no use for a file:// URL"},
		"a file with a proxy": {func(s *v1alpha1.TrustDomainSpec) {
			s.Source.URL, s.Source.ProxySecretRef = "file:///srv/pki.git", named("p")
		}, "have no use for a file:// URL"},
		"verified, and no record": {func(s *v1alpha1.TrustDomainSpec) { s.Source.Verify = verification }, ""},
		"verified, and signed": {func(s *v1alpha1.TrustDomainSpec) {
			s.Source.Verify, s.WriteBack = verification, v1alpha1.WriteBack{SigningKey: &v1alpha1.SigningKey{SecretRef: *named("sign")}}
		}, ""},
		"verified, and a record elsewhere": {func(s *v1alpha1.TrustDomainSpec) {
			s.Source.Verify, s.WriteBack = verification, v1alpha1.WriteBack{Branch: "records"}
		}, ""},
		"verified, and not signed": {func(s *v1alpha1.TrustDomainSpec) { s.Source.Verify, s.WriteBack = verification, v1alpha1.WriteBack{} }, "name a key in spec.writeBack.signingKey, another branch in spec.writeBack.branch, or set spec.writeBack.mode to Disabled"},
		"verified otherwise":       {func(s *v1alpha1.TrustDomainSpec) { s.Source.Verify = &v1alpha1.Verification{Mode: "Tag"} }, `spec.source.verify.mode is "Tag": set it to HEAD`},
		"credentials":              {func(s *v1alpha1.TrustDomainSpec) { s.Source.URL = "https://me:hunter2@git.example/a.git" }, "spec.source.secretRef"},
		"path":                     {func(s *v1alpha1.TrustDomainSpec) { s.Source.Path = "../x" }, "spec.source.path"},
		"a query":                  {func(s *v1alpha1.TrustDomainSpec) { s.Source.URL += "?token=hunter2" }, "spec.source.url is not that of a repository"},
		"no host":                  {func(s *v1alpha1.TrustDomainSpec) { s.Source.URL = "https:///a.git" }, "spec.source.url is not that of a repository"},
		"a branch in parts":        {func(s *v1alpha1.TrustDomainSpec) { s.Source.Ref.Branch = "team@x/fix-1.2" }, ""},
		"no branch's name":         {func(s *v1alpha1.TrustDomainSpec) { s.Source.Ref.Branch = "a b" }, `spec.source.ref.branch is "a b"`},
		"a record in dots":         {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Branch = "a..b" }, `spec.writeBack.branch is "a..b"`},
		"no branch":                {func(s *v1alpha1.TrustDomainSpec) { s.Source.Ref.Branch = "" }, "spec.source.ref.branch is empty"},
		"a reference":              {func(s *v1alpha1.TrustDomainSpec) { s.Source.Ref.Branch = "refs/heads/main" }, "spec.source.ref.branch"},
		"another mode":             {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Mode = "Fork" }, `spec.writeBack.mode is "Fork": set it to Enabled or Disabled`},
		"record reference":         {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Branch = "refs/heads/anchors" }, "spec.writeBack.branch"},
		"author's name":            {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Author.Name = "a\nparent 00" }, "spec.writeBack.author"},
		"committer's name":         {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Committer = &v1alpha1.CommitAuthor{Name: "a\nb"} }, "spec.writeBack.committer"},
		"author's address":         {func(s *v1alpha1.TrustDomainSpec) { s.WriteBack.Author.Email = "a> 0" }, "spec.writeBack.author"},
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
