package forecast

import (
	"time"

	"github.com/reanchor/reanchor/planner"
)

// Request is what a forecast is made of. Equal requests give equal forecasts.
type Request struct {
	// Folder of the domain as seen from the root of the repository.
	Folder string
	// Base is what Git declares now, and Head what the commit declares.
	Base, Head Side
	// Observed is what a cluster was seen to hold at the time Seen; nil: nobody has looked,
	// and the forecast begins at the end state of Base.
	Observed *planner.Observed
	Seen     time.Time
	// Now is the time at which the forecast begins.
	Now time.Time
	// Record is what Git remembers of the keys that came to be.
	Record planner.Record
	// Users are the Certificates that stand in the repository beside the documents, by
	// their Ref, Issuer and SecretName, and Namespaces are those that stand there. They are
	// asked for where nothing was observed.
	Users      []planner.Leaf
	Namespaces []string
	// Blocks and Warnings are what was found already; Conflicts what a cluster told of
	// fields that somebody else owns; Diffs the differences of documents and manifests.
	Blocks, Warnings, Conflicts []Finding
	Diffs                       []Diff
	// Beside are the changes of manifests that stand in Git beside the documents: of those
	// the planner knows nothing.
	Beside []Change
	// Check says what is wrong with a plan on the way: blocks and warnings; nil: nothing is
	// asked. It gets the certificates that are known as they are, and stand-ins for those
	// that will be issued.
	Check func(planner.Plan) (blocks, warnings []Finding)
	// WhatIf names keys, "fleet-root/2025", that go at once: instead of the commit it is
	// told who would lose trust.
	WhatIf []string
}

// Side is one side of the comparison.
type Side struct {
	Revision Revision
	Desired  planner.Desired
	// Fleets are the devices that Git lists, by their groups.
	Fleets []Fleet
	// Broken reports that the documents cannot be used, and Desired is empty: the Blocks say
	// why.
	Broken bool
}

// Fleet is a group's devices, counted.
type Fleet struct {
	// Group is its name.
	Group string
	// Active, Blocked and Retired are how many Git lists so.
	Active, Blocked, Retired int
	// First are the ids of the first of those that are active, sorted.
	First []string
}
