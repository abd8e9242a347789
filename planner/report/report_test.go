package report_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/reanchor/reanchor/planner/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != string(got) {
		t.Errorf("%s differs (%v): run make golden and read the difference; got\n%s", path, err, got)
	}
}

func TestGolden(t *testing.T) {
	for name, sample := range samples {
		t.Run(name, func(t *testing.T) {
			encoded, err := report.JSON(sample)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".md", []byte(report.Markdown(sample)))
			golden(t, name+".json", encoded)
			golden(t, name+".txt", []byte(report.Table(sample, 80, false)))
		})
	}
}
