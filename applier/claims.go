package applier

import (
	"context"
	"fmt"
	"sync"
)

// Claims let the domains of one process make an object one after the other. A domain looks
// whose an object is and then writes it, with its labels; between the two nobody else
// looks, so that of two that want to make it one makes it and the other finds it made.
// Nothing is held longer than that: from then on the labels speak.
//
// The zero value is ready. Nil holds nobody back.
type Claims struct {
	mu   sync.Mutex
	held map[identity]chan struct{} // closed when it is let go
}

// take waits until nobody holds the object, and holds it until release is called. It fails
// when the context ends.
func (c *Claims) take(ctx context.Context, object identity) (release func(), err error) {
	if c == nil {
		return func() {}, nil
	}
	for {
		wait, mine := c.try(object)
		if mine {
			return func() { c.release(object) }, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another TrustDomain that makes it just now: %w; the next turn tries again", ctx.Err())
		}
	}
}

// try holds the object if nobody does; else the channel is closed when it is let go.
func (c *Claims) try(object identity) (wait <-chan struct{}, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held, is := c.held[object]; is {
		return held, false
	}
	if c.held == nil {
		c.held = map[identity]chan struct{}{}
	}
	c.held[object] = make(chan struct{})
	return nil, true
}

func (c *Claims) release(object identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.held[object])
	delete(c.held, object)
}
