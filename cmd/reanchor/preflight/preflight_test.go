package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	fluxmeta "github.com/fluxcd/pkg/apis/meta"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/config"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// site is a cluster that is as it should be, until something is changed.
type site struct {
	objects []client.Object
	server  Server
	failing error // of the API server
	webhook error // what a Certificate that must be refused is answered
	lacks   string
	refuse  error // what reading anything is answered
}

func definition(name, version string) *apiextensionsv1.CustomResourceDefinition {
	policy := apiextensionsv1.JSONSchemaProps{Properties: map[string]apiextensionsv1.JSONSchemaProps{"policy": {}}}
	spec := apiextensionsv1.JSONSchemaProps{Properties: map[string]apiextensionsv1.JSONSchemaProps{"renewal": policy}}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{labelVersion: "v1.21.2"}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
			Name: version, Served: true,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": spec}}},
		}}},
		Status: apiextensionsv1.CustomResourceDefinitionStatus{Conditions: []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue}}},
	}
}

func deployment(namespace, name, program string) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{labelName: program, labelVersion: "v1", "app.kubernetes.io/component": "controller"}},
		Status:     appsv1.DeploymentStatus{AvailableReplicas: 1},
	}
}

func ptr[T any](value T) *T { return &value }

func lease(renewed time.Time) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "reanchor-system", Name: "reanchor-controller"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr("pod-1"), RenewTime: &metav1.MicroTime{Time: renewed}, LeaseDurationSeconds: ptr[int32](35)},
	}
}

func ready(status metav1.ConditionStatus) *v1alpha1.TrustDomain {
	return &v1alpha1.TrustDomain{
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "fleet"},
		Status:     v1alpha1.TrustDomainStatus{Conditions: []metav1.Condition{{Type: fluxmeta.ReadyCondition, Status: status, Reason: "Said", Message: "so"}}},
	}
}

func newSite() *site {
	s := &site{server: Server{Address: "https://api", GitVersion: "v1.36.4", Date: noon}, webhook: errors.New(`admission webhook "x" denied the request: no`)}
	for _, name := range certManagerDefinitions {
		s.objects = append(s.objects, definition(name+".cert-manager.io", "v1"))
	}
	ours := &apiextensionsv1.CustomResourceDefinition{}
	mustDecode(config.Definition, ours)
	ours.Status.Conditions = definition("", "").Status.Conditions
	s.objects = append(s.objects, ours, definition(bundleDefinition, "v1alpha1"),
		deployment("cert-manager", "cert-manager", "cert-manager"), deployment("cert-manager", "trust-manager", "trust-manager"),
		deployment("reanchor-system", "reanchor-controller", "reanchor"), lease(noon.Add(-10*time.Second)), ready(metav1.ConditionTrue),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "reanchor-system", Name: "reanchor-controller"}})
	for _, path := range config.Policies {
		var policy admissionv1.ValidatingAdmissionPolicy
		mustDecode(path, &policy)
		s.objects = append(s.objects, &policy, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: policy.Name}})
	}
	return s
}

// without the object of a name.
func (s *site) without(name string) {
	s.objects = slices.DeleteFunc(s.objects, func(o client.Object) bool { return o.GetName() == name })
}

// edit the first object of a type and name.
func edit[T client.Object](s *site, name string, change func(T)) {
	for _, object := range s.objects {
		if typed, is := object.(T); is && object.GetName() == name {
			change(typed)
		}
	}
}

// look at the site.
func (s *site) look(t *testing.T) []Result {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(AddToScheme(scheme), appsv1.AddToScheme(scheme), corev1.AddToScheme(scheme), certmanagerv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithObjects(s.objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if s.refuse != nil {
				return s.refuse
			}
			return c.Get(ctx, key, object, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if s.refuse != nil {
				return s.refuse
			}
			return c.List(ctx, list, options...)
		},
		Create: func(_ context.Context, _ client.WithWatch, object client.Object, options ...client.CreateOption) error {
			if review, is := object.(*authorizationv1.SubjectAccessReview); is {
				review.Status.Allowed = s.lacks == "" || !strings.HasSuffix(worded(*review.Spec.ResourceAttributes), s.lacks)
				return nil
			}
			if !slices.Contains(options, client.CreateOption(client.DryRunAll)) {
				t.Errorf("%T is created", object)
			}
			return s.webhook
		},
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			t.Error("something is changed")
			return nil
		},
	}).Build()
	var results []Result
	Run(t.Context(), Cluster{
		Client: cluster, Now: func() time.Time { return noon },
		Server: func(context.Context) (Server, error) { return s.server, s.failing },
	}, Options{Namespace: "reanchor-system", Account: "reanchor-controller"}, func(r Result) { results = append(results, r) })
	return results
}

