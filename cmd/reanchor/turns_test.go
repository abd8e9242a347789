package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// watched tells by a channel that it closes when somebody watches: a cluster in memory
// forgets what happens between a list and a watch.
func watched() (<-chan struct{}, func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) (watch.Interface, error)) {
	begun := make(chan struct{})
	var once sync.Once
	return begun, func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
		defer once.Do(func() { close(begun) })
		return c.Watch(ctx, list, options...)
	}
}

// answering is a cluster whose controller takes a turn whenever one is asked for, which
// changes the status.
func answering(t *testing.T, change func(*v1alpha1.TrustDomain), objects ...client.Object) *cluster {
	t.Helper()
	var turns sync.WaitGroup
	t.Cleanup(turns.Wait)
	begun, watches := watched()
	return fakeCluster(t, interceptor.Funcs{
		Watch: watches,
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			if err := c.Patch(ctx, object, patch, options...); err != nil {
				return err
			}
			domain := object.DeepCopyObject().(*v1alpha1.TrustDomain) // what is answered, when it was sent
			turns.Go(func() {
				select {
				case <-begun:
				case <-t.Context().Done(): // nobody waits for the turn
					return
				}
				domain.Status.LastHandledReconcileAt = domain.Annotations[meta.ReconcileRequestAnnotation]
				domain.Status.ObservedGeneration = domain.Generation
				change(domain)
				if err := c.Status().Update(ctx, domain); err != nil {
					t.Error(err)
				}
			})
			return nil
		},
	}, objects...)
}

func nothing(*v1alpha1.TrustDomain) {}

func notReady(d *v1alpha1.TrustDomain) {
	apimeta.SetStatusCondition(&d.Status.Conditions, metav1.Condition{Type: meta.ReadyCondition, Status: metav1.ConditionFalse, Reason: "BuildFailed", Message: "pki.yaml:3: no"})
}

func TestATurnIsAskedForAndWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.TrustDomain)
		has    string
		fails  string
	}{
		"ready": {nothing, "plant/fleet  True", ""},
		"not":   {notReady, "  pki.yaml:3: no\n", "TrustDomain plant/fleet is not ready: BuildFailed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := answering(t, test.change, fleetDomain())
			domain, err := c.domainNamed(t.Context(), "fleet")
			if err != nil {
				t.Fatal(err)
			}
			cmd, stdout, stderr := command(t.Context())
			err = c.takeTurn(cmd, domain, asked(domain, noon), time.Minute)
			if (err != nil || test.fails != "") && (err == nil || err.Error() != test.fails) {
				t.Errorf("got %v", err)
			}
			if !strings.Contains(stdout.String(), test.has) || stderr.String() != "reanchor: asked for a turn of plant/fleet\n" {
				t.Errorf("got\n%s\n%s", stdout, stderr)
			}
		})
	}
}

func TestAnEarlierTurnIsNoAnswer(t *testing.T) {
	request := noon.Format(time.RFC3339Nano)
	answered := func(change ...func(*v1alpha1.TrustDomain)) *v1alpha1.TrustDomain {
		return fleetDomain(append([]func(*v1alpha1.TrustDomain){func(d *v1alpha1.TrustDomain) { d.Status.LastHandledReconcileAt = request }}, change...)...)
	}
	for name, test := range map[string]struct {
		domain *v1alpha1.TrustDomain
		want   bool
	}{
		"answered":         {answered(), true},
		"not ready":        {answered(notReady), true},
		"another's answer": {fleetDomain(), false},
		"an earlier spec":  {answered(func(d *v1alpha1.TrustDomain) { d.Status.ObservedGeneration = 1 }), false},
		"not settled":      {answered(func(d *v1alpha1.TrustDomain) { d.Status.Conditions[0].Status = metav1.ConditionUnknown }), false},
		"no condition":     {answered(func(d *v1alpha1.TrustDomain) { d.Status.Conditions = nil }), false},
	} {
		if got := hadTurn(test.domain, request, 2); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestATurnThatDoesNotCome(t *testing.T) {
	c := fakeCluster(t, interceptor.Funcs{}, fleetDomain())
	domain, err := c.domainNamed(t.Context(), "fleet")
	if err != nil {
		t.Fatal(err)
	}
	cmd, stdout, _ := command(t.Context())
	err = c.takeTurn(cmd, domain, asked(domain, noon), 50*time.Millisecond)
	if want := "not within 50ms: the turn was taken: see with reanchor check whether a controller runs, or give a longer --timeout"; err == nil || err.Error() != want || stdout.Len() > 0 {
		t.Errorf("got %v and %s", err, stdout)
	}
	interrupted, stop := context.WithCancel(t.Context())
	stop()
	if _, err := c.await(interrupted, selection{"plant", "fleet"}, time.Minute, "it was so", func(*v1alpha1.TrustDomain) bool { return false }); err == nil || err.Error() != "interrupted before it was so" {
		t.Errorf("got %v", err)
	}
	if err := c.takeTurn(cmd, domain, asked(domain, noon), 0); err != nil {
		t.Errorf("not to be waited for: %v", err)
	}
}

func TestSuspendAndResumeSayWhatChanged(t *testing.T) {
	c := answering(t, nothing, fleetDomain())
	domain, err := c.domainNamed(t.Context(), "fleet")
	if err != nil {
		t.Fatal(err)
	}
	suspended := domain.DeepCopy()
	suspended.Spec.Suspend = true
	if err := c.change(t.Context(), domain, suspended); err != nil {
		t.Fatal(err)
	}
	if now, err := c.domainNamed(t.Context(), "fleet"); err != nil || !now.Spec.Suspend || now.Spec.Source != domain.Spec.Source {
		t.Errorf("%+v, %v", now, err)
	}
}

// TestWatchTellsWhatChanges, and nothing that does not.
func TestWatchTellsWhatChanges(t *testing.T) {
	watching, watches := watched()
	c := fakeCluster(t, interceptor.Funcs{Watch: watches}, fleetDomain())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out bytes.Buffer
	tell := tellTo(&out, "table")
	begun := false
	move := func(change func(*v1alpha1.TrustDomain)) {
		domain, err := c.domainNamed(t.Context(), "fleet")
		if err != nil {
			t.Error(err)
			return
		}
		change(domain)
		if err := c.Status().Update(t.Context(), domain); err != nil {
			t.Error(err)
		}
	}
	err := c.follow(ctx, selection{namespace: "plant"}, func(domain *v1alpha1.TrustDomain) error {
		s := standingOf(*domain)
		switch {
		case !begun:
			begun = true
			if err := tell.all([]standing{s}); err != nil {
				return err
			}
			out.Reset()
			<-watching
			move(func(d *v1alpha1.TrustDomain) { d.Status.Gates = []v1alpha1.Gate{{Name: "x", Since: ago(0)}} }) // which is not told
			move(func(d *v1alpha1.TrustDomain) {
				d.Status.Rollovers[0].Phase, d.Status.Rollovers[0].Holds = "Switch", nil
			})
			return nil
		case s.Rollovers[0].Phase == "Switch":
			defer stop()
		}
		return tell.changed(s)
	})
	const want = `
12:00:00  plant/fleet  Switch  main@sha1:0551eb0104cc
  cert-manager/fleet-root  Switch   2025 → 2026  12s   1 of 2 copies hold 2026
  plant/press              Settled  a            2d1h  a signs
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}
