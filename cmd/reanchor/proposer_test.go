package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/reanchor/reanchor/forge"
	"github.com/reanchor/reanchor/forge/forgetest"
	"github.com/reanchor/reanchor/registrar"
)

// A pull request is kept open as long as something waits. A forge in trouble is asked again,
// and nothing tells the token.
func TestProposer(t *testing.T) {
	for _, provider := range forge.Providers {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			server := forgetest.New(t, provider)
			environment := server.Environment()
			to, err := forge.ForRepository(provider, func(name string) string { return environment[name] }, forge.Settings{API: server.URL, Repository: "example/pki"})
			if err != nil {
				t.Fatal(err)
			}
			registry := prometheus.NewRegistry()
			metrics, err := registrar.NewMetrics(registry)
			if err != nil {
				t.Fatal(err)
			}
			lines := make(chan string, 100)
			p := newProposer(to, metrics, funcr.New(func(_, args string) { lines <- args }, funcr.Options{}))
			p.into = "main"
			var files atomic.Pointer[[]string]
			waits := func(paths ...string) { files.Store(&paths) }
			p.waiting = func(string) ([]string, error) { return *files.Load(), nil }
			var refused atomic.Int32
			server.Trouble = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost && refused.Add(1) == 1 {
					w.WriteHeader(http.StatusTeapot)
					_, _ = w.Write([]byte(`{"message": "not ` + server.Token + `"}`))
					return true
				}
				return false
			}

			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { p.run(ctx, 20*time.Millisecond); close(ended) }()
			said := func(want string) {
				t.Helper()
				select {
				case line := <-lines:
					if !strings.Contains(line, want) || strings.Contains(line, server.Token) {
						t.Errorf("it says %s, want %s", line, want)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("it never says %s", want)
				}
			}
			waits("devices/sensors/3f/sensor-1.yaml")
			p.ask("sensors")
			said("it is tried again")
			said("made")
			waits("devices/sensors/3f/sensor-1.yaml", "devices/sensors/40/sensor-2.yaml")
			p.ask("sensors")
			said("edited")
			cancel()
			<-ended

			all := server.Pulls()
			if len(all) != 1 || all[0].From != "reanchor/registrations/sensors" || all[0].Into != "main" || all[0].Title != "Register devices of sensors" ||
				!strings.HasPrefix(all[0].Body, "2 devices of the group `sensors` have asked") || !strings.Contains(all[0].Body, "\n- `devices/sensors/40/sensor-2.yaml`\n") {
				t.Errorf("there are %+v", all)
			}
			if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP reanchor_registrar_pull_requests_total Pull requests that were asked for, by what became of them.
# TYPE reanchor_registrar_pull_requests_total counter
reanchor_registrar_pull_requests_total{result="edited"} 1
reanchor_registrar_pull_requests_total{result="failed"} 1
reanchor_registrar_pull_requests_total{result="made"} 1
`), "reanchor_registrar_pull_requests_total"); err != nil {
				t.Error(err)
			}
			waits()
			if _, err := p.propose(t.Context(), "sensors"); !errors.Is(err, errNothingWaits) {
				t.Errorf("where nothing waits: %v", err)
			}
		})
	}
}

func TestDescriptionsAreBounded(t *testing.T) {
	text := describe("sensors", make([]string, mostDescribed+3))
	if strings.Count(text, "\n- ") != mostDescribed+1 || !strings.Contains(text, "\n- and 3 more\n") {
		t.Errorf("it says %s", text)
	}
}
