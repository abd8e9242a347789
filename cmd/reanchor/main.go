// Command reanchor runs a fleet's PKI from Git.
//
//	reanchor controller    turn the loop of every TrustDomain in the cluster
//	reanchor registrar     let devices register themselves
//	reanchor init          write a domain's first folder
//	reanchor import        describe a cluster that already runs
//	reanchor validate      say what is wrong with a domain's folder, without a cluster
//	reanchor render        print the manifests of the end state, without a cluster
//	reanchor plan          forecast what a change comes to, before it is merged
//	reanchor comment       keep the comment with a plan up to date on a pull request
//	reanchor diff          compare the end state with the cluster
//	reanchor observe       write what the cluster holds to a file
//	reanchor status        say how far TrustDomains and their rollovers have come
//	reanchor check         say what is missing in the cluster
//	reanchor reconcile     ask for a turn now, and wait for it
//	reanchor suspend       stop the turns of a TrustDomain
//	reanchor resume        let it have turns again
//	reanchor compromise    write the commit that takes a stolen key out at once
//	reanchor device        list devices, change them in a clone of the repository, enrol as one
//	reanchor version       say which build this is
//
// Installed as kubectl-reanchor it is a plugin of kubectl.
//
// This package wires and nothing more: it reads flags, the environment and the
// clock, and hands them to the packages that do the work. What is written to
// stdout is data; everything else goes to stderr.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // for the windows of rollovers, where the system has no time zones

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if status := farewell(os.Stderr, run(ctx, os.Args, os.Stdout, os.Stderr)); status != 0 {
		stop()
		os.Exit(status)
	}
}

// run is the command line, the name that the program was called by included.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	shown, rest := invocation(args)
	root := newRoot()
	showAs(root, shown)
	root.SetArgs(rest)
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
	root.SetFlagErrorFunc(seeHelp)
	root.AddCommand(
		newController(), newRegistrar(), newVersion(),
		newInit(), newImport(), newValidate(), newRender(),
		newPlan(time.Now), newComment(), newDiff(), newObserve(), newStatus(), newCheck(),
		newReconcile(), newSuspend(), newResume(), newCompromise(), newDevice(),
	)
	return root
}
