package planner_test

import (
	"testing"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// sensors is a group of devices for which the fleet's issuer signs.
func sensors() v1alpha1.DeviceGroup {
	return v1alpha1.DeviceGroup{
		Metadata: v1alpha1.Metadata{Name: "sensors"},
		Spec:     v1alpha1.DeviceGroupSpec{Issuer: v1alpha1.IssuerReference{Name: "fleet", Kind: v1alpha1.KindClusterIssuer}, Namespace: "plant"},
	}
}

// Devices are signed for by the key of which it is proved that the issuer signs with it.
func TestDevicesAreSignedForByAProvedKey(t *testing.T) {
	for name, test := range map[string]struct {
		site *site
		key  string
	}{
		"nothing moves":                          {settled(), "2025"},
		"the issuer is about to move":            {soaked(), "2025"},
		"the issuer has moved, and it is proved": {switched(), "2026"},
	} {
		t.Run(name, func(t *testing.T) {
			test.site.desired.Groups = []v1alpha1.DeviceGroup{sensors()}
			// Every device confirms and uses either key.
			ledger := planner.Ledger{Group: "sensors", Active: 1, Keys: []planner.Tally{{Key: key2025.Fingerprint()}, {Key: key2026.Fingerprint()}}}
			test.site.observed.Ledger = []planner.Ledger{ledger}
			plan := test.site.next()
			want := planner.DeviceRule{Group: "sensors", Authority: planner.Ref{Namespace: "cert-manager", Name: "fleet-root"}, Key: test.key}
			if rules := plan.Target.DeviceRules; len(rules) != 1 || rules[0] != want {
				t.Errorf("the rules are %+v, want %+v; the plan says %q", rules, want, tell(plan, test.site.now))
			}
		})
	}
}
