package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// Hook is what a TrustDomain says of its webhook.
type Hook struct {
	// Type of the sender.
	Type v1alpha1.WebhookType
	// URL of the repository, and the Branches of it that are read.
	URL      string
	Branches []string
	// Secret that holds the token.
	Secret string
}

// Options of a receiver. All are required but Metrics.
type Options struct {
	// Hook finds a TrustDomain's; false if there is none. It is asked at each request, and
	// should cost nothing.
	Hook func(ctx context.Context, domain planner.Ref) (Hook, bool, error)
	// Token reads the token from the hook's Secret. Its errors hold nothing of it.
	Token func(ctx context.Context, domain planner.Ref) ([]byte, error)
	// Ask gives a TrustDomain a turn, one a second at most; false: there are no turns here.
	Ask func(domain planner.Ref) bool
	// Now is the clock.
	Now func() time.Time
	// Log tells of Secrets that cannot be read, as logr.Logger.Error does.
	Log func(err error, message string, keysAndValues ...any)
	// Metrics count; nil: nothing does.
	Metrics *Metrics
}

// The bounds of what requests may take, in bytes but for maxOnce.
const (
	maxBody    = 2 << 20
	maxHeaders = 16 << 10
	maxOnce    = 16
)

// New returns the handler of webhooks.
func New(options Options) http.Handler {
	r := &receiver{Options: options, tokens: tokens{byDomain: map[planner.Ref]known{}}, slots: make(chan struct{}, maxOnce)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook/{namespace}/{name}", r.serve)
	return mux
}

// NewServer returns a server for New's handler, with bounds on what a connection may take
// of time and memory.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    maxHeaders,
	}
}

type receiver struct {
	Options
	tokens tokens
	slots  chan struct{} // holds one for each request that is served
}

// answer is what becomes of a request: an HTTP status and what it says, and how it is
// counted.
type answer struct {
	status int
	result string
	text   string
}

// The results by which requests are counted.
const (
	resultAsked     = "asked"
	resultIgnored   = "ignored"
	resultMalformed = "malformed"
	resultRefused   = "refused"
	resultUnknown   = "unknown"
	resultTooLarge  = "too_large"
	resultFailed    = "failed"
	resultBusy      = "busy"
	resultIdle      = "no_turns"
)

// serve answers a webhook.
func (r *receiver) serve(w http.ResponseWriter, request *http.Request) {
	a := r.inTurn(w, request)
	r.Metrics.received(a.result)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if a.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(a.status)
	_, _ = fmt.Fprintln(w, a.text)
}

// inTurn takes the request, unless too many are being served.
func (r *receiver) inTurn(w http.ResponseWriter, request *http.Request) answer {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
		return r.take(request.Context(), w, request)
	default:
		return answer{http.StatusServiceUnavailable, resultBusy, "too many webhooks at once: send it again"}
	}
}

// take a webhook: whose it is, what it says, whether whoever sent it may, and whether it
// concerns the TrustDomain.
func (r *receiver) take(ctx context.Context, w http.ResponseWriter, request *http.Request) answer {
	domain := planner.Ref{Namespace: request.PathValue("namespace"), Name: request.PathValue("name")}
	hook, there, err := r.Hook(ctx, domain)
	if err != nil {
		return r.failed(err, domain)
	}
	if !there {
		r.tokens.forget(domain)
		return answer{http.StatusNotFound, resultUnknown, "there is no such TrustDomain, or it takes no webhooks"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return answer{http.StatusRequestEntityTooLarge, resultTooLarge, "the body is larger than 2 MiB: send push events alone"}
	}
	if err != nil {
		return answer{http.StatusBadRequest, resultMalformed, "the body could not be read"}
	}
	switch known, err := r.isFromSender(ctx, domain, hook, request.Header, body); {
	case err != nil:
		return r.failed(err, domain)
	case !known:
		return answer{http.StatusUnauthorized, resultRefused, "the signature or the token is not accepted"}
	}
	return r.ask(domain, hook, request.Header, body)
}

// ask for a turn, if what was sent concerns the TrustDomain.
func (r *receiver) ask(domain planner.Ref, hook Hook, header http.Header, body []byte) answer {
	reason, err := why(hook, header, body)
	switch {
	case err != nil:
		return answer{http.StatusBadRequest, resultMalformed, err.Error()}
	case reason != "":
		return answer{http.StatusOK, resultIgnored, reason}
	case !r.Ask(domain):
		return answer{http.StatusServiceUnavailable, resultIdle, "this replica has no turns: send it again, or wait for the TrustDomain's interval"}
	}
	return answer{http.StatusAccepted, resultAsked, "a turn of TrustDomain " + domain.String() + " was asked for"}
}

// failed answers that it is not the sender's fault, and tells the log what is.
func (r *receiver) failed(err error, domain planner.Ref) answer {
	r.Log(err, "a webhook could not be taken", "trustdomain", domain.String())
	return answer{http.StatusServiceUnavailable, resultFailed, "the webhook cannot be taken now: the controller's log says why"}
}
