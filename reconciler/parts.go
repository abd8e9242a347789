package reconciler

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/inventory"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/policies"
)

// Parts are what a turn is made of, in the order in which it uses them. All are
// required.
type Parts struct {
	// Source pulls and pushes.
	Source Source
	// LoadRecord reads the record under a folder ("." for the root) of a snapshot. A
	// record that was never written is empty and Enabled. Its errors name the file.
	LoadRecord func(snapshot fs.FS, folder string) (planner.Record, error)
	// Load reads and validates the documents under a folder ("." for the root) of
	// a snapshot, beside the record's keys. Its errors name file, line and field.
	Load func(snapshot fs.FS, folder string, record planner.Record) (Loaded, error)
	// Observe looks at the cluster through reader. What cannot be seen is told in
	// Observed.Unknown; an error means that nothing was seen. Observed.Record is left
	// zero.
	Observe func(ctx context.Context, reader client.Reader, domain planner.Ref, desired planner.Desired, since []planner.Gate) (Observation, error)
	// Plan finds the next safe step; planner.Next.
	Plan func(desired planner.Desired, observed planner.Observed, now time.Time) planner.Plan
	// Forecast runs the planner forward from what the cluster holds; forecast.Run. It is asked
	// where a commit names the plan that it was merged for.
	Forecast func(forecast.Request) forecast.Forecast
	// Probe shakes hands with servers, at now, and tells what came of each.
	Probe func(ctx context.Context, probes []planner.Probe, now time.Time) []planner.ProbeResult
	// CheckFile looks at one file of a snapshot; policies.CheckFile.
	CheckFile func(path string, data []byte) []policies.Violation
	// Check looks at a plan, the manifests that it was rendered to and the documents;
	// policies.Check.
	Check func(policies.Input) []policies.Violation
	// Cluster is the hand that writes a domain as a service account; the zero Ref: as the
	// controller itself.
	Cluster func(domain, account planner.Ref) (Cluster, error)
	// Dismiss lets go of the hand of a domain that is gone.
	Dismiss func(domain planner.Ref)
}

// Observation is what the cluster holds.
type Observation struct {
	planner.Observed
	// Foreign says of each object that the repository declares and that belongs to another
	// TrustDomain whose it is, and what to do. While there is one, nothing is written.
	Foreign []string
}

// Source is where the repositories come from. Its errors say what to do and hold no
// credentials.
type Source interface {
	// Pull returns the head of a branch. If that has not moved since the last pull or
	// push, it costs one listing of refs. A head that does not come after what it must
	// is a *RewrittenError; other failures that have a name are a *SourceError.
	Pull(ctx context.Context, from Branch, after After) (Snapshot, error)
	// MessagesSince are the messages of the commits of a snapshot of a branch that are new
	// since a revision, the snapshot's own first; that alone if the revision is empty.
	MessagesSince(ctx context.Context, from Branch, snapshot Snapshot, revision string) ([]string, error)
	// Push adds a commit to a branch and returns its new head: the old one if the
	// commit changes nothing. A file that was changed since base, the snapshot that
	// the commit was decided on, is not overwritten: the error is then ErrConflict.
	Push(ctx context.Context, to Branch, base Snapshot, commit Commit) (Snapshot, error)
	// Forget lets go of all that is kept of a domain's repository, on the disk too; its
	// snapshots are of no use any more. To forget what is not known is no error.
	Forget(domain planner.Ref) error
	// ForgetRecord does so for the record's own branch alone.
	ForgetRecord(domain planner.Ref) error
}

// DeviceResult tells what of the work of the device lane was not done, and why. It keeps
// nobody back.
type DeviceResult struct {
	// Refused is not taken as it is, a request that a webhook denies say, by its place in
	// work.Apply; Forbidden may not be deleted, by its place in work.Discard.
	Refused, Forbidden map[int]string
}

// ErrConflict says that somebody else changed a file that was to be pushed.
var ErrConflict = errors.New("the file was changed meanwhile")

// Branch of a domain's repository, and what it takes to reach it.
type Branch struct {
	Domain planner.Ref
	// URL of the repository, and the branch's name in it.
	URL, Name string
	// Record reports that it is the record's own branch, beside the source's.
	Record      bool
	Credentials Credentials
}

// Commit is files to write to a branch.
type Commit struct {
	Author    v1alpha1.CommitAuthor
	Committer v1alpha1.CommitAuthor
	Message   string
	When      time.Time
	// Files by their paths from the repository's root; nil deletes.
	Files map[string][]byte
}

// Snapshot is a repository at one revision; it does not change.
type Snapshot interface {
	// Revision as Flux writes it: main@sha1:….
	Revision() string
	// Signer of the commit, where the branch was pulled with Credentials.Verify.
	Signer() string
	// FS holds the repository's files.
	FS() fs.FS
	// Changed lists the files that were added, modified or deleted since an earlier
	// snapshot of the same Source; all files if since is nil.
	Changed(since Snapshot) ([]string, error)
}

// Loaded is a domain's documents, read and valid.
type Loaded interface {
	// Desired is what they declare.
	Desired() planner.Desired
	// Users are the Certificates that stand beside the documents, by their Ref, Issuer and
	// SecretName, and the names of the namespaces that do.
	Users() (leaves []planner.Leaf, namespaces []string)
	// Documents are all of them, the policies too.
	Documents() []v1alpha1.Object
	// Warnings say what is allowed and yet unwise, each with file, line and field.
	Warnings() []string
	// Render makes the manifests of a target, native ones and overlay included.
	Render(target planner.Target, domain planner.Ref) ([]*unstructured.Unstructured, error)
	// Templates are what the objects of each group's devices are stamped from.
	Templates(target planner.Target, domain planner.Ref) (map[string]*unstructured.Unstructured, error)
}

// Cluster writes manifests and carries out actions. Doing either twice does no
// harm. Its errors are the API server's, wrapped.
type Cluster interface {
	// Apply writes what differs and, if told so, prunes what is gone; a dry run only
	// says what it would.
	Apply(ctx context.Context, domain planner.Ref, manifests []*unstructured.Unstructured, options ApplyOptions) (Result, error)
	// Devices carries out the work of the device lane. What somebody has changed since it was
	// read is left to the next turn.
	Devices(ctx context.Context, domain planner.Ref, work inventory.Work) (DeviceResult, error)
	// Act starts the actions in their order, at now, and returns those that wrote
	// something, even if others failed. What it may not change of somebody else's is a
	// *RefusedError among the errors that are joined.
	Act(ctx context.Context, domain planner.Ref, actions []planner.Action, now time.Time) ([]planner.Action, error)
}

// ApplyOptions say how far Apply goes.
type ApplyOptions struct {
	// Prune deletes objects of the domain that the manifests do not hold.
	Prune bool
	// Kinds in which Apply looks for those, beside the manifests' own, as
	// group/version/Kind.
	Kinds []string
	// DryRun writes and deletes nothing; the Result says what would be.
	DryRun bool
}

// Result is what Apply did, or would have done. Objects are named "Kind namespace/name".
type Result struct {
	// Applied and Pruned objects, and those Released that were taken over once and that
	// prune let go of instead.
	Applied, Pruned, Released []string
	// Conflicts are fields that somebody else owns, and Taken whole objects; they were left
	// alone. Each says what to do.
	Conflicts, Taken []string
	// Kinds in which the domain has objects now, as group/version/Kind.
	Kinds []string
}
