package enrolment

import (
	"context"
	"errors"
	"time"
)

// Visit the server once: take the anchors, the certificate, have them loaded, confirm. What a
// person has to see to does not keep the rest from being done. A device without a certificate
// asks for one, and does not wait for it: see [Device.Enrol].
func (d *Device) Visit(ctx context.Context) error {
	if len(d.Chain()) == 0 {
		if err := d.begin(ctx); err != nil {
			return err
		}
	}
	followed := d.follow(ctx)
	if isTemporary(followed) {
		return followed // and so would the rest be
	}
	renewed, announced := d.Renew(ctx), d.announce(ctx)
	if refusal, is := errors.AsType[*Refusal](renewed); is && refusal.excludes() {
		return errors.Join(renewed, announced) // and would be told so again
	}
	if followed != nil || announced != nil {
		return errors.Join(followed, renewed, announced)
	}
	return errors.Join(renewed, d.attest(ctx))
}

// Run visits the server again and again, and keeps all that the device holds current until ctx
// ends; then it returns nil. Nothing else ends it: what a person has to see to is reported,
// and tried again as seldom as anything.
func (d *Device) Run(ctx context.Context) error {
	failures := 0
	for {
		err := d.Visit(ctx)
		if ctx.Err() != nil {
			return nil
		}
		pause := d.pause()
		if err == nil {
			failures = 0
		} else {
			pause = d.backoff(failures, err)
			failures++
			d.options.Report(Event{Kind: Failed, ID: d.id, Err: err, Wait: pause})
		}
		if d.options.Wait(ctx, pause) != nil {
			return nil
		}
	}
}

// The bounds of waiting: after a failure, and once a certificate is due that the server has
// none in place of yet.
const (
	retryFirst = 5 * time.Second
	dueLeast   = 10 * time.Second
	dueParts   = 6
)

// due is when another certificate is asked for.
func (d *Device) due() time.Time {
	leaf := d.Chain()[0]
	life := leaf.NotAfter().Sub(leaf.NotBefore())
	return leaf.NotBefore().Add(time.Duration(float64(life) * d.options.RenewAt))
}

// pause until the next visit if all is well; a tenth of it at most is chance.
func (d *Device) pause() time.Duration {
	return time.Duration(float64(d.longest()) * (1 + 0.1*d.options.Jitter()))
}

// longest is the interval, or less if a certificate is due before that; once it is, a part of
// the time that it has left.
func (d *Device) longest() time.Duration {
	if len(d.Chain()) == 0 {
		return d.options.Interval
	}
	now := d.options.Clock()
	until := d.due().Sub(now)
	if until <= 0 {
		until = max(d.Chain()[0].NotAfter().Sub(now)/dueParts, dueLeast)
	}
	return min(d.options.Interval, until)
}

// backoff is how long to wait after a failure: as the server says and a tenth more at most, or
// twice as long each time up to the longest pause, of which a half is chance.
func (d *Device) backoff(failures int, err error) time.Duration {
	if refusal, is := errors.AsType[*Refusal](err); is && refusal.RetryAfter > 0 {
		return time.Duration(float64(refusal.RetryAfter) * (1 + 0.1*d.options.Jitter()))
	}
	pause, longest := retryFirst, d.longest()
	for ; failures > 0 && pause < longest; failures-- {
		pause *= 2
	}
	return time.Duration(float64(min(pause, longest)) * (0.5 + 0.5*d.options.Jitter()))
}

// isTemporary reports whether what failed may succeed later without a person's help.
func isTemporary(err error) bool {
	if _, is := errors.AsType[*unreachable](err); is {
		return true
	}
	refusal, is := errors.AsType[*Refusal](err)
	return is && refusal.Temporary()
}
