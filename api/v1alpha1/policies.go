package v1alpha1

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Policy is a rule of the team's own, in CEL (https://cel.dev), or what the team says of
// the built-in rules: the domains that names lie in, and exemptions.
type Policy struct {
	metav1.TypeMeta `json:",inline"`

	// Metadata names the policy, and the rule.
	Metadata Metadata `json:"metadata"`
	// Spec says what must hold of what.
	Spec PolicySpec `json:"spec"`
}

// PolicySpec says what must hold of what.
type PolicySpec struct {
	// Match picks what the validations are about.
	Match PolicyMatch `json:"match,omitzero"`
	// Severity of a validation that does not hold; deny when absent.
	Severity PolicySeverity `json:"severity,omitempty"`
	// Validations must all hold of all that is matched.
	Validations []Validation `json:"validations,omitempty"`
	// Domains that DNS names must lie in, those of Certificates and of device groups. Those
	// of all policies count together; without any, names may lie anywhere.
	Domains []string `json:"domains,omitempty"`
	// Exemptions from rules, built-in ones and the team's own.
	Exemptions []Exemption `json:"exemptions,omitempty"`
}

// PolicySeverity says what becomes of a turn when a rule is broken.
type PolicySeverity string

// The severities.
const (
	// PolicyDeny stops the turn before anything is written.
	PolicyDeny PolicySeverity = "deny"
	// PolicyWarn is told and stops nothing.
	PolicyWarn PolicySeverity = "warn"
)

// Values are the severities that a document may name.
func (PolicySeverity) Values() []string { return []string{string(PolicyDeny), string(PolicyWarn)} }

// PolicyMatch picks what a rule is about.
type PolicyMatch struct {
	// Kinds of document or manifest. One that is not well known has its API group behind
	// a dot: Kafka.kafka.strimzi.io. Plan is the plan of a turn, and DeviceRequest a request
	// of a device for a certificate.
	Kinds []string `json:"kinds"`
}

// Validation is one expression that must be true.
type Validation struct {
	// Expression in CEL that must be true, of the variable object above all.
	Expression string `json:"expression"`
	// Message that is told when it is not true.
	Message string `json:"message,omitempty"`
	// MessageExpression in CEL makes the message: a text. Message is told if it fails.
	MessageExpression string `json:"messageExpression,omitempty"`
}

// Exemption lets one rule be broken, by one subject or by some, for a reason and a time.
type Exemption struct {
	// Rule that may be broken: a built-in one, or the name of a Policy.
	Rule string `json:"rule"`
	// Subject as the rule's violations name it, "Certificate plant/broker", or its name
	// alone, "plant/broker"; * stands for any characters.
	Subject string `json:"subject"`
	// Reason for people.
	Reason string `json:"reason"`
	// Until is the day on which the exemption ends, as in 2027-01-31: it counts up to the
	// beginning of that day, in UTC.
	Until string `json:"until"`
}

// End is when the exemption ends; an error if Until is no day.
func (e Exemption) End() (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, e.Until); err == nil {
		return day, nil
	}
	return time.Parse(time.RFC3339, e.Until) // what YAML makes of a day without quotes
}

// The kinds that a rule may be about which are neither documents nor objects.
const (
	// KindPlan is the plan of a turn.
	KindPlan = "Plan"
	// KindDeviceRequest is a device's request for a certificate.
	KindDeviceRequest = "DeviceRequest"
)

// ruledKinds are those that a rule may name without their API group.
var ruledKinds = []schema.GroupKind{
	{Group: GroupVersion.Group, Kind: KindAuthority},
	{Group: GroupVersion.Group, Kind: KindIssuerBinding},
	{Group: GroupVersion.Group, Kind: KindTrustBundle},
	{Group: GroupVersion.Group, Kind: KindDeviceGroup},
	{Group: GroupVersion.Group, Kind: KindDevice},
	{Group: GroupVersion.Group, Kind: KindDeviceRequest},
	{Group: GroupVersion.Group, Kind: KindPlan},
	{Group: "cert-manager.io", Kind: "Certificate"},
	{Group: "cert-manager.io", Kind: "CertificateRequest"},
	{Group: "cert-manager.io", Kind: string(KindIssuer)},
	{Group: "cert-manager.io", Kind: string(KindClusterIssuer)},
	{Group: "trust.cert-manager.io", Kind: "Bundle"},
	{Kind: "ConfigMap"},
	{Kind: "Secret"},
	{Kind: "Namespace"},
	{Kind: "Service"},
	{Group: "apps", Kind: "Deployment"},
	{Group: "apps", Kind: "StatefulSet"},
	{Group: "apps", Kind: "DaemonSet"},
	{Group: "networking.k8s.io", Kind: "Ingress"},
	{Group: "gateway.networking.k8s.io", Kind: "Gateway"},
}

// RuledKind is the kind that a rule names: a well-known one, or Kind.group.
func RuledKind(name string) (found schema.GroupKind, known bool) {
	kind, group, qualified := strings.Cut(name, ".")
	if qualified {
		return schema.GroupKind{Group: group, Kind: kind}, group != "" && kind != ""
	}
	i := slices.IndexFunc(ruledKinds, func(k schema.GroupKind) bool { return k.Kind == name })
	if i < 0 {
		return schema.GroupKind{}, false
	}
	return ruledKinds[i], true
}

// ruledNames are the names of the well-known kinds.
func ruledNames() []string {
	names := make([]string, len(ruledKinds))
	for i, kind := range ruledKinds {
		names[i] = kind.Kind
	}
	return names
}
