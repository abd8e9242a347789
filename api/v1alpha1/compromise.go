package v1alpha1

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Compromise rewrites a file so that a key of an authority is Compromised, and another takes
// over: a key of the list becomes Signing, or a new one is added. If the key that is
// compromised does not sign, the successor may be empty. Nothing else of the file changes, not
// a comment and not a space. An authority that the file does not declare leaves it as it is:
// found is false then.
func Compromise(file string, data []byte, authority, key, successor string) (edited []byte, found bool, err error) {
	roots, problems := parse(file, data)
	if len(problems) > 0 {
		return nil, false, problems
	}
	for _, root := range roots {
		if isAuthority(root, authority) {
			edited, err = compromise(file, data, topLevel(topLevel(root, "spec"), "keys"), authority, key, successor)
			return edited, true, err
		}
	}
	return data, false, nil
}

// isAuthority reports whether a document declares the authority.
func isAuthority(root *yaml.Node, name string) bool {
	metadata := topLevel(root, "metadata")
	return scalar(topLevel(root, "apiVersion")) == APIVersion && scalar(topLevel(root, "kind")) == KindAuthority && scalar(topLevel(metadata, "name")) == name
}

func compromise(file string, data []byte, keys *yaml.Node, authority, key, successor string) ([]byte, error) {
	stolen := keyIn(keys, key)
	if stolen == nil {
		return nil, Error{File: file, Line: max(lineOf(keys), 1), Field: "spec.keys", Message: fmt.Sprintf(
			"Authority %s has no key %s: name one of %s", authority, quote(key), keyNames(keys))}
	}
	signs := scalar(topLevel(stolen, "state")) == string(KeySigning)
	next := keyIn(keys, successor)
	switch {
	case signs && successor == "":
		return nil, Error{File: file, Line: stolen.Line, Field: "spec.keys", Message: fmt.Sprintf("%s signs: name the key that takes over, a new one or one of the list", key)}
	case successor == key:
		return nil, Error{File: file, Line: stolen.Line, Field: "spec.keys", Message: fmt.Sprintf("%s cannot take over from itself: name another key", key)}
	case !signs && successor != "":
		return nil, Error{File: file, Line: stolen.Line, Field: "spec.keys", Message: fmt.Sprintf("%s does not sign, so that none takes over: leave the successor out", key)}
	case next != nil && KeyState(scalar(topLevel(next, "state"))).Goes():
		return nil, Error{File: file, Line: next.Line, Field: "spec.keys", Message: fmt.Sprintf("%s is %s: name another key", successor, scalar(topLevel(next, "state")))}
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if err := setState(file, lines, stolen, KeyCompromised); err != nil {
		return nil, err
	}
	switch {
	case next != nil:
		if err := setState(file, lines, next, KeySigning); err != nil {
			return nil, err
		}
	case successor != "":
		if keys.Style&yaml.FlowStyle != 0 {
			return nil, Error{File: file, Line: keys.Line, Field: "spec.keys", Message: "is a list in brackets, to which a line cannot be added: write each key on a line of its own"}
		}
		lines = addKey(lines, stolen, successor)
	}
	return bytes.Join(lines, nil), nil
}

// setState replaces the word that says where a key shall end.
func setState(file string, lines [][]byte, key *yaml.Node, state KeyState) error {
	node := topLevel(key, "state")
	line, at := lines[node.Line-1], node.Column-1
	if at > len(line) || !bytes.HasPrefix(line[at:], []byte(node.Value)) {
		return Error{File: file, Line: node.Line, Field: "spec.keys", Message: "the state is quoted or an alias: write it as a plain word"}
	}
	lines[node.Line-1] = slices.Concat(line[:at], []byte(state), line[at+len(node.Value):])
	return nil
}

// addKey adds a key before another, with its indentation.
func addKey(lines [][]byte, before *yaml.Node, name string) [][]byte {
	first := lines[before.Line-1]
	indent := first[:bytes.IndexByte(first, '-')]
	added := fmt.Appendf(nil, "%s- {name: %q, state: %s}\n", indent, name, KeySigning)
	return slices.Insert(lines, before.Line-1, added)
}

// keyIn is the key of that name in a list; nil if there is none.
func keyIn(keys *yaml.Node, name string) *yaml.Node {
	if keys == nil || name == "" {
		return nil
	}
	at := slices.IndexFunc(keys.Content, func(k *yaml.Node) bool { return scalar(topLevel(k, "name")) == name })
	if at < 0 || topLevel(keys.Content[at], "state") == nil {
		return nil
	}
	return keys.Content[at]
}

func keyNames(keys *yaml.Node) string {
	if keys == nil || len(keys.Content) == 0 {
		return "none"
	}
	var names []string
	for _, key := range keys.Content {
		names = append(names, strings.TrimSpace(scalar(topLevel(key, "name"))))
	}
	return list(names, "or")
}

func lineOf(node *yaml.Node) int {
	if node == nil {
		return 1
	}
	return node.Line
}
