package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// deviceFlags are the flags of reanchor device's verbs.
type deviceFlags struct {
	folder, group            string
	noCommit                 bool
	clusterResourceNamespace string
}

func newDevice() *cobra.Command {
	command := &cobra.Command{
		Use:   "device",
		Short: "List devices, change them in a clone of the repository, enrol as one",
		Long: `List devices, and change them in a clone of the repository. Each is a document of its own
below devices/, which reanchor registrar writes too; what changes one is a commit, as you.
On a device, enrol as one.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(
		newDeviceList(), newDeviceShow(), newDeviceImport(), newDeviceEnrol(),
		newDeviceVerb("block", v1alpha1.DeviceBlocked, "Write the commit that shuts a device out, until it is Active again"),
		newDeviceVerb("retire", v1alpha1.DeviceRetired, "Write the commit that takes a device out of service for good"),
	)
	return command
}

// newDeviceVerb is the command that gives a device another state.
func newDeviceVerb(verb string, state v1alpha1.DeviceState, short string) *cobra.Command {
	var flags deviceFlags
	command := &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Long: short + `. Its document becomes
` + string(state) + `, in one line, and the file is committed with git, as you: your name, your signature, your
hooks. Nothing is pushed. A folder that would not be valid is left as it was.`,
		Example: "  reanchor device " + verb + " sensor-0042 --group sensors --folder clusters/plant\n  git push",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := runDeviceState(cmd.Context(), args[0], state, flags, time.Now(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err != nil {
				return fmt.Errorf("device %s %s: %w", verb, args[0], err)
			}
			return nil
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&flags.folder, "folder", ".", "folder of the domain in a clone of its repository")
	set.StringVar(&flags.group, "group", "", "group of the device")
	set.BoolVar(&flags.noCommit, "no-commit", false, "change the file and leave the commit to you")
	bindClusterResourceNamespace(command, &flags.clusterResourceNamespace)
	_ = command.MarkFlagRequired("group")
	return command
}

// runDeviceState changes the file of the device, sees that the folder is valid with it, and
// commits it. What is refused leaves the file as it was.
func runDeviceState(ctx context.Context, name string, state v1alpha1.DeviceState, flags deviceFlags, now time.Time, stdout, stderr io.Writer) error {
	file, before, after, err := deviceFile(flags.folder, flags.group, name, state)
	if err != nil {
		return err
	}
	if bytes.Equal(before, after) {
		_, err := fmt.Fprintf(stderr, "reanchor: %s says %s already\n", file, state)
		return err
	}
	if err := replaceFile(file, after); err != nil {
		return err
	}
	if err := stillValid(flags.folder, flags.clusterResourceNamespace, now); err != nil {
		return errors.Join(err, replaceFile(file, before))
	}
	if _, err := fmt.Fprintln(stdout, file); err != nil {
		return fmt.Errorf("print the file: %w", err)
	}
	if flags.noCommit {
		_, err := fmt.Fprintf(stderr, "reanchor: %s is changed: commit it and push\n", file)
		return err
	}
	if err := commitFile(ctx, file, fmt.Sprintf("Make the device %s of %s %s", name, flags.group, state), stderr); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stderr, "reanchor: committed; push it")
	return err
}

// deviceFile finds the file that declares the device, and what it shall say. It reads the
// folder of the device's group, and of its files only those that hold the name.
func deviceFile(folder, group, name string, state v1alpha1.DeviceState) (file string, before, after []byte, err error) {
	devices := filepath.Join(folder, "devices", group)
	err = filepath.WalkDir(devices, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || !isYAML(path) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(data, []byte(name)) {
			return err
		}
		edited, found, err := v1alpha1.SetDeviceState(path, data, group, name, state)
		if !found {
			return nil // whatever is wrong with another file is none of this
		}
		if err == nil {
			file, before, after = path, data, edited
			err = fs.SkipAll
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || err == nil && file == "" {
		return "", nil, nil, fmt.Errorf("no file below %s declares it: give its group with --group, and the domain's folder with --folder", devices)
	}
	return file, before, after, err
}
