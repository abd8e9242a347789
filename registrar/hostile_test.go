package registrar_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/registrar"
)

// dial shakes hands and sends nothing.
func (e *endpoint) dial(t *testing.T) (*tls.Conn, error) {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName}
	config.RootCAs.AddCert(fleetCA.X509())
	return tls.Dial("tcp", e.address, config)
}

// Who shows a pile of certificates is hung up on: they are kept as long as the connection is.
func TestTooManyCertificates(t *testing.T) {
	e := open(t)
	credential := factory(factoryCA, "sensor-1")
	large := factory(factoryCA, "sensor-1", func(c *x509.Certificate) {
		for i := range 4000 {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("%04d.sensors.example", i))
		}
	})
	many := *credential
	for range 20 {
		many.Certificate = append(many.Certificate, credential.Certificate[0])
	}
	for name, shown := range map[string]*tls.Certificate{"many": &many, "large": large} {
		t.Run(name, func(t *testing.T) {
			if answer, err := e.client(shown).Get("https://" + e.address + "/v1/trust-bundle"); err == nil {
				answer.Body.Close()
				t.Errorf("answered %s", answer.Status)
			}
		})
	}
	if got := e.ask(e.client(credential), "GET", "/v1/trust-bundle", ""); got.StatusCode != http.StatusOK {
		t.Errorf("a sensible chain is answered %d %s", got.StatusCode, got.body)
	}
}

// Who sends a header byte by byte, or nothing after the handshake, or not even that, is hung
// up on.
func TestSlowClientsAreHungUpOn(t *testing.T) {
	e := open(t, func(o *registrar.Options) {
		o.Limits.Headers, o.Limits.Body, o.Limits.Idle = time.Second, time.Second, time.Second
	})
	for name, open := range map[string]func() (net.Conn, string){
		"no handshake": func() (net.Conn, string) { c, err := net.Dial("tcp", e.address); must(t, err); return c, "" },
		"no request":   func() (net.Conn, string) { c, err := e.dial(t); must(t, err); return c, "" },
		"half a header": func() (net.Conn, string) {
			c, err := e.dial(t)
			must(t, err)
			return c, "GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\nA: "
		},
		"half a body": func() (net.Conn, string) {
			c, err := e.dial(t)
			must(t, err)
			return c, "POST /v1/devices HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
		},
		"a second request that never comes": func() (net.Conn, string) {
			c, err := e.dial(t)
			must(t, err)
			return c, "GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n\r\n"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connection, text := open()
			defer connection.Close()
			_, err := io.WriteString(connection, text)
			must(t, err)
			must(t, connection.SetReadDeadline(time.Now().Add(10*time.Second)))
			if _, err := io.Copy(io.Discard, connection); isTimeout(err) {
				t.Error("the connection stands after ten seconds")
			}
		})
	}
}

func isTimeout(err error) bool {
	timeout, is := err.(net.Error)
	return is && timeout.Timeout()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// endless is a body that has no end.
type endless struct{ sent int64 }

func (b *endless) Read(p []byte) (int, error) {
	b.sent += int64(len(p))
	return len(p), nil
}

// A body of 1 GiB is refused unread, whether it says how long it is or not.
func TestABodyOfAGigabyteIsNotRead(t *testing.T) {
	e := open(t)
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	for name, length := range map[string]int64{"with a length": 1 << 30, "in chunks": -1} {
		body := &endless{}
		request, err := http.NewRequest(http.MethodPost, "https://"+e.address+"/v1/devices", io.LimitReader(body, 1<<30))
		must(t, err)
		request.ContentLength = length
		request.Header.Set("Content-Type", "application/json")
		response, err := e.client(credential).Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: answered %d", name, response.StatusCode)
			}
		}
		if body.sent > 64<<20 {
			t.Errorf("%s: %d bytes were taken", name, body.sent)
		}
	}
	if got := e.ask(e.client(credential), "GET", "/v1/devices/sensor-1", ""); got.StatusCode != 200 {
		t.Errorf("then answered %d", got.StatusCode)
	}
}

// Connections are counted, in all and by address; those that are too many are closed, and a
// place that is given back is taken again.
func TestConnectionsAreCapped(t *testing.T) {
	e := open(t, func(o *registrar.Options) { o.Limits.Connections = 3 })
	var opened []*tls.Conn
	for range 3 {
		c, err := e.dial(t)
		must(t, err)
		opened = append(opened, c)
	}
	if c, err := e.dial(t); err == nil {
		_ = c.Close()
		t.Error("a fourth was let in")
	}
	must(t, opened[0].Close())
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := e.dial(t)
		if err == nil {
			opened = append(opened, c)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the place that was given back is not taken: %v", err)
		}
	}
	for _, c := range opened[1:] {
		_ = c.Close()
	}
}

// idle opens connections that send nothing, and tells what one costs both sides in bytes.
func (e *endpoint) idle(t *testing.T, count int) (all []*tls.Conn, each uint64) {
	t.Helper()
	before := heap()
	var mu sync.Mutex
	var dialling sync.WaitGroup
	slots := make(chan struct{}, 16)
	for range count {
		slots <- struct{}{}
		dialling.Go(func() {
			defer func() { <-slots }()
			c, err := e.dial(t)
			if err != nil {
				t.Errorf("dial: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, c)
		})
	}
	dialling.Wait()
	return all, (heap() - before) / uint64(count)
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc + stats.StackInuse
}

// servedBeside expects that healthy devices are served beside idle connections, and that
// these cost no more than both sides of a TLS connection do.
func servedBeside(t *testing.T, count int) {
	e := open(t, func(o *registrar.Options) { o.Limits.Headers = 2 * time.Minute })
	_, credential := e.sensor("sensor-1", v1alpha1.DeviceActive)
	all, each := e.idle(t, count)
	defer func() {
		for _, c := range all {
			_ = c.Close()
		}
	}()
	const most = 160 << 10
	if each > most {
		t.Errorf("an idle connection costs %d bytes, and %d are the most", each, most)
	}
	t.Logf("%d idle connections at %d bytes each", len(all), each)
	for range 20 {
		began := time.Now()
		if got := e.ask(e.client(credential), "GET", "/v1/devices/sensor-1", ""); got.StatusCode != 200 {
			t.Fatalf("answered %d %s", got.StatusCode, got.body)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	}
}

func TestIdleConnectionsLeaveRoom(t *testing.T) { servedBeside(t, 200) }
