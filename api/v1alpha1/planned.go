package v1alpha1

import (
	"reflect"
	"slices"
)

// What the design knows and the program does not enforce yet. It is refused by
// name, so that nobody relies on what is not done: accepted and ignored, a field
// such as waitForOffline would be a promise broken in silence.

const kindTrustDomain = "TrustDomain"

var plannedKinds = []string{"Device", "DeviceGroup", "Policy"}

var plannedFields = map[reflect.Type][]string{
	reflect.TypeFor[AuthorityKey]():      {"certificate", "issuer", "secret"},
	reflect.TypeFor[Rollover]():          {"waitForOffline", "waves", "windows"},
	reflect.TypeFor[IssuerBindingSpec](): {"references"},
	reflect.TypeFor[TrustBundleSpec]():   {"certificates", "probes", "useDefaultCAs"},
	reflect.TypeFor[BundleTarget]():      {"secret"},
}

var plannedValues = map[reflect.Type][]string{
	reflect.TypeFor[KeyState]():     {string(KeyCompromised)},
	reflect.TypeFor[Confirmation](): {string(ConfirmDevices)},
	reflect.TypeFor[BundleVia]():    {"ConfigMap", "Observed"},
}

func isPlannedField(structure reflect.Type, name string) bool {
	return slices.Contains(plannedFields[structure], name)
}

func isPlannedValue(enumeration reflect.Type, value string) bool {
	return slices.Contains(plannedValues[enumeration], value)
}
