package receiver

import "github.com/prometheus/client_golang/prometheus"

// Metrics count webhooks. A nil *Metrics counts nothing.
//
//	reanchor_webhooks_total{result}   asked, ignored, malformed, refused, unknown, too_large,
//	                                  failed, busy or no_turns
type Metrics struct {
	webhooks *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "reanchor_webhooks_total", Help: "Push webhooks that were received, by what became of them.",
	}, []string{"result"})}
	return m, registry.Register(m.webhooks)
}

func (m *Metrics) received(result string) {
	if m != nil {
		m.webhooks.WithLabelValues(result).Inc()
	}
}
