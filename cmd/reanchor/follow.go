package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// follow hands over every TrustDomain of a selection at first, and then each time that it
// changes, until the context ends, which is no error, or see fails. A watch that breaks off
// is taken up again.
func (c *cluster) follow(ctx context.Context, wanted selection, see func(*v1alpha1.TrustDomain) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	hand := func(object any) {
		if domain, is := object.(*v1alpha1.TrustDomain); is && ctx.Err() == nil {
			if err := see(domain); err != nil {
				stop(err)
			}
		}
	}
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: c.watching(wanted), ObjectType: &v1alpha1.TrustDomain{},
		Handler: cache.ResourceEventHandlerFuncs{AddFunc: hand, UpdateFunc: func(_, object any) { hand(object) }},
	})
	controller.RunWithContext(ctx)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// listWatch lists first and then watches: a selection is small.
type listWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported has the list asked for by itself; see package
// k8s.io/client-go/util/watchlist.
func (listWatch) IsWatchListSemanticsUnSupported() bool { return true }

// watching lists and watches a selection.
func (c *cluster) watching(wanted selection) cache.ListerWatcher {
	options := []client.ListOption{client.InNamespace(wanted.namespace)}
	if wanted.name != "" {
		options = append(options, client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", wanted.name)})
	}
	return listWatch{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list := &v1alpha1.TrustDomainList{}
			return list, c.List(ctx, list, append(options, &client.ListOptions{Raw: &o})...)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Watch(ctx, &v1alpha1.TrustDomainList{}, append(options, &client.ListOptions{Raw: &o})...)
		},
	}}
}

// errArrived ends a wait.
var errArrived = errors.New("what was waited for is there")

// await follows one TrustDomain until it is as wanted, and returns it; if it was not within
// the limit, as it was seen last.
func (c *cluster) await(ctx context.Context, wanted selection, limit time.Duration, what string, is func(*v1alpha1.TrustDomain) bool) (*v1alpha1.TrustDomain, error) {
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last *v1alpha1.TrustDomain
	err := c.follow(waiting, wanted, func(domain *v1alpha1.TrustDomain) error {
		last = domain
		if is(domain) {
			return errArrived
		}
		return nil
	})
	switch {
	case errors.Is(err, errArrived):
		return last, nil
	case err != nil:
		return last, err
	case ctx.Err() != nil:
		return last, fmt.Errorf("interrupted before %s", what)
	}
	return last, fmt.Errorf("not within %s: %s: see with reanchor check whether a controller runs, or give a longer --timeout", limit, what)
}
