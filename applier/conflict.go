package applier

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Conflict is an object that was not applied because it is somebody else's, or because
// somebody else owns fields that we want to be different.
type Conflict struct {
	Object Object
	// Taken says whose the whole object is and how that is ended; empty if it is fields.
	Taken  string
	Fields []OwnedField
}

// An OwnedField is a field and the field manager that owns it.
type OwnedField struct {
	// Manager is empty if the server does not name it.
	Manager string
	// Path as in ".spec.ca.secretName".
	Path string
}

// String says what the conflict is and how it is ended.
func (c Conflict) String() string {
	if c.Taken != "" {
		return c.Object.String() + " " + c.Taken
	}
	owners := make([]string, 0, len(c.Fields))
	for _, field := range c.Fields {
		owners = append(owners, fmt.Sprintf("%s belongs to %q", field.Path, field.Manager))
	}
	return fmt.Sprintf("%s: %s; let that manager give it up, or declare the same value", c.Object, strings.Join(owners, ", "))
}

// conflictOf reads the error of a server-side apply; false if it is none of fields.
// See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts.
func conflictOf(object Object, err error) (Conflict, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsConflict(err) || status.Status().Details == nil {
		return Conflict{}, false
	}
	conflict := Conflict{Object: object}
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			conflict.Fields = append(conflict.Fields, OwnedField{Manager: managerIn(cause.Message), Path: cause.Field})
		}
	}
	slices.SortFunc(conflict.Fields, func(a, b OwnedField) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Manager, b.Manager))
	})
	return conflict, len(conflict.Fields) > 0
}

var quoted = regexp.MustCompile(`^conflict with "([^"]*)"`)

// managerIn finds the manager in `conflict with "kubectl" using v1`.
func managerIn(message string) string {
	if match := quoted.FindStringSubmatch(message); match != nil {
		return match[1]
	}
	return ""
}
