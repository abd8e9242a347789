package v1alpha1

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// mistakes compares what Validate refuses with lines.
func mistakes(t *testing.T, file string, want ...string) {
	t.Helper()
	decoded, err := Decode("f.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	invalid, _ := Validate(decoded, Site{})
	if got, want := invalid.Error(), strings.Join(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// groupOf is a DeviceGroup on 8 lines, the rest of its spec on the eighth and after.
func groupOf(t testing.TB, name, spec string) string {
	return head + "kind: DeviceGroup\nmetadata: {name: " + name + "}\nspec:\n  issuer: {name: fleet, kind: ClusterIssuer}\n  namespace: plant\n" +
		"  bootstrap: {identity: URI, certificates: " + quoted(newSigner(t, "Factory", nil).pem()) + "}\n" + spec
}

func deviceOf(name, spec string) string {
	return head + "kind: Device\nmetadata: {name: " + name + "}\nspec: {" + spec + "}\n"
}

func TestValidateDeviceGroups(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"the least": {groupOf(t, "sensors", "  keys: Cluster\n"), nil},
		"everything": {
			groupOf(t, "sensors", "  approval: AllowList\n  allow: [sensor-1, 'sensor-[2-9]*']\n  keys: Device\n  recovery: {quota: 2}\n"+
				"  certificate: {duration: 1h, renewBefore: 30m, dnsNames: ['{{ .ID }}.a.example', '{{.ID}}', '*.{{- .ID -}}.b', fixed.example], keyAlgorithms: [RSA], usages: [client auth, server auth]}\n"), nil,
		},
		"names": {
			documents(
				strings.Replace(groupOf(t, "cacerts", "  keys: Device\n"), "fleet", "Fleet_1", 1),
				strings.Replace(groupOf(t, "sensors", "  keys: Device\n"), "plant", "a.b", 1),
				groupOf(t, "sensors", "  keys: Device\n"),
			),
			[]string{
				`f.yaml:3: metadata.name: cacerts is the name of an operation of EST, and the group's is a label beside those: choose another name`,
				`f.yaml:5: spec.issuer.name: "Fleet_1" is not the name of an issuer: write that of the ClusterIssuer that signs`,
				`f.yaml:15: spec.namespace: "a.b" is not the name of a namespace: write the one that holds the devices' certificates`,
				`f.yaml:21: metadata.name: DeviceGroup sensors is declared already (f.yaml:10): a name is used once among its kind, so rename one of them`,
			},
		},
		"approval": {
			documents(groupOf(t, "a", "  approval: AllowList\n"), groupOf(t, "b", "  allow: ['[', '']\n")),
			[]string{
				`f.yaml:4: spec.allow: is missing: approval AllowList admits the ids that it lists, so list them, or patterns such as sensor-*`,
				`f.yaml:17: spec.allow: is for approval AllowList, and approval is Automatic: write approval: AllowList, or take it out`,
				`f.yaml:17: spec.allow[0]: "[" is neither an id nor a pattern of ids: use * for any characters, ? for one, [a-z] for one of some`,
				`f.yaml:17: spec.allow[1]: "" is neither an id nor a pattern of ids: use * for any characters, ? for one, [a-z] for one of some`,
			},
		},
		"of minutes, by the devices' own keys": {groupOf(t, "sensors", "  certificate: {duration: 1m, renewBefore: 20s}\n"), nil},
		"of less": {
			documents(groupOf(t, "a", "  certificate: {duration: 59s}\n"), groupOf(t, "b", "  certificate: {duration: 5m, renewBefore: 19s}\n")),
			[]string{
				`f.yaml:8: spec.certificate.duration: 59s is shorter than the 1m0s that a device needs at least to come by for the next: lengthen it`,
				`f.yaml:17: spec.certificate.renewBefore: 19s is shorter than the 20s that a device needs at least to come by for the next: lengthen it`,
			},
		},
		"certificates": {
			documents(
				groupOf(t, "a", "  keys: Cluster\n  certificate: {duration: 59m}\n  recovery: {quota: -1, acceptExpired: -1h}\n"),
				groupOf(t, "b", "  certificate: {duration: 2h, renewBefore: 2h}\n"),
				groupOf(t, "c", "  keys: Cluster\n  certificate: {renewBefore: 299s}\n"),
				groupOf(t, "d", "  certificate: {dnsNames: ['{{ .ID }}_x', '{{ .Name }}.example', ''], usages: [client-auth, server auth, server auth, cert sign]}\n"),
			),
			[]string{
				`f.yaml:9: spec.certificate.duration: 59m0s is shorter than the 1h0m0s that cert-manager takes at least where it makes the key: lengthen it`,
				`f.yaml:10: spec.recovery.acceptExpired: -1h0m0s is negative: take it out if no certificate that has ended is to be accepted`,
				`f.yaml:10: spec.recovery.quota: -1 is negative: write 0 if no device may come back with a new key`,
				`f.yaml:19: spec.certificate.renewBefore: 2h0m0s is not shorter than the duration of 2h0m0s, so that a certificate would be renewed at once and for ever: shorten it`,
				`f.yaml:29: spec.certificate.renewBefore: 4m59s is shorter than the 5m0s that cert-manager takes at least where it makes the key: lengthen it`,
				`f.yaml:38: spec.certificate.dnsNames[0]: "{{ .ID }}_x" is not a DNS name, whatever the device's id: write one such as {{ .ID }}.sensors.example`,
				`f.yaml:38: spec.certificate.dnsNames[1]: "{{ .Name }}.example" has something other than {{ .ID }} in braces: the device's id is all that a name is made of`,
				`f.yaml:38: spec.certificate.dnsNames[2]: "" is not a DNS name, whatever the device's id: write one such as {{ .ID }}.sensors.example`,
				`f.yaml:38: spec.certificate.usages[0]: "client-auth" is not a usage that cert-manager knows: write ` + oneOf(keyUsages) + `; did you mean "client auth"?`,
				`f.yaml:38: spec.certificate.usages[2]: server auth stands twice: take one out`,
				`f.yaml:38: spec.certificate.usages[3]: "cert sign" is not a usage that cert-manager knows: write ` + oneOf(keyUsages),
			},
		},
	} {
		t.Run(name, func(t *testing.T) { mistakes(t, test.file, test.want...) })
	}
}

func TestValidateBootstrap(t *testing.T) {
	factory := newSigner(t, "Factory", nil)
	leaf := newSigner(t, "Leaf", factory, func(c *x509.Certificate) { c.IsCA = false })
	for name, test := range map[string]struct{ pem, want string }{
		"two CAs":         {factory.pem() + newSigner(t, "Second", factory).pem(), ""},
		"a leaf among":    {factory.pem() + leaf.pem(), `certificate 2 "CN=Leaf" is not the certificate of a CA (its basic constraints do not say CA:TRUE): give the CAs that sign factory certificates`},
		"nothing":         {"", "holds no certificate: give it in PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"},
		"a private key":   {block("PRIVATE KEY", nil), privateKeyFound},
		"a SKI is no one": {newSigner(t, "Old", nil, withoutKeyID).pem(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			if test.want != "" {
				want = []string{"f.yaml:7: spec.bootstrap.certificates: " + test.want}
			}
			mistakes(t, strings.Replace(groupOf(t, "a", ""), quoted(factory.pem()), quoted(test.pem), 1), want...)
		})
	}
}

// DNS names have no case, and so neither have the ids that they are made of.
func TestCapitalsInTheIDsOfDevices(t *testing.T) {
	for name, test := range map[string]struct{ id, names, want string }{
		"lower case":             {"sn-1", "'{{ .ID }}.a.example'", ""},
		"capitals, and no name":  {"SN-1", "", ""},
		"capitals, a fixed name": {"SN-1", "fixed.example", ""},
		"capitals in a DNS name": {"SN-1", "fixed.example, '{{.ID}}.a.example'", `metadata.name: "SN-1" has upper-case letters, and its group makes a DNS name of it, which has no case (RFC 4343): write "sn-1", or declare the device in a group whose dnsNames do without {{ .ID }}`},
	} {
		t.Run(name, func(t *testing.T) {
			decoded, err := Decode("f.yaml", []byte(documents(deviceOf(test.id, "group: meters"), groupOf(t, "meters", "  keys: Cluster\n  certificate: {dnsNames: ["+test.names+"]}\n"))))
			if err != nil {
				t.Fatal(err)
			}
			invalid, _ := Validate(decoded, Site{})
			if got := invalid.Error(); test.want == "" && len(invalid) > 0 || test.want != "" && (len(invalid) != 1 || !strings.HasSuffix(got, test.want)) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestValidateDevices(t *testing.T) {
	group, clusters := groupOf(t, "sensors", "  keys: Device\n"), groupOf(t, "meters", "  keys: Cluster\n")
	csr := request(t, "one")
	notPEM := `is not one PEM block of type CERTIFICATE REQUEST: give the device's certificate signing request alone`
	for name, test := range map[string]struct{ spec, want string }{
		"active":              {"group: sensors, request: " + quoted(csr), ""},
		"blocked":             {"group: sensors, state: Blocked", ""},
		"of the cluster":      {"group: meters", ""},
		"no request":          {"group: sensors", "request: is missing: in group sensors a device makes its own key, so give its certificate signing request in PEM"},
		"a needless request":  {"group: meters, request: " + quoted(csr), "request: is for a device that makes its own key, and in group meters cert-manager does: take it out"},
		"no group":            {"group: sensor, request: " + quoted(csr), `group: there is no DeviceGroup "sensor": declare it, or name another; did you mean "sensors"?`},
		"two requests":        {"group: sensors, request: " + quoted(csr+csr), "request: " + notPEM},
		"another block":       {"group: sensors, request: " + quoted(newSigner(t, "a", nil).pem()), "request: " + notPEM},
		"no PEM":              {"group: sensors, request: x", "request: " + notPEM},
		"a private key":       {"group: sensors, request: " + quoted(csr+block("PRIVATE KEY", nil)), "request: " + privateKeyFound},
		"not a request":       {"group: sensors, request: " + quoted(block("CERTIFICATE REQUEST", []byte("x"))), "request: cannot be read (asn1: "},
		"superseded":          {"group: sensors, recoveries: 1, superseded: ['sha256:" + strings.Repeat("0a", 32) + "'], request: " + quoted(csr), ""},
		"no hash":             {"group: meters, superseded: ['sha256:0A']", `superseded[0]: "sha256:0A" is not the SHA-256 of a key: write sha256: and 64 lower-case hex digits`},
		"twice":               {"group: meters, superseded: [sha256:" + strings.Repeat("0a", 32) + ", sha256:" + strings.Repeat("0a", 32) + "]", "superseded[1]: sha256:" + strings.Repeat("0a", 32) + " stands twice: take one out"},
		"rekeyed":             {"group: meters, rekeyed: 'sha256:" + strings.Repeat("0b", 32) + "', superseded: ['sha256:" + strings.Repeat("0a", 32) + "', 'sha256:" + strings.Repeat("0b", 32) + "']", ""},
		"rekeyed from before": {"group: meters, rekeyed: 'sha256:" + strings.Repeat("0a", 32) + "', superseded: ['sha256:" + strings.Repeat("0a", 32) + "', 'sha256:" + strings.Repeat("0b", 32) + "']", `rekeyed: "sha256:` + strings.Repeat("0a", 16) + `0…" is not the last of spec.superseded: take it out`},
		"rekeyed from none":   {"group: meters, rekeyed: x", `rekeyed: "x" is not the last of spec.superseded: take it out`},
		"the same key again":  {"group: sensors, superseded: ['" + keyOfRequest(csr) + "'], request: " + quoted(csr), "request: is for a key that stands in spec.superseded (" + keyOfRequest(csr) + "): have the device make a new one"},
		"recoveries":          {"group: meters, recoveries: -1", "recoveries: -1 is negative: write 0 to let the device come back as often as its group's quota says"},
		"another's signature": {"group: sensors, request: " + quoted(forged(csr)), "request: is not signed by the key that it is for (x509: Ed25519 verification failure): have the device make another"},
	} {
		t.Run(name, func(t *testing.T) {
			decoded, err := Decode("f.yaml", []byte(documents(deviceOf("one", test.spec), group, clusters)))
			if err != nil {
				t.Fatal(err)
			}
			invalid, _ := Validate(decoded, Site{})
			if test.want == "" && len(invalid) == 0 {
				return
			}
			if want := "f.yaml:4: spec." + test.want; len(invalid) != 1 || !strings.HasPrefix(invalid[0].Error(), want) {
				t.Errorf("got\n%s\nwant\n%s", invalid, want)
			}
		})
	}
	mistakes(t, documents(group, deviceOf("one", "group: sensors, state: Retired"), deviceOf("one", "group: sensors, state: Retired")),
		`f.yaml:17: metadata.name: Device sensors/one is declared already (f.yaml:10): a name is used once among the devices of its group, so rename one of them`)
	// Groups number their devices by themselves.
	mistakes(t, documents(group, clusters, deviceOf("one", "group: sensors, state: Retired"), deviceOf("one", "group: meters")))
}

// keyOfRequest is the key of a CSR as a document names it.
func keyOfRequest(csr string) string {
	block, _ := pem.Decode([]byte(csr))
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s%x", SupersededPrefix, sha256.Sum256(parsed.RawSubjectPublicKeyInfo))
}

// forged is a CSR with another signature.
func forged(csr string) string {
	parsed, _ := pem.Decode([]byte(csr))
	der := slices.Clone(parsed.Bytes)
	der[len(der)-1] ^= 1
	return block(parsed.Type, der)
}
