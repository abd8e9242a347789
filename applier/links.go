package applier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
)

// linkLabelValue is the value of the label reanchor.dev/link.
const linkLabelValue = "true"

// links are the requests of links of the domain's roots. The label and the issuer say whose
// key was asked to sign whose; what did sign it, the certificate alone tells.
func (w *world) links(keys []planner.Key) []planner.LinkRequest {
	var links []planner.LinkRequest
	for _, request := range w.requests.links {
		if link, is := w.readLink(keys, request); is {
			links = append(links, link)
		}
	}
	return links
}

// readLink reads a request that is that of a link between two keys of one authority.
func (w *world) readLink(keys []planner.Key, request *certmanagerv1.CertificateRequest) (link planner.LinkRequest, is bool) {
	if !belongs(request, w.domain) {
		return link, false
	}
	authority := planner.Ref{Namespace: request.Namespace, Name: request.Labels[v1alpha1.LabelAuthority]}
	by := slices.IndexFunc(keys, func(key planner.Key) bool {
		return key.Authority == authority && pair{key.Authority, key.Name}.object() == issuerOf(request.Namespace, request.Spec.IssuerRef)
	})
	if by < 0 {
		return link, false
	}
	sent := readCanary(request)
	return planner.LinkRequest{
		Authority: authority, Key: request.Labels[v1alpha1.LabelKey], Under: keys[by].Name,
		Name: request.Name, At: sent.At, State: sent.State, Certificate: sent.Certificate, Problem: sent.Problem,
	}, true
}

// requestsOfLeaves are the CertificateRequests that no Certificate controls and that
// somebody may use. One with the label of a link is of no use only if it certifies one of
// the domain's keys: who has that key is a CA already.
func (w *world) requestsOfLeaves(keys []planner.Key) []*certmanagerv1.CertificateRequest {
	requests := slices.Clone(w.requests.others)
	for _, request := range w.requests.links {
		certified := readCanary(request).Certificate
		if !slices.ContainsFunc(keys, func(key planner.Key) bool {
			return !certified.IsZero() && !key.Certificate.IsZero() && key.Certificate.SPKI() == certified.SPKI()
		}) {
			requests = append(requests, request)
		}
	}
	return requests
}

// link sends the request of a new root through the internal issuer of an old one, unless
// that is under way, and deletes those that it supersedes.
func (a *Applier) link(ctx context.Context, domain planner.Ref, action planner.Action, now time.Time) (Outcome, error) {
	var root certmanagerv1.Certificate
	if err := a.Reader.Get(ctx, objectKey(action.Subject), &root); err != nil {
		return Outcome{}, fmt.Errorf("get the Certificate of the new root: %w; the next turn tries again", err)
	}
	issuer, err := a.getIssuer(ctx, action.Issuer)
	if err != nil {
		return Outcome{}, err
	}
	var list certmanagerv1.CertificateRequestList
	if err := a.Reader.List(ctx, &list, client.InNamespace(action.Subject.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return Outcome{}, fmt.Errorf("list its requests: %w; the next turn tries again", err)
	}
	requests := newRequests(list.Items, true)
	first := requests.current(&root)
	if first == nil {
		return Outcome{Detail: "the request that the new root was issued for is gone"}, nil
	}
	sent := requests.linksBetween(domain, &root, issuer)
	if slices.ContainsFunc(sent, func(r *certmanagerv1.CertificateRequest) bool { return readCanary(r).State == planner.CanaryPending }) {
		return Outcome{Detail: "a link is under way"}, nil
	}
	return a.sendLink(ctx, newLink(domain, &root, first, issuer, nextAttempt(sent), action.Until.Sub(now)), sent)
}

func (a *Applier) sendLink(ctx context.Context, link *certmanagerv1.CertificateRequest, sent []*certmanagerv1.CertificateRequest) (Outcome, error) {
	err := a.Writer.Create(ctx, link, client.FieldOwner(v1alpha1.FieldManager))
	if apierrors.IsAlreadyExists(err) {
		return Outcome{Detail: "link " + link.Name + " is under way"}, nil
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("create a link: %w; grant create on %s", err, certificateRequests)
	}
	var errs []error
	for _, old := range sent {
		if err := a.Writer.Delete(ctx, old.DeepCopy()); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("delete the superseded link %s: %w", old.Name, err))
		}
	}
	return Outcome{Done: true, Detail: "link " + link.Name + " was sent"}, errors.Join(errs...)
}

// linksBetween are the requests of links from one key to another.
func (r requests) linksBetween(domain planner.Ref, root *certmanagerv1.Certificate, issuer certmanagerv1.GenericIssuer) []*certmanagerv1.CertificateRequest {
	return slices.DeleteFunc(slices.Clone(r.links), func(request *certmanagerv1.CertificateRequest) bool {
		return !belongs(request, domain) || request.Spec.IssuerRef.Name != issuer.GetName() ||
			request.Labels[v1alpha1.LabelAuthority] != root.Labels[v1alpha1.LabelAuthority] || request.Labels[v1alpha1.LabelKey] != root.Labels[v1alpha1.LabelKey]
	})
}

// newLink is the request that a root was issued for, sent to another issuer: with the same
// usages, since cert-manager refuses others than those in the CSR.
func newLink(domain planner.Ref, root *certmanagerv1.Certificate, first *certmanagerv1.CertificateRequest, by certmanagerv1.GenericIssuer, attempt int, life time.Duration) *certmanagerv1.CertificateRequest {
	labels := domainLabels(domain)
	labels[v1alpha1.LabelLink] = linkLabelValue
	for _, label := range []string{v1alpha1.LabelAuthority, v1alpha1.LabelKey} {
		labels[label] = root.Labels[label]
	}
	return &certmanagerv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: root.Namespace,
			Name:      strings.Join([]string{"link", root.Name, "by", by.GetName(), fmt.Sprint(attempt)}, "-"),
			Labels:    labels,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: certmanagerv1.SchemeGroupVersion.String(), Kind: certmanagerv1.IssuerKind, Name: by.GetName(), UID: by.GetUID(),
			}},
		},
		Spec: certmanagerv1.CertificateRequestSpec{
			Duration:  &metav1.Duration{Duration: life.Truncate(time.Second)},
			IssuerRef: certmanagermeta.IssuerReference{Group: certmanagerv1.SchemeGroupVersion.Group, Kind: certmanagerv1.IssuerKind, Name: by.GetName()},
			Request:   first.Spec.Request,
			IsCA:      true,
			Usages:    first.Spec.Usages,
		},
	}
}

// unlink deletes the request of a link, and nothing that is none.
func (a *Applier) unlink(ctx context.Context, domain planner.Ref, subject planner.Ref) (Outcome, error) {
	var request certmanagerv1.CertificateRequest
	err := a.Reader.Get(ctx, objectKey(subject), &request)
	if apierrors.IsNotFound(err) {
		return Outcome{Detail: "the request is gone"}, nil
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("get the request: %w; the next turn tries again", err)
	}
	if !belongs(&request, domain) || request.Labels[v1alpha1.LabelLink] != linkLabelValue {
		return Outcome{Detail: "the request is no link of ours"}, nil
	}
	uid := request.UID
	if err := a.Writer.Delete(ctx, &request, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return Outcome{}, fmt.Errorf("delete the request: %w; grant delete on %s", err, certificateRequests)
	}
	return Outcome{Done: true, Detail: "the request was deleted"}, nil
}
