//go:build e2e

package applier_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/fixtures/controlplane"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

const (
	controllerNamespace = "reanchor-system"
	controllerAccount   = "reanchor-controller"
	controllerUser      = "system:serviceaccount:" + controllerNamespace + ":" + controllerAccount
)

// e2e is the one cluster of the package: admin's view of it, and the controller's
// with exactly the permissions that it is shipped with.
var e2e struct {
	cluster *controlplane.Cluster
	admin   client.Client
	config  *rest.Config // of the controller
	client  client.Client
}

func TestMain(m *testing.M) {
	code, err := withCluster(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func withCluster(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "applier-e2e-")
	if err != nil {
		return 1, err
	}
	if e2e.cluster, err = controlplane.Start(context.Background(), controlplane.Options{Dir: dir}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, e2e.cluster.Err(), e2e.cluster.Stop(), os.RemoveAll(dir)) }()
	if err := connect(); err != nil {
		return 1, err
	}
	return run(), nil
}

// connect installs config/rbac and becomes its service account.
func connect() error {
	scheme := runtime.NewScheme()
	if err := applier.AddToScheme(scheme); err != nil {
		return err
	}
	var err error
	if e2e.admin, err = client.New(e2e.cluster.Config(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if err := kubectl("apply", "--server-side", "-k", "../config/rbac"); err != nil {
		return err
	}
	path, err := e2e.cluster.ServiceAccountKubeconfig(context.Background(), controllerNamespace, controllerAccount)
	if err != nil {
		return err
	}
	if e2e.config, err = clientcmd.BuildConfigFromFlags("", path); err != nil {
		return err
	}
	e2e.config.QPS = -1
	e2e.client, err = client.New(e2e.config, client.Options{Scheme: scheme})
	return err
}

func kubectl(arguments ...string) error {
	command := exec.Command(filepath.Join("..", ".bin", "kubectl"), append([]string{"--kubeconfig", e2e.cluster.Kubeconfig()}, arguments...)...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(arguments, " "), err, out)
	}
	return nil
}

// A story is one domain of the test and what it observes.
type story struct {
	*testing.T
	domain   planner.Ref
	desired  planner.Desired
	observer *applier.Observer
	applier  *applier.Applier
}

func (s *story) observe() planner.Observed {
	s.Helper()
	observed, err := s.observer.Observe(s.Context(), s.domain, s.desired, nil)
	if err != nil {
		s.Fatal(err)
	}
	if len(observed.Unknown) > 0 {
		s.Fatalf("unknown: %v", observed.Unknown)
	}
	return observed
}

// until observes until what is wanted is seen.
func (s *story) until(what string, seen func(planner.Observed) bool) planner.Observed {
	s.Helper()
	var last planner.Observed
	err := wait.PollUntilContextTimeout(s.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		last = s.observe()
		return seen(last), nil
	})
	if err != nil {
		text, _ := json.MarshalIndent(last, "", "  ")
		s.Fatalf("not seen: %s; last observed: %s", what, text)
	}
	return last
}

func (s *story) apply(options applier.Options, manifests ...string) applier.Result {
	s.Helper()
	result, err := s.applier.Apply(s.Context(), s.domain, parse(s, manifests...), options)
	if err != nil {
		s.Fatal(err)
	}
	return result
}

func (s *story) act(action planner.Action) applier.Outcome {
	s.Helper()
	outcomes, err := s.applier.Act(s.Context(), s.domain, []planner.Action{action}, time.Now())
	if err != nil {
		s.Fatal(err)
	}
	return outcomes[0]
}

