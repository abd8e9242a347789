package v1alpha1

import (
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// zonesOf looks zones up, as the renderer does.
func zonesOf(t *testing.T, names ...string) Zones {
	t.Helper()
	zones := Zones{}
	for _, name := range names {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones[name] = zone
	}
	return zones
}

func scheduleOf(t *testing.T, windows ...Window) Schedule {
	t.Helper()
	schedule, err := NewSchedule(windows, zonesOf(t, "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"))
	if err != nil {
		t.Fatal(err)
	}
	return schedule
}

func window(cron string, duration time.Duration, zone string) Window {
	return Window{Cron: cron, Duration: metav1.Duration{Duration: duration}, TimeZone: zone}
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	instant, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return instant
}

// TestWindowsOpen: each opening follows from the one before.
func TestWindowsOpen(t *testing.T) {
	for name, test := range map[string]struct {
		window Window
		after  string
		want   []string
	}{
		"Saturday nights":    {window("0 2 * * 6", 4*time.Hour, ""), "2026-11-23T00:00:00Z", []string{"2026-11-28T02:00:00Z", "2026-12-05T02:00:00Z"}},
		"by name":            {window("0 2 * DEC sat", 4*time.Hour, "UTC"), "2026-11-23T00:00:00Z", []string{"2026-12-05T02:00:00Z", "2026-12-12T02:00:00Z"}},
		"steps":              {window("*/20 22-23 * * *", time.Minute, ""), "2026-11-23T22:20:00Z", []string{"2026-11-23T22:40:00Z", "2026-11-23T23:00:00Z"}},
		"lists":              {window("5,50 1,3 * * *", time.Minute, ""), "2026-11-23T01:50:00Z", []string{"2026-11-23T03:05:00Z", "2026-11-23T03:50:00Z"}},
		"either kind of day": {window("0 0 13 * 5", time.Hour, ""), "2026-11-06T00:00:00Z", []string{"2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z"}},
		"a leap day":         {window("0 0 29 2 *", time.Hour, ""), "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		"in a zone":          {window("0 2 * * *", time.Hour, "America/New_York"), "2026-07-01T00:00:00Z", []string{"2026-07-01T06:00:00Z"}},

		// In Berlin clocks jump from 02:00 to 03:00 at 2026-03-29T01:00Z, and back from 03:00
		// to 02:00 at 2026-10-25T01:00Z.
		"a time that is skipped":         {window("30 2 * * *", time.Hour, "Europe/Berlin"), "2026-03-28T02:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		"the time of the jump":           {window("0 2 * * 0", time.Hour, "Europe/Berlin"), "2026-03-28T02:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-04-05T00:00:00Z"}},
		"after the jump":                 {window("0 3 * * *", time.Hour, "Europe/Berlin"), "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"}},
		"several that are skipped":       {window("*/30 * * * *", time.Minute, "Europe/Berlin"), "2026-03-29T00:29:00Z", []string{"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"}},
		"a time that comes twice":        {window("30 2 * * *", time.Hour, "Europe/Berlin"), "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		"asked between the two":          {window("30 2 * * *", time.Hour, "Europe/Berlin"), "2026-10-25T01:10:00Z", []string{"2026-10-26T01:30:00Z"}},
		"a half hour of daylight saving": {window("45 1 * * *", time.Hour, "Australia/Lord_Howe"), "2026-04-04T00:00:00Z", []string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
		"a day that is skipped":          {window("0 10 30 12 *", time.Hour, "Pacific/Apia"), "2011-12-01T00:00:00Z", []string{"2011-12-30T10:00:00Z", "2012-12-29T20:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			schedule, after := scheduleOf(t, test.window), at(t, test.after)
			for _, want := range test.want {
				after = schedule.Opens(after)
				if got := after.UTC().Format(time.RFC3339); got != want {
					t.Fatalf("opens at %s, want %s", got, want)
				}
				if schedule.IsOpen(after.Add(-time.Second)) && test.window.Duration.Duration < 24*time.Hour && schedule.Closes(after.Add(-time.Second)).After(after) {
					t.Errorf("it is open already a second before %s", want)
				}
				if !schedule.IsOpen(after) {
					t.Errorf("it is not open at %s", want)
				}
			}
		})
	}
}

// TestWindowsClose: what is open is so from its first moment to the one before its end.
func TestWindowsClose(t *testing.T) {
	night, noon := window("0 2 * * 6", 4*time.Hour, ""), window("0 12 * * *", time.Hour, "")
	schedule := scheduleOf(t, night, noon)
	for moment, want := range map[string]string{
		"2026-11-28T01:59:59Z": "",
		"2026-11-28T02:00:00Z": "2026-11-28T06:00:00Z",
		"2026-11-28T05:59:59Z": "2026-11-28T06:00:00Z",
		"2026-11-28T06:00:00Z": "",
		"2026-11-28T12:30:00Z": "2026-11-28T13:00:00Z",
	} {
		closes := ""
		if end := schedule.Closes(at(t, moment)); !end.IsZero() {
			closes = end.UTC().Format(time.RFC3339)
		}
		if closes != want || schedule.IsOpen(at(t, moment)) != (want != "") {
			t.Errorf("at %s: open %t until %q, want until %q", moment, schedule.IsOpen(at(t, moment)), closes, want)
		}
	}
	if got := schedule.Opens(at(t, "2026-11-28T05:00:00Z")).UTC(); !got.Equal(at(t, "2026-11-28T12:00:00Z")) {
		t.Errorf("the next of two windows opens at %s", got)
	}
}

// A window that is longer than the time between two openings never closes.
func TestWindowsOverlap(t *testing.T) {
	schedule := scheduleOf(t, window("0 * * * *", 90*time.Minute, ""))
	for moment := at(t, "2026-11-28T00:00:00Z"); moment.Before(at(t, "2026-11-28T06:00:00Z")); moment = moment.Add(7 * time.Minute) {
		if !schedule.IsOpen(moment) {
			t.Errorf("it is closed at %s", moment)
		}
	}
}

// Without a window nothing is open, and nothing opens: whoever has none asks nobody.
func TestNoWindow(t *testing.T) {
	var none Schedule
	if now := at(t, "2026-11-28T00:00:00Z"); none.IsOpen(now) || !none.Opens(now).IsZero() || !none.Closes(now).IsZero() {
		t.Error("the zero Schedule has a window")
	}
}

func FuzzParseCron(f *testing.F) {
	for _, seed := range []string{"0 2 * * 6", "*/15 0-6 1,15 JAN-MAR mon", "TZ=UTC 0 0 * * *", "TZ=", "@daily", "0 0 30 2 *", "1-60 * * * *", "? ? ? ? ?"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseCron(text)
		if err != nil {
			return
		}
		o := opening{parsed, time.UTC, time.Hour}
		if first := o.next(someYear); !first.After(someYear) || first.Second() != 0 {
			t.Errorf("%q opens at %s", text, first)
		}
	})
}
