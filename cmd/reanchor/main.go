// Command reanchor runs a fleet's PKI from Git.
//
//	reanchor controller    turn the loop of every TrustDomain in the cluster
//	reanchor import        describe a cluster that already runs
//	reanchor validate      say what is wrong with a domain's folder, without a cluster
//	reanchor version       say which build this is
//
// This package wires and nothing more: it reads flags, the environment and the
// clock, and hands them to the packages that do the work. What is written to
// stdout is data; everything else goes to stderr.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // for the windows of rollovers, where the system has no time zones

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if status := farewell(os.Stderr, run(ctx, os.Args[1:], os.Stdout, os.Stderr)); status != 0 {
		stop()
		os.Exit(status)
	}
}

// run is the command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "reanchor",
		Short: "Run a fleet's PKI from Git",
		Long: `reanchor runs a fleet's PKI from Git: it pulls a repository that declares
certificate authorities, issuers and trust bundles, works out the next safe step
from what the cluster really holds, and takes it.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(newController(), newImport(), newValidate(), newVersion())
	return root
}
