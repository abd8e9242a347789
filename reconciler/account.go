package reconciler

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/reanchor/reanchor/planner"
)

// cluster is the hand that the domain is written with: that of its service account, if
// it has one.
func (t *turn) cluster() (Cluster, error) {
	account := t.account()
	cluster, err := t.Parts.Cluster(t.ref(), account)
	if err != nil {
		return nil, failed(ReasonApplyFailed, fmt.Errorf("write as service account %s: %w", account, err))
	}
	return cluster, nil
}

// account that the domain is written as; zero: the controller's own.
func (t *turn) account() planner.Ref {
	if name := cmp.Or(t.domain.Spec.ServiceAccountName, t.Options.DefaultServiceAccount); name != "" {
		return planner.Ref{Namespace: t.domain.Namespace, Name: name}
	}
	return planner.Ref{}
}

// notWritten makes an error of a write the reason why a turn ends. What an account may
// not do is told first, as what is to be granted to it.
func (t *turn) notWritten(err error) error {
	missing := missingGrants(err, t.account())
	if len(missing) == 0 {
		return failed(ReasonApplyFailed, err)
	}
	return failed(ReasonForbidden, fmt.Errorf("the API server refused a write: grant %s: %w", list(missing), err))
}

// missingGrants are what an error says that account, or the controller, would need, each
// once, sorted.
func missingGrants(err error, account planner.Ref) []string {
	var missing []string
	for _, message := range refusals(err) {
		if grant := grantIn(message, account); grant != "" {
			missing = append(missing, grant)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// refusals are the API server's words in all branches of an error that are of HTTP
// status 403.
func refusals(err error) []string {
	switch wrapper := err.(type) { //nolint:errorlint // it looks into each wrapper itself
	case apierrors.APIStatus:
		if apierrors.IsForbidden(err) {
			return []string{err.Error()}
		}
	case interface{ Unwrap() []error }:
		var all []string
		for _, inner := range wrapper.Unwrap() {
			all = append(all, refusals(inner)...)
		}
		return all
	}
	if inner := errors.Unwrap(err); inner != nil {
		return refusals(inner)
	}
	return nil
}

// refusal is how the API server words that a user lacks a permission: forbiddenMessage of
// k8s.io/apiserver/pkg/endpoints/handlers/responsewriters.
var refusal = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)" in API group "([^"]*)"(?: in the namespace "([^"]*)")?`)

// grantIn words a refusal as what is to be granted, "service account plant/writer patch
// on certificates.cert-manager.io in namespace plant"; empty for a refusal of another
// kind, an admission's say. Who may not act as account at all is refused the verb
// impersonate or, by Kubernetes 1.36, impersonate-on:serviceaccount:patch and the like.
func grantIn(message string, account planner.Ref) string {
	found := refusal.FindStringSubmatch(message)
	if found == nil {
		return ""
	}
	user, verb, resource, group, namespace := found[1], found[2], found[3], found[4], found[5]
	if strings.HasPrefix(verb, "impersonate") {
		return fmt.Sprintf("%s impersonate on serviceaccounts, resourceNames [%s], in namespace %s", accountWords(user), account.Name, account.Namespace)
	}
	if group != "" {
		resource += "." + group
	}
	where := "in the whole cluster"
	if namespace != "" {
		where = "in namespace " + namespace
	}
	return fmt.Sprintf("%s %s on %s %s", accountWords(user), verb, resource, where)
}

// accountWords names a user, or the service account that it stands for.
func accountWords(user string) string {
	if account, is := strings.CutPrefix(user, "system:serviceaccount:"); is {
		return "service account " + strings.Replace(account, ":", "/", 1)
	}
	return fmt.Sprintf("user %q", user)
}
