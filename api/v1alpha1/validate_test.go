package v1alpha1

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheFleetIsValid(t *testing.T) {
	invalid, warnings := Validate(fleet(t), Site{})
	if len(invalid)+len(warnings) != 0 {
		t.Errorf("errors:\n%s\nwarnings:\n%s", invalid, warnings)
	}
	if err := invalid.Err(); err != nil {
		t.Errorf("no error at all is %v, want nil", err)
	}
}

// The parts that the tables are put together from, one document each.
const (
	root      = head + "kind: Authority\nmetadata: {name: root, namespace: cert-manager}\nspec:\n" + subjectLine + keysLine // 6 lines
	separator = "---\n"
)

func binding(metadata, spec string) string {
	return head + "kind: IssuerBinding\nmetadata: {" + metadata + "}\nspec: {" + spec + "}\n"
}

func trustBundle(name, authorities, target string) string {
	return head + "kind: TrustBundle\nmetadata: {name: " + name + "}\nspec:\n  authorities: [" + authorities + "]\n  target: {" + target + "}\n"
}

func authority(metadata, subject, keys, rest string) string {
	return head + "kind: Authority\nmetadata: {" + metadata + "}\nspec:\n  subject: {" + subject + "}\n  keys: [" + keys + "]\n" + rest
}

// under is an intermediate on 7 lines and those of the rest, its common name its own.
func under(name, parent, namespace, keys, rest string) string {
	return authority("name: "+name+", namespace: "+namespace, "commonName: "+name, keys, "  issuedBy: {name: "+parent+"}\n"+rest)
}

func rollingOver(spec string) string {
	return authority("name: root, namespace: pki", "commonName: Root", "{name: a, state: Signing}", spec)
}

