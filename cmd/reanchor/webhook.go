package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/receiver"
	"github.com/reanchor/reanchor/reconciler"
)

// addReceiver receives push webhooks at an address; at none if it is empty. A replica that
// does not lead answers them too, and says so.
func addReceiver(mgr ctrl.Manager, controller *reconciler.Reconciler, address string) error {
	if address == "" {
		return nil
	}
	counted, err := receiver.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--webhook-addr: %w: give an address that is free", err)
	}
	server := receiver.NewServer(receiver.New(hooksOf(controller, counted)))
	if err := mgr.Add(&manager.Server{Name: "webhook receiver", Server: server, Listener: listener}); err != nil {
		return fmt.Errorf("add the webhook receiver: %w", err)
	}
	return nil
}

// hooksOf the domains of a controller, as the receiver takes them.
func hooksOf(controller *reconciler.Reconciler, counted *receiver.Metrics) receiver.Options {
	return receiver.Options{
		Hook: func(ctx context.Context, domain planner.Ref) (receiver.Hook, bool, error) {
			hook, err := controller.Webhook(ctx, types.NamespacedName(domain))
			if err != nil || hook == nil {
				return receiver.Hook{}, false, err
			}
			return receiver.Hook{Type: hook.Type, URL: hook.URL, Branches: hook.Branches, Secret: hook.SecretRef.Name}, true, nil
		},
		Token: func(ctx context.Context, domain planner.Ref) ([]byte, error) {
			return controller.WebhookToken(ctx, types.NamespacedName(domain))
		},
		Ask:     func(domain planner.Ref) bool { return controller.Ask(types.NamespacedName(domain)) },
		Now:     time.Now,
		Log:     ctrl.Log.WithName("webhooks").Error,
		Metrics: counted,
	}
}
