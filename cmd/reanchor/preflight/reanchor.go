package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/config"
)

const install = "run kubectl apply -k config/default of this release"

// definitionName is that of TrustDomain.
const definitionName = "trustdomains.reanchor.dev"

func (l *look) reanchor(ctx context.Context) bool {
	if found := l.definition(ctx, definitionName, "v1alpha1", install); found != nil {
		l.sameDefinition(found)
	}
	l.permissions(ctx)
	l.policies(ctx)
	l.controller(ctx)
	return true
}

// sameDefinition tells whether the cluster's definition is this release's.
func (l *look) sameDefinition(found *apiextensionsv1.CustomResourceDefinition) {
	ours := &apiextensionsv1.CustomResourceDefinition{}
	mustDecode(config.Definition, ours)
	if sameSchemas(found, ours) {
		l.pass("its definition is this release's")
		return
	}
	l.warn(install+", and the controller with it", "its definition is of another release than this program")
}

func sameSchemas(a, b *apiextensionsv1.CustomResourceDefinition) bool {
	return slices.EqualFunc(a.Spec.Versions, b.Spec.Versions, func(a, b apiextensionsv1.CustomResourceDefinitionVersion) bool {
		return a.Name == b.Name && equality.Semantic.DeepEqual(a.Schema, b.Schema)
	})
}

// mustDecode reads the first document of one of our manifests, which are known to be right.
func mustDecode(path string, into any) {
	text, err := config.Manifests.ReadFile(path)
	if err == nil {
		first, _, _ := strings.Cut(string(text), "\n---\n")
		err = yaml.Unmarshal([]byte(strings.TrimPrefix(first, "---\n")), into)
	}
	if err != nil {
		panic(fmt.Sprintf("%s of this program: %v", path, err))
	}
}

// permissions tells what the controller's account lacks.
func (l *look) permissions(ctx context.Context) {
	account := "ServiceAccount " + l.options.Namespace + "/" + l.options.Account
	err := l.Get(ctx, client.ObjectKey{Namespace: l.options.Namespace, Name: l.options.Account}, &corev1.ServiceAccount{})
	switch {
	case isAbsent(err):
		l.fail(install+", or give --controller-namespace and --controller-account", "there is no %s", account)
		return
	case err != nil:
		l.unseen(account, err)
		return
	}
	var inCluster, inNamespace rbacv1.ClusterRole // a Role has the same fields
	mustDecode(config.ClusterRole, &inCluster)
	mustDecode(config.LeaderElection, &inNamespace)
	needed := append(rights("", inCluster.Rules), rights(l.options.Namespace, inNamespace.Rules)...)
	lacking, err := l.lacking(ctx, needed)
	switch {
	case err != nil:
		l.unseen("what "+account+" may do", err)
	case len(lacking) > 0:
		l.fail("run kubectl apply -k config/rbac of this release", "%s may not %s", account, sentence(lacking))
	default:
		l.pass("%s may do what it must: %d rights", account, len(needed))
	}
}

// rights are what rules grant, one by one, in a namespace or, if that is empty, everywhere.
func rights(namespace string, rules []rbacv1.PolicyRule) []authorizationv1.ResourceAttributes {
	var all []authorizationv1.ResourceAttributes
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, name := range rule.Resources {
				resource, subresource, _ := strings.Cut(name, "/")
				for _, verb := range rule.Verbs {
					all = append(all, authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: group, Resource: resource, Subresource: subresource})
				}
			}
		}
	}
	return all
}

// atOnce is how many questions are asked side by side.
const atOnce = 8

// lacking are those of the rights that the controller's account has not, in their order.
func (l *look) lacking(ctx context.Context, needed []authorizationv1.ResourceAttributes) ([]string, error) {
	answers, errs := make([]bool, len(needed)), make([]error, len(needed))
	free := make(chan struct{}, atOnce)
	var pool sync.WaitGroup
	for at := range needed {
		free <- struct{}{}
		pool.Go(func() {
			answers[at], errs[at] = l.may(ctx, needed[at])
			<-free
		})
	}
	pool.Wait()
	var lacking []string
	for at, right := range needed {
		if errs[at] != nil {
			return nil, errs[at]
		}
		if !answers[at] {
			lacking = append(lacking, worded(right))
		}
	}
	return lacking, nil
}

