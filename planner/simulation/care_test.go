package simulation_test

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// care is what slows the rollovers of a site: waves and windows of all its authorities, and
// probes by their bundles.
type care struct {
	waves   []int
	windows []v1alpha1.Window
	probes  map[string][]v1alpha1.Probe
}

// drawCare draws each kind of care, or leaves it out.
func (s shape) drawCare(t *rapid.T, users simulation.Users) care {
	drawn := care{probes: map[string][]v1alpha1.Probe{}}
	drawn.waves = rapid.SampledFrom([][]int{nil, {50, 100}, {1, 60, 100}}).Draw(t, "waves")
	if rapid.IntRange(0, 2).Draw(t, "windows") == 0 {
		drawn.windows = []v1alpha1.Window{{Cron: "*/7 * * * *", Duration: metav1.Duration{Duration: 150 * time.Second}}}
	}
	if rapid.Bool().Draw(t, "probes") {
		for bundle := range s.trust {
			drawn.probes[bundle] = s.probesOf(bundle, users)
		}
	}
	return drawn
}

// probesOf are a server of every leaf that is verified with the bundle, and one of which
// nothing is known.
func (s shape) probesOf(bundle string, users simulation.Users) []v1alpha1.Probe {
	probes := []v1alpha1.Probe{{Name: "elsewhere", Address: "elsewhere.example:443"}}
	for _, w := range users.Workloads {
		for _, leaf := range users.Leaves {
			if leaf.Ref == w.Ref && slices.Contains(s.trust[bundle], s.topOf(leaf.Issuer)) {
				probes = append(probes, v1alpha1.Probe{Address: fmt.Sprintf("%s.%s.svc:443", w.Ref.Name, w.Ref.Namespace)})
			}
		}
	}
	return probes
}

// fleetWith is fleet with care.
func fleetWith(with care, keys ...state) planner.Desired {
	desired := fleet(keys...)
	desired.Authorities[0].Spec.Rollover.Waves, desired.Authorities[0].Spec.Rollover.Windows = with.waves, with.windows
	desired.Bundles[0].Spec.Probes = with.probes[desired.Bundles[0].Metadata.Name]
	return desired
}

// slowly is two waves, four minutes of every quarter of an hour, and a probe of the broker.
var slowly = care{
	waves:   []int{30, 100},
	windows: []v1alpha1.Window{{Cron: "*/15 * * * *", Duration: metav1.Duration{Duration: 4 * time.Minute}}},
	probes:  map[string][]v1alpha1.Probe{"fleet-trust": {{Name: "broker", Address: "broker.operations.svc:8883"}}},
}
