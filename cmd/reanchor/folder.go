package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/renderer"
)

// declared is what a domain's folder on disk declares.
type declared struct {
	*renderer.Loaded
	Record planner.Record
	// Devices that the folder lists, those too that are wrong.
	Devices *inventory.Inventory
	// folder as seen from the root of the repository.
	folder string
}

// readDeclared reads all that a domain's folder declares. What is wrong with a device is
// told by its Problems alone: it keeps nobody from looking at the rest.
func readDeclared(files fs.FS, folder, clusterResourceNamespace string, before *inventory.Inventory) (declared, error) {
	record, err := renderer.LoadRecord(files, folder, renderer.Limits{})
	if err != nil {
		return declared{Record: record}, err
	}
	read := declared{Record: record, folder: folder}
	if read.Loaded, err = renderer.Load(files, folder, loadOptions(clusterResourceNamespace, record)); err != nil {
		return read, err
	}
	read.Devices, err = inventory.Read(files, folder, read.Desired.Groups, before)
	return read, err
}

// loadFolder reads a domain's folder as the controller would read it from Git.
func loadFolder(folder, clusterResourceNamespace string) (declared, error) {
	repository, domain, err := locate(folder)
	if err != nil {
		return declared{}, fmt.Errorf("%s: %w: give the folder of a domain", folder, err)
	}
	root, err := os.OpenRoot(repository)
	if err != nil {
		return declared{}, fmt.Errorf("open the repository: %w", err)
	}
	defer root.Close() //nolint:errcheck // it was only read
	read, err := readDeclared(root.FS(), domain, clusterResourceNamespace, nil)
	if err != nil {
		return declared{}, refused(folder, err)
	}
	return read, nil
}

// refused says of documents that cannot be used where their mistakes are listed.
func refused(folder string, err error) error {
	if mistakes, is := errors.AsType[v1alpha1.ErrorList](err); is && len(mistakes) > 1 {
		return fmt.Errorf("%s: %w, and %s: see them with reanchor validate %s", folder, mistakes[0], counted(len(mistakes)-1, "more error"), folder)
	}
	return fmt.Errorf("%w: see reanchor validate %s", err, folder)
}

// folderOf the arguments: the present one when left out.
func folderOf(args []string) string { return append(args, ".")[0] }

// completeFolders completes the one argument of a command, a folder.
func completeFolders(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// bindClusterResourceNamespace adds the flag that says how cert-manager was installed.
func bindClusterResourceNamespace(command *cobra.Command, into *string) {
	command.Flags().StringVar(into, "cluster-resource-namespace", v1alpha1.DefaultClusterResourceNamespace, "namespace in which cert-manager looks for the Secrets of ClusterIssuers")
}
