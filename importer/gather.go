package importer

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reanchor/reanchor/applier"
	"github.com/reanchor/reanchor/planner"
)

// Seen is what the cluster holds, as far as it is looked at.
type Seen struct {
	// Now is when it was looked at.
	Now time.Time
	// ClusterResourceNamespace is where cert-manager keeps the Secrets of ClusterIssuers.
	ClusterResourceNamespace string

	Certificates   []certmanagerv1.Certificate
	Requests       []certmanagerv1.CertificateRequest
	Issuers        []certmanagerv1.Issuer
	ClusterIssuers []certmanagerv1.ClusterIssuer
	// Bundles of trust-manager; none where that is not installed.
	Bundles []unstructured.Unstructured
	// ConfigMaps that hold a certificate.
	ConfigMaps []corev1.ConfigMap
	// Secrets are the tls.crt of Secrets that CA issuers sign with, by their names; empty
	// if they were not to be read.
	Secrets map[planner.Ref][]byte
}

// Options of [Gather].
type Options struct {
	// Now is the time.
	Now time.Time
	// ClusterResourceNamespace of cert-manager; empty means
	// [applier.DefaultClusterResourceNamespace].
	ClusterResourceNamespace string
	// ReadSecrets reads the tls.crt of the Secrets that CA issuers sign with.
	ReadSecrets bool
}

// Gather looks at the cluster. Its reader's scheme must know the types of
// [applier.AddToScheme]. Whatever may not be listed is an error: a description of half a
// cluster would leave out who needs what.
func Gather(ctx context.Context, reader client.Reader, options Options) (Seen, error) {
	seen := Seen{Now: options.Now, ClusterResourceNamespace: cmp.Or(options.ClusterResourceNamespace, applier.DefaultClusterResourceNamespace)}
	var certificates certmanagerv1.CertificateList
	var requests certmanagerv1.CertificateRequestList
	var issuers certmanagerv1.IssuerList
	var clusterIssuers certmanagerv1.ClusterIssuerList
	var configMaps corev1.ConfigMapList
	for _, list := range []struct {
		what string
		into client.ObjectList
	}{
		{"certificates.cert-manager.io", &certificates},
		{"certificaterequests.cert-manager.io", &requests},
		{"issuers.cert-manager.io", &issuers},
		{"clusterissuers.cert-manager.io", &clusterIssuers},
		{"configmaps", &configMaps},
	} {
		if err := reader.List(ctx, list.into); err != nil {
			return Seen{}, fmt.Errorf("list %s in all namespaces: %w; grant list on it, or install cert-manager", list.what, err)
		}
	}
	seen.Certificates, seen.Requests = certificates.Items, requests.Items
	seen.Issuers, seen.ClusterIssuers = issuers.Items, clusterIssuers.Items
	seen.ConfigMaps = withCertificates(configMaps.Items)
	var err error
	if seen.Bundles, err = listBundles(ctx, reader); err != nil {
		return Seen{}, err
	}
	if options.ReadSecrets {
		seen.Secrets, err = readSecrets(ctx, reader, seen)
	}
	return seen, err
}

// withCertificates are the ConfigMaps that hold one.
func withCertificates(all []corev1.ConfigMap) []corev1.ConfigMap {
	var found []corev1.ConfigMap
	for _, configMap := range all {
		for _, text := range configMap.Data {
			if strings.Contains(text, "-----BEGIN CERTIFICATE-----") {
				found = append(found, configMap)
				break
			}
		}
	}
	return found
}

// listBundles lists trust-manager's Bundles; none where it is not installed.
func listBundles(ctx context.Context, reader client.Reader) ([]unstructured.Unstructured, error) {
	var bundles unstructured.UnstructuredList
	bundles.SetGroupVersionKind(schema.GroupVersionKind{Group: "trust.cert-manager.io", Version: "v1alpha1", Kind: "BundleList"})
	if err := reader.List(ctx, &bundles); err != nil && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("list bundles.trust.cert-manager.io: %w; grant list on it", err)
	}
	return bundles.Items, nil
}

// readSecrets reads the certificates in the Secrets that CA issuers name. One that is not
// there has none.
func readSecrets(ctx context.Context, reader client.Reader, seen Seen) (map[planner.Ref][]byte, error) {
	read := map[planner.Ref][]byte{}
	for _, issuer := range issuersOf(seen) {
		place := issuer.secret(seen.ClusterResourceNamespace)
		if _, known := read[place]; known || place.Name == "" {
			continue
		}
		var secret corev1.Secret
		err := reader.Get(ctx, client.ObjectKey{Namespace: place.Namespace, Name: place.Name}, &secret)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read the certificate in the Secret %s: %w; grant get on it, or import without --read-secrets", place, err)
		}
		read[place] = secret.Data[corev1.TLSCertKey]
	}
	return read, nil
}
