package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/cmd/reanchor/preflight"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.Time{Time: noon.Add(-d)} }

// fleetDomain is a TrustDomain that rolls over.
func fleetDomain(change ...func(*v1alpha1.TrustDomain)) *v1alpha1.TrustDomain {
	domain := &v1alpha1.TrustDomain{
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "fleet", Generation: 2},
		Spec:       v1alpha1.TrustDomainSpec{Source: v1alpha1.Source{URL: "https://git.example.com/pki.git", Ref: v1alpha1.Reference{Branch: "main"}}, Prune: true},
		Status: v1alpha1.TrustDomainStatus{
			ObservedGeneration:    2,
			Conditions:            []metav1.Condition{{Type: meta.ReadyCondition, Status: metav1.ConditionTrue, Reason: "Succeeded", Message: "Applied", LastTransitionTime: ago(5 * time.Minute)}},
			LastAppliedRevision:   "main@sha1:0551eb0104cc0551eb0104cc0551eb0104cc0551",
			LastAttemptedRevision: "main@sha1:0551eb0104cc0551eb0104cc0551eb0104cc0551",
			Rollovers: []v1alpha1.RolloverStatus{
				{
					Authority: "cert-manager/fleet-root", From: "2025", To: "2026", Phase: "Distribute", Since: ago(12 * time.Second), Progress: "1 of 2 copies hold 2026",
					Holds: []string{"copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (0551eb0104cc) yet"},
				},
				{Authority: "plant/press", From: "a", To: "a", Phase: "Settled", Since: ago(49 * time.Hour), Progress: "a signs"},
			},
		},
	}
	for _, edit := range change {
		edit(domain)
	}
	return domain
}

