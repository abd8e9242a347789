package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/api/v1alpha1"

	"github.com/reanchor/reanchor/policies"
)

// validateFlags are the flags of reanchor validate.
type validateFlags struct {
	clusterResourceNamespace string
	output                   string
}

func newValidate() *cobra.Command {
	var flags validateFlags
	command := &cobra.Command{
		Use:   "validate [FOLDER]",
		Short: "Say what is wrong with a domain's folder, without a cluster",
		Long: `Say what is wrong with a domain's folder, spec.source.path of its TrustDomain, without
a cluster: its documents, what kustomize makes of them, the recorded certificates, and
private keys in any file of the folder. FOLDER is the present one when left out. It may
build on other folders of its Git repository.

Each line on stdout is "file:line: field: message", or "file:line: warning: field:
message"; files are named as seen from the root of the repository, or from FOLDER where
there is none. The exit status is 0 if there is no error, and 1 otherwise.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := append(args, ".")[0]
			return runValidate(folder, flags, time.Now(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&flags.clusterResourceNamespace, "cluster-resource-namespace", v1alpha1.DefaultClusterResourceNamespace, "namespace in which cert-manager looks for the Secrets of ClusterIssuers")
	set.StringVarP(&flags.output, "output", "o", "table", "how to print what was found: table or json")
	return command
}

// runValidate prints what is wrong with a folder on disk as data, and one line that
// sums it up as talk.
func runValidate(folder string, flags validateFlags, now time.Time, stdout, stderr io.Writer) error {
	print, known := map[string]func(io.Writer, []problem) error{"table": printLines, "json": printJSON}[flags.output]
	if !known {
		return fmt.Errorf("--output %q: give one of [table json]", flags.output)
	}
	found, err := validateOnDisk(folder, flags.clusterResourceNamespace, now)
	if err != nil {
		return err
	}
	if err := print(stdout, found); err != nil {
		return fmt.Errorf("print what was found: %w", err)
	}
	wrong := count(found, severityError)
	warned := counted(count(found, severityWarning), "warning")
	if wrong > 0 {
		return fmt.Errorf("%s: %s and %s: mend the errors", folder, counted(wrong, "error"), warned)
	}
	_, err = fmt.Fprintf(stderr, "reanchor: %s: no error and %s\n", folder, warned)
	return err
}

func validateOnDisk(folder, clusterResourceNamespace string, now time.Time) ([]problem, error) {
	repository, domain, err := locate(folder)
	if err != nil {
		return nil, fmt.Errorf("validate %s: %w: give the folder of a domain", folder, err)
	}
	root, err := os.OpenRoot(repository)
	if err != nil {
		return nil, fmt.Errorf("open the repository: %w", err)
	}
	defer root.Close() //nolint:errcheck // it was only read
	v := validation{files: root.FS(), folder: domain, leaking: map[string]bool{}}
	v.all(clusterResourceNamespace, now)
	slices.SortFunc(v.found, problem.compare)
	return slices.Compact(v.found), nil
}

var errNotFolder = errors.New("is not a folder")

// locate finds the repository that a folder on disk belongs to, and the folder in it.
// A folder that belongs to none is taken for a repository.
func locate(folder string) (repository, domain string, err error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return "", "", err
	}
	if absolute, err = filepath.EvalSymlinks(absolute); err != nil {
		return "", "", err
	}
	if info, err := os.Stat(absolute); err != nil || !info.IsDir() {
		return "", "", cmp.Or(err, errNotFolder)
	}
	for repository = absolute; ; repository = filepath.Dir(repository) {
		if _, err := os.Lstat(filepath.Join(repository, ".git")); err == nil {
			break
		}
		if repository == filepath.Dir(repository) {
			repository = absolute
			break
		}
	}
	domain, err = filepath.Rel(repository, absolute)
	return repository, filepath.ToSlash(domain), err
}

// The severities of problems.
const (
	severityError   = "error"
	severityWarning = "warning"
)

// problem is one thing that is wrong, as it is printed.
type problem struct {
	Severity string `json:"severity"`
	// File as seen from the root of the repository, and Line from 1.
	File string `json:"file"`
	Line int    `json:"line"`
	// Field of the document; empty where another thing is meant.
	Field   string `json:"field"`
	Message string `json:"message"`
	// violation of a policy, where it is one.
	violation policies.Violation
}

func (p problem) compare(other problem) int {
	return cmp.Or(
		cmp.Compare(p.File, other.File), cmp.Compare(p.Line, other.Line), cmp.Compare(p.Severity, other.Severity),
		cmp.Compare(p.Field, other.Field), cmp.Compare(p.Message, other.Message),
	)
}

// String is "file:line: field: message", with the word warning where it is one.
func (p problem) String() string {
	text := p.Message
	if p.Field != "" {
		text = p.Field + ": " + text
	}
	if p.Severity == severityWarning {
		text = severityWarning + ": " + text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, text)
}

func printLines(out io.Writer, found []problem) error {
	for _, p := range found {
		if _, err := fmt.Fprintln(out, p); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(out io.Writer, found []problem) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(append([]problem{}, found...))
}

func count(found []problem, severity string) int {
	n := 0
	for _, p := range found {
		if p.Severity == severity {
			n++
		}
	}
	return n
}

// counted is "1 error" or "2 errors".
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
