package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// format is what -o says: the first of a command's formats unless told otherwise.
type format struct {
	chosen string
	known  []string
}

// bindFormat adds -o to a command that can print in these formats.
func bindFormat(command *cobra.Command, what string, known ...string) *format {
	f := &format{known: known}
	last := len(known) - 1
	usage := fmt.Sprintf("how to print %s: %s or %s", what, strings.Join(known[:last], ", "), known[last])
	command.Flags().StringVarP(&f.chosen, "output", "o", known[0], usage)
	complete := cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp)
	if err := command.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // the flag was defined two lines above
	}
	return f
}

// validate refuses a format that the command has not.
func (f *format) validate() error {
	if !slices.Contains(f.known, f.chosen) {
		return fmt.Errorf("--output %q: give one of %v", f.chosen, f.known)
	}
	return nil
}

// writeJSON writes a value for programs.
func writeJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// writeYAML writes a value as one YAML document, by its JSON names.
func writeYAML(out io.Writer, value any) error {
	text, err := yaml.Marshal(value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "---\n%s", text)
	return err
}

// cell is one of a table's, and the colour that it is painted in.
type cell struct{ text, colour string }

// plain cells have no colour.
func plain(texts ...string) []cell {
	var cells []cell
	for _, text := range texts {
		cells = append(cells, cell{text: text})
	}
	return cells
}

// writeTable aligns the columns of rows, each indented. Colours take no room, which is why
// this is not text/tabwriter's work.
func writeTable(out io.Writer, paint palette, indent string, rows [][]cell) error {
	widths := map[int]int{}
	for _, row := range rows {
		for at, c := range row {
			widths[at] = max(widths[at], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range rows {
		line := indent
		for at, c := range row {
			line += paint.paint(c.colour, c.text)
			if at < len(row)-1 {
				line += strings.Repeat(" ", widths[at]-utf8.RuneCountInString(c.text)+2)
			}
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// writeLine writes a value for programs in one line.
func writeLine(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
