package simulation

import (
	"maps"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// What happens to a cluster that nobody planned.

// DeleteSecret deletes the Secret of a key. While its Certificate is there, cert-manager
// makes another key under the old name.
func (w *World) DeleteSecret(key planner.Ref) {
	delete(w.secrets, key)
	w.Say("somebody deletes the Secret %s", key)
}

// SwapSecret puts the key pair of another CA into the Secret of a key: nothing but what
// it signs shows it.
func (w *World) SwapSecret(key planner.Ref) {
	stranger := planner.TargetKey{Spec: planner.CASpec{CommonName: "Stranger", Duration: strangerLife}}
	w.secrets[key] = w.issueCA(stranger, w.newKey(), nil)
	w.Say("somebody puts another CA into the Secret %s", key)
}

const strangerLife = 10 * leafLife

// RenewCA lets cert-manager issue a key's certificate anew, for the same key.
func (w *World) RenewCA(key planner.Ref) {
	w.cas[key].issuing = true
	w.Say("somebody renews the Certificate %s", key)
}

// LoseRequest loses the request that told what a leaf was issued.
func (w *World) LoseRequest(leaf planner.Ref) {
	w.leaves[leaf].unknown = "the CertificateRequest of revision 1 is gone; a reissue makes it known"
	w.Say("the CertificateRequest of %s is gone", leaf)
}

// RenewLeaf asks for a leaf to be issued anew, as a person does.
func (w *World) RenewLeaf(leaf planner.Ref) {
	w.leaves[leaf].issuing = true
	w.Say("somebody renews the Certificate %s", leaf)
}

// MoveToBundle lets a workload that verified with its leaf's ca.crt verify with its
// bundle alone, from pods that are made anew.
func (w *World) MoveToBundle(ref planner.Ref) {
	for _, workload := range w.workloads {
		if workload.Ref != ref {
			continue
		}
		for i := range workload.Secrets {
			workload.Secrets[i].OwnCA = planner.OwnCAHidden
		}
		workload.pods = nil
	}
	w.Say("%s verifies with the bundle", ref)
}

// Sleep lets time pass in which nobody does anything.
func (w *World) Sleep(d time.Duration) { w.Now = w.Now.Add(d) }

// SleepUntil lets time pass until then, or until the plan says to look again.
func (w *World) SleepUntil(until time.Time, plan planner.Plan) {
	if again := plan.LookAgain; again.After(w.Now) && again.Before(until) {
		until = again
	}
	w.Now = until
}

// Wipe loses everything in the cluster, but not the record in Git. It returns what the
// Secrets of keys held: what a backup holds.
func (w *World) Wipe() Backup {
	backup := Backup{maps.Clone(w.secrets)}
	for _, ref := range sortedKeys(w.leaves) {
		w.leaves[ref].chain, w.leaves[ref].issuing = nil, true
	}
	for _, workload := range w.workloads {
		workload.pods, workload.BundleDigest, workload.LeavesDigest = nil, "", ""
	}
	clear(w.cas)
	clear(w.secrets)
	clear(w.internal)
	clear(w.links)
	clear(w.issuers)
	clear(w.bundles)
	clear(w.copies)
	clear(w.seen)
	w.since, w.seenLately = nil, nil
	w.Say("the cluster is lost, and an empty one takes its place")
	return backup
}

// RanBefore makes of the world one that ran before reanchor did, and that was described as
// it stands: nothing of what reanchor makes for itself is there, nor is anything on record
// or remembered.
func (w *World) RanBefore() {
	clear(w.internal)
	clear(w.record)
	w.since, w.seenLately = nil, nil
	for _, issuer := range w.issuers {
		issuer.canary, issuer.proof = planner.Canary{}, planner.Canary{}
	}
	w.Say("all of it was there before reanchor was")
}

// Backup holds the Secrets of keys.
type Backup struct{ secrets map[planner.Ref]*caSecret }

// Restore puts the Secrets of keys back.
func (w *World) Restore(backup Backup) {
	maps.Copy(w.secrets, backup.secrets)
	w.Say("the Secrets of keys are put back")
}

// Secret is the certificate in the Secret of a key.
func (w *World) Secret(key planner.Ref) pki.Certificate { return w.secrets[key].certificate }
