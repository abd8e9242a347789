package receiver

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/reanchor/reanchor/planner"
)

// readers counts the requests whose bodies are being read, by the addresses that they come
// from, so that whoever sends slowly leaves room for others.
type readers struct {
	mu        sync.Mutex
	all       int
	byAddress map[string]int
}

// enter reports whether there is room for one more from an address, and takes it.
func (r *readers) enter(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= maxReaders || r.byAddress[address] >= maxFromAddress {
		return false
	}
	r.all++
	r.byAddress[address]++
	return true
}

// leave gives back what enter took.
func (r *readers) leave(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.byAddress[address]--; r.byAddress[address] == 0 {
		delete(r.byAddress, address)
	}
}

// addressOf whoever sent a request, without the port. An IPv6 address counts as its /64,
// which is one machine's to choose from.
func addressOf(request *http.Request) string {
	host, _, err := net.SplitHostPort(request.RemoteAddr)
	if err != nil {
		return request.RemoteAddr
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}

// betweenLogged is the shortest time between two lines of the log about one TrustDomain.
const betweenLogged = time.Minute

// logged is when the log was last told of a TrustDomain.
type logged struct {
	mu sync.Mutex
	at map[planner.Ref]time.Time
}

// again reports whether it is time to tell the log of a TrustDomain, and notes that it was.
func (l *logged) again(domain planner.Ref, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, was := l.at[domain]; was && now.Sub(last) < betweenLogged {
		return false
	}
	l.at[domain] = now
	return true
}

// forget a TrustDomain that takes no webhooks any more.
func (l *logged) forget(domain planner.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.at, domain)
}
