// Package reconciler is the TrustDomain controller: it turns the loop.
//
// # One turn
//
//	pull     the branch; nothing new, nothing moved, nothing due: the turn ends
//	         here, having cost one listing of refs
//	load     the documents of the snapshot, once no file of it is found to be one
//	         that must never stand in Git
//	observe  what the cluster holds, from the manager's cache
//	plan     the next safe step; if it is decisive, observe again at the API server
//	         itself and plan again: only that second plan is carried out
//	render   the plan's target
//	check    plan and manifests against the policies; a violation ends the turn
//	         before any write
//	apply    what changed, prune what is gone, run the actions
//	report   status, events, metrics
//
// A turn starts from what is seen. What a domain's last turn left in memory (see
// memory) only saves work; a restart, or a second leader, loses nothing by not
// having it.
//
// # When the repository fails
//
// While the branch cannot be pulled, or its head holds a file that must never be in
// Git or does not load, the last good snapshot stays in force: its target is
// applied, so that drift is repaired and bundles may still grow, but nothing is
// pruned, no action is run and no decisive plan is carried out: whoever tried to
// stop a rollover with the commit that does not load shall not see it move on. After
// a restart there is no last good snapshot; then nothing is written until there is
// one. A head that loads but whose target does not render, or is denied by a policy,
// writes nothing at all.
//
// # When the cluster cannot be seen whole
//
// What cannot be read looks as if it were not there. A plan that was made so is
// blind: nothing of it is applied, nothing pruned, no action run. The turn fails with
// ObserveFailed, names what could not be read, and is tried again.
//
// A decisive plan is not made either from a TrustDomain that the cache holds and the
// API server does not any more, for its gates may be ones that were dropped since:
// the turn ends without a write, and the next looks again.
//
// # Status
//
//	                        Ready                            Reconciling           Stalled
//	applied, all settled    True ReconciliationSucceeded     –                     –
//	applied, with holds     True ReconciliationSucceeded     –                     –
//	a rollover under way    True ReconciliationSucceeded     True Progressing      –
//	a turn failed           False with the reason (Reason…)  True ProgressingWithRetry –
//	the spec is invalid     False InvalidSpec                –                     True InvalidSpec
//
// As with Flux's kustomize-controller, a commit that does not load is no stall: the
// next pull may bring the commit that heals it, with nobody touching the
// TrustDomain. Only a spec that must be changed stalls. kstatus reads the five rows
// as Current, Current, InProgress, InProgress and Failed.
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
