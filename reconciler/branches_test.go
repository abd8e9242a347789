package reconciler

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Whoever writes beside the turns reads and writes where they do.
func TestReadBranches(t *testing.T) {
	own := func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Branch = "record" }
	verified := func(d *v1alpha1.TrustDomain) {
		d.Spec.Source.Verify = &v1alpha1.Verification{SecretRef: v1alpha1.LocalReference{Name: "verify"}}
	}
	for name, test := range map[string]struct {
		change   []func(*v1alpha1.TrustDomain)
		record   string
		own      bool // a branch of the record's own
		verifies bool // what is read from it
	}{
		"one branch":                      {nil, "main", false, false},
		"a branch of its own":             {[]func(*v1alpha1.TrustDomain){own}, "record", true, false},
		"the same, named":                 {[]func(*v1alpha1.TrustDomain){func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Branch = "main" }}, "main", false, false},
		"signed, and a branch of its own": {[]func(*v1alpha1.TrustDomain){own, verified}, "record", true, false},
		"signed, on one branch, and signed": {[]func(*v1alpha1.TrustDomain){verified, func(d *v1alpha1.TrustDomain) {
			d.Spec.WriteBack.SigningKey = &v1alpha1.SigningKey{SecretRef: v1alpha1.LocalReference{Name: "sign"}}
		}}, "main", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			domain := newDomain()
			domain.Spec.Source.URL, domain.Spec.Source.Path = "https://git.example/fleet.git", "./sites/plant/"
			domain.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "git"}
			domain.Spec.Interval = metav1.Duration{Duration: 3 * time.Minute}
			domain.Spec.WriteBack.Mode = v1alpha1.WriteBackEnabled
			domain.Spec.WriteBack.Author = v1alpha1.CommitAuthor{Name: "Ada"}
			for _, change := range test.change {
				change(domain)
			}
			builder := fake.NewClientBuilder().WithScheme(newScheme(t))
			for name, values := range secretsOver(t, "https") {
				builder = builder.WithObjects(secret(name, values))
			}
			branches, err := ReadBranches(t.Context(), builder.Build(), domain)
			if err != nil {
				t.Fatal(err)
			}
			ref := planner.Ref{Namespace: domain.Namespace, Name: domain.Name}
			if branches.Domain() != ref || branches.Folder != "sites/plant" || branches.Interval != 3*time.Minute || branches.Author != (v1alpha1.CommitAuthor{Name: "Ada", Email: defaultAuthorEmail}) {
				t.Errorf("of %s in %s every %s by %+v", branches.Domain(), branches.Folder, branches.Interval, branches.Author)
			}
			for _, branch := range []Branch{branches.Source, branches.Record} {
				if branch.URL != domain.Spec.Source.URL || branch.Credentials.Password != "hunter2" {
					t.Errorf("%s of %s is reached with %s", branch.Name, branch.URL, branch.Credentials)
				}
			}
			if branches.Source.Name != "main" || branches.Record.Name != test.record || branches.Record.Record != test.own || (branches.Record.Credentials.Verify != nil) != test.verifies {
				t.Errorf("the source is %s; the record %+v with %s", branches.Source.Name, branches.Record, branches.Record.Credentials)
			}
		})
	}
}

// What a turn would refuse, and a domain without a place for registrations, opens nothing.
func TestBranchesThatCannotBeRead(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.TrustDomain)
		want   string
	}{
		"a URL of no repository": {func(d *v1alpha1.TrustDomain) { d.Spec.Source.URL = "http://git.example/x" }, "spec.source.url has the scheme"},
		"nothing is written":     {func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Mode = v1alpha1.WriteBackDisabled }, "set it to Enabled"},
		"no such Secret":         {func(d *v1alpha1.TrustDomain) { d.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "none"} }, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			domain := newDomain()
			domain.Spec.WriteBack.Mode = v1alpha1.WriteBackEnabled
			test.change(domain)
			if branches, err := ReadBranches(t.Context(), fake.NewClientBuilder().WithScheme(newScheme(t)).Build(), domain); err == nil || !strings.Contains(err.Error(), test.want) || branches.Source.URL != "" {
				t.Errorf("read %s, %v", branches.Source.Name, err)
			}
		})
	}
}
