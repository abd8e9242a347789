package reconciler

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/renderer"
)

// benchLeaves is how many leaves, each with a workload, the measured site has.
const benchLeaves = 50

// BenchmarkTurn measures turns over a settled site with the real loader, planner,
// policies and renderer. Git and the cluster answer from memory and at once, so that
// what is measured is what the program itself costs: it is given as a multiple of the
// early exit as well.
func BenchmarkTurn(b *testing.B) {
	w := newBench(b)
	var early float64
	for _, turn := range []struct {
		name    string
		whole   bool
		prepare func(turn int)
		last    string // the turn's last call
	}{
		{name: "nothing to do, early exit", prepare: func(int) {}, last: "pull"},
		{name: "nothing to do, whole turn", whole: true, prepare: func(int) {}, last: "try prune=true"},
		{name: "one document changed", prepare: w.commit, last: "try prune=true"},
	} {
		b.Run(turn.name, func(b *testing.B) {
			w.reconciler.Options.DisableEarlyExit = turn.whole
			w.take(b)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				turn.prepare(i)
				w.take(b)
			}
			if last := w.calls[len(w.calls)-1]; last != turn.last {
				b.Fatalf("the turn ended with %q, want %q", last, turn.last)
			}
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			if early == 0 {
				early = each
			}
			b.ReportMetric(each/early, "x-early-exit")
		})
	}
}

// bench is a reconciler over a settled site.
type bench struct {
	*world
	documents [2]fstest.MapFS
}

// newBench settles a simulated cluster on the documents of the repository, and gives
// the reconciler what that cluster holds to look at.
func newBench(b *testing.B) *bench {
	b.Helper()
	w := &bench{world: &world{}}
	for i, soak := range []string{"10m", "11m"} {
		w.documents[i] = benchRepository(soak)
	}
	loaded, err := loadForBench(w.documents[0], "site", planner.Record{})
	if err != nil {
		b.Fatal(err)
	}
	cluster := simulation.New(1, loaded.Desired(), benchUsers())
	if _, err := cluster.Settle(1000); err != nil {
		b.Fatal(err)
	}
	w.observed, w.now = cluster.Observe(), cluster.Now
	kube := &inMemory{domain: newDomain()}
	w.reconciler = &Reconciler{
		Client: kube, APIReader: kube, Events: &record.FakeRecorder{}, Now: func() time.Time { return w.now },
		Parts: Parts{Source: w, LoadRecord: w.loadRecord, Load: loadForBench, Observe: w.observe, Plan: planner.Next, CheckFile: policies.CheckFile, Check: policies.Check, Cluster: w.as},
	}
	w.commit(0)
	w.take(b)
	return w
}

// commit makes the head of the branch one at which a document differs from before.
func (w *bench) commit(turn int) {
	w.revision, w.files, w.changed = fmt.Sprintf("main@sha1:%040d", turn), w.documents[turn%2], []string{"site/pki.yaml"}
}

// take takes one turn, and fails unless it comes to its end with nothing written.
func (w *bench) take(b *testing.B) {
	w.calls = w.calls[:0]
	if _, err := w.reconciler.Reconcile(context.Background(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "plant", Name: "fleet"}}); err != nil {
		b.Fatal(err)
	}
	domain := w.reconciler.Client.(*inMemory).domain
	if domain.Status.LastAppliedRevision == "" || len(domain.Status.Rollovers) != 1 || domain.Status.Rollovers[0].Phase != string(planner.Settled) {
		b.Fatalf("the site is not settled: %+v", domain.Status)
	}
}

// loadForBench is the real loader.
func loadForBench(files fs.FS, folder string, record planner.Record) (Loaded, error) {
	read, err := renderer.Load(files, folder, renderer.Options{Record: record})
	if err != nil {
		return nil, err
	}
	return rendering{read}, nil
}

// rendering is what the renderer loaded, as the reconciler takes it.
type rendering struct{ *renderer.Loaded }

func (r rendering) Documents() []v1alpha1.Object { return r.Loaded.Documents }
func (r rendering) Desired() planner.Desired     { return r.Loaded.Desired }
func (r rendering) Warnings() []string           { return nil }

// inMemory is the API server for one domain: it hands out copies, as a cache does, and
// keeps the status that is patched.
type inMemory struct {
	client.Client
	domain *v1alpha1.TrustDomain
}

func (c *inMemory) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	c.domain.DeepCopyInto(object.(*v1alpha1.TrustDomain))
	return nil
}

func (c *inMemory) Status() client.SubResourceWriter { return inMemoryStatus{c: c} }

type inMemoryStatus struct {
	client.SubResourceWriter
	c *inMemory
}

func (s inMemoryStatus) Patch(_ context.Context, object client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	s.c.domain = object.(*v1alpha1.TrustDomain).DeepCopy()
	return nil
}

// benchRepository declares a root, its issuer and its bundle beside the leaves.
func benchRepository(soak string) fstest.MapFS {
	documents := fmt.Sprintf(`apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: fleet-root, namespace: cert-manager}
spec:
  subject: {commonName: Fleet Root}
  privateKey: {algorithm: Ed25519}
  keys: [{name: "2025", state: Signing}]
  rollover: {soak: %s, skew: 0s}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: fleet}
spec: {scope: Cluster, authority: fleet-root}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: fleet-trust}
spec: {authorities: [fleet-root], target: {configMap: {key: ca.crt}}}
`, soak)
	var leaves bytes.Buffer
	for i := range benchLeaves {
		fmt.Fprintf(&leaves, "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: w%d, namespace: n%d}\n"+
			"spec: {secretName: w%d-tls, dnsNames: [w%d.example], issuerRef: {name: fleet, kind: ClusterIssuer}}\n", i, i/10, i, i)
	}
	return fstest.MapFS{
		"site/kustomization.yaml": {Data: []byte("resources: [pki.yaml, leaves.yaml]\n")},
		"site/pki.yaml":           {Data: []byte(documents)},
		"site/leaves.yaml":        {Data: leaves.Bytes()},
	}
}

// benchUsers are the leaves, ten to a namespace, and workloads that present them and
// verify.
func benchUsers() simulation.Users {
	var users simulation.Users
	mount := func(name string) []planner.Mount { return []planner.Mount{{Name: name, Kind: planner.MountVolume}} }
	for i := range benchLeaves {
		ref := planner.Ref{Namespace: fmt.Sprintf("n%d", i/10), Name: fmt.Sprintf("w%d", i)}
		if i%10 == 0 {
			users.Namespaces = append(users.Namespaces, ref.Namespace)
		}
		users.Leaves = append(users.Leaves, planner.Leaf{Ref: ref, Issuer: planner.Ref{Name: "fleet"}, SecretName: ref.Name + "-tls"})
		users.Workloads = append(users.Workloads, planner.Workload{Ref: ref, Bundles: mount("fleet-trust"), Secrets: mount(ref.Name + "-tls")})
	}
	return users
}
