package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	fluxcontroller "github.com/fluxcd/pkg/runtime/controller"
	"github.com/fluxcd/pkg/runtime/leaderelection"
	"github.com/fluxcd/pkg/runtime/logger"
	fluxmetrics "github.com/fluxcd/pkg/runtime/metrics"
	"github.com/fluxcd/pkg/runtime/probes"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	kubevalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/reconciler"
)

// controllerName is the reporter of events and the base of the lease's name.
const controllerName = "reanchor-controller"

// The lease's times, as Flux's controllers have them.
const (
	leaseDuration = 35 * time.Second
	renewDeadline = 30 * time.Second
	retryPeriod   = 5 * time.Second
)

// controllerFlags are the flags of reanchor controller.
type controllerFlags struct {
	kubeconfig               string
	metricsAddress           string
	healthAddress            string
	webhookAddress           string
	eventsAddress            string
	leaderElect              bool
	leaderElectionNamespace  string
	storagePath              string
	clusterResourceNamespace string
	watchLabelSelector       string
	log                      logger.Options
	options                  reconciler.Options
}

func newController() *cobra.Command {
	var flags controllerFlags
	command := &cobra.Command{
		Use:   "controller",
		Short: "Turn the loop of every TrustDomain in the cluster",
		Long: `Turn the loop of every TrustDomain in the cluster: pull, read the record, load,
observe, plan, render, check, apply, record, report.

cert-manager and trust-manager must be installed. The record of the keys that came to
be is pushed to Git, unless spec.writeBack.mode is Disabled. A copy of each repository
is kept under --storage-path; losing it costs a clone.

With --webhook-addr the servers of the repositories may ask for a turn when somebody has
pushed: see spec.webhook of TrustDomain. Let TLS end in front of it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runController(cmd.Context(), flags) },
	}
	flags.bind(command)
	return command
}

func (f *controllerFlags) bind(command *cobra.Command) {
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "file that says how to reach the cluster (default: KUBECONFIG, ~/.kube/config, or the pod's service account)")
	set.StringVar(&f.storagePath, "storage-path", "", "folder for copies of the repositories (default: reanchor in the system's temporary folder)")
	set.StringVar(&f.clusterResourceNamespace, "cluster-resource-namespace", applier.DefaultClusterResourceNamespace, "namespace in which cert-manager looks for the Secrets of ClusterIssuers")
	set.StringVar(&f.watchLabelSelector, "watch-label-selector", "", "turn only the TrustDomains with these labels, 'sharding.fluxcd.io/key=shard1' say (default: all)")
	set.StringVar(&f.options.DefaultServiceAccount, "default-service-account", "", "service account, in each TrustDomain's own namespace, that one is written as which names none in spec.serviceAccountName (default: the controller's own permissions)")
	set.IntVar(&f.options.Concurrent, "concurrent", 4, "how many TrustDomains have their turns at once")
	set.StringVar(&f.metricsAddress, "metrics-addr", ":8080", "address that metrics are served at; 0 serves none")
	set.StringVar(&f.healthAddress, "health-addr", ":9440", "address that /healthz and /readyz are served at; 0 serves none")
	set.StringVar(&f.webhookAddress, "webhook-addr", "", "address that push webhooks are received at, ':9292' say, as POST /hook/<namespace>/<name> over plain HTTP (default: none are)")
	set.StringVar(&f.eventsAddress, "events-addr", "", "URL of notification-controller, which events are sent to as well")
	set.BoolVar(&f.leaderElect, "leader-elect", false, "turn only while holding the lease, so that several replicas may run")
	set.StringVar(&f.leaderElectionNamespace, "leader-election-namespace", "", "namespace of the lease (default: the pod's)")
	f.log.BindFlags(set)
	set.BoolVar(&f.options.DisableEarlyExit, "disable-early-exit", false, "make every turn a whole one")
	if err := set.MarkHidden("disable-early-exit"); err != nil {
		panic(err) // the flag was defined in the line above
	}
}

// validate refuses flags that would be ignored otherwise.
func (f *controllerFlags) validate() error {
	if err := validateLog(f.log); err != nil {
		return err
	}
	if f.options.Concurrent < 1 {
		return fmt.Errorf("--concurrent %d: give 1 or more", f.options.Concurrent)
	}
	if account := f.options.DefaultServiceAccount; account != "" && len(kubevalidation.IsDNS1123Subdomain(account)) > 0 {
		return fmt.Errorf("--default-service-account %q: give a service account's name alone, without a namespace: each TrustDomain's own counts", account)
	}
	if _, _, err := net.SplitHostPort(f.webhookAddress); f.webhookAddress != "" && err != nil {
		return fmt.Errorf("--webhook-addr %q: give an address and a port, ':9292' say", f.webhookAddress)
	}
	return nil
}

// validateLog refuses what the logger would take for its defaults.
func validateLog(options logger.Options) error {
	levels, encodings := []string{"trace", "debug", "info", "error"}, []string{"json", "console"}
	switch {
	case !slices.Contains(levels, options.LogLevel):
		return fmt.Errorf("--log-level %q: give one of %v", options.LogLevel, levels)
	case !slices.Contains(encodings, options.LogEncoding):
		return fmt.Errorf("--log-encoding %q: give one of %v", options.LogEncoding, encodings)
	}
	return nil
}

// runController runs until ctx ends.
func runController(ctx context.Context, flags controllerFlags) error {
	if err := flags.validate(); err != nil {
		return err
	}
	config, err := loadConfig(flags.kubeconfig)
	if err != nil {
		return err
	}
	flags.storagePath = cmp.Or(flags.storagePath, filepath.Join(os.TempDir(), "reanchor"))
	if err := os.MkdirAll(flags.storagePath, 0o700); err != nil {
		return fmt.Errorf("--storage-path: %w: give a folder that this program may write to", err)
	}
	logger.SetLogger(logger.NewLogger(flags.log))
	mgr, err := newManager(config, flags)
	if err != nil {
		return err
	}
	if err := addController(ctx, mgr, flags); err != nil {
		return err
	}
	probes.SetupChecks(mgr, ctrl.Log)
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run the controller: %w", err)
	}
	return nil
}

func newManager(config *rest.Config, flags controllerFlags) (ctrl.Manager, error) {
	domains, err := labels.Parse(flags.watchLabelSelector)
	if err != nil {
		return nil, fmt.Errorf("--watch-label-selector: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := applier.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("build the scheme: %w", err)
	}
	duration, deadline, retry := leaseDuration, renewDeadline, retryPeriod
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         reconciler.CacheOptions(domains),
		Client:                        reconciler.ClientOptions(),
		Metrics:                       server.Options{BindAddress: flags.metricsAddress},
		HealthProbeBindAddress:        flags.healthAddress,
		LeaderElection:                flags.leaderElect,
		LeaderElectionID:              leaseName(flags.watchLabelSelector),
		LeaderElectionNamespace:       flags.leaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &duration,
		RenewDeadline:                 &deadline,
		RetryPeriod:                   &retry,
	})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster at %s: %w: see that it runs and that the credentials are right", config.Host, err)
	}
	return mgr, nil
}

// leaseName is one for each shard.
func leaseName(selector string) string {
	if selector == "" {
		return controllerName
	}
	return leaderelection.GenerateID(controllerName, selector)
}

func addController(ctx context.Context, mgr ctrl.Manager, flags controllerFlags) error {
	recorder, err := newRecorder(ctx, mgr, controllerName, flags.eventsAddress)
	if err != nil {
		return err
	}
	own, err := reconciler.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	controller := &reconciler.Reconciler{
		Client:     mgr.GetClient(),
		APIReader:  mgr.GetAPIReader(),
		Events:     recorder,
		Conditions: fluxcontroller.NewMetrics(mgr, fluxmetrics.MustMakeRecorder()),
		Mapper:     mgr.GetRESTMapper(),
		Metrics:    own,
		Now:        time.Now,
		Parts:      parts(mgr, flags),
		Options:    flags.options,
	}
	if controller.Metadata, err = metadata.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient()); err != nil {
		return fmt.Errorf("make a client for metadata: %w", err)
	}
	if err := controller.Setup(mgr); err != nil {
		return err
	}
	return addReceiver(mgr, controller, flags.webhookAddress)
}
