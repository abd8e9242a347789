package renderer

import (
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// zonesOf looks the time zones up that the windows of the documents name: in the system's
// database, or in the one that the program brings along. One that is not found is left out.
// "Local" is none: it is another on each machine.
func zonesOf(documents []v1alpha1.Document) v1alpha1.Zones {
	zones := v1alpha1.Zones{}
	for _, document := range documents {
		authority, is := document.Object.(*v1alpha1.Authority)
		if !is {
			continue
		}
		for _, window := range authority.Spec.Rollover.Windows {
			if zone, err := time.LoadLocation(window.TimeZone); err == nil && zone != time.Local {
				zones[window.TimeZone] = zone
			}
		}
	}
	return zones
}
