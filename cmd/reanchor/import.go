package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/importer"
)

// importFlags are the flags of reanchor import.
type importFlags struct {
	kubeconfig               string
	output                   string
	clusterResourceNamespace string
	readSecrets              bool
	detailedExitCode         bool
}

// statusLeft is the exit status, where details are asked for, when something is not taken
// over.
const statusLeft = 2

func newImport() *cobra.Command {
	var flags importFlags
	command := &cobra.Command{
		Use:   "import --output FOLDER",
		Short: "Describe a cluster that already runs, in a folder for Git",
		Long: `Describe a cluster that already runs, in a folder for Git: the CAs that its issuers sign
with, the issuers, the Bundles and ConfigMaps that clients verify with. Names stay as they
are, and nothing in the cluster is changed, now or by the first turn over what is written,
which puts labels on what is taken over and proves by canaries who signs. Certificates stay
as they are, outside of Git.

What was taken over and what was not, and why, is told on stderr and in IMPORTED.md. A
TrustDomain to begin with is printed on stdout. No file is overwritten.

Secrets are not read. Where nothing but the Secret tells a CA's certificate,
--read-secrets has tls.crt read of the Secrets that CA issuers sign with.

The exit status is 0, or 1 if the cluster could not be described; with
--detailed-exitcode, 2 if something is not taken over.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runImport(cmd.Context(), flags, time.Now(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&flags.output, "output", "", "folder to write to; it is made, or must be empty")
	set.StringVar(&flags.kubeconfig, "kubeconfig", "", "file that says how to reach the cluster (default: KUBECONFIG, ~/.kube/config, or the pod's service account)")
	set.StringVar(&flags.clusterResourceNamespace, "cluster-resource-namespace", applier.DefaultClusterResourceNamespace, "namespace in which cert-manager looks for the Secrets of ClusterIssuers")
	set.BoolVar(&flags.readSecrets, "read-secrets", false, "read the certificate, and nothing else, in the Secrets that CA issuers sign with")
	set.BoolVar(&flags.detailedExitCode, "detailed-exitcode", false, "end with status 2 if something is not taken over")
	return command
}

// runImport describes the cluster in a folder.
func runImport(ctx context.Context, flags importFlags, now time.Time, stdout, stderr io.Writer) error {
	if err := errNotFree(flags.output); err != nil {
		return err
	}
	reader, err := importReader(flags.kubeconfig)
	if err != nil {
		return err
	}
	seen, err := importer.Gather(ctx, reader, importer.Options{
		Now: now, ClusterResourceNamespace: flags.clusterResourceNamespace, ReadSecrets: flags.readSecrets,
	})
	if err != nil {
		return err
	}
	repository, left := importer.Describe(seen)
	if err := writeRepository(flags.output, repository.Files); err != nil {
		return fmt.Errorf("write the repository: %w: remove %s, and import again", err, flags.output)
	}
	if err := tellImport(stderr, flags.output, repository, left); err != nil {
		return err
	}
	if len(repository.Taken) > 0 {
		fmt.Fprint(stdout, trustDomainHint)
	}
	if flags.detailedExitCode && len(left) > 0 {
		return ended{status: statusLeft}
	}
	return nil
}

// errNotFree refuses a folder in which something stands.
func errNotFree(folder string) error {
	if folder == "" {
		return errors.New("--output: give a folder to write to")
	}
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("--output: %w: give a folder that can be made, or an empty one", err)
	case len(entries) > 0:
		return fmt.Errorf("--output %s: it is not empty, and nothing is overwritten: give another folder", folder)
	}
	return nil
}

// importReader asks the API server itself.
func importReader(kubeconfig string) (client.Reader, error) {
	config, err := loadConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := applier.AddToScheme(scheme); err != nil {
		return nil, err
	}
	reader, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster at %s: %w: see that it runs and that the credentials are right", config.Host, err)
	}
	return reader, nil
}

// writeRepository writes files into a folder, and overwrites none.
func writeRepository(folder string, files []importer.File) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		made, err := os.OpenFile(filepath.Join(folder, file.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = made.Write(file.Content)
		if err := errors.Join(err, made.Close()); err != nil {
			return err
		}
	}
	return nil
}

// tellImport prints what was taken over and what was not.
func tellImport(out io.Writer, folder string, repository importer.Repository, left []importer.Left) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(repository.Taken) > 0 {
		fmt.Fprintln(table, "TAKEN OVER\tAS")
	}
	for _, taken := range repository.Taken {
		fmt.Fprintf(table, "%s\t%s\n", taken.Object, taken.As)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print what was taken over: %w", err)
	}
	if len(left) > 0 {
		fmt.Fprintf(out, "\nNOT TAKEN OVER\n")
	}
	for _, l := range left {
		fmt.Fprintf(out, "%s: %s\n    → %s\n", l.Object, l.Why, l.Do)
	}
	_, err := fmt.Fprintf(out, "\nreanchor: %s: %d taken over, %d not; %s has it all\n", folder, len(repository.Taken), len(left), filepath.Join(folder, importer.FileReport))
	return err
}

// trustDomainHint is the object by which the repository comes into force.
const trustDomainHint = `# Commit the folder, put its repository's address and path here, and apply this.
apiVersion: reanchor.dev/v1alpha1
kind: TrustDomain
metadata:
  name: fleet
  namespace: reanchor-system
spec:
  interval: 1m
  source:
    url: https://git.example.com/fleet/pki.git
    ref: {branch: main}
    path: .
    secretRef: {name: reanchor-git}
`
