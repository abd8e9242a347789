package renderer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

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
}

// parse reads a YAML stream as kustomize does, having made sure that its aliases
// stay within the limit. The weight is the stream's size with its aliases
// written out.
func parse(name string, data []byte, limit int64) ([]document, weight, error) {
	nodes, err := nodesOf(name, data)
	if err != nil {
		return nil, weight{}, err
	}
	size, err := sizeOf(name, data, nodes, limit)
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
			documents = append(documents, document{line: lineOf(node), value: value})
		}
	}
	return documents, weight{bytes: size, documents: int64(len(documents))}, nil
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
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		nodes = append(nodes, node)
	}
}

// sizeOf is the size of the data with what its aliases repeat.
func sizeOf(name string, data []byte, nodes []*yaml.Node, limit int64) (int64, error) {
	size := int64(len(data))
	for _, node := range nodes {
		measure := expansion{targets: map[*yaml.Node]extent{}}
		extent, err := measure.of(node)
		if err != nil {
			return 0, fmt.Errorf("%s:%d: %w", name, lineOf(node), err)
		}
		if extent.depth > maxDepth {
			return 0, fmt.Errorf("%s:%d: is nested deeper than %d levels; flatten it", name, lineOf(node), maxDepth)
		}
		size = min(size+extent.repeated, heaviest)
	}
	if size > limit {
		return 0, fmt.Errorf("%s: its aliases write out to more than %d bytes; write the values where they are used", name, limit)
	}
	return size, nil
}

// extent is how large a node is: in all, what of it aliases repeat, and how deep.
type extent struct {
	bytes    int64
	repeated int64
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
	sum := extent{bytes: nodeBytes + int64(len(node.Value))}
	for _, child := range node.Content {
		part, err := e.of(child)
		if err != nil {
			return extent{}, err
		}
		sum.bytes = min(sum.bytes+part.bytes, heaviest)
		sum.repeated = min(sum.repeated+part.repeated, heaviest)
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
