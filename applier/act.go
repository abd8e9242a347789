package applier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// An Outcome says what became of an action that did not fail.
type Outcome struct {
	Action planner.Action
	// Done reports that something was written.
	Done bool
	// Detail says what was done, or why there was nothing to do.
	Detail string
	// Refused is what the API server said to a change of somebody else's object; empty
	// otherwise. A person must make it.
	Refused string
}

// Act carries out actions in their order; now is the time at which it does so. One
// that fails does not keep the others back; the error joins all, each of which names
// its action.
func (a *Applier) Act(ctx context.Context, domain planner.Ref, actions []planner.Action, now time.Time) ([]Outcome, error) {
	var outcomes []Outcome
	var errs []error
	for _, action := range actions {
		outcome, err := a.act(ctx, domain, action, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", action.Kind, action.Subject, err))
			continue
		}
		outcome.Action = action
		outcomes = append(outcomes, outcome)
	}
	return outcomes, errors.Join(errs...)
}

func (a *Applier) act(ctx context.Context, domain planner.Ref, action planner.Action, now time.Time) (Outcome, error) {
	switch action.Kind {
	case planner.ActionProve:
		return a.prove(ctx, domain, action)
	case planner.ActionReissue:
		return a.reissue(ctx, action.Subject, now)
	case planner.ActionRestart:
		return a.restart(ctx, action)
	case planner.ActionRepoint:
		return a.repoint(ctx, action)
	case planner.ActionLink:
		return a.link(ctx, domain, action, now)
	case planner.ActionUnlink:
		return a.unlink(ctx, domain, action.Subject)
	case planner.ActionDeleteSecret:
		return a.deleteSecret(ctx, action.Subject)
	}
	return Outcome{}, fmt.Errorf("no action of that kind is known; this is a defect")
}

// The condition by which a reissue is asked for, as "cmctl renew" sets it; see
// https://cert-manager.io/docs/reference/cmctl/#renew.
const (
	issuingReason  = "ManuallyTriggered"
	issuingMessage = "Certificate re-issuance manually triggered"
)

// reissue asks cert-manager for a new certificate. Status fields that this program
// does not know are left as they are.
func (a *Applier) reissue(ctx context.Context, subject planner.Ref, now time.Time) (Outcome, error) {
	var certificate certmanagerv1.Certificate
	err := a.Reader.Get(ctx, objectKey(subject), &certificate)
	if apierrors.IsNotFound(err) {
		return Outcome{Detail: "the Certificate is gone"}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	if isIssuing(&certificate) {
		return Outcome{Detail: "a reissue is under way"}, nil
	}
	before := certificate.DeepCopy()
	certificate.Status.Conditions = withIssuing(certificate.Status.Conditions, certificate.Generation, now)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := a.Writer.Status().Patch(ctx, &certificate, patch, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return Outcome{}, fmt.Errorf("set the Issuing condition: %w; the next turn tries again", err)
	}
	return Outcome{Done: true, Detail: "the Issuing condition was set"}, nil
}

// withIssuing tells the time as well: cert-manager tries anew what failed only if the
// condition is younger than the failure (deleteCurrentFailedRequests of its
// pkg/controller/certificates/requestmanager).
func withIssuing(conditions []certmanagerv1.CertificateCondition, generation int64, now time.Time) []certmanagerv1.CertificateCondition {
	others := slices.DeleteFunc(slices.Clone(conditions), func(c certmanagerv1.CertificateCondition) bool {
		return c.Type == certmanagerv1.CertificateConditionIssuing
	})
	return append(others, certmanagerv1.CertificateCondition{
		Type:               certmanagerv1.CertificateConditionIssuing,
		Status:             certmanagermeta.ConditionTrue,
		Reason:             issuingReason,
		Message:            issuingMessage,
		LastTransitionTime: &metav1.Time{Time: now},
		ObservedGeneration: generation,
	})
}

// restart writes the digests to the pod template. A merge patch owns nothing but
// the two annotations: neither "kubectl apply" nor a server-side apply of the
// workload's owner takes them away, and nothing of theirs is touched.
func (a *Applier) restart(ctx context.Context, action planner.Action) (Outcome, error) {
	if !slices.Contains([]string{kindDeployment, kindStatefulSet, kindDaemonSet}, action.Workload) {
		return Outcome{}, fmt.Errorf("a %s cannot be restarted from here; recreate %s by hand", action.Workload, action.Subject)
	}
	digests := map[string]string{}
	if action.BundleDigest != "" {
		digests[v1alpha1.AnnotationBundleSHA256] = action.BundleDigest
	}
	if action.LeavesDigest != "" {
		digests[v1alpha1.AnnotationLeavesSHA256] = action.LeavesDigest
	}
	patch, err := templateAnnotations(digests)
	if err != nil {
		return Outcome{}, err
	}
	workload := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: action.Workload},
		ObjectMeta: metav1.ObjectMeta{Namespace: action.Subject.Namespace, Name: action.Subject.Name},
	}
	err = a.Writer.Patch(ctx, workload, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.FieldManager))
	if apierrors.IsNotFound(err) {
		return Outcome{Detail: "the workload is gone"}, nil
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("annotate the pod template of the %s: %w; grant patch on it", action.Workload, err)
	}
	return Outcome{Done: true, Detail: "its pod template was annotated"}, nil
}

func templateAnnotations(annotations map[string]string) ([]byte, error) {
	type fields = map[string]any
	return json.Marshal(fields{"spec": fields{"template": fields{"metadata": fields{"annotations": annotations}}}})
}

// deleteSecret deletes by name: the answer is a status, never the content.
func (a *Applier) deleteSecret(ctx context.Context, subject planner.Ref) (Outcome, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: subject.Namespace, Name: subject.Name}}
	err := a.Writer.Delete(ctx, secret)
	if apierrors.IsNotFound(err) {
		return Outcome{Detail: "the Secret is gone"}, nil
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("delete the Secret: %w; grant delete on secrets", err)
	}
	return Outcome{Done: true, Detail: "the Secret was deleted"}, nil
}
