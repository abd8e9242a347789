package v1alpha1

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
)

// givenRoot is a root on 5 lines, its keys on the fifth, and no subject.
func givenRoot(name, namespace, keys string) string {
	return head + "kind: Authority\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec:\n  keys: [" + keys + "]\n"
}

// givenUnder is an intermediate on 6 lines, its keys on the fifth, and no subject.
func givenUnder(name, parent, namespace, keys string) string {
	return givenRoot(name, namespace, keys) + "  issuedBy: {name: " + parent + "}\n"
}

const (
	inSecret    = "secret: {name: plant-ca}, "
	behindVault = "issuer: {vault: {server: \"https://vault.example\", path: pki/sign/a, auth: {}}}, "
)

func key(name, state string, fields ...string) string {
	return "{name: " + name + ", state: " + state + ", " + strings.Join(fields, "") + "}"
}

func TestValidateKeysFromElsewhere(t *testing.T) {
	plant := newSigner(t, "Plant Root", nil)
	other := newSigner(t, "Other Root", nil)
	issuing := newSigner(t, "Issuing", plant)
	given := plant.certificateField()
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"a Secret":           {givenRoot("plant", "pki", key("a", "Signing", inSecret, given)), nil},
		"an external issuer": {givenRoot("plant", "pki", key("a", "Signing", behindVault, given)), nil},
		"an offline root":    {givenRoot("plant", "pki", key("a", "Signing", given)), nil},
		"an offline root and an intermediate that arrived": {
			documents(givenRoot("plant", "pki", key("a", "Signing", given)), givenUnder("issuing", "plant", "line", key("b", "Signing", inSecret, issuing.certificateField()))), nil,
		},
		"keys from here and from elsewhere": {
			documents(authority("name: root, namespace: pki", "commonName: Root", key("a", "Retired")+", "+key("b", "Signing", inSecret, given), ""),
				under("issuing", "root", "pki", "{name: c, state: Signing}", "")), nil,
		},
		"no certificate": {
			givenRoot("plant", "pki", key("a", "Signing", inSecret)+", "+key("b", "Trusted", "issuer: {acme: {}}")),
			[]string{
				`f.yaml:5: spec.keys[0].certificate: is missing: a key from elsewhere is known by its certificate, so give its PEM`,
				`f.yaml:5: spec.keys[1].certificate: is missing: a key from elsewhere is known by its certificate, so give its PEM`,
			},
		},
		"both a Secret and an issuer": {
			givenRoot("plant", "pki", key("a", "Signing", inSecret, behindVault, given)),
			[]string{`f.yaml:5: spec.keys[0].issuer: stands beside secret: a key lies in a Secret or stays behind an issuer, so take one of them out`},
		},
		"the name of a Secret": {
			givenRoot("plant", "pki", key("a", "Signing", "secret: {name: Plant_CA}, ", given)),
			[]string{`f.yaml:5: spec.keys[0].secret.name: "Plant_CA" is not the name of a Secret: use at most 253 lower-case letters, digits, '-' and '.', with a letter or a digit at both ends`},
		},
		"the Secret of a key made here": {
			givenRoot("plant", "pki", key("ca", "Signing", inSecret, given)),
			[]string{`f.yaml:5: spec.keys[0].secret.name: "plant-ca" is what the Secret of key ca would be called if it were made here, and such a one is deleted when its key is retired: give the Secret another name, or the key`},
		},
		"one Secret for two keys": {
			givenRoot("plant", "pki", key("a", "Signing", inSecret, given)+", "+key("b", "Trusted", inSecret, other.certificateField())),
			[]string{`f.yaml:5: spec.keys[1].secret.name: Secret "plant-ca" is that of key a already, and a Secret that is overwritten switches at once: give the new key a Secret of its own`},
		},
		"one Secret for two authorities": {
			documents(givenRoot("plant", "pki", key("a", "Signing", inSecret, given)), givenRoot("other", "pki", key("b", "Signing", inSecret, other.certificateField())),
				givenRoot("elsewhere", "line", key("c", "Signing", inSecret, newSigner(t, "Third Root", nil).certificateField()))),
			[]string{`f.yaml:11: spec.keys[0].secret.name: Secret pki/plant-ca would be the Secret of key b of Authority other, but it is the Secret of key a of Authority plant already (f.yaml:1): rename one of them`},
		},
		"a Secret that is made here": {
			documents(rollingOver(""), givenRoot("plant", "pki", key("x", "Signing", "secret: {name: root-a}, ", given)),
				givenRoot("plants", "line", key("x", "Signing", "secret: {name: root-a}, ", other.certificateField()))),
			[]string{`f.yaml:12: spec.keys[0].secret.name: Secret pki/root-a would be the Secret of key x of Authority plant, but it is the Secret that is made for key a of Authority root already (f.yaml:1): rename one of them`},
		},
		"a Secret that will be made here": {
			documents(givenRoot("plant", "pki", key("x", "Signing", "secret: {name: root-a}, ", given)), rollingOver("")),
			[]string{`f.yaml:12: spec.keys[0].name: Secret pki/root-a would be the Secret that is made for key a of Authority root, but it is the Secret of key x of Authority plant already (f.yaml:1): rename one of them`},
		},
		"an internal issuer for a Secret, none for the others": {
			documents(givenRoot("plant", "pki", key("a", "Signing", inSecret, given)+", "+key("b", "Trusted", other.certificateField())),
				binding("name: plant-a", "scope: Namespace, authority: plant"), binding("name: plant-b", "scope: Namespace, authority: plant")),
			[]string{`f.yaml:9: metadata.name: Issuer pki/plant-a would be the issuer of IssuerBinding plant-a, but it is the internal issuer of key a of Authority plant already (f.yaml:1): rename one of them`},
		},
		"one certificate twice": {
			documents(givenRoot("plant", "pki", key("a", "Signing", given)+", "+key("b", "Trusted", inSecret, given)), givenRoot("other", "pki", key("c", "Signing", given))),
			[]string{
				`f.yaml:5: spec.keys[1].certificate: is the certificate of key a of Authority plant already (f.yaml:1): list a key once, and give each its own certificate`,
				`f.yaml:11: spec.keys[0].certificate: is the certificate of key a of Authority plant already (f.yaml:1): list a key once, and give each its own certificate`,
			},
		},
		"one issuer for two keys, in other words": {
			givenRoot("plant", "pki", key("a", "Signing", behindVault, given)+", "+
				key("b", "Trusted", `issuer: {vault: {auth: {}, path: "pki/sign/a", server: https://vault.example}}, `, other.certificateField())),
			[]string{`f.yaml:5: spec.keys[1].issuer: is that of key a already, and an issuer signs with one key: give each key an issuer of its own`},
		},
		"renewed under its name, with another key": {
			givenRoot("plant", "pki", key("a", "Retired", given)+", "+key("b", "Signing", newSigner(t, "Plant Root 2", nil, called("plant  root")).certificateField())), nil,
		},
		"renewed under its name, with its key": {
			givenRoot("plant", "pki", key("a", "Retired", given)+", "+key("b", "Signing", newSigner(t, "Plant Root", nil, numbered(7)).certificateField())),
			[]string{`f.yaml:5: spec.keys[1].certificate: shares its subject "CN=Plant Root" and its subject key identifier with key a of Authority plant (f.yaml:1), so that verifiers cannot tell them apart: bring a certificate of another key`},
		},
		"the subject of a key that is made here": {
			documents(rollingOver(""), givenRoot("plant", "pki", key("x", "Signing", newSigner(t, "root A", nil).certificateField()))),
			[]string{`f.yaml:12: spec.keys[0].certificate: shares its subject "CN=root A" with key a of Authority root (f.yaml:1), and verifiers find a signer by its subject: change spec.subject there`},
		},
		"the subject of a key that will be made here": {
			documents(givenRoot("plant", "pki", key("x", "Signing", newSigner(t, "root A", nil).certificateField())), rollingOver("")),
			[]string{`f.yaml:12: spec.keys[0].name: key a of Authority root would share its subject "Root a" with key x of Authority plant (f.yaml:1), and verifiers find a signer by its subject: change spec.subject in one of them`},
		},
		"a subject that differs in what is never set here": {
			documents(rollingOver(""), givenRoot("plant", "pki", key("x", "Signing", newSigner(t, "Root a", nil, func(c *x509.Certificate) { c.Subject.Locality = []string{"Bonn"} }).certificateField()))), nil,
		},
	} {
		t.Run(name, func(t *testing.T) { refusals(t, test.file, Site{}, test.want...) })
	}
}

