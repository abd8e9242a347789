package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/reanchor/reanchor/planner/forecast"
)

// JSON is the whole forecast for programs, as the schema says that [forecast.SchemaID] names
// (docs/reference/plan.schema.json). Nothing is cut. It ends in a line break.
func JSON(f forecast.Forecast) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(whole(f)); err != nil {
		return nil, fmt.Errorf("write the plan as JSON: %w", err)
	}
	return out.Bytes(), nil
}

// whole is the forecast with lists where the schema wants them, empty ones too, and with no
// private key in its diffs.
func whole(f forecast.Forecast) forecast.Forecast {
	f.Schema = forecast.SchemaID
	f.Stages = append([]forecast.Stage{}, f.Stages...)
	f.Trust = slices.Clone(f.Trust)
	for i := range f.Trust {
		f.Trust[i].Before = append([]forecast.Anchor{}, f.Trust[i].Before...)
		f.Trust[i].After = append([]forecast.Anchor{}, f.Trust[i].After...)
	}
	f.Diffs = slices.Clone(f.Diffs)
	for i, d := range f.Diffs {
		f.Diffs[i] = safe(d)
	}
	return f
}
