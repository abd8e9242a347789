package preflight

import (
	"context"
	"fmt"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	certmanagermeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const installCertManager = "install cert-manager 1.21 or newer: https://cert-manager.io/docs/installation/"

// certManagerDefinitions are those that are needed, in version v1.
var certManagerDefinitions = []string{"certificates", "certificaterequests", "issuers", "clusterissuers"}

// labelVersion and labelName are what installations commonly label with.
const (
	labelVersion = "app.kubernetes.io/version"
	labelName    = "app.kubernetes.io/name"
)

func (l *look) certManager(ctx context.Context) bool {
	for _, name := range certManagerDefinitions {
		definition := l.definition(ctx, name+".cert-manager.io", "v1", installCertManager)
		if definition != nil && name == "certificates" {
			l.certificates(definition)
		}
	}
	l.webhook(ctx)
	l.deployments(ctx, "cert-manager", "see its Deployment")
	return true
}

// definition is a CustomResourceDefinition that serves that version; nil if it does not, or
// was not seen, which is told.
func (l *look) definition(ctx context.Context, name, version, hint string) *apiextensionsv1.CustomResourceDefinition {
	found := &apiextensionsv1.CustomResourceDefinition{}
	switch err := l.Get(ctx, client.ObjectKey{Name: name}, found); {
	case isAbsent(err):
		l.fail(hint, "the cluster does not know %s", name)
		return nil
	case err != nil:
		l.unseen("the definition of "+name, err)
		return nil
	}
	if !serves(found, version) {
		l.fail(hint, "%s is not served in version %s", name, version)
		return nil
	}
	l.pass("%s is served in version %s", name, version)
	return found
}

// serves reports whether a definition is established and serves a version.
func serves(definition *apiextensionsv1.CustomResourceDefinition, version string) bool {
	established, served := false, false
	for _, condition := range definition.Status.Conditions {
		established = established || condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue
	}
	for _, v := range definition.Spec.Versions {
		served = served || v.Name == version && v.Served
	}
	return established && served
}

// certificates tells whether cert-manager knows what the keys' Certificates say.
func (l *look) certificates(definition *apiextensionsv1.CustomResourceDefinition) {
	what := "Certificates know renewal.policy"
	if version := definition.Labels[labelVersion]; version != "" {
		what += " (cert-manager " + version + ")"
	}
	if hasField(definition, "v1", "spec", "renewal", "policy") {
		l.pass("%s", what)
		return
	}
	l.fail("upgrade cert-manager to 1.21 or newer: without renewal.policy it renews CAs by itself", "not so: %s", what)
}

// hasField reports whether the schema of a version has a field.
func hasField(definition *apiextensionsv1.CustomResourceDefinition, version string, path ...string) bool {
	for _, v := range definition.Spec.Versions {
		if v.Name != version || v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		schema, known := *v.Schema.OpenAPIV3Schema, true
		for _, name := range path {
			if schema, known = schema.Properties[name]; !known {
				return false
			}
		}
		return true
	}
	return false
}

// webhook asks cert-manager's webhook for its verdict on a Certificate that it must refuse,
// as a dry run.
func (l *look) webhook(ctx context.Context) {
	err := l.Create(ctx, refusable(l.options.Namespace), client.DryRunAll)
	l.tell(judgeWebhook(l.section, err))
}

// refusable is a Certificate that the API server takes and the webhook does not: it lives
// for less than an hour.
func refusable(namespace string) *certmanagerv1.Certificate {
	return &certmanagerv1.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "reanchor-check-"},
		Spec: certmanagerv1.CertificateSpec{
			SecretName: "reanchor-check", CommonName: "reanchor check", Duration: &metav1.Duration{Duration: time.Minute},
			IssuerRef: certmanagermeta.IssuerReference{Name: "reanchor-check"},
		},
	}
}

// judgeWebhook says what the answer to a Certificate means that must be refused.
func judgeWebhook(section string, err error) Result {
	const mend = "see that cert-manager's webhook runs, and that the API server reaches it"
	switch {
	case err == nil:
		return Result{section, Warned, "the webhook was not asked about a Certificate: mistakes are found late", mend}
	case strings.Contains(err.Error(), "failed calling webhook"):
		return Result{section, Failed, fmt.Sprintf("the webhook does not answer: %v", err), mend}
	case strings.Contains(err.Error(), "denied the request"):
		return Result{Section: section, Outcome: Passed, Found: "the webhook answers"}
	}
	return Result{section, Warned, fmt.Sprintf("the webhook could not be asked: %v", err), "ask somebody who may create Certificates, or make the controller's namespace first"}
}

// deployments of a program, known by their label, must be available. Where there is none
// nothing is known: it may run in another way.
func (l *look) deployments(ctx context.Context, program, hint string) {
	var list appsv1.DeploymentList
	if err := l.List(ctx, &list, client.MatchingLabels{labelName: program}); err != nil {
		l.unseen("the Deployment of "+program, err)
		return
	}
	if len(list.Items) == 0 {
		l.warn("see yourself that it runs", "no Deployment is labelled %s=%s: whether it runs is not known", labelName, program)
	}
	for _, deployment := range list.Items {
		l.available(deployment, hint)
	}
}

// available tells whether a Deployment is.
func (l *look) available(deployment appsv1.Deployment, hint string) {
	name := deployment.Namespace + "/" + deployment.Name
	if ready := deployment.Status.AvailableReplicas; ready > 0 {
		l.pass("Deployment %s is available%s", name, versionIn(deployment.Labels))
		return
	}
	l.fail(hint+": kubectl describe deployment "+deployment.Name+" -n "+deployment.Namespace, "Deployment %s is not available", name)
}

func versionIn(labels map[string]string) string {
	if version := labels[labelVersion]; version != "" {
		return " (" + version + ")"
	}
	return ""
}
