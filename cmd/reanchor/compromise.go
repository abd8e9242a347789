package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

// runCompromise changes the file, sees that the folder says with it what was asked for, and
// commits it. What is refused leaves the file as it was.
func runCompromise(ctx context.Context, stolen string, flags compromiseFlags, now time.Time, stdout, stderr io.Writer) error {
	authority, key, both := strings.Cut(stolen, "/")
	if !both || authority == "" || key == "" {
		return fmt.Errorf("compromise %q: write AUTHORITY/KEY, fleet-root/2025 say", stolen)
	}
	e := emergency{authority: authority, key: key, successor: flags.successor, flags: flags, now: now}
	file, err := e.declare()
	if err != nil {
		return fmt.Errorf("compromise %s: %w", stolen, err)
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

// emergency is a key that is stolen, and who takes over.
type emergency struct {
	authority, key, successor string
	flags                     compromiseFlags
	now                       time.Time
}

// declare changes the file that the composed authority comes from, and looks at what the
// folder is composed to then. It returns the file.
func (e emergency) declare() (string, error) {
	loaded, err := loadFolder(e.flags.folder, e.flags.clusterResourceNamespace)
	if err != nil {
		return "", err
	}
	composed, err := e.authorityIn(loaded)
	if err != nil {
		return "", err
	}
	file, err := onDisk(e.flags.folder, loaded, composed)
	if err != nil {
		return "", err
	}
	before, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	after, found, err := v1alpha1.Compromise(file, before, e.authority, e.key, e.successor)
	switch {
	case err != nil:
		return "", err
	case !found || stateIn(composed, e.key) == v1alpha1.KeySigning && e.successor == "":
		return "", fmt.Errorf("%s is left as it was: %w", file, errPatched)
	}
	if err := replaceFile(file, after); err != nil {
		return "", err
	}
	if err := e.isDeclared(file); err != nil {
		return "", errors.Join(err, replaceFile(file, before))
	}
	return file, nil
}

var (
	errNotDeclared = errors.New("the folder declares no such Authority: give the folder that does with --folder")
	errPatched     = errors.New("the kustomization changes spec.keys of the authority after that: write it where that does, with the key as Compromised and its successor as Signing, and see that `reanchor plan` says Emergency")
)

func (e emergency) authorityIn(loaded declared) (*v1alpha1.Authority, error) {
	for _, document := range loaded.Documents {
		if authority, is := document.(*v1alpha1.Authority); is && authority.Metadata.Name == e.authority {
			return authority, nil
		}
	}
	return nil, errNotDeclared
}

// isDeclared reports with an error that the folder is not valid, or is not composed to what
// was asked for.
func (e emergency) isDeclared(file string) error {
	if err := stillValid(e.flags.folder, e.flags.clusterResourceNamespace, e.now); err != nil {
		return err
	}
	loaded, err := loadFolder(e.flags.folder, e.flags.clusterResourceNamespace)
	if err != nil {
		return err
	}
	composed, err := e.authorityIn(loaded)
	if err != nil {
		return err
	}
	if stateIn(composed, e.key) != v1alpha1.KeyCompromised || e.successor != "" && stateIn(composed, e.successor) != v1alpha1.KeySigning {
		return fmt.Errorf("%s is left as it was: %w", file, errPatched)
	}
	return nil
}

// stateIn is the state of a key that an authority lists; empty if it does not.
func stateIn(authority *v1alpha1.Authority, name string) v1alpha1.KeyState {
	for _, key := range authority.Spec.Keys {
		if key.Name == name {
			return key.State
		}
	}
	return ""
}

// onDisk is the file that a composed document comes from, as seen from where the command
// runs.
func onDisk(folder string, loaded declared, document v1alpha1.Object) (string, error) {
	repository, _, err := locate(folder)
	if err != nil {
		return "", err
	}
	name, _ := loaded.OriginOf(document)
	file := filepath.Join(repository, filepath.FromSlash(name))
	here, err := filepath.Abs(".")
	if err == nil {
		here, err = filepath.EvalSymlinks(here)
	}
	if err != nil {
		return "", err
	}
	if shown, err := filepath.Rel(here, file); err == nil {
		return shown, nil
	}
	return file, nil
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
