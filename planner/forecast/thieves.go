package forecast

import (
	"fmt"
	"slices"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

// believer is somebody who trusts a compromised key on the way: why, and the stage in which
// that was last so.
type believer struct {
	why   string
	stage int
}

// noteBelievers notes who may trust a compromised key at this moment.
func (r *run) noteBelievers(plan planner.Plan) {
	for _, drop := range plan.StillTrust {
		b, known := r.believers[drop.Who]
		if !known {
			b.why = r.twins.Text(drop.Why)
		}
		b.stage = r.record.latest()
		if e := r.record.current[drop.Authority]; e != nil {
			b.stage = e.Number
		}
		r.believers[drop.Who] = b
	}
}

// tellBelievers tells who trusts what a thief signs: until a stage is done, or for good. It
// counts the latter.
func (r *run) tellBelievers() (forGood int) {
	trusting := map[string]string{}
	for who, b := range r.believers {
		trusting[who] = fmt.Sprintf("%s; no more once stage %d is done", b.why, b.stage)
	}
	lasting := map[string]string{}
	for _, drop := range r.plan.StillTrust {
		lasting[drop.Who] = r.twins.Text(drop.Why)
	}
	r.trustStolenIntermediates(lasting)
	for who, why := range lasting {
		trusting[who] = why
	}
	r.StillTrust = sortedLosses(trusting)
	return len(lasting)
}

// trustStolenIntermediates adds who trusts the root above a stolen intermediate in the end:
// with it, what the thief signs verifies, whatever is reissued.
func (r *run) trustStolenIntermediates(lasting map[string]string) {
	observed := r.world.Observe()
	for _, stolen := range r.stolen {
		for _, standing := range observed.Bundles {
			for _, anchor := range standing.Anchors {
				if pki.Verify(append([]pki.Certificate{stolen}, r.world.Authorities()...), pki.NewAnchors(anchor), r.world.Now) == nil {
					r.believe(lasting, observed, standing.Name, r.twins.Text(fmt.Sprintf(
						"trusts %s, and by that what the thief signs with %s, until %s: only a new root key ends it, or a revocation list that is really checked",
						anchor.CommonName(), stolen.CommonName(), stolen.NotAfter().UTC().Format(time.DateOnly))))
				}
			}
		}
	}
}

// believe names those who verify with a bundle.
func (r *run) believe(lasting map[string]string, observed planner.Observed, bundle, why string) {
	for _, workload := range observed.Workloads {
		if slices.ContainsFunc(workload.Bundles, func(m planner.Mount) bool { return m.Name == bundle }) {
			who := workload.String()
			if instead, assumed := r.assumed[who]; assumed {
				who = instead
			}
			lasting[who] = why
		}
	}
	for _, ledger := range observed.Ledger {
		lasting["DeviceGroup "+ledger.Group] = fmt.Sprintf("each of its %s %s", counted(ledger.Active, "device"), why)
	}
}

// stolenIntermediates are the certificates of intermediates' keys that the head says are
// compromised.
func (r *run) stolenIntermediates() pki.Anchors {
	var found []pki.Certificate
	note := func(authority, pair string, certificate pki.Certificate) {
		declared, is := authorityOf(r.world.Desired, authority)
		if is && declared.Spec.IssuedBy != nil && !certificate.IsZero() && stateOf(declared, pair) == compromised {
			found = append(found, certificate)
		}
	}
	observed := r.world.Observe()
	for _, key := range observed.Keys {
		note(key.Authority.Name, key.Name, key.Certificate)
	}
	for _, key := range observed.Record.Keys {
		note(key.Authority, key.Name, key.Certificate)
	}
	return pki.NewAnchors(found...)
}
