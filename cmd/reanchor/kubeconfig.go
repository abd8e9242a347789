package main

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// loadConfig finds the cluster: the file given by flag, those of KUBECONFIG,
// ~/.kube/config, or the service account of the pod that this runs in.
func loadConfig(kubeconfig string) (*rest.Config, error) {
	return configOf(clientConfig(kubeconfig, ""))
}

// clientConfig looks where loadConfig does, in that context; empty: the current one.
func clientConfig(kubeconfig, context string) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
}

func configOf(loader clientcmd.ClientConfig) (*rest.Config, error) {
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster to talk to: %w: give --kubeconfig FILE, set KUBECONFIG, or run in a pod with a service account", err)
	}
	config.QPS = -1 // the API server's own priority and fairness decide
	config.UserAgent = "reanchor/" + versionOf()
	return config, nil
}
