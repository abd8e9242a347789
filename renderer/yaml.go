package renderer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// maxDepth is how deep maps and lists may lie in each other, aliases written out.
const maxDepth = 100

// nodeBytes is what a node that an alias repeats counts for, beside its text.
const nodeBytes = 64

// document is one document of a YAML file.
type document struct {
	line  int
	value any
	node  *yaml.Node
}

// parse reads a YAML stream as kustomize does, having made sure that it stays within the
// limits with its aliases written out. The weight is that of the stream then.
func parse(name string, data []byte, limits Limits) ([]document, weight, error) {
	if separators(data) > 2*limits.Values {
		return nil, weight{}, tooMany(name, limits.Values)
	}
	nodes, err := nodesOf(name, data)
	if err != nil {
		return nil, weight{}, err
	}
	total, err := weigh(name, data, nodes, limits)
	if err != nil {
		return nil, weight{}, err
	}
	var documents []document
	for _, node := range nodes {
		value, err := valueOf(node)
		if err != nil {
			return nil, weight{}, fmt.Errorf("%s:%d: %w", name, lineOf(node), err)
		}
		if value != nil {
			documents = append(documents, document{line: lineOf(node), value: value, node: node})
		}
	}
	total.documents = int64(len(documents))
	return documents, total, nil
}

// separators counts what may stand between values: text without many holds few, and is
// parsed without fear for memory.
func separators(data []byte) int {
	count := 0
	for _, separator := range []byte(",:[{\n") {
		count += bytes.Count(data, []byte{separator})
	}
	return count
}

func tooMany(name string, limit int) error {
	return fmt.Errorf("%s: holds more than %d values; split it", name, limit)
}

func nodesOf(name string, data []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var nodes []*yaml.Node
	for {
		node := new(yaml.Node)
		err := decoder.Decode(node)
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if err != nil {
			return nil, malformed(name, err)
		}
		nodes = append(nodes, node)
	}
}

// syntax is how the parser tells where YAML is malformed.
var syntax = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// malformed places what the parser says of a file.
func malformed(name string, err error) error {
	if at := syntax.FindStringSubmatch(err.Error()); at != nil {
		return fmt.Errorf("%s:%s: is not YAML: %s; mend it", name, at[1], at[2])
	}
	return fmt.Errorf("%s:1: is not YAML: %w; mend it", name, err)
}

// lineOfField is the line of a field of a document, "resources[1]" or "replacements[0].path"
// say, or of the nearest one above it that is written so.
func (d document) lineOfField(field string) int {
	line, node := max(d.line, 1), childOf(d.node, "0")
	for _, step := range strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if node = childOf(node, step); node == nil {
			break
		}
		line = node.Line
	}
	return line
}

// childOf is the value of a mapping's field, in whatever letters, an entry of a list, or the
// content of a document as if that were one; nil if there is none.
func childOf(node *yaml.Node, step string) *yaml.Node {
	switch {
	case node == nil:
	case node.Kind == yaml.SequenceNode || node.Kind == yaml.DocumentNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(node.Content) {
			return node.Content[i]
		}
	case node.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if strings.EqualFold(node.Content[i].Value, step) {
				return node.Content[i+1]
			}
		}
	}
	return nil
}

// weigh is what the data weighs with what its aliases repeat.
func weigh(name string, data []byte, nodes []*yaml.Node, limits Limits) (weight, error) {
	total := weight{bytes: int64(len(data))}
	for _, node := range nodes {
		measure := expansion{targets: map[*yaml.Node]extent{}}
		extent, err := measure.of(node)
		if err != nil {
			return weight{}, fmt.Errorf("%s:%d: %w", name, lineOf(node), err)
		}
		if extent.depth > maxDepth {
			return weight{}, fmt.Errorf("%s:%d: is nested deeper than %d levels; flatten it", name, lineOf(node), maxDepth)
		}
		total = total.plus(weight{bytes: extent.repeated, values: extent.values})
	}
	switch {
	case total.bytes > limits.FileBytes:
		return weight{}, fmt.Errorf("%s: its aliases write out to more than %d bytes; write the values where they are used", name, limits.FileBytes)
	case total.values > int64(limits.Values):
		return weight{}, tooMany(name, limits.Values)
	}
	return total, nil
}

// extent is how large a node is: in all, what of it aliases repeat, how many values, and
// how deep.
type extent struct {
	bytes    int64
	repeated int64
	values   int64
	depth    int
}

// expansion measures a document without writing its aliases out.
type expansion struct {
	targets map[*yaml.Node]extent
}

var errSelfAlias = errors.New("an alias refers to what it is part of; write the value out")

func (e *expansion) of(node *yaml.Node) (extent, error) {
	if node.Kind == yaml.AliasNode {
		return e.target(node.Alias)
	}
	sum := extent{bytes: nodeBytes + int64(len(node.Value)), values: 1}
	for _, child := range node.Content {
		part, err := e.of(child)
		if err != nil {
			return extent{}, err
		}
		sum.bytes = min(sum.bytes+part.bytes, heaviest)
		sum.repeated = min(sum.repeated+part.repeated, heaviest)
		sum.values = min(sum.values+part.values, heaviest)
		sum.depth = max(sum.depth, part.depth)
	}
	if node.Kind == yaml.MappingNode || node.Kind == yaml.SequenceNode {
		sum.depth++
	}
	return sum, nil
}

// target measures what an alias stands for, each anchor once.
func (e *expansion) target(node *yaml.Node) (extent, error) {
	if known, seen := e.targets[node]; seen {
		if known.depth < 0 {
			return extent{}, errSelfAlias
		}
		return known, nil
	}
	e.targets[node] = extent{depth: -1}
	sum, err := e.of(node)
	if err != nil {
		return extent{}, err
	}
	sum.repeated = sum.bytes
	e.targets[node] = sum
	return sum, nil
}

// valueOf decodes a document and makes sure that it can be written as JSON: a
// number that is none, or a key that is no string, would end kustomize's process.
func valueOf(node *yaml.Node) (any, error) {
	var value any
	if err := node.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := json.Marshal(value); err != nil {
		return nil, fmt.Errorf("has no JSON form: %w", err)
	}
	return value, nil
}

func lineOf(node *yaml.Node) int {
	if node.Kind == yaml.DocumentNode && len(node.Content) > 0 {
		return node.Content[0].Line
	}
	return node.Line
}
