package service_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// A forced push that takes a registration back is not followed: who was registered is served as
// before, nobody new is registered, until a person accepts what is there now. Then the device
// that was lost registers anew.
func TestRegistrationsThatAreTakenBack(t *testing.T) {
	b := open(t, registrartest.Root("Fleet Root 2025", time.Now()))
	b.serve()
	lost, late := b.sensor("sensor-1"), b.sensor("sensor-2")
	before := b.writer.Newest()
	if status, answer := lost.register(); status != http.StatusCreated {
		t.Fatalf("answered %d %s", status, answer)
	}
	b.must(b.remote.MoveTo(before.Commit()))
	if status, answer := late.register(); status != http.StatusServiceUnavailable {
		t.Errorf("on a rewritten branch a new device is answered %d %s", status, answer)
	}
	if err := b.git.Refresh(t.Context()); !errors.Is(err, gitsource.ErrRewritten) {
		t.Errorf("the branch is read: %v", err)
	}
	if status, answer, _, err := lost.ask(serverName, "GET", "/v1/devices/sensor-1/certificate", ""); err != nil || status != http.StatusOK {
		t.Errorf("who was registered is answered %d %s %v", status, answer, err)
	}

	b.after.Store(&gitsource.After{Accept: before.Revision()})
	b.must(b.git.Refresh(t.Context()))
	for _, s := range []*sensor{late, lost} {
		s.shows = b.sensor(s.id).shows
		if status, answer := s.register(); status != http.StatusCreated {
			t.Errorf("%s, once that is accepted: answered %d %s", s.id, status, answer)
		}
	}
}
