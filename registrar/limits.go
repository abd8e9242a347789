package registrar

import (
	"cmp"
	"crypto/sha256"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of what the endpoint takes of time and memory.
type Limits struct {
	// Hold is how long a request waits for its certificate before it is answered 202, and how
	// long it waits before that for another of the same device.
	Hold time.Duration
	// Headers is how long a handshake, and then the header of a request, may take; Body the
	// same with the body; Idle is how long a connection may wait for its next request.
	Headers, Body, Idle time.Duration
	// Connections at once, in all and from one address.
	Connections, ConnectionsPerAddress int
	// PerDevice and PerAddress are how many requests a second are taken with one client key,
	// and from one address; a tenfold burst of each is taken at once.
	PerDevice, PerAddress float64
	// PerGroup is how many registrations a second a group takes, renewals apart; a tenfold
	// burst is taken at once.
	PerGroup float64
	// RekeysPerHour is how many new keys a device may have that shows the one before; an
	// hour's are taken at once. Each is a commit, and stays in the device's document.
	RekeysPerHour float64
}

// DefaultLimits are what a fleet of some ten thousand devices needs.
func DefaultLimits() Limits {
	return Limits{
		Hold: 25 * time.Second, Headers: 10 * time.Second, Body: 20 * time.Second, Idle: 60 * time.Second,
		Connections: 10_000, ConnectionsPerAddress: 10_000,
		PerDevice: 2, PerAddress: 500, PerGroup: 100, RekeysPerHour: 4,
	}
}

// orDefault fills in what is zero.
func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	return Limits{
		Hold: cmp.Or(l.Hold, d.Hold), Headers: cmp.Or(l.Headers, d.Headers), Body: cmp.Or(l.Body, d.Body), Idle: cmp.Or(l.Idle, d.Idle),
		Connections: cmp.Or(l.Connections, d.Connections), ConnectionsPerAddress: cmp.Or(l.ConnectionsPerAddress, d.ConnectionsPerAddress),
		PerDevice: cmp.Or(l.PerDevice, d.PerDevice), PerAddress: cmp.Or(l.PerAddress, d.PerAddress), PerGroup: cmp.Or(l.PerGroup, d.PerGroup),
		RekeysPerHour: cmp.Or(l.RekeysPerHour, d.RekeysPerHour),
	}
}

// The bounds of a request, in bytes: its header, and its body.
const (
	maxHeader = 64 << 10 // X-Forwarded-Client-Cert holds a chain
	maxBody   = 64 << 10
)

// burst is how many seconds' worth of a rate is taken at once.
const burst = 10

// limiters are the rates of many, by a hash of their names. Two generations bound the memory:
// when the younger one is full it becomes the older, and who was silent since begins anew.
type limiters struct {
	perSecond float64
	// atOnce is how many are taken at once; zero: as many as come in ten seconds.
	atOnce         int
	mu             sync.Mutex
	younger, older map[name]*rate.Limiter
}

type name [sha256.Size]byte

// limitersKept is how many a generation holds, of some 120 bytes each.
const limitersKept = 1 << 15

// wait is how long one has to wait before it is taken; zero: it is.
func (l *limiters) wait(of string, now time.Time) time.Duration {
	wait, _ := l.take(of, now)
	return wait
}

// take is wait, and the way to give back what was taken.
func (l *limiters) take(of string, now time.Time) (wait time.Duration, giveBack func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	reservation := l.limiter(sha256.Sum256([]byte(of))).ReserveN(now, 1)
	giveBack = func() { reservation.CancelAt(now) }
	if wait = reservation.DelayFrom(now); wait > 0 {
		giveBack()
	}
	return wait, giveBack
}

func (l *limiters) limiter(of name) *rate.Limiter {
	if limiter, known := l.younger[of]; known {
		return limiter
	}
	limiter, known := l.older[of]
	if !known {
		limiter = rate.NewLimiter(rate.Limit(l.perSecond), max(1, cmp.Or(l.atOnce, int(l.perSecond*burst))))
	}
	if l.younger == nil || len(l.younger) >= limitersKept {
		l.younger, l.older = make(map[name]*rate.Limiter), l.younger
	}
	l.younger[of] = limiter
	return limiter
}

// addressOf is the host of an address, without the port. An IPv6 address counts as its /64,
// which is one machine's to choose from.
func addressOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}
