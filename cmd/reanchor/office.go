package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	kubeselection "k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/gitsource"
	"github.com/reanchor/reanchor/reconciler"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/service"
)

// office is what stands behind the registration endpoint.
type office struct {
	flags    registrarFlags
	mgr      ctrl.Manager
	log      logr.Logger
	branches reconciler.Branches
	git      *service.Git
	cluster  *service.Cluster
	door     *service.Door
	evidence *service.Evidence
	applier  *applier.Applier
	known    known
	metrics  *registrar.Metrics
	events   record.EventRecorder
	proposer *proposer // nil: nobody opens pull requests
	// landed is told of commits, and synced report that the watches have told of all that
	// there was.
	landed chan struct{}
	synced []clientcache.InformerSynced
	closes []func()
}

// newRegistrarManager watches what the device lane makes for the domain, and nothing else.
func newRegistrarManager(config *rest.Config, flags registrarFlags) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := applier.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("build the scheme: %w", err)
	}
	ofDevices, err := labels.NewRequirement(v1alpha1.LabelDeviceGroup, kubeselection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("select the objects of devices: %w", err)
	}
	selector := labels.SelectorFromSet(labels.Set{v1alpha1.LabelDomainName: flags.name, v1alpha1.LabelDomainNamespace: flags.namespace}).Add(*ofDevices)
	watched := cache.ByObject{Label: selector}
	for _, namespace := range flags.deviceNamespaces {
		if watched.Namespaces == nil {
			watched.Namespaces = map[string]cache.Config{}
		}
		watched.Namespaces[namespace] = cache.Config{}
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		Cache:                  cache.Options{ByObject: map[client.Object]cache.ByObject{&certmanagerv1.CertificateRequest{}: watched, &certmanagerv1.Certificate{}: watched}},
		Metrics:                server.Options{BindAddress: flags.metricsAddress},
		HealthProbeBindAddress: flags.healthAddress,
	})
	if err != nil {
		return nil, unreached(config, err)
	}
	return mgr, nil
}

func (o *office) close() {
	for _, end := range o.closes {
		end()
	}
}

// add something that runs until the process is to end.
func (o *office) add(run func(ctx context.Context) error) error {
	if err := o.mgr.Add(manager.RunnableFunc(run)); err != nil {
		return fmt.Errorf("add to what runs: %w", err)
	}
	return nil
}

// readBranches of the domain, with the credentials to reach them.
func (o *office) readBranches(ctx context.Context) (reconciler.Branches, error) {
	domain := &v1alpha1.TrustDomain{}
	name := o.flags.domain()
	if err := o.mgr.GetAPIReader().Get(ctx, client.ObjectKey(name), domain); err != nil {
		return reconciler.Branches{}, fmt.Errorf("get TrustDomain %s: %w: give --namespace and --name", name, err)
	}
	o.known.read(domain)
	branches, err := reconciler.ReadBranches(ctx, o.mgr.GetAPIReader(), domain)
	if err != nil {
		return reconciler.Branches{}, fmt.Errorf("TrustDomain %s: %w", name, err)
	}
	if err := gitsource.CheckMessage(branches.MessageTemplate); err != nil {
		return reconciler.Branches{}, fmt.Errorf("TrustDomain %s: spec.writeBack.messageTemplate: %w", name, err)
	}
	return branches, nil
}

// openRepository prepares to read and write the domain's branches.
func (o *office) openRepository(ctx context.Context) (err error) {
	if o.branches, err = o.readBranches(ctx); err != nil {
		return err
	}
	writer, err := o.openWriter("@registrar", o.remote(o.branches.Record), "")
	if err != nil {
		return err
	}
	o.closes = append(o.closes, writer.Close)
	o.cluster, o.landed = service.NewCluster(o.flags.domain()), make(chan struct{}, 1)
	options := service.GitOptions{
		Writer: writer, Proposals: o.openProposal, Folder: o.branches.Folder,
		ClusterResourceNamespace: o.flags.clusterResourceNamespace, Cluster: o.cluster, Landed: o.tellOfCommit,
	}
	if o.branches.Record.Record {
		documents, err := gitsource.Open(o.folder("@documents"), o.remote(o.branches.Source))
		if err != nil {
			return fmt.Errorf("open the branch of the documents: %w", err)
		}
		o.closes = append(o.closes, documents.Close)
		source := o.branches.Source.Name
		options.Documents = (&lineal{repository: documents, after: func() gitsource.After { return o.known.after(source) }}).Pull
	}
	if o.proposer != nil {
		options.Proposed = o.proposer.ask
	}
	o.git = service.NewGit(options)
	o.closes = append(o.closes, o.git.Close)
	o.door = service.NewDoor(o.git, o.flags.proofName, time.Now)
	o.applier = &applier.Applier{Reader: o.mgr.GetAPIReader(), Writer: o.mgr.GetClient()}
	return errors.Join(o.add(o.follow), o.add(o.askForTurns), o.addProposer())
}

