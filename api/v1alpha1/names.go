package v1alpha1

import "strings"

// KeyUnder names the key pair that an intermediate has for one of its keys under a
// key of its parent: "a.2025" is the key a, signed by the parent's 2025, and "x.a.2025"
// one below that. Keys in Git have no dots. A root's key is named as it is in Git.
func KeyUnder(key, parent string) string { return key + "." + parent }

// SplitKey tells a key pair's name in Git from the name of its parent's key pair,
// which is empty for a root's.
func SplitKey(name string) (key, parent string) {
	key, parent, _ = strings.Cut(name, ".")
	return key, parent
}
