package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/reconciler"
)

// hands write to the cluster, each as one account. What they look at first is read as the
// controller itself.
type hands struct {
	config                   *rest.Config
	own                      client.Client
	clusterResourceNamespace string
	claims                   applier.Claims

	mu      sync.Mutex
	writers map[planner.Ref]client.Client
}

// as is the hand of a service account; the zero Ref: the controller's own.
func (h *hands) as(account planner.Ref) (reconciler.Cluster, error) {
	writer, err := h.writer(account)
	if err != nil {
		return nil, err
	}
	return hand{applier.Applier{Reader: h.own, Writer: writer, ClusterResourceNamespace: h.clusterResourceNamespace, Claims: &h.claims}}, nil
}

// writer is the client of an account, made once.
func (h *hands) writer(account planner.Ref) (client.Client, error) {
	if account == (planner.Ref{}) {
		return h.own, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.writers[account]; known != nil {
		return known, nil
	}
	config := rest.CopyConfig(h.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: fmt.Sprintf("system:serviceaccount:%s:%s", account.Namespace, account.Name)}
	writer, err := client.New(config, client.Options{Scheme: h.own.Scheme(), Mapper: h.own.RESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("make a client that impersonates it: %w", err)
	}
	if h.writers == nil {
		h.writers = map[planner.Ref]client.Client{}
	}
	h.writers[account] = writer
	return writer, nil
}

// hand writes to the cluster.
type hand struct{ applier.Applier }

// Apply writes the manifests and tells what it did in words.
func (h hand) Apply(ctx context.Context, domain planner.Ref, manifests []*unstructured.Unstructured, options reconciler.ApplyOptions) (reconciler.Result, error) {
	result, err := h.Applier.Apply(ctx, domain, manifests, applier.Options(options))
	told := reconciler.Result{Applied: words(result.Applied), Pruned: words(result.Pruned), Kinds: result.Kinds}
	for _, conflict := range result.Conflicts {
		if conflict.Taken != "" {
			told.Taken = append(told.Taken, conflict.String())
		} else {
			told.Conflicts = append(told.Conflicts, conflict.String())
		}
	}
	return told, err
}

// Act carries out the actions and tells which of them wrote something.
func (h hand) Act(ctx context.Context, domain planner.Ref, actions []planner.Action, now time.Time) ([]planner.Action, error) {
	outcomes, err := h.Applier.Act(ctx, domain, actions, now)
	var acted []planner.Action
	for _, outcome := range outcomes {
		if outcome.Done {
			acted = append(acted, outcome.Action)
		}
	}
	return acted, err
}
