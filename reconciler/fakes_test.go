package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/policies"
	"github.com/reanchor/reanchor/renderer"
)

// epoch is when every test begins.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a reconciler among fakes. Every call of a part is noted in calls; what a
// part answers is set by the fields.
type world struct {
	t          *testing.T
	reconciler *Reconciler
	client     client.Client
	events     *record.FakeRecorder
	registry   *prometheus.Registry
	now        time.Time
	calls      []string
	writes     int

	revision string
	files    fstest.MapFS
	changed  []string
	// messages of the commits since the one that was asked for last.
	messages      []string
	messagesSince string
	messagesErr   error
	desired       planner.Desired
	// asLoaded is what is loaded, if it is not the world itself.
	asLoaded Loaded
	// foreseen is what was last asked to be forecast, and blocked what blocks it.
	foreseen forecast.Request
	blocked  string
	// live is the digest of what would be done now.
	live string
	// whenApplied is called before manifests are written.
	whenApplied func()
	pullErr     error
	pulledWith  []Credentials
	// after is what the last pulls were told, by their branches.
	after  map[string]After
	signer string
	// released are the domains whose record has no branch of its own any more.
	released []planner.Ref
	// written as these accounts.
	accounts []planner.Ref
	// anchors is the record's own branch, where the domain names one.
	anchors struct {
		revision string
		files    fstest.MapFS
		pullErr  error
	}
	pushErr    error
	pushed     []push
	recordErr  error
	loadedWith planner.Record
	given      planner.Record // to the planner
	// givenReferences are those that the planner was given.
	givenReferences []planner.Reference
	loadErr         error
	observeErr      error
	observed        planner.Observed
	foreign         []string
	since           []planner.Gate
	plan            planner.Plan
	renderErr       error
	manifests       []*unstructured.Unstructured
	// templates of devices, the work that was asked for, and who is refused.
	templates  map[string]*unstructured.Unstructured
	worked     inventory.Work
	refusing   map[string]string
	forbidding string
	secrets    map[string]bool // files that CheckFile refuses
	violations []policies.Violation
	shaken     []planner.ProbeResult
	// judged is what was last held against the rules.
	judged    policies.Input
	documents []v1alpha1.Object
	applyErr  error
	trialErr  error
	result    Result
	options   ApplyOptions
	applied   [][]*unstructured.Unstructured // in order of the calls
	started   []planner.Action               // by the calls of Act
	acted     []planner.Action
	actErr    error
	warnings  []string
}

// push is one call of Push.
type push struct {
	to     Branch
	base   string // the revision
	commit Commit
}

// uncached is the reader that goes to the API server.
type uncached struct{ client.Reader }

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// newWorld holds one TrustDomain, plant/fleet, and objects.
func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	w := &world{
		t: t, now: epoch, events: record.NewFakeRecorder(100), registry: prometheus.NewRegistry(),
		revision: "main@sha1:aaaa", files: fstest.MapFS{"site/kustomization.yaml": {Data: []byte("resources: []\n")}},
		plan: planner.Plan{Rollovers: []planner.Rollover{settled("2025")}},
	}
	scheme := newScheme(t)
	w.client = fake.NewClientBuilder().WithScheme(scheme).
		WithStatusSubresource(&v1alpha1.TrustDomain{}).
		WithObjects(append(objects, newDomain())...).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			w.writes++
			return c.SubResource(sub).Patch(ctx, object, patch, options...)
		}}).Build()
	metrics, err := NewMetrics(w.registry)
	if err != nil {
		t.Fatal(err)
	}
	w.reconciler = &Reconciler{
		Client: w.client, APIReader: uncached{w.client}, Events: w.events, Metrics: metrics,
		Now:   func() time.Time { return w.now },
		Parts: Parts{Source: w, LoadRecord: w.loadRecord, Load: w.load, Observe: w.observe, Plan: w.next, Forecast: w.forecast, Probe: w.probe, CheckFile: w.checkFile, Check: w.check, Cluster: w.as, Dismiss: w.dismiss},
	}
	return w
}

