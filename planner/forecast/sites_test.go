package forecast_test

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/forecast"
	"github.com/reanchor/reanchor/planner/simulation"
)

// now is when all forecasts begin.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

type state struct {
	name  string
	state v1alpha1.KeyState
}

func signing(name string) state     { return state{name, v1alpha1.KeySigning} }
func trusted(name string) state     { return state{name, v1alpha1.KeyTrusted} }
func compromised(name string) state { return state{name, v1alpha1.KeyCompromised} }
func retired(name string) state     { return state{name, v1alpha1.KeyRetired} }

func root(name, subject string, keys ...state) v1alpha1.Authority {
	authority := v1alpha1.Authority{
		Metadata: v1alpha1.Metadata{Name: name, Namespace: "cert-manager"},
		Spec: v1alpha1.AuthoritySpec{
			Subject:    v1alpha1.Subject{CommonName: subject},
			PrivateKey: v1alpha1.PrivateKey{Algorithm: v1alpha1.Ed25519},
			Duration:   duration(87600 * time.Hour),
			Rollover:   v1alpha1.Rollover{Soak: duration(24 * time.Hour), Skew: duration(5 * time.Minute), Confirm: v1alpha1.ConfirmWorkloads},
		},
	}
	for _, key := range keys {
		authority.Spec.Keys = append(authority.Spec.Keys, v1alpha1.AuthorityKey{Name: key.name, State: key.state})
	}
	return authority
}

func under(parent string, authority v1alpha1.Authority) v1alpha1.Authority {
	authority.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: parent}
	authority.Spec.Duration = duration(43800 * time.Hour)
	return authority
}

func binding(name, authority string) v1alpha1.IssuerBinding {
	return v1alpha1.IssuerBinding{Metadata: v1alpha1.Metadata{Name: name}, Spec: v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: authority}}
}

func bundle(name string, authorities ...string) v1alpha1.TrustBundle {
	return v1alpha1.TrustBundle{Metadata: v1alpha1.Metadata{Name: name}, Spec: v1alpha1.TrustBundleSpec{
		Authorities: authorities, Via: v1alpha1.ViaBundle, Target: v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}},
	}}
}

// fleet is a root that signs for an issuer, and a bundle with it.
func fleet(keys ...state) planner.Desired {
	return planner.Desired{
		Authorities: []v1alpha1.Authority{root("fleet-root", "Fleet Root", keys...)},
		Bindings:    []v1alpha1.IssuerBinding{binding("fleet", "fleet-root")},
		Bundles:     []v1alpha1.TrustBundle{bundle("fleet-trust", "fleet-root")},
	}
}

// chain is a root with an intermediate that signs for the issuer.
func chain(rootKeys, issuingKeys []state) planner.Desired {
	return planner.Desired{
		Authorities: []v1alpha1.Authority{under("fleet-root", root("fleet-issuing", "Fleet Issuing", issuingKeys...)), root("fleet-root", "Fleet Root", rootKeys...)},
		Bindings:    []v1alpha1.IssuerBinding{binding("fleet", "fleet-issuing")},
		Bundles:     []v1alpha1.TrustBundle{bundle("fleet-trust", "fleet-root")},
	}
}

func keys(keys ...state) []state { return keys }

func side(name string, desired planner.Desired) forecast.Side {
	digest, err := desired.Digest()
	if err != nil {
		panic(err)
	}
	return forecast.Side{Revision: forecast.Revision{Name: name, Commit: "sha1:" + digest[7:47], Digest: digest}, Desired: desired}
}

// between is what a change in Git comes to, with a broker and a press that Git declares.
func between(base, head planner.Desired) forecast.Request {
	leaf := func(name string) planner.Leaf {
		return planner.Leaf{Ref: planner.Ref{Namespace: "plant", Name: name}, Issuer: planner.Ref{Name: "fleet"}, SecretName: name + "-tls"}
	}
	return forecast.Request{
		Folder: "sites/plant", Base: side("main", base), Head: side("change", head), Now: now,
		Record: planner.Record{Enabled: true}, Users: []planner.Leaf{leaf("broker"), leaf("press")},
	}
}

// plant is a broker and a press that load at their start, and a historian that reloads by
// itself and is a foreign leaf's.
func plant() simulation.Users {
	trust := []planner.Mount{{Name: "fleet-trust", Kind: planner.MountVolume}}
	user := func(namespace, name string) (planner.Leaf, planner.Workload) {
		ref := planner.Ref{Namespace: namespace, Name: name}
		return planner.Leaf{Ref: ref, Issuer: planner.Ref{Name: "fleet"}, SecretName: name + "-tls"},
			planner.Workload{Kind: "Deployment", Ref: ref, Bundles: trust, Secrets: []planner.Mount{{Name: name + "-tls", Kind: planner.MountVolume}}}
	}
	users := simulation.Users{Namespaces: []string{"office", "plant"}}
	for _, at := range [][2]string{{"plant", "broker"}, {"plant", "press"}, {"office", "historian"}} {
		leaf, workload := user(at[0], at[1])
		if at[1] == "historian" {
			leaf.Foreign, workload.Reloads = true, 2*time.Minute
		}
		users.Leaves, users.Workloads = append(users.Leaves, leaf), append(users.Workloads, workload)
	}
	return users
}
