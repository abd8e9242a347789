package service_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// A device that knows only the old root gets in by the link of the record when the endpoint's
// own certificate is the new one's; by the proof name it does not.
func TestLinksAreShown(t *testing.T) {
	old, next := registrartest.Root("Fleet Root 2025", time.Now()), registrartest.Root("Fleet Root 2026", time.Now())
	b := open(t, next, old)
	b.serve()
	s := b.sensor("sensor-1")
	s.anchors = pki.NewAnchors(old.Certificate)
	if _, _, _, err := s.ask(serverName, "GET", "/v1/trust-bundle", ""); err == nil {
		t.Error("without a link the old root leads to the new certificate")
	}
	link := old.Link(next, time.Now())
	_, err := b.remote.Commit(t.Context(), "Record a link", map[string][]byte{"anchors/fleet-root/links/2025.2026.pem": link.PEM()})
	b.must(err)
	b.must(b.git.Refresh(t.Context()))
	if status, answer, _, err := s.ask(serverName, "GET", "/v1/trust-bundle", ""); status != http.StatusOK || err != nil {
		t.Errorf("by the link: %d %s %v", status, answer, err)
	}
	if _, _, _, err := s.ask(proofName, "GET", "/v1/trust-bundle", ""); err == nil {
		t.Error("the proof name lets in who trusts the old root alone")
	}
	s.anchors = pki.NewAnchors(next.Certificate)
	if status, answer, _, err := s.ask(proofName, "GET", "/v1/trust-bundle", ""); status != http.StatusOK || err != nil {
		t.Errorf("by the proof name: %d %s %v", status, answer, err)
	}
}
