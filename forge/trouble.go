package forge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Error is a refusal of a forge.
type Error struct {
	// Status of the answer, and what was asked for: "GET /repos/example/pki/…".
	Status  int
	Request string
	// Message is the forge's own, and Mend says what to do.
	Message, Mend string
	// after is how long the forge asks to wait; negative where it does not ask.
	after time.Duration
}

// Error tells it in one line.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.Request, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += fmt.Sprintf(" (%s)", e.Message)
	}
	return text + ": " + e.Mend
}

// unreachableError says that there was no answer.
type unreachableError struct {
	host string
	err  error
}

// Error says of which host, and what to do.
func (e *unreachableError) Error() string {
	return fmt.Sprintf("%s does not answer: %v: see that the job can reach it, that SSL_CERT_FILE names its CA and HTTPS_PROXY the proxy, if there are such", e.host, e.err)
}

// Unwrap is what the transport says.
func (e *unreachableError) Unwrap() error { return e.err }

// refusal makes an error of an answer.
func (f *Forge) refusal(request *http.Request, response *http.Response, body []byte) error {
	e := &Error{
		Status: response.StatusCode, Request: request.Method + " " + request.URL.Path, Message: f.message(body),
		after: askedToWait(response.Header),
	}
	e.Mend = f.mend(e)
	return e
}

// message is what the forge says of itself, without the token that it might repeat.
func (f *Forge) message(body []byte) string {
	var said struct {
		Message any    `json:"message"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	text := said.Error
	if said.Message != nil {
		text = fmt.Sprint(said.Message)
	}
	text = strings.ReplaceAll(text, f.token, "…")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if runes := []rune(text); len(runes) > 200 {
		return string(runes[:200]) + "…"
	}
	return text
}

// mend says what to do about a refusal.
func (f *Forge) mend(e *Error) string {
	token := environments[f.provider].token
	switch {
	case e.patient():
		return "run the job again later"
	case e.Status == http.StatusUnauthorized:
		return "the token in " + token + " is not accepted: give one that is valid"
	case e.Status == http.StatusForbidden:
		return "the token in " + token + " may not do that: " + environments[f.provider].hint + ". A pull request from a fork has a token that only reads: print the plan to the job's summary instead"
	case e.Status == http.StatusNotFound:
		return fmt.Sprintf("there is no %s, or the token in %s does not see it: see that the repository and the number are right, and what the token may read", f, token)
	case e.Status/100 == 3:
		return "it moved, and a token is not sent after it: give --api-url as the forge has it now"
	}
	return "see what the forge says of the request"
}

// patient reports whether it helps to wait.
func (e *Error) patient() bool {
	return e.Status == http.StatusTooManyRequests || e.Status/100 == 5 || e.Status == http.StatusForbidden && e.after >= 0
}

// askedToWait is how long an answer asks to wait: by Retry-After (RFC 9110, section 10.2.3), or
// until GitHub's rate limit begins anew. The time is the answer's own. Negative: it does not
// ask.
func askedToWait(header http.Header) time.Duration {
	now, err := http.ParseTime(header.Get("Date"))
	after := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(after); err == nil {
		return max(time.Duration(seconds)*time.Second, 0)
	}
	if err != nil {
		return -1
	}
	if until, err := http.ParseTime(after); err == nil {
		return max(until.Sub(now), 0)
	}
	reset, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64)
	if err == nil && header.Get("X-RateLimit-Remaining") == "0" {
		return max(time.Unix(reset, 0).Sub(now), 0)
	}
	return -1
}

// How often a conversation is begun, and how long a forge may ask to wait.
const (
	attempts    = 4
	longestWait = 2 * time.Minute
)

// persevere has another try where it helps to wait: as long as the forge asks, or a second,
// then two, then four.
func (f *Forge) persevere(ctx context.Context, try func() (Outcome, error)) (Outcome, error) {
	for attempt := 1; ; attempt++ {
		outcome, err := try()
		pause := pauseAfter(err, attempt)
		if pause < 0 || attempt == attempts || ctx.Err() != nil {
			return outcome, err
		}
		if pause > longestWait {
			return "", fmt.Errorf("%w: the forge asks to wait %s", err, pause)
		}
		if ended := f.wait(ctx, pause); ended != nil {
			return "", errors.Join(err, ended)
		}
	}
}

// pauseAfter an error; negative if there is no use in trying again.
func pauseAfter(err error, attempt int) time.Duration {
	backoff := time.Second << (attempt - 1)
	if refused, ok := errors.AsType[*Error](err); ok && refused.patient() {
		return max(refused.after, backoff)
	}
	if _, ok := errors.AsType[*unreachableError](err); ok {
		return backoff
	}
	return -1
}

// mayNotAsk reports that a token may do things, but not ask whose it is.
func mayNotAsk(err error) bool {
	refused, ok := errors.AsType[*Error](err)
	return ok && !refused.patient() && refused.Status/100 == 4 && refused.Status != http.StatusUnauthorized
}