func parse(t testing.TB, manifests ...string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	for _, manifest := range manifests {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}

func (s *story) create(manifests ...string) {
	s.Helper()
	for _, object := range parse(s, manifests...) {
		if err := e2e.admin.Create(s.Context(), object); err != nil {
			s.Fatal(err)
		}
	}
}

// writes counts the controller's writes in the audit log, from the beginning.
func (s *story) writes() []string {
	s.Helper()
	file, err := os.Open(e2e.cluster.AuditLog())
	if err != nil {
		s.Fatal(err)
	}
	defer file.Close()
	var writes []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct {
			Verb, RequestURI string
			User             struct{ Username string }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			s.Fatal(err)
		}
		reads := event.Verb == "get" || event.Verb == "list" || event.Verb == "watch"
		if event.User.Username == controllerUser && !reads {
			writes = append(writes, event.Verb+" "+event.RequestURI)
		}
	}
	return writes
}

const (
	selfSigned = `{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: fleet-root-self-signed, namespace: cert-manager}, spec: {selfSigned: {}}}`
	rootCA     = `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: fleet-root-2025, namespace: cert-manager, labels: {reanchor.dev/authority: fleet-root, reanchor.dev/key: "2025"}},
  spec: {isCA: true, commonName: Fleet Root 2025, secretName: fleet-root-2025, duration: 87600h, revisionHistoryLimit: 3,
    privateKey: {algorithm: ECDSA, size: 384, rotationPolicy: Never}, subject: {organizations: [Example]},
    renewal: {policy: Disabled}, usages: [digital signature, key encipherment, cert sign], issuerRef: {name: fleet-root-self-signed}}}`
	rootIssuer = `{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: fleet-root-2025, namespace: cert-manager, labels: {reanchor.dev/authority: fleet-root, reanchor.dev/key: "2025"}},
  spec: {ca: {secretName: fleet-root-2025}}}`
	fleetIssuer = `{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: fleet, labels: {reanchor.dev/binding: fleet}}, spec: {ca: {secretName: fleet-root-2025}}}`
	brokerLeaf  = `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: broker, namespace: plant},
  spec: {dnsNames: [broker.plant.svc], secretName: broker-tls, revisionHistoryLimit: 3, issuerRef: {name: fleet, kind: ClusterIssuer}}}`
	broker = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: broker, namespace: plant}, spec: {replicas: 2, selector: {matchLabels: {app: broker}},
  template: {metadata: {labels: {app: broker}}, spec: {
    containers: [{name: broker, image: broker, volumeMounts: [{name: trust, mountPath: /trust}, {name: tls, mountPath: /tls/tls.crt, subPath: tls.crt}]}],
    volumes: [{name: trust, configMap: {name: fleet-trust}}, {name: tls, secret: {secretName: broker-tls}}]}}}}`
)

func newStory(t *testing.T) *story {
	return &story{
		T:        t,
		domain:   planner.Ref{Namespace: controllerNamespace, Name: "fleet"},
		observer: &applier.Observer{Reader: e2e.client},
		applier:  &applier.Applier{Reader: e2e.client, Writer: e2e.client},
		desired: planner.Desired{
			Authorities: []v1alpha1.Authority{{
				Metadata: v1alpha1.Metadata{Namespace: "cert-manager", Name: "fleet-root"},
				Spec:     v1alpha1.AuthoritySpec{Keys: []v1alpha1.AuthorityKey{{Name: "2025", State: v1alpha1.KeySigning}}},
			}},
			Bindings: []v1alpha1.IssuerBinding{{
				Metadata: v1alpha1.Metadata{Name: "fleet"},
				Spec:     v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: "fleet-root"},
			}},
			Bundles: []v1alpha1.TrustBundle{{
				Metadata: v1alpha1.Metadata{Name: "fleet-trust"},
				Spec: v1alpha1.TrustBundleSpec{Target: v1alpha1.BundleTarget{
					ConfigMap:         v1alpha1.ConfigMapTarget{Key: "ca.crt"},
					NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"trust": "fleet"}},
				}},
			}},
		},
	}
}

// TestAgainstTheCluster is one story from the first key to the last: each chapter
// stands on the one before.
func TestAgainstTheCluster(t *testing.T) {
	s := newStory(t)
	s.create(`{apiVersion: v1, kind: Namespace, metadata: {name: plant, labels: {trust: fleet}}}`)
	chapters := []struct {
		name string
		tell func(*story)
	}{
		{"a root is issued and known", (*story).issuesARoot},
		{"a bundle reaches its copies", (*story).distributes},
		{"a second apply writes nothing", (*story).writesNothingTwice},
		{"a canary proves the key", (*story).proves},
		{"a reissue changes the serial", (*story).reissues},
		{"a Certificate made anew takes over its Secret", (*story).takesOver},
		{"a restart is seen through", (*story).restarts},
		{"the cache shows the same", (*story).seesTheSameInTheCache},
		{"a field of another owner is not taken", (*story).reportsConflicts},
		{"a retired key goes, Certificate first", (*story).retires},
		{"Secrets stay unread", (*story).readsNoSecret},
		{"the shipped Deployments run", (*story).runsAsShipped},
	}
	for _, chapter := range chapters {
		if !t.Run(chapter.name, func(t *testing.T) { s.T = t; chapter.tell(s) }) {
			return
		}
	}
}

func (s *story) issuesARoot() {
	s.apply(applier.Options{Prune: true}, selfSigned, rootCA, rootIssuer, fleetIssuer)
	key := s.until("the root's certificate", func(o planner.Observed) bool {
		return len(o.Keys) == 1 && !o.Keys[0].Certificate.IsZero() && o.Keys[0].HasIssuer && !o.Keys[0].SecretGone
	}).Keys[0]
	want := planner.CASpec{CommonName: "Fleet Root 2025", Organizations: []string{"Example"}, Algorithm: v1alpha1.ECDSA, Size: 384, Duration: 87600 * time.Hour}
	if !reflect.DeepEqual(key.Spec, want) || !key.Certificate.SelfSigned() || key.Certificate.CommonName() != "Fleet Root 2025" {
		s.Fatalf("key %+v, want spec %+v", key, want)
	}
}

// bundle pins the root that was issued.
func (s *story) bundle() string {
	s.Helper()
	raw, err := json.Marshal(map[string]any{
		"apiVersion": "trust.cert-manager.io/v1alpha1", "kind": "Bundle",
		"metadata": map[string]any{"name": "fleet-trust", "labels": map[string]any{v1alpha1.LabelBundle: "fleet-trust"}},
		"spec": map[string]any{
			"sources": []any{map[string]any{"inLine": string(s.observe().Keys[0].Certificate.PEM())}},
			"target":  s.desired.Bundles[0].Spec.Target,
		},
	})
	if err != nil {
		s.Fatal(err)
	}
	return string(raw)
}

func (s *story) distributes() {
	manifests := []string{selfSigned, rootCA, rootIssuer, fleetIssuer, s.bundle()}
	before := len(s.writes())
	if would := s.apply(applier.Options{Prune: true, DryRun: true}, manifests...); fmt.Sprint(would.Applied) != "[Bundle fleet-trust]" || len(s.writes()) != before {
		s.Fatalf("a dry run would do %+v, and wrote %v", would, s.writes()[before:])
	}
	s.apply(applier.Options{Prune: true}, manifests...)
	observed := s.until("the copy", func(o planner.Observed) bool {
		return len(o.Copies) == 1 && o.Copies[0].Problem == "" && len(o.Bundles) == 1 && o.Bundles[0].Seen
	})
	root := observed.Keys[0].Certificate
	if got := observed.Copies[0]; got.Namespace != "plant" || len(got.Anchors) != 1 || !got.Anchors.Has(root) {
		s.Fatalf("copy %+v", got)
	}
	if got := observed.Bundles; len(got) != 1 || !got[0].Anchors.Has(root) || !reflect.DeepEqual(got[0].Target, s.desired.Bundles[0].Spec.Target) {
		s.Fatalf("bundles %+v", got)
	}
}

func (s *story) writesNothingTwice() {
	manifests := []string{selfSigned, rootCA, rootIssuer, fleetIssuer, s.bundle()}
	before := len(s.writes())
	result := s.apply(applier.Options{Prune: true}, manifests...)
	if result.Unchanged != len(manifests) || len(result.Applied)+len(result.Pruned)+len(result.Conflicts) != 0 {
		s.Fatalf("result %+v", result)
	}
	if made := s.writes()[before:]; len(made) > 0 {
		s.Fatalf("writes: %v", made)
	}
	if before == 0 {
		s.Fatal("the audit log shows no write of the controller at all")
	}
}

func (s *story) proves() {
	issuer := s.observe().Issuers[0]
	prove := planner.Action{Kind: planner.ActionProve, Subject: issuer.Ref, Generation: issuer.Generation}
	for range 3 {
		if outcome := s.act(prove); !outcome.Done {
			s.Fatalf("outcome %+v", outcome)
		}
		sent := len(s.writes())
		observed := s.until("the canary's answer", func(o planner.Observed) bool {
			return o.Issuers[0].Canary.State == planner.CanarySigned
		})
		canary, root := observed.Issuers[0].Canary, observed.Keys[0].Certificate
		if !canary.Certificate.SignedBy(root) || !canary.CA.Equal(root) || canary.Generation != issuer.Generation {
			s.Fatalf("canary %+v is not of %s", canary, root)
		}
		if len(s.writes()) != sent {
			s.Fatal("looking wrote")
		}
	}
	stale := prove
	stale.Generation++
	if outcome := s.act(stale); outcome.Done {
		s.Fatalf("a canary was sent for a generation that is not there: %+v", outcome)
	}
	var canaries unstructured.UnstructuredList
	canaries.SetAPIVersion("cert-manager.io/v1")
	canaries.SetKind("CertificateRequestList")
	if err := e2e.admin.List(s.Context(), &canaries, client.MatchingLabels{v1alpha1.LabelCanary: "true", v1alpha1.LabelDomainName: s.domain.Name}); err != nil {
		s.Fatal(err)
	}
	if len(canaries.Items) != 2 {
		s.Fatalf("%d canaries were kept, want 2", len(canaries.Items))
	}
}

func (s *story) leaf(o planner.Observed) *planner.Leaf {
	for i := range o.Leaves {
		if o.Leaves[i].Ref.Name == "broker" {
			return &o.Leaves[i]
		}
	}
	return nil
}

func (s *story) reissues() {
	s.create(brokerLeaf)
	known := func(o planner.Observed) bool {
		leaf := s.leaf(o)
		return leaf != nil && len(leaf.Chain) > 0 && !leaf.Issuing
	}
	before := *s.leaf(s.until("the leaf", known))
	if before.SecretName != "broker-tls" || before.Issuer != (planner.Ref{Name: "fleet"}) {
		s.Fatalf("leaf %+v", before)
	}
	if outcome := s.act(planner.Action{Kind: planner.ActionReissue, Subject: before.Ref}); !outcome.Done {
		s.Fatalf("outcome %+v", outcome)
	}
	after := s.until("another leaf", func(o planner.Observed) bool {
		return known(o) && !s.leaf(o).Chain[0].Equal(before.Chain[0])
	})
	was, is := before.Chain[0].X509().SerialNumber, s.leaf(after).Chain[0].X509().SerialNumber
	if was.Cmp(is) == 0 || !s.leaf(after).Chain[0].SignedBy(after.Keys[0].Certificate) {
		s.Fatalf("serial %s was %s", is, was)
	}
}

// takesOver deletes the root's Certificate and makes it again: cert-manager takes the
// Secret as it is and issues nothing, until it is asked to.
func (s *story) takesOver() {
	before := s.observe().Keys[0]
	root := &certmanagerv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager", Name: planner.KeyObjectName(before.Authority.Name, before.Name)}}
	if err := e2e.client.Delete(s.Context(), root); err != nil {
		s.Fatal(err)
	}
	s.until("the Certificate is gone", func(o planner.Observed) bool { return !o.Keys[0].HasCertificate })
	s.apply(applier.Options{}, selfSigned, rootCA, rootIssuer, fleetIssuer)
	adopted := s.until("the Secret is taken over", func(o planner.Observed) bool { return o.Keys[0].Adopted }).Keys[0]
	if adopted.Issued || !adopted.Certificate.IsZero() || adopted.Problem == "" {
		s.Fatalf("key %+v", adopted)
	}
	s.act(planner.Action{Kind: planner.ActionReissue, Subject: planner.Ref{Namespace: root.Namespace, Name: root.Name}})
	after := s.until("it is known", func(o planner.Observed) bool { return o.Keys[0].Issued && !o.Keys[0].Certificate.IsZero() })
	if key := after.Keys[0]; key.Certificate.SPKI() != before.Certificate.SPKI() || key.Certificate.Equal(before.Certificate) {
		s.Fatalf("key %+v was %+v: want another certificate of the same key", key, before)
	}
	if !s.leaf(after).Chain[0].SignedBy(after.Keys[0].Certificate) {
		s.Fatal("the leaf of before is not signed by the certificate of after")
	}
}

func (s *story) restarts() {
	manifest := filepath.Join(s.TempDir(), "broker.yaml")
	if err := os.WriteFile(manifest, []byte(broker), 0o600); err != nil {
		s.Fatal(err)
	}
	if err := kubectl("apply", "-f", manifest); err != nil {
		s.Fatal(err)
	}
	settled := func(o planner.Observed) bool {
		return len(o.Workloads) == 1 && !o.Workloads[0].Rolling && o.Workloads[0].Pods == 2 && o.Workloads[0].Bearing == 2
	}
	before := s.until("the broker", settled).Workloads[0]
	if before.BundleDigest != "" || !reflect.DeepEqual(before.Bundles, []planner.Mount{{Name: "fleet-trust", Kind: planner.MountVolume}}) ||
		!reflect.DeepEqual(before.Secrets, []planner.Mount{{Name: "broker-tls", Kind: planner.MountSubPath}}) {
		s.Fatalf("workload %+v", before)
	}
	digest := planner.CopiesDigest(s.observe().Copies, s.observe().Bundles)
	restart := planner.Action{Kind: planner.ActionRestart, Workload: "Deployment", Subject: before.Ref, BundleDigest: digest}
	s.act(restart)
	if during := s.observe().Workloads[0]; during.BundleDigest != digest || !during.Rolling && during.Bearing != during.Pods {
		s.Fatalf("right after the restart: %+v", during)
	}
	s.until("all pods with the digest", func(o planner.Observed) bool { return settled(o) && o.Workloads[0].BundleDigest == digest })

	restart.BundleDigest, restart.LeavesDigest = "", "aa"
	s.act(restart)
	if err := kubectl("apply", "-f", manifest); err != nil { // by the owner, who knows nothing of us
		s.Fatal(err)
	}
	after := s.until("the second restart", settled).Workloads[0]
	if after.BundleDigest != digest || after.LeavesDigest != "aa" {
		s.Fatalf("the annotations did not stay: %+v", after)
	}
	s.keepsFieldsOfTheOwner()
}

func (s *story) keepsFieldsOfTheOwner() {
	s.Helper()
	var deployment appsv1.Deployment
	if err := e2e.admin.Get(s.Context(), client.ObjectKey{Namespace: "plant", Name: "broker"}, &deployment); err != nil {
		s.Fatal(err)
	}
	for _, entry := range deployment.ManagedFields {
		fields := entry.FieldsV1.GetRawString()
		if entry.Manager == v1alpha1.FieldManager && (strings.Contains(fields, "containers") || strings.Contains(fields, "replicas")) {
			s.Fatalf("reanchor owns %s", fields)
		}
	}
}

func (s *story) seesTheSameInTheCache() {
	cached, err := cache.New(e2e.config, cache.Options{Scheme: e2e.client.Scheme()})
	if err != nil {
		s.Fatal(err)
	}
	if err := applier.IndexCopies(s.Context(), cached); err != nil {
		s.Fatal(err)
	}
	go func() {
		if err := cached.Start(s.Context()); err != nil {
			s.Error(err)
		}
	}()
	observer := &applier.Observer{Reader: cached}
	want := s.observe()
	err = wait.PollUntilContextTimeout(s.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		got, err := observer.Observe(ctx, s.domain, s.desired, nil)
		return err == nil && reflect.DeepEqual(got, want), err
	})
	if err != nil {
		s.Fatal(err)
	}
	hand := &applier.Applier{Reader: cached, Writer: e2e.client}
	result, err := hand.Apply(s.Context(), s.domain, parse(s, selfSigned, rootCA, rootIssuer, fleetIssuer), applier.Options{})
	if err != nil || result.Unchanged != 4 {
		s.Fatalf("apply from the cache: %+v, %v", result, err)
	}
}

func (s *story) reportsConflicts() {
	moved := strings.ReplaceAll(fleetIssuer, "fleet-root-2025}", "elsewhere}")
	taken := parse(s, moved)[0]
	if err := e2e.admin.Apply(s.Context(), client.ApplyConfigurationFromUnstructured(taken), client.FieldOwner("somebody"), client.ForceOwnership); err != nil {
		s.Fatal(err)
	}
	changed := strings.ReplaceAll(rootIssuer, `"2025"}`, `"2025", changed: "yes"}`)
	result := s.apply(applier.Options{}, fleetIssuer, changed)
	want := []applier.OwnedField{{Manager: "somebody", Path: ".spec.ca.secretName"}}
	if len(result.Conflicts) != 1 || !reflect.DeepEqual(result.Conflicts[0].Fields, want) || len(result.Applied) != 1 {
		s.Fatalf("result %+v", result)
	}
	if got := s.observe().Issuers[0].SecretName; got != "elsewhere" {
		s.Fatalf("the field was taken: %s", got)
	}
}

func (s *story) retires() {
	kinds := []string{"cert-manager.io/v1/Certificate", "cert-manager.io/v1/Issuer", "cert-manager.io/v1/ClusterIssuer", "trust.cert-manager.io/v1alpha1/Bundle"}
	kept := s.apply(applier.Options{Kinds: kinds}, rootIssuer)
	if len(kept.Pruned) != 0 || !reflect.DeepEqual(kept.Kinds, []string{"cert-manager.io/v1/Certificate", "cert-manager.io/v1/ClusterIssuer", "cert-manager.io/v1/Issuer", "trust.cert-manager.io/v1alpha1/Bundle"}) {
		s.Fatalf("without prune: %+v", kept)
	}
	result := s.apply(applier.Options{Prune: true, Kinds: kinds}, rootIssuer)
	if got := fmt.Sprint(result.Pruned); got != "[Issuer cert-manager/fleet-root-self-signed Certificate cert-manager/fleet-root-2025 ClusterIssuer fleet Bundle fleet-trust]" {
		s.Fatalf("pruned %s", got)
	}
	s.until("the Certificate gone, the issuer there", func(o planner.Observed) bool {
		return len(o.Keys) == 1 && !o.Keys[0].HasCertificate && o.Keys[0].HasIssuer && !o.Keys[0].SecretGone
	})
	secret := planner.Action{Kind: planner.ActionDeleteSecret, Subject: planner.Ref{Namespace: "cert-manager", Name: "fleet-root-2025"}}
	if outcome := s.act(secret); !outcome.Done {
		s.Fatalf("outcome %+v", outcome)
	}
	s.until("the Secret gone", func(o planner.Observed) bool { return o.Keys[0].SecretGone })
	if outcome := s.act(secret); outcome.Done {
		s.Fatalf("a second time: %+v", outcome)
	}
	if after := s.apply(applier.Options{Prune: true, Kinds: result.Kinds}, rootIssuer); !reflect.DeepEqual(after.Kinds, []string{"cert-manager.io/v1/Issuer"}) {
		s.Fatalf("kinds that are gone stay: %v", after.Kinds)
	}
}

func (s *story) readsNoSecret() {
	secrets := &corev1.SecretList{}
	if err := e2e.client.List(s.Context(), secrets, client.InNamespace("plant")); !apierrors.IsForbidden(err) {
		s.Fatalf("list Secrets: %v", err)
	}
	err := e2e.client.Get(s.Context(), client.ObjectKey{Namespace: "plant", Name: "broker-tls"}, &corev1.Secret{})
	if !apierrors.IsForbidden(err) {
		s.Fatalf("get a Secret: %v", err)
	}
}

// runsAsShipped installs config/default and config/registrar: the API server takes every
// object, and the pods pass the namespace's restricted pod security.
func (s *story) runsAsShipped() {
	if err := kubectl("apply", "--server-side", "-k", "../config/default"); err != nil {
		s.Fatal(err)
	}
	if err := kubectl("apply", "--server-side", "-k", "../config/registrar"); err != nil {
		s.Fatal(err)
	}
	for _, deployment := range []string{"reanchor-controller", "reanchor-registrar"} {
		if err := kubectl("-n", controllerNamespace, "rollout", "status", "deployment/"+deployment, "--timeout=60s"); err != nil {
			s.Fatal(err)
		}
	}
}

// A chainKey is a key pair of the chain below, and the issuer that signs it.
type chainKey struct {
	namespace, authority, key string
	signer                    planner.Ref
}

// manifests are its Certificate and its internal issuer.
func (k chainKey) manifests() []string {
	name, kind := planner.KeyObjectName(k.authority, k.key), "Issuer"
	if k.signer.Namespace == "" {
		kind = "ClusterIssuer"
	}
	labels := fmt.Sprintf(`{reanchor.dev/authority: %s, reanchor.dev/key: "%s"}`, k.authority, k.key)
	return []string{
		fmt.Sprintf(`{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: %[1]s, namespace: %[2]s, labels: %[3]s},
  spec: {isCA: true, commonName: %[1]s, secretName: %[1]s, duration: 8760h, revisionHistoryLimit: 3, renewal: {policy: Disabled},
    privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Never}, issuerRef: {kind: %[4]s, name: %[5]s}}}`, name, k.namespace, labels, kind, k.signer.Name),
		fmt.Sprintf(`{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: %[1]s, namespace: %[2]s, labels: %[3]s}, spec: {ca: {secretName: %[1]s}}}`, name, k.namespace, labels),
	}
}

const (
	chainSelfSigned = `{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: root-self-signed, namespace: cert-manager}, spec: {selfSigned: {}}}`
	chainEverywhere = `{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: root-1, labels: {reanchor.dev/authority: root, reanchor.dev/key: "1"}}, spec: {ca: {secretName: root-1}}}`
	chainLeaf       = `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: web, namespace: lab},
  spec: {dnsNames: [web.lab.svc], secretName: web-tls, revisionHistoryLimit: 3, issuerRef: {name: far-a.1}}}`
)

// TestIntermediatesInTheCluster has a root, an intermediate beside it, and one in another
// namespace that the root's ClusterIssuer signs; a leaf below that one.
func TestIntermediatesInTheCluster(t *testing.T) {
	s := &story{
		T:        t,
		domain:   planner.Ref{Namespace: controllerNamespace, Name: "chain"},
		observer: &applier.Observer{Reader: e2e.client},
		applier:  &applier.Applier{Reader: e2e.client, Writer: e2e.client},
	}
	s.create(`{apiVersion: v1, kind: Namespace, metadata: {name: lab}}`)
	manifests := []string{chainSelfSigned, chainEverywhere}
	for _, key := range []chainKey{
		{"cert-manager", "root", "1", planner.Ref{Namespace: "cert-manager", Name: "root-self-signed"}},
		{"cert-manager", "near", "a.1", planner.Ref{Namespace: "cert-manager", Name: "root-1"}},
		{"lab", "far", "a.1", planner.Ref{Name: "root-1"}},
	} {
		manifests = append(manifests, key.manifests()...)
	}
	s.apply(applier.Options{}, manifests...)
	keys := s.until("the certificates of all three", func(o planner.Observed) bool {
		return len(o.Keys) == 3 && !slices.ContainsFunc(o.Keys, func(k planner.Key) bool { return k.Certificate.IsZero() || !k.HasIssuer })
	}).Keys
	near, root, far := keys[0], keys[1], keys[2]
	if (near.Spec.SignedBy != planner.Ref{Namespace: "cert-manager", Name: "root-1"}) || root.Spec.SignedBy != (planner.Ref{}) || far.Spec.SignedBy != (planner.Ref{Name: "root-1"}) {
		t.Errorf("signed by %q, %q and %q", near.Spec.SignedBy, root.Spec.SignedBy, far.Spec.SignedBy)
	}
	if !root.Certificate.SelfSigned() || !near.Certificate.SignedBy(root.Certificate) || !far.Certificate.SignedBy(root.Certificate) {
		t.Errorf("certificates %s, %s and %s", near.Certificate, root.Certificate, far.Certificate)
	}
	if !root.HasClusterIssuer || near.HasClusterIssuer || far.HasClusterIssuer {
		t.Errorf("ClusterIssuers %v, %v and %v", near.HasClusterIssuer, root.HasClusterIssuer, far.HasClusterIssuer)
	}
	s.seesAChainOfTwo(root, far)
	s.provesAnInternalIssuer(root)
	s.provesAnInternalIssuer(far)
}

// seesAChainOfTwo asks the intermediate for a leaf: it comes with the intermediate, and
// the root beside it.
func (s *story) seesAChainOfTwo(root, issuing planner.Key) {
	s.Helper()
	s.create(chainLeaf)
	observed := s.until("the leaf", func(o planner.Observed) bool { return len(o.Leaves) == 1 && len(o.Leaves[0].Chain) > 0 })
	leaf := observed.Leaves[0]
	if len(leaf.Chain) != 2 || !leaf.Foreign || !leaf.Chain[0].SignedBy(issuing.Certificate) || !leaf.Chain[1].Equal(issuing.Certificate) {
		s.Errorf("leaf %+v", leaf)
	}
	if err := pki.Verify(leaf.Chain, pki.NewAnchors(root.Certificate), time.Now()); err != nil {
		s.Error(err)
	}
}

// provesAnInternalIssuer sends a canary through a key's own issuer. What comes back
// names the key that signed as the CA, be it the root's or an intermediate's.
func (s *story) provesAnInternalIssuer(key planner.Key) {
	s.Helper()
	object := planner.Ref{Namespace: key.Authority.Namespace, Name: planner.KeyObjectName(key.Authority.Name, key.Name)}
	if outcome := s.act(planner.Action{Kind: planner.ActionProve, Subject: object, Generation: key.Generation}); !outcome.Done {
		s.Fatalf("outcome %+v", outcome)
	}
	var proof planner.Canary
	s.until("a canary through "+object.String(), func(o planner.Observed) bool {
		at := slices.IndexFunc(o.Keys, func(k planner.Key) bool { return k.Authority == key.Authority && k.Name == key.Name })
		proof = o.Keys[at].Proof
		return proof.State == planner.CanarySigned
	})
	if !proof.Certificate.SignedBy(key.Certificate) || !proof.CA.Equal(key.Certificate) || proof.Generation != key.Generation {
		s.Errorf("canary %+v is not of %s", proof, key.Certificate)
	}
}
