package v1alpha1

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Zones are the time zones that windows name, by their names in the IANA database.
// Whoever reads the documents looks them up, for that takes files; whoever decides by them
// is given values. UTC needs no entry.
//
// +kubebuilder:object:generate=false
type Zones map[string]*time.Location

// named is the zone of a window; nil if it is not known.
func (z Zones) named(name string) *time.Location {
	if name == "" || name == time.UTC.String() {
		return time.UTC
	}
	return z[name]
}

// Schedule says when windows are open. The zero value has no window: nothing waits for one.
//
// A window opens whenever the clocks of its zone show a time that its cron names, and
// closes when its duration has passed. Where clocks are put forward, a time that they skip
// is the moment at which they jump; where they are put back, a time that they show twice is
// the first.
//
// +kubebuilder:object:generate=false
type Schedule struct{ openings []opening }

// opening is one window.
type opening struct {
	cron     *cron.SpecSchedule
	zone     *time.Location
	duration time.Duration
}

// NewSchedule reads windows whose zones were found. It fails on one that [Validate] refuses.
func NewSchedule(windows []Window, zones Zones) (Schedule, error) {
	var s Schedule
	for _, window := range windows {
		parsed, err := parseCron(window.Cron)
		if err != nil {
			return Schedule{}, err
		}
		zone := zones.named(window.TimeZone)
		if zone == nil {
			return Schedule{}, fmt.Errorf("the time zone %s was not found", quote(window.TimeZone))
		}
		s.openings = append(s.openings, opening{parsed, zone, window.Duration.Duration})
	}
	return s, nil
}

// IsOpen reports whether one of the windows is open at that time.
func (s Schedule) IsOpen(at time.Time) bool {
	_, open := s.since(at)
	return open
}

// since is when one of the windows opened that is open at that time.
func (s Schedule) since(at time.Time) (opened opening, open bool) {
	for _, o := range s.openings {
		if start := o.next(at.Add(-o.duration)); !start.IsZero() && !start.After(at) {
			return o, true
		}
	}
	return opening{}, false
}

// Closes is a time before which no window closes that is open at the time given, and at
// which one may; zero if none is open.
func (s Schedule) Closes(at time.Time) time.Time {
	opened, open := s.since(at)
	if !open {
		return time.Time{}
	}
	return opened.next(at.Add(-opened.duration)).Add(opened.duration)
}

// Opens is when the first window opens after that time, in the window's zone; zero if none
// does within five years.
func (s Schedule) Opens(after time.Time) time.Time {
	var first time.Time
	for _, o := range s.openings {
		if at := o.next(after); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// next is when the window opens first after that time; zero if not within five years. The
// cron is asked in a zone without daylight saving for what the clocks show.
func (o opening) next(after time.Time) time.Time {
	shown := clocks(after.In(o.zone))
	for {
		if shown = o.cron.Next(shown); shown.IsZero() {
			return time.Time{}
		}
		if at := momentOf(shown, o.zone); at.After(after) {
			return at
		}
	}
}

// clocks is what clocks show at that time, as if it were UTC.
func clocks(at time.Time) time.Time {
	_, offset := at.Zone()
	return at.UTC().Add(time.Duration(offset) * time.Second)
}

// longestOffset is more than any zone is ahead of UTC, or behind it.
const longestOffset = 24 * time.Hour

// momentOf is when the clocks of a zone show something: the first time if they do so twice,
// and the moment at which they jump if they skip it.
func momentOf(shown time.Time, zone *time.Location) time.Time {
	moment := func(near time.Time) time.Time {
		_, offset := near.In(zone).Zone()
		return shown.Add(-time.Duration(offset) * time.Second).In(zone)
	}
	before, after := moment(shown.Add(-longestOffset)), moment(shown.Add(longestOffset))
	switch {
	case clocks(before).Equal(shown):
		return before
	case clocks(after).Equal(shown):
		return after
	}
	jump, _ := before.ZoneBounds()
	return jump
}

// maxCron bounds the length of a cron expression, in bytes.
const maxCron = 200

// parseCron reads the five fields of crontab(5), the rule for the two kinds of day included:
// where both are given, either may match.
func parseCron(text string) (*cron.SpecSchedule, error) {
	switch {
	case len(text) > maxCron:
		return nil, fmt.Errorf("has %d bytes: %d are enough for five fields", len(text), maxCron)
	case strings.Contains(text, "="):
		return nil, errors.New("holds a time zone: write that in timeZone")
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a cron of five fields (minute, hour, day of the month, month, day of the week, which is 0 to 6 from Sunday): %w", quote(text), err)
	}
	fields, is := parsed.(*cron.SpecSchedule)
	if !is {
		return nil, fmt.Errorf("%s is not a cron of five fields", quote(text))
	}
	fields.Location = time.UTC
	if fields.Next(someYear).IsZero() {
		return nil, fmt.Errorf("%s comes on no day of any year", quote(text))
	}
	return fields, nil
}

// someYear is before a leap day.
var someYear = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
