package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/inventory"
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

	mu       sync.Mutex
	accounts map[planner.Ref]planner.Ref   // that domains are written as
	writers  map[planner.Ref]client.Client // of those accounts
}

// as is a domain's hand as a service account; the zero Ref: as the controller itself.
func (h *hands) as(domain, account planner.Ref) (reconciler.Cluster, error) {
	writer, err := h.writer(domain, account)
	if err != nil {
		return nil, err
	}
	return hand{applier.Applier{Reader: h.own, Writer: writer, ClusterResourceNamespace: h.clusterResourceNamespace, Claims: &h.claims}}, nil
}

// dismiss a domain that is gone.
func (h *hands) dismiss(domain planner.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.assign(domain, planner.Ref{})
}

// assign an account to a domain; the zero Ref: none. The client of the one that it had before
// goes if no other domain has it. It needs the mutex.
func (h *hands) assign(domain, account planner.Ref) {
	before, had := h.accounts[domain]
	if had && before == account {
		return
	}
	delete(h.accounts, domain)
	if had && !slices.Contains(slices.Collect(maps.Values(h.accounts)), before) {
		delete(h.writers, before)
	}
	if account != (planner.Ref{}) {
		if h.accounts == nil {
			h.accounts = map[planner.Ref]planner.Ref{}
		}
		h.accounts[domain] = account
	}
}

// writer is the client of a domain's account, made once for all domains that have it.
func (h *hands) writer(domain, account planner.Ref) (client.Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.assign(domain, account)
	if account == (planner.Ref{}) {
		return h.own, nil
	}
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
	told := reconciler.Result{Applied: words(result.Applied), Pruned: words(result.Pruned), Released: words(result.Released), Kinds: result.Kinds}
	for _, conflict := range result.Conflicts {
		if conflict.Taken != "" {
			told.Taken = append(told.Taken, conflict.String())
		} else {
			told.Conflicts = append(told.Conflicts, conflict.String())
		}
	}
	return told, err
}

// Devices carries out the work of the device lane.
func (h hand) Devices(ctx context.Context, domain planner.Ref, work inventory.Work) (reconciler.DeviceResult, error) {
	changes := applier.DeviceChanges{Apply: work.Apply, Remove: work.Remove, Discard: work.Discard}
	for _, confirm := range work.Confirm {
		changes.Confirm = append(changes.Confirm, applier.Confirmed(confirm))
	}
	result, err := h.ChangeDevices(ctx, domain, changes)
	return reconciler.DeviceResult{Refused: result.Refused, Forbidden: result.Forbidden}, err
}

// Act carries out the actions and tells which of them wrote something.
func (h hand) Act(ctx context.Context, domain planner.Ref, actions []planner.Action, now time.Time) ([]planner.Action, error) {
	outcomes, err := h.Applier.Act(ctx, domain, actions, now)
	var acted []planner.Action
	errs := []error{err}
	for _, outcome := range outcomes {
		if outcome.Done {
			acted = append(acted, outcome.Action)
		}
		if outcome.Refused != "" {
			errs = append(errs, &reconciler.RefusedError{Field: outcome.Action.Field, Words: outcome.Refused})
		}
	}
	return acted, errors.Join(errs...)
}
