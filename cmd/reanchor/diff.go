package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
)

// The exit statuses of reanchor diff are kubectl diff's.
const (
	statusDiffers    = 1
	statusDiffFailed = 2
)

// diffFlags are the flags of reanchor diff.
type diffFlags struct {
	clusterFlags
	name                     string
	clusterResourceNamespace string
}

func newDiff() *cobra.Command {
	var flags diffFlags
	command := &cobra.Command{
		Use:   "diff [FOLDER]",
		Short: "Compare the end state with the cluster, object by object",
		Long: `Compare what a domain's folder comes to when every rollover is over with what the cluster
holds, object by object, in the unified format. FOLDER is the present one when left out.
Nothing is sent to the cluster, no dry run either. Keys that the record does not hold are
taken from the cluster.

It tells of the fields that the manifests have, and of those that reanchor owns and that
they have no more; of the domain's objects that no manifest is left of; and of what devices
get and lose. While a rollover is under way the difference is what is left of it: how it
gets there says reanchor plan. Secrets are never read; that they were left out is said on
stderr.

The exit status is 0 if there is no difference, 1 if there is one, and greater if they
could not be compared.`,
		Args:              atMostOne("FOLDER"),
		ValidArgsFunction: completeFolders,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDiff(cmd, folderOf(args), flags)
		},
	}
	flags.bind(command)
	command.Flags().StringVar(&flags.name, "name", "", "name of the TrustDomain (default: the only one of the namespace)")
	bindClusterResourceNamespace(command, &flags.clusterResourceNamespace)
	return failingWith(statusDiffFailed, command)
}

func runDiff(cmd *cobra.Command, folder string, flags diffFlags) error {
	read, err := loadFolder(folder, flags.clusterResourceNamespace)
	if err != nil {
		return err
	}
	c, err := flags.connect()
	if err != nil {
		return err
	}
	domain, err := c.domainNamed(cmd.Context(), flags.name)
	if err != nil {
		return err
	}
	compared, err := c.compareAll(cmd.Context(), domain, read, flags.clusterResourceNamespace, time.Now())
	if err != nil {
		return fmt.Errorf("compare %s with the cluster: %w", folder, err)
	}
	for _, unread := range compared.Unread {
		fmt.Fprintf(cmd.ErrOrStderr(), "reanchor: %s is not compared: no Secret is read\n", unread)
	}
	if err := writeDifferences(cmd.OutOrStdout(), paletteFor(cmd.OutOrStdout()), compared.Differences); err != nil {
		return fmt.Errorf("print the differences: %w", err)
	}
	if len(compared.Differences) > 0 {
		return ended{status: statusDiffers}
	}
	return nil
}

// ending is a folder's end state beside what a cluster holds.
type ending struct {
	*cluster
	domain   *v1alpha1.TrustDomain
	read     declared
	observed planner.Observed
	target   planner.Target
	reads    applier.Applier
}

// endingOf a folder in the cluster.
func (c *cluster) endingOf(ctx context.Context, domain *v1alpha1.TrustDomain, read declared, clusterResourceNamespace string) (ending, error) {
	e := ending{cluster: c, domain: domain, read: read, reads: applier.Applier{Reader: c, ClusterResourceNamespace: clusterResourceNamespace}}
	observer := applier.Observer{Reader: c, ClusterResourceNamespace: clusterResourceNamespace}
	observed, err := observer.Observe(ctx, e.ref(), read.Desired, nil)
	if err != nil {
		return ending{}, err
	}
	e.observed, e.target = observed, read.EndState(knowing(read.Record, observed.Keys))
	e.observed.Record = read.Record
	return e, c.place(ctx, e.target.Bundles)
}

func (e ending) ref() planner.Ref {
	return planner.Ref{Namespace: e.domain.Namespace, Name: e.domain.Name}
}

// compare the end state with the cluster, but for what is made for devices.
func (c *cluster) compare(ctx context.Context, domain *v1alpha1.TrustDomain, read declared, clusterResourceNamespace string) (applier.Comparison, error) {
	e, err := c.endingOf(ctx, domain, read, clusterResourceNamespace)
	if err != nil {
		return applier.Comparison{}, err
	}
	return e.compare(ctx)
}

// compareAll does so with that too.
func (c *cluster) compareAll(ctx context.Context, domain *v1alpha1.TrustDomain, read declared, clusterResourceNamespace string, now time.Time) (applier.Comparison, error) {
	e, err := c.endingOf(ctx, domain, read, clusterResourceNamespace)
	if err != nil {
		return applier.Comparison{}, err
	}
	compared, err := e.compare(ctx)
	if err != nil {
		return applier.Comparison{}, err
	}
	devices, err := e.compareDevices(ctx, now)
	compared.Differences = append(compared.Differences, devices...)
	return compared, err
}

func (e ending) compare(ctx context.Context) (applier.Comparison, error) {
	manifests, err := rendered(e.read, e.target, e.ref())
	if err != nil {
		return applier.Comparison{}, err
	}
	return e.reads.Compare(ctx, e.ref(), manifests, applier.Options{Prune: e.domain.Spec.Prune, Kinds: e.domain.Status.Kinds})
}

