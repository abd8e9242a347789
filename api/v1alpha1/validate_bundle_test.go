package v1alpha1

import (
	"crypto/x509"
	"strings"
	"testing"
)

// bundleOf is a TrustBundle on 4 lines, its spec on the fourth.
func bundleOf(name, spec string) string {
	return head + "kind: TrustBundle\nmetadata: {name: " + name + "}\nspec: {" + spec + "}\n"
}

const toConfigMap = "target: {configMap: {key: ca.crt}}"

func TestValidateBundles(t *testing.T) {
	const field = "f.yaml:4: spec.target"
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"public CAs alone": {bundleOf("t", "useDefaultCAs: true, "+toConfigMap), nil},
		"nothing":          {bundleOf("t", toConfigMap), []string{`f.yaml:4: spec.authorities: is missing: a bundle needs an authority, a certificate or useDefaultCAs`}},
		"everything that trust-manager offers": {
			bundleOf("t", "useDefaultCAs: true, target: {configMap: {key: ca.crt}, secret: {key: ca.crt}, "+
				"additionalFormats: {jks: {key: trust.jks}, pkcs12: {key: trust.p12, password: \"\", profile: Modern2023}}}"), nil,
		},
		"a Secret alone": {bundleOf("t", "useDefaultCAs: true, target: {secret: {key: ca.crt}}"), nil},
		"no target":      {bundleOf("t", "useDefaultCAs: true, target: {}"), []string{field + `: is empty: say in configMap, in secret or in both which key of a copy holds the PEM`}},
		"one key for two outputs": {
			bundleOf("t", "useDefaultCAs: true, target: {configMap: {key: a}, secret: {key: b}, additionalFormats: {jks: {key: b}, pkcs12: {key: b}}}"),
			[]string{
				field + `.additionalFormats.jks.key: "b" holds the PEM already: give each output a key of its own`,
				field + `.additionalFormats.pkcs12.key: "b" holds the Java keystore already: give each output a key of its own`,
			},
		},
		"keys that are none": {
			bundleOf("t", "useDefaultCAs: true, target: {secret: {key: a/b}, additionalFormats: {jks: {key: \"\"}, pkcs12: {key: ..}}}"),
			[]string{
				field + `.additionalFormats.jks.key: "" is not a ConfigMap's key: use at most 253 letters, digits, '-', '_' and '.'`,
				field + `.additionalFormats.pkcs12.key: ".." is not a ConfigMap's key: use at most 253 letters, digits, '-', '_' and '.'`,
				field + `.secret.key: "a/b" is not a ConfigMap's key: use at most 253 letters, digits, '-', '_' and '.'`,
			},
		},
		"passwords": {
			bundleOf("t", "useDefaultCAs: true, target: {configMap: {key: a}, additionalFormats: {jks: {key: b, password: \"\"}, pkcs12: {key: c, password: \"hush\\tnow\"}}}") + separator +
				bundleOf("u", "useDefaultCAs: true, target: {configMap: {key: a}, additionalFormats: {jks: {key: b, password: "+strings.Repeat("ü", 128)+"}, pkcs12: {key: c, password: "+strings.Repeat("x", 129)+"}}}"),
			[]string{
				field + `.additionalFormats.jks.password: is empty, and a Java keystore needs one: take it out for changeit`,
				field + `.additionalFormats.pkcs12.password: has a control character in it: take one that a person can type`,
				`f.yaml:9: spec.target.additionalFormats.pkcs12.password: has more than the 128 characters that trust-manager takes: shorten it`,
			},
		},
		"via ConfigMap": {bundleOf("t", "via: ConfigMap, authorities: [root], "+toConfigMap) + separator + root, nil},
		"via Observed":  {bundleOf("t", "via: Observed, authorities: [root], "+toConfigMap) + separator + root, nil},
		"what trust-manager alone does": {
			bundleOf("t", "via: ConfigMap, useDefaultCAs: true, target: {secret: {key: a}, additionalFormats: {jks: {key: b}}}") + separator +
				bundleOf("u", "via: Observed, useDefaultCAs: true, target: {configMap: {key: a}}"),
			[]string{
				field + `.additionalFormats: keystores are trust-manager's to write, and not for via: ConfigMap: write via: Bundle, or take it out`,
				field + `.configMap: is missing: with via: ConfigMap each copy is a ConfigMap, so say which key holds the PEM`,
				field + `.secret: copies in Secrets are trust-manager's to write, and not for via: ConfigMap: write via: Bundle, or take it out`,
				`f.yaml:4: spec.useDefaultCAs: is trust-manager's to give, and not for via: ConfigMap: write via: Bundle, or take it out`,
				`f.yaml:9: spec.useDefaultCAs: is trust-manager's to give, and not for via: Observed: write via: Bundle, or take it out`,
			},
		},
		"one name for two": {
			documents(root, bundleOf("t", "authorities: [root], "+toConfigMap), bundleOf("t", "via: ConfigMap, authorities: [root], "+toConfigMap),
				bundleOf("t", "authorities: [root], "+toConfigMap), bundleOf("kube-root-ca.crt", "via: Observed, authorities: [root], "+toConfigMap)),
			[]string{
				`f.yaml:15: metadata.name: ConfigMap t would be the bundle of TrustBundle t, but it is the bundle of TrustBundle t already (f.yaml:8): rename one of them`,
				`f.yaml:20: metadata.name: Bundle t would be the bundle of TrustBundle t, but it is the bundle of TrustBundle t already (f.yaml:8): rename one of them`,
				`f.yaml:25: metadata.name: kube-root-ca.crt is Kubernetes' own ConfigMap in every namespace: choose another name`,
			},
		},
		"the name of a key's Secret": {
			documents(root, bundleOf("root-a", "authorities: [root], target: {secret: {key: ca.crt}}")),
			[]string{`f.yaml:10: metadata.name: the copies of this bundle would be Secrets of the name of the Secret that is made for key a of Authority root (f.yaml:1), and might overwrite it: rename one of them`},
		},
		"the name of a key's Secret, in ConfigMaps": {documents(root, bundleOf("root-a", "authorities: [root], "+toConfigMap)), nil},
	} {
		t.Run(name, func(t *testing.T) { refusals(t, test.file, Site{}, test.want...) })
	}
}