func (l *look) may(ctx context.Context, right authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               "system:serviceaccount:" + l.options.Namespace + ":" + l.options.Account,
		Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + l.options.Namespace, "system:authenticated"},
		ResourceAttributes: &right,
	}}
	err := l.Create(ctx, review)
	return review.Status.Allowed, err
}

// worded is "patch certificates/status.cert-manager.io".
func worded(right authorizationv1.ResourceAttributes) string {
	name := right.Resource
	if right.Subresource != "" {
		name += "/" + right.Subresource
	}
	if right.Group != "" {
		name += "." + right.Group
	}
	return right.Verb + " " + name
}

// shown is how many of a list are named.
const shown = 5

// sentence of a list: its first entries, and how many more there are.
func sentence(list []string) string {
	if more := len(list) - shown; more > 0 {
		return fmt.Sprintf("%s, and %d more", strings.Join(list[:shown], ", "), more)
	}
	return strings.Join(list, ", ")
}

// policies tells whether the admission policies stand that bound the controller's account.
func (l *look) policies(ctx context.Context) {
	for _, path := range config.Policies {
		var ours admissionv1.ValidatingAdmissionPolicy
		mustDecode(path, &ours)
		key := client.ObjectKey{Name: ours.Name}
		policy := l.Get(ctx, key, &admissionv1.ValidatingAdmissionPolicy{})
		binding := l.Get(ctx, key, &admissionv1.ValidatingAdmissionPolicyBinding{})
		switch {
		case isAbsent(policy) || isAbsent(binding):
			l.fail("run kubectl apply -k config/rbac of this release", "the admission policy %s is not in force: the controller may do more than it must", ours.Name)
		case policy != nil:
			l.unseen("the admission policy "+ours.Name, policy)
		case binding != nil:
			l.unseen("the binding of the admission policy "+ours.Name, binding)
		default:
			l.pass("the admission policy %s is in force", ours.Name)
		}
	}
}

// controllerLabels are those of the controller's Deployments.
var controllerLabels = client.MatchingLabels{labelName: "reanchor", "app.kubernetes.io/component": "controller"}

// leasePrefix begins the names of the controller's leases, one for each shard.
const leasePrefix = "reanchor-controller"

// controller tells whether one runs and leads.
func (l *look) controller(ctx context.Context) {
	var deployments appsv1.DeploymentList
	if err := l.List(ctx, &deployments, client.InNamespace(l.options.Namespace), controllerLabels); err != nil {
		l.unseen("the controller's Deployment", err)
		return
	}
	for _, deployment := range deployments.Items {
		l.available(deployment, "see why")
	}
	var leases coordinationv1.LeaseList
	if err := l.List(ctx, &leases, client.InNamespace(l.options.Namespace)); err != nil {
		l.unseen("the controller's lease", err)
		return
	}
	leases.Items = slices.DeleteFunc(leases.Items, func(lease coordinationv1.Lease) bool { return !strings.HasPrefix(lease.Name, leasePrefix) })
	for _, lease := range leases.Items {
		l.tell(judgeLease(l.section, lease, l.now))
	}
	switch {
	case len(deployments.Items) == 0 && len(leases.Items) == 0:
		l.fail(install, "no controller runs in namespace %s", l.options.Namespace)
	case len(deployments.Items) == 0:
		l.warn("see yourself that it is started again when it ends", "no Deployment of the controller is in namespace %s", l.options.Namespace)
	case len(leases.Items) == 0:
		l.warn("give the controller --leader-elect, so that a second replica may stand by", "no controller has asked for the lease yet")
	}
}

// judgeLease says whether a controller leads.
func judgeLease(section string, lease coordinationv1.Lease, now time.Time) Result {
	holder, renewed, lasts := lease.Spec.HolderIdentity, lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds
	if holder == nil || *holder == "" || renewed == nil || lasts == nil {
		return Result{section, Failed, "nobody holds the lease " + lease.Name, "see that the controller runs: it takes the lease within a minute"}
	}
	age := max(now.Sub(renewed.Time), 0).Round(time.Second)
	if age > time.Duration(*lasts)*time.Second {
		return Result{section, Failed, fmt.Sprintf("the lease %s was renewed %s ago, and is held for %ds", lease.Name, age, *lasts), "see why the controller does not run"}
	}
	return Result{Section: section, Outcome: Passed, Found: fmt.Sprintf("%s leads, by the lease %s", *holder, lease.Name)}
}
