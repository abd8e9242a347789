package planner_test

import (
	"slices"
	"testing"
	"time"

	"github.com/reanchor/reanchor/planner"
)

// TestWhoReloadsIsNamedForThatLong: once the copies are without a compromised key, a workload
// that reloads by itself is named as trusting it for as long as its owner says that it takes.
func TestWhoReloadsIsNamedForThatLong(t *testing.T) {
	s := switched()
	s.commit("2025 Compromised", "2026 Signing")
	s.distribute(key2026)
	s.client().Reloads, s.client().Kind = time.Minute, "Deployment"
	named := func() bool {
		return slices.ContainsFunc(s.next().StillTrust, func(d planner.Drop) bool { return d.Who == "Deployment lab/client" })
	}
	if !named() {
		t.Error("it is not named though nobody knows since when it might have reloaded")
	}
	s.rest(50 * time.Second)
	if !named() {
		t.Error("it is not named before its time has passed")
	}
	s.rest(20 * time.Second)
	if named() {
		t.Errorf("it is named after its time has passed: %v", s.next().StillTrust)
	}
}
