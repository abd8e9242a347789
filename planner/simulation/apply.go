package simulation

import (
	"fmt"
	"reflect"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// write is one change that a turn makes to the cluster.
type write struct {
	what string
	do   func()
	told Written
}

// writes is what leads from the world as it is to the plan's target, and its
// actions.
func (w *World) writes(plan planner.Plan) []write {
	if plan.Blind {
		return nil
	}
	writes := append(w.keyWrites(plan.Target.Keys), w.issuerWrites(plan.Target.Issuers)...)
	writes = append(writes, w.bundleWrites(plan.Target.Bundles)...)
	for _, action := range plan.Actions {
		writes = append(writes, write{action.String(), func() { w.act(action) }, w.actionTold(action)})
	}
	for _, recorded := range plan.Record {
		writes = append(writes, write{"record " + recorded.Path(), func() { w.note(recorded) }, w.recordTold(recorded)})
	}
	return append(writes, w.linkWrites(plan.LinkRecord)...)
}

// note commits one entry of the record.
func (w *World) note(recorded planner.RecordedKey) {
	if recorded.Retired {
		before := recorded
		before.Retired = false
		delete(w.record, before.Path())
	}
	w.record[recorded.Path()], w.recordProblem = recorded, ""
}

func (w *World) keyWrites(targets []planner.TargetKey) []write {
	var writes []write
	certificates, issuers := map[planner.Ref]bool{}, map[planner.Ref]bool{}
	for _, target := range targets {
		ref := planner.Ref{Namespace: target.Authority.Namespace, Name: planner.KeyObjectName(target.Authority.Name, target.Name)}
		certificates[ref], issuers[ref] = target.Certificate, target.Issuer
		if target.Certificate && w.cas[ref] == nil {
			writes = append(writes, write{"create Certificate " + ref.String(), func() { w.cas[ref] = &caObject{target: target} }, keyTold(Made, kindCertificate, ref, target)})
		}
		if target.Issuer && w.internal[ref] == nil {
			writes = append(writes, write{"create Issuer " + ref.String(), func() { w.internal[ref] = &internalIssuer{target: target} }, keyTold(Made, kindIssuer, ref, target)})
		}
		writes = append(writes, w.clusterIssuerWrites(ref, target)...)
	}
	for _, ref := range sortedKeys(w.cas) {
		if !certificates[ref] {
			writes = append(writes, write{"delete Certificate " + ref.String(), func() { delete(w.cas, ref) }, keyTold(Removed, kindCertificate, ref, w.cas[ref].target)})
		}
	}
	for _, ref := range sortedKeys(w.internal) {
		if !issuers[ref] {
			writes = append(writes, write{"delete Issuer " + ref.String(), func() { delete(w.internal, ref) }, keyTold(Removed, kindIssuer, ref, w.internal[ref].target)})
		}
	}
	return writes
}

// clusterIssuerWrites keep the ClusterIssuer of a key, beside its internal Issuer.
func (w *World) clusterIssuerWrites(ref planner.Ref, target planner.TargetKey) []write {
	internal := w.internal[ref]
	if internal == nil || internal.cluster == target.ClusterIssuer {
		return nil
	}
	what, verb := "delete ClusterIssuer "+ref.Name, Removed
	if target.ClusterIssuer {
		what, verb = "create ClusterIssuer "+ref.Name, Made
	}
	return []write{{what, func() { internal.cluster = target.ClusterIssuer }, keyTold(verb, kindClusterIssuer, planner.Ref{Name: ref.Name}, target)}}
}

func (w *World) issuerWrites(targets []planner.TargetIssuer) []write {
	var writes []write
	wanted := map[planner.Ref]bool{}
	for _, target := range targets {
		wanted[target.Ref] = true
		next := issuer{secretName: target.SecretName(), authority: target.Authority}
		if target.Spec != "" {
			next = issuer{spec: target.Spec, signsWith: target.SignsWith(), authority: target.Authority}
		}
		if i := w.issuers[target.Ref]; i != nil && i.secretName == next.secretName && i.spec == next.spec && i.signsWith == next.signsWith {
			continue
		}
		writes = append(writes, write{fmt.Sprintf("point ClusterIssuer %s to %s", target.Ref, next.secretName+next.spec), func() { w.point(target.Ref, next) }, w.issuerTold(target)})
	}
	for _, ref := range sortedKeys(w.issuers) {
		if !wanted[ref] && !w.issuers[ref].foreign {
			writes = append(writes, write{"delete ClusterIssuer " + ref.String(), func() {
				w.checkIssuerUnused(ref)
				w.checkIssuerUnnamed(ref)
				delete(w.issuers, ref)
			}, Written{Verb: Removed, Kind: issuerKind(ref), Ref: ref, Authorities: authorities(w.issuers[ref].authority)}})
		}
	}
	return writes
}

func (w *World) point(ref planner.Ref, next issuer) {
	if i := w.issuers[ref]; i != nil {
		next.generation, next.canary, next.proof = i.generation, i.canary, i.proof
		w.checkMoveWindow(ref, next.authority)
	}
	next.generation++
	w.issuers[ref] = &next
	w.checkTrustBeforeUse(next.authority, next.secretName+next.spec, w.signingSecret(ref))
}

func (w *World) bundleWrites(targets []planner.TargetBundle) []write {
	var writes []write
	wanted := map[string]bool{}
	for _, target := range targets {
		wanted[target.Name] = true
		if target.Via == v1alpha1.ViaConfigMap {
			writes = append(writes, w.copyWrites(target)...)
			continue
		}
		next := planner.Bundle{
			Name: target.Name, Via: target.Via, Anchors: target.Anchors, Certificates: target.Certificates,
			UseDefaultCAs: target.UseDefaultCAs, Target: target.Target,
		}
		standing, stands := w.bundles[target.Name]
		if stands && same(standing, next) {
			continue
		}
		writes = append(writes, write{fmt.Sprintf("write Bundle %s with %s", target.Name, names(next.Anchors)), func() {
			w.checkBundle(next)
			w.checkLeavingWindow(next.Name, w.bundles[next.Name].Anchors.Minus(next.Anchors))
			w.revisions++
			next.Revision = fmt.Sprint(w.revisions)
			w.bundles[next.Name] = next
		}, w.bundleTold(Written{Kind: kindBundle, Ref: planner.Ref{Name: next.Name}}, stands, standing.Anchors, next.Anchors)})
	}
	for _, name := range w.bundleNames() {
		if !wanted[name] {
			writes = append(writes, write{"delete Bundle " + name, func() {
				w.checkBundleUnused(name)
				delete(w.bundles, name)
			}, w.bundleTold(Written{Verb: Removed, Kind: kindBundle, Ref: planner.Ref{Name: name}}, true, w.bundles[name].Anchors, nil)})
		}
	}
	return append(writes, w.abandonedCopies(wanted)...)
}

// same reports whether a Bundle stands as it is to be.
func same(standing, next planner.Bundle) bool {
	return standing.Anchors.Equal(next.Anchors) && standing.Certificates.Equal(next.Certificates) &&
		standing.UseDefaultCAs == next.UseDefaultCAs && reflect.DeepEqual(standing.Target, next.Target)
}

// abandonedCopies deletes the copies of ours of which the target says nothing.
func (w *World) abandonedCopies(wanted map[string]bool) []write {
	var writes []write
	for _, id := range w.sortedCopies() {
		if wanted[id.bundle] || w.copies[id].via != v1alpha1.ViaConfigMap {
			continue
		}
		writes = append(writes, write{"delete " + id.String(), func() {
			w.checkBundleUnused(id.bundle)
			delete(w.copies, id)
		}, w.bundleTold(copyTold(Removed, id), true, w.copies[id].anchors, nil)})
	}
	return writes
}

// copyWrites write the copies of a bundle without trust-manager.
func (w *World) copyWrites(target planner.TargetBundle) []write {
	var writes []write
	for _, namespace := range target.Namespaces {
		id := copyID{bundle: target.Name, namespace: namespace}
		held := w.copies[id]
		if held != nil && held.anchors.Equal(target.Anchors) {
			continue
		}
		var before pki.Anchors
		if held != nil {
			before = held.anchors
		}
		writes = append(writes, write{fmt.Sprintf("write ConfigMap %s/%s with %s", namespace, target.Name, names(target.Anchors)), func() {
			w.checkLoss(id.bundle, before, target.Anchors)
			w.checkLeavingWindow(id.bundle, before.Minus(target.Anchors))
			w.writeCopy(id, v1alpha1.ViaConfigMap, target.Anchors)
			w.loose[id.bundle] = planner.Bundle{Target: target.Target, Certificates: target.Certificates, UseDefaultCAs: target.UseDefaultCAs}
		}, w.bundleTold(copyTold(Made, id), held != nil, before, target.Anchors)})
	}
	return writes
}

func (w *World) act(action planner.Action) {
	switch action.Kind {
	case planner.ActionProve:
		w.serial++
		canary := planner.Canary{Name: fmt.Sprintf("canary-%d", w.serial), At: w.Now, Generation: action.Generation, State: planner.CanaryPending}
		if i := w.issuers[action.Subject]; i != nil {
			i.canary = canary
		} else if i := w.internal[action.Subject]; i != nil {
			i.canary = canary
		}
	case planner.ActionReissue:
		if ca := w.cas[action.Subject]; ca != nil {
			ca.issuing = true
			return
		}
		w.checkWave(action.Subject)
		w.checkLeafWindow(action.Subject)
		w.leaves[action.Subject].issuing = true
	case planner.ActionRestart:
		w.restart(action)
	case planner.ActionRepoint:
		w.repoint(action)
	case planner.ActionLink:
		w.askForLink(action)
	case planner.ActionUnlink:
		delete(w.links, action.Subject)
	case planner.ActionDeleteSecret:
		w.checkSecretUnused(action.Subject)
		delete(w.secrets, action.Subject)
	}
}

func (w *World) restart(action planner.Action) {
	w.checkOneRestart(action)
	w.checkRestartWindow(action)
	for _, workload := range w.workloads {
		if workload.Kind != action.Workload || workload.Ref != action.Subject {
			continue
		}
		if action.BundleDigest != "" {
			workload.BundleDigest = action.BundleDigest
		}
		if action.LeavesDigest != "" {
			workload.LeavesDigest = action.LeavesDigest
		}
	}
}