func TestAClusterAsItShouldBe(t *testing.T) {
	results := newSite().look(t)
	var sections []string
	for _, r := range results {
		if r.Outcome != Passed || r.Hint != "" || r.Found == "" {
			t.Errorf("%+v", r)
		}
		sections = append(sections, r.Section)
	}
	if got := slices.Compact(sections); fmt.Sprint(got) != "[kubernetes cert-manager trust-manager reanchor trustdomains]" {
		t.Errorf("sections %v", got)
	}
}

// TestWhatIsFound: each thing that is not as it should be is told once, with what to do.
func TestWhatIsFound(t *testing.T) {
	gone := func(name string) func(*site) { return func(s *site) { s.without(name) } }
	for name, test := range map[string]struct {
		change  func(*site)
		outcome Outcome
		found   string
		hint    string
	}{
		"an old Kubernetes":     {func(s *site) { s.server.GitVersion = "v1.29.9" }, Failed, "it runs Kubernetes v1.29.9", "upgrade it to 1.30"},
		"an odd Kubernetes":     {func(s *site) { s.server.GitVersion = "mine" }, Warned, `its version "mine"`, "1.30 or newer"},
		"clocks a little apart": {func(s *site) { s.server.Date = noon.Add(-time.Minute) }, Warned, "59s apart", "NTP"},
		"clocks far apart": {func(s *site) {
			s.server.Date = noon.Add(6 * time.Minute)
			edit(s, "reanchor-controller", func(l *coordinationv1.Lease) { l.Spec.RenewTime.Time = s.server.Date })
		}, Failed, "6m0s apart", "NTP"},
		"no date":         {func(s *site) { s.server.Date = time.Time{} }, Warned, "does not say what time it is", "by hand"},
		"no cert-manager": {gone("issuers.cert-manager.io"), Failed, "does not know issuers.cert-manager.io", "install cert-manager 1.21"},
		"another version of it": {func(s *site) {
			edit(s, "issuers.cert-manager.io", func(d *apiextensionsv1.CustomResourceDefinition) { d.Spec.Versions[0].Served = false })
		}, Failed, "is not served in version v1", "install cert-manager"},
		"a definition that is new": {func(s *site) {
			edit(s, "issuers.cert-manager.io", func(d *apiextensionsv1.CustomResourceDefinition) { d.Status.Conditions = nil })
		}, Failed, "is not served", "install cert-manager"},
		"an old cert-manager": {func(s *site) {
			edit(s, "certificates.cert-manager.io", func(d *apiextensionsv1.CustomResourceDefinition) {
				d.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties = nil
			})
		}, Failed, "not so: Certificates know renewal.policy (cert-manager v1.21.2)", "upgrade cert-manager"},
		"no webhook":             {func(s *site) { s.webhook = nil }, Warned, "the webhook was not asked", "webhook runs"},
		"a webhook that is down": {func(s *site) { s.webhook = errors.New(`failed calling webhook "x": refused`) }, Failed, "the webhook does not answer", "webhook runs"},
		"who may not ask":        {func(s *site) { s.webhook = errors.New("forbidden") }, Warned, "the webhook could not be asked: forbidden", "ask somebody"},
		"cert-manager is down":   {func(s *site) { edit(s, "cert-manager", func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 0 }) }, Failed, "Deployment cert-manager/cert-manager is not available", "kubectl describe"},
		"cert-manager elsewhere": {gone("cert-manager"), Warned, "whether it runs is not known", "see yourself"},
		"no trust-manager":       {gone(bundleDefinition), Warned, "it is not installed", "via: ConfigMap"},
		"another definition": {func(s *site) {
			edit(s, definitionName, func(d *apiextensionsv1.CustomResourceDefinition) {
				d.Spec.Versions[0].Schema.OpenAPIV3Schema.Description = "old"
			})
		}, Warned, "of another release", "kubectl apply -k config/default"},
		"a permission less": {func(s *site) { s.lacks = "patch certificates/status.cert-manager.io" }, Failed, "may not patch certificates/status.cert-manager.io", "config/rbac"},
		"many less":         {func(s *site) { s.lacks = ".cert-manager.io" }, Failed, " more", "config/rbac"},
		"no account": {func(s *site) {
			s.objects = slices.DeleteFunc(s.objects, func(o client.Object) bool { _, is := o.(*corev1.ServiceAccount); return is })
		}, Failed, "there is no ServiceAccount reanchor-system/reanchor-controller", "--controller-account"},
		"a policy less": {func(s *site) { s.without("reanchor-secrets") }, Failed, "the admission policy reanchor-secrets is not in force", "config/rbac"},
		"nobody leads": {func(s *site) {
			edit(s, "reanchor-controller", func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil })
		}, Failed, "nobody holds the lease", "see that the controller runs"},
		"the leader is gone": {func(s *site) {
			edit(s, "reanchor-controller", func(l *coordinationv1.Lease) { l.Spec.RenewTime.Time = noon.Add(-time.Minute) })
		}, Failed, "was renewed 1m0s ago, and is held for 35s", "see why"},
		"no lease": {func(s *site) {
			s.objects = slices.DeleteFunc(s.objects, func(o client.Object) bool { _, is := o.(*coordinationv1.Lease); return is })
		}, Warned, "no controller has asked for the lease", "--leader-elect"},
		"a controller by hand": {func(s *site) {
			s.objects = slices.DeleteFunc(s.objects, func(o client.Object) bool {
				_, is := o.(*appsv1.Deployment)
				return is && o.GetNamespace() == "reanchor-system"
			})
		}, Warned, "no Deployment of the controller", "see yourself"},
		"no TrustDomain":        {gone("fleet"), Warned, "there is none", "reanchor init"},
		"one that is suspended": {func(s *site) { edit(s, "fleet", func(d *v1alpha1.TrustDomain) { d.Spec.Suspend = true }) }, Warned, "plant/fleet is suspended", "reanchor resume fleet -n plant"},
		"one that is not ready": {func(s *site) {
			edit(s, "fleet", func(d *v1alpha1.TrustDomain) { d.Status.Conditions[0].Status = metav1.ConditionFalse })
		}, Failed, "plant/fleet is not ready: Said: so", "reanchor status fleet -n plant"},
		"one that nobody looked at": {func(s *site) { edit(s, "fleet", func(d *v1alpha1.TrustDomain) { d.Status.Conditions = nil }) }, Warned, "no controller has seen", "try again"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite()
			test.change(s)
			var amiss []Result
			for _, r := range s.look(t) {
				if r.Outcome != Passed {
					amiss = append(amiss, r)
				}
			}
			if len(amiss) != 1 || amiss[0].Outcome != test.outcome || !strings.Contains(amiss[0].Found, test.found) || !strings.Contains(amiss[0].Hint, test.hint) {
				t.Errorf("got %+v", amiss)
			}
		})
	}
}

