package v1alpha1

import (
	"fmt"
	"time"
)

// lastWave is the percent of the leaves that every rollover ends with.
const lastWave = 100

// minWindow is the shortest window: nothing much is begun in less.
const minWindow = time.Minute

func (v *validator) waves(document Document, waves []int) {
	const field = "spec.rollover.waves"
	before := 0
	for i, percent := range waves {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case percent < 1 || percent > lastWave:
			v.refuse(document, at, "%d is no percent of the leaves: write 1 to %d", percent, lastWave)
		case percent <= before:
			v.refuse(document, at, "%d is not more than the %d before it: each wave is counted with those before, so they rise", percent, before)
		}
		before = percent
	}
	if len(waves) > 0 && before < lastWave {
		v.refuse(document, field, "the last is %d, and the other leaves would never be reissued: end with %d", before, lastWave)
	}
}

func (v *validator) windows(document Document, windows []Window) {
	for i, window := range windows {
		field := fmt.Sprintf("spec.rollover.windows[%d]", i)
		if _, err := parseCron(window.Cron); err != nil {
			v.refuse(document, field+".cron", "%s", err)
		}
		if duration := window.Duration.Duration; duration < minWindow {
			v.refuse(document, field+".duration", "%s is shorter than %s: too little is begun in that", duration, minWindow)
		}
		if v.site.Zones.named(window.TimeZone) == nil {
			v.refuse(document, field+".timeZone", "%s is no time zone of the IANA database: write one such as Europe/Berlin, or leave it out for UTC", quote(window.TimeZone))
		}
	}
}

// windowsBelow warns of an authority whose leaves do not wait for the windows that hold the
// one above it.
func (v *validator) windowsBelow(document Document, authority *Authority) {
	if authority.Spec.IssuedBy == nil || len(authority.Spec.Rollover.Windows) > 0 {
		return
	}
	above, found := v.authorities[authority.Spec.IssuedBy.Name]
	if found && len(above.Object.(*Authority).Spec.Rollover.Windows) > 0 {
		v.warn(document, "spec.rollover", "Authority %s, which issues it, has windows, and this one has none: its own leaves are reissued at any time; give it windows too", authority.Spec.IssuedBy.Name)
	}
}
