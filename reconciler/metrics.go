package reconciler

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
)

// Metrics are reanchor's own metrics, beside Flux's gotk_ ones. None has a label
// that grows with the fleet. A nil *Metrics records nothing.
//
//	reanchor_turns_total{result}                            quiet, succeeded, or the reason of a failure
//	reanchor_turn_duration_seconds                          of every turn
//	reanchor_rollover_phase{namespace,name,authority,phase} 1 for the phase that the authority is in
//	reanchor_holds{namespace,name,gate}                     how many holds shut the gate
//	reanchor_pushes_total{result}                           succeeded, conflict or failed, of pushes of the record
//	reanchor_devices{namespace,name,state}                  Issued, Pending, Waiting or Failed, of active devices; Blocked, Retired; Unusable, of files
type Metrics struct {
	turns    *prometheus.CounterVec
	duration prometheus.Histogram
	phase    *prometheus.GaugeVec
	holds    *prometheus.GaugeVec
	pushes   *prometheus.CounterVec
	devices  *prometheus.GaugeVec
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		turns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reanchor_turns_total", Help: "Turns of all trust domains, by how they ended.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "reanchor_turn_duration_seconds", Help: "How long turns took.",
			Buckets: prometheus.ExponentialBucketsRange(0.005, 300, 12),
		}),
		phase: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "reanchor_rollover_phase", Help: "1 for the phase of its rollover that an authority is in.",
		}, []string{"namespace", "name", "authority", "phase"}),
		holds: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "reanchor_holds", Help: "How many holds keep a gate shut in a trust domain.",
		}, []string{"namespace", "name", "gate"}),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reanchor_pushes_total", Help: "Pushes of the record to Git, by how they ended.",
		}, []string{"result"}),
		devices: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "reanchor_devices", Help: "How many devices of a trust domain are in a state, and how many of their files cannot be used.",
		}, []string{"namespace", "name", "state"}),
	}
	for _, collector := range []prometheus.Collector{m.turns, m.duration, m.phase, m.holds, m.pushes, m.devices} {
		if err := registry.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// turnTaken counts a turn that ended with err after took.
func (m *Metrics) turnTaken(t *turn, err error, took time.Duration) {
	if m == nil {
		return
	}
	result := "succeeded"
	switch {
	case err != nil:
		result = reasonOf(err)
	case t.quiet:
		result = "quiet"
	}
	m.turns.WithLabelValues(result).Inc()
	m.duration.Observe(took.Seconds())
}

// pushed counts a push that ended with err.
func (m *Metrics) pushed(err error) {
	if m == nil {
		return
	}
	result := "succeeded"
	switch {
	case errors.Is(err, ErrConflict):
		result = "conflict"
	case err != nil:
		result = "failed"
	}
	m.pushes.WithLabelValues(result).Inc()
}

// stands records where a domain's rollovers stand. Without a plan that is not
// known, and what was known stays.
func (m *Metrics) stands(t *turn) {
	if m == nil || t.plan == nil {
		return
	}
	namespace, name := t.domain.Namespace, t.domain.Name
	m.clear(namespace, name)
	for _, rollover := range t.plan.Rollovers {
		m.phase.WithLabelValues(namespace, name, rollover.Authority.String(), string(rollover.Phase)).Set(1)
	}
	for _, hold := range allHolds(*t.plan) {
		m.holds.WithLabelValues(namespace, name, hold.Gate).Inc()
	}
	m.counts(namespace, name, t)
}

// counts records how far the devices are, once that was worked out.
func (m *Metrics) counts(namespace, name string, t *turn) {
	counts := t.devicesStatus()
	if counts == nil {
		m.devices.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "name": name})
		return
	}
	if t.work.States == nil {
		return
	}
	for state, count := range map[string]int{
		string(inventory.StateIssued): counts.Issued, string(inventory.StatePending): counts.Pending,
		string(inventory.StateWaiting): counts.Waiting, string(inventory.StateFailed): counts.Failed,
		string(v1alpha1.DeviceBlocked): counts.Blocked, string(v1alpha1.DeviceRetired): counts.Retired, "Unusable": counts.Unusable,
	} {
		m.devices.WithLabelValues(namespace, name, state).Set(float64(count))
	}
}

// forget a domain that is gone.
func (m *Metrics) forget(namespace, name string) {
	if m != nil {
		m.clear(namespace, name)
		m.devices.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "name": name})
	}
}

func (m *Metrics) clear(namespace, name string) {
	domain := prometheus.Labels{"namespace": namespace, "name": name}
	m.phase.DeletePartialMatch(domain)
	m.holds.DeletePartialMatch(domain)
}
