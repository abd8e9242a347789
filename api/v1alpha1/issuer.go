package v1alpha1

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// issuerSpec checks the spec of an external issuer against cert-manager's own type. What a
// type cannot say, such as that a server's address is needed, is left to cert-manager's
// webhook.
func (v *validator) issuerSpec(document Document, field string, raw []byte) {
	var spec certmanagerv1.IssuerSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		at, problem := typeProblem(field, err)
		v.refuse(document, at, "%s: see https://cert-manager.io/docs/configuration/", problem)
		return
	}
	for _, unknown := range unknownIssuerFields(raw) {
		v.refuse(document, join(field, short(unknown)), "is no field of a cert-manager issuer's spec: mend or take it out")
	}
	if problem := issuerTypeProblem(spec.IssuerConfig); problem != "" {
		v.refuse(document, field, "%s", problem)
	}
}

// typeProblem says which value of the spec in a field is of the wrong type.
func typeProblem(field string, err error) (at, problem string) {
	mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return field, fmt.Sprintf("is not the spec of a cert-manager issuer (%s)", err)
	}
	if below := strings.TrimPrefix(mismatch.Field, "IssuerConfig."); below != "" { // an inlined struct
		field = join(field, below)
	}
	return field, fmt.Sprintf("want what cert-manager has there, not a value of type %s", mismatch.Value)
}

var unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)

// unknownIssuerFields are the paths of fields that cert-manager does not know.
func unknownIssuerFields(raw []byte) []string {
	var object map[string]any
	var spec certmanagerv1.IssuerSpec
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil
	}
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object, &spec, true)
	strict, ok := runtime.AsStrictDecodingError(err)
	if !ok {
		return nil
	}
	var paths []string
	for _, problem := range strict.Errors() {
		if match := unknownField.FindStringSubmatch(problem.Error()); match != nil {
			paths = append(paths, match[1])
		}
	}
	return paths
}

// issuerTypeProblem says why a spec is not that of one issuer behind which a key stays.
func issuerTypeProblem(config certmanagerv1.IssuerConfig) string {
	var types []string
	for _, t := range []struct {
		name string
		set  bool
	}{
		{"acme", config.ACME != nil},
		{"ca", config.CA != nil},
		{"selfSigned", config.SelfSigned != nil},
		{"vault", config.Vault != nil},
		{"venafi", config.Venafi != nil},
	} {
		if t.set {
			types = append(types, t.name)
		}
	}
	switch {
	case len(types) != 1:
		return fmt.Sprintf("configures %d types of issuer, and must configure one: acme, vault or venafi", len(types))
	case config.CA != nil:
		return "is of type ca, whose key lies in a Secret here: name that in secret instead"
	case config.SelfSigned != nil:
		return "is of type selfSigned, behind which there is no CA: for a root that is made here take issuer and certificate out"
	}
	return ""
}