// folder of a copy. No domain has an @ in its name.
func (o *office) folder(of string) string {
	return filepath.Join(o.flags.storagePath, o.flags.namespace, o.flags.name+of)
}

func (o *office) remote(branch reconciler.Branch) gitsource.Remote {
	remote := remoteOf(branch)
	remote.Storage = o.flags.storagePath
	return remote
}

// openProposal opens the branch on which a group's registrations wait to be merged.
func (o *office) openProposal(group string) (*gitsource.Writer, error) {
	remote := o.remote(o.branches.Record)
	remote.Branch = gitsource.RegistrationBranch(group)
	return o.openWriter("@registrar-"+group, remote, o.branches.Record.Name)
}

func (o *office) openWriter(folder string, remote gitsource.Remote, base string) (*gitsource.Writer, error) {
	root := o.branches.Folder
	if root == "." {
		root = ""
	}
	return gitsource.OpenWriter(o.folder(folder), remote, gitsource.WriterOptions{
		Base: base, Root: root, Now: time.Now,
		Author: gitsource.Author(o.branches.Author), Committer: gitsource.Author(o.branches.Committer), Message: o.branches.MessageTemplate,
		After: func() gitsource.After { return o.known.after(o.branches.Record.Name) },
	})
}

// errStale ends a process that was started for what is not so any more.
var errStale = errors.New("the TrustDomain, or a Secret that it names, has changed: the process ends, to be started anew")

// follow the branches, as often as the domain says.
func (o *office) follow(ctx context.Context) error {
	ticker := time.NewTicker(o.branches.Interval)
	defer ticker.Stop()
	rewritten := rewrites{domain: o.subject(), known: &o.known, events: o.events, metrics: o.metrics, log: o.log}
	for {
		err := o.git.Refresh(ctx)
		if err != nil && ctx.Err() == nil {
			o.log.Error(err, "the repository cannot be read: what was read before stays in force")
		}
		rewritten.see(err)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		branches, err := o.readBranches(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			o.log.Error(err, "what the TrustDomain says cannot be read: what it said before stays in force")
		case !reflect.DeepEqual(branches, o.branches):
			return errStale
		}
	}
}

// tellOfCommit does not wait: of several commits at once, one turn sees all.
func (o *office) tellOfCommit(string) {
	select {
	case o.landed <- struct{}{}:
	default:
	}
}

