package service_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/fixtures/stage"
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

	b.retire("2026")
	s.anchors = pki.NewAnchors(old.Certificate)
	status, bundle, _, err := s.ask(serverName, "GET", "/v1/trust-bundle", "")
	if status != http.StatusOK || err != nil {
		t.Fatalf("by the link, after the old root was retired: %d %v", status, err)
	}
	if told, err := pki.ParsePEM([]byte(bundle)); err != nil || len(told) != 1 || !told[0].Equal(next.Certificate) {
		t.Errorf("it is told to trust %v, %v", told, err)
	}
}

// retire a key, as a person and the controller do together.
func (b *bench) retire(key string) {
	b.t.Helper()
	declared, err := b.remote.Show(b.t.Context(), "show", stage.Branch+":pki.yaml")
	b.must(err)
	certificate, err := b.remote.Show(b.t.Context(), "show", stage.Branch+":anchors/fleet-root/"+key+".pem")
	b.must(err)
	_, err = b.remote.Commit(b.t.Context(), "Retire a key", map[string][]byte{
		"pki.yaml":                                   []byte(strings.Replace(declared, fmt.Sprintf("{name: %q, state: Trusted}", key), fmt.Sprintf("{name: %q, state: Retired}", key), 1)),
		"anchors/fleet-root/" + key + ".pem":         nil,
		"anchors/fleet-root/retired/" + key + ".pem": []byte(certificate),
	})
	b.must(err)
	b.must(b.git.Refresh(b.t.Context()))
}
