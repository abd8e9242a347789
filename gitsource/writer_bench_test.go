package gitsource

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// devicePath is where the document of a device lies: its shard is the first byte of the
// SHA-256 of its name.
func devicePath(group, name string) string {
	return fmt.Sprintf("devices/%s/%02x/%s.yaml", group, shardOf(name), name)
}

// deviceDocument is about as large, and as hard to compress, as one with a CSR of P-256.
func deviceDocument(group, name string) []byte {
	var csr [420]byte
	_, _ = rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32.32s", name)))).Read(csr[:])
	return fmt.Appendf(nil, "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: %s}\nspec:\n  group: %s\n  state: Active\n  request: |\n    %s\n",
		name, group, base64.StdEncoding.EncodeToString(csr[:]))
}

func fleetOf(count int) map[string]string {
	files := map[string]string{"site/kustomization.yaml": "resources: []\n"}
	for i := range count {
		name := fmt.Sprintf("sensor-%06d", i)
		files[devicePath("sensors", name)] = string(deviceDocument("sensors", name))
	}
	return files
}

func testWriter(t testing.TB, remote Remote) *Writer { return testWriterIn(t, t.TempDir(), remote) }

func testWriterIn(t testing.TB, folder string, remote Remote) *Writer {
	t.Helper()
	w, err := OpenWriter(folder, remote, testWriterOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func testWriterOptions() WriterOptions {
	return WriterOptions{Author: Author{Name: "reanchor", Email: "reanchor@example.com"}, Now: func() time.Time { return testTime }}
}

// burstSizes are how many devices come at once: a line that starts, a plant that is switched
// on, and all of a large site after its power was away.
var burstSizes = []int{250, 1000, 4000}

const (
	roundsOfBursts = 7 // of which the median counts
	pushesOfGit    = 2 // in each round
)

// BenchmarkRegistrations measures how fast registrations become durable, which is pushed to a
// server over HTTPS on this machine and accepted by it, in a repository of 1,000 devices and in
// one of 50,000 by turns: all devices of a burst come at once, and each round begins with the
// same repositories. Beside it stands what a script does with the same server, in the same
// round: one git commit and one git push for each device.
//
//	1k-, 50k-registrations/s   of the whole burst, the median of the rounds
//	50k/1k-cost                how many times as long a registration takes in the large one
//	50k/1k-floor               how many times it would, if only the server took longer
//	1k-, 50k-server-ms         of a burst, until the server has answered its requests
//	1k-, 50k-walk-ms           of that, what git's walk through the branch takes by itself
//	1k-, 50k-git-ratio         how many registrations of a burst there are for one of git's
//	…-p50-ms, …-p99-ms         from the call to the answer, over all rounds
//	…-commits                  for a burst, and so pushes
//	live-MiB, peak-MiB         heap of the process, the server's side of HTTP included, in
//	                           a burst more that is not timed
func BenchmarkRegistrations(b *testing.B) {
	small, large := newPlant(b, 1_000), newPlant(b, 50_000)
	for _, burst := range burstSizes {
		b.Run(fmt.Sprintf("bursts of %d", burst), func(b *testing.B) { benchmarkBursts(b, burst, small, large) })
	}
}

func benchmarkBursts(b *testing.B, burst int, small, large *plant) {
	plants := []*plant{small, large}
	var peak peak
	for b.Loop() {
		for _, p := range plants {
			p.measured = measured{}
		}
		for range roundsOfBursts {
			for _, p := range plants {
				p.switchOn(b, burst)
				p.pushWithGit(b)
			}
		}
		small.report(b, "1k-", burst)
		large.report(b, "50k-", burst)
		typical, more := median(small.bursts), median(large.served)-median(small.served)
		b.ReportMetric(median(large.bursts)/typical, "50k/1k-cost")
		b.ReportMetric((typical+more)/typical, "50k/1k-floor")
		for _, p := range plants {
			peak.watch(func() { p.switchOn(b, burst) })
		}
	}
	b.ReportMetric(float64(peak.live)/(1<<20), "live-MiB")
	b.ReportMetric(float64(peak.most)/(1<<20), "peak-MiB")
}

// report what was measured of a plant.
func (m *measured) report(b *testing.B, name string, burst int) {
	perSecond := float64(burst) / median(m.bursts) * 1000
	b.ReportMetric(perSecond, name+"registrations/s")
	b.ReportMetric(perSecond*median(m.pushed)/1000, name+"git-ratio")
	b.ReportMetric(median(m.registered), name+"p50-ms")
	b.ReportMetric(milliseconds(quantile(m.registered, 0.99)), name+"p99-ms")
	b.ReportMetric(median(m.served), name+"server-ms")
	b.ReportMetric(median(m.walked), name+"walk-ms")
	b.ReportMetric(float64(m.commits)/roundsOfBursts, name+"commits")
}

// plant is a repository of a fleet, the endpoint's copy of it and a script's clone. All begin
// each round as they were made.
type plant struct {
	server        *server
	origin        *origin
	whole, copied string // the repository and the endpoint's copy, put aside
	authority     string // the file with the server's CA
	clone         string
	tip           string
	measured
}

// measured is what the bursts of a plant took, and the pushes of a script.
type measured struct {
	bursts, pushed []time.Duration
	registered     []time.Duration // of each device
	served, walked []time.Duration // by the server, of a burst
	commits        int
}

func newPlant(b *testing.B, devices int) *plant {
	b.Helper()
	p := &plant{server: newServer(b), whole: b.TempDir(), copied: b.TempDir()}
	p.origin = p.server.repository(b, "pki.git", fleetOf(devices))
	p.origin.git(b, "config", "receive.autogc", "false")
	p.tip = p.origin.head("main")
	writer, err := OpenWriter(p.copied, p.server.remote("pki.git"), testWriterOptions())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := writer.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	writer.Close()
	p.cloneWithGit(b)
	if err := os.CopyFS(p.whole, os.DirFS(p.origin.folder)); err != nil {
		b.Fatal(err)
	}
	return p
}

// begin a round: the repository is as it was made, and so is a writer's copy.
func (p *plant) begin(b *testing.B) *Writer {
	b.Helper()
	folder, err := os.MkdirTemp(b.TempDir(), "copy")
	if err == nil {
		err = os.RemoveAll(p.origin.folder)
	}
	if err == nil {
		err = errors.Join(os.CopyFS(p.origin.folder, os.DirFS(p.whole)), os.CopyFS(folder, os.DirFS(p.copied)))
	}
	if err != nil {
		b.Fatal(err)
	}
	writer, err := OpenWriter(folder, p.server.remote("pki.git"), testWriterOptions())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := writer.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	runtime.GC() // what came before
	return writer
}

// switchOn registers a burst of devices.
func (p *plant) switchOn(b *testing.B, devices int) {
	b.Helper()
	writer := p.begin(b)
	defer writer.Close()
	served := p.server.timed()
	took := make([]time.Duration, devices)
	edits := make([]Edit, devices)
	for i := range edits {
		name := fmt.Sprintf("new-%06d", i)
		edits[i] = Edit{Path: devicePath("sensors", name), Content: deviceDocument("sensors", name), Subject: "Register " + name + " of sensors"}
	}
	var callers, ready sync.WaitGroup
	var begun time.Time
	on := make(chan struct{})
	ready.Add(devices)
	for i, edit := range edits {
		callers.Go(func() {
			ready.Done()
			<-on
			if _, err := writer.Put(b.Context(), edit); err != nil {
				b.Error(err)
			}
			took[i] = time.Since(begun)
		})
	}
	ready.Wait()
	begun = time.Now()
	close(on)
	callers.Wait()
	p.bursts, p.registered = append(p.bursts, time.Since(begun)), append(p.registered, took...)
	p.served = append(p.served, time.Duration(served.Load()))
	made, err := strconv.Atoi(p.origin.git(b, "rev-list", "--count", p.tip+"..main"))
	if err != nil {
		b.Fatal(err)
	}
	p.commits += made
	p.walk(b)
}

// walk through what a burst brought, as git-receive-pack does before it accepts a push
// (connected.c).
func (p *plant) walk(b *testing.B) {
	b.Helper()
	begun := time.Now()
	p.origin.git(b, "rev-list", "--objects", "--quiet", "main", "--not", p.tip)
	p.walked = append(p.walked, time.Since(begun))
}

// timed adds up how long the server takes for its answers, in nanoseconds.
func (s *server) timed() *atomic.Int64 {
	var all atomic.Int64
	s.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		begun := time.Now()
		next.ServeHTTP(w, r)
		all.Add(int64(time.Since(begun)))
		return true
	})
	return &all
}

