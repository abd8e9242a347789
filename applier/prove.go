package applier

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
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

const (
	// canaryLabelValue is the value of the label reanchor.dev/canary.
	canaryLabelValue = "true"
	// canaryCommonName says what the certificate is, should anybody meet it.
	canaryCommonName = "reanchor canary"
	// canaryDuration is the shortest that cert-manager grants.
	canaryDuration = time.Hour
)

// prove sends a canary through an issuer, unless one for that generation is still
// under way, and deletes those that it supersedes.
func (a *Applier) prove(ctx context.Context, domain planner.Ref, action planner.Action) (Outcome, error) {
	issuer, err := a.getIssuer(ctx, action.Subject)
	if err != nil {
		return Outcome{}, err
	}
	if issuer.GetGeneration() != action.Generation {
		return Outcome{Detail: fmt.Sprintf("the issuer is at generation %d, not %d; the next turn proves it", issuer.GetGeneration(), action.Generation)}, nil
	}
	sent, err := a.canaries(ctx, domain, issuer)
	if err != nil {
		return Outcome{}, err
	}
	if len(sent) > 0 {
		if last := readCanary(sent[0]); last.State == planner.CanaryPending && last.Generation == action.Generation {
			return Outcome{Detail: "canary " + last.Name + " is under way"}, nil
		}
	}
	return a.sendCanary(ctx, domain, issuer, sent)
}

func (a *Applier) getIssuer(ctx context.Context, ref planner.Ref) (certmanagerv1.GenericIssuer, error) {
	var issuer certmanagerv1.GenericIssuer = &certmanagerv1.Issuer{}
	if ref.Namespace == "" {
		issuer = &certmanagerv1.ClusterIssuer{}
	}
	if err := a.Reader.Get(ctx, objectKey(ref), issuer); err != nil {
		return nil, fmt.Errorf("get the issuer: %w", err)
	}
	return issuer, nil
}

// canaries are those of an issuer, newest first.
func (a *Applier) canaries(ctx context.Context, domain planner.Ref, issuer certmanagerv1.GenericIssuer) ([]*certmanagerv1.CertificateRequest, error) {
	labels := domainLabels(domain)
	labels[v1alpha1.LabelCanary] = canaryLabelValue
	var list certmanagerv1.CertificateRequestList
	namespace := client.InNamespace(clusterNamespace(refOf(issuer), a.ClusterResourceNamespace))
	if err := a.Reader.List(ctx, &list, namespace, labels, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list its canaries: %w", err)
	}
	return newRequests(list.Items, true).canaries[issuer.GetUID()], nil
}

func (a *Applier) sendCanary(ctx context.Context, domain planner.Ref, issuer certmanagerv1.GenericIssuer, sent []*certmanagerv1.CertificateRequest) (Outcome, error) {
	canary, err := a.newCanary(domain, issuer, nextAttempt(sent))
	if err != nil {
		return Outcome{}, err
	}
	err = a.Writer.Create(ctx, canary, client.FieldOwner(v1alpha1.FieldManager))
	if apierrors.IsAlreadyExists(err) {
		return Outcome{Detail: "canary " + canary.Name + " is under way"}, nil
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("create a canary: %w; grant create on %s", err, certificateRequests)
	}
	if err := a.deleteCanaries(ctx, superseded(sent)); err != nil {
		return Outcome{}, err
	}
	return Outcome{Done: true, Detail: "canary " + canary.Name + " was sent"}, nil
}

// superseded are the canaries that another is sent after, given newest first, but for
// the newest and the newest that came back signed, which is still the proof.
func superseded(sent []*certmanagerv1.CertificateRequest) []*certmanagerv1.CertificateRequest {
	proof := slices.IndexFunc(sent, func(canary *certmanagerv1.CertificateRequest) bool {
		return readCanary(canary).State == planner.CanarySigned
	})
	var old []*certmanagerv1.CertificateRequest
	for i, canary := range sent {
		if i != 0 && i != proof {
			old = append(old, canary)
		}
	}
	return old
}

func (a *Applier) deleteCanaries(ctx context.Context, superseded []*certmanagerv1.CertificateRequest) error {
	var errs []error
	for _, canary := range superseded {
		if err := a.Writer.Delete(ctx, canary.DeepCopy()); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("delete the superseded canary %s: %w", canary.Name, err))
		}
	}
	return errors.Join(errs...)
}

// nextAttempt is a number that no canary of the issuer has. Two that send at the
// same time choose the same one, and the second fails: one canary is enough.
func nextAttempt(sent []*certmanagerv1.CertificateRequest) int {
	last := 0
	for _, canary := range sent {
		last = max(last, attemptOf(canary.Name))
	}
	return last + 1
}

// canaryName is "canary-clusterissuer-fleet-3-1": the issuer, its generation, the
// attempt.
func canaryName(kind, issuer string, generation int64, attempt int) string {
	return fmt.Sprintf("canary-%s-%s-%d-%d", strings.ToLower(kind), issuer, generation, attempt)
}

// attemptOf is the attempt in a canary's name; 0 if it has none.
func attemptOf(name string) int {
	attempt, _ := strconv.Atoi(name[strings.LastIndex(name, "-")+1:])
	return attempt
}

func (a *Applier) newCanary(domain planner.Ref, issuer certmanagerv1.GenericIssuer, attempt int) (*certmanagerv1.CertificateRequest, error) {
	request, err := throwawayRequest()
	if err != nil {
		return nil, fmt.Errorf("make the canary's request: %w", err)
	}
	kind := certmanagerv1.IssuerKind
	if issuer.GetNamespace() == "" {
		kind = certmanagerv1.ClusterIssuerKind
	}
	return &certmanagerv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   clusterNamespace(refOf(issuer), a.ClusterResourceNamespace),
			Name:        canaryName(kind, issuer.GetName(), issuer.GetGeneration(), attempt),
			Labels:      canaryLabels(domain, issuer),
			Annotations: map[string]string{v1alpha1.AnnotationIssuerGeneration: strconv.FormatInt(issuer.GetGeneration(), 10)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: certmanagerv1.SchemeGroupVersion.String(), Kind: kind, Name: issuer.GetName(), UID: issuer.GetUID(),
			}},
		},
		Spec: certmanagerv1.CertificateRequestSpec{
			Duration:  &metav1.Duration{Duration: canaryDuration},
			IssuerRef: certmanagermeta.IssuerReference{Group: certmanagerv1.SchemeGroupVersion.Group, Kind: kind, Name: issuer.GetName()},
			Request:   request,
			Usages:    []certmanagerv1.KeyUsage{certmanagerv1.UsageDigitalSignature},
		},
	}, nil
}

// canaryLabels tell whose a canary is: beside the domain's labels, those by which the
// issuer says which binding or key it belongs to.
func canaryLabels(domain planner.Ref, issuer certmanagerv1.GenericIssuer) map[string]string {
	labels := domainLabels(domain)
	labels[v1alpha1.LabelCanary] = canaryLabelValue
	for _, label := range []string{v1alpha1.LabelBinding, v1alpha1.LabelAuthority, v1alpha1.LabelKey} {
		if value, has := issuer.GetLabels()[label]; has {
			labels[label] = value
		}
	}
	return labels
}

// throwawayRequest is a CSR (RFC 2986) in PEM. Its key is dropped here, so that
// nobody can ever use the certificate.
func throwawayRequest() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: canaryCommonName}}, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}
