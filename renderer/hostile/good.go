package hostile

import (
	"fmt"
	"strings"
)

// Fleet is a root with two keys, an issuer that is bound to it, and a bundle, as a txtar
// archive.
const Fleet = `
-- kustomization.yaml --
resources: [pki.yaml]
-- pki.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: fleet-root, namespace: cert-manager}
spec:
  subject: {commonName: Fleet Root}
  keys:
  - {name: "2025", state: Trusted}
  - {name: "2026", state: Signing}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: fleet}
spec: {scope: Cluster, authority: fleet-root}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: fleet-trust}
spec:
  authorities: [fleet-root]
  target: {configMap: {key: ca.crt}}
`

// Good are repositories that must be taken, one for each place that a key, a bundle or an
// issuer may come from.
func Good() []Tree {
	return []Tree{
		{Name: "keys made here", Files: with("")},
		{Name: "a folder, a base and an overlay", Folder: "clusters/plant", Files: files(layered)},
		{Name: "keys from elsewhere", Files: files(elsewhere("-- kustomization.yaml --\nresources: [pki.yaml, native.yaml]\n"))},
		{Name: "an overlay over what comes from elsewhere", Files: files(elsewhere("-- kustomization.yaml --\nresources: [pki.yaml, native.yaml]\n" + overlay(
			`kind: ConfigMap, name: own-trust`, `op: add, path: /metadata/labels/team, value: plant`,
		)))},
	}
}

const layered = `
-- base/kustomization.yaml --
resources: [pki.yaml]
-- base/pki.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: root, namespace: cert-manager}
spec: {subject: {commonName: Root}, keys: [{name: "2025", state: Signing}]}
-- clusters/plant/kustomization.yaml --
resources: [../../base]
patches:
- patch: |
    apiVersion: reanchor.dev/v1alpha1
    kind: Authority
    metadata: {name: root, namespace: cert-manager}
    spec: {keys: [{name: "2026", state: Trusted}]}
-- clusters/plant/overlay/kustomization.yaml --
kind: Component
patches:
- target: {kind: Certificate}
  patch: |
    - {op: add, path: /spec/secretTemplate, value: {labels: {backup: "true"}}}
`

// elsewhere is the site below, with more files.
func elsewhere(more string) string {
	return strings.NewReplacer(
		"PLANT_ROOT", block(6, Root("Plant Root").PEM()), "OFFLINE_ROOT", block(6, Root("Offline Root").PEM()),
		"ISSUING", block(6, Intermediate("Issuing", "Offline Root").PEM()), "VAULT", block(6, Root("Vault").PEM()),
		"SITE_B", fmt.Sprintf("%q", Root("Site B").PEM()),
	).Replace(site) + more
}

// site is one whose every key comes from elsewhere: a root in a Secret, an offline
// root with an intermediate below it, and a key behind Vault. Its bundles are written by
// trust-manager, by reanchor and by somebody else, and native issuers and Certificates
// stand beside them. The names in capitals stand for certificates.
const site = `
-- pki.yaml --
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: plant-root, namespace: cert-manager}
spec:
  keys:
  - name: "2026"
    state: Signing
    secret: {name: plant-ca}
    certificate: PLANT_ROOT
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: offline-root, namespace: cert-manager}
spec:
  keys:
  - name: "2026"
    state: Signing
    certificate: OFFLINE_ROOT
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: issuing, namespace: plant}
spec:
  issuedBy: {name: offline-root}
  keys:
  - name: a
    state: Signing
    secret: {name: issuing-ca}
    certificate: ISSUING
---
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: vault, namespace: plant}
spec:
  keys:
  - name: "1"
    state: Signing
    issuer: {vault: {server: "https://vault.example", path: pki/sign/plant, auth: {kubernetes: {role: plant, serviceAccountRef: {name: vault}}}}}
    certificate: VAULT
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: plant}
spec: {scope: Cluster, authority: plant-root}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: lines}
spec: {scope: Namespace, authority: issuing}
---
apiVersion: reanchor.dev/v1alpha1
kind: IssuerBinding
metadata: {name: outside}
spec: {scope: Namespace, authority: vault}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: trust}
spec:
  authorities: [plant-root, offline-root, vault]
  certificates: [SITE_B]
  useDefaultCAs: true
  target:
    configMap: {key: ca.crt}
    additionalFormats: {pkcs12: {key: trust.p12, profile: Modern2023}}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: own-trust}
spec:
  authorities: [plant-root]
  certificates: [SITE_B]
  via: ConfigMap
  target: {configMap: {key: ca.crt}, namespaceSelector: {matchLabels: {trust: own}}}
---
apiVersion: reanchor.dev/v1alpha1
kind: TrustBundle
metadata: {name: their-trust}
spec: {authorities: [plant-root], via: Observed, target: {configMap: {key: ca.crt}}}
-- native.yaml --
{apiVersion: v1, kind: Namespace, metadata: {name: line-a, labels: {trust: own}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: line-b, labels: {trust: own}}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: letsencrypt, namespace: plant}
spec:
  acme:
    server: https://acme.example/directory
    privateKeySecretRef: {name: account}
    solvers: [{http01: {ingress: {ingressClassName: nginx}}}]
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: plant}
spec: {secretName: web, dnsNames: [web.example], issuerRef: {name: letsencrypt}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: plant-ca, namespace: cert-manager}
spec: {isCA: true, commonName: Plant Root, secretName: plant-ca, renewal: {policy: Disabled}, issuerRef: {name: corporate, kind: ClusterIssuer}}
`
