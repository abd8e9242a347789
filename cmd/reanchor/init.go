package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/cmd/reanchor/scaffold"
)

func newInit() *cobra.Command {
	var options scaffold.Options
	command := &cobra.Command{
		Use:   "init [FOLDER]",
		Short: "Write a domain's first folder: a root, an issuer, a bundle",
		Long: `Write what a domain begins with into FOLDER, the present one when left out: a root with
one key, a ClusterIssuer, a bundle, an empty overlay, the TrustDomain for the cluster, and
a README that says what to do next. Nothing that is there is overwritten: if a file of
these is, none is written, but for the README, which stays as it is.

Each file that is written stands on stdout, one a line.`,
		Args:              atMostOne("FOLDER"),
		ValidArgsFunction: completeFolders,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInit(folderOf(args), options, time.Now(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&options.Name, "name", "fleet", "name of the TrustDomain")
	set.StringVarP(&options.Namespace, "namespace", "n", "reanchor-system", "namespace of the TrustDomain")
	set.StringVar(&options.URL, "url", "", "URL of the repository, https:// or ssh:// (default: one to be replaced)")
	set.StringVar(&options.Branch, "branch", "main", "branch of the repository")
	set.StringVar(&options.Authority, "authority", "", "name of the root (default: the TrustDomain's, and -root)")
	set.StringVar(&options.CommonName, "common-name", "", "common name of the root's certificates, to which the key's name is added (default: from the root's name)")
	set.StringVar(&options.Key, "key", "", "name of the root's first key (default: the year)")
	set.StringVar(&options.Issuer, "issuer", "", "name of the ClusterIssuer (default: the TrustDomain's)")
	set.StringVar(&options.Bundle, "bundle", "", "name of the bundle (default: the TrustDomain's, and -trust)")
	set.StringVar(&options.ClusterResourceNamespace, "cluster-resource-namespace", v1alpha1.DefaultClusterResourceNamespace, "namespace in which cert-manager looks for the Secrets of ClusterIssuers")
	return command
}

// placeholderURL stands where nobody said what the repository is.
const placeholderURL = "https://git.example.com/fleet/pki.git"

// runInit prints the files that it writes as data, and what to do next as talk.
func runInit(folder string, options scaffold.Options, now time.Time, stdout, stderr io.Writer) error {
	isPlaceholder := options.URL == ""
	options = completed(options, now)
	if err := options.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make %s: %w: give a folder that this program may write to", folder, err)
	}
	var err error
	if options.Path, err = pathInRepository(folder); err != nil {
		return err
	}
	files, err := scaffold.Files(options)
	if err != nil {
		return err
	}
	if files, err = newFiles(folder, files, stderr); err != nil {
		return err
	}
	if err := writeFiles(folder, files, stdout); err != nil {
		return err
	}
	if isPlaceholder {
		fmt.Fprintf(stderr, "reanchor: set spec.source.url in %s: it is a placeholder\n", filepath.Join(folder, "trustdomain.yaml"))
	}
	fmt.Fprintf(stderr, "reanchor: next: read %s\n", filepath.Join(folder, scaffold.README))
	return nil
}

// pathInRepository is the folder's path in the repository that it belongs to; empty for
// its root.
func pathInRepository(folder string) (string, error) {
	_, domain, err := locate(folder)
	if err != nil {
		return "", fmt.Errorf("%s: %w: give a folder", folder, err)
	}
	return strings.TrimPrefix(domain, "."), nil
}

// completed options: what was not said follows from what was.
func completed(o scaffold.Options, now time.Time) scaffold.Options {
	o.URL = cmp.Or(o.URL, placeholderURL)
	o.Authority = cmp.Or(o.Authority, o.Name+"-root")
	o.CommonName = cmp.Or(o.CommonName, titled(o.Authority))
	o.Key = cmp.Or(o.Key, strconv.Itoa(now.Year()))
	o.Issuer = cmp.Or(o.Issuer, o.Name)
	o.Bundle = cmp.Or(o.Bundle, o.Name+"-trust")
	return o
}

// titled is "Fleet Root" of "fleet-root".
func titled(name string) string {
	parts := strings.Split(name, "-")
	for at, part := range parts {
		if part != "" {
			parts[at] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, " ")
}

// newFiles are those to write. It fails if one is there, but for a README.
func newFiles(folder string, files []scaffold.File, stderr io.Writer) ([]scaffold.File, error) {
	var fresh []scaffold.File
	var there []string
	for _, file := range files {
		path := filepath.Join(folder, filepath.FromSlash(file.Path))
		switch _, err := os.Lstat(path); {
		case errors.Is(err, fs.ErrNotExist):
			fresh = append(fresh, file)
		case err != nil:
			return nil, fmt.Errorf("look for %s: %w", path, err)
		case file.Path == scaffold.README:
			fmt.Fprintf(stderr, "reanchor: %s is there already, and stays as it is\n", path)
		default:
			there = append(there, file.Path)
		}
	}
	if len(there) > 0 {
		return nil, fmt.Errorf("nothing was written, for %s holds %s already: give another folder", folder, strings.Join(there, ", "))
	}
	return fresh, nil
}

// writeFiles makes each file, and never one that has come to be there meanwhile.
func writeFiles(folder string, files []scaffold.File, stdout io.Writer) error {
	for _, file := range files {
		path := filepath.Join(folder, filepath.FromSlash(file.Path))
		if err := writeFile(path, file.Text); err != nil {
			return fmt.Errorf("write %s: %w: see that nothing else writes there, and begin anew in an empty folder", path, err)
		}
		if _, err := fmt.Fprintln(stdout, path); err != nil {
			return fmt.Errorf("print what was written: %w", err)
		}
	}
	return nil
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	made, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = made.Write(text)
	return errors.Join(err, made.Close())
}