func called(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: name} }
}

func numbered(serial int64) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.SerialNumber.SetInt64(serial) }
}

func TestValidateGivenCertificates(t *testing.T) {
	root := newSigner(t, "Root", nil)
	issuing := newSigner(t, "Issuing", root)
	forged := *root.certificate
	forged.Raw = append([]byte{}, root.certificate.Raw...)
	forged.Raw[len(forged.Raw)-1] ^= 1
	for name, test := range map[string]struct{ pem, want string }{
		"a root":          {root.pem(), ""},
		"words around it": {"The root of the plant:\n" + root.pem(), ""},
		"no PEM":          {"MIIB", "holds no certificate: give it in PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"},
		"a private key": {
			root.pem() + block("EC PRIVATE KEY", []byte("secret")),
			"holds a private key: take it out of Git, and count that key as known to everyone who can read the repository",
		},
		"a request":       {block("CERTIFICATE REQUEST", nil), "cannot be read: PEM block 1 is a CERTIFICATE REQUEST, not a CERTIFICATE: give certificates in PEM and nothing else"},
		"cut off":         {root.pem()[:90], "cannot be read: PEM block 1 is malformed: give certificates in PEM and nothing else"},
		"a chain":         {issuing.pem() + root.pem(), "holds 2 certificates: give the one of the key alone, without those above or below it"},
		"a leaf":          {newSigner(t, "Leaf", nil, func(c *x509.Certificate) { c.IsCA = false }).pem(), "is not the certificate of a CA (its basic constraints do not say CA:TRUE): give that of the CA"},
		"no certSign":     {newSigner(t, "Old", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }).pem(), "is of a CA that may not sign certificates (its key usage lacks keyCertSign): have it issued anew with that usage"},
		"no key usage":    {newSigner(t, "Older", nil, func(c *x509.Certificate) { c.KeyUsage = 0 }).pem(), ""},
		"no SKI":          {newSigner(t, "Nameless", nil, withoutKeyID).pem(), "has no subject key identifier, by which verifiers tell keys of one name apart: have it issued anew with one"},
		"an intermediate": {issuing.pem(), "is not self-signed, and an authority without issuedBy is a root: give the root's certificate, or name in issuedBy the authority that signed this one"},
		"a bad signature": {block("CERTIFICATE", forged.Raw), "names itself as its issuer, but its signature (Ed25519) does not verify with its own key: give the root's certificate as it was issued"},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			if test.want != "" {
				want = []string{"f.yaml:5: spec.keys[0].certificate: " + test.want}
			}
			refusals(t, givenRoot("plant", "pki", key("a", "Signing", inSecret, "certificate: "+quoted(test.pem))), Site{}, want...)
		})
	}
}

