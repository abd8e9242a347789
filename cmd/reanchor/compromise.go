package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// compromiseFlags are the flags of reanchor compromise.
type compromiseFlags struct {
	folder, successor        string
	noCommit                 bool
	clusterResourceNamespace string
}

func newCompromise() *cobra.Command {
	var flags compromiseFlags
	command := &cobra.Command{
		Use:   "compromise AUTHORITY/KEY",
		Short: "Write the commit that takes a stolen key out at once",
		Long: `Write the commit that takes a stolen key out at once: the key becomes Compromised, and if it
signs, another takes over. The file that declares the authority is changed in two lines and
committed with git, as you: your name, your signature, your hooks. Nothing is pushed.

What follows, and who is cut off by it, is what "reanchor plan --head HEAD --base HEAD~1" says.`,
		Example: `  reanchor compromise fleet-root/2025 --successor 2026 --folder clusters/plant
  git push`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCompromise(cmd.Context(), args[0], flags, time.Now(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&flags.folder, "folder", ".", "folder of the domain in a clone of its repository")
	set.StringVar(&flags.successor, "successor", "", "key that takes over, new or listed; needed if the stolen key signs")
	set.BoolVar(&flags.noCommit, "no-commit", false, "change the file and leave the commit to you")
	set.StringVar(&flags.clusterResourceNamespace, "cluster-resource-namespace", v1alpha1.DefaultClusterResourceNamespace, "namespace in which cert-manager looks for the Secrets of ClusterIssuers")
	return command
}

// runCompromise changes the file, sees that the folder is valid with it, and commits it. What
// is refused leaves the file as it was.
func runCompromise(ctx context.Context, stolen string, flags compromiseFlags, now time.Time, stdout, stderr io.Writer) error {
	authority, key, both := strings.Cut(stolen, "/")
	if !both || authority == "" || key == "" {
		return fmt.Errorf("compromise %q: write AUTHORITY/KEY, fleet-root/2025 say", stolen)
	}
	file, before, after, err := compromisedFile(flags.folder, authority, key, flags.successor)
	if err != nil {
		return fmt.Errorf("compromise %s: %w", stolen, err)
	}
	if err := replaceFile(file, after); err != nil {
		return fmt.Errorf("compromise %s: %w", stolen, err)
	}
	if err := stillValid(flags.folder, flags.clusterResourceNamespace, now); err != nil {
		return errors.Join(fmt.Errorf("compromise %s: %w", stolen, err), replaceFile(file, before))
	}
	if _, err := fmt.Fprintln(stdout, file); err != nil {
		return fmt.Errorf("print the file: %w", err)
	}
	if flags.noCommit {
		_, err := fmt.Fprintf(stderr, "reanchor: %s is changed: commit it and push\n", file)
		return err
	}
	if err := commitFile(ctx, file, compromiseMessage(authority, key, flags.successor), stderr); err != nil {
		return fmt.Errorf("compromise %s: %w", stolen, err)
	}
	_, err = fmt.Fprintf(stderr, "reanchor: committed; see who is cut off with `reanchor plan %s --base HEAD~1 --head HEAD`, and push\n", flags.folder)
	return err
}

var errNotDeclared = errors.New("no YAML file of the folder declares that Authority: give the folder that does with --folder")

// compromisedFile finds the file that declares the authority, and what it shall say.
func compromisedFile(folder, authority, key, successor string) (file string, before, after []byte, err error) {
	err = filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case !entry.Type().IsRegular() || !isYAML(name):
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		edited, found, err := v1alpha1.Compromise(name, data, authority, key, successor)
		if found && err == nil {
			file, before, after = name, data, edited
			return fs.SkipAll
		}
		if found {
			return err
		}
		return nil // whatever is wrong with another file is none of this
	})
	if err == nil && file == "" {
		err = errNotDeclared
	}
	return file, before, after, err
}

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// replaceFile writes a file whole or not at all.
func replaceFile(name string, data []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), ".reanchor-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) //nolint:errcheck // it is gone once it was renamed
	_, written := temporary.Write(data)
	if err := errors.Join(written, temporary.Chmod(info.Mode()), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), name)
}

// stillValid refuses a change after which the folder has an error.
func stillValid(folder, clusterResourceNamespace string, now time.Time) error {
	found, err := validateOnDisk(folder, clusterResourceNamespace, now)
	if err != nil {
		return err
	}
	for _, problem := range found {
		if problem.Severity == severityError {
			return fmt.Errorf("the folder would not be valid, and is left as it was: %s", problem)
		}
	}
	return nil
}

func compromiseMessage(authority, key, successor string) string {
	subject := fmt.Sprintf("Take the compromised key %s of %s out at once", key, authority)
	if successor == "" {
		return subject
	}
	return fmt.Sprintf("%s\n\n%s takes over.", subject, successor)
}

// commitFile commits one file with git itself, so that whoever does it signs it as always.
func commitFile(ctx context.Context, file, message string, stderr io.Writer) error {
	command := exec.CommandContext(ctx, "git", "-C", filepath.Dir(file), "commit", "-q", "-m", message, "--", filepath.Base(file))
	var said bytes.Buffer
	command.Stdout, command.Stderr = stderr, &said
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s is changed, and git did not commit it: %w: %s; commit it by hand", file, err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}
