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
//	a turn failed           False with the reason (Reason…)  True ProgressingWithRetry –
//	the spec is invalid     False InvalidSpec                –                     True InvalidSpec
//
// As with Flux's kustomize-controller, a commit that does not load is no stall: the
// next pull may bring the commit that heals it, with nobody touching the
// TrustDomain. Only a spec that must be changed stalls. kstatus reads the six rows
// as Current, Current, InProgress, InProgress, InProgress and Failed.
//
// Trust is at risk while the plan has a hold that is an alarm: a key that was changed
// without a plan, which cert-manager signs with already, say. Each is told as a warning
// when it is new. The reasons of a failed turn are
//
//	InvalidSpec         the spec must be changed
//	GitOperationFailed  a branch could not be pulled
//	BuildFailed         the record, or the documents, cannot be read or rendered
//	ObserveFailed       the cluster could not be seen whole
//	PolicyViolation     the snapshot, the plan or the manifests hold what must never be
//	ApplyFailed         a write to the cluster failed, or somebody else owns a field
//	WriteBackFailed     the record could not be pushed
//
// The status is patched only when something in it changed, in one request, under
// the resource version that the turn has read. A turn that finds nothing to do
// writes nothing.
//
// # Deletion
//
// Deleting a TrustDomain ends its turns and removes nothing else from the cluster:
// authorities, issuers and bundles stay as they are. There is no finalizer.
//
// # Secrets
//
// The credentials named by spec.source are read by name in the TrustDomain's own
// namespace, at the API server: the controller needs get on those Secrets alone,
// and no informer for Secrets is ever started (see ClientOptions).
package reconciler
