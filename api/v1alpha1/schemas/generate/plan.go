package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"

	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
)

const (
	// planFile is the schema's name among the pages of the reference.
	planFile = "plan.schema.json"
	planKind = "Plan"
)

// planSchema is the schema of what `reanchor plan -o json` prints, in the words of package
// forecast and, where it has types of its parent's, of package planner in that folder.
func planSchema(folder string) ([]byte, error) {
	comments, err := readComments(folder)
	if err != nil {
		return nil, err
	}
	own, err := readComments(filepath.Join(folder, "forecast"))
	if err != nil {
		return nil, err
	}
	maps.Copy(comments, own)
	schema := builder{comments, planKind}.of("", reflect.ValueOf(forecast.Forecast{}))
	schema.Schema, schema.ID = "http://json-schema.org/draft-07/schema#", forecast.SchemaID
	schema.Title, schema.Description = planKind, comments.ofType(reflect.TypeFor[forecast.Forecast]())
	schema.Properties["schema"].Enum = []string{forecast.SchemaID}
	encoded, err := encode(schema)
	if err != nil {
		return nil, fmt.Errorf("encode the schema of a plan: %w", err)
	}
	return encoded, nil
}

// phases are what a planner.Phase may be.
func phases(s *Schema) {
	for _, phase := range []planner.Phase{planner.Introduce, planner.Distribute, planner.Switch, planner.Reissue, planner.Retire, planner.Settled} {
		s.Enum = append(s.Enum, string(phase))
	}
}
