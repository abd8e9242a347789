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
type Metrics struct {
	requests    *prometheus.CounterVec
	commits     *prometheus.CounterVec
	connections prometheus.Gauge
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
	}
	for _, collector := range []prometheus.Collector{m.requests, m.commits, m.connections} {
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

func (m *Metrics) connected(by int) {
	if m != nil {
		m.connections.Add(float64(by))
	}
}