// fakeCluster holds objects in memory.
func fakeCluster(t *testing.T, functions interceptor.Funcs, objects ...client.Object) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(applier.AddToScheme(scheme), preflight.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	named := func(object client.Object) []string { return []string{object.GetName()} }
	made := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.TrustDomain{}).
		WithIndex(&v1alpha1.TrustDomain{}, "metadata.name", named).WithIndex(&corev1.ConfigMap{}, "metadata.name", named).
		WithReturnManagedFields().WithInterceptorFuncs(functions).Build()
	for _, object := range objects { // the status is not taken with the object
		if domain, is := object.(*v1alpha1.TrustDomain); is {
			stored := domain.DeepCopy()
			if err := made.Get(t.Context(), client.ObjectKeyFromObject(domain), stored); err != nil {
				t.Fatal(err)
			}
			stored.Status = domain.Status
			if err := made.Status().Update(t.Context(), stored); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &cluster{WithWatch: made, namespace: "plant"}
}

// command that talks to buffers.
func command(ctx context.Context) (cmd *cobra.Command, stdout, stderr *bytes.Buffer) {
	cmd, stdout, stderr = &cobra.Command{}, &bytes.Buffer{}, &bytes.Buffer{}
	cmd.SetContext(ctx)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	return cmd, stdout, stderr
}

func tellTo(out *bytes.Buffer, format string) *teller {
	return newTeller(out, format, func() time.Time { return noon })
}

func TestStatusTable(t *testing.T) {
	lonely := &v1alpha1.TrustDomain{ObjectMeta: metav1.ObjectMeta{Namespace: "alpha", Name: "new", Generation: 1}}
	failing := fleetDomain(func(d *v1alpha1.TrustDomain) {
		d.Name, d.Status.Rollovers = "broken", nil
		d.Status.LastAttemptedRevision = "main@sha1:ffffffffffffffffffffffffffffffffffffffff"
		d.Status.Holds = []string{"bundle: old: somebody mounts it"}
		apimeta.SetStatusCondition(&d.Status.Conditions, metav1.Condition{Type: meta.ReadyCondition, Status: metav1.ConditionFalse, Reason: "BuildFailed", Message: "pki.yaml:3: spec: no"})
		d.Status.Conditions[0].LastTransitionTime = ago(time.Hour)
	})
	idle := fleetDomain(func(d *v1alpha1.TrustDomain) { d.Name, d.Spec.Suspend, d.Generation = "idle", true, 3 })
	changed := fleetDomain(func(d *v1alpha1.TrustDomain) { d.Name, d.Generation, d.Status.Rollovers = "later", 3, nil })
	var out bytes.Buffer
	all := []v1alpha1.TrustDomain{*idle, *failing, *changed, *fleetDomain(), *lonely}
	if err := tellTo(&out, "table").all(standings(all)); err != nil {
		t.Fatal(err)
	}
	const want = `TRUSTDOMAIN   READY    SINCE  REVISION                STATE
alpha/new     Unknown  -      none                    NotSeen
plant/broken  False    60m    main@sha1:0551eb0104cc  BuildFailed
plant/fleet   True     5m     main@sha1:0551eb0104cc  Distribute
plant/idle    True     5m     main@sha1:0551eb0104cc  Suspended
plant/later   Unknown  5m     main@sha1:0551eb0104cc  Outdated

alpha/new
  no controller has looked at it yet: see reanchor check

plant/broken
  pki.yaml:3: spec: no
  tried main@sha1:ffffffffffff since
  · bundle: old: somebody mounts it

plant/fleet
  cert-manager/fleet-root  Distribute  2025 → 2026  12s   1 of 2 copies hold 2026
    · copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (0551eb0104cc) yet
  plant/press              Settled     a            2d1h  a signs

plant/idle
  suspended: it has no turns until reanchor resume idle -n plant
  cert-manager/fleet-root  Distribute  2025 → 2026  12s   1 of 2 copies hold 2026
    · copies: ConfigMap plant/fleet-trust: does not hold Fleet Root 2026 (0551eb0104cc) yet
  plant/press              Settled     a            2d1h  a signs

plant/later
  no controller has seen its latest change yet: see reanchor check if it stays so
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// TestColoursTakeNoRoom: with colours the columns are where they are without.
func TestColoursTakeNoRoom(t *testing.T) {
	var plainly, painted bytes.Buffer
	for out, paint := range map[*bytes.Buffer]palette{&plainly: {}, &painted: {colours: true}} {
		tell := tellTo(out, "table")
		tell.paint = paint
		if err := tell.all(standings([]v1alpha1.TrustDomain{*fleetDomain()})); err != nil {
			t.Fatal(err)
		}
	}
	text := painted.String()
	for _, colour := range []string{green, cyan, yellow, bold} {
		if !strings.Contains(text, "\x1b["+colour+"m") {
			t.Errorf("nothing is painted %s", colour)
		}
		text = strings.ReplaceAll(text, "\x1b["+colour+"m", "")
	}
	if text = strings.ReplaceAll(text, "\x1b[0m", ""); text != plainly.String() {
		t.Errorf("painted\n%s\nplain\n%s", text, plainly.String())
	}
}

func TestNoColourElsewhereThanOnATerminal(t *testing.T) {
	if paletteFor(&bytes.Buffer{}).colours {
		t.Error("a buffer gets colours")
	}
}

func TestStatusForPrograms(t *testing.T) {
	var out bytes.Buffer
	if err := tellTo(&out, "json").all(standings([]v1alpha1.TrustDomain{*fleetDomain()})); err != nil {
		t.Fatal(err)
	}
	var read []standing
	if err := json.Unmarshal(out.Bytes(), &read); err != nil || len(read) != 1 || read[0].Rollovers[0].Phase != "Distribute" || read[0].Ready != metav1.ConditionTrue {
		t.Errorf("%+v, %v", read, err)
	}
	out.Reset()
	if err := tellTo(&out, "json").all(standings(nil)); err != nil || out.String() != "[]\n" {
		t.Errorf("none is %q, %v", out.String(), err)
	}
	out.Reset()
	if err := tellTo(&out, "yaml").all(standings([]v1alpha1.TrustDomain{*fleetDomain()})); err != nil || !strings.HasPrefix(out.String(), "---\n- message: Applied\n  name: fleet\n") {
		t.Errorf("%s, %v", out.String(), err)
	}
}

func TestStatusOfANamespace(t *testing.T) {
	elsewhere := fleetDomain(func(d *v1alpha1.TrustDomain) { d.Namespace = "elsewhere" })
	c := fakeCluster(t, interceptor.Funcs{}, fleetDomain(), elsewhere)
	for name, test := range map[string]struct {
		wanted      selection
		has, hasNot string
		talk, fails string
	}{
		"a namespace": {wanted: selection{namespace: "plant"}, has: "plant/fleet", hasNot: "elsewhere"},
		"all":         {has: "elsewhere/fleet"},
		"one":         {wanted: selection{"plant", "fleet"}, has: "plant/fleet", hasNot: "elsewhere"},
		"none there":  {wanted: selection{namespace: "empty"}, talk: "there is no TrustDomain in namespace empty: give --namespace, or -A for all"},
		"no such one": {wanted: selection{"plant", "other"}, fails: "there is no TrustDomain plant/other: list those that there are with reanchor status -A"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, stdout, stderr := command(t.Context())
			err := c.status(cmd, test.wanted, tellTo(stdout, "table"), false)
			if test.fails != "" {
				if err == nil || err.Error() != test.fails {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil || !strings.Contains(stdout.String(), test.has) || test.hasNot != "" && strings.Contains(stdout.String(), test.hasNot) || !strings.Contains(stderr.String(), test.talk) {
				t.Errorf("%v\n%s\n%s", err, stdout, stderr)
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	resource := schema.GroupResource{Group: "reanchor.dev", Resource: "trustdomains"}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"not installed": {&apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "reanchor.dev", Kind: "TrustDomain"}}, "reanchor is not installed here: run kubectl apply -k config/default"},
		"forbidden":     {apierrors.NewForbidden(resource, "", errors.New("no")), "ask for a role that grants it, such as reanchor-observer"},
		"who are you":   {apierrors.NewUnauthorized("no"), "see that the cluster runs, and that --kubeconfig and --context are right"},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakeCluster(t, interceptor.Funcs{
				List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
					return test.err
				},
				Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
					return test.err
				},
			})
			_, listed := c.domainNamed(t.Context(), "")
			_, gotten := c.domainNamed(t.Context(), "fleet")
			for _, err := range []error{listed, gotten} {
				if err == nil || !strings.HasSuffix(err.Error(), ": "+test.want) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestWhichDomain(t *testing.T) {
	other := fleetDomain(func(d *v1alpha1.TrustDomain) { d.Name = "other" })
	if domain, err := fakeCluster(t, interceptor.Funcs{}, fleetDomain()).domainNamed(t.Context(), ""); err != nil || domain.Name != "fleet" {
		t.Errorf("the only one: %v, %v", domain, err)
	}
	if _, err := fakeCluster(t, interceptor.Funcs{}).domainNamed(t.Context(), ""); err == nil || !strings.HasPrefix(err.Error(), "there is no TrustDomain in namespace plant: ") {
		t.Errorf("none: %v", err)
	}
	if _, err := fakeCluster(t, interceptor.Funcs{}, fleetDomain(), other).domainNamed(t.Context(), ""); err == nil || err.Error() != "namespace plant has several TrustDomains: name one of fleet, other" {
		t.Errorf("two: %v", err)
	}
}
