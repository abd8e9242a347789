package report_test

import (
	"path/filepath"
	"testing"

	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/planner/report"
)

func TestGolden(t *testing.T) {
	for name, sample := range samples {
		t.Run(name, func(t *testing.T) {
			encoded, err := report.JSON(sample)
			if err != nil {
				t.Fatal(err)
			}
			golden.File(t, filepath.Join("testdata", name+".md"), report.Markdown(sample))
			golden.File(t, filepath.Join("testdata", name+".json"), encoded)
			golden.File(t, filepath.Join("testdata", name+".txt"), report.Table(sample, 80, false))
		})
	}
}
