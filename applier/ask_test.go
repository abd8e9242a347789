package applier

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// A turn is asked for by Flux's annotation, and nothing else of the domain changes.
func TestAskForTurn(t *testing.T) {
	domain := &v1alpha1.TrustDomain{ObjectMeta: metav1.ObjectMeta{Namespace: fleet.Namespace, Name: fleet.Name, Annotations: map[string]string{"team": "pki", AnnotationRequestedAt: "before"}}}
	domain.Spec.Source.URL = "https://git.example/fleet.git"
	cluster, _ := newCluster(t, nil, domain)
	a := &Applier{Reader: cluster, Writer: cluster}
	for _, token := range []string{"one", "two"} {
		if err := a.AskForTurn(t.Context(), fleet, token); err != nil {
			t.Fatal(err)
		}
		var asked v1alpha1.TrustDomain
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(domain), &asked); err != nil {
			t.Fatal(err)
		}
		if asked.Annotations[AnnotationRequestedAt] != token || asked.Annotations["team"] != "pki" || asked.Spec.Source.URL != domain.Spec.Source.URL {
			t.Errorf("after %q the domain is %+v", token, asked)
		}
	}
}

// What keeps a turn from being asked for names the domain, and what to grant.
func TestATurnThatCannotBeAskedFor(t *testing.T) {
	cluster, _ := newCluster(t, nil)
	for name, test := range map[string]struct {
		answer error
		want   string
	}{
		"no such domain": {nil, "not found"},
		"not granted":    {apierrors.NewForbidden(schema.GroupResource{Group: "reanchor.dev", Resource: "trustdomains"}, fleet.Name, errors.New("no")), "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			writer := interceptor.NewClient(cluster.(client.WithWatch), interceptor.Funcs{
				Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
					if test.answer != nil {
						return test.answer
					}
					return c.Patch(ctx, object, patch, options...)
				},
			})
			err := (&Applier{Reader: cluster, Writer: writer}).AskForTurn(t.Context(), fleet, "now")
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "ask for a turn of TrustDomain reanchor-system/fleet: ") || !strings.HasSuffix(err.Error(), "; grant patch on it") {
				t.Errorf("%v", err)
			}
		})
	}
}
