package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/policies"
)

// renderFlags are the flags of reanchor render.
type renderFlags struct {
	namespace                string
	name                     string
	clusterResourceNamespace string
}

func newRender() *cobra.Command {
	var flags renderFlags
	command := &cobra.Command{
		Use:   "render [FOLDER]",
		Short: "Print the manifests of the end state, without a cluster",
		Long: `Print the manifests that a domain's folder comes to when every rollover is over, overlay
included, without a cluster. FOLDER is the present one when left out. Equal folders give
equal bytes: what others need comes first, then kind, namespace and name. The objects of
devices come last: the first that each would get.

It is for reading, and must not be applied: nothing says that the cluster may go there in
one step. A bundle holds the keys that the record, anchors/, knows. Copies with via:
ConfigMap lie in the namespaces that stand in the repository, or else in "default", which
stands for those that the cluster has.`,
		Args:              atMostOne("FOLDER"),
		ValidArgsFunction: completeFolders,
	}
	command.Flags().SortFlags = false
	command.Flags().StringVarP(&flags.namespace, "namespace", "n", "default", "namespace of the TrustDomain, which labels name")
	command.Flags().StringVar(&flags.name, "name", "domain", "name of the TrustDomain, which labels name")
	bindClusterResourceNamespace(command, &flags.clusterResourceNamespace)
	output := bindFormat(command, "them", "yaml", "json")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		if err := output.validate(); err != nil {
			return err
		}
		manifests, waiting, err := renderFolder(folderOf(args), flags)
		if err != nil {
			return err
		}
		if waiting > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "reanchor: %s not rendered: no certificate of the key that shall sign is recorded in anchors/\n", counted(waiting, "device"))
		}
		return writeManifests(cmd.OutOrStdout(), output.chosen, manifests)
	}
	return command
}

// renderFolder renders the end state of a folder, and what its devices get in a cluster that
// holds nothing of them; waiting are the devices for which no key is known to sign.
func renderFolder(folder string, flags renderFlags) (manifests []*unstructured.Unstructured, waiting int, err error) {
	read, err := loadFolder(folder, flags.clusterResourceNamespace)
	if err != nil {
		return nil, 0, err
	}
	target, domain := read.EndState(read.Record), planner.Ref{Namespace: flags.namespace, Name: flags.name}
	if manifests, err = rendered(read, target, domain); err != nil {
		return nil, 0, err
	}
	lane, _, err := laneOf(read, target, planner.Observed{Record: read.Record}, domain)
	if err != nil {
		return nil, 0, err
	}
	work := lane.Work(time.Time{}) // nothing stands that time could end
	return append(manifests, work.Apply...), work.States[inventory.StateWaiting], nil
}

// rendered are the manifests of a target. They are for printing: one that holds a private
// key is refused.
func rendered(read declared, target planner.Target, domain planner.Ref) ([]*unstructured.Unstructured, error) {
	manifests, err := read.Render(target, domain)
	if err != nil {
		return nil, err
	}
	for _, violation := range policies.Check(policies.Input{Plan: planner.Plan{Target: target}, Manifests: manifests, Documents: read.Documents, Observed: planner.Observed{Record: read.Record}}) {
		if violation.Rule == policies.RulePrivateKey {
			return nil, fmt.Errorf("nothing is printed: %s", violation)
		}
	}
	return manifests, nil
}

// writeManifests prints manifests as YAML documents or as one JSON list.
func writeManifests(out io.Writer, format string, manifests []*unstructured.Unstructured) error {
	if format == "json" {
		list := map[string]any{"apiVersion": "v1", "kind": "List", "items": manifests}
		return writeJSON(out, list)
	}
	for _, manifest := range manifests {
		if err := writeYAML(out, manifest.Object); err != nil {
			return fmt.Errorf("print %s: %w", manifest.GetKind(), err)
		}
	}
	return nil
}
