package policies

import (
	"cmp"
	"slices"
)

// Severity says what a violation does.
type Severity string

// The severities.
const (
	// Deny stops the turn before anything is written.
	Deny Severity = "deny"
	// Warn is told and stops nothing.
	Warn Severity = "warn"
)

// Violation is one thing that must not be.
type Violation struct {
	// Rule that is violated: a built-in one, or the Policy's name.
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	// Subject is the object ("Certificate pki/root-2026") or the place in a file
	// ("keys/ca.pem:3").
	Subject string `json:"subject"`
	// Message says what is wrong with it.
	Message string `json:"message"`
	// Mend says what to do about it.
	Mend string `json:"mend"`
}

// String is the violation in one line: "rule: subject: message: mend".
func (v Violation) String() string {
	return v.Rule + ": " + v.Subject + ": " + v.Message + ": " + v.Mend
}

// Denied are the violations that stop a turn.
func Denied(violations []Violation) []Violation {
	return slices.DeleteFunc(slices.Clone(violations), func(v Violation) bool { return v.Severity != Deny })
}

func compare(a, b Violation) int {
	return cmp.Or(
		cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Message, b.Message),
	)
}
