package applier

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// roles are all roles under config, each with its file.
func roles(t *testing.T) map[string]rbacv1.ClusterRole {
	t.Helper()
	found := map[string]rbacv1.ClusterRole{}
	err := filepath.WalkDir("../config", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
		for {
			var role rbacv1.ClusterRole // a Role has the same fields
			if err := documents.Decode(&role); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if role.Kind == "ClusterRole" || role.Kind == "Role" {
				found[path+": "+role.Kind+" "+role.Name] = role
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 10 {
		t.Fatalf("roles %v, want the controller's, the observer's, leader election's, the Git credentials', those of bundles in Secrets, of impersonation and of references, and the three of the registrar", found)
	}
	return found
}

func TestNoRoleHasAWildcard(t *testing.T) {
	for name, role := range roles(t) {
		for _, rule := range role.Rules {
			all := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs, rule.ResourceNames, rule.NonResourceURLs)
			if slices.ContainsFunc(all, func(part string) bool { return strings.Contains(part, "*") }) {
				t.Errorf("%s: %v", name, rule)
			}
		}
		if role.AggregationRule != nil {
			t.Errorf("%s is aggregated: nobody can read here what it grants", name)
		}
	}
}

// TestSecretsAreNotRead but by name: credentials in their own namespace, and the certificate
// that the registrar serves; and, for whoever adds the components, copies of bundles and the
// keys that cert-manager makes for devices.
func TestSecretsAreNotRead(t *testing.T) {
	for name, role := range roles(t) {
		for _, rule := range role.Rules {
			if !slices.ContainsFunc(rule.Resources, func(r string) bool { return strings.HasPrefix(r, "secrets") }) {
				continue
			}
			deleted := role.Kind == "ClusterRole" && slices.Equal(rule.Verbs, []string{"delete"})
			named := role.Kind == "Role" && slices.Equal(rule.Verbs, []string{"get"}) && len(rule.ResourceNames) > 0
			copies := role.Name == "reanchor-bundle-secrets" && slices.Equal(rule.Verbs, []string{"list"}) && len(rule.ResourceNames) > 0
			served := role.Kind == "Role" && role.Name == "reanchor-registrar" && slices.Equal(rule.Verbs, []string{"get", "list", "watch"}) && len(rule.ResourceNames) == 1
			keys := role.Kind == "Role" && role.Name == "reanchor-registrar-keys" && slices.Equal(rule.Verbs, []string{"get"})
			if !deleted && !named && !copies && !served && !keys {
				t.Errorf("%s: %v", name, rule)
			}
		}
	}
}

// TestNoRoleGrantsItselfMore guards against the verbs and resources by which a role
// can be left behind: other roles, impersonation, tokens, commands in pods. To write as
// another account is a component of its own, and names the accounts.
func TestNoRoleGrantsItselfMore(t *testing.T) {
	forbidden := []string{
		"escalate", "bind", "impersonate", "approve", "sign",
		"roles", "clusterroles", "rolebindings", "clusterrolebindings", "serviceaccounts/token", "pods/exec", "pods/attach", "nodes/proxy",
		"validatingadmissionpolicies", "validatingadmissionpolicybindings",
	}
	for name, role := range roles(t) {
		for _, rule := range role.Rules {
			for _, part := range slices.Concat(rule.Verbs, rule.Resources) {
				if slices.Contains(forbidden, part) && !isImpersonation(role, rule) {
					t.Errorf("%s grants %s", name, part)
				}
			}
		}
	}
}

func isImpersonation(role rbacv1.ClusterRole, rule rbacv1.PolicyRule) bool {
	return role.Kind == "Role" && role.Name == "reanchor-impersonation" && len(rule.ResourceNames) > 0 &&
		slices.Equal(rule.Resources, []string{"serviceaccounts"}) && slices.Equal(rule.Verbs, []string{"impersonate"})
}

// TestTrustDomainsAreOnlyRead: what a TrustDomain says is its owner's. The registrar's patch is
// taken back to one annotation by a policy.
func TestTrustDomainsAreOnlyRead(t *testing.T) {
	for name, role := range roles(t) {
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				allowed := map[string][]string{"trustdomains": {"get", "list", "watch"}, "trustdomains/status": {"patch"}}[resource]
				if role.Name == "reanchor-registrar" {
					allowed = []string{"get", "patch"}
				}
				if strings.HasPrefix(resource, "trustdomains") && !slices.Equal(rule.Verbs, allowed) {
					t.Errorf("%s: %v on %s", name, rule.Verbs, resource)
				}
			}
		}
	}
}

// TestPoliciesTakeBackWhatRolesCannotSay: each of them is installed, bound, and refuses when
// it cannot tell.
func TestPoliciesTakeBackWhatRolesCannotSay(t *testing.T) {
	for file, resources := range map[string][]string{
		"config_map_policy.yaml": {"configmaps"},
		"workload_policy.yaml":   {"deployments", "statefulsets", "daemonsets"},
		"secret_policy.yaml":     {"secrets"},
		"registrar/policy.yaml":  {"trustdomains"},
	} {
		installed, err := os.ReadFile(filepath.Join("../config/rbac", filepath.Dir(file), "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join("../config/rbac", file))
		if err != nil {
			t.Fatal(err)
		}
		var policy admissionv1.ValidatingAdmissionPolicy
		var binding admissionv1.ValidatingAdmissionPolicyBinding
		documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
		if err := errors.Join(documents.Decode(&policy), documents.Decode(&binding)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if !bytes.Contains(installed, []byte("\n- "+filepath.Base(file)+"\n")) || binding.Spec.PolicyName != policy.Name ||
			!slices.Equal(binding.Spec.ValidationActions, []admissionv1.ValidationAction{admissionv1.Deny}) || binding.Spec.MatchResources != nil {
			t.Errorf("%s is not installed, or not for everything: %+v", file, binding.Spec)
		}
		if rule := policy.Spec.MatchConstraints.ResourceRules[0]; *policy.Spec.FailurePolicy != admissionv1.Fail || !slices.Equal(rule.Resources, resources) {
			t.Errorf("%s: %+v", file, policy.Spec)
		}
	}
}

// TestWhatIsAddedIsNotInstalled: what reads Secrets or acts as others is a component that
// somebody has to name.
func TestWhatIsAddedIsNotInstalled(t *testing.T) {
	for _, component := range []string{"bundle-secrets", "impersonation", "registrar/keys"} {
		var file struct{ Kind string }
		content, err := os.ReadFile(filepath.Join("../config/rbac", component, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(content, &file); err != nil || file.Kind != "Component" {
			t.Errorf("%s is of kind %q, %v", component, file.Kind, err)
		}
		for _, installed := range []string{"../config/rbac/kustomization.yaml", "../config/default/kustomization.yaml"} {
			content, err := os.ReadFile(installed)
			if err != nil {
				t.Fatal(err)
			}
			var all struct{ Resources, Components []string }
			if err := yaml.Unmarshal(content, &all); err != nil || len(all.Components) > 0 || slices.ContainsFunc(all.Resources, func(r string) bool { return strings.Contains(r, component) }) {
				t.Errorf("%s installs %v and %v, %v", installed, all.Resources, all.Components, err)
			}
		}
	}
}
