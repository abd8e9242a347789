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

// maxReading bounds how long the others wait for one to read.
const maxReading = 5 * time.Second

// tokens keeps those that were read, so that a flood of requests is none at the API server.
type tokens struct {
	mu       sync.Mutex
	byDomain map[planner.Ref]known
}

// forget the token of a TrustDomain that takes no webhooks any more.
func (t *tokens) forget(domain planner.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byDomain, domain)
}

// known is what reading a Secret gave.
type known struct {
	secret string
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

// token of a hook, as it was at most that long ago. One request at a time reads: the
// others find what it has read.
func (r *receiver) token(ctx context.Context, domain planner.Ref, hook Hook, old time.Duration) ([]byte, error) {
	r.tokens.mu.Lock()
	defer r.tokens.mu.Unlock()
	now := r.Now()
	last, read := r.tokens.byDomain[domain]
	if read && last.secret == hook.Secret && now.Sub(last.at) < old {
		return last.token, last.err
	}
	reading, cancel := context.WithTimeout(ctx, maxReading)
	defer cancel()
	token, err := r.Token(reading, domain)
	if ctx.Err() != nil {
		return nil, ctx.Err() // whoever sent it went away: that says nothing of the Secret
	}
	r.tokens.byDomain[domain] = known{secret: hook.Secret, at: now, token: token, err: err}
	return token, err
}