// lane are the folder's devices as the cluster has them, beside the end state; and the keys
// that are known.
func (e ending) lane(ctx context.Context) (*inventory.Lane, []inventory.Key, error) {
	lane, keys, err := laneOf(e.read, e.target, e.observed, e.ref())
	if err != nil {
		return nil, nil, err
	}
	return lane, keys, e.seeDevices(ctx, e.ref(), lane)
}

// compareDevices are the differences of what stands of devices: what is to be made, changed or
// removed now, if the end state stood.
func (e ending) compareDevices(ctx context.Context, now time.Time) ([]applier.Difference, error) {
	lane, _, err := e.lane(ctx)
	if err != nil {
		return nil, err
	}
	work := lane.Work(now)
	compared, err := e.reads.Compare(ctx, e.ref(), work.Apply, applier.Options{})
	if err != nil || !e.domain.Spec.Prune {
		return compared.Differences, err
	}
	for _, gone := range work.Remove {
		compared.Differences = append(compared.Differences, removed(gone))
	}
	return compared.Differences, nil
}

// removed is the difference of an object that goes, by what it is known by.
func removed(gone client.Object) applier.Difference {
	kind := certmanagerv1.CertificateRequestKind
	if _, is := gone.(*certmanagerv1.Certificate); is {
		kind = certmanagerv1.CertificateKind
	}
	gvk := certmanagerv1.SchemeGroupVersion.WithKind(kind)
	return applier.Difference{
		Object: applier.Object{GroupVersionKind: gvk, Ref: planner.Ref{Namespace: gone.GetNamespace(), Name: gone.GetName()}},
		Live: map[string]any{
			"apiVersion": gvk.GroupVersion().String(), "kind": kind,
			"metadata": map[string]any{"namespace": gone.GetNamespace(), "name": gone.GetName()},
		},
	}
}

// knowing is the record and, of keys that it does not hold, what the cluster has: where no
// record is kept on this branch, bundles would be empty otherwise.
func knowing(record planner.Record, keys []planner.Key) planner.Record {
	known := record
	known.Keys = slices.Clone(record.Keys)
	for _, key := range keys {
		recorded := slices.ContainsFunc(record.Keys, func(r planner.RecordedKey) bool { return r.Authority == key.Authority.Name && r.Name == key.Name })
		if !recorded && !key.Certificate.IsZero() {
			known.Keys = append(known.Keys, planner.RecordedKey{Authority: key.Authority.Name, Name: key.Name, Certificate: key.Certificate})
		}
	}
	return known
}

// place the copies that reanchor writes itself in the namespaces that the cluster has.
func (c *cluster) place(ctx context.Context, bundles []planner.TargetBundle) error {
	ours := func(b planner.TargetBundle) bool { return b.Via == v1alpha1.ViaConfigMap }
	if !slices.ContainsFunc(bundles, ours) {
		return nil
	}
	var namespaces corev1.NamespaceList
	if err := c.List(ctx, &namespaces); err != nil {
		return fmt.Errorf("list namespaces, to see where bundles have copies: %w", advised(err))
	}
	for at := range bundles {
		if !ours(bundles[at]) {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(&bundles[at].Target.NamespaceSelector)
		if err != nil {
			return fmt.Errorf("namespaceSelector of %s: %w", bundles[at].Name, err)
		}
		bundles[at].Namespaces = picked(namespaces.Items, selector)
	}
	return nil
}

// picked are the names of the namespaces that a selector picks, sorted.
func picked(namespaces []corev1.Namespace, selector labels.Selector) []string {
	var names []string
	for _, namespace := range namespaces {
		if selector.Matches(labels.Set(namespace.Labels)) {
			names = append(names, namespace.Name)
		}
	}
	slices.Sort(names)
	return names
}

// writeDifferences prints each in the unified format.
func writeDifferences(out io.Writer, paint palette, differences []applier.Difference) error {
	for _, difference := range differences {
		if difference.Taken != "" {
			if _, err := fmt.Fprintf(out, "# %s %s\n", difference.Object, difference.Taken); err != nil {
				return err
			}
		}
		for _, field := range difference.Others {
			if _, err := fmt.Fprintf(out, "# %s: %s belongs to %q\n", difference.Object, field.Path, field.Manager); err != nil {
				return err
			}
		}
		text, err := unified(difference)
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			if _, err := fmt.Fprintln(out, paint.paint(colourOf(line), strings.TrimSuffix(line, "\n"))); err != nil {
				return err
			}
		}
	}
	return nil
}

// unified is a difference in the unified format, from the cluster to the end state.
func unified(difference applier.Difference) (string, error) {
	live, err := documentOf(difference.Live)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", difference.Object, err)
	}
	desired, err := documentOf(difference.Desired)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", difference.Object, err)
	}
	name := difference.Object.String()
	text := diff.Diff("cluster: "+name, live, "end state: "+name, desired)
	_, text, _ = bytes.Cut(text, []byte("\n")) // a first line "diff old new"
	return string(text), nil
}

// documentOf is an object as YAML; empty if there is none.
func documentOf(object map[string]any) ([]byte, error) {
	if object == nil {
		return nil, nil
	}
	return yaml.Marshal(object)
}

// colourOf a line in the unified format.
func colourOf(line string) string {
	switch {
	case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
		return bold
	case strings.HasPrefix(line, "-"):
		return red
	case strings.HasPrefix(line, "+"):
		return green
	case strings.HasPrefix(line, "@@"):
		return cyan
	}
	return ""
}
