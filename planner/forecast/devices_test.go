package forecast_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/report"
	"github.com/reanchor/reanchor/planner/simulation"
)

// withSensors declares a group of devices for which the issuer signs.
func withSensors(desired planner.Desired) planner.Desired {
	desired.Groups = []v1alpha1.DeviceGroup{{
		Metadata: v1alpha1.Metadata{Name: "sensors"},
		Spec:     v1alpha1.DeviceGroupSpec{Issuer: v1alpha1.IssuerReference{Name: "fleet", Kind: v1alpha1.KindClusterIssuer}, Namespace: "plant"},
	}}
	return desired
}

// sensors are the devices of the group.
var sensors = forecast.Fleet{Group: "sensors", Active: 3, First: []string{"sensor-1", "sensor-2", "sensor-3"}}

// devicesIn is the plant with three devices, settled on what Git declares, and then turned
// with what it declares now until that is so.
func devicesIn(t *testing.T, base, head planner.Desired, until func(*simulation.World, planner.Plan) bool) forecast.Request {
	t.Helper()
	world := simulation.New(1, base, plant())
	world.KeepRecord()
	for _, name := range sensors.First {
		world.Enrol(simulation.Device{Group: sensors.Group, Name: name})
	}
	settle(t, world)
	world.Desired = head
	for range 1000 {
		if until(world, world.Turn()) {
			request := seen(base, head, world.Observe(), world.Now)
			request.Base.Fleets, request.Head.Fleets = []forecast.Fleet{sensors}, []forecast.Fleet{sensors}
			return request
		}
	}
	t.Fatalf("that never comes:\n%s", world.Log())
	return forecast.Request{}
}

// TestDevicesThatAreThere: devices that were seen with their certificates are told of when they
// get another, and not as if they came with the commit.
func TestDevicesThatAreThere(t *testing.T) {
	before, after := withSensors(swift(fleet(signing("2025")))), withSensors(swift(fleet(retired("2025"), signing("2026"))))
	atOnce := func(*simulation.World, planner.Plan) bool { return true }
	waiting := func(world *simulation.World, plan planner.Plan) bool {
		reissued := slices.ContainsFunc(plan.Rollovers, func(r planner.Rollover) bool { return r.Phase == planner.Reissue })
		world.Silent = map[string]bool{"sensors/sensor-1": true}
		return reissued && slices.ContainsFunc(world.Observe().Ledger[0].Keys, func(k planner.Tally) bool { return k.Elsewhere.Count == 1 })
	}
	rolls, middle := devicesIn(t, before, after, atOnce), devicesIn(t, before, after, waiting)
	middle.Base = middle.Head
	none, at := cluster(t, before, before, 0)
	first := seen(before, before, none, at)
	first.Head.Fleets = []forecast.Fleet{sensors}
	for name, test := range map[string]struct {
		request forecast.Request
		want    string // of all that is done with devices, by stages
	}{
		"nothing to do":  {devicesIn(t, before, before, atOnce), ""},
		"a rollover":     {rolls, "Reissue reissued"},
		"in its middle":  {middle, "Reissue reissued"},
		"the first ones": {first, "Settled made"},
	} {
		t.Run(name, func(t *testing.T) {
			f := forecast.Run(test.request)
			failUnlessRepeated(t, test.request, f)
			if got := doneWithDevices(f); got != test.want {
				t.Errorf("of devices is told %q, want %q; %s", got, test.want, f.Summary)
			}
			text, err := report.JSON(f)
			if err != nil {
				t.Fatal(err)
			}
			golden.File(t, filepath.Join("testdata", "devices-"+strings.ReplaceAll(name, " ", "-")+".json"), text)
		})
	}
}

func doneWithDevices(f forecast.Forecast) string {
	var done []string
	for _, stage := range f.Stages {
		for _, change := range stage.Changes {
			if change.Object == "Devices of sensors" {
				done = append(done, fmt.Sprintf("%s %s", stage.Phase, change.Verb))
			}
		}
	}
	return strings.Join(done, ", ")
}
