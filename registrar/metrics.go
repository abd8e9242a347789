package registrar

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count requests, never by device. A nil *Metrics counts nothing.
//
//	reanchor_registrar_requests_total{operation,status,result}   result as in [Entry.Result]
//	reanchor_registrar_commits_total{result}                     committed, proposed or failed
//	reanchor_registrar_connections                               open now
//	reanchor_registrar_pull_requests_total{result}               made, edited, unchanged or failed
//	reanchor_registrar_history_rewritten                         1: a branch lost what was read
//	                                                             of it, and is not read or written
type Metrics struct {
	requests    *prometheus.CounterVec
	commits     *prometheus.CounterVec
	connections prometheus.Gauge
	proposals   *prometheus.CounterVec
	rewritten   prometheus.Gauge
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reanchor_registrar_requests_total", Help: "Requests of devices, by what was asked for and what became of it.",
		}, []string{"operation", "status", "result"}),
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reanchor_registrar_commits_total", Help: "Registrations that were handed to Git, by what became of them.",
		}, []string{"result"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "reanchor_registrar_connections", Help: "Connections that are open.",
		}),
		proposals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reanchor_registrar_pull_requests_total", Help: "Pull requests that were asked for, by what became of them.",
		}, []string{"result"}),
		rewritten: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "reanchor_registrar_history_rewritten", Help: "Whether a branch lost what was read of it, and is neither read nor written.",
		}),
	}
	for _, collector := range []prometheus.Collector{m.requests, m.commits, m.connections, m.proposals, m.rewritten} {
		if err := registry.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) answered(entry Entry) {
	if m != nil {
		m.requests.WithLabelValues(entry.Operation, strconv.Itoa(entry.Status), entry.Result).Inc()
	}
}

func (m *Metrics) committed(result string) {
	if m != nil {
		m.commits.WithLabelValues(result).Inc()
	}
}

// Proposed counts a pull request that was asked for.
func (m *Metrics) Proposed(result string) {
	if m != nil {
		m.proposals.WithLabelValues(result).Inc()
	}
}

// Rewritten tells whether a branch lost what was read of it.
func (m *Metrics) Rewritten(is bool) {
	if m == nil {
		return
	}
	m.rewritten.Set(0)
	if is {
		m.rewritten.Set(1)
	}
}

func (m *Metrics) connected(by int) {
	if m != nil {
		m.connections.Add(float64(by))
	}
}
