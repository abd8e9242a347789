// Package config holds what is installed into a cluster, beside the controller itself: the
// definition of TrustDomain and every permission. The manifests are the ones that
// `kubectl apply -k config/default` applies; `reanchor check` compares a cluster with them.
package config

import "embed"

// Manifests are the files below crd and rbac.
//
//go:embed crd/*.yaml rbac/*.yaml
var Manifests embed.FS

// Files of the manifests.
const (
	// Definition of TrustDomain, a CustomResourceDefinition.
	Definition = "crd/reanchor.dev_trustdomains.yaml"
	// ClusterRole is what the controller may do in the whole cluster, and LeaderElection,
	// a Role beside its binding, what it may do in its own namespace.
	ClusterRole    = "rbac/cluster_role.yaml"
	LeaderElection = "rbac/leader_election.yaml"
)

// Policies are the files with the admission policies that bound the controller's account.
var Policies = []string{"rbac/config_map_policy.yaml", "rbac/secret_policy.yaml", "rbac/workload_policy.yaml"}
