package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/report"
)

// The exit statuses of reanchor plan --detailed-exitcode.
const (
	statusPlanChanges = 2
	statusPlanBlocked = 3
)

// planFlags are the flags of reanchor plan.
type planFlags struct {
	clusterFlags
	name                     string
	base, head               string
	live                     bool
	observed                 string
	whatIf                   []string
	detailed                 bool
	clusterResourceNamespace string
}

// newPlan is the command, with the time at which forecasts begin that start from no cluster.
func newPlan(now func() time.Time) *cobra.Command {
	var flags planFlags
	command := &cobra.Command{
		Use:   "plan [FOLDER]",
		Short: "Forecast what a change of a domain's folder comes to, before it is merged",
		Long: `Forecast what a change of a domain's folder comes to, before it is merged: the planner
itself is run forward over a simulated cluster until that rests, and in every state on the
way each client's chain is verified against each server's anchors. FOLDER, the present one
when left out, lies in a clone of the repository, which is read as it is.

--base is what the cluster has been told: by default the commit at which the present branch
left the default branch of origin, or HEAD. --head is what it would be told: by default
the working tree. Both are revisions as git knows them.

The forecast begins where the base ends, or, with --live, at what the cluster holds, read
with get and list alone; --observed takes a file that reanchor observe has written.

With --what-if retire=AUTHORITY/KEY it is told who would lose trust if that key went now,
whatever the change is; the flag may be given several times, for keys that go together.

The exit status is 0 if a plan was made, whatever it says, and 1 if none could be. With
--detailed-exitcode it is 0 if there is nothing to do, 1 after an error, 2 if something
changes, and 3 if the change must not be merged.`,
		Example: `  reanchor plan clusters/plant
  reanchor plan clusters/plant --base origin/main --head roll-2026 -o markdown
  reanchor plan clusters/plant --live -n plant
  reanchor plan clusters/plant --live -n plant --what-if retire=fleet-root/2025`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeFolders,
	}
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&flags.base, "base", "", "revision to compare with (default: where the branch left origin's default branch, or HEAD)")
	set.StringVar(&flags.head, "head", "", "revision to forecast (default: the working tree)")
	set.BoolVar(&flags.live, "live", false, "begin at what the cluster holds")
	set.StringVar(&flags.observed, "observed", "", "begin at what a file of reanchor observe holds")
	set.StringArrayVar(&flags.whatIf, "what-if", nil, "tell who would lose trust: retire=AUTHORITY/KEY")
	set.BoolVar(&flags.detailed, "detailed-exitcode", false, "tell by the exit status what the plan says")
	output := bindFormat(command, "the plan", "table", "markdown", "json")
	flags.bind(command)
	set.StringVar(&flags.name, "name", "", "name of the TrustDomain (default: the only one of the namespace)")
	bindClusterResourceNamespace(command, &flags.clusterResourceNamespace)
	command.MarkFlagsMutuallyExclusive("live", "observed")
	if err := command.MarkFlagFilename("observed", "json"); err != nil {
		panic(err) // the flag was defined above
	}
	command.RunE = func(cmd *cobra.Command, args []string) error {
		if err := output.validate(); err != nil {
			return err
		}
		return runPlan(cmd.Context(), folderOf(args), flags, now, output.chosen, cmd.OutOrStdout())
	}
	return command
}

// runPlan prints the forecast.
func runPlan(ctx context.Context, folder string, flags planFlags, now func() time.Time, format string, stdout io.Writer) error {
	made, err := forecastOf(ctx, folder, flags, now)
	if err != nil {
		return err
	}
	text, err := written(made, format, stdout)
	if err != nil {
		return err
	}
	if _, err := stdout.Write(text); err != nil {
		return fmt.Errorf("print the plan: %w", err)
	}
	if status := statusOf(made.Verdict); flags.detailed && status != 0 {
		return ended{status: status}
	}
	return nil
}

// written is a forecast in one of the formats.
func written(f forecast.Forecast, format string, to io.Writer) ([]byte, error) {
	switch format {
	case "json":
		return report.JSON(f)
	case "markdown":
		return []byte(report.Markdown(f)), nil
	}
	return []byte(report.Table(f, widthOf(to), paletteFor(to).colours)), nil
}

// statusOf a verdict is what --detailed-exitcode ends with.
func statusOf(verdict forecast.Verdict) int {
	switch verdict {
	case forecast.Nothing:
		return 0
	case forecast.Blocked:
		return statusPlanBlocked
	}
	return statusPlanChanges
}

// forecastOf a folder of a clone.
func forecastOf(ctx context.Context, folder string, flags planFlags, now func() time.Time) (forecast.Forecast, error) {
	keys, err := keysToRetire(flags.whatIf)
	if err != nil {
		return forecast.Forecast{}, err
	}
	clone, domain, err := locateInClone(folder)
	if err != nil {
		return forecast.Forecast{}, err
	}
	comparison := comparison{clone: clone, folder: domain, clusterResourceNamespace: flags.clusterResourceNamespace, now: now()}
	if err := comparison.read(flags.base, flags.head); err != nil {
		return forecast.Forecast{}, err
	}
	defer comparison.close()
	request := comparison.request()
	request.WhatIf = keys
	switch {
	case flags.observed != "":
		err = comparison.fromFile(&request, flags.observed)
	case flags.live:
		err = comparison.fromCluster(ctx, &request, flags, now)
	}
	if err != nil {
		return forecast.Forecast{}, err
	}
	return forecast.Run(request), nil
}

// locateInClone finds the clone that a folder on disk belongs to, and the folder in it.
func locateInClone(folder string) (clone *gitsource.Clone, domain string, err error) {
	absolute, err := filepath.Abs(folder)
	if err == nil {
		absolute, err = filepath.EvalSymlinks(absolute)
	}
	if err != nil {
		return nil, "", fmt.Errorf("plan %s: %w: give the folder of a domain in a clone", folder, err)
	}
	if clone, err = gitsource.OpenClone(absolute); err != nil {
		return nil, "", fmt.Errorf("plan %s: %w", folder, err)
	}
	root, err := filepath.EvalSymlinks(clone.Folder())
	if err == nil {
		domain, err = filepath.Rel(root, absolute)
	}
	if err != nil {
		return nil, "", fmt.Errorf("plan %s: %w: give the folder of a domain in a clone", folder, err)
	}
	return clone, filepath.ToSlash(domain), nil
}

var errWhatIf = errors.New("give retire=AUTHORITY/KEY, retire=fleet-root/2025 say")
