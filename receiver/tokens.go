package receiver

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/reanchor/reanchor/planner"
)

// How long a token that was read is used, and one that does not match what was sent: it
// may have been replaced.
const (
	tokenFor         = time.Minute
	doubtfulTokenFor = 5 * time.Second
)

// maxReading bounds how long one reads a Secret.
const maxReading = 5 * time.Second

// tokens keeps those that were read, so that a flood of requests is none at the API server.
type tokens struct {
	mu       sync.Mutex
	byDomain map[planner.Ref]*known
}

// of a TrustDomain.
func (t *tokens) of(domain planner.Ref) *known {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byDomain[domain] == nil {
		t.byDomain[domain] = &known{turn: make(chan struct{}, 1)}
	}
	return t.byDomain[domain]
}

// forget the token of a TrustDomain that takes no webhooks any more.
func (t *tokens) forget(domain planner.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byDomain, domain)
}

// known is what reading a TrustDomain's Secret gave. It belongs to whoever has the turn.
type known struct {
	turn   chan struct{}
	secret string // empty: it was never read
	at     time.Time
	token  []byte
	err    error
}

// isFromSender reports whether whoever sent a webhook knows the token of the hook.
func (r *receiver) isFromSender(ctx context.Context, domain planner.Ref, hook Hook, header http.Header, body []byte) (bool, error) {
	token, err := r.token(ctx, domain, hook, tokenFor)
	if err == nil && signed(hook.Type, token, header, body) {
		return true, nil
	}
	if token, err = r.token(ctx, domain, hook, doubtfulTokenFor); err != nil {
		return false, err
	}
	return signed(hook.Type, token, header, body), nil
}

// token of a hook, as it was at most that long ago. Of the requests for one TrustDomain one
// at a time reads: the others find what it has read.
func (r *receiver) token(ctx context.Context, domain planner.Ref, hook Hook, old time.Duration) ([]byte, error) {
	last := r.tokens.of(domain)
	select {
	case last.turn <- struct{}{}:
		defer func() { <-last.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := r.Now()
	if last.secret == hook.Secret && now.Sub(last.at) < old {
		return last.token, last.err
	}
	reading, cancel := context.WithTimeout(ctx, maxReading)
	defer cancel()
	token, err := r.Token(reading, domain)
	if ctx.Err() != nil {
		return nil, ctx.Err() // whoever sent it went away: that says nothing of the Secret
	}
	last.secret, last.at, last.token, last.err = hook.Secret, now, token, err
	return token, err
}
