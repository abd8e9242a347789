package v1alpha1

import "testing"

func referring(references string) string {
	return documents(root, binding("name: b", "scope: Cluster, authority: root, references: ["+references+"]"))
}

const listener = "apiVersion: mqttbroker.iotoperations.azure.com/v1, kind: BrokerListener, namespace: azure-iot-operations, name: default"

func TestValidateReferences(t *testing.T) {
	const issuerRef = "fieldPath: 'spec.ports[0].tls.certManagerCertificateSpec.issuerRef.name'"
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"a field of a custom resource": {referring("{" + listener + ", " + issuerRef + "}"), nil},
		"an annotation of an Ingress":  {referring(`{apiVersion: networking.k8s.io/v1, kind: Ingress, namespace: a, name: b, fieldPath: 'metadata.annotations["cert-manager.io/cluster-issuer"]'}`), nil},
		"of the cluster":               {referring("{apiVersion: example.com/v1, kind: Mesh, name: a, fieldPath: spec.issuer}"), nil},
		"twice": {referring("{" + listener + ", " + issuerRef + "}, {" + listener + ", " + issuerRef + "}"), []string{
			`f.yaml:11: spec.references[1].fieldPath: IssuerBinding b refers to that field already (f.yaml:8), and it can name one issuer: take one of the two out`,
		}},
		"no names": {referring("{apiVersion: a/b/c, kind: 'Bröker', namespace: a.b, name: A_, fieldPath: spec.issuer}"), []string{
			`f.yaml:11: spec.references[0].apiVersion: "a/b/c" is not the version of an API: write "group/version", or "v1"`,
			`f.yaml:11: spec.references[0].kind: "Bröker" is not a kind of object`,
			`f.yaml:11: spec.references[0].name: "A_" is not the name of an object`,
			`f.yaml:11: spec.references[0].namespace: "a.b" is not the name of a namespace`,
		}},
		"a Secret": {referring("{apiVersion: v1, kind: Secret, namespace: a, name: b, fieldPath: data.issuer}"), []string{
			`f.yaml:11: spec.references[0].kind: no reference leads into objects of kind Secret, for no Secret is read: take it out`,
		}},
		"an Issuer": {referring("{apiVersion: cert-manager.io/v1, kind: Issuer, namespace: a, name: b, fieldPath: spec.ca.secretName}"), []string{
			`f.yaml:11: spec.references[0].kind: no reference leads into objects of kind Issuer, for an issuer names a Secret, and no other issuer: take it out`,
		}},
		"a TrustDomain": {referring("{apiVersion: reanchor.dev/v1alpha1, kind: TrustDomain, namespace: a, name: b, fieldPath: spec.interval}"), []string{
			`f.yaml:11: spec.references[0].kind: no reference leads into objects of kind TrustDomain, for documents and TrustDomains name issuers in fields of their own: take it out`,
		}},
		"no path": {referring("{" + listener + ", fieldPath: 'spec.ports[*].name'}"), []string{
			`f.yaml:11: spec.references[0].fieldPath: "spec.ports[*].name" is not the path of a field, spec.ports[0].issuerRef.name say: at byte 11: [*] is no place in a list: want a number from 0 to 9999`,
		}},
		"what nobody declares": {referring("{" + listener + ", fieldPath: status.issuer}, {" + listener + ", fieldPath: metadata.name}, {" + listener + ", fieldPath: kind}, {" + listener + ", fieldPath: 'spec.issuers[0]'}"), []string{
			`f.yaml:11: spec.references[0].fieldPath: "status.issuer" is no field that somebody declares: give one below spec or metadata.annotations, say`,
			`f.yaml:11: spec.references[1].fieldPath: "metadata.name" is no field that somebody declares: give one below spec or metadata.annotations, say`,
			`f.yaml:11: spec.references[2].fieldPath: "kind" is no field that somebody declares: give one below spec or metadata.annotations, say`,
			`f.yaml:11: spec.references[3].fieldPath: "spec.issuers[0]" is no field that somebody declares: give one below spec or metadata.annotations, say`,
		}},
		"elsewhere than the Issuer": {documents(root, binding("name: b", "scope: Namespace, authority: root, references: [{"+listener+", "+issuerRef+"}]")), []string{
			`f.yaml:11: spec.references[0].namespace: an Issuer serves its own namespace alone, which is cert-manager: write cert-manager, or write scope: Cluster`,
		}},
	} {
		t.Run(name, func(t *testing.T) { refusals(t, test.file, Site{}, test.want...) })
	}
}