// askForTurns asks the controller to look at each commit that landed.
func (o *office) askForTurns(ctx context.Context) error {
	for {
		select {
		case <-o.landed:
			if err := o.applier.AskForTurn(ctx, o.flags.domain(), time.Now().Format(time.RFC3339Nano)); err != nil && ctx.Err() == nil {
				o.log.Error(err, "the controller finds the registrations at its next interval")
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// watchCluster watches what the device lane makes.
func (o *office) watchCluster(ctx context.Context) error {
	for _, kind := range []client.Object{&certmanagerv1.CertificateRequest{}, &certmanagerv1.Certificate{}} {
		informer, err := o.mgr.GetCache().GetInformer(ctx, kind)
		if err != nil {
			return fmt.Errorf("watch the objects of devices: %w", err)
		}
		registered, err := informer.AddEventHandler(o.cluster.Handler())
		if err != nil {
			return fmt.Errorf("watch the objects of devices: %w", err)
		}
		o.synced = append(o.synced, registered.HasSynced)
	}
	return nil
}

// watchPairs watches the certificates that the endpoint shows.
func (o *office) watchPairs(ctx context.Context) error {
	if err := o.watchPair(ctx, o.flags.own, o.door.Show); err != nil {
		return err
	}
	if !o.flags.proof.isGiven() {
		return nil
	}
	return o.watchPair(ctx, o.flags.proof, o.door.ShowProof)
}

// watchPair shows a certificate whenever it is another.
func (o *office) watchPair(ctx context.Context, pair pairFlags, show func(tls.Certificate)) error {
	if pair.secret != "" {
		return o.watchSecret(ctx, pair.secret, show)
	}
	watcher, err := certwatcher.New(pair.certificate, pair.key)
	if err != nil {
		return fmt.Errorf("read the certificate in %s and its key: %w: put both there, in PEM", pair.certificate, err)
	}
	watcher.RegisterCallback(show)
	return o.add(watcher.Start)
}

// watchSecret watches one Secret by its name, and no other.
func (o *office) watchSecret(_ context.Context, name string, show func(tls.Certificate)) error {
	clients, err := kubernetes.NewForConfigAndClient(o.mgr.GetConfig(), o.mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("make a client for Secret %s: %w", name, err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithNamespace(o.flags.namespace), informers.WithTweakListOptions(func(options *metav1.ListOptions) {
		options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	}))
	informer := factory.Core().V1().Secrets().Informer()
	take := func(seen any) { o.showSecret(seen, show) }
	registered, err := informer.AddEventHandler(clientcache.ResourceEventHandlerFuncs{AddFunc: take, UpdateFunc: func(_, after any) { take(after) }})
	if err != nil {
		return fmt.Errorf("watch Secret %s: %w", name, err)
	}
	o.synced = append(o.synced, registered.HasSynced)
	return o.add(func(ctx context.Context) error {
		informer.RunWithContext(ctx)
		return nil
	})
}

func (o *office) showSecret(seen any, show func(tls.Certificate)) {
	secret, is := seen.(*corev1.Secret)
	if !is {
		return
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		o.log.Error(err, "the Secret holds no certificate with its key: what was shown before stays", "secret", secret.Name)
		return
	}
	show(pair)
}

// collectEvidence writes down what devices show.
func (o *office) collectEvidence(context.Context) error {
	o.evidence = service.NewEvidence(service.EvidenceOptions{
		Applier: o.applier, Cluster: o.cluster, Git: o.git,
		Failed: func(err error) { o.log.Error(err, "what devices have shown cannot be written down; it is tried again") },
	})
	return o.add(func(ctx context.Context) error {
		o.evidence.Run(ctx)
		return nil
	})
}

// probes tell whether the process lives, and whether it knows the fleet.
func (o *office) probes(context.Context) error {
	return errors.Join(
		o.mgr.AddHealthzCheck("ping", healthz.Ping),
		o.mgr.AddReadyzCheck("fleet", func(*http.Request) error {
			_, err := o.git.Fleet()
			return err
		}),
	)
}

// addServer opens the endpoint, once the watches have told of all that there is.
func (o *office) addServer(stdout io.Writer) error {
	options, err := o.options(stdout)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.flags.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w: give an address that is free", err)
	}
	o.closes = append(o.closes, func() { _ = listener.Close() }) // the server has closed it, if it ever ran
	return o.add(func(ctx context.Context) error {
		if !clientcache.WaitForCacheSync(ctx.Done(), o.synced...) {
			return nil
		}
		o.log.Info("serving devices", "address", listener.Addr().String())
		return serveUntil(ctx, registrar.New(options), listener)
	})
}

// endLimit bounds how long requests that are held may hold up the end.
const endLimit = 10 * time.Second

// serveUntil serves until ctx ends, and then lets who is being served come to an end.
func serveUntil(ctx context.Context, server *registrar.Server, listener net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve devices: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return fmt.Errorf("end with requests still held: %w", err)
	}
	return <-served
}

// options of the endpoint.
func (o *office) options(stdout io.Writer) (registrar.Options, error) {
	proxies, err := o.flags.trustedProxies()
	if err != nil {
		return registrar.Options{}, err
	}
	return registrar.Options{
		Fleet: o.git.Fleet, Commits: o.git, Certificates: o.cluster, Keys: &service.Keys{Reader: o.mgr.GetAPIReader(), Git: o.git},
		Evidence: o.evidence, Serving: o.door.Serving, Rules: o.git, Clock: time.Now, Alarm: o.alarm,
		Audit:   registrar.AuditLog(stdout, func(err error) { o.log.Error(err, "the audit log cannot be written") }),
		Metrics: o.metrics, ErrorLog: log.New(handshakes{o.log}, "", 0), Proxies: proxies,
		LegacyKeystores: o.flags.legacyKeystores, Limits: o.flags.limits,
	}, nil
}

// handshakes that fail are told only to whoever looks closely: anybody can make them fail.
type handshakes struct{ log logr.Logger }

// Write a line of the HTTP server's.
func (h handshakes) Write(line []byte) (int, error) {
	h.log.V(1).Info(string(line))
	return len(line), nil
}

// tell prepares to tell people of what happens: by metrics, and by events of the TrustDomain.
func (o *office) tell(ctx context.Context) (err error) {
	if o.metrics, err = registrar.NewMetrics(metrics.Registry); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	o.events, err = newRecorder(ctx, o.mgr, registrarName, o.flags.eventsAddress)
	return err
}

// subject of events.
func (o *office) subject() *v1alpha1.TrustDomain {
	domain := &v1alpha1.TrustDomain{ObjectMeta: metav1.ObjectMeta{Namespace: o.flags.namespace, Name: o.flags.name}}
	domain.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("TrustDomain"))
	return domain
}

// alarm tells a key in the wrong hands.
func (o *office) alarm(_ context.Context, entry registrar.Entry) {
	o.events.Eventf(o.subject(), corev1.EventTypeWarning, "KeyInWrongHands",
		"%s was asked for by %s/%s with the certificate %s: %s. See that nobody else has the device's key, and block the device if somebody does",
		entry.Operation, entry.Group, entry.Device, entry.Certificate, entry.Result)
}
