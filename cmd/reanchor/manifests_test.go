package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// shipped builds a folder of config as kubectl does.
func shipped(t *testing.T, folder string) resmap.ResMap {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../../config/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// object of a kind and a name among what was built, which knows no other fields.
func object[T any](t *testing.T, built resmap.ResMap, kind, name string) T {
	t.Helper()
	var found T
	for _, resource := range built.Resources() {
		if resource.GetKind() != kind || resource.GetName() != name {
			continue
		}
		text, err := resource.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		strict := json.NewDecoder(bytes.NewReader(text))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&found); err != nil {
			t.Fatalf("%s %s: %v", kind, name, err)
		}
		return found
	}
	t.Fatalf("there is no %s %s", kind, name)
	return found
}

// Both Deployments run a verb of the program with flags that it has, and serve where their
// ports and probes say.
func TestShippedArguments(t *testing.T) {
	for folder, newVerb := range map[string]func() *cobra.Command{"default": newController, "registrar": newRegistrar} {
		deployment := object[appsv1.Deployment](t, shipped(t, folder), "Deployment", "reanchor-"+newVerb().Name())
		container := deployment.Spec.Template.Spec.Containers[0]
		verb := newVerb()
		if container.Args[0] != verb.Name() {
			t.Errorf("%s runs %s", folder, container.Args[0])
		}
		if err := verb.ParseFlags(container.Args[1:]); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
		for flag, port := range map[string]string{"metrics-addr": "metrics", "health-addr": "health", "listen": "devices"} {
			if verb.Flags().Lookup(flag) == nil {
				continue
			}
			_, number, err := net.SplitHostPort(verb.Flags().Lookup(flag).Value.String())
			if err != nil || !slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == port && fmt.Sprint(p.ContainerPort) == number }) {
				t.Errorf("%s: --%s is %s, and the ports are %v", folder, flag, number, container.Ports)
			}
		}
		for probe, at := range map[*corev1.Probe]string{container.LivenessProbe: "/healthz", container.ReadinessProbe: "/readyz"} {
			if probe.HTTPGet.Path != at || probe.HTTPGet.Port != intstr.FromString("health") {
				t.Errorf("%s asks %s of %v", folder, probe.HTTPGet.Path, probe.HTTPGet.Port)
			}
		}
	}
}

// The shipped flags are ones that the endpoint starts with, and name what is shipped beside
// them: the certificate that is mounted, the account, the namespaces.
func TestShippedRegistrar(t *testing.T) {
	built := shipped(t, "registrar")
	deployment := object[appsv1.Deployment](t, built, "Deployment", registrarName)
	certificate := object[certmanagerv1.Certificate](t, built, "Certificate", "reanchor-registrar-tls")
	object[corev1.ServiceAccount](t, built, "ServiceAccount", deployment.Spec.Template.Spec.ServiceAccountName)
	var flags registrarFlags
	command := &cobra.Command{}
	flags.bind(command)
	container := deployment.Spec.Template.Spec.Containers[0]
	if err := command.ParseFlags(container.Args[1:]); err != nil {
		t.Fatal(err)
	}
	if err := flags.validate(); err != nil {
		t.Error(err)
	}
	if flags.namespace != deployment.Namespace || !slices.Contains(certificate.Spec.DNSNames, flags.proofName) || len(certificate.Spec.DNSNames) < 2 {
		t.Errorf("it serves TrustDomains of %s, and proves by %s", flags.namespace, flags.proofName)
	}
	for _, file := range []string{flags.own.certificate, flags.own.key} {
		if secret := mounted(deployment.Spec.Template.Spec, path.Dir(file)); secret != certificate.Spec.SecretName || secret == "" {
			t.Errorf("%s lies in Secret %q", file, secret)
		}
	}
	for _, namespace := range flags.deviceNamespaces {
		if binding := object[rbacv1.RoleBinding](t, built, "RoleBinding", "reanchor-registrar-devices"); binding.Namespace != namespace {
			t.Errorf("it watches %s, and may look at %s", namespace, binding.Namespace)
		}
	}
	for _, rule := range object[rbacv1.Role](t, built, "Role", registrarName).Rules {
		if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.ResourceNames, []string{"reanchor-git"}) {
			t.Errorf("it reads the Secrets %v", rule.ResourceNames)
		}
	}
}

// mounted is the Secret that is mounted at a folder.
func mounted(pod corev1.PodSpec, folder string) string {
	for _, mount := range pod.Containers[0].VolumeMounts {
		for _, volume := range pod.Volumes {
			if mount.MountPath == folder && mount.ReadOnly && volume.Name == mount.Name && volume.Secret != nil {
				return volume.Secret.SecretName
			}
		}
	}
	return ""
}

// Pods of the endpoint are more than one, spread, and not all taken away at once; what selects
// them selects them and not the controller's.
func TestShippedRegistrarStaysUp(t *testing.T) {
	built := shipped(t, "registrar")
	deployment := object[appsv1.Deployment](t, built, "Deployment", registrarName)
	budget := object[policyv1.PodDisruptionBudget](t, built, "PodDisruptionBudget", registrarName)
	service := object[corev1.Service](t, built, "Service", registrarName)
	if *deployment.Spec.Replicas < 2 || budget.Spec.MaxUnavailable.IntValue() != 1 || deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Errorf("%d replicas, of which %s go at once", *deployment.Spec.Replicas, budget.Spec.MaxUnavailable)
	}
	selectors := []*metav1.LabelSelector{deployment.Spec.Selector, budget.Spec.Selector, {MatchLabels: service.Spec.Selector}}
	for _, spread := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
		selectors = append(selectors, spread.LabelSelector)
	}
	controller := object[appsv1.Deployment](t, shipped(t, "default"), "Deployment", "reanchor-controller")
	for _, given := range selectors {
		selector, err := metav1.LabelSelectorAsSelector(given)
		if err != nil || !selector.Matches(labels.Set(deployment.Spec.Template.Labels)) || selector.Matches(labels.Set(controller.Spec.Template.Labels)) {
			t.Errorf("%v selects others: %v", given, err)
		}
	}
	if len(selectors) != 5 || service.Spec.Ports[0].TargetPort != intstr.FromString("devices") {
		t.Errorf("%d selectors; the Service leads to %v", len(selectors), service.Spec.Ports)
	}
}

// Neither Deployment may do more to its node than the strictest pod security allows, and each
// has bounds.
func TestShippedPodsAreRestricted(t *testing.T) {
	for folder, name := range map[string]string{"default": "reanchor-controller", "registrar": registrarName} {
		pod := object[appsv1.Deployment](t, shipped(t, folder), "Deployment", name).Spec.Template.Spec
		if !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || pod.HostNetwork || pod.HostPID {
			t.Errorf("%s: %+v", name, pod.SecurityContext)
		}
		for _, container := range pod.Containers {
			context := container.SecurityContext
			if *context.AllowPrivilegeEscalation || !*context.ReadOnlyRootFilesystem || !slices.Equal(context.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(context.Capabilities.Add) > 0 {
				t.Errorf("%s: %+v", name, context)
			}
			if container.Resources.Limits.Memory().IsZero() || container.Resources.Requests.Cpu().IsZero() || !strings.HasPrefix(container.Image, "reanchor:") {
				t.Errorf("%s: %s with %v", name, container.Image, container.Resources)
			}
		}
	}
}
