package inventory

import (
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// A webhook that changes what is asked for would change the next request likewise. Of a request
// that does not say how it was made, that is guessed for a while; another key is no guess.
func TestARequestThatTheClusterChangesIsNotMadeAnew(t *testing.T) {
	for name, test := range map[string]struct {
		unsaid bool
		after  time.Duration
		anew   int
	}{
		"said":               {false, 48 * time.Hour, 0},
		"unsaid":             {true, retryAfter - time.Second, 0},
		"unsaid, after long": {true, retryAfter, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, root(t, "2025"))
			p.list("sensors", "one", active(t, "sensors", "one"))
			p.turn()
			p.change(func(r *certmanagerv1.CertificateRequest) {
				r.Spec.Duration, r.Spec.Usages = &metav1.Duration{Duration: time.Hour}, []certmanagerv1.KeyUsage{certmanagerv1.UsageClientAuth}
				if test.unsaid {
					delete(r.Annotations, v1alpha1.AnnotationAsked)
				}
			})
			p.now = p.now.Add(test.after)
			if work := p.turn(); len(work.Apply) != test.anew {
				t.Errorf("%d requests are made anew", len(work.Apply))
			}
			p.signer = root(t, "2026")
			if work := p.turn(); len(work.Apply) != 1 {
				t.Errorf("another key shall sign, and %d requests are made", len(work.Apply))
			}
		})
	}
}

// change all requests, as a webhook would.
func (p *plant) change(as func(*certmanagerv1.CertificateRequest)) {
	for name, request := range p.objects {
		next := request.DeepCopy()
		as(next)
		p.objects[name] = next
		p.lane.See(next)
	}
}
