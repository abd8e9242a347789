package main

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// loadConfig finds the cluster: the file given by flag, those of KUBECONFIG,
// ~/.kube/config, or the service account of the pod that this runs in.
func loadConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster to talk to: %w: give --kubeconfig FILE, set KUBECONFIG, or run in a pod with a service account", err)
	}
	config.QPS = -1 // the API server's own priority and fairness decide
	config.UserAgent = "reanchor/" + versionOf()
	return config, nil
}
