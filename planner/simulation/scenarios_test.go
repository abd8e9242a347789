package simulation_test

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/planner/simulation"
)

// state is one line of an authority's keys: "2025 Signing".
type state struct {
	name  string
	state v1alpha1.KeyState
}

func signing(name string) state { return state{name, v1alpha1.KeySigning} }
func trusted(name string) state { return state{name, v1alpha1.KeyTrusted} }
func retired(name string) state { return state{name, v1alpha1.KeyRetired} }

// compromised: somebody else may sign with it.
func compromised(name string) state { return state{name, v1alpha1.KeyCompromised} }

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// root declares a self-signed root in cert-manager's namespace.
func root(name string, keys ...state) v1alpha1.Authority {
	authority := v1alpha1.Authority{
		Metadata: v1alpha1.Metadata{Name: name, Namespace: "cert-manager"},
		Spec: v1alpha1.AuthoritySpec{
			Subject:    v1alpha1.Subject{CommonName: name},
			PrivateKey: v1alpha1.PrivateKey{Algorithm: v1alpha1.Ed25519},
			Duration:   duration(87600 * time.Hour),
			Rollover:   v1alpha1.Rollover{Soak: duration(time.Minute), Skew: duration(30 * time.Second), Confirm: v1alpha1.ConfirmDevices, WaitForOffline: duration(time.Hour)},
		},
	}
	for _, key := range keys {
		authority.Spec.Keys = append(authority.Spec.Keys, v1alpha1.AuthorityKey{Name: key.name, State: key.state})
	}
	return authority
}

func binding(name, authority string) v1alpha1.IssuerBinding {
	return v1alpha1.IssuerBinding{
		Metadata: v1alpha1.Metadata{Name: name},
		Spec:     v1alpha1.IssuerBindingSpec{Scope: v1alpha1.ScopeCluster, Authority: authority},
	}
}

func bundle(name string, authorities ...string) v1alpha1.TrustBundle {
	return v1alpha1.TrustBundle{
		Metadata: v1alpha1.Metadata{Name: name},
		Spec: v1alpha1.TrustBundleSpec{
			Authorities: authorities,
			Via:         v1alpha1.ViaBundle,
			Target:      v1alpha1.BundleTarget{ConfigMap: v1alpha1.ConfigMapTarget{Key: "ca.crt"}},
		},
	}
}

// group is one of devices for which a ClusterIssuer signs.
func group(name, issuer string) v1alpha1.DeviceGroup {
	return v1alpha1.DeviceGroup{
		Metadata: v1alpha1.Metadata{Name: name},
		Spec:     v1alpha1.DeviceGroupSpec{Issuer: v1alpha1.IssuerReference{Name: issuer, Kind: v1alpha1.KindClusterIssuer}, Namespace: "workload"},
	}
}

// fleet declares one root with its issuer and its bundle.
func fleet(keys ...state) planner.Desired {
	return planner.Desired{
		Authorities: []v1alpha1.Authority{root("fleet-root", keys...)},
		Bindings:    []v1alpha1.IssuerBinding{binding("fleet", "fleet-root")},
		Bundles:     []v1alpha1.TrustBundle{bundle("fleet-trust", "fleet-root")},
	}
}

// issuing declares an intermediate, in a namespace of its own if one is named.
func issuing(name, namespace, parent string, keys ...state) v1alpha1.Authority {
	authority := root(name, keys...)
	authority.Spec.IssuedBy = &v1alpha1.AuthorityReference{Name: parent}
	authority.Spec.Duration = duration(43800 * time.Hour)
	if namespace != "" {
		authority.Metadata.Namespace = namespace
	}
	return authority
}

// chain declares the root without an issuer of its own, and an intermediate with one.
func chain(rootKeys, issuingKeys []state) planner.Desired {
	return planner.Desired{
		Authorities: []v1alpha1.Authority{issuing("fleet-issuing", "", "fleet-root", issuingKeys...), root("fleet-root", rootKeys...)},
		Bindings:    []v1alpha1.IssuerBinding{binding("fleet", "fleet-issuing")},
		Bundles:     []v1alpha1.TrustBundle{bundle("fleet-trust", "fleet-root")},
	}
}

func keys(keys ...state) []state { return keys }

// plant is a broker and a supervisor that load at their start and a client that
// reloads by itself; all verify each other.
func plant() simulation.Users {
	trust := []planner.Mount{{Name: "fleet-trust", Kind: planner.MountVolume}}
	tls := func(secret string) []planner.Mount {
		return []planner.Mount{{Name: secret, Kind: planner.MountVolume}}
	}
	leaf := func(namespace, name string) planner.Leaf {
		return planner.Leaf{Ref: planner.Ref{Namespace: namespace, Name: name}, Issuer: planner.Ref{Name: "fleet"}, SecretName: name + "-tls"}
	}
	return simulation.Users{
		Namespaces: []string{"operations", "workload"},
		Leaves:     []planner.Leaf{leaf("operations", "broker"), leaf("operations", "supervisor"), leaf("workload", "client")},
		Workloads: []planner.Workload{
			{Ref: planner.Ref{Namespace: "operations", Name: "broker"}, Bundles: trust, Secrets: tls("broker-tls")},
			{Ref: planner.Ref{Namespace: "operations", Name: "supervisor"}, Bundles: trust, Secrets: tls("supervisor-tls")},
			{Ref: planner.Ref{Namespace: "workload", Name: "client"}, Bundles: trust, Secrets: tls("client-tls"), Reloads: 30 * time.Second},
		},
	}
}
