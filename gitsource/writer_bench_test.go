package gitsource

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
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

// BenchmarkRegistrations measures how many registrations become durable: pushed to a server
// over HTTPS on this machine, and accepted by it. Beside it stands what a script does, with the
// same server: one git commit and one git push for each device.
func BenchmarkRegistrations(b *testing.B) {
	for _, count := range []int{1_000, 50_000} {
		server := newServer(b)
		origin := server.repository(b, "pki.git", fleetOf(count))
		origin.git(b, "config", "receive.autogc", "false")
		writer := testWriter(b, server.remote("pki.git"))
		if _, err := writer.Refresh(b.Context()); err != nil {
			b.Fatal(err)
		}
		clone, settings := cloneWithGit(b, server, origin, "pki.git")
		b.Run(fmt.Sprintf("in groups/of %d", count), func(b *testing.B) { benchmarkWriter(b, origin, writer) })
		b.Run(fmt.Sprintf("one by one with git/of %d", count), func(b *testing.B) { benchmarkGit(b, clone, settings) })
	}
}

// devicesAtOnce is how many devices wait for their registration at any time: a plant is
// switched on.
const devicesAtOnce = 1000

func benchmarkWriter(b *testing.B, origin *origin, writer *Writer) {
	before, _ := strconv.Atoi(origin.git(b, "rev-list", "--count", "main"))
	run := rand.Uint32()
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var devices sync.WaitGroup
	b.ResetTimer()
	for range min(devicesAtOnce, b.N) {
		devices.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				name := fmt.Sprintf("new-%08x-%06d", run, i)
				begun := time.Now()
				if _, err := writer.Put(b.Context(), Edit{Path: devicePath("sensors", name), Content: deviceDocument("sensors", name), Subject: "Register " + name}); err != nil {
					b.Error(err)
				}
				took[i] = time.Since(begun)
			}
		})
	}
	devices.Wait()
	b.StopTimer()
	after, _ := strconv.Atoi(origin.git(b, "rev-list", "--count", "main"))
	reportRegistrations(b, took, after-before)
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.ReportMetric(float64(memory.HeapAlloc)/(1<<20), "MiB")
	runtime.KeepAlive(writer)
}

func benchmarkGit(b *testing.B, clone string, settings []string) {
	b.Helper()
	git := func(args ...string) {
		b.Helper()
		run(b, "", "git", append(slices.Concat([]string{"-C", clone}, settings), args...)...)
	}
	git("fetch", "-q", "--depth", "1", "origin", "main") // what the groups wrote
	git("reset", "-q", "--hard", "FETCH_HEAD")
	round := rand.Uint32()
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range b.N {
		name := fmt.Sprintf("git-%08x-%06d", round, i)
		begun := time.Now()
		path := filepath.Join(clone, devicePath("sensors", name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, deviceDocument("sensors", name), 0o644); err != nil {
			b.Fatal(err)
		}
		git("add", path)
		git("commit", "-q", "-m", "Register "+name)
		git("push", "-q", "origin", "HEAD:main")
		took[i] = time.Since(begun)
	}
	b.StopTimer()
	reportRegistrations(b, took, b.N)
}

// cloneWithGit clones with git itself, and tells the settings that it needs. What it reads it
// reads from the disk, and pushes over HTTPS.
func cloneWithGit(b *testing.B, server *server, origin *origin, name string) (folder string, settings []string) {
	b.Helper()
	authority := filepath.Join(b.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, server.ca, 0o600); err != nil {
		b.Fatal(err)
	}
	b.Setenv("GIT_SSL_CAINFO", authority)
	settings = []string{"-c", "user.name=script", "-c", "user.email=script@example.com"}
	address := strings.Replace(server.address, "https://", "https://"+url.UserPassword(testUser, testPassword).String()+"@", 1) + "/" + name
	folder = filepath.Join(b.TempDir(), "clone")
	run(b, "", "git", append(settings, "clone", "-q", "--depth", "1", "file://"+origin.folder, folder)...)
	run(b, "", "git", "-C", folder, "remote", "set-url", "--push", "origin", address)
	return folder, settings
}

func reportRegistrations(b *testing.B, took []time.Duration, commits int) {
	slices.Sort(took)
	milliseconds := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "registrations/s")
	b.ReportMetric(milliseconds(0.50), "p50-ms")
	b.ReportMetric(milliseconds(0.99), "p99-ms")
	b.ReportMetric(float64(commits), "commits")
}
