package policies

import "slices"

// The names of the built-in rules.
const (
	RulePrivateKey           = "private-key"
	RuleAnchorChanged        = "anchor-changed"
	RuleAnchorUnpinned       = "anchor-unpinned"
	RuleIntermediateInBundle = "intermediate-in-bundle"
	RuleBundleTooLarge       = "bundle-too-large"
	RuleCAOutlivesLeaves     = "ca-outlives-leaves"
	RuleCALifetime           = "ca-lifetime"
	RuleLeafLifetime         = "leaf-lifetime"
	RuleOverlapTooShort      = "overlap-too-short"
	RuleWeakKey              = "weak-key"
	RuleWeakSignature        = "weak-signature"
	RulePathLength           = "path-length"
	RuleNameConstraint       = "name-constraint"
	RuleLeafIsCA             = "leaf-is-ca"
	RuleWildcardName         = "wildcard-name"
	RuleSharedName           = "shared-name"
	RuleForeignName          = "foreign-name"
	RuleAuthorityInUse       = "authority-in-use"
	RuleMassDeletion         = "mass-deletion"
	RuleKeyNameReused        = "key-name-reused"
	RuleNoSoak               = "no-soak"
	// RulePolicy is told of by policies themselves: an exemption that has ended, an
	// expression that does not compile.
	RulePolicy = "policy"
)

// Rule is one of the built-in rules, for people to read of.
type Rule struct {
	Name string
	// Severities that its violations may have, the worst first.
	Severities []Severity
	// Exemptable reports that a Policy may exempt somebody from it.
	Exemptable bool
	// Says what must be, in Markdown.
	Says string
}

// builtIn is a rule and the function that finds what breaks it.
type builtIn struct {
	Rule
	find func(*scene) []Violation
}

// builtInRules are all of them, in the order in which the reference tells of them.
var builtInRules = []builtIn{
	{Rule{RulePrivateKey, []Severity{Deny}, false, "No private key stands in Git: not as PEM, PKCS#8, PKCS#12 or Java keystore, not in base64, not in a Secret. What is found is named and located, never shown."}, leaked},
	{Rule{RuleAnchorChanged, []Severity{Deny, Warn}, false, "What trust hangs on is as planned: anchors, bundles and their targets, CA Certificates, issuers; and nothing else writes to the same objects, or signs with the same keys. It warns of a Certificate that makes the Secret of a key from elsewhere and renews it by itself."}, changed},
	{Rule{RuleAnchorUnpinned, []Severity{Warn}, true, "A Bundle that stands in Git beside the documents has its anchors inline: one that reads a Secret or a ConfigMap drops the old root the moment that changes."}, unpinned},
	{Rule{RuleIntermediateInBundle, []Severity{Warn}, true, "Every planned anchor is self-signed."}, func(s *scene) []Violation { return intermediates(s.Plan.Target) }},
	{Rule{RuleBundleTooLarge, []Severity{Deny}, false, "A bundle fits into a ConfigMap: 1 MiB."}, func(s *scene) []Violation { return tooLarge(s.Plan.Target) }},
	{Rule{RuleCAOutlivesLeaves, []Severity{Deny, Warn}, true, "No Certificate, an intermediate's included, and no device group asks for a longer life than the CA that signs it has; it warns where both are equal."}, outliving},
	{Rule{RuleCALifetime, []Severity{Warn}, true, "A CA lives 30 years at most."}, longLivedCAs},
	{Rule{RuleLeafLifetime, []Severity{Warn}, true, "A leaf lives 398 days at most."}, longLivedLeaves},
	{Rule{RuleOverlapTooShort, []Severity{Warn}, true, "While two keys of an authority are in use, what is left of the one that gives way covers the rollover: skew, soak and the wait for devices that are offline."}, shortOverlaps},
	{Rule{RuleWeakKey, []Severity{Deny, Warn}, true, "An RSA key has 2048 bits at least, and no key lies on the curve P-224. It warns of a CA whose RSA key has less than 3072 bits, of a key that is weaker than the one that it takes over from, and of weak anchors that Git does not give."}, weakKeys},
	{Rule{RuleWeakSignature, []Severity{Deny, Warn}, true, "No certificate that Git gives is signed with SHA-1, MD5 or DSA; it warns of a self-signed one, whose signature nobody relies on, and of anchors that Git does not give."}, weakSignatures},
	{Rule{RulePathLength, []Severity{Deny}, true, "No intermediate hangs deeper under a CA than the path length of that CA's certificate allows (RFC 5280, section 4.2.1.9)."}, tooDeep},
	{Rule{RuleNameConstraint, []Severity{Deny}, true, "A leaf's names lie within the name constraints of the CAs above it (RFC 5280, section 4.2.1.10)."}, unconstrained},
	{Rule{RuleLeafIsCA, []Severity{Deny}, true, "No Certificate of one of our issuers is a CA's or may sign certificates, but those of the authorities' own keys; no device group has such usages."}, leavesThatSign},
	{Rule{RuleWildcardName, []Severity{Deny, Warn}, true, "No device group has a wildcard among its DNS names; it warns of a Certificate that has one."}, wildcards},
	{Rule{RuleSharedName, []Severity{Deny}, true, "Each DNS name of a device group contains `{{ .ID }}`: one that does not would be every device's."}, sharedNames},
	{Rule{RuleForeignName, []Severity{Deny}, true, "DNS names of Certificates and device groups lie in the domains that policies list, if any does. A name without a dot lies nowhere and is allowed."}, foreignNames},
	{Rule{RuleAuthorityInUse, []Severity{Deny}, false, "No key goes from the cluster while a leaf that it signed has not ended, unless the key itself ends or is `Compromised`."}, goneInUse},
	{Rule{RuleMassDeletion, []Severity{Deny}, true, "No turn takes more than 20% of the devices out, one alone excepted."}, massDeletion},
	{Rule{RuleKeyNameReused, []Severity{Deny}, false, "A key's name stands for one key for ever: none that was retired, and no other certificate than the recorded one."}, reusedNames},
	{Rule{RuleNoSoak, []Severity{Deny, Warn}, true, "In production (`reanchor.dev/environment: production` on the Authority, on the Namespace of its keys or on the TrustDomain) an authority has soak and skew. Elsewhere it warns of one with several keys and no soak."}, unsoaked},
	{Rule{RulePolicy, []Severity{Deny, Warn}, false, "The policies themselves are in order: their expressions compile. It warns of exemptions that have ended."}, brokenPolicies},
}

// BuiltIn are the rules that every domain is held against.
func BuiltIn() []Rule {
	rules := make([]Rule, len(builtInRules))
	for i, rule := range builtInRules {
		rules[i] = rule.Rule
	}
	return rules
}

// ruleNamed finds a built-in rule.
func ruleNamed(name string) (Rule, bool) {
	i := slices.IndexFunc(builtInRules, func(rule builtIn) bool { return rule.Name == name })
	if i < 0 {
		return Rule{}, false
	}
	return builtInRules[i].Rule, true
}
