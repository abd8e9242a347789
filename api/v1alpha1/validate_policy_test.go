package v1alpha1

import (
	"slices"
	"testing"
	"time"
)

func policyOf(name, spec string) string {
	return head + "kind: Policy\nmetadata: {name: " + name + "}\nspec:\n" + spec
}

func TestValidatePolicies(t *testing.T) {
	refusals(t, policyOf("p", "  match: {kinds: [Certificate, DeviceGroup, Plan, DeviceRequest, Kafka.kafka.strimzi.io]}\n  validations: [{expression: 'true', message: never}]\n"), Site{})
	refusals(t, policyOf("p", "  exemptions: [{rule: r, subject: '*', reason: why, until: 2027-01-31}]\n"), Site{})
	refusals(t, policyOf("p", "  domains: [plant.example]\n"), Site{})
	refusals(t, documents(
		policyOf("p", "  match: {kinds: []}\n"),
		policyOf("p", "  match: {kinds: [Certificat, Kafka.]}\n  validations:\n  - expression: ' '\n  domains: ['*.example']\n"),
		policyOf("q", "  match: {kinds: [Plan]}\n  exemptions:\n  - {rule: '', subject: ' ', reason: '', until: tomorrow}\n"),
		policyOf("r", "  match: {kinds: []}\n  validations: [{expression: 'true'}]\n"),
	), Site{},
		`f.yaml:4: spec: says nothing: give validations with a match, domains or exemptions`,
		`f.yaml:9: metadata.name: Policy p is declared already (f.yaml:1): a name is used once among its kind, so rename one of them`,
		`f.yaml:11: spec.match.kinds[0]: "Certificat" is not known without its API group: write a kind such as Certificate, or one with its group, such as Kafka.kafka.strimzi.io; did you mean "Certificate"?`,
		`f.yaml:11: spec.match.kinds[1]: "Kafka." is not known without its API group: write a kind such as Certificate, or one with its group, such as Kafka.kafka.strimzi.io`,
		`f.yaml:13: spec.validations[0].expression: is empty: write in CEL what must hold of the variable object`,
		`f.yaml:14: spec.domains[0]: "*.example" is not a domain: write one such as plant.example, which stands for all names below it too`,
		`f.yaml:19: spec.validations: is empty: say in at least one expression what must hold of what is matched`,
		`f.yaml:22: spec.exemptions[0].reason: is empty: say why, for those who read it when it ends`,
		`f.yaml:22: spec.exemptions[0].rule: is empty: name the rule, built-in or a Policy`,
		`f.yaml:22: spec.exemptions[0].subject: is empty: name what is exempt, such as Certificate plant/broker`,
		`f.yaml:22: spec.exemptions[0].until: "tomorrow" is not a day: write one such as 2027-01-31, on which the exemption ends`,
		`f.yaml:28: spec.match.kinds: is empty, so that the rule is about nothing: list kinds such as Certificate`,
	)
}

// Without a reason or an end an exemption does not decode, nor does an unknown severity.
func TestExemptionsSayWhyAndHowLong(t *testing.T) {
	_, err := Decode("f.yaml", []byte(policyOf("p", "  severity: Deny\n  exemptions:\n  - {rule: r, subject: s}\n")))
	const want = `f.yaml:5: spec.severity: "Deny" is not known: write deny or warn; did you mean "deny"?
f.yaml:7: spec.exemptions[0].reason: is missing
f.yaml:7: spec.exemptions[0].until: is missing`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// What the rules find wrong with a policy is told where it stands.
func TestPoliciesAreHeldAgainstTheRules(t *testing.T) {
	seen := 0
	site := Site{CheckPolicies: func(policies []Policy) []PolicyProblem {
		seen = len(policies)
		return []PolicyProblem{{Policy: "q", Field: "spec.validations[0].expression", Message: "does not compile"}}
	}}
	one := "  match: {kinds: [Plan]}\n  validations:\n  - message: no\n    expression: a\n"
	refusals(t, documents(policyOf("p", one), policyOf("q", one)), site,
		`f.yaml:17: spec.validations[0].expression: does not compile`)
	if seen != 2 {
		t.Errorf("%d policies were looked at, want 2", seen)
	}
}

func TestTheEndOfAnExemption(t *testing.T) {
	want := time.Date(2027, time.January, 31, 0, 0, 0, 0, time.UTC)
	for _, until := range []string{"2027-01-31", "2027-01-31T00:00:00Z"} {
		if end, err := (Exemption{Until: until}).End(); err != nil || !end.Equal(want) {
			t.Errorf("%s is %s (%v), want %s", until, end, err, want)
		}
	}
}

func TestRuledKind(t *testing.T) {
	for name, want := range map[string]string{
		"Certificate": "Certificate.cert-manager.io", "ConfigMap": "ConfigMap", "Kafka.kafka.strimzi.io": "Kafka.kafka.strimzi.io", "Plan": "Plan.reanchor.dev",
	} {
		if found, known := RuledKind(name); !known || found.String() != want {
			t.Errorf("%s is %s, %t; want %s", name, found, known, want)
		}
	}
	if !slices.Contains(ruledNames(), KindDeviceRequest) {
		t.Error("no rule may be about a device's request")
	}
}
