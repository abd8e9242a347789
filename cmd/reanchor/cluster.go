package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/cmd/reanchor/preflight"
)

// clusterFlags say which cluster a command talks to, as kubectl's do.
type clusterFlags struct {
	kubeconfig string
	context    string
	namespace  string
}

// bind the flags. The namespace is that of TrustDomains.
func (f *clusterFlags) bind(command *cobra.Command) {
	set := command.Flags()
	set.SortFlags = false
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "file that says how to reach the cluster (default: KUBECONFIG, ~/.kube/config, or the pod's service account)")
	set.StringVar(&f.context, "context", "", "context of that file (default: its current one)")
	set.StringVarP(&f.namespace, "namespace", "n", "", "namespace of the TrustDomain (default: the context's)")
}

// cluster is the API server that a command talks to.
type cluster struct {
	config *rest.Config
	// Client asks the API server, and no cache.
	client.WithWatch
	// namespace that was asked for, or else the context's.
	namespace string
}

// connect to the cluster. Nothing is sent yet.
func (f *clusterFlags) connect() (*cluster, error) {
	ctrl.SetLogger(logr.Discard()) // what a person should know, the command says itself
	klog.SetLogger(logr.Discard())
	loader := clientConfig(f.kubeconfig, f.context)
	config, err := configOf(loader)
	if err != nil {
		return nil, err
	}
	namespace := f.namespace
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("which namespace: %w: give --namespace", err)
		}
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(applier.AddToScheme(scheme), preflight.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("build the scheme: %w", err)
	}
	config.WarningHandler = rest.NoWarnings{}
	talks, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, unreached(config, err)
	}
	return &cluster{config: config, WithWatch: talks, namespace: namespace}, nil
}

func unreached(config *rest.Config, err error) error {
	return fmt.Errorf("reach the cluster at %s: %w: see that it runs and that the credentials are right", config.Host, err)
}

// advised ends the API server's error about TrustDomains in what to do next.
func advised(err error) error {
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("%w: reanchor is not installed here: run kubectl apply -k config/default", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: ask for a role that grants it, such as reanchor-observer", err)
	}
	if _, unreached := errors.AsType[net.Error](err); unreached || apierrors.IsUnauthorized(err) {
		return fmt.Errorf("%w: see that the cluster runs, and that --kubeconfig and --context are right", err)
	}
	return err
}

// domainNamed is the TrustDomain of that name; the only one of the namespace if the name
// is empty.
func (c *cluster) domainNamed(ctx context.Context, name string) (*v1alpha1.TrustDomain, error) {
	if name == "" {
		return c.onlyDomain(ctx)
	}
	domain := &v1alpha1.TrustDomain{}
	err := c.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, domain)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no TrustDomain %s/%s: list those that there are with reanchor status -A", c.namespace, name)
	}
	if err != nil {
		return nil, fmt.Errorf("get TrustDomain %s/%s: %w", c.namespace, name, advised(err))
	}
	return domain, nil
}

func (c *cluster) onlyDomain(ctx context.Context) (*v1alpha1.TrustDomain, error) {
	domains, err := c.domains(ctx, c.namespace)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, domain := range domains {
		names = append(names, domain.Name)
	}
	switch len(domains) {
	case 0:
		return nil, fmt.Errorf("there is no TrustDomain in namespace %s: give --namespace, or list those that there are with reanchor status -A", c.namespace)
	case 1:
		return &domains[0], nil
	}
	return nil, fmt.Errorf("namespace %s has several TrustDomains: name one of %s", c.namespace, strings.Join(names, ", "))
}

// domains of a namespace, of all if it is empty, in order of namespaces and names.
func (c *cluster) domains(ctx context.Context, namespace string) ([]v1alpha1.TrustDomain, error) {
	var list v1alpha1.TrustDomainList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list TrustDomains: %w", advised(err))
	}
	return list.Items, nil
}

// completionLimit bounds how long a shell waits for names.
const completionLimit = 3 * time.Second

// completeNames completes the one argument of a command, the name of a TrustDomain.
func (f *clusterFlags) completeNames(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
	defer cancel()
	c, err := f.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	domains, err := c.domains(ctx, c.namespace)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []cobra.Completion
	for _, domain := range domains {
		names = append(names, domain.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
