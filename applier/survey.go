package applier

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/planner"
)

// The resources that are listed.
var (
	certificates        = schema.GroupResource{Group: "cert-manager.io", Resource: "certificates"}
	certificateRequests = schema.GroupResource{Group: "cert-manager.io", Resource: "certificaterequests"}
	issuers             = schema.GroupResource{Group: "cert-manager.io", Resource: "issuers"}
	clusterIssuers      = schema.GroupResource{Group: "cert-manager.io", Resource: "clusterissuers"}
	bundles             = schema.GroupResource{Group: "trust.cert-manager.io", Resource: "bundles"}
	namespaces          = schema.GroupResource{Resource: "namespaces"}
	configMaps          = schema.GroupResource{Resource: "configmaps"}
	pods                = schema.GroupResource{Resource: "pods"}
	deployments         = schema.GroupResource{Group: "apps", Resource: "deployments"}
	statefulSets        = schema.GroupResource{Group: "apps", Resource: "statefulsets"}
	daemonSets          = schema.GroupResource{Group: "apps", Resource: "daemonsets"}
	replicaSets         = schema.GroupResource{Group: "apps", Resource: "replicasets"}
)

// A survey lists, and remembers what could not be listed.
type survey struct {
	reader  client.Reader
	unknown []planner.Unknown
}

// list fills the list, whose items must not be changed. It reports false, and
// notes why, if that cannot change without somebody's doing: the kind is not served,
// or the list forbidden. Everything else, such as a server that is busy, is an error:
// the next turn may see more.
func (s *survey) list(ctx context.Context, what schema.GroupResource, into client.ObjectList, options ...client.ListOption) (bool, error) {
	return s.heard(what, s.reader.List(ctx, into, append(options, client.UnsafeDisableDeepCopy)...))
}

// heard is what a list came to, by its error.
func (s *survey) heard(what schema.GroupResource, err error) (bool, error) {
	if err == nil {
		return true, nil
	}
	why, refused := refusal(what, err)
	if !refused {
		return false, fmt.Errorf("list %s: %w; the next turn asks again: if it stays so, see how the API server is", what, err)
	}
	s.note(what.String(), why)
	return false, nil
}

func (s *survey) note(subject, why string) {
	s.unknown = append(s.unknown, planner.Unknown{Subject: subject, Why: why})
}

// sorted are the notes in order of their subjects, each once.
func (s *survey) sorted() []planner.Unknown {
	slices.SortFunc(s.unknown, func(a, b planner.Unknown) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Why, b.Why))
	})
	return slices.Compact(s.unknown)
}

// refusal is what the server said, and what to do about it. It reports false if it
// was no refusal.
func refusal(what schema.GroupResource, err error) (string, bool) {
	switch {
	case isAbsent(err):
		return fmt.Sprintf("the cluster does not know %s: %v; install its definition", what, err), true
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("%v; grant list and watch on %s", err, what), true
	}
	return "", false
}

// isAbsent reports whether the kind is not served.
func isAbsent(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }
