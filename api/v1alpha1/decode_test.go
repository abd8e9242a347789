package v1alpha1

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func fleet(t testing.TB) []Document {
	t.Helper()
	data, err := os.ReadFile("testdata/fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documents, err := Decode("fleet.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

func TestDecodeReadsWhatIsWritten(t *testing.T) {
	documents := fleet(t)
	wantNames := []string{
		"Authority cert-manager/fleet-root", "Authority plant/plant-root",
		"IssuerBinding fleet", "IssuerBinding plant", "TrustBundle fleet-trust",
		"Authority cert-manager/fleet-issuing", "Authority plant/fleet-devices",
	}
	for i, want := range wantNames {
		if got := documents[i].String(); got != want {
			t.Errorf("document %d is %s, want %s", i, got, want)
		}
	}
	want := &Authority{
		TypeMeta: metav1.TypeMeta{APIVersion: APIVersion, Kind: KindAuthority},
		Metadata: Metadata{
			Name: "fleet-root", Namespace: "cert-manager",
			Labels:      map[string]string{"team": "pki"},
			Annotations: map[string]string{"example.com/ticket": "PKI-7"},
		},
		Spec: AuthoritySpec{
			Subject: Subject{
				CommonName: "Fleet Root", Organizations: []string{"Example"},
				OrganizationalUnits: []string{"Plant"}, Countries: []string{"DE"},
			},
			PrivateKey: PrivateKey{Algorithm: RSA, Size: 4096},
			Duration:   hours(43800),
			Keys:       []AuthorityKey{{Name: "2025", State: KeyRetired}, {Name: "2026", State: KeySigning}},
			Rollover: Rollover{
				Soak: hours(24), Skew: &metav1.Duration{Duration: 10 * time.Minute},
				Confirm: ConfirmDevices, CanaryInterval: &metav1.Duration{Duration: 10 * time.Minute}, WaitForOffline: hours(720), Links: LinksMade, Waves: []int{100}, Paused: true,
			},
		},
	}
	if !reflect.DeepEqual(documents[0].Object, want) {
		t.Errorf("got  %+v\nwant %+v", documents[0].Object, want)
	}
	if documents[0].Line != 2 || documents[1].Line != 18 {
		t.Errorf("the documents begin on lines %d and %d, want 2 and 18", documents[0].Line, documents[1].Line)
	}
}

func hours(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Hour}
}

func TestDecodeFillsDefaults(t *testing.T) {
	documents := fleet(t)
	spec := documents[1].Object.(*Authority).Spec
	want := AuthoritySpec{
		Subject:    Subject{CommonName: "Plant Root"},
		PrivateKey: PrivateKey{Algorithm: ECDSA, Size: 384},
		Duration:   hours(87600),
		Keys:       []AuthorityKey{{Name: "a", State: KeySigning}, {Name: "b", State: KeyTrusted}},
		Rollover: Rollover{
			Soak: &metav1.Duration{Duration: 10 * time.Minute}, Skew: &metav1.Duration{Duration: 5 * time.Minute},
			Confirm: ConfirmDevices, CanaryInterval: hours(1), WaitForOffline: hours(720), Links: LinksMade, Waves: []int{100},
		},
	}
	if !reflect.DeepEqual(spec, want) {
		t.Errorf("got  %+v\nwant %+v", spec, want)
	}
	if parent := documents[6].Object.(*Authority).Spec.IssuedBy; parent == nil || parent.Name != "fleet-issuing" {
		t.Errorf("fleet-devices is issued by %v, want fleet-issuing", parent)
	}
	if via := documents[4].Object.(*TrustBundle).Spec.Via; via != ViaBundle {
		t.Errorf("via is %q, want Bundle", via)
	}
	ed25519 := PrivateKey{Algorithm: Ed25519}
	ed25519.Default()
	if ed25519.Size != 0 {
		t.Errorf("an Ed25519 key got the size %d", ed25519.Size)
	}
}

func TestDecodeRoundTrips(t *testing.T) {
	for _, document := range fleet(t) {
		written, err := yaml.Marshal(document.Object)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode("again.yaml", written)
		if err != nil {
			t.Fatalf("%s does not decode again: %v\n%s", document, err, written)
		}
		if len(again) != 1 || !reflect.DeepEqual(again[0].Object, document.Object) {
			t.Errorf("%s changed on the way:\n%s", document, written)
		}
	}
}

const head = "apiVersion: reanchor.dev/v1alpha1\n"

// authorityWith is an authority on lines 1 to 4 and further lines of its spec, from
// line 5.
func authorityWith(spec string) string {
	return head + "kind: Authority\nmetadata: {name: root, namespace: pki}\nspec:\n" + spec
}

const (
	subjectLine = "  subject: {commonName: Root}\n"
	keysLine    = "  keys: [{name: a, state: Signing}]\n"
)

func TestDecodeErrors(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"unknown field, near": {
			authorityWith(subjectLine + keysLine + "  privatKey: {}\n"),
			[]string{`f.yaml:7: spec.privatKey: unknown field; did you mean "privateKey"?`},
		},
		"unknown field, wrong case": {
			authorityWith(subjectLine + keysLine + "  Duration: 1h\n"),
			[]string{`f.yaml:7: spec.Duration: unknown field; did you mean "duration"?`},
		},
		"unknown field, far": {
			authorityWith(subjectLine + keysLine + "  colour: red\n"),
			[]string{`f.yaml:7: spec.colour: unknown field`},
		},
		"unknown field at the top": {
			authorityWith(subjectLine+keysLine) + "status: {}\n",
			[]string{`f.yaml:7: status: unknown field`},
		},
		"unknown field in a list": {
			authorityWith(subjectLine + "  keys:\n  - name: a\n    stat: Signing\n"),
			[]string{
				`f.yaml:7: spec.keys[0].state: is missing`,
				`f.yaml:8: spec.keys[0].stat: unknown field; did you mean "state"?`,
			},
		},
		"missing fields": {
			head + "kind: TrustBundle\nmetadata: {}\nspec:\n  target: {configMap: }\n",
			[]string{
				`f.yaml:3: metadata.name: is missing`,
			},
		},
		"missing target": {
			head + "kind: TrustBundle\nmetadata: {name: t}\nspec:\n  via: Bundle\n",
			[]string{`f.yaml:5: spec.target: is missing`},
		},
		"missing spec": {
			head + "kind: IssuerBinding\nmetadata: {name: x}\n",
			[]string{`f.yaml:1: spec: is missing`},
		},
		"number for a string": {
			authorityWith(subjectLine + "  keys: [{name: 2026, state: Signing}]\n"),
			[]string{`f.yaml:6: spec.keys[0].name: want a string, not a number: put it in quotes`},
		},
		"fraction, boolean and list for a string": {
			authorityWith("  subject: {commonName: 1.5, organizations: [true, [x]]}\n" + keysLine),
			[]string{
				`f.yaml:5: spec.subject.commonName: want a string, not a fraction: put it in quotes`,
				`f.yaml:5: spec.subject.organizations[0]: want a string, not true or false: put it in quotes`,
				`f.yaml:5: spec.subject.organizations[1]: want a string, not a list`,
			},
		},
		"string for a list, list for a mapping": {
			authorityWith("  subject: []\n  keys: all\n"),
			[]string{
				`f.yaml:5: spec.subject: want a mapping, not a list`,
				`f.yaml:6: spec.keys: want a list, not a string`,
			},
		},
		"empty item": {
			authorityWith(subjectLine + "  keys:\n  -\n"),
			[]string{`f.yaml:7: spec.keys[0]: is empty`},
		},
		"string for a boolean and for a number": {
			authorityWith(subjectLine + keysLine + "  rollover: {paused: yes}\n  privateKey: {size: \"384\"}\n"),
			[]string{
				`f.yaml:7: spec.rollover.paused: want true or false, not a string`,
				`f.yaml:8: spec.privateKey.size: want a whole number, not a string`,
			},
		},
		"bad durations": {
			authorityWith(subjectLine + keysLine + "  duration: 10y\n  rollover: {soak: 600, skew: 1 day}\n"),
			[]string{
				`f.yaml:7: spec.duration: "10y" is not a duration: write it in hours, minutes and seconds, such as 24h, 10m or 1m30s`,
				`f.yaml:8: spec.rollover.skew: "1 day" is not a duration: write it in hours, minutes and seconds, such as 24h, 10m or 1m30s`,
				`f.yaml:8: spec.rollover.soak: want a duration such as 90s, 10m or 24h, not a number`,
			},
		},
		"duplicate keys": {
			authorityWith(subjectLine + keysLine + "  duration: 1h\n  duration: 2h\n"),
			[]string{`f.yaml:8: spec.duration: stands twice: it is on line 7 already`},
		},
		"unknown values": {
			authorityWith(subjectLine + "  privateKey: {algorithm: ecdsa}\n  keys: [{name: a, state: Singing}]\n"),
			[]string{
				`f.yaml:6: spec.privateKey.algorithm: "ecdsa" is not known: write ECDSA, RSA or Ed25519; did you mean "ECDSA"?`,
				`f.yaml:7: spec.keys[0].state: "Singing" is not known: write Trusted, Signing, Retired or Compromised; did you mean "Signing"?`,
			},
		},
		"issued by": {
			authorityWith(subjectLine + keysLine + "  issuedBy: {nam: fleet-root}\n---\n" + authorityWith(subjectLine+keysLine+"  issuedBy: fleet-root\n")),
			[]string{
				`f.yaml:7: spec.issuedBy.nam: unknown field; did you mean "name"?`,
				`f.yaml:7: spec.issuedBy.name: is missing`,
				`f.yaml:15: spec.issuedBy: want a mapping, not a string`,
			},
		},
		"merge key": {
			authorityWith(subjectLine + keysLine + "  rollover:\n    <<: {soak: 1h}\n"),
			[]string{`f.yaml:8: spec.rollover: merge keys (<<) are not supported: write the fields out`},
		},
		"control character": {
			authorityWith("  subject: {commonName: \"Root\\e[31m\"}\n" + keysLine),
			[]string{`f.yaml:5: spec.subject.commonName: has a control character in it`},
		},
		"unknown kind": {
			head + "kind: Authorty\n",
			[]string{`f.yaml:2: kind: "Authorty" is not known: write Authority, IssuerBinding, TrustBundle, DeviceGroup, Device or Policy; did you mean "Authority"?`},
		},
		"no kind": {
			head,
			[]string{`f.yaml:1: kind: is missing: write Authority, IssuerBinding, TrustBundle, DeviceGroup, Device or Policy`},
		},
		"unknown version": {
			"kind: Authority\napiVersion: reanchor.dev/v2\n",
			[]string{`f.yaml:2: apiVersion: "reanchor.dev/v2" is not known: write reanchor.dev/v1alpha1`},
		},
		"no version": {
			"\nkind: Authority\n",
			[]string{`f.yaml:2: apiVersion: is missing: write reanchor.dev/v1alpha1`},
		},
		"TrustDomain": {
			head + "kind: TrustDomain\n",
			[]string{`f.yaml:2: kind: TrustDomain is an object of the cluster, not a document: apply it with kubectl, and keep it outside the folder that it names`},
		},
		"errors of several documents": {
			head + "kind: Device\nmetadata: {name: d}\n---\n" + head + "kind: Policy\nmetadata: {name: p}\nspec: {match: {}, exemptions: [{rule: r}]}\n---\n" +
				head + "kind: DeviceGroup\nmetadata: {name: g}\nspec: {issuer: {name: fleet}, namespace: plant, bootstrap: {identity: Name}}\n",
			[]string{
				`f.yaml:1: spec: is missing`,
				`f.yaml:8: spec.exemptions[0].reason: is missing`,
				`f.yaml:8: spec.exemptions[0].subject: is missing`,
				`f.yaml:8: spec.exemptions[0].until: is missing`,
				`f.yaml:8: spec.match.kinds: is missing`,
				`f.yaml:13: spec.bootstrap.certificates: is missing`,
				`f.yaml:13: spec.bootstrap.identity: "Name" is not known: write SubjectCommonName, SubjectSerialNumber, DNSName, URI or Fingerprint`,
				`f.yaml:13: spec.issuer.kind: is missing`,
			},
		},
		"types of what is not enforced yet": {
			authorityWith(subjectLine+keysLine+"  rollover:\n    waves: [1, 2.5, all]\n    windows: [{cron: 0, duration: 4}]\n    waitForOffline: long\n") +
				"---\n" + head + "kind: IssuerBinding\nmetadata: {name: b}\nspec: {scope: Cluster, authority: a, references: [{kind: Pod}]}\n",
			[]string{
				`f.yaml:8: spec.rollover.waves[1]: want a whole number, not a fraction`,
				`f.yaml:8: spec.rollover.waves[2]: want a whole number, not a string`,
				`f.yaml:9: spec.rollover.windows[0].cron: want a string, not a number: put it in quotes`,
				`f.yaml:9: spec.rollover.windows[0].duration: want a duration such as 90s, 10m or 24h, not a number`,
				`f.yaml:10: spec.rollover.waitForOffline: "long" is not a duration: write it in hours, minutes and seconds, such as 24h, 10m or 1m30s`,
				`f.yaml:15: spec.references[0].apiVersion: is missing`,
				`f.yaml:15: spec.references[0].fieldPath: is missing`,
				`f.yaml:15: spec.references[0].name: is missing`,
			},
		},
		"keys from elsewhere": {
			authorityWith("  keys:\n  - {name: a, state: Signing, secret: plant-ca, certificate: {}}\n  - {name: b, state: Trusted, secret: {nam: plant-ca}, issuer: vault}\n  - {name: c, state: Trusted, certificate: \"\"}\n"),
			[]string{
				`f.yaml:6: spec.keys[0].certificate: want a string, not a mapping`,
				`f.yaml:6: spec.keys[0].secret: want a mapping, not a string`,
				`f.yaml:7: spec.keys[1].issuer: want a mapping, not a string`,
				`f.yaml:7: spec.keys[1].secret.nam: unknown field; did you mean "name"?`,
				`f.yaml:7: spec.keys[1].secret.name: is missing`,
				`f.yaml:8: spec.keys[2].certificate: is empty: fill it in, or take it out`,
			},
		},
		"an issuer's spec that JSON has not": {
			authorityWith("  keys:\n  - name: a\n    state: Signing\n    issuer:\n      vault: {path: .inf, server: !!binary aGk=, server: b, <<: {}, auth: [~]}\n      acme: {\"e\\x1b\": \"\\x1b\"}\n"),
			[]string{
				`f.yaml:9: spec.keys[0].issuer.vault: merge keys (<<) are not supported: write the fields out`,
				`f.yaml:9: spec.keys[0].issuer.vault.auth[0]: is empty`,
				`f.yaml:9: spec.keys[0].issuer.vault.path: want a value that JSON has, not a fraction`,
				`f.yaml:9: spec.keys[0].issuer.vault.server: stands twice: it is on line 9 already`,
				`f.yaml:9: spec.keys[0].issuer.vault.server: want a value that JSON has, not a value tagged "!!binary"`,
				`f.yaml:10: spec.keys[0].issuer.acme.e?: has a control character in it`,
			},
		},
		"not YAML": {
			"a: b\nc: [\n",
			[]string{`f.yaml:2: not YAML: did not find expected node content`},
		},
		"a private key in the wrong place is not repeated": {
			authorityWith(subjectLine + keysLine + "  privateKey: |\n    -----BEGIN EC PRIVATE KEY-----\n    c2VjcmV0\n" +
				"  duration: |\n    -----BEGIN EC PRIVATE KEY-----\n    c2VjcmV0\n"),
			[]string{
				`f.yaml:7: spec.privateKey: want a mapping, not a string`,
				`f.yaml:10: spec.duration: "-----BEGIN EC PRIVATE KEY-----…" is not a duration: write it in hours, minutes and seconds, such as 24h, 10m or 1m30s`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			documents, err := Decode("f.yaml", []byte(test.file))
			var list ErrorList
			if !errors.As(err, &list) {
				t.Fatalf("got %d documents and the error %v, want an ErrorList", len(documents), err)
			}
			if got, want := list.Error(), strings.Join(test.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if documents != nil {
				t.Error("documents came with the errors")
			}
		})
	}
}

func TestDecodePassesOverWhatIsNotOurs(t *testing.T) {
	for name, file := range map[string]string{
		"nothing":          "",
		"comments alone":   "# nothing\n---\n---\n",
		"foreign kind":     "apiVersion: kyverno.io/v1\nkind: Policy\nspec: {x: 1, x: 2}\n",
		"list":             "- op: remove\n  path: /spec\n",
		"scalar":           "hello",
		"kustomization":    "resources: [a.yaml]\n",
		"another's domain": "apiVersion: reanchor.dev.example.com/v1\nkind: Authority\n",
	} {
		t.Run(name, func(t *testing.T) {
			documents, err := Decode("f.yaml", []byte(file))
			if err != nil || len(documents) != 0 {
				t.Errorf("got %v and %v, want nothing", documents, err)
			}
		})
	}
}

func TestDecodeFollowsAliases(t *testing.T) {
	documents, err := Decode("f.yaml", []byte(authorityWith(
		subjectLine+"  duration: &long 100h\n  keys: [{name: &a a, state: Signing}]\n  rollover: {soak: *long}\n")))
	if err != nil {
		t.Fatal(err)
	}
	if soak := documents[0].Object.(*Authority).Spec.Rollover.Soak; soak.Duration != 100*time.Hour {
		t.Errorf("soak is %s, want 100h", soak.Duration)
	}
}

func TestDecodeRefusesWhatIsTooMuch(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "*" + p + "]\n"
	}
	for name, test := range map[string]struct{ file, want string }{
		"alias bomb":   {bomb, "f.yaml:1: aliases add more than 262144 bytes: write the values out, or split the file"},
		"long aliases": {"a: &a " + strings.Repeat("x", 50_000) + "\nb: [*a,*a,*a,*a,*a,*a]\n", "f.yaml:1: aliases add more than 262144 bytes: write the values out, or split the file"},
		"cycle":        {"a: &a [*a]\n", "f.yaml:1: an alias refers to the value that it stands in: write the value out"},
		"deep":         {strings.Repeat("[", 100) + strings.Repeat("]", 100), "f.yaml:1: values are nested more than 64 deep"},
		"deep by alias": {
			"a: &a " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\nb: " + strings.Repeat("[", 40) + "*a" + strings.Repeat("]", 40),
			"f.yaml:1: values are nested more than 64 deep",
		},
		"big": {strings.Repeat("#", MaxFileSize+1), "f.yaml:1: the file has 1048577 bytes, more than the 1048576 that are read: split it"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode("f.yaml", []byte(test.file))
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestDecodeTellsNoMoreThanAHundredErrors(t *testing.T) {
	_, err := Decode("f.yaml", []byte(strings.Repeat(head+"kind: Devise\n---\n", 1000)))
	var list ErrorList
	if !errors.As(err, &list) || len(list) != maxErrors {
		t.Errorf("got %d errors, want %d", len(list), maxErrors)
	}
}

// However an issuer's spec is written, it is kept in one form.
func TestDecodeKeepsIssuersInOneForm(t *testing.T) {
	const want = `{"vault":{"auth":{"tokenSecretRef":{"key":"2026-01-01","name":"t"}},"caBundle":"","n":[1,2.5,18446744073709551615,true],"path":"<p>"}}`
	for name, issuer := range map[string]string{
		"flow":    `{vault: {path: <p>, caBundle: "", n: [1, 2.5, 18446744073709551615, true], auth: {tokenSecretRef: {name: t, key: 2026-01-01}}}}`,
		"block":   "\n      vault:\n        auth: {tokenSecretRef: {key: \"2026-01-01\", name: t}}\n        n: [0x1, 2.50, 18446744073709551615, true]\n        path: <p>\n        caBundle: ''\n        server:\n",
		"aliases": `{vault: {path: <p>, caBundle: "", n: [&one 1.0, 2.5, 18446744073709551615, true], auth: {tokenSecretRef: &ref {name: &t t, key: 2026-01-01}}}, acme: }`,
	} {
		t.Run(name, func(t *testing.T) {
			documents, err := Decode("f.yaml", []byte(authorityWith("  keys:\n  - name: a\n    state: Signing\n    issuer: "+issuer+"\n")))
			if err != nil {
				t.Fatal(err)
			}
			var got, wanted any
			raw := documents[0].Object.(*Authority).Spec.Keys[0].Issuer.Raw
			if json.Unmarshal(raw, &got) != nil || json.Unmarshal([]byte(want), &wanted) != nil || !reflect.DeepEqual(got, wanted) {
				t.Errorf("got  %s\nwant %s", raw, want)
			}
			if first := documents[0].line("spec.keys[0].issuer.vault.nowhere"); first < 8 {
				t.Errorf("what stands in the issuer is on line %d", first)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	seed, err := os.ReadFile("testdata/fleet.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte(authorityWith(subjectLine + keysLine + "  rollover: {soak: &x 1h, skew: *x}\n  <<: *x\n")))
	f.Add([]byte(root + separator + under("b", "root", "pki", "{name: a, state: Signing}", "") + separator + under("c", "d", "pki", "{name: a, state: Signing}", "")))
	f.Add([]byte(head + "kind: TrustBundle\nmetadata: {name: ?}\nspec: {authorities: [!!binary aGk=, 2025-01-01]}\n"))
	f.Add([]byte(documents(
		givenRoot("plant", "pki", key("a", "Signing", newSigner(f, "Plant Root", nil).certificateField())+", "+key("b", "Trusted", behindVault, "certificate: x")),
		givenUnder("issuing", "plant", "pki", key("c", "Signing", inSecret, newSigner(f, "Issuing", newSigner(f, "Plant Root", nil)).certificateField())),
		bundleOf("t", "authorities: [plant], certificates: [x], useDefaultCAs: true, target: {secret: {key: a}, additionalFormats: {jks: {key: a}, pkcs12: {key: b, password: ''}}}, probes: [{address: a}]"),
	)))
	f.Add([]byte(documents(
		groupOf(f, "sensors", "  approval: AllowList\n  allow: ['[']\n  certificate: {duration: 2h, dnsNames: ['{{ .ID }}.a']}\n"),
		deviceOf("one", "group: sensors, request: "+quoted(request(f, "one"))),
		head+"kind: Policy\nmetadata: {name: p}\nspec: {match: {kinds: [Issuer]}, validations: [{expression: a}], exemptions: [{rule: r, subject: s, reason: w, until: 2027-01-31}]}\n",
	)))
	f.Add([]byte(authorityWith(keysLine + "  rollover: {waves: [1, 100], windows: [{cron: a, duration: 1h}], waitForOffline: 1h, confirm: Devices}\n")))
	f.Add([]byte(givenRoot("a", "pki", "{name: a, state: Signing, issuer: {vault: {path: .5e3, n: [-0, -0.0, 1e30, 18446744073709551615, 0x10, &a {b: c}, *a], \"\\t\": 2026-01-01}}}")))
	f.Fuzz(func(t *testing.T, data []byte) {
		documents, err := Decode("f.yaml", data)
		if err != nil {
			checkErrors(t, err)
			return
		}
		for _, document := range documents {
			written, err := json.Marshal(document.Object)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Decode("again.json", written)
			if err != nil {
				t.Fatalf("%q does not decode again: %v", written, err)
			}
			rewritten, err := json.Marshal(again[0].Object)
			if err != nil || string(rewritten) != string(written) {
				t.Fatalf("%q became %q (%v)", written, rewritten, err)
			}
		}
		invalid, warnings := Validate(documents, Site{Retired: map[string][]string{"root": {"a"}}})
		checkErrors(t, append(invalid, warnings...))
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	var list ErrorList
	if !errors.As(err, &list) {
		t.Fatalf("%T is no ErrorList", err)
	}
	for _, e := range list {
		if e.File == "" || e.Line < 1 || e.Message == "" {
			t.Fatalf("%+v does not say where or what", e)
		}
		if strings.ContainsAny(e.Error(), "\n\r\x1b") {
			t.Fatalf("%q does not fit on a line", e.Error())
		}
	}
}
