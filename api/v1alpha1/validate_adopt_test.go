package v1alpha1

import "testing"

// asks is a document's metadata with the annotation that asks for what stands there.
func asks(name, value string) string {
	return "metadata: {name: " + name + ", annotations: {reanchor.dev/adopt: " + value + "}}\n"
}

func TestValidateAdoption(t *testing.T) {
	const field = ": metadata.annotations[reanchor.dev/adopt]: "
	for name, test := range map[string]struct {
		document string
		want     []string
	}{
		"a binding":       {"kind: IssuerBinding\n" + asks("fleet", "'true'") + "spec: {scope: Cluster, authority: root}\n", nil},
		"a bundle":        {"kind: TrustBundle\n" + asks("t", "'true'") + "spec: {authorities: [root], " + toConfigMap + "}\n", nil},
		"another value":   {"kind: IssuerBinding\n" + asks("fleet", "'yes'") + "spec: {scope: Cluster, authority: root}\n", []string{`f.yaml:10` + field + `"yes" says neither yes nor no: write "true", or take it out`}},
		"copies of ours":  {"kind: TrustBundle\n" + asks("t", "'true'") + "spec: {via: ConfigMap, authorities: [root], " + toConfigMap + "}\n", []string{`f.yaml:10` + field + `is for a Bundle of trust-manager's, and with via: ConfigMap there is none to take over: take it out`}},
		"copies observed": {"kind: TrustBundle\n" + asks("t", "'true'") + "spec: {via: Observed, authorities: [root], " + toConfigMap + "}\n", []string{`f.yaml:10` + field + `is for a Bundle of trust-manager's, and with via: Observed there is none to take over: take it out`}},
		"an authority": {
			"kind: Authority\nmetadata: {name: other, namespace: cert-manager, annotations: {reanchor.dev/adopt: 'true'}}\nspec:\n  subject: {commonName: Other}\n" + keysLine,
			[]string{`f.yaml:10` + field + `is for an IssuerBinding or a TrustBundle, whose issuer or Bundle is taken over: take it out`},
		},
	} {
		t.Run(name, func(t *testing.T) { refusals(t, root+separator+head+test.document, Site{}, test.want...) })
	}
}