// pushWithGit registers a few devices as a script does.
func (p *plant) pushWithGit(b *testing.B) {
	b.Helper()
	p.begin(b).Close()
	b.Setenv("GIT_SSL_CAINFO", p.authority)
	git := func(args ...string) {
		b.Helper()
		run(b, "", "git", append([]string{"-C", p.clone, "-c", "user.name=script", "-c", "user.email=script@example.com"}, args...)...)
	}
	git("reset", "-q", "--hard", p.tip)
	for i := range pushesOfGit {
		name := fmt.Sprintf("git-%06d", i)
		begun := time.Now()
		path := filepath.Join(p.clone, devicePath("sensors", name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, deviceDocument("sensors", name), 0o644); err != nil {
			b.Fatal(err)
		}
		git("add", path)
		git("commit", "-q", "-m", "Register "+name)
		git("push", "-q", "origin", "HEAD:main")
		p.pushed = append(p.pushed, time.Since(begun))
	}
}

// cloneWithGit clones with git itself. What it reads it reads from the disk, and pushes over
// HTTPS.
func (p *plant) cloneWithGit(b *testing.B) {
	b.Helper()
	folder := b.TempDir()
	p.clone, p.authority = filepath.Join(folder, "clone"), filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(p.authority, p.server.ca, 0o600); err != nil {
		b.Fatal(err)
	}
	address := strings.Replace(p.server.address, "https://", "https://"+url.UserPassword(testUser, testPassword).String()+"@", 1) + "/pki.git"
	run(b, "", "git", "clone", "-q", "--depth", "1", "file://"+p.origin.folder, p.clone)
	run(b, "", "git", "-C", p.clone, "remote", "set-url", "--push", "origin", address)
}

// peak is the heap while something is watched: the most of it, and what lives at the end.
type peak struct{ live, most uint64 }

func (p *peak) watch(act func()) {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	ticker, done := time.NewTicker(5*time.Millisecond), make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			metrics.Read(heap)
			p.most = max(p.most, heap[0].Value.Uint64())
			select {
			case <-ticker.C:
			case <-done:
				return
			}
		}
	})
	act()
	close(done)
	watching.Wait()
	ticker.Stop()
	runtime.GC()
	metrics.Read(heap)
	p.live = heap[0].Value.Uint64()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// median of times, in milliseconds.
func median(times []time.Duration) float64 { return milliseconds(quantile(times, 0.5)) }

// quantile of times, without changing their order.
func quantile(times []time.Duration, share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[int(share*float64(len(sorted)-1))]
}
