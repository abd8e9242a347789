// Package reconciler is the TrustDomain controller: it turns the loop.
//
// # One turn
//
//	pull     the branch, and the record's if that is another; nothing new, nothing
//	         moved, nothing due: the turn ends here, having cost one listing of refs
//	         for each
//	read     the record of the keys that came to be, once no file of the snapshot is
//	         found to be one that must never stand in Git
//	load     the documents of the snapshot
//	observe  what the cluster holds, from the manager's cache
//	plan     the next safe step
//	probe    the servers that the plan asks for, and plan once more with what came of it
//	render   the plan's target
//	check    plan and manifests against the policies
//	try      to apply and prune, without a write; nothing differs, and the plan has no
//	         action and nothing to record: there is nothing to write, on to the report
//	again    observe, plan, render and check once more, at the API server itself; a
//	         violation ends the turn before any write
//	apply    what changed, prune what is gone, run the actions
//	record   in Git what the plan says that the record shall newly say
//	report   status, events, metrics
//
// What a turn learned for the next, its gates, may be all that the next one waits for, and no
// watch tells of them: a gate that came or went brings the next turn at once.
//
// A turn starts from what is seen. What a domain's last turn left in memory (see
// memory) only saves work; a restart, or a second leader, loses nothing by not
// having it.
//
// # Nothing is written from the cache
//
// The cache may lag behind our own writes. A target that was planned from it may lack
// the anchor that the last turn added, and name the key that the last turn moved an
// issuer away from: applied, it would take both back. An action would be run twice. So
// the plan that is made from the cache only says whether there is anything to write. If
// there is, the turn looks again at the API server, which costs one list of each kind,
// and carries out what it plans then. A plan that is decisive, has actions or something
// to record goes there at once; any other is rendered, checked and tried first. A quiet
// turn asks the API server for nothing, and tells in the status what the cache shows.
//
// That second plan is not made either from a TrustDomain that the cache holds and the API
// server does not any more, for its gates may be ones that were dropped since: the turn
// ends without a write, and the next looks again.
//
// Nor does the cache fail a turn by what it shows: a plan from it that does not render,
// is denied by a policy, or cannot be compared with the cluster is made again as well,
// and only the second one fails the turn. If it is blind, though, the turn ends.
//
// An object that somebody else owns a field of, or whose value the server writes in
// another way than the repository ("1000m", "1"), always differs: with one of those, each
// whole turn looks twice.
//
// # Probes
//
// A plan may ask for TLS handshakes before an anchor leaves a bundle. A turn makes them, a
// few at a time and each within a time of its own, and keeps what came of them in memory: a
// restart, or a second leader, asks again. They write nothing, and a turn that stands on the
// last good snapshot makes none.
//
// # The record
//
// With spec.writeBack.mode Enabled, the certificate of every key that came to be stands
// in Git, below spec.source.path on spec.writeBack.branch, or on the source's branch if
// that names none. What is new in it is one commit and one push (see planner.RecordedKey
// for the files). The next turn comes at once, and is the first to count a key as recorded:
// what was pushed is known from what is pulled, never from the push. Such a turn reads
// the record again, but composes the documents again only if something changed that
// they can see: a file outside the folders anchors and devices, or which keys are
// retired.
//
// A push is made on top of whatever others pushed meanwhile, unless they changed one of
// its files: then the turn ends without it, and the next reads what they wrote. A push
// that fails for another reason fails the turn with WriteBackFailed, though everything
// before it is done. The planner is told why, and the push is tried again after
// spec.retryInterval, or at once when the spec is changed or a turn is asked for by the
// annotation reconcile.fluxcd.io/requestedAt.
//
// With mode Disabled no record is read or written.
//
// # When the repository fails
//
// While a branch cannot be pulled, or its head holds a file that must never be in
// Git, or its record cannot be read or its documents do not load, the last good
// snapshot stays in force, and the last record that could be read: its target is
// applied, so that drift is repaired and bundles may still grow, but nothing is pruned
// or recorded, no action is run and no plan that is decisive, in the cache's eyes or the
// API server's, is carried out: whoever tried to stop a rollover with the commit that
// does not load shall not see it move on. After a restart there is no last good
// snapshot; then nothing is written until there is one. A head that loads but whose
// target does not render, or is denied by a policy, writes nothing at all.
//
// # Which commits are read
//
// A head must come after the one that was read last: the last turn's, or, after a restart,
// status.lastAttemptedRevision. Whoever moves the branch back, or puts another history in
// its place, would else bring keys back to life that were retired. Such a head is not read;
// the turn fails with HistoryRewritten, and the message names both revisions. A person
// accepts exactly that head by the annotation reanchor.dev/accept-revision, which counts
// once: status.lastAcceptedRevision tells that it was answered, and no later turn goes by it.
// Another spec.source.url or branch begins anew and is no rewrite; whether the URL is another
// than before a restart, status.lastAttemptedSource tells. A record on a branch of its own is
// followed in the same way, after a restart from status.lastRecordRevision.
//
// With spec.source.verify a commit that is not signed by one of those in the Secret is not
// read either. Who is trusted is read from the Secret at every turn, and status.signer
// tells whose commit lastAttemptedRevision is. The record's own branch, if it has one, is
// not verified.
//
// # What was planned
//
// A commit may name the plan that it was merged for, by the trailer Reanchor-Plan. Before
// documents that are new are taken in, the planner is run forward from what the cluster
// holds, as by reanchor plan --live; if that comes to another plan, they are not taken in,
// and the last good snapshot stays in force. With spec.planTrailer Required a commit without
// the trailer is not taken in either. What was let in once is not asked about again, for in
// the middle of a rollover less is left to do: status.plan tells of it, from before the
// first write on. The trailer is looked for in all commits since the last revision that was
// applied, the newest first, so that a commit of devices on top of a merge hides none.
//
// # When the cluster cannot be seen whole
//
// What cannot be read looks as if it were not there. A plan that was made so is
// blind: nothing of it is applied, nothing pruned, no action run. The turn fails with
// ObserveFailed, names what could not be read, and is tried again.
//
// # Status
//
//	                        Ready                            Reconciling           Stalled
//	applied, all settled    True ReconciliationSucceeded     –                     –
//	applied, with holds     True ReconciliationSucceeded     –                     –
//	a rollover under way    True ReconciliationSucceeded     True Progressing      –
//	applied, trust at risk  False TrustAtRisk                as without the risk   –
//	a turn failed           False with the reason            True ProgressingWithRetry –
//	no retry heals it       False with the reason            –                     True with the reason
//
// As with Flux's kustomize-controller, a commit that does not load is no stall: the
// next pull may bring the commit that heals it, with nobody touching the
// TrustDomain. What needs a person to change the TrustDomain, or to say whether a server's
// word is to be trusted, stalls. But for an invalid spec it is tried again all the same:
// what heals it may happen elsewhere. kstatus reads the seven rows as Current, Current,
// InProgress, InProgress, InProgress, InProgress and Failed.
//
// Trust is at risk while the plan has a hold that is an alarm: a key that was changed
// without a plan, which cert-manager signs with already, say. Each is told as a warning
// when it is new. The reasons of Ready=False are
//
//	                      stalls
//	InvalidSpec           yes  the spec must be changed
//	CredentialsInvalid    –    a Secret that the spec names is missing, may not be read, or
//	                           holds what is of no use
//	BranchNotFound        –    the repository has no such branch, or no commit
//	HistoryRewritten      yes  the head does not come after the one that was read last
//	RemoteUnreachable     –    the server, or the proxy, did not answer, or failed
//	AuthenticationFailed  –    the server, or the proxy, wants other credentials
//	HostKeyMismatch       yes  the SSH server shows a key that known_hosts does not hold
//	TLSFailed             –    the server's certificate could not be verified
//	NotARepository        –    what is at the URL is no Git repository
//	Redirected            yes  the server sends to another address
//	RepositoryTooLarge    –    the repository exceeds what is taken from one
//	CommitNotVerified     –    the head is not signed by one of those that are trusted
//	GitOperationFailed    –    a branch could not be pulled for another reason
//	BuildFailed           –    the record, or the documents, cannot be read or rendered
//	ObserveFailed         –    the cluster could not be seen whole
//	PolicyViolation       –    the snapshot, the plan or the manifests hold what must never be
//	PlanDiffers           –    the commit was merged for another plan, or for none
//	OwnedByAnother        –    something that is declared belongs to another TrustDomain,
//	                           or was made by somebody else
//	Forbidden             –    the account that is written as lacks a permission
//	ApplyFailed           –    a write to the cluster failed, or somebody else owns a field
//	WriteBackFailed       –    the record could not be pushed
//	TrustAtRisk           –    all was applied, and a key was changed without a plan, say
//
// The first twelve, GitOperationFailed and PlanDiffers are failures of the repository (see
// above): the last good snapshot stays in force. An event tells of a failure when it is new, not
// at each turn; while a server's words differ in their numbers alone, the status keeps the
// first.
//
// The status is patched only when something in it changed, in one request, under
// the resource version that the turn has read. A turn that finds nothing to do
// writes nothing.
//
// # Whose writes
//
// With spec.serviceAccountName the manifests and the actions of a domain are written as
// that service account of its namespace; without it, as the one that
// Options.DefaultServiceAccount names there or, without that, as the controller. What is read, the
// status and the events are the controller's own. If the API server refuses a write for
// want of a permission, the reason is Forbidden, and the message begins with what is to be
// granted to whom.
//
// Several domains may share a cluster, if no two of them declare the same issuer, bundle
// or authority. A domain that names one of another's writes nothing at all; the one that
// came first is not touched. A native object of another's is left alone by itself.
//
// # What brings a turn
//
//	its interval, or the time that its plan says to look again
//	a change of its spec, or of the annotations by which a person asks for a turn
//	what moves in the cluster: what it is planned from, and whatever it has applied, native
//	kinds included (see drift.go)
//	a push, told by a webhook of the repository's server (see Ask)
//
// # Deletion
//
// Deleting a TrustDomain ends its turns, closes and removes the copies of its repository,
// ends what was watched for it alone, and removes nothing else from the cluster:
// authorities, issuers and bundles stay as they are. There is no finalizer.
//
// # Secrets
//
// The credentials named by a TrustDomain are read by name in its own namespace, at the API
// server: the controller needs get on those Secrets alone, and no informer for Secrets is
// ever started (see ClientOptions). Each must hold what its field wants, and no key that
// has no meaning there; no value is ever told.
package reconciler
