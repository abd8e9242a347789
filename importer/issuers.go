package importer

import (
	"cmp"
	"encoding/json"
	"slices"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

	"github.com/reanchor/reanchor/planner"
)

// An issuer is one of cert-manager's, of a namespace or of the cluster.
type issuer struct {
	planner.Ref
	object certmanagerv1.GenericIssuer
}

// issuersOf are all issuers, sorted.
func issuersOf(seen Seen) []issuer {
	var all []issuer
	for i := range seen.Issuers {
		object := &seen.Issuers[i]
		all = append(all, issuer{planner.Ref{Namespace: object.Namespace, Name: object.Name}, object})
	}
	for i := range seen.ClusterIssuers {
		object := &seen.ClusterIssuers[i]
		all = append(all, issuer{planner.Ref{Name: object.Name}, object})
	}
	slices.SortFunc(all, func(a, b issuer) int { return a.Compare(b.Ref) })
	return all
}

// String is "ClusterIssuer fleet" or "Issuer plant/press".
func (i issuer) String() string {
	if i.Namespace == "" {
		return certmanagerv1.ClusterIssuerKind + " " + i.Name
	}
	return certmanagerv1.IssuerKind + " " + i.Ref.String()
}

// home is the namespace of what belongs to the issuer.
func (i issuer) home(clusterNamespace string) string { return cmp.Or(i.Namespace, clusterNamespace) }

// secret is the one that a CA issuer signs with; without a name for any other.
func (i issuer) secret(clusterNamespace string) planner.Ref {
	ca := i.object.GetSpec().CA
	if ca == nil {
		return planner.Ref{}
	}
	return planner.Ref{Namespace: i.home(clusterNamespace), Name: ca.SecretName}
}

// external is the spec, as JSON, of an issuer whose key is not in the cluster; empty for any
// other.
func (i issuer) external() string {
	spec := i.object.GetSpec()
	if spec.ACME == nil && spec.Vault == nil && spec.Venafi == nil {
		return ""
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return ""
	}
	return string(raw)
}