// withoutKeyID makes a CA that Go does not give a subject key identifier by itself.
func withoutKeyID(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid = false, false
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}
}

func TestValidateIntermediatesFromElsewhere(t *testing.T) {
	root, other := newSigner(t, "Root", nil), newSigner(t, "Other Root", nil)
	one, two := newSigner(t, "Issuing 1", root), newSigner(t, "Issuing 2", other)
	offline := givenRoot("root", "pki", key("a", "Signing", root.certificateField()))
	outside := givenRoot("root", "pki", key("a", "Signing", behindVault, root.certificateField()))
	held := givenRoot("root", "pki", key("a", "Signing", inSecret, root.certificateField()))
	made := "{name: b, state: Signing}"
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"under the key that signed it": {documents(offline, givenUnder("issuing", "root", "line", key("b", "Signing", inSecret, one.certificateField()))), nil},
		"under none": {
			documents(offline, givenUnder("issuing", "root", "line", key("b", "Signing", inSecret, two.certificateField()))),
			[]string{`f.yaml:11: spec.keys[0].certificate: is signed by none of the keys of Authority root: give the certificate that one of them has signed, or list the key that signed it there`},
		},
		"under one that is not known": {
			documents(authority("name: root, namespace: pki", "commonName: Root", key("a", "Retired", root.certificateField())+", {name: c, state: Signing}", ""),
				givenUnder("issuing", "root", "line", key("b", "Signing", inSecret, two.certificateField()))), nil,
		},
		"under one whose certificate is not fit": {
			documents(givenRoot("root", "pki", key("a", "Signing", "certificate: x")), givenUnder("issuing", "root", "line", key("b", "Signing", inSecret, two.certificateField()))),
			[]string{`f.yaml:5: spec.keys[0].certificate: holds no certificate: give it in PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----`},
		},
		"self-signed": {
			documents(offline, givenUnder("issuing", "root", "line", key("b", "Signing", inSecret, other.certificateField()))),
			[]string{`f.yaml:11: spec.keys[0].certificate: is self-signed, and Authority issuing is issued by root: give the certificate that root has signed, or take issuedBy out for a root`},
		},
		"made here under an offline root": {
			documents(offline, under("issuing", "root", "pki", made+", {name: c, state: Trusted}, {name: d, state: Retired}", "")),
			[]string{
				`f.yaml:12: spec.keys[0].name: key b would be made here, and cannot be signed: key a of Authority root is offline (it has a certificate alone); bring a key that it has signed, by certificate and secret, or retire this one`,
				`f.yaml:12: spec.keys[1].name: key c would be made here, and cannot be signed: key a of Authority root is offline (it has a certificate alone); bring a key that it has signed, by certificate and secret, or retire this one`,
			},
		},
		"made here under an external issuer": {
			documents(outside, under("issuing", "root", "pki", made, "")),
			[]string{`f.yaml:12: spec.keys[0].name: key b would be made here, and cannot be signed: key a of Authority root is behind an external issuer; bring a key that it has signed, by certificate and secret, or retire this one`},
		},
		"made here under a key in a Secret": {documents(held, under("issuing", "root", "pki", made, "  duration: 87600h\n")), nil},
		"made here in another namespace": {
			documents(held, under("issuing", "root", "line", made, "")),
			[]string{`f.yaml:13: spec.issuedBy.name: Authority root lies in pki, and only one that lies in cert-manager signs for another namespace: move it there, or Authority issuing to pki`},
		},
		"a binding of an offline root": {
			documents(offline, binding("name: b", "scope: Namespace, authority: root")),
			[]string{`f.yaml:10: spec.authority: nothing here can sign with key a of Authority root, which is offline (it has a certificate alone): bind an intermediate below it, or give the key a secret or an issuer`},
		},
		"a binding of an external issuer":    {documents(outside, binding("name: b", "scope: Namespace, authority: root")), nil},
		"a binding of an intermediate below": {documents(offline, givenUnder("issuing", "root", "line", key("b", "Signing", inSecret, one.certificateField())), binding("name: b", "scope: Namespace, authority: issuing")), nil},
		"a bundle of an offline root":        {documents(offline, trustBundle("t", "root", "configMap: {key: ca.crt}")), nil},
	} {
		t.Run(name, func(t *testing.T) { refusals(t, test.file, Site{}, test.want...) })
	}
}

