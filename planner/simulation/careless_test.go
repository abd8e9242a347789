package simulation

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// drainedWorld is a world in which 2025 is drained and about to go.
func drainedWorld(t *testing.T) *World {
	t.Helper()
	w := rolling(t)
	w.reach(t, planner.Reissue, "reload")
	carryOut(w.writes(planner.Next(w.Desired, w.Observe(), w.Now)))
	w.wait(10)
	return w
}

// TestCarelessRolloversAreCaught proves that waves, windows and probes are asked for: each of
// these does what would be right without them.
func TestCarelessRolloversAreCaught(t *testing.T) {
	nightly := []v1alpha1.Window{{Cron: "0 23 * * *", Duration: metav1.Duration{Duration: time.Hour}}}
	for name, test := range map[string]struct {
		drive func(t *testing.T) *World
		want  string // how the violation begins
	}{
		"reissues the second wave before the first is loaded": {
			func(t *testing.T) *World {
				w := rolling(t)
				w.reach(t, planner.Reissue, "leaf")
				w.Desired.Authorities[0].Spec.Rollover.Waves = []int{50, 100}
				second := planner.Ref{Namespace: "operations", Name: "second"}
				w.leaves[second] = &leaf{ref: second, issuer: issuerRef, secret: "second-tls", chain: w.leaves[brokerRef].chain}
				w.act(planner.Action{Kind: planner.ActionReissue, Subject: brokerRef})
				w.act(planner.Action{Kind: planner.ActionReissue, Subject: second})
				return w
			},
			"a wave is proved before the next: Certificate operations/second is the leaf number 2 of 2 to be reissued, and 0 have proved themselves, not 1",
		},
		"reissues outside the windows": {
			func(t *testing.T) *World {
				w := rolling(t)
				w.reach(t, planner.Reissue, "leaf")
				w.Desired.Authorities[0].Spec.Rollover.Windows = nightly
				w.act(planner.Action{Kind: planner.ActionReissue, Subject: brokerRef})
				return w
			},
			"nothing begins outside a window: Certificate operations/broker is reissued at",
		},
		"restarts outside the windows": {
			func(t *testing.T) *World {
				w := rolling(t)
				w.Desired.Authorities[0].Spec.Rollover.Windows = nightly
				w.restartNow(clientRef, "")
				return w
			},
			"nothing begins outside a window: Deployment operations/client is restarted at",
		},
		"moves an issuer outside the windows": {
			func(t *testing.T) *World {
				w := rolling(t)
				w.reach(t, planner.Distribute, "reload")
				w.Desired.Authorities[0].Spec.Rollover.Windows = nightly
				w.pointTo("2026")
				return w
			},
			"nothing begins outside a window: issuer fleet moves at",
		},
		"takes an anchor out outside the windows": {
			func(t *testing.T) *World {
				w := drainedWorld(t)
				w.Desired.Authorities[0].Spec.Rollover.Windows = nightly
				w.rewrite("2026")
				return w
			},
			"nothing begins outside a window: fleet-trust loses Fleet Root 2025",
		},
		"takes an anchor out and asks no probe": {
			func(t *testing.T) *World {
				w := drainedWorld(t)
				w.Desired.Bundles[0].Spec.Probes = []v1alpha1.Probe{{Address: "broker.operations.svc:8883"}}
				w.rewrite("2026")
				return w
			},
			"an anchor leaves after every probe: fleet-trust is to hold",
		},
		"takes an anchor out after a handshake that trusted it": {
			func(t *testing.T) *World {
				w := drainedWorld(t)
				w.Desired.Bundles[0].Spec.Probes = []v1alpha1.Probe{{Address: "broker.operations.svc:8883"}}
				w.shakeHands([]planner.Probe{{Bundle: "fleet-trust", Name: "broker.operations.svc:8883", Address: "broker.operations.svc:8883", Anchors: w.bundles["fleet-trust"].Anchors}})
				w.rewrite("2026")
				return w
			},
			"an anchor leaves after every probe: fleet-trust is to hold",
		},
	} {
		t.Run(name, func(t *testing.T) {
			broken := test.drive(t).Violations()
			for _, violation := range broken {
				if strings.HasPrefix(violation.String(), test.want) {
					return
				}
			}
			t.Errorf("the violations are %v, none begins with %q", broken, test.want)
		})
	}
}
