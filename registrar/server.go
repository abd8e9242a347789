package registrar

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/reanchor/reanchor/registrar/admission"
)

// Server is the registration endpoint.
type Server struct {
	desk *desk
	http *http.Server
}

// New makes an endpoint; [Server.Serve] opens it.
func New(options Options) *Server {
	d := newDesk(options)
	doors := &doors{serving: options.Serving}
	limits := d.Limits
	s := &Server{desk: d}
	s.http = &http.Server{
		Handler:           d.handler(),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: doors.config},
		ConnContext:       withConnection,
		ReadHeaderTimeout: limits.Headers,
		ReadTimeout:       limits.Headers + limits.Body,
		WriteTimeout:      limits.Headers + limits.Body + 2*limits.Hold + time.Minute, // Git's share of it
		IdleTimeout:       limits.Idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          cmp.Or(options.ErrorLog, log.New(io.Discard, "", 0)),
		Protocols:         new(http.Protocols),
	}
	s.http.Protocols.SetHTTP1(true)
	return s
}

// Serve answers what comes to a listener, over TLS, until [Server.Shutdown] is called.
func (s *Server) Serve(l net.Listener) error {
	counted := &listener{Listener: l, limits: s.desk.Limits, metrics: s.desk.Metrics, byAddress: map[string]int{}}
	if err := s.http.ServeTLS(counted, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown takes no more connections, and waits for the requests that are being answered
// until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

// handler of all protocols.
func (d *desk) handler() http.Handler {
	rest, est := d.rest(), &estHandler{desk: d}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answer{ResponseWriter: w}
		v, refusal := d.visit(r)
		defer d.tell(r, v, answer)
		protocol, refuse := http.Handler(rest), refuseREST
		if strings.HasPrefix(r.URL.Path, estPrefix) {
			protocol, refuse = est, refuseEST
		}
		if refusal == nil {
			refusal = d.take(v, r, answer)
		}
		if refusal != nil {
			v.refused(refusal)
			refuse(answer, refusal)
			return
		}
		protocol.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
	})
}

// take a request if its sender has not sent too many, and read its body if it is not too
// long: neither costs more than the limits say, whatever is sent.
func (d *desk) take(v *visit, r *http.Request, w http.ResponseWriter) *admission.Refusal {
	if !v.forwarded { // all of a proxy's devices have its address
		if wait := d.perAddress.wait(addressOf(r.RemoteAddr), v.at); wait > 0 {
			return tooMany(wait, "too many requests come from this address: come again later")
		}
	}
	if len(v.chain) > 0 {
		if wait := d.perDevice.wait(v.chain[0].SPKI().String(), v.at); wait > 0 {
			return tooMany(wait, "the device sends too many requests: come again later")
		}
	}
	if r.ContentLength > maxBody {
		return tooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, is := errors.AsType[*http.MaxBytesError](err); is {
		return tooLarge()
	}
	if err != nil {
		return &admission.Refusal{Status: http.StatusBadRequest, Problem: admission.ProblemRequest, Detail: "the body could not be read to its end: send it again"}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // that of the body would end a request that is held
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

func tooLarge() *admission.Refusal {
	return &admission.Refusal{Status: http.StatusRequestEntityTooLarge, Problem: admission.ProblemTooLarge, Detail: "the body is larger than 64 KiB: send the request alone"}
}

// tell the audit log, the metrics and whoever watches what became of a request.
func (d *desk) tell(r *http.Request, v *visit, answer *answer) {
	v.entry.Status = answer.status()
	if v.entry.Result == "" {
		v.entry.Result = resultOf(v.entry.Status)
	}
	d.Metrics.answered(v.entry)
	if d.Audit != nil {
		d.Audit(v.entry)
	}
	if d.Alarm != nil && v.entry.Alarm {
		d.Alarm(context.WithoutCancel(r.Context()), v.entry)
	}
}

// resultOf a request that decided nothing.
func resultOf(status int) string {
	switch {
	case status >= http.StatusInternalServerError:
		return "failed"
	case status >= http.StatusBadRequest:
		return string(admission.ProblemInvalid)
	}
	return "ok"
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	written int
}

// WriteHeader sends the header. WWW-Authenticate is written as RFC 9110 has it: some clients
// compare letters.
func (a *answer) WriteHeader(status int) {
	const canonical, written = "Www-Authenticate", "WWW-Authenticate"
	if challenges := a.Header()[canonical]; len(challenges) > 0 {
		a.Header()[written] = challenges
		delete(a.Header(), canonical)
	}
	a.written = cmp.Or(a.written, status)
	a.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (a *answer) Write(data []byte) (int, error) {
	a.written = cmp.Or(a.written, http.StatusOK)
	return a.ResponseWriter.Write(data)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// status that was sent; who sent none has failed.
func (a *answer) status() int { return cmp.Or(a.written, http.StatusInternalServerError) }