// A key from elsewhere has one pair, under the key that signed it.
func TestValidatePairsOfKeysFromElsewhere(t *testing.T) {
	one, two := newSigner(t, "Root 1", nil), newSigner(t, "Root 2", nil)
	issuing := newSigner(t, "Issuing", one)
	roots := givenRoot("root", "pki", key("a", "Trusted", "secret: {name: one}, ", one.certificateField())+", "+key("b", "Signing", "secret: {name: two}, ", two.certificateField()))
	below := givenUnder("issuing", "root", "pki", key("x", "Signing", inSecret, issuing.certificateField()))
	refusals(t, documents(roots, below), Site{Retired: map[string][]string{"issuing": {"x.b"}}})
	refusals(t, documents(roots, below), Site{Retired: map[string][]string{"issuing": {"x.a"}}},
		`f.yaml:11: spec.keys[0].name: x.a was retired (anchors/issuing/retired/x.a.pem): a key's name is used once: choose another`)
	refusals(t, documents(roots, below, binding("name: issuing-x.a", "scope: Namespace, authority: issuing"), binding("name: issuing-x.b", "scope: Namespace, authority: issuing")), Site{},
		`f.yaml:16: metadata.name: Issuer pki/issuing-x.a would be the issuer of IssuerBinding issuing-x.a, but it is the internal issuer of key x.a of Authority issuing already (f.yaml:7): rename one of them`)
}

