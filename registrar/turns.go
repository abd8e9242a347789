package registrar

import (
	"context"
	"slices"
	"sync"
)

// turns see to it that one device, and one key, is registered by one request at a time: two
// that come at once are decided one after the other, the second by what the first wrote.
type turns struct {
	mu    sync.Mutex
	taken map[string]bool
	freed chan struct{} // closed when names were freed
}

// take names once all of them are free; an error if ctx ends first.
func (t *turns) take(ctx context.Context, names ...string) (release func(), err error) {
	for {
		freed, free := t.tryTake(names)
		if free {
			return func() { t.release(names) }, nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (t *turns) tryTake(names []string) (freed <-chan struct{}, free bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken == nil {
		t.taken, t.freed = map[string]bool{}, make(chan struct{})
	}
	if slices.ContainsFunc(names, func(n string) bool { return t.taken[n] }) {
		return t.freed, false
	}
	for _, n := range names {
		t.taken[n] = true
	}
	return nil, true
}

func (t *turns) release(names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range names {
		delete(t.taken, n)
	}
	close(t.freed)
	t.freed = make(chan struct{})
}