func TestAServerThatDoesNotAnswer(t *testing.T) {
	s := newSite()
	s.failing = errors.New("refused")
	if results := s.look(t); len(results) != 1 || results[0].Outcome != Failed || results[0].Hint == "" {
		t.Errorf("got %+v", results)
	}
}

// TestForbiddenIsNoFailure: what may not be seen may be as it should be.
func TestForbiddenIsNoFailure(t *testing.T) {
	s := newSite()
	s.refuse = apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "", errors.New("no"))
	warned := 0
	for _, r := range s.look(t) {
		if r.Outcome == Failed {
			t.Errorf("%+v", r)
		}
		if r.Outcome == Warned && r.Hint == "ask somebody who may read it" {
			warned++
		}
	}
	if warned < 8 {
		t.Errorf("%d warnings", warned)
	}
	s.refuse = errors.New("busy")
	if !slices.ContainsFunc(s.look(t), func(r Result) bool { return r.Outcome == Failed && strings.Contains(r.Found, "busy") }) {
		t.Error("a server that is busy is no failure")
	}
}

// TestSkewIsMeasuredBetween the readings of our clock, for the server's is in whole seconds.
func TestSkewIsMeasuredBetween(t *testing.T) {
	before, after := noon.Add(300*time.Millisecond), noon.Add(2300*time.Millisecond)
	for date, want := range map[time.Time]time.Duration{
		noon: 0, noon.Add(time.Second): 0, noon.Add(2 * time.Second): 0,
		noon.Add(12300 * time.Millisecond): 10 * time.Second, noon.Add(-10700 * time.Millisecond): 10 * time.Second,
	} {
		if got := skewBetween(before, after, date).Abs(); got != want {
			t.Errorf("%s: got %s, want %s", date, got, want)
		}
	}
}
