package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/planner"
)

// observeFlags are the flags of reanchor observe.
type observeFlags struct {
	clusterFlags
	name                     string
	folder                   string
	clusterResourceNamespace string
}

func newObserve() *cobra.Command {
	var flags observeFlags
	command := &cobra.Command{
		Use:   "observe",
		Short: "Write what the cluster holds to a file, for a plan made elsewhere",
		Long: `Write to stdout, as JSON, what the cluster holds of a domain, as its next plan would see it:
keys, issuers, leaves, bundles and their copies, workloads, and the record. Where the
cluster cannot be reached, a plan can be made from it. The documents of --folder say what
is looked for: give those that shall be planned.

It holds names, times and public certificates, and nothing of a Secret. It is read with
get and list alone, as config/rbac/observer.yaml grants: the ClusterRole reanchor-observer.
What may not be read is said in it, and holds every plan made from it. (Bundles whose
copies are Secrets are seen only with list on these too; what is read of them are the
public certificates.)

A TrustDomain that --name names and that is not there yet is one that has not begun.`,
		Example: "  reanchor observe -n plant --folder clusters/plant > observed.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runObserve(cmd.Context(), flags, time.Now, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags.bind(command)
	command.Flags().StringVar(&flags.name, "name", "", "name of the TrustDomain (default: the only one of the namespace)")
	command.Flags().StringVar(&flags.folder, "folder", ".", "folder of the domain")
	bindClusterResourceNamespace(command, &flags.clusterResourceNamespace)
	for _, err := range []error{
		command.MarkFlagDirname("folder"),
		command.RegisterFlagCompletionFunc("name", func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return flags.completeNames(cmd, nil, typed)
		}),
	} {
		if err != nil {
			panic(err) // the flags were defined above
		}
	}
	return command
}

// runObserve prints the observation as data, and what is worth knowing about it as talk.
func runObserve(ctx context.Context, flags observeFlags, now func() time.Time, stdout, stderr io.Writer) error {
	read, err := loadFolder(flags.folder, flags.clusterResourceNamespace)
	if err != nil {
		return err
	}
	c, err := flags.connect()
	if err != nil {
		return err
	}
	domain, err := c.domainToObserve(ctx, flags.name)
	if err != nil {
		return err
	}
	if branch := recordBranch(domain.Spec); branch != "" {
		fmt.Fprintf(stderr, "reanchor: the record lies on branch %s: copy its anchors into %s first, or no key counts as recorded\n", branch, flags.folder)
	}
	observation, err := c.observe(ctx, domain, read, flags.clusterResourceNamespace, now)
	if err != nil {
		return err
	}
	text, err := observation.Encode()
	if err != nil {
		return err
	}
	if _, err := stdout.Write(text); err != nil {
		return fmt.Errorf("print the observation: %w", err)
	}
	for _, line := range remarks(observation) {
		fmt.Fprintln(stderr, "reanchor:", line)
	}
	return nil
}

// recordBranch is the branch that the record lies on, where that is not the documents';
// else empty.
func recordBranch(spec v1alpha1.TrustDomainSpec) string {
	if spec.WriteBack.Branch == spec.Source.Ref.Branch {
		return ""
	}
	return spec.WriteBack.Branch
}

// observe the cluster for a domain.
func (c *cluster) observe(ctx context.Context, domain *v1alpha1.TrustDomain, read declared, clusterResourceNamespace string, now func() time.Time) (planner.Observation, error) {
	ref := planner.Ref{Namespace: domain.Namespace, Name: domain.Name}
	observer := applier.Observer{Reader: c, ClusterResourceNamespace: clusterResourceNamespace, Now: now}
	seen, err := observer.Look(ctx, ref, read.Desired, gatesOf(domain.Status))
	if err != nil {
		return planner.Observation{}, fmt.Errorf("observe the cluster for %s: %w", ref, err)
	}
	observed := seen.Observed
	if domain.Spec.WriteBack.Mode != v1alpha1.WriteBackDisabled {
		observed.Record = read.Record
	}
	observation, err := planner.NewObservation(now(), ref, read.Desired, observed)
	if err != nil {
		return planner.Observation{}, err
	}
	observation.Foreign = words(seen.Foreign)
	observation.Conflicts = c.conflicts(ctx, domain, read, clusterResourceNamespace)
	return observation, nil
}

// conflicts say of the objects that somebody else owns fields of which those are. What may not
// be read is told, and keeps nobody from planning.
func (c *cluster) conflicts(ctx context.Context, domain *v1alpha1.TrustDomain, read declared, clusterResourceNamespace string) []string {
	compared, err := c.compare(ctx, domain, read, clusterResourceNamespace)
	if err != nil {
		return []string{fmt.Sprintf("the objects as they are in the end: who owns their fields was not looked at: %v", err)}
	}
	var found []string
	for _, difference := range compared.Differences {
		if conflict, is := difference.Conflict(); is && conflict.Taken == "" {
			found = append(found, conflict.String())
		}
	}
	return found
}

// domainToObserve is the TrustDomain of that name, and one that says nothing if there is
// none or if the cluster does not know what that is; the only one of the namespace if the
// name is empty.
func (c *cluster) domainToObserve(ctx context.Context, name string) (*v1alpha1.TrustDomain, error) {
	if name == "" {
		return c.onlyDomain(ctx)
	}
	domain := &v1alpha1.TrustDomain{}
	err := c.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, domain)
	if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("get TrustDomain %s/%s: %w", c.namespace, name, advised(err))
	}
	domain.Namespace, domain.Name = c.namespace, name
	return domain, nil
}

// gatesOf a status, as the planner takes them.
func gatesOf(status v1alpha1.TrustDomainStatus) []planner.Gate {
	var gates []planner.Gate
	for _, gate := range status.Gates {
		gates = append(gates, planner.Gate{Name: gate.Name, Since: gate.Since.UTC()})
	}
	return gates
}

// remarks are what whoever made the observation should know of it.
func remarks(o planner.Observation) []string {
	seen := o.Observed
	lines := []string{fmt.Sprintf("%s: %s, %s, %s, %s, %s", o.Domain,
		counted(len(seen.Keys), "key"), counted(len(seen.Issuers), "issuer"), counted(len(seen.Leaves), "leaf certificate"),
		counted(len(seen.Bundles), "bundle"), counted(len(seen.Workloads), "workload"))}
	for _, unknown := range seen.Unknown {
		lines = append(lines, fmt.Sprintf("not seen: %s: %s", unknown.Subject, strings.Join(strings.Fields(unknown.Why), " ")))
	}
	return append(lines, o.Foreign...)
}