func TestValidateCertificatesOfBundles(t *testing.T) {
	site, other := newSigner(t, "Site", nil), newSigner(t, "Other", nil)
	issuing := newSigner(t, "Issuing", other)
	leaf := newSigner(t, "Leaf", other, func(c *x509.Certificate) { c.IsCA = false })
	decoded, err := Decode("f.yaml", []byte(documents(
		bundleOf("t", "certificates: ["+strings.Join([]string{
			quoted(site.pem()), quoted(other.pem() + leaf.pem()), "x", quoted(block("PRIVATE KEY", []byte("secret"))), quoted(other.pem()), quoted(issuing.pem()), quoted(leaf.pem()),
		}, ", ")+"], "+toConfigMap),
		givenRoot("site", "pki", key("a", "Signing", site.certificateField())),
	)))
	if err != nil {
		t.Fatal(err)
	}
	invalid, warnings := Validate(decoded, Site{})
	const field = "f.yaml:4: spec.certificates"
	if got, want := invalid.Error(), strings.Join([]string{
		field + `[1]: certificate 2 "CN=Leaf" is not the certificate of a CA (its basic constraints do not say CA:TRUE): give its root`,
		field + `[2]: holds no certificate: give it in PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----`,
		field + `[3]: holds a private key: take it out of Git, and count that key as known to everyone who can read the repository`,
		field + `[6]: "CN=Leaf" is not the certificate of a CA (its basic constraints do not say CA:TRUE): give its root`,
	}, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := warnings.Error(), strings.Join([]string{
		field + `[0]: "CN=Site" is the certificate of key a of Authority site: name the authority in spec.authorities, so that the bundle follows its rollovers`,
		field + `[4]: "CN=Other" stands in spec.certificates[1] already: take one of them out`,
		field + `[5]: "CN=Issuing" is an intermediate: who trusts it goes on when its root is gone, so give the root`,
	}, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
