package forecast

import (
	"slices"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

const compromised = v1alpha1.KeyCompromised

type binding = v1alpha1.IssuerBinding

// authorityName is the authority of a key that is named "fleet-root/2025".
func authorityName(key string) string {
	name, _, _ := strings.Cut(key, "/")
	return name
}

// isCompromised reports whether Git says so of a key, or of the parent's key that a pair
// stands under.
func isCompromised(desired planner.Desired, authority, pair string) bool {
	return anyOf(desired, authority, pair, func(state v1alpha1.KeyState) bool { return state == compromised })
}

// isKept reports whether Git has the key signing or trusted, and the one above it too.
func isKept(desired planner.Desired, authority, pair string) bool {
	declared, is := authorityOf(desired, authority)
	return is && stateOf(declared, pair) != "" && !anyOf(desired, authority, pair, func(state v1alpha1.KeyState) bool {
		return state != v1alpha1.KeySigning && state != v1alpha1.KeyTrusted
	})
}

// anyOf reports whether the state of a key, or of one above it, is so.
func anyOf(desired planner.Desired, authority, pair string, is func(v1alpha1.KeyState) bool) bool {
	declared, known := authorityOf(desired, authority)
	if !known {
		return false
	}
	if is(stateOf(declared, pair)) {
		return true
	}
	_, above := v1alpha1.SplitKey(pair)
	return above != "" && declared.Spec.IssuedBy != nil && anyOf(desired, declared.Spec.IssuedBy.Name, above, is)
}

// stateOf a key of an authority; empty if Git does not list it.
func stateOf(authority v1alpha1.Authority, pair string) v1alpha1.KeyState {
	name, _ := v1alpha1.SplitKey(pair)
	at := slices.IndexFunc(authority.Spec.Keys, func(k v1alpha1.AuthorityKey) bool { return k.Name == name })
	if at < 0 {
		return ""
	}
	return authority.Spec.Keys[at].State
}
