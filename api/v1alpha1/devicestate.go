package v1alpha1

import (
	"bytes"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// SetDeviceState rewrites a file so that a device of a group has another state. Nothing else of
// the file changes, not a comment and not a space. A device that the file does not declare
// leaves it as it is: found is false then.
func SetDeviceState(file string, data []byte, group, name string, state DeviceState) (edited []byte, found bool, err error) {
	roots, problems := parse(file, data)
	if len(problems) > 0 {
		return nil, false, problems
	}
	for _, root := range roots {
		if spec := topLevel(root, "spec"); isDevice(root, name) && scalar(topLevel(spec, "group")) == group {
			edited, err = setDeviceState(file, data, spec, state)
			return edited, true, err
		}
	}
	return data, false, nil
}

// isDevice reports whether a document declares the device.
func isDevice(root *yaml.Node, name string) bool {
	return scalar(topLevel(root, "apiVersion")) == APIVersion && scalar(topLevel(root, "kind")) == KindDevice && scalar(topLevel(topLevel(root, "metadata"), "name")) == name
}

// setDeviceState replaces the state, or adds one beside the group.
func setDeviceState(file string, data []byte, spec *yaml.Node, state DeviceState) ([]byte, error) {
	lines := bytes.SplitAfter(data, []byte("\n"))
	if node := topLevel(spec, "state"); node != nil {
		if err := replaceWord(file, "spec.state", lines, node, string(state)); err != nil {
			return nil, err
		}
		return bytes.Join(lines, nil), nil
	}
	group := topLevel(spec, "group")
	if spec.Style&yaml.FlowStyle != 0 {
		if err := replaceWord(file, "spec.group", lines, group, fmt.Sprintf("%s, state: %s", group.Value, state)); err != nil {
			return nil, err
		}
		return bytes.Join(lines, nil), nil
	}
	first := keyNode(spec, "group")
	indent := bytes.Repeat([]byte(" "), first.Column-1)
	added := fmt.Appendf(nil, "%sstate: %s\n", indent, state)
	return bytes.Join(slices.Insert(lines, first.Line-1, added), nil), nil
}

// keyNode is where a mapping, which has it, names a key.
func keyNode(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; ; i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i]
		}
	}
}

// replaceWord replaces a plain word where a node stands.
func replaceWord(file, field string, lines [][]byte, node *yaml.Node, word string) error {
	line, at := lines[node.Line-1], node.Column-1
	if at > len(line) || node.Style != 0 || !bytes.HasPrefix(line[at:], []byte(node.Value)) {
		return Error{File: file, Line: node.Line, Field: field, Message: "is quoted or an alias: write it as a plain word"}
	}
	lines[node.Line-1] = slices.Concat(line[:at], []byte(word), line[at+len(node.Value):])
	return nil
}
