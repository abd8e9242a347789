package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/fluxcd/pkg/runtime/logger"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/forge"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/registrar"
)

// registrarName is the reporter of the endpoint's events.
const registrarName = "reanchor-registrar"

// registrarFlags are the flags of reanchor registrar.
type registrarFlags struct {
	kubeconfig               string
	namespace, name          string
	listen                   string
	own, proof               pairFlags
	proofName                string
	storagePath              string
	clusterResourceNamespace string
	deviceNamespaces         []string
	proxies                  []string
	legacyKeystores          bool
	forge                    string
	forgeSettings            forge.Settings
	limits                   registrar.Limits
	metricsAddress           string
	healthAddress            string
	eventsAddress            string
	log                      logger.Options
}

// pairFlags say where a certificate and its key are: in a Secret of the TrustDomain's
// namespace, or in files.
type pairFlags struct{ secret, certificate, key string }

func (p pairFlags) isGiven() bool { return p != pairFlags{} }

func newRegistrar() *cobra.Command {
	var flags registrarFlags
	command := &cobra.Command{
		Use:   "registrar",
		Short: "Let devices register themselves: REST, EST and QIoT",
		Long: `Let the devices of a TrustDomain register themselves, over REST, EST (RFC 7030) and
QIoT's own protocol. A device shows its factory certificate; its registration is
committed to the branch that spec.writeBack names, and it gets the certificate that the
controller has cert-manager issue. What it trusts and shows afterwards is written down for
the rollovers that wait for it.

The endpoint's own certificate, with its intermediates, comes from a Secret in the
TrustDomain's namespace or from files, and is read anew when it changes. A handshake with
the name given by --proof-name proves that a device trusts the anchor which that
certificate ends in.

Registrations of groups with 'approval: PullRequest' wait on a branch. With --forge a pull
request is kept open for it, which lists the devices; the token comes from the environment
alone: GITHUB_TOKEN, GITLAB_TOKEN or GITEA_TOKEN.

A line of JSON about each request goes to stdout. When the TrustDomain, or the credentials
that it names, change, the process ends so as to be started anew.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRegistrar(cmd.Context(), flags, cmd.OutOrStdout())
		},
	}
	flags.bind(command)
	return command
}

func (f *registrarFlags) bind(command *cobra.Command) {
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "file that says how to reach the cluster (default: KUBECONFIG, ~/.kube/config, or the pod's service account)")
	set.StringVarP(&f.namespace, "namespace", "n", "reanchor-system", "namespace of the TrustDomain")
	set.StringVar(&f.name, "name", "", "name of the TrustDomain")
	set.StringVar(&f.listen, "listen", ":8443", "address that devices are served at, over TLS")
	set.StringVar(&f.own.secret, "tls-secret", "", "Secret in the TrustDomain's namespace with the endpoint's certificate (tls.crt, tls.key)")
	set.StringVar(&f.own.certificate, "tls-cert", "", "file with the endpoint's certificate, in place of --tls-secret")
	set.StringVar(&f.own.key, "tls-key", "", "file with its key")
	set.StringVar(&f.proofName, "proof-name", "", "TLS name by which devices prove which anchor they trust (default: none)")
	set.StringVar(&f.proof.secret, "proof-secret", "", "Secret with a certificate for the proof name (default: the endpoint's, without links)")
	set.StringVar(&f.proof.certificate, "proof-cert", "", "file with it, in place of --proof-secret")
	set.StringVar(&f.proof.key, "proof-key", "", "file with its key")
	set.StringVar(&f.storagePath, "storage-path", "", "folder for copies of the repository (default: reanchor-registrar in the system's temporary folder)")
	set.StringVar(&f.clusterResourceNamespace, "cluster-resource-namespace", applier.DefaultClusterResourceNamespace, "namespace in which cert-manager looks for the Secrets of ClusterIssuers")
	set.StringSliceVar(&f.deviceNamespaces, "device-namespaces", nil, "namespaces of the device groups, where CertificateRequests are watched (default: all)")
	set.StringSliceVar(&f.proxies, "proxy-keys", nil, "SHA-256 of the public keys (SPKI, hex) of the proxies whose X-Forwarded-Client-Cert counts (default: none)")
	set.BoolVar(&f.legacyKeystores, "legacy-keystores", false, "write PKCS#12 that Java before 8u301 and 11.0.12 reads")
	set.StringVar(&f.forge, "forge", "", "forge on which to open pull requests for groups with 'approval: PullRequest': github, gitlab or gitea, which Forgejo is as well (default: none are opened)")
	set.StringVar(&f.forgeSettings.API, "forge-api-url", "", "URL of the forge's API (default, for github: https://api.github.com)")
	set.StringVar(&f.forgeSettings.Repository, "forge-repository", "", "repository on it, 'owner/name'; for GitLab the project's number or path")
	f.bindLimits(set)
	set.StringVar(&f.metricsAddress, "metrics-addr", ":8080", "address that metrics are served at; 0 serves none")
	set.StringVar(&f.healthAddress, "health-addr", ":9440", "address that /healthz and /readyz are served at; 0 serves none")
	set.StringVar(&f.eventsAddress, "events-addr", "", "URL of notification-controller, which events are sent to as well")
	f.log.BindFlags(set)
	_ = command.MarkFlagRequired("name")
}

// bindLimits of what is taken of the endpoint's time and memory, and of Git's.
func (f *registrarFlags) bindLimits(set *pflag.FlagSet) {
	preset := registrar.DefaultLimits()
	set.DurationVar(&f.limits.Hold, "hold", preset.Hold, "how long a request waits for its certificate before the device is told to come again")
	set.Float64Var(&f.limits.PerGroup, "group-rate", preset.PerGroup, "registrations a second that a device group takes, renewals apart")
	set.Float64Var(&f.limits.PerDevice, "device-rate", preset.PerDevice, "requests a second with one device's key")
	set.Float64Var(&f.limits.PerAddress, "address-rate", preset.PerAddress, "requests a second from one address, those through --proxy-keys apart")
	set.IntVar(&f.limits.Connections, "connections", preset.Connections, "connections at once")
	set.IntVar(&f.limits.ConnectionsPerAddress, "address-connections", preset.ConnectionsPerAddress, "connections at once from one address")
}

// validateLimits refuses what would serve nobody.
func (f *registrarFlags) validateLimits() error {
	if f.limits.Hold <= 0 {
		return fmt.Errorf("--hold %s: give a time above zero", f.limits.Hold)
	}
	for _, limit := range []struct {
		name  string
		given float64
	}{
		{"group-rate", f.limits.PerGroup},
		{"device-rate", f.limits.PerDevice},
		{"address-rate", f.limits.PerAddress},
		{"connections", float64(f.limits.Connections)},
		{"address-connections", float64(f.limits.ConnectionsPerAddress)},
	} {
		if !(limit.given > 0) { // nor is NaN
			return fmt.Errorf("--%s %g: give a number above zero", limit.name, limit.given)
		}
	}
	return nil
}

// validate refuses flags that contradict each other, or would be ignored otherwise.
func (f *registrarFlags) validate() error {
	if err := validateLog(f.log); err != nil {
		return err
	}
	for _, pair := range []struct {
		name  string
		given pairFlags
	}{{"tls", f.own}, {"proof", f.proof}} {
		files := pair.given.certificate != "" || pair.given.key != ""
		switch {
		case files && pair.given.secret != "":
			return fmt.Errorf("--%s-secret and --%[1]s-cert contradict each other: give one", pair.name)
		case files && (pair.given.certificate == "" || pair.given.key == ""):
			return fmt.Errorf("--%s-cert and --%[1]s-key come together: give both", pair.name)
		}
	}
	switch {
	case !f.own.isGiven():
		return errors.New("there is no certificate to serve: give --tls-secret, or --tls-cert and --tls-key")
	case f.proof.isGiven() && f.proofName == "":
		return errors.New("--proof-secret and --proof-cert say nothing without --proof-name: give that too")
	case f.forge == "" && f.forgeSettings != (forge.Settings{}):
		return errors.New("--forge-api-url and --forge-repository say nothing without --forge: give that too")
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return fmt.Errorf("--listen %q: give an address and a port, ':8443' say", f.listen)
	}
	if err := f.validateLimits(); err != nil {
		return err
	}
	_, err := f.trustedProxies()
	return err
}

func (f *registrarFlags) trustedProxies() ([]pki.Fingerprint, error) {
	var proxies []pki.Fingerprint
	for _, text := range f.proxies {
		var key pki.Fingerprint
		if err := key.UnmarshalText([]byte(text)); err != nil {
			return nil, fmt.Errorf("--proxy-keys %q: give 64 hex digits each", text)
		}
		proxies = append(proxies, key)
	}
	return proxies, nil
}

func (f *registrarFlags) domain() planner.Ref {
	return planner.Ref{Namespace: f.namespace, Name: f.name}
}

// runRegistrar runs until ctx ends.
func runRegistrar(ctx context.Context, flags registrarFlags, stdout io.Writer) error {
	if err := flags.validate(); err != nil {
		return err
	}
	config, err := loadConfig(flags.kubeconfig)
	if err != nil {
		return err
	}
	flags.storagePath = cmp.Or(flags.storagePath, filepath.Join(os.TempDir(), registrarName))
	if err := os.MkdirAll(flags.storagePath, 0o700); err != nil {
		return fmt.Errorf("--storage-path: %w: give a folder that this program may write to", err)
	}
	logger.SetLogger(logger.NewLogger(flags.log))
	return serveRegistrar(ctx, config, flags, stdout)
}

// serveRegistrar opens the repository, watches the cluster and serves.
func serveRegistrar(ctx context.Context, config *rest.Config, flags registrarFlags, stdout io.Writer) error {
	mgr, err := newRegistrarManager(config, flags)
	if err != nil {
		return err
	}
	o := &office{flags: flags, mgr: mgr, log: ctrl.Log.WithName("registrar")}
	defer o.close()
	for _, begin := range []func(context.Context) error{o.tell, o.openProposer, o.openRepository, o.watchCluster, o.watchPairs, o.collectEvidence, o.probes} {
		if err := begin(ctx); err != nil {
			return err
		}
	}
	if err := o.addServer(stdout); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run the registrar: %w", err)
	}
	return nil
}
