// Package preflight looks at a cluster before anything depends on it, and afterwards when
// something does not work: what `reanchor check` prints. It reads, asks what others may do,
// and sends one dry run; it changes nothing.
//
//	Section       looks at
//	kubernetes    the API server: that it answers, its version, its clock
//	cert-manager  definitions, what they know, the webhook, the controller
//	trust-manager the definition of Bundle, the controller; neither is needed by bundles
//	              that reanchor writes itself
//	reanchor      the definition of TrustDomain, permissions and the policies that bound
//	              them, the controller and its lease
//	trustdomains  whether each is ready
//
// What somebody may not look at is a warning, and says who may: only what is seen to be
// wrong fails.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Outcome of a check.
type Outcome string

// The outcomes.
const (
	Passed Outcome = "passed"
	// Warned: it could not be told, or may be meant so.
	Warned Outcome = "warned"
	Failed Outcome = "failed"
)

// Result is one line of what was found.
type Result struct {
	Section string  `json:"section"`
	Outcome Outcome `json:"outcome"`
	// Found says what was looked at, and what was seen.
	Found string `json:"found"`
	// Hint says what to do; empty where nothing is to be done.
	Hint string `json:"hint,omitempty"`
}

// Server is what the API server says of itself.
type Server struct {
	// Address that it was reached at, and GitVersion, "v1.36.4".
	Address, GitVersion string
	// Date by its clock, in whole seconds.
	Date time.Time
}

// Cluster that is looked at.
type Cluster struct {
	// Client asks the API server, and no cache. Its scheme must know the types of
	// [AddToScheme], and those of the applier.
	client.Client
	// Server asks what the API server says of itself.
	Server func(ctx context.Context) (Server, error)
	// Now is this machine's clock.
	Now func() time.Time
}

// Options of a look.
type Options struct {
	// Namespace and Account of reanchor's controller.
	Namespace, Account string
	// Domains is the namespace whose TrustDomains are looked at; empty: all.
	Domains string
}

// AddToScheme adds the types that are read beside the applier's.
func AddToScheme(scheme *runtime.Scheme) error {
	return errors.Join(
		admissionv1.AddToScheme(scheme), authorizationv1.AddToScheme(scheme),
		coordinationv1.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme),
	)
}

// Run tells each result as it is found. If the API server does not answer, that is the only
// one.
func Run(ctx context.Context, cluster Cluster, options Options, tell func(Result)) {
	l := &look{Cluster: cluster, options: options, tell: tell}
	for _, part := range []struct {
		section string
		look    func(context.Context) bool
	}{
		{"kubernetes", l.kubernetes},
		{"cert-manager", l.certManager},
		{"trust-manager", l.trustManager},
		{"reanchor", l.reanchor},
		{"trustdomains", l.trustDomains},
	} {
		l.section = part.section
		if goOn := part.look(ctx); !goOn || ctx.Err() != nil {
			return
		}
	}
}

// look is one run.
type look struct {
	Cluster
	options Options
	tell    func(Result)
	section string
	// now by the API server's clock.
	now time.Time
}

func (l *look) pass(format string, args ...any) {
	l.tell(Result{l.section, Passed, fmt.Sprintf(format, args...), ""})
}

func (l *look) warn(hint, format string, args ...any) {
	l.tell(Result{l.section, Warned, fmt.Sprintf(format, args...), hint})
}

func (l *look) fail(hint, format string, args ...any) {
	l.tell(Result{l.section, Failed, fmt.Sprintf(format, args...), hint})
}

// unseen tells of what could not be looked at: that is no failure if it is only forbidden.
func (l *look) unseen(what string, err error) {
	if apierrors.IsForbidden(err) {
		l.warn("ask somebody who may read it", "%s: not seen: %v", what, err)
		return
	}
	l.fail("see how the API server is, and try again", "%s: %v", what, err)
}

// isAbsent reports whether there is no such object, or no such kind.
func isAbsent(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }
