package main

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/policies"
)

// namedOfFleet is how many devices of a group a forecast is told by their ids.
const namedOfFleet = 5

// fleetsIn are the devices of an inventory, counted by their groups.
func fleetsIn(read *inventory.Inventory) []forecast.Fleet {
	if read == nil {
		return nil
	}
	fleets := map[string]*forecast.Fleet{}
	for device := range read.All() {
		fleet := fleets[device.Group]
		if fleet == nil {
			fleet = &forecast.Fleet{Group: device.Group}
			fleets[device.Group] = fleet
		}
		switch device.State {
		case v1alpha1.DeviceBlocked:
			fleet.Blocked++
		case v1alpha1.DeviceRetired:
			fleet.Retired++
		default:
			fleet.Active++
			fleet.First = withFirst(fleet.First, device.ID)
		}
	}
	all := make([]forecast.Fleet, 0, len(fleets))
	for _, fleet := range fleets {
		all = append(all, *fleet)
	}
	slices.SortFunc(all, func(a, b forecast.Fleet) int { return cmp.Compare(a.Group, b.Group) })
	return all
}

// withFirst keeps the first few ids, sorted.
func withFirst(first []string, id string) []string {
	at, _ := slices.BinarySearch(first, id)
	if at >= namedOfFleet {
		return first
	}
	first = slices.Insert(first, at, id)
	return first[:min(len(first), namedOfFleet)]
}

// moved are the devices that come or go between two revisions.
type moved struct {
	standing       int
	added, leaving []string
}

// movedBetween compares the active devices of two revisions. One whose file cannot be used any
// more is not gone.
func movedBetween(base, head *inventory.Inventory, folder string) moved {
	var m moved
	active := map[string]bool{}
	for device := range activeIn(head) {
		active[device.String()] = true
	}
	stood := map[string]bool{}
	for device := range activeIn(base) {
		m.standing++
		stood[device.String()] = true
		if !active[device.String()] && head.Readable(folder, device.Group, device.ID) {
			m.leaving = append(m.leaving, device.String())
		}
	}
	for name := range active {
		if !stood[name] {
			m.added = append(m.added, name)
		}
	}
	slices.Sort(m.added)
	slices.Sort(m.leaving)
	return m
}

// activeIn are the active devices of an inventory; none where there is none.
func activeIn(read *inventory.Inventory) iter.Seq[*inventory.Device] {
	return func(yield func(*inventory.Device) bool) {
		if read == nil {
			return
		}
		for device := range read.All() {
			if device.State == v1alpha1.DeviceActive && !yield(device) {
				return
			}
		}
	}
}

// devices tells of those that come and go, and refuses to let too many go at once.
func (c *comparison) devices() (blocks, warnings []forecast.Finding) {
	if c.head.Devices == nil || c.base.Devices == nil {
		return nil, nil
	}
	m := movedBetween(c.base.Devices, c.head.Devices, c.folder)
	for _, told := range []struct {
		names []string
		words string
	}{{m.added, "more to get a certificate: "}, {m.leaving, "fewer to have one, of which what was made for them is removed: "}} {
		if len(told.names) > 0 {
			warnings = append(warnings, forecast.Finding{Rule: "devices", Subject: v1alpha1.DevicesFolder, Message: counted(len(told.names), "device") + " " + told.words + firstNames(told.names)})
		}
	}
	input := policies.Input{Documents: c.head.Documents, Devices: policies.Devices{Standing: m.standing, Leaving: len(m.leaving)}, Now: c.now}
	for _, violation := range policies.Check(input) {
		if violation.Rule == policies.RuleMassDeletion {
			blocks = append(blocks, forecast.Finding{Rule: violation.Rule, Subject: violation.Subject, Message: violation.Message, Mend: violation.Mend})
		}
	}
	return blocks, warnings
}

// firstNames are the first few, and how many more there are.
func firstNames(names []string) string {
	text := strings.Join(names[:min(len(names), namedOfFleet)], ", ")
	if more := len(names) - namedOfFleet; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