func TestValidateErrors(t *testing.T) {
	const (
		inPKI   = "name: root, namespace: pki"
		named   = "commonName: Root"
		signing = "{name: a, state: Signing}"
	)
	long := strings.Repeat("x", 64)
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"bad names": {
			authority("name: Root_1, namespace: A.b", named, signing, ""),
			[]string{
				`f.yaml:3: metadata.name: "Root_1" is not a name: use at most 63 lower-case letters, digits, '-' and '.', with a letter or a digit at both ends`,
				`f.yaml:3: metadata.namespace: "A.b" is not the name of a namespace`,
			},
		},
		"long name": {
			authority("namespace: pki, name: "+long, named, signing, ""),
			[]string{fmt.Sprintf(`f.yaml:3: metadata.name: "%s…" is not a name: %s`, long[:40], nameHint)},
		},
		"no namespace": {
			authority("name: root", named, signing, ""),
			[]string{`f.yaml:3: metadata.namespace: is missing: it holds the Secrets of the authority's keys`},
		},
		"labels": {
			authority(inPKI+", labels: {reanchor.dev/key: a, reanchor.dev/environment: production, -x: a, ok: a b}", named, signing, ""),
			[]string{
				`f.yaml:3: metadata.labels[-x]: is not a label's key`,
				`f.yaml:3: metadata.labels[ok]: "a b" is not a label's value: use at most 63 letters, digits, '-', '_' and '.', with a letter or a digit at both ends`,
				`f.yaml:3: metadata.labels[reanchor.dev/key]: labels under reanchor.dev/ are set by reanchor itself: take it out`,
			},
		},
		"one name in two namespaces": {
			root + separator + authority(inPKI, named, signing, ""),
			[]string{`f.yaml:10: metadata.name: Authority root is declared already (f.yaml:1): other documents refer to it by its name alone, so that names must differ even between namespaces`},
		},
		"subject": {
			authority(inPKI, `commonName: "", organizations: ["", `+long+`x], countries: [Germany]`, signing, ""),
			[]string{
				`f.yaml:5: spec.subject.commonName: is missing: name the authority, the name of each key that is made here is appended`,
				`f.yaml:5: spec.subject.countries[0]: "Germany" is not a country: write the two letters of ISO 3166`,
				`f.yaml:5: spec.subject.organizations[0]: has 0 bytes: want 1 to 64`,
				`f.yaml:5: spec.subject.organizations[1]: has 65 bytes: want 1 to 64`,
			},
		},
		"common name with the key's": {
			authority(inPKI, "commonName: "+long[:63], signing, ""),
			[]string{fmt.Sprintf(`f.yaml:6: spec.keys[0].name: the certificate's common name "%s…" has 65 bytes, more than the 64 that X.509 allows: shorten spec.subject.commonName`, long[:40])},
		},
		"no keys":             {authority(inPKI, named, "", ""), []string{`f.yaml:6: spec.keys: no key is Signing: exactly one must be, or every key Retired for an authority that goes`}},
		"no signing key":      {authority(inPKI, named, "{name: a, state: Retired}, {name: b, state: Trusted}", ""), []string{`f.yaml:6: spec.keys: no key is Signing: exactly one must be, or every key Retired for an authority that goes`}},
		"a leaving authority": {authority(inPKI, named, "{name: a, state: Retired}", ""), nil},
		"three signing keys": {
			authority(inPKI, named, "{name: a, state: Signing}, {name: b, state: Signing}, {name: c, state: Signing}", ""),
			[]string{`f.yaml:6: spec.keys: the keys a, b and c are all Signing: exactly one must be, make the others Trusted or Retired`},
		},
		"key names": {
			authority(inPKI, named, "{name: a, state: Signing}, {name: a, state: Trusted}, {name: B, state: Trusted}, {name: self-signed, state: Trusted}", ""),
			[]string{
				`f.yaml:6: spec.keys[1].name: key a stands twice: a key's name is used once and never again`,
				`f.yaml:6: spec.keys[2].name: "B" is not the name of a key: use at most 63 lower-case letters, digits and '-', with a letter or a digit at both ends`,
				`f.yaml:6: spec.keys[3].name: Issuer pki/root-self-signed would be the internal issuer of key self-signed of Authority root, but it is the self-signed issuer of Authority root already (f.yaml:1): rename one of them`,
			},
		},
		"keys of two authorities with one object name": {
			authority("name: a, namespace: pki", named, "{name: b-c, state: Signing}", "") + separator +
				authority("name: a-b, namespace: pki", named, "{name: c, state: Signing}", ""),
			[]string{`f.yaml:13: spec.keys[0].name: Issuer pki/a-b-c would be the internal issuer of key c of Authority a-b, but it is the internal issuer of key b-c of Authority a already (f.yaml:1): rename one of them`},
		},
		"key sizes": {
			rollingOver("  privateKey: {size: 255}\n") + separator +
				authority("name: r, namespace: pki", "commonName: R", signing, "  privateKey: {algorithm: RSA, size: 1024}\n") + separator +
				authority("name: e, namespace: pki", "commonName: E", signing, "  privateKey: {algorithm: Ed25519, size: 256}\n"),
			[]string{
				`f.yaml:7: spec.privateKey.size: 255 is no size of an ECDSA key: write 256, 384 or 521`,
				`f.yaml:15: spec.privateKey.size: 1024 is no size of an RSA key: write 2048 to 8192`,
				`f.yaml:23: spec.privateKey.size: an Ed25519 key has no size to choose: take it out`,
			},
		},
		"short duration": {
			rollingOver("  duration: 59m\n"),
			[]string{`f.yaml:7: spec.duration: 59m0s is shorter than the 1h0m0s that cert-manager issues at least`},
		},
		"soak and skew that outlast the key": {
			rollingOver("  duration: 24h\n  rollover: {soak: 23h55m}\n"),
			[]string{`f.yaml:7: spec.duration: a key that lives 24h0m0s expires before soak (23h55m0s) and skew (5m0s) let it sign`},
		},
		"negative durations": {
			rollingOver("  rollover: {soak: -1s, skew: -1m}\n"),
			[]string{
				`f.yaml:7: spec.rollover.skew: -1m0s is negative`,
				`f.yaml:7: spec.rollover.soak: -1s is negative`,
			},
		},
		"short canary interval": {
			rollingOver("  rollover: {canaryInterval: 9s}\n"),
			[]string{`f.yaml:7: spec.rollover.canaryInterval: 9s is shorter than 10s: every issuer of the authority is sent a canary that often`},
		},
		"binding of a leaving authority": {
			authority(inPKI, named, "{name: a, state: Retired}", "") + separator + binding("name: b", "scope: Namespace, authority: root"),
			[]string{`f.yaml:11: spec.authority: every key of Authority root is Retired, so nothing is left to sign with: take the binding out, or bind it under another name to another authority`},
		},
		"references to nowhere": {
			root + separator + binding("name: b", "scope: Cluster, authority: rooot") + separator + trustBundle("t", "fleet-issuing", "configMap: {key: ca.crt}"),
			[]string{
				`f.yaml:11: spec.authority: there is no Authority "rooot"; did you mean "root"?`,
				`f.yaml:17: spec.authorities[0]: there is no Authority "fleet-issuing"`,
			},
		},
		"cluster binding with an authority elsewhere": {
			rollingOver("") + separator + binding("name: b", "scope: Cluster, authority: root"),
			[]string{`f.yaml:11: spec.authority: a ClusterIssuer signs only with Secrets of the namespace cert-manager, and Authority root lies in pki: move the authority, or write scope: Namespace`},
		},
		"namespaced binding in another namespace": {
			rollingOver("") + separator + binding("name: b, namespace: plant", "scope: Namespace, authority: root"),
			[]string{`f.yaml:10: metadata.namespace: an Issuer signs only with Secrets of its own namespace, and Authority root lies in pki: write pki, or leave the namespace out`},
		},
		"one issuer for two bindings": {
			root + separator + binding("name: b", "scope: Cluster, authority: root") + separator + binding("name: b", "scope: Cluster, authority: root"),
			[]string{`f.yaml:15: metadata.name: ClusterIssuer b would be the issuer of IssuerBinding b, but it is the issuer of IssuerBinding b already (f.yaml:8): rename one of them`},
		},
		"binding with the name of an internal issuer": {
			rollingOver("") + separator + binding("name: root-a", "scope: Namespace, authority: root") + separator + binding("name: root-self-signed", "scope: Namespace, authority: root"),
			[]string{
				`f.yaml:10: metadata.name: Issuer pki/root-a would be the issuer of IssuerBinding root-a, but it is the internal issuer of key a of Authority root already (f.yaml:1): rename one of them`,
				`f.yaml:15: metadata.name: Issuer pki/root-self-signed would be the issuer of IssuerBinding root-self-signed, but it is the self-signed issuer of Authority root already (f.yaml:1): rename one of them`,
			},
		},
		"bundles": {
			root + separator +
				trustBundle("t", "", "configMap: {key: a/b}") + separator +
				trustBundle("t", "root, root", "configMap: {key: ca.crt}, namespaceSelector: {matchExpressions: [{key: a, operator: Is}]}") + separator +
				trustBundle("kube-root-ca.crt", "root", "configMap: {key: ca.crt}"),
			[]string{
				`f.yaml:12: spec.authorities: is missing: a bundle needs an authority, a certificate or useDefaultCAs`,
				`f.yaml:13: spec.target.configMap.key: "a/b" is not a ConfigMap's key: use at most 253 letters, digits, '-', '_' and '.'`,
				`f.yaml:17: metadata.name: Bundle t would be the bundle of TrustBundle t, but it is the bundle of TrustBundle t already (f.yaml:8): rename one of them`,
				`f.yaml:19: spec.authorities[1]: "root" stands twice: take one out`,
				`f.yaml:20: spec.target.namespaceSelector: is not a label selector: "Is" is not a valid label selector operator`,
				`f.yaml:24: metadata.name: kube-root-ca.crt is Kubernetes' own ConfigMap in every namespace: choose another name`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			documents, err := Decode("f.yaml", []byte(test.file))
			if err != nil {
				t.Fatal(err)
			}
			invalid, _ := Validate(documents, Site{})
			if got, want := invalid.Error(), strings.Join(test.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestValidateWarns(t *testing.T) {
	documents, err := Decode("f.yaml", []byte(rollingOver("  rollover:\n    soak: 0s\n    skew: 4m59s\n")))
	if err != nil {
		t.Fatal(err)
	}
	invalid, warnings := Validate(documents, Site{})
	if len(invalid) != 0 {
		t.Errorf("errors:\n%s", invalid)
	}
	want := "f.yaml:8: spec.rollover.soak: without a soak, signing moves the moment that distribution is seen complete\n" +
		"f.yaml:9: spec.rollover.skew: 4m59s is below 5m0s: verifiers whose clocks are behind may refuse a new certificate"
	if warnings.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", warnings, want)
	}
}

func TestValidateKnowsAnotherClusterResourceNamespace(t *testing.T) {
	documents, err := Decode("f.yaml", []byte(rollingOver("")+separator+binding("name: b", "scope: Cluster, authority: root")))
	if err != nil {
		t.Fatal(err)
	}
	if invalid, _ := Validate(documents, Site{ClusterResourceNamespace: "pki"}); len(invalid) != 0 {
		t.Errorf("errors:\n%s", invalid)
	}
}

// The examples of the reference are right.
func TestTheExamplesAreValid(t *testing.T) {
	paths, err := filepath.Glob("testdata/examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	seen := map[string]bool{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, string(data))
		decoded, err := Decode(path, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range decoded {
			seen[document.Object.kind()] = true
		}
	}
	if len(seen) != len(kinds) {
		t.Errorf("there are examples of %v, want all of %v", seen, kinds)
	}
	mistakes(t, documents(files...))
}

// An emergency is not put off.
func TestValidateRefusesToPauseAnEmergency(t *testing.T) {
	refusals(t, authority("name: b, namespace: pki", "commonName: B", "{name: a, state: Signing}, {name: c, state: Compromised}", "  rollover: {paused: true}\n"), Site{},
		`f.yaml:7: spec.rollover.paused: holds up the emergency of c: take it out`)
	refusals(t, authority("name: b, namespace: pki", "commonName: B", "{name: a, state: Retired}, {name: c, state: Compromised}", ""), Site{})
}

// A waiver names a key that goes, devices, and why.
func TestValidateWaivers(t *testing.T) {
	refusals(t, authority("name: b, namespace: pki", "commonName: B", "{name: a, state: Signing}, {name: c, state: Retired}", "  rollover:\n    waivers:\n"+
		"    - {key: c, devices: [sensors/one], reason: scrapped}\n"+
		"    - {key: d, devices: [one], reason: ' '}\n"+
		"    - {key: c, devices: [], reason: sold}\n"), Site{},
		`f.yaml:10: spec.rollover.waivers[1].devices[0]: "one" is not a device: write group/name`,
		`f.yaml:10: spec.rollover.waivers[1].key: "d" is none of the keys: name one that goes`,
		`f.yaml:10: spec.rollover.waivers[1].reason: is missing: say why nobody needs to wait for these devices`,
		`f.yaml:11: spec.rollover.waivers[2].devices: names no device: write group/name`)
}