func newDomain() *v1alpha1.TrustDomain {
	return &v1alpha1.TrustDomain{
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "fleet", UID: "1", Generation: 1},
		Spec: v1alpha1.TrustDomainSpec{
			Interval: metav1.Duration{Duration: time.Minute}, RetryInterval: &metav1.Duration{Duration: 20 * time.Second},
			Timeout: metav1.Duration{Duration: time.Minute},
			Source:  v1alpha1.Source{URL: "https://git.example/fleet.git", Ref: v1alpha1.Reference{Branch: "main"}, Path: "site"},
			Prune:   true, WriteBack: v1alpha1.WriteBack{Mode: v1alpha1.WriteBackDisabled},
		},
	}
}

func settled(key string) planner.Rollover {
	return planner.Rollover{
		Authority: planner.Ref{Namespace: "cert-manager", Name: "root"}, To: key, Phase: planner.Settled,
		Since: epoch.Add(-time.Hour), Progress: key + " signs",
	}
}

func distributing(progress string, holds ...planner.Hold) planner.Rollover {
	return planner.Rollover{
		Authority: planner.Ref{Namespace: "cert-manager", Name: "root"}, From: "2025", To: "2026",
		Phase: planner.Distribute, Progress: progress, Holds: holds,
	}
}

func (w *world) note(format string, args ...any) {
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
}

// The parts.

func (w *world) Pull(_ context.Context, from Branch, after After) (Snapshot, error) {
	w.pulledWith = append(w.pulledWith, from.Credentials)
	if w.after == nil {
		w.after = map[string]After{}
	}
	w.after[from.Name] = after
	if from.Record {
		w.note("pull %s", from.Name)
		return &snapshot{revision: w.anchors.revision, files: maps.Clone(w.anchors.files)}, w.anchors.pullErr
	}
	w.note("pull")
	return &snapshot{revision: w.revision, signer: w.signer, files: maps.Clone(w.files), changed: w.changed}, w.pullErr
}

func (w *world) MessagesSince(_ context.Context, _ Branch, _ Snapshot, revision string) ([]string, error) {
	w.messagesSince = revision
	return w.messages, w.messagesErr
}

// as notes the account that is written as.
func (w *world) as(_, account planner.Ref) (Cluster, error) {
	w.accounts = append(w.accounts, account)
	return w, nil
}

func (w *world) dismiss(domain planner.Ref) { w.note("dismiss %s", domain) }

func (w *world) Forget(domain planner.Ref) error {
	w.note("forget %s", domain)
	return nil
}

func (w *world) ForgetRecord(domain planner.Ref) error {
	w.released = append(w.released, domain)
	return nil
}

// Push lands at once, unless pushErr is set.
func (w *world) Push(_ context.Context, to Branch, base Snapshot, commit Commit) (Snapshot, error) {
	w.note("push %d", len(commit.Files))
	w.pushed = append(w.pushed, push{to, base.Revision(), commit})
	if w.pushErr != nil {
		return nil, w.pushErr
	}
	head := fmt.Sprintf("%s@sha1:push%d", to.Name, len(w.pushed))
	if to.Record {
		w.anchors.revision = head
		return &snapshot{revision: head, files: commitTo(w.anchors.files, commit)}, nil
	}
	w.revision, w.changed = head, slices.Sorted(maps.Keys(commit.Files))
	return &snapshot{revision: head, files: commitTo(w.files, commit)}, nil
}

func commitTo(files fstest.MapFS, commit Commit) fstest.MapFS {
	for path, data := range commit.Files {
		delete(files, path)
		if data != nil {
			files[path] = &fstest.MapFile{Data: data}
		}
	}
	return files
}

// idleSource pushes what is there already.
type idleSource struct{ *world }

func (s idleSource) Push(_ context.Context, _ Branch, base Snapshot, _ Commit) (Snapshot, error) {
	s.note("push 0")
	return base, nil
}

// conflicting is a patch that is refused, for somebody else's was faster.
func conflicting(_ context.Context, _ client.Client, _ string, object client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	return apierrors.NewConflict(schema.GroupResource{Group: "reanchor.dev", Resource: "trustdomains"}, object.GetName(), errors.New("killed"))
}

// loadRecord reads the record with the real reader.
func (w *world) loadRecord(files fs.FS, folder string) (planner.Record, error) {
	w.note("record %s", folder)
	if w.recordErr != nil {
		return planner.Record{}, w.recordErr
	}
	return renderer.LoadRecord(files, folder, renderer.Limits{})
}

func (w *world) load(_ fs.FS, folder string, record planner.Record) (Loaded, error) {
	w.note("load %s", folder)
	w.loadedWith = record
	if w.loadErr != nil {
		return nil, w.loadErr
	}
	if w.asLoaded != nil {
		return w.asLoaded, nil
	}
	return w, nil
}

func (w *world) Warnings() []string { return w.warnings }

func (w *world) Documents() []v1alpha1.Object      { return w.documents }
func (w *world) Users() ([]planner.Leaf, []string) { return nil, nil }
func (w *world) Desired() planner.Desired          { return w.desired }

func (w *world) observe(_ context.Context, reader client.Reader, _ planner.Ref, _ planner.Desired, since []planner.Gate) (Observation, error) {
	_, live := reader.(uncached)
	w.note("observe %s", map[bool]string{true: "uncached", false: "cached"}[live])
	w.since = since
	return Observation{Observed: w.observed, Foreign: w.foreign}, w.observeErr
}

func (w *world) next(_ planner.Desired, observed planner.Observed, _ time.Time) planner.Plan {
	w.note("plan")
	w.given, w.givenReferences, w.shaken = observed.Record, observed.References, observed.Probes
	return w.plan
}

func (w *world) forecast(request forecast.Request) forecast.Forecast {
	w.note("forecast %s", request.Head.Revision.Name)
	w.foreseen = request
	if w.blocked != "" {
		return forecast.Forecast{Digest: w.live, Verdict: forecast.Blocked, Summary: "It must not be merged: " + w.blocked + "."}
	}
	return forecast.Forecast{Digest: w.live, Verdict: forecast.Safe, Summary: "Rolls root from 2025 to 2026."}
}

func (w *world) probe(_ context.Context, probes []planner.Probe, now time.Time) []planner.ProbeResult {
	w.note("probe %d", len(probes))
	var results []planner.ProbeResult
	for _, p := range probes {
		results = append(results, planner.ProbeResult{Bundle: p.Bundle, Name: p.Name, Anchors: p.Anchors.SHA256(), At: now, OK: true})
	}
	return results
}

func (w *world) Render(planner.Target, planner.Ref) ([]*unstructured.Unstructured, error) {
	w.note("render")
	return w.manifests, w.renderErr
}

func (w *world) Templates(planner.Target, planner.Ref) (map[string]*unstructured.Unstructured, error) {
	return w.templates, nil
}

// Devices notes what is to be done for devices, refuses those in refusing, and deletes nothing in
// the namespace in which that is forbidden.
func (w *world) Devices(_ context.Context, _ planner.Ref, work inventory.Work) (DeviceResult, error) {
	w.note("devices %d %d", len(work.Apply), len(work.Remove))
	w.worked = work
	result := DeviceResult{Refused: map[int]string{}, Forbidden: map[int]string{}}
	for at, object := range work.Apply {
		if why := w.refusing[object.GetAnnotations()[v1alpha1.AnnotationDevice]]; why != "" {
			result.Refused[at] = why
		}
	}
	for at, object := range work.Discard {
		if object.GetNamespace() == w.forbidding {
			result.Forbidden[at] = "it is forbidden"
		}
	}
	return result, nil
}

