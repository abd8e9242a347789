package v1alpha1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The limits of a file. They are far above what people write, and low enough that
// no file can exhaust the program's memory.
const (
	// MaxFileSize of a file, in bytes.
	MaxFileSize = 1 << 20
	// maxDepth of nested lists and mappings, aliases followed.
	maxDepth = 64
	// maxExpansion is how many bytes the aliases of a document may add to it.
	maxExpansion = 256 << 10
	// maxErrors of one file that are told.
	maxErrors = 100
)

// parse splits a file into its YAML documents, none of them beyond the limits;
// empty ones are left out.
func parse(file string, data []byte) ([]*yaml.Node, ErrorList) {
	if len(data) > MaxFileSize {
		return nil, ErrorList{{File: file, Line: 1, Message: fmt.Sprintf(
			"the file has %d bytes, more than the %d that are read: split it", len(data), MaxFileSize)}}
	}
	var roots []*yaml.Node
	stream := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := stream.Decode(&document)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			return nil, ErrorList{syntaxError(file, data, err)}
		}
		if len(document.Content) == 0 {
			continue
		}
		root := document.Content[0]
		if err := withinLimits(root); err != nil {
			return nil, ErrorList{{File: file, Line: max(root.Line, 1), Message: err.Error()}}
		}
		roots = append(roots, root)
	}
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntaxError takes the line out of the parser's words, which are its only place
// ("yaml: line 3: did not find expected key"); line 1 where they name none.
func syntaxError(file string, data []byte, err error) Error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if match := yamlLine.FindStringSubmatch(message); match != nil {
		line, _ = strconv.Atoi(match[1])
		message = message[len(match[0]):]
	}
	last := 1 + bytes.Count(data, []byte("\n"))
	return Error{File: file, Line: min(max(line, 1), last), Message: "not YAML: " + message}
}

// extent is how much a value is, itself and all below it: a byte for each value and
// those of its text.
type extent struct{ bytes, depth int }

// measure finds the extent of values with their aliases followed, each anchor
// once: a bomb of aliases costs no more than it has bytes.
type measure struct {
	written int
	anchors map[*yaml.Node]extent
	open    map[*yaml.Node]bool
}

var (
	errCycle = errors.New("an alias refers to the value that it stands in: write the value out")
	errDepth = fmt.Errorf("values are nested more than %d deep", maxDepth)
	errBomb  = fmt.Errorf("aliases add more than %d bytes: write the values out, or split the file", maxExpansion)
)

// tooMuch stands for every size that is beyond any limit.
const tooMuch = 1 << 30

func withinLimits(root *yaml.Node) error {
	m := measure{anchors: map[*yaml.Node]extent{}, open: map[*yaml.Node]bool{}}
	whole, err := m.of(root, 0)
	switch {
	case err != nil:
		return err
	case whole.depth > maxDepth:
		return errDepth
	case whole.bytes-m.written > maxExpansion:
		return errBomb
	}
	return nil
}

func (m *measure) of(node *yaml.Node, depth int) (extent, error) {
	if depth > maxDepth {
		return extent{}, errDepth
	}
	if node.Kind == yaml.AliasNode {
		if m.open[node.Alias] {
			return extent{}, errCycle
		}
		return m.anchors[node.Alias], nil
	}
	m.open[node] = true
	defer delete(m.open, node)
	total := extent{bytes: 1 + len(node.Value)}
	m.written += total.bytes
	for _, child := range node.Content {
		part, err := m.of(child, depth+1)
		if err != nil {
			return extent{}, err
		}
		total.bytes = min(total.bytes+part.bytes, tooMuch)
		total.depth = max(total.depth, part.depth+1)
	}
	if node.Anchor != "" {
		m.anchors[node] = total
	}
	return total, nil
}

// follow is what an alias stands for; any other node is itself.
func follow(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// describe names the kind of a value for people, never its content.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch node.ShortTag() {
	case "!!str":
		return "a string"
	case "!!int":
		return "a number"
	case "!!float":
		return "a fraction"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	}
	return "a value tagged " + quote(node.ShortTag())
}

// isNull reports a value that was left empty, which counts as absent.
func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }
