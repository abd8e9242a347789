package v1alpha1

import (
	"fmt"
	"strings"
	"testing"
)

// three is a chain of three levels: 6, 7 and 8 lines, a separator after each of the
// first two. The lowest lies where it is used.
func three(devices string) string {
	return root + separator + under("issuing", "root", "cert-manager", "{name: b, state: Signing}", "  duration: 8760h\n") + separator +
		under("devices", "issuing", "plant", "{name: c, state: Signing}", devices)
}

// documents puts files together, each a document.
func documents(files ...string) string { return strings.Join(files, separator) }

func TestValidateChains(t *testing.T) {
	const (
		signing = "{name: a, state: Signing}"
		gone    = "{name: a, state: Retired}"
	)
	long := strings.Repeat("x", 64)
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"three levels": {file: three("  duration: 2184h\n")},
		"unknown parent": {
			file: documents(root, under("issuing", "roots", "cert-manager", signing, "")),
			want: []string{`f.yaml:14: spec.issuedBy.name: there is no Authority "roots"; did you mean "root"?`},
		},
		"what hangs under an unknown parent waits": {
			file: documents(under("issuing", "root", "cert-manager", signing, ""), under("devices", "issuing", "plant", signing, "")),
			want: []string{`f.yaml:7: spec.issuedBy.name: there is no Authority "root"`},
		},
		"issued by itself": {
			file: under("issuing", "issuing", "pki", signing, ""),
			want: []string{`f.yaml:7: spec.issuedBy.name: Authority issuing is issued by itself: name its parent, or take issuedBy out for a self-signed root`},
		},
		"a circle of two": {
			file: documents(under("b", "a", "pki", signing, ""), under("a", "b", "pki", signing, "")),
			want: []string{`f.yaml:15: spec.issuedBy.name: the authorities a → b → a are issued by each other in a circle: take issuedBy out of the one that is a self-signed root`},
		},
		"a circle of three, one below it, and a circle of one": {
			file: documents(
				under("b", "d", "pki", signing, ""), under("d", "c", "pki", signing, ""), under("c", "b", "pki", signing, ""),
				under("a", "b", "pki", signing, ""), under("e", "e", "pki", signing, ""),
			),
			want: []string{
				`f.yaml:7: spec.issuedBy.name: the authorities b → d → c → b are issued by each other in a circle: take issuedBy out of the one that is a self-signed root`,
				`f.yaml:39: spec.issuedBy.name: Authority e is issued by itself: name its parent, or take issuedBy out for a self-signed root`,
			},
		},
		"a child elsewhere": {
			file: documents(rollingOver(""), under("issuing", "root", "plant", signing, "")),
			want: []string{`f.yaml:14: spec.issuedBy.name: Authority root lies in pki, and only one that lies in cert-manager signs for another namespace: move it there, or Authority issuing to pki`},
		},
		"a child elsewhere, two levels down": {
			file: documents(root, under("issuing", "root", "plant", signing, ""), under("devices", "issuing", "line", signing, "")),
			want: []string{`f.yaml:22: spec.issuedBy.name: Authority issuing lies in plant, and only one that lies in cert-manager signs for another namespace: move it there, or Authority devices to plant`},
		},
		"a child beside its parent": {file: documents(rollingOver(""), under("issuing", "root", "pki", signing, ""))},
		"a child that lives longer": {
			file: documents(rollingOver("  duration: 8760h\n"), under("issuing", "root", "pki", signing, "  duration: 8761h\n")),
			want: []string{`f.yaml:16: spec.duration: 8761h0m0s is longer than the 8760h0m0s of Authority root: a CA must not outlive the one that signs it, so shorten it`},
		},
		"a child that lives longer by default": {
			file: documents(rollingOver("  duration: 8760h\n"), under("issuing", "root", "pki", signing, "")),
			want: []string{`f.yaml:12: spec.duration: 87600h0m0s is longer than the 8760h0m0s of Authority root: a CA must not outlive the one that signs it, so shorten it`},
		},
		"a parent that leaves": {
			file: documents(authority("name: root, namespace: pki", "commonName: Root", gone, ""), under("issuing", "root", "pki", signing, "")),
			want: []string{`f.yaml:14: spec.issuedBy.name: every key of Authority root is Retired, so nothing is left to sign with: retire every key of Authority issuing as well, or let a key of root be Signing`},
		},
		"a parent that leaves with its child": {
			file: documents(authority("name: root, namespace: pki", "commonName: Root", gone, ""), under("issuing", "root", "pki", gone, "")),
		},
		"intermediates in a bundle": {
			file: documents(three("  duration: 2184h\n"), trustBundle("t", "root, issuing, devices", "configMap: {key: ca.crt}")),
			want: []string{
				`f.yaml:30: spec.authorities[1]: issuing is an intermediate, and intermediates never enter a bundle: name its root root`,
				`f.yaml:30: spec.authorities[2]: devices is an intermediate, and intermediates never enter a bundle: name its root root`,
			},
		},
		"an intermediate without a root in a bundle": {
			file: documents(under("issuing", "x", "pki", signing, ""), trustBundle("t", "issuing", "configMap: {key: ca.crt}")),
			want: []string{
				`f.yaml:7: spec.issuedBy.name: there is no Authority "x"`,
				`f.yaml:13: spec.authorities[0]: issuing is an intermediate, and intermediates never enter a bundle: name its root`,
			},
		},
		"a binding of an intermediate": {file: documents(three("  duration: 2184h\n"), binding("name: devices", "scope: Namespace, authority: devices"), binding("name: fleet", "scope: Cluster, authority: issuing"))},
	} {
		t.Run(name, func(t *testing.T) { refusals(t, test.file, Site{}, test.want...) })
	}
	t.Run("a long name", func(t *testing.T) {
		key := "{name: " + long[:31] + ", state: Signing}"
		refusals(t, documents(
			authority("name: root, namespace: pki", "commonName: R", "{name: "+long[:32]+", state: Signing}, {name: a, state: Retired}", ""),
			under("issuing", "root", "pki", key, "")), Site{},
			fmt.Sprintf(`f.yaml:13: spec.keys[0].name: the name of its key pair "%s…" has 64 bytes, more than the 63 of a label: shorten the names of the keys, here or above`, (long[:31] + "." + long)[:40]))
	})
}

// refusals compares what Validate refuses with lines.
func refusals(t *testing.T, file string, site Site, want ...string) {
	t.Helper()
	decoded, err := Decode("f.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	invalid, _ := Validate(decoded, site)
	if got, want := invalid.Error(), strings.Join(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestValidateKeyPairs(t *testing.T) {
	const (
		signing = "{name: a, state: Signing}"
		two     = "{name: a, state: Retired}, {name: b, state: Signing}"
	)
	rootOfTwo := authority("name: root, namespace: cert-manager", "commonName: Root", two, "")
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"common name with the pair's": {
			documents(root, authority("name: issuing, namespace: pki", "commonName: "+strings.Repeat("x", 62), signing, "  issuedBy: {name: root}\n")),
			[]string{fmt.Sprintf(`f.yaml:13: spec.keys[0].name: the certificate's common name "%s…" has 66 bytes, more than the 64 that X.509 allows: shorten spec.subject.commonName`, strings.Repeat("x", 40))},
		},
		"roots that share a subject": {
			documents(
				authority("name: one, namespace: one", "commonName: Root, organizations: [A, B]", signing, ""),
				authority("name: two, namespace: two", "commonName: root, organizations: [b, a]", "{name: b, state: Trusted}, "+signing, ""),
			),
			[]string{`f.yaml:13: spec.keys[1].name: key a of Authority two would share its subject "root a" with key a of Authority one (f.yaml:1), and verifiers find a signer by its subject: change spec.subject in one of them`},
		},
		"roots that differ in their organization": {
			documents(
				authority("name: one, namespace: one", "commonName: Root, organizations: [A]", signing, ""),
				authority("name: two, namespace: two", "commonName: Root, organizationalUnits: [A]", signing, ""),
			),
			nil,
		},
		"intermediates that share a subject, told once for each key": {
			documents(rootOfTwo,
				authority("name: one, namespace: one", "commonName: Issuing", signing, "  issuedBy: {name: root}\n"),
				authority("name: two, namespace: two", "commonName: Issuing", "{name: c, state: Retired}, "+signing, "  issuedBy: {name: root}\n")),
			[]string{`f.yaml:21: spec.keys[1].name: key a.a of Authority two would share its subject "Issuing a.a" with key a.a of Authority one (f.yaml:8), and verifiers find a signer by its subject: change spec.subject in one of them`},
		},
		"intermediates of two roots under one name": {
			documents(root, authority("name: other, namespace: cert-manager", "commonName: Other", "{name: z, state: Signing}", ""),
				authority("name: one, namespace: one", "commonName: Issuing", signing, "  issuedBy: {name: root}\n"),
				authority("name: two, namespace: two", "commonName: Issuing", signing, "  issuedBy: {name: other}\n")),
			nil,
		},
		"bindings with the names of internal issuers": {
			documents(rootOfTwo, under("issuing", "root", "pki", "{name: x, state: Signing}", ""),
				binding("name: issuing-x.a", "scope: Namespace, authority: issuing"),
				binding("name: issuing-x.b", "scope: Namespace, authority: issuing"),
				binding("name: issuing-x", "scope: Namespace, authority: issuing"),
				binding("name: root-b", "scope: Cluster, authority: root"),
				binding("name: issuing-x.a", "scope: Cluster, authority: root")),
			[]string{
				`f.yaml:18: metadata.name: Issuer pki/issuing-x.a would be the issuer of IssuerBinding issuing-x.a, but it is the internal issuer of key x.a of Authority issuing already (f.yaml:8): rename one of them`,
				`f.yaml:23: metadata.name: Issuer pki/issuing-x.b would be the issuer of IssuerBinding issuing-x.b, but it is the internal issuer of key x.b of Authority issuing already (f.yaml:8): rename one of them`,
				`f.yaml:33: metadata.name: ClusterIssuer root-b would be the issuer of IssuerBinding root-b, but it is the internal issuer of key b of Authority root already (f.yaml:1): rename one of them`,
			},
		},
		"a cluster binding beside a child at home": {
			documents(rootOfTwo, under("issuing", "root", "cert-manager", signing, ""), binding("name: root-b", "scope: Cluster, authority: root")),
			nil,
		},
		"a pair with the name of another authority's key": {
			documents(root, under("one", "root", "pki", signing, ""), authority("name: one-a.a, namespace: pki", "commonName: X", signing, ""),
				binding("name: one-a.a-self-signed", "scope: Namespace, authority: one"), binding("name: one-self-signed", "scope: Namespace, authority: one")),
			[]string{`f.yaml:25: metadata.name: Issuer pki/one-a.a-self-signed would be the issuer of IssuerBinding one-a.a-self-signed, but it is the self-signed issuer of Authority one-a.a already (f.yaml:16): rename one of them`},
		},
	} {
		t.Run(name, func(t *testing.T) { refusals(t, test.file, Site{}, test.want...) })
	}
}

func TestValidateRefusesNamesThatAreUsedUp(t *testing.T) {
	const two = "{name: b, state: Signing}, {name: a, state: Retired}, {name: t, state: Trusted}"
	file := documents(
		authority("name: root, namespace: pki", "commonName: Root", two, ""),
		under("issuing", "root", "pki", two, ""),
		under("devices", "issuing", "pki", "{name: x, state: Signing}, {name: y, state: Retired}", ""),
	)
	for name, test := range map[string]struct {
		retired map[string][]string
		want    []string
	}{
		"none": {nil, nil},
		"keys that are Retired or gone, pairs under keys that do not sign": {map[string][]string{
			"root": {"a", "z"}, "issuing": {"a.b", "b.a", "b.t", "t.a", "b"}, "devices": {"x.a.b", "x.b.a", "y.b.b"}, "gone": {"b"},
		}, nil},
		"keys of a root": {map[string][]string{"root": {"a", "b", "t"}}, []string{
			`f.yaml:6: spec.keys[0].name: b was retired (anchors/root/retired/b.pem): a key's name is used once: choose another`,
			`f.yaml:6: spec.keys[2].name: t was retired (anchors/root/retired/t.pem): a key's name is used once: choose another`,
		}},
		"pairs under the key that signs": {map[string][]string{"issuing": {"b.b", "t.b"}, "devices": {"x.b.b"}}, []string{
			`f.yaml:13: spec.keys[0].name: b.b was retired (anchors/issuing/retired/b.b.pem): a key's name is used once: choose another`,
			`f.yaml:13: spec.keys[2].name: t.b was retired (anchors/issuing/retired/t.b.pem): a key's name is used once: choose another`,
			`f.yaml:21: spec.keys[0].name: x.b.b was retired (anchors/devices/retired/x.b.b.pem): a key's name is used once: choose another`,
		}},
	} {
		t.Run(name, func(t *testing.T) { refusals(t, file, Site{Retired: test.retired}, test.want...) })
	}
}

func TestValidateWarnsOfChains(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"shorter at each level": {three("  duration: 2184h\n"), ""},
		"as long as its parent": {
			three("  duration: 8760h\n"),
			"f.yaml:24: spec.duration: 8760h0m0s is as long as that of Authority issuing: what is signed later than its CA outlives it, so shorten it",
		},
		"no time left": {
			three("  duration: 24h\n  rollover: {soak: 23h35m}\n"),
			"f.yaml:24: spec.duration: a key that lives 24h0m0s may expire while the authorities above it roll over: soak and skew from Authority root down take 24h10m0s",
		},
		"a minute left": {three("  duration: 24h\n  rollover: {soak: 23h24m}\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			decoded, err := Decode("f.yaml", []byte(test.file))
			if err != nil {
				t.Fatal(err)
			}
			if _, warnings := Validate(decoded, Site{}); warnings.Error() != test.want {
				t.Errorf("got\n%s\nwant\n%s", warnings, test.want)
			}
		})
	}
}

// Each level multiplies the key pairs; deep chains are long. Neither may take long.
func TestValidateBoundsKeyPairs(t *testing.T) {
	keysOf := func(n int) string {
		keys := []string{"{name: k0, state: Signing}"}
		for i := range n - 1 {
			keys = append(keys, fmt.Sprintf("{name: k%d, state: Retired}", i+1))
		}
		return strings.Join(keys, ", ")
	}
	many, fewer := keysOf(101), keysOf(50)
	refusals(t, documents(
		authority("name: root, namespace: pki", "commonName: Root", many, ""),
		under("one", "root", "pki", many, ""), under("two", "one", "pki", many, ""), under("three", "root", "pki", many, ""),
	), Site{},
		"f.yaml:13: spec.keys: 101 keys here, each with a pair for each of the 101 key pairs of Authority root, make more than the 10000 that the intermediates may have in all: take keys that are gone out of the lists",
		"f.yaml:29: spec.keys: 101 keys here, each with a pair for each of the 101 key pairs of Authority root, make more than the 10000 that the intermediates may have in all: take keys that are gone out of the lists",
	)

	files := []string{authority("name: root, namespace: pki", "commonName: Root", fewer, "")}
	for i := range 5 {
		files = append(files, under(fmt.Sprintf("c%d", i), "root", "pki", fewer, ""))
	}
	refusals(t, documents(files...), Site{},
		"f.yaml:45: spec.keys: 50 keys here, each with a pair for each of the 50 key pairs of Authority root, make more than the 10000 that the intermediates may have in all: take keys that are gone out of the lists")

	files = []string{root}
	for i := range 3000 {
		parent := "root"
		if i > 0 {
			parent = fmt.Sprintf("c%d", i-1)
		}
		files = append(files, under(fmt.Sprintf("c%d", i), parent, "cert-manager", "{name: a, state: Signing}", ""))
	}
	commonName := `f.yaml:%d: spec.keys[0].name: the certificate's common name "%s %s…" has %d bytes, more than the 64 that X.509 allows: shorten spec.subject.commonName`
	refusals(t, documents(files...), Site{},
		fmt.Sprintf(commonName, 245, "c29", strings.Repeat("a.", 18), 65),
		fmt.Sprintf(commonName, 253, "c30", strings.Repeat("a.", 18), 67),
		fmt.Sprintf(`f.yaml:261: spec.keys[0].name: the name of its key pair "%s…" has 65 bytes, more than the 63 of a label: shorten the names of the keys, here or above`, strings.Repeat("a.", 20)))
}
