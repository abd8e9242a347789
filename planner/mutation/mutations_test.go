package main

import (
	"go/parser"
	"go/token"
	"os"
	"testing"
)

// A fault that does not fit its file any more is no test of anything.
func TestEveryFaultFits(t *testing.T) {
	t.Chdir("../..")
	for _, m := range mutations {
		source, err := os.ReadFile(m.file)
		if err != nil {
			t.Error(err)
			continue
		}
		faulty, err := m.apply(source)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), m.file, faulty, parser.SkipObjectResolution); err != nil {
			t.Errorf("%s: %v", m.fault, err)
		}
	}
}