func TestValidateIssuerSpecs(t *testing.T) {
	given := newSigner(t, "Plant Root", nil).certificateField()
	const webhook = `{dns01: {webhook: {groupName: a, solverName: b, config: {any: thing}}}}`
	for name, test := range map[string]struct {
		issuer string
		want   []string
	}{
		"Vault":   {`{vault: {server: "https://vault.example", path: pki/sign/a, auth: {kubernetes: {role: r, serviceAccountRef: {name: s}}}}}`, nil},
		"Venafi":  {`{venafi: {zone: a, cloud: {apiTokenSecretRef: {name: t, key: k}}}}`, nil},
		"ACME":    {`{acme: {server: "https://acme.example", privateKeySecretRef: {name: a}, solvers: [` + webhook + `]}}`, nil},
		"nothing": {`{}`, []string{`configures 0 types of issuer, and must configure one: acme, vault or venafi`}},
		"two":     {`{vault: {}, acme: {}}`, []string{`configures 2 types of issuer, and must configure one: acme, vault or venafi`}},
		"CA":      {`{ca: {secretName: x}}`, []string{`is of type ca, whose key lies in a Secret here: name that in secret instead`}},
		"selfSigned": {
			`{selfSigned: {}}`,
			[]string{`is of type selfSigned, behind which there is no CA: for a root that is made here take issuer and certificate out`},
		},
		"unknown fields": {
			`{vault: {sever: x, auth: {tokenSecretRef: {nam: x}}}, spec: {}}`,
			[]string{
				`.spec: is no field of a cert-manager issuer's spec: mend or take it out`,
				`.vault.auth.tokenSecretRef.nam: is no field of a cert-manager issuer's spec: mend or take it out`,
				`.vault.sever: is no field of a cert-manager issuer's spec: mend or take it out`,
			},
		},
		"another case": {
			`{Vault: {server: x}}`,
			[]string{`.Vault: is no field of a cert-manager issuer's spec: mend or take it out`},
		},
		"a wrong type": {
			`{vault: {server: 5}}`,
			[]string{`.vault.server: want what cert-manager has there, not a value of type number: see https://cert-manager.io/docs/configuration/`},
		},
		"a list for an issuer": {
			`{vault: []}`,
			[]string{`.vault: want what cert-manager has there, not a value of type array: see https://cert-manager.io/docs/configuration/`},
		},
		"no base64": {
			`{vault: {caBundle: "!"}}`,
			[]string{`is not the spec of a cert-manager issuer (illegal base64 data at input byte 0): see https://cert-manager.io/docs/configuration/`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			for _, line := range test.want {
				if !strings.HasPrefix(line, ".") {
					line = ": " + line
				}
				want = append(want, "f.yaml:5: spec.keys[0].issuer"+line)
			}
			refusals(t, givenRoot("plant", "pki", key("a", "Signing", "issuer: ", test.issuer, ", ", given)), Site{}, want...)
		})
	}
}
