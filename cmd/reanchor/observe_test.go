package main

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
)

func clock() time.Time { return noon }

func observed(t *testing.T, c *cluster, domain *v1alpha1.TrustDomain) planner.Observation {
	t.Helper()
	_, read := folderWith(t, siteFiles)
	made, err := c.observe(t.Context(), domain, read, v1alpha1.DefaultClusterResourceNamespace, clock)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestObserveACluster(t *testing.T) {
	domain := fleetDomain(func(d *v1alpha1.TrustDomain) {
		d.Status.Gates = []v1alpha1.Gate{{Name: "soak", Since: ago(time.Minute)}}
	})
	made := observed(t, siteCluster(t, interceptor.Funcs{}), domain)
	if made.Domain != (planner.Ref{Namespace: "plant", Name: "fleet"}) || !made.At.Equal(noon) || len(made.Foreign) != 0 {
		t.Errorf("%+v", made)
	}
	seen := made.Observed
	if len(seen.Issuers) != 1 || seen.Issuers[0].SecretName != "fleet-root-2024" || len(seen.Copies) != 2 || len(seen.Unknown) != 0 {
		t.Errorf("%+v", seen)
	}
	if want := []planner.Gate{{Name: "soak", Since: noon.Add(-time.Minute)}}; !reflect.DeepEqual(seen.Since, want) {
		t.Errorf("gates %+v", seen.Since)
	}
	if !seen.Record.Enabled || len(seen.Record.Keys) != 1 {
		t.Errorf("record %+v", seen.Record)
	}
	text, err := made.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := planner.DecodeObservation(text); err != nil || strings.Contains(string(text), "SECRET") {
		t.Errorf("%v\n%s", err, text)
	}
	if lines := remarks(made); !reflect.DeepEqual(lines, []string{"plant/fleet: 0 keys, 1 issuer, 0 leaf certificates, 0 bundles, 0 workloads"}) {
		t.Errorf("%q", lines)
	}
}

// TestObserveWithoutARecord: what Git keeps none of is not compared with one.
func TestObserveWithoutARecord(t *testing.T) {
	domain := fleetDomain(func(d *v1alpha1.TrustDomain) { d.Spec.WriteBack.Mode = v1alpha1.WriteBackDisabled })
	if made := observed(t, siteCluster(t, interceptor.Funcs{}), domain); made.Observed.Record.Enabled {
		t.Errorf("%+v", made.Observed.Record)
	}
}

// TestObserveSaysWhatItMayNotSee in the observation and to whoever made it.
func TestObserveSaysWhatItMayNotSee(t *testing.T) {
	c := siteCluster(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		if _, is := list.(*corev1.PodList); is {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
		}
		return c.List(ctx, list, options...)
	}})
	made := observed(t, c, fleetDomain())
	if len(made.Observed.Unknown) != 1 || made.Observed.Unknown[0].Subject != "pods" {
		t.Fatalf("%+v", made.Observed.Unknown)
	}
	if lines := remarks(made); len(lines) != 2 || !strings.HasPrefix(lines[1], "not seen: pods: ") || !strings.HasSuffix(lines[1], "grant list and watch on pods") {
		t.Errorf("%q", lines)
	}
}

func TestObserveBeforeThereIsADomain(t *testing.T) {
	c := fakeCluster(t, interceptor.Funcs{})
	domain, err := c.domainToObserve(t.Context(), "new")
	if err != nil || nameOf(domain) != "plant/new" || len(gatesOf(domain.Status)) != 0 {
		t.Errorf("%+v, %v", domain, err)
	}
	if _, err := c.domainToObserve(t.Context(), ""); err == nil {
		t.Error("without a name there is none")
	}
}

func TestWhereTheRecordLies(t *testing.T) {
	spec := fleetDomain().Spec
	if branch := recordBranch(spec); branch != "" {
		t.Errorf("beside the documents: %q", branch)
	}
	spec.WriteBack.Branch = "main"
	if branch := recordBranch(spec); branch != "" {
		t.Errorf("named, and the same: %q", branch)
	}
	spec.WriteBack.Branch = "record"
	if branch := recordBranch(spec); branch != "record" {
		t.Errorf("elsewhere: %q", branch)
	}
}

// What an observation tells of fields that somebody else owns stands in the plan.
func TestAPlanTellsOfConflicts(t *testing.T) {
	observation := planner.Observation{Conflicts: []string{`ClusterIssuer fleet: .spec.ca.secretName belongs to "kubectl-edit"; let that manager give it up, or declare the same value`}}
	var request forecast.Request
	(&comparison{}).beginAt(&request, observation)
	want := []forecast.Finding{{Rule: "conflict", Subject: "ClusterIssuer fleet", Message: `.spec.ca.secretName belongs to "kubectl-edit"; let that manager give it up, or declare the same value`}}
	if !reflect.DeepEqual(request.Conflicts, want) {
		t.Errorf("got %+v, want %+v", request.Conflicts, want)
	}
}
