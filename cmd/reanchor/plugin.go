package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// The names under which kubectl finds this program on the PATH
// (https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/): as a plugin, and to
// complete the plugin's words.
const (
	pluginName    = "kubectl-reanchor"
	completerName = "kubectl_complete-reanchor"
)

// invocation is how the program was called: what it is called in its own help, and the
// arguments.
func invocation(args []string) (shown string, rest []string) {
	if len(args) == 0 {
		return "", nil
	}
	switch strings.TrimSuffix(filepath.Base(args[0]), ".exe") {
	case pluginName:
		return "kubectl reanchor", args[1:]
	case completerName:
		return "kubectl reanchor", append([]string{cobra.ShellCompRequestCmd}, args[1:]...)
	}
	return "", args[1:]
}

// showAs has a command call itself something else in its help; empty: as it is.
func showAs(root *cobra.Command, shown string) {
	if shown != "" {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: shown}
	}
}
