package reconciler

import (
	"errors"
	"fmt"
	"time"

	"github.com/reanchor/reanchor/planner"
)

// RefusedError says that the API server did not let a field of somebody else's object be
// changed. The turn goes on: the next plan asks a person to change it.
type RefusedError struct {
	Field planner.Field
	// Words are the API server's.
	Words string
}

// Error names the field.
func (e *RefusedError) Error() string { return fmt.Sprintf("set %s: %s", e.Field, e.Words) }

// refusedFor is how long a field that the API server did not let be changed is left to a
// person before it is tried again.
const refusedFor = 10 * time.Minute

// refusedFields are those that were not to be changed, as far as the process remembers: one
// that is forgotten is tried again.
type refusedFields map[planner.Field]refusedField

type refusedField struct {
	words string
	until time.Time
}

// note takes the refusals out of an error, remembers them, and returns what is left of it.
func (r *refusedFields) note(err error, now time.Time) error {
	joined, is := err.(interface{ Unwrap() []error }) //nolint:errorlint // it looks into each itself
	if !is {
		return err
	}
	var others []error
	for _, one := range joined.Unwrap() {
		refused, is := errors.AsType[*RefusedError](one)
		if !is {
			others = append(others, one)
			continue
		}
		if *r == nil {
			*r = refusedFields{}
		}
		(*r)[refused.Field] = refusedField{refused.Words, now.Add(refusedFor)}
	}
	return errors.Join(others...)
}

// tell says of each field what the API server said, while that counts.
func (r refusedFields) tell(references []planner.Reference, now time.Time) []planner.Reference {
	told := make([]planner.Reference, 0, len(references))
	for _, reference := range references {
		if refused, is := r[reference.Field]; is && now.Before(refused.until) {
			reference.Refused = refused.words
		}
		told = append(told, reference)
	}
	return told
}
