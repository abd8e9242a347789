package registrar

import (
	"strconv"
	"testing"
	"time"
)

// However many come, those remembered are bounded; and who keeps coming is remembered.
func TestLimitersAreBounded(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	l := limiters{perSecond: 0.1}
	if wait := l.wait("steady", now); wait != 0 {
		t.Errorf("the first waits %s", wait)
	}
	for i := range 3 * limitersKept {
		l.wait(strconv.Itoa(i), now)
		if i%1000 == 0 && l.wait("steady", now) != 10*time.Second {
			t.Fatalf("after %d others it is forgotten", i)
		}
	}
	if kept := len(l.younger) + len(l.older); kept > 2*limitersKept {
		t.Errorf("%d are remembered", kept)
	}
	if wait := l.wait("steady", now.Add(10*time.Second)); wait != 0 {
		t.Errorf("ten seconds later it waits %s", wait)
	}
}

func TestAddresses(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:443": "192.0.2.1", "[2001:db8:1:2:3::4]:443": "2001:db8:1:2::", "[2001:db8:1:2:ffff::]:9": "2001:db8:1:2::", "pipe": "pipe",
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("%s counts as %s", remote, got)
		}
	}
}
