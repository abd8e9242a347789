package forecast

import (
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// anyDevice is the name of the one who stands for all devices of a group.
const anyDevice = "any-device"

// devicesOf begins what a group's devices are called among the changes.
const devicesOf = "Devices of "

// enrol lets one device stand for all of each group that has any: to verify the chain of
// every one of 100,000 would tell no more.
func (r *run) enrol(side Side) {
	for _, fleet := range side.Fleets {
		if fleet.Active == 0 || r.enrolled[fleet.Group] {
			continue
		}
		r.enrolled[fleet.Group] = true
		r.world.Enrol(simulation.Device{Group: fleet.Group, Name: anyDevice})
		r.warn(Finding{Rule: "assumed", Subject: "DeviceGroup " + fleet.Group, Message: fmt.Sprintf("each of its %s is proved as one representative, which comes by at once: how long they stay away is not forecast", counted(fleet.Active, "device"))})
	}
}

// seenDevices are the ledgers of the groups that have devices, as the cluster was seen.
func (r *run) seenDevices() map[string]planner.Ledger {
	there := map[string]planner.Ledger{}
	for group := range r.enrolled {
		there[group] = planner.Ledger{Group: group}
	}
	for _, ledger := range r.world.Observe().Ledger {
		if r.enrolled[ledger.Group] {
			there[ledger.Group] = ledger
		}
	}
	return there
}

// fleet is the group's, as the head has it, or else the base.
func (r *run) fleet(group string) Fleet {
	for _, side := range []Side{r.request.Head, r.request.Base} {
		if at := slices.IndexFunc(side.Fleets, func(f Fleet) bool { return f.Group == group && f.Active > 0 }); at >= 0 {
			return side.Fleets[at]
		}
	}
	return Fleet{Group: group}
}

// withoutEnrolments is what was written, without the first certificates of those who stand
// for devices that were there when the cluster was seen: these have theirs. Where some of
// them have one of another key, they are reissued.
func (r *recorder) withoutEnrolments(written []simulation.Written) []simulation.Written {
	told := make([]simulation.Written, 0, len(written))
	for _, write := range written {
		ledger, there := r.run.there[write.Ref.Namespace]
		if there && write.Kind == simulation.KindDevice && write.Verb == simulation.Made {
			if !r.isElsewhere(ledger, write) {
				continue
			}
			write.Verb = simulation.Reissued
		}
		told = append(told, write)
	}
	return told
}

// isElsewhere reports whether some devices were seen with a certificate that does not chain
// to the key that signs now.
func (r *recorder) isElsewhere(ledger planner.Ledger, write simulation.Written) bool {
	holders := r.run.holders(r.run.world.Observe())
	given, _ := v1alpha1.SplitKey(write.Key)
	return slices.ContainsFunc(ledger.Keys, func(t planner.Tally) bool {
		return t.Elsewhere.Count > 0 && slices.ContainsFunc(write.Authorities, func(authority planner.Ref) bool {
			return holders[t.Key] == authority.Name+"/"+write.Key || holders[t.Key] == authority.Name+"/"+given
		})
	})
}

// reissueOf is the stage in which the devices of an authority get another certificate. They
// come by after the plan that told them to.
func (r *recorder) reissueOf(write simulation.Written) []*entry {
	for _, e := range slices.Backward(r.entries) {
		if e.Phase == planner.Reissue && slices.Contains(write.Authorities, e.Authority) {
			return []*entry{e}
		}
	}
	return nil
}

// devicesIn are the devices of a stage: how many, and the first of each group.
func (r *recorder) devicesIn(e *entry) (count int, names []string) {
	for group := range e.devices {
		fleet := r.run.fleet(group)
		count += fleet.Active
		for _, id := range fleet.First {
			names = append(names, "Device "+group+"/"+id)
		}
	}
	return count, names
}
