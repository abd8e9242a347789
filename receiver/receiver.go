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

// The bounds of what requests may take, in bytes.
const (
	maxBody    = 2 << 20
	maxHeaders = 16 << 10
)

// The bounds of how many requests there may be at once: whose bodies are read, those of one
// address among them, and who are judged. A stranger may take long to send: reading has a
// short deadline (see NewServer), and its own slots.
const (
	maxReaders     = 128
	maxFromAddress = maxReaders / 4
	maxJudged      = 16
)

// New returns the handler of webhooks.
func New(options Options) http.Handler {
	r := &receiver{
		Options: options, judges: make(chan struct{}, maxJudged),
		tokens: tokens{byDomain: map[planner.Ref]*known{}}, readers: readers{byAddress: map[string]int{}}, logged: logged{at: map[planner.Ref]time.Time{}},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook/{namespace}/{name}", r.serve)
	return mux
}

// NewServer returns a server for New's handler, with bounds on what a connection may take
// of time and memory.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       4 * time.Second, // the body's share
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    maxHeaders,
	}
}

type receiver struct {
	Options
	tokens  tokens
	readers readers
	judges  chan struct{} // holds one for each request that is judged
	logged  logged
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
	a := r.take(request.Context(), w, request)
	r.Metrics.received(a.result)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if a.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(a.status)
	_, _ = fmt.Fprintln(w, a.text)
}

// busy answers who comes when there are too many.
var busy = answer{http.StatusServiceUnavailable, resultBusy, "too many webhooks at once: send it again"}

// take a webhook: whose it is, and what it says.
func (r *receiver) take(ctx context.Context, w http.ResponseWriter, request *http.Request) answer {
	domain := planner.Ref{Namespace: request.PathValue("namespace"), Name: request.PathValue("name")}
	hook, there, err := r.Hook(ctx, domain)
	if err != nil {
		return r.failed(err, planner.Ref{}) // there may be no such domain: names are not remembered
	}
	if !there {
		r.tokens.forget(domain)
		r.logged.forget(domain)
		return answer{http.StatusNotFound, resultUnknown, "there is no such TrustDomain, or it takes no webhooks"}
	}
	body, unread := r.body(w, request)
	if unread != nil {
		return *unread
	}
	return r.judge(ctx, domain, hook, request.Header, body)
}

// body of a request, or the answer to one whose body cannot be had.
func (r *receiver) body(w http.ResponseWriter, request *http.Request) ([]byte, *answer) {
	address := addressOf(request)
	if !r.readers.enter(address) {
		return nil, &busy
	}
	defer r.readers.leave(address)
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &answer{http.StatusRequestEntityTooLarge, resultTooLarge, "the body is larger than 2 MiB: send push events alone"}
	}
	if err != nil {
		return nil, &answer{http.StatusBadRequest, resultMalformed, "the body could not be read"}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // that of reading would end the request while it is judged
	return body, nil
}

// judge a webhook that was read: whether whoever sent it may, and whether it concerns the
// TrustDomain.
func (r *receiver) judge(ctx context.Context, domain planner.Ref, hook Hook, header http.Header, body []byte) answer {
	select {
	case r.judges <- struct{}{}:
		defer func() { <-r.judges }()
	default:
		return busy
	}
	switch known, err := r.isFromSender(ctx, domain, hook, header, body); {
	case err != nil:
		return r.failed(err, domain)
	case !known:
		return answer{http.StatusUnauthorized, resultRefused, "the signature or the token is not accepted"}
	}
	return r.ask(domain, hook, header, body)
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

// failed answers that it is not the sender's fault, and tells the log what is, once a minute
// for each TrustDomain. Of senders that went away there is nothing to tell.
func (r *receiver) failed(err error, domain planner.Ref) answer {
	if !errors.Is(err, context.Canceled) && r.logged.again(domain, r.Now()) {
		r.Log(err, "a webhook could not be taken", "trustdomain", domain.String())
	}
	return answer{http.StatusServiceUnavailable, resultFailed, "the webhook cannot be taken now: the controller's log says why"}
}
