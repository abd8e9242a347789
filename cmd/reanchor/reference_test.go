package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/fixtures/golden"
)

// TestReference: the page says of every command what its own help says.
func TestReference(t *testing.T) {
	golden.File(t, "../../docs/reference/cli.md", reference(newRoot()))
}

// reference is the page: the verbs, and then each with its help.
func reference(root *cobra.Command) []byte {
	var page bytes.Buffer
	page.WriteString(`# The command line

Written by ` + "`make generate`" + ` from the commands' own help. What is written to stdout is data,
everything else goes to stderr. Colours are for terminals, and not with ` + "`NO_COLOR`" + `. The exit
status is 0 if all is well and 1 otherwise, unless a command says more. Installed as
` + "`kubectl-reanchor`" + `, the program is ` + "`kubectl reanchor`" + `.

| Command | What it does |
| --- | --- |
`)
	commands := documented(root)
	for _, command := range commands {
		fmt.Fprintf(&page, "| [`%s`](#%s) | %s |\n", command.CommandPath(), strings.ReplaceAll(command.CommandPath(), " ", "-"), command.Short)
	}
	for _, command := range commands {
		help := bytes.TrimSpace([]byte(command.Long + "\n\n" + command.UsageString()))
		fmt.Fprintf(&page, "\n## %s\n\n```text\n%s\n```\n", command.CommandPath(), help)
	}
	return page.Bytes()
}

// documented are the commands that a person calls, in order of their names, but for those
// that every such program has.
func documented(root *cobra.Command) []*cobra.Command {
	var found []*cobra.Command
	for _, command := range root.Commands() {
		if command.IsAvailableCommand() && command.Name() != "completion" {
			found = append(found, command)
			found = append(found, documented(command)...)
		}
	}
	return found
}

// TestCommandsExplainThemselves: each has a line for the list and a page of its own, and
// none is in the list of the package's comment alone.
func TestCommandsExplainThemselves(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range documented(newRoot()) {
		if command.Short == "" || strings.HasSuffix(command.Short, ".") || command.RunE != nil && command.Long == "" && command.Name() != "version" {
			t.Errorf("%s: %q, %q", command.CommandPath(), command.Short, command.Long)
		}
		if command.Parent() == command.Root() && !strings.Contains(string(source), "//\t"+command.CommandPath()+" ") {
			t.Errorf("the package's comment does not list %s", command.CommandPath())
		}
	}
}