func (w *world) checkFile(path string, _ []byte) []policies.Violation {
	w.note("check %s", path)
	if w.secrets[path] {
		return []policies.Violation{{
			Rule: policies.RulePrivateKey, Severity: policies.Deny, Subject: path + ":1",
			Message: "a private key", Mend: "take it out of Git and make a new one",
		}}
	}
	return nil
}

func (w *world) check(input policies.Input) []policies.Violation {
	w.judged = input
	w.note("check")
	return w.violations
}

func (w *world) Apply(_ context.Context, _ planner.Ref, manifests []*unstructured.Unstructured, options ApplyOptions) (Result, error) {
	w.options = options
	if options.DryRun {
		w.note("try prune=%t", options.Prune)
		return w.trial(), w.trialErr
	}
	w.note("apply prune=%t", options.Prune)
	if w.whenApplied != nil {
		w.whenApplied()
	}
	w.applied = append(w.applied, manifests)
	return w.result, w.applyErr
}

// trial is what a dry run says: what result will, before anybody refuses a write.
func (w *world) trial() Result {
	would := Result{Applied: slices.Concat(w.result.Applied, w.result.Conflicts, w.result.Taken), Pruned: w.result.Pruned, Kinds: w.result.Kinds}
	if w.applyErr != nil {
		would.Applied = append(would.Applied, "what cannot be written")
	}
	return would
}

func (w *world) Act(_ context.Context, _ planner.Ref, actions []planner.Action, now time.Time) ([]planner.Action, error) {
	if !now.Equal(w.now) {
		w.t.Errorf("the actions are started at %s, want %s", now, w.now)
	}
	w.note("act %d", len(actions))
	w.started = append(w.started, actions...)
	return w.acted, w.actErr
}

type snapshot struct {
	revision string
	signer   string
	files    fstest.MapFS
	changed  []string
}

func (s *snapshot) Revision() string { return s.revision }
func (s *snapshot) Signer() string   { return s.signer }
func (s *snapshot) FS() fs.FS        { return s.files }

func (s *snapshot) Changed(since Snapshot) ([]string, error) {
	switch {
	case since == nil:
		return slices.Sorted(maps.Keys(s.files)), nil
	case since.Revision() == s.revision:
		return nil, nil
	case s.changed != nil:
		return s.changed, nil
	}
	return s.Changed(nil)
}

// turn gives the domain a turn; it fails the test on an error.
func (w *world) turn() ctrl.Result {
	w.t.Helper()
	w.calls = nil
	result, err := w.reconciler.Reconcile(context.Background(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "plant", Name: "fleet"}})
	if err != nil {
		w.t.Fatalf("Reconcile: %v", err)
	}
	return result
}

// domain as the API server holds it.
func (w *world) domain() *v1alpha1.TrustDomain {
	w.t.Helper()
	domain := &v1alpha1.TrustDomain{}
	if err := w.client.Get(context.Background(), types.NamespacedName{Namespace: "plant", Name: "fleet"}, domain); err != nil {
		w.t.Fatal(err)
	}
	return domain
}

// edit changes the domain as a user would.
func (w *world) edit(change func(*v1alpha1.TrustDomain)) {
	w.t.Helper()
	domain := w.domain()
	change(domain)
	if err := w.client.Update(context.Background(), domain); err != nil {
		w.t.Fatal(err)
	}
}

// restart makes a reconciler that remembers nothing.
func (w *world) restart() { w.reconciler.memories = memories{} }

// behind makes the reconciler's cache hold an old state of the domain.
func (w *world) behind(stale *v1alpha1.TrustDomain) {
	w.reconciler.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if domain, is := object.(*v1alpha1.TrustDomain); is {
				stale.DeepCopyInto(domain)
				return nil
			}
			return c.Get(ctx, key, object, options...)
		},
	})
}

// told drains the events.
func (w *world) told() []string {
	var told []string
	for {
		select {
		case event := <-w.events.Events:
			told = append(told, event)
		default:
			return told
		}
	}
}

func manifest(apiVersion, kind string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "x", "namespace": "plant"},
	}}
}
