package main

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/runtime/events"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
)

// A rollover of one authority tells some thirty events. By default the recorder
// drops what one object tells beyond 25, and one more every five minutes; then the
// end of the story would be missing.
var eventLimits = record.CorrelatorOptions{BurstSize: 300, QPS: 0.1, MaxEvents: 100}

// newRecorder tells events to the API server and, if there is one, to
// notification-controller, until ctx ends.
func newRecorder(ctx context.Context, mgr ctrl.Manager, reporter, webhook string) (record.EventRecorder, error) {
	clients, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("make a client for events: %w", err)
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx), record.WithCorrelatorOptions(eventLimits))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clients.CoreV1().Events("")})
	cluster := broadcaster.NewRecorder(mgr.GetScheme(), corev1.EventSource{Component: reporter})
	recorder, err := events.NewRecorderForScheme(mgr.GetScheme(), cluster, ctrl.Log, webhook, reporter)
	if err != nil {
		return nil, fmt.Errorf("--events-addr: %w: give a URL", err)
	}
	return recorder, nil
}
