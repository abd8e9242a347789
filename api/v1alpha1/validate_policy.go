package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
)

// ruledKinds are what a rule may be about: the documents, and what is rendered from them.
var ruledKinds = []string{
	KindAuthority, KindIssuerBinding, KindTrustBundle, KindDeviceGroup, KindDevice,
	"Certificate", "CertificateRequest", string(KindIssuer), string(KindClusterIssuer), "Bundle", "ConfigMap",
}

// policy checks a rule, but not its expressions.
func (v *validator) policy(document Document, policy *Policy) {
	if len(policy.Spec.Match.Kinds) == 0 {
		v.refuse(document, "spec.match.kinds", "is empty, so that the rule is about nothing: list kinds such as Certificate")
	}
	for i, kind := range policy.Spec.Match.Kinds {
		if !slices.Contains(ruledKinds, kind) {
			v.refuse(document, fmt.Sprintf("spec.match.kinds[%d]", i), "%s is not known: write %s%s", quote(kind), oneOf(ruledKinds), didYouMean(kind, ruledKinds))
		}
	}
	if len(policy.Spec.Validations) == 0 {
		v.refuse(document, "spec.validations", "is empty: say in at least one expression what must hold")
	}
	for i, validation := range policy.Spec.Validations {
		if strings.TrimSpace(validation.Expression) == "" {
			v.refuse(document, fmt.Sprintf("spec.validations[%d].expression", i), "is empty: write in CEL what must hold of the variable object")
		}
	}
}
