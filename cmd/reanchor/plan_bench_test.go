package main

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// BenchmarkPlan is all of reanchor plan for a root that rolls over under so many devices, from
// a clone on disk to Markdown: both revisions read, every device decoded and its request
// checked, every file searched for private keys, the rollover simulated.
func BenchmarkPlan(b *testing.B) {
	for _, devices := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			clone := cloneOf(b, devices)
			flags := planFlags{base: "main~1", head: "main", clusterResourceNamespace: v1alpha1.DefaultClusterResourceNamespace}
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				made, err := forecastOf(b.Context(), clone, flags, time.Now)
				if err != nil {
					b.Fatal(err)
				}
				if text, err := written(made, "markdown", io.Discard); err != nil || made.Verdict != forecast.Safe || len(text) == 0 {
					b.Fatal(made.Summary, err, made.Blocks)
				}
			}
			b.ReportMetric((processorTime(b)-began).Seconds()/float64(b.N), "cpu-s/op") // of all cores, whoever else is busy
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(devices), "ns/device")
		})
	}
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// cloneOf is a clone whose first commit lists the devices, and whose second rolls the root.
func cloneOf(tb testing.TB, devices int) string {
	tb.Helper()
	folder := tb.TempDir()
	var stream bytes.Buffer
	factory := factoryCA()
	files := map[string]string{"kustomization.yaml": "resources: [pki.yaml]\n", "pki.yaml": fleetOf(factory, `{name: "2025", state: Signing}`)}
	for i := range devices {
		id := fmt.Sprintf("sensor-%06d", i)
		files[v1alpha1.DevicePath("sensors", id)] = "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: " + id + "}\nspec:\n  group: sensors\n  request: |\n" + indented(requestOf(id))
	}
	importCommit(&stream, "One fleet", files)
	importCommit(&stream, "Roll", map[string]string{"pki.yaml": fleetOf(factory, `{name: "2025", state: Retired}`, `{name: "2026", state: Signing}`)})
	runGit(tb, folder, nil, "init", "--quiet", "--initial-branch=main")
	runGit(tb, folder, &stream, "fast-import", "--quiet")
	runGit(tb, folder, nil, "reset", "--quiet", "--mixed", "main") // nothing is checked out: both revisions are read from Git
	return filepath.Clean(folder)
}

func importCommit(stream *bytes.Buffer, message string, files map[string]string) {
	fmt.Fprintf(stream, "commit refs/heads/main\ncommitter Ada <ada@example.com> %d +0000\ndata %d\n%s\n", time.Now().Unix(), len(message), message)
	for name, text := range files {
		fmt.Fprintf(stream, "M 100644 inline %s\ndata %d\n%s\n", name, len(text), text)
	}
}

func runGit(tb testing.TB, folder string, input io.Reader, arguments ...string) {
	tb.Helper()
	command := exec.CommandContext(tb.Context(), "git", append([]string{"-C", folder}, arguments...)...)
	command.Stdin = input
	if said, err := command.CombinedOutput(); err != nil {
		tb.Fatalf("git %v: %v: %s", arguments, err, said)
	}
}

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

// requestOf is a device's CSR, for a key of its own.
func requestOf(id string) string {
	return registrartest.PEM(registrartest.CSR(registrartest.Key(), id, nil))
}

// factoryCA is the certificate of a CA that signs factory certificates.
func factoryCA() string { return string(registrartest.Root("Factory", time.Now()).PEM()) }

// fleetOf are the documents of a fleet whose root has these keys.
func fleetOf(factory string, keys ...string) string {
	return `apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: fleet-root, namespace: cert-manager}
spec:
  subject: {commonName: Fleet Root}
  keys:
  - ` + strings.Join(keys, "\n  - ") + `
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: fleet}
spec: {scope: Cluster, authority: fleet-root}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: fleet-trust}
spec:
  authorities: [fleet-root]
  target: {configMap: {key: ca.crt}, namespaceSelector: {matchLabels: {trust: fleet}}}
---
apiVersion: reanchor.dev/v1alpha1
kind: DeviceGroup
metadata: {name: sensors}
spec:
  issuer: {name: fleet, kind: ClusterIssuer}
  namespace: plant
  bootstrap:
    identity: SubjectCommonName
    certificates: |
  ` + strings.ReplaceAll(indented(factory), "\n    ", "\n      ") + `
`
}
