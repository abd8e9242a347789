package forecast_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner/forecast"
)

// TestPublicCAsAreTold: a commit by which the public CAs leave a bundle says so; and where
// nobody can tell whether somebody needs them it waits for people.
func TestPublicCAsAreTold(t *testing.T) {
	probed := []v1alpha1.Probe{{Address: "broker.plant.svc:8883"}}
	monthly := []v1alpha1.Window{{Cron: "0 2 1 * *", Duration: metav1.Duration{Duration: time.Hour}}}
	for name, test := range map[string]struct {
		probes  []v1alpha1.Probe
		windows []v1alpha1.Window
		want    forecast.Verdict
	}{
		"without a probe":        {want: forecast.Waits},
		"with one":               {probes: probed, want: forecast.Safe},
		"with one, and a window": {probes: probed, windows: monthly, want: forecast.Safe},
		"with two":               {probes: []v1alpha1.Probe{{Address: "nowhere.plant.svc:1"}, probed[0]}, want: forecast.Safe},
	} {
		t.Run(name, func(t *testing.T) {
			base, head := swift(fleet(signing("2025"))), swift(fleet(signing("2025")))
			base.Bundles[0].Spec.UseDefaultCAs = true
			head.Bundles[0].Spec.Probes, head.Authorities[0].Spec.Rollover.Windows = test.probes, test.windows
			observed, at := cluster(t, base, base, 0)
			f := forecast.Run(seen(base, head, observed, at))
			if f.Verdict != test.want || f.Proof.Counterexample != nil {
				t.Errorf("%s: %s", f.Verdict, f.Summary)
			}
			gone := f.Trust[0].PublicBefore && !f.Trust[0].PublicAfter
			if gone != (test.want == forecast.Safe) {
				t.Errorf("the bundle changes so: %+v", f.Trust[0])
			}
			told := slices.ContainsFunc(f.Manual, func(s forecast.Step) bool { return strings.Contains(s.Do, "Deployment office/historian") })
			if told == gone {
				t.Errorf("people are to do %v", f.Manual)
			}
		})
	}
}
