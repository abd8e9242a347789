package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	kubeversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"

	"github.com/reanchor/reanchor/cmd/reanchor/preflight"
)

// checkFlags are the flags of reanchor check.
type checkFlags struct {
	clusterFlags
	controllerNamespace string
	controllerAccount   string
	timeout             time.Duration
}

func newCheck() *cobra.Command {
	var flags checkFlags
	command := &cobra.Command{
		Use:   "check",
		Short: "Say what is missing in the cluster, or does not work",
		Long: `Look at the cluster, before reanchor is used in it and whenever something does not work:
the API server, cert-manager, trust-manager, reanchor's own definition, permissions,
policies and controller, and every TrustDomain of --namespace, of all when left out.
Nothing is changed; cert-manager's webhook is asked with a dry run.

Each line is ✓ (as it should be), ! (not known, or perhaps meant so) or ✗, and what is to
be done stands below it. The exit status is 0 if there is no ✗, and 1 otherwise.`,
		Args: cobra.NoArgs,
	}
	flags.bind(command)
	set := command.Flags()
	set.Lookup("namespace").Usage = "namespace whose TrustDomains are looked at (default: all)"
	set.StringVar(&flags.controllerNamespace, "controller-namespace", "reanchor-system", "namespace of reanchor's controller")
	set.StringVar(&flags.controllerAccount, "controller-account", controllerName, "service account of reanchor's controller")
	set.DurationVar(&flags.timeout, "timeout", time.Minute, "how long all of it may take")
	output := bindFormat(command, "what was found", "table", "json")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := output.validate(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), flags.timeout)
		defer cancel()
		return runCheck(ctx, flags, output.chosen, cmd.OutOrStdout())
	}
	return command
}

func runCheck(ctx context.Context, flags checkFlags, format string, stdout io.Writer) error {
	c, err := flags.connect()
	if err != nil {
		return err
	}
	looked := preflight.Cluster{Client: c, Server: c.server, Now: time.Now}
	options := preflight.Options{Namespace: flags.controllerNamespace, Account: flags.controllerAccount, Domains: flags.namespace}
	p := results{out: stdout, paint: paletteFor(stdout), table: format == "table"}
	preflight.Run(ctx, looked, options, p.tell)
	if !p.table {
		p.err = errors.Join(p.err, writeJSON(stdout, p.all))
	}
	switch {
	case p.err != nil:
		return fmt.Errorf("print what was found: %w", p.err)
	case ctx.Err() != nil:
		return fmt.Errorf("not everything was looked at: %w: see how the API server is, or give a longer --timeout", context.Cause(ctx))
	case p.failed > 0:
		return fmt.Errorf("%s failed: do what stands below each", counted(p.failed, "check"))
	}
	return nil
}

// server asks what the API server says of itself.
func (c *cluster) server(ctx context.Context) (preflight.Server, error) {
	talks, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return preflight.Server{}, err
	}
	base, _, err := rest.DefaultServerUrlFor(c.config)
	if err != nil {
		return preflight.Server{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("version").String(), nil)
	if err != nil {
		return preflight.Server{}, err
	}
	response, err := talks.Do(request)
	if err != nil {
		return preflight.Server{}, err
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	var info kubeversion.Info
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&info); err != nil {
		return preflight.Server{}, fmt.Errorf("read its version: %s: %w", response.Status, err)
	}
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		date = time.Time{} // it does not say
	}
	return preflight.Server{Address: c.config.Host, GitVersion: info.GitVersion, Date: date}, nil
}

// results are printed as they come.
type results struct {
	out    io.Writer
	paint  palette
	table  bool
	all    []preflight.Result
	failed int
	err    error
}

// marks of the outcomes, and their colours.
var marks = map[preflight.Outcome]cell{
	preflight.Passed: {"✓", green}, preflight.Warned: {"!", yellow}, preflight.Failed: {"✗", red},
}

func (p *results) tell(r preflight.Result) {
	begins := len(p.all) == 0 || p.all[len(p.all)-1].Section != r.Section
	if r.Outcome == preflight.Failed {
		p.failed++
	}
	p.all = append(p.all, r)
	if !p.table {
		return
	}
	if begins {
		p.heading(r.Section, len(p.all) == 1)
	}
	mark := marks[r.Outcome]
	p.line("%s %s", p.paint.paint(mark.colour, mark.text), r.Found)
	if r.Hint != "" {
		p.line("    %s", r.Hint)
	}
}

func (p *results) heading(section string, first bool) {
	if !first {
		p.line("")
	}
	p.line("%s", p.paint.paint(bold, section))
}

func (p *results) line(format string, args ...any) {
	_, err := fmt.Fprintf(p.out, format+"\n", args...)
	p.err = errors.Join(p.err, err)
}
