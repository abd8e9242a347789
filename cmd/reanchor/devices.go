package main

import (
	"cmp"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner/forecast"
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
