package reconciler

import (
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// memory is what the last turn of a domain left behind, to save the next one
// work. Losing it costs time only.
//
// The atomic fields are shared with the watches; the rest belongs to the
// domain's turns, of which there is one at a time.
type memory struct {
	// moved is set by a watch when something of the domain's changed.
	moved atomic.Bool
	// namespaces in which the domain has anything; nil before the first look.
	namespaces atomic.Pointer[map[string]bool]
	// bundles of the domain, by name; nil before the first look.
	bundles atomic.Pointer[map[string]bool]

	// uid, source and recordBranch that the rest speaks of.
	uid          types.UID
	source       v1alpha1.Source
	recordBranch string
	known
	// handshakes outlive known: a server is what it is, whatever the repository says.
	handshakes handshakes
	// lineage outlives known: other credentials make no other history.
	lineage lineage

	// succeeded reports that the last turn came to its end, at revision and with the
	// record at recordRevision, for generation; its next is due at due.
	succeeded                bool
	revision, recordRevision string
	generation               int64
	due                      time.Time
}

// known is what a memory holds of the repository.
type known struct {
	// credentials that the last pull succeeded with.
	credentials *Credentials
	// scanned is the last snapshot whose files were found harmless.
	scanned Snapshot
	// loaded are the documents of the last good snapshot, loadedFrom, as they are
	// beside the record loadedWith.
	loaded     Loaded
	loadedFrom Snapshot
	loadedWith planner.Record
	// letIn is what the loaded documents were let in by.
	letIn *v1alpha1.LetInPlan
	// record is the last one that could be read, from recordedIn.
	record     planner.Record
	recordedIn Snapshot
	// problem is why the record could not be written the last time, empty if it could;
	// it is not tried again before pushAgain.
	problem   string
	pushAgain time.Time
	// refused are the fields of others' objects that could not be changed.
	refused refusedFields
}

// observedRecord is the record as the planner is given it.
func (k *known) observedRecord() planner.Record {
	record := k.record
	if record.Enabled {
		record.Problem = k.problem
	}
	return record
}

// loadedRevision is the revision of the last good snapshot.
func (k *known) loadedRevision() string { return k.loadedFrom.Revision() }

// settle readies the memory for a turn of domain: what was remembered of another
// object or another source is dropped, if anything was. It reports whether that is so.
func (m *memory) settle(domain *v1alpha1.TrustDomain) (anew bool) {
	m.lineage.follow(domain)
	branch := recordBranchOf(domain.Spec)
	if m.uid == domain.UID && equality.Semantic.DeepEqual(m.source, domain.Spec.Source) && m.recordBranch == branch {
		return false
	}
	m.uid, m.source, m.recordBranch = domain.UID, *domain.Spec.Source.DeepCopy(), branch
	m.known, m.succeeded = known{}, false
	return true
}

// sees remembers the namespaces of what was observed.
func (m *memory) sees(observed planner.Observed) {
	namespaces := map[string]bool{}
	for _, key := range observed.Keys {
		namespaces[key.Authority.Namespace] = true
	}
	for _, leaf := range observed.Leaves {
		namespaces[leaf.Ref.Namespace] = true
	}
	for _, copied := range observed.Copies {
		namespaces[copied.Namespace] = true
	}
	for _, workload := range observed.Workloads {
		namespaces[workload.Ref.Namespace] = true
	}
	m.namespaces.Store(&namespaces)
	m.seesBundles(observed)
}

// seesBundles remembers the names of the bundles that stand or have a place for a copy.
func (m *memory) seesBundles(observed planner.Observed) {
	bundles := map[string]bool{}
	for _, bundle := range observed.Bundles {
		bundles[bundle.Name] = true
	}
	for _, copied := range observed.Copies {
		bundles[copied.Bundle] = true
	}
	m.bundles.Store(&bundles)
}

// distributes reports whether the domain has a bundle of that name, as far as its last
// turn saw; before that, everything matters.
func (m *memory) distributes(bundle string) bool {
	bundles := m.bundles.Load()
	return bundles == nil || (*bundles)[bundle]
}

// cares reports whether the domain has anything in a namespace, as far as its
// last turn saw; before that, everything matters.
func (m *memory) cares(namespace string) bool {
	namespaces := m.namespaces.Load()
	return namespaces == nil || (*namespaces)[namespace]
}

// memories of all domains.
type memories struct {
	mu       sync.Mutex
	byDomain map[types.NamespacedName]*memory
}

// of a domain; an empty one if there is none yet.
func (m *memories) of(domain types.NamespacedName) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byDomain == nil {
		m.byDomain = map[types.NamespacedName]*memory{}
	}
	if m.byDomain[domain] == nil {
		m.byDomain[domain] = &memory{}
	}
	return m.byDomain[domain]
}

// forget a domain that is gone.
func (m *memories) forget(domain types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byDomain, domain)
}

// each domain in turn.
func (m *memories) each(visit func(types.NamespacedName, *memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for domain, remembered := range m.byDomain {
		visit(domain, remembered)
	}
}
