package hostile

import (
	"fmt"
	"slices"
	"strings"
	"testing/fstest"
)

// What several trees are told.
const (
	inDocuments = ": what trust hangs on changes in the documents alone, so take the change out of the overlay"
	leaked      = ": take it out of the repository and its history, and replace the key wherever it is used: it has left the cluster"
	keystore    = ": if it holds certificates alone, commit them as PEM; else take it out of the repository and its history, " +
		"and replace the key wherever it is used: it has left the cluster"
	remote = " is remote, and nothing is fetched; copy what it names into the repository"
)

// Trees are repositories that must be refused: most are a good one with one thing wrong.
func Trees() []Tree {
	return slices.Concat(documents(), certificates(), overlays(), privateKeys(), remotes(), escapes(), sizes(), paths())
}

// document is the good fleet with another document in the place of its own.
func document(text string) fstest.MapFS { return with("-- pki.yaml --\n" + text) }

// authority is a document of a root with the keys given, in the flow style of YAML.
func authority(name, keys string) string {
	return "apiVersion: reanchor.dev/v1alpha1\nkind: Authority\nmetadata: {name: " + name + ", namespace: cert-manager}\n" +
		"spec:\n  subject: {commonName: " + name + "}\n  keys: [" + keys + "]\n"
}

const signing = `{name: "1", state: Signing}`

// given is a document of a root whose one key comes from elsewhere.
func given(certificate []byte) string {
	return "apiVersion: reanchor.dev/v1alpha1\nkind: Authority\nmetadata: {name: root, namespace: cert-manager}\nspec:\n" +
		"  keys:\n  - name: \"2026\"\n    state: Signing\n    secret: {name: plant-ca}\n    certificate: " + block(6, certificate) + "\n"
}

// bundle is a document of a bundle with one further certificate.
func bundle(certificate []byte) string {
	return "apiVersion: reanchor.dev/v1alpha1\nkind: TrustBundle\nmetadata: {name: trust}\nspec:\n" +
		"  target: {configMap: {key: ca.crt}}\n  certificates:\n  - " + block(4, certificate) + "\n"
}

func documents() []Tree {
	under := func(name, parent string) string {
		return strings.Replace(authority(name, signing), "spec:\n", "spec:\n  issuedBy: {name: "+parent+"}\n  duration: 8760h\n", 1)
	}
	binding := func(name string) string {
		return "apiVersion: reanchor.dev/v1alpha1\nkind: IssuerBinding\nmetadata: {name: " + name + "}\nspec: {scope: Cluster, authority: root}\n"
	}
	return []Tree{
		{
			Name: "unknown field", By: Load, Files: document(authority("root", signing) + "  organisation: Example\n"),
			Want: "load the repository: pki.yaml:7: spec.organisation: unknown field",
		},
		{
			Name: "authority that is not there", By: Load, Files: document(authority("fleet-root", signing) + "---\n" + strings.Replace(binding("fleet"), "authority: root", "authority: fleet-rot", 1)),
			Want: `load the repository: pki.yaml:11: spec.authority: there is no Authority "fleet-rot"; did you mean "fleet-root"?`,
		},
		{
			Name: "authorities that issue each other", By: Load, Files: document(under("a", "b") + "---\n" + under("b", "a")),
			Want: "load the repository: pki.yaml:5: spec.issuedBy.name: the authorities a → b → a are issued by each other in a circle: take issuedBy out of the one that is a self-signed root",
		},
		{
			Name: "two Signing keys", By: Load, Files: document(authority("root", `{name: "1", state: Signing}, {name: "2", state: Signing}`)),
			Want: "load the repository: pki.yaml:6: spec.keys: the keys 1 and 2 are all Signing: exactly one must be, make the others Trusted or Retired",
		},
		{
			Name: "no Signing key", By: Load, Files: document(authority("root", `{name: "1", state: Trusted}`)),
			Want: "load the repository: pki.yaml:6: spec.keys: no key is Signing: exactly one must be, or every key Retired for an authority that goes",
		},
		{
			Name: "a retired name again", By: Load,
			Files: beside("", map[string][]byte{"anchors/fleet-root/retired/2026.pem": Root("Fleet Root 2026").PEM()}),
			Want:  "load the repository: pki.yaml:8: spec.keys[1].name: 2026 was retired (anchors/fleet-root/retired/2026.pem): a key's name is used once: choose another",
		},
		{
			Name: "two bindings of one issuer", By: Load, Files: document(authority("root", signing) + "---\n" + binding("fleet") + "---\n" + binding("fleet")),
			Want: "load the repository: pki.yaml:13: IssuerBinding fleet stands in pki.yaml:8 already; rename one of them or take it out",
		},
		{
			Name: "the name of a binding for a native issuer", By: Render,
			Files: with("-- kustomization.yaml --\nresources: [pki.yaml, native.yaml]\n-- native.yaml --\n# Let's Encrypt\n" +
				"apiVersion: cert-manager.io/v1\nkind: ClusterIssuer\nmetadata: {name: fleet}\nspec: {acme: {server: https://acme.example}}\n"),
			Want: "render reanchor/plant: native.yaml:2: ClusterIssuer fleet is what reanchor renders; rename it or take it out",
		},
	}
}

func certificates() []Tree {
	return []Tree{
		{
			Name: "a certificate of no CA for a key", By: Load, Files: document(given(Leaf("server", "Plant Root").PEM())),
			Want: "load the repository: pki.yaml:9: spec.keys[0].certificate: is not the certificate of a CA (its basic constraints do not say CA:TRUE): give that of the CA",
		},
		{
			Name: "no certificate for a key", By: Load, Files: document(given([]byte("the certificate\n"))),
			Want: "load the repository: pki.yaml:9: spec.keys[0].certificate: holds no certificate: give it in PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----",
		},
		{
			Name: "a certificate of no CA in a bundle", By: Load, Files: document(bundle(Leaf("server", "Plant Root").PEM())),
			Want: `load the repository: pki.yaml:7: spec.certificates[0]: "CN=server" is not the certificate of a CA (its basic constraints do not say CA:TRUE): give its root`,
		},
		{
			Name: "a recorded certificate of no CA", By: Record,
			Files: beside("", map[string][]byte{"anchors/fleet-root/2025.pem": Leaf("server", "Plant Root").PEM()}),
			Want:  "load the record of the repository: anchors/fleet-root/2025.pem:1: server (3bc1883244e9) is not the certificate of a CA: restore the key's own from the repository's history, or delete the file",
		},
	}
}

// overlay is one that applies an operation (RFC 6902) to what is rendered.
func overlay(target, operation string) string {
	return "-- overlay/kustomization.yaml --\nkind: Component\npatches:\n- target: {" + target + "}\n  patch: |\n    - {" + operation + "}\n"
}

func overlays() []Tree {
	recorded := map[string][]byte{"anchors/fleet-root/2025.pem": Root("Fleet Root 2025").PEM(), "anchors/fleet-root/2026.pem": Root("Fleet Root 2026").PEM()}
	foreign := fmt.Sprintf("%q", Root("Foreign").PEM())
	changed := func(target, operation string) fstest.MapFS {
		return files(elsewhere("-- kustomization.yaml --\nresources: [pki.yaml, native.yaml]\n" + overlay(target, operation)))
	}
	return []Tree{
		{
			Name: "an anchor added to a Bundle", By: Check,
			Files: beside(overlay(`kind: Bundle`, `op: add, path: /spec/sources/-, value: {inLine: `+foreign+`}`), recorded),
			Want:  "anchor-changed: Bundle fleet-trust: the anchor Foreign (819b203481cb) is not planned" + inDocuments,
		},
		{
			Name: "an anchor taken out of a Bundle", By: Check,
			Files: beside(overlay(`kind: Bundle`, `op: remove, path: /spec/sources`), recorded),
			Want: "anchor-changed: Bundle fleet-trust: the anchor Fleet Root 2025 (60f37db1fdcd) is missing" + inDocuments + "\n" +
				"anchor-changed: Bundle fleet-trust: the anchor Fleet Root 2026 (1b3595e83b6d) is missing" + inDocuments,
		},
		{
			Name: "the public CAs taken out of a Bundle", By: Check,
			Files: changed(`kind: Bundle, name: trust`, `op: remove, path: /spec/sources/1`),
			Want:  "anchor-changed: Bundle trust: spec.sources lacks useDefaultCAs, which the document asks for" + inDocuments,
		},
		{
			Name: "another anchor in the copies that reanchor writes", By: Render,
			Files: changed(`kind: ConfigMap, name: own-trust`, `op: replace, path: /data/ca.crt, value: `+foreign),
			Want:  "render reanchor/plant: overlay: ConfigMap own-trust: more is changed than labels and annotations, and verifiers trust what it holds; change TrustBundle own-trust instead",
		},
		{
			Name: "another server for an external issuer", By: Check,
			Files: changed(`kind: Issuer, name: outside`, `op: replace, path: /spec/vault/server, value: "https://evil.example"`),
			Want:  "anchor-changed: Issuer plant/outside: spec.vault.server is not what the key's issuer has in Git" + inDocuments,
		},
		{
			Name: "another Secret for a key's own issuer", By: Check,
			Files: changed(`kind: Issuer, name: plant-root-2026`, `op: replace, path: /spec/ca/secretName, value: other`),
			Want:  `anchor-changed: Issuer cert-manager/plant-root-2026: spec.ca.secretName is "other", not "plant-ca"` + inDocuments,
		},
		{
			Name: "another key in what is remembered of an issuer", By: Render,
			Files: changed(`kind: Issuer, name: outside`, `op: replace, path: /metadata/annotations/reanchor.dev~1signs-with, value: plant/vault/2`),
			Want:  "render reanchor/plant: Issuer plant/outside: the annotation reanchor.dev/signs-with is set by reanchor alone; take it out of the manifest or overlay",
		},
		{
			Name: "a rendered object renamed", By: Render, Files: with(overlay(`kind: Certificate, name: fleet-root-2026`, `op: replace, path: /metadata/name, value: other`)),
			Want: "render reanchor/plant: overlay: renames, moves or removes Certificate cert-manager/fleet-root-2026, which reanchor would not find again; change the documents instead",
		},
		{
			Name: "a Secret in the place of a key's", By: Check,
			Files: files(elsewhere("-- kustomization.yaml --\nresources: [pki.yaml, native.yaml, secret.yaml]\n-- secret.yaml --\n{apiVersion: v1, kind: Secret, metadata: {name: plant-ca, namespace: cert-manager}}\n")),
			Want:  "anchor-changed: Secret cert-manager/plant-ca: takes the place of the Secret that somebody else makes for the key of a CA: rename it, or take it out of the repository",
		},
	}
}

func privateKeys() []Tree {
	pem := PrivateKey("leaked")
	secret := func(field, value string) fstest.MapFS {
		return with("-- kustomization.yaml --\nresources: [pki.yaml, secret.yaml]\n-- secret.yaml --\napiVersion: v1\nkind: Secret\nmetadata: {name: ca}\n" + field + ":\n  ca.key: " + value + "\n")
	}
	return []Tree{
		{
			Name: "a private key in PEM", By: Scan, Files: beside("", map[string][]byte{"keys/ca.key": pem}),
			Want: "private-key: keys/ca.key:1: holds a private key (PRIVATE KEY)" + leaked,
		},
		{
			Name: "a private key behind a certificate", By: Scan, Files: beside("", map[string][]byte{"keys/ca.pem": slices.Concat(Root("Fleet Root 2026").PEM(), pem)}),
			Want: "private-key: keys/ca.pem:10: holds a private key (PRIVATE KEY)" + leaked,
		},
		{
			Name: "a private key in a Secret's data", By: Scan, Files: secret("data", base64Of(pem)),
			Want: "private-key: secret.yaml:5: holds a private key (PRIVATE KEY)" + leaked,
		},
		{
			Name: "a private key in a Secret's stringData", By: Scan, Files: secret("stringData", block(4, pem)),
			Want: "private-key: secret.yaml:6: holds a private key (PRIVATE KEY)" + leaked,
		},
		{
			Name: "a PKCS #12 keystore", By: Scan, Files: beside("", map[string][]byte{"keys/ca.p12": PKCS12()}),
			Want: "private-key: keys/ca.p12:1: holds a private key (PKCS#12 keystore)" + keystore,
		},
		{
			Name: "a PKCS #12 keystore in a Secret", By: Scan, Files: secret("data", base64Of(PKCS12())),
			Want: "private-key: secret.yaml:5: holds a private key (PKCS#12 keystore)" + keystore,
		},
		{
			Name: "a Java keystore", By: Scan, Files: beside("", map[string][]byte{"keys/ca.jks": JKS()}),
			Want: "private-key: keys/ca.jks:1: holds a private key (JKS keystore)" + keystore,
		},
		{
			Name: "a private key for the certificate of a key", By: Scan, Files: document(given(pem)),
			Want: "private-key: pki.yaml:10: holds a private key (PRIVATE KEY)" + leaked,
		},
		{
			Name: "a private key behind the certificate of a key", By: Scan, Files: document(given(slices.Concat(Root("Plant Root").PEM(), pem))),
			Want: "private-key: pki.yaml:18: holds a private key (PRIVATE KEY)" + leaked,
		},
		{
			Name: "a private key in a bundle's certificates", By: Scan, Files: document(bundle(pem)),
			Want: "private-key: pki.yaml:8: holds a private key (PRIVATE KEY)" + leaked,
		},
		{
			Name: "a private key in the record", By: Scan, Files: beside("", map[string][]byte{"anchors/fleet-root/2026.pem": pem}),
			Want: "private-key: anchors/fleet-root/2026.pem:1: holds a private key (PRIVATE KEY)" + leaked,
		},
	}
}

func remotes() []Tree {
	from := func(entries string) fstest.MapFS { return with("-- kustomization.yaml --\n" + entries + "\n") }
	return []Tree{
		{
			Name: "a URL", By: Load, Files: from("resources:\n- pki.yaml\n- https://example.com/pki.yaml"),
			Want: `load the repository: kustomization.yaml:3: resources[1]: "https://example.com/pki.yaml"` + remote,
		},
		{
			Name: "a repository by git::", By: Load, Files: from("resources:\n- git::https://example.com/fleet.git"),
			Want: `load the repository: kustomization.yaml:2: resources[0]: "git::https://example.com/fleet.git"` + remote,
		},
		{
			Name: "a repository on GitHub", By: Load, Files: from("resources:\n- github.com/example/fleet"),
			Want: `load the repository: kustomization.yaml:2: resources[0]: "github.com/example/fleet"` + remote,
		},
		{
			Name: "a repository's branch", By: Load, Files: from("resources:\n- example/fleet?ref=main"),
			Want: `load the repository: kustomization.yaml:2: resources[0]: "example/fleet?ref=main"` + remote,
		},
		{
			Name: "a repository by SSH", By: Load, Files: from("components:\n- git@example.com:fleet.git"),
			Want: `load the repository: kustomization.yaml:2: components[0]: "git@example.com:fleet.git"` + remote,
		},
		{
			Name: "a patch from a URL", By: Load, Files: from("resources: [pki.yaml]\npatches:\n- path: https://example.com/patch.yaml"),
			Want: `load the repository: kustomization.yaml:3: patches[0]: "https://example.com/patch.yaml"` + remote,
		},
		{
			Name: "an overlay that fetches", By: Load, Files: with("-- overlay/kustomization.yaml --\nkind: Component\nresources:\n- https://example.com/pki.yaml\n"),
			Want: `load the repository: overlay/kustomization.yaml:3: resources[0]: "https://example.com/pki.yaml"` + remote,
		},
	}
}

func escapes() []Tree {
	from := func(entries string) fstest.MapFS { return with("-- kustomization.yaml --\n" + entries + "\n") }
	return []Tree{
		{
			Name: "a Helm chart", By: Load, Files: from("helmCharts:\n- {name: vault, repo: https://example.com}"),
			Want: "load the repository: kustomization.yaml:2: helmCharts: charts are not inflated; commit the manifests that the chart renders",
		},
		{
			Name: "a program", By: Load, Files: with("-- kustomization.yaml --\ntransformers: [run.yaml]\n-- run.yaml --\napiVersion: v1\nkind: Run\nmetadata: {name: run, annotations: {config.kubernetes.io/function: 'exec: {path: ./run}'}}\n"),
			Want: `load the repository: kustomization.yaml:1: transformers[0]: "Run" of "v1" is not run; of transformers, only kustomize's own ["AnnotationsTransformer" "ImageTagTransformer" "LabelTransformer" "NamespaceTransformer" "PrefixTransformer" "ReplicaCountTransformer" "SuffixTransformer"] are`,
		},
		{
			Name: "a file above the repository", By: Load, Files: from("resources:\n- ../../etc/passwd"),
			Want: `load the repository: kustomization.yaml:2: resources[0]: "../../etc/passwd" leads out of the repository; copy what it names into it`,
		},
		{
			Name: "a file by its absolute path", By: Load, Files: from("configMapGenerator:\n- {name: stolen, files: [/etc/passwd]}"),
			Want: `load the repository: kustomization.yaml:2: configMapGenerator[0]: "/etc/passwd" is absolute; write it relative to its kustomization`,
		},
		{
			Name: "a symbolic link out of the repository", By: Load, Files: linked("-- kustomization.yaml --\nresources: [pki.yaml, stolen.yaml]\n", "stolen.yaml", "/etc/passwd"),
			Want: "load the repository: kustomization.yaml:1: resources[1]: stolen.yaml: is a symbolic link; put the file itself there",
		},
		{
			Name: "a symbolic link to a folder", By: Load, Files: linked("-- kustomization.yaml --\nresources: [pki.yaml, base]\n", "base", "../other"),
			Want: "load the repository: kustomization.yaml:1: resources[1]: base: is a symbolic link; put the file itself there",
		},
		{
			Name: "a file that is not there", By: Load, Files: from("resources:\n- pki.yaml\n- issuers.yaml"),
			Want: "load the repository: kustomization.yaml:3: resources[1]: issuers.yaml: file does not exist in the repository; commit it, or take out what names it",
		},
	}
}

// The sizes that are refused before they are read.
const (
	largeBytes = 200 << 20
	manyFiles  = 100_000
)

func sizes() []Tree {
	large := beside("-- kustomization.yaml --\nresources: [pki.yaml, large.yaml]\n", map[string][]byte{"large.yaml": make([]byte, largeBytes)})
	return []Tree{
		{
			Name: "an alias bomb", By: Load, Files: with("-- kustomization.yaml --\nresources: [pki.yaml, bomb.yaml]\n-- bomb.yaml --\n" + bomb()),
			Want: "load the repository: kustomization.yaml:1: resources[1]: bomb.yaml: its aliases write out to more than 4194304 bytes; write the values where they are used",
		},
		{
			Name: "a file of two million values", By: Load,
			Files: with("-- kustomization.yaml --\nresources: [pki.yaml, dense.yaml]\n-- dense.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: dense}\ndata: [" + strings.Repeat("x,", 2_000_000) + "x]\n"),
			Want:  "load the repository: kustomization.yaml:1: resources[1]: dense.yaml: holds more than 300000 values; split it",
		},
		{
			Name: "a file of 200 MB", By: Load, Files: large,
			Want: "load the repository: kustomization.yaml:1: resources[1]: large.yaml: is larger than 4194304 bytes; split it",
		},
		{
			Name: "a certificate of 200 MB in the record", By: Record, Files: beside("", map[string][]byte{"anchors/fleet-root/2026.pem": make([]byte, largeBytes)}),
			Want: "load the record of the repository: anchors/fleet-root/2026.pem:1: has 209715200 bytes, and a certificate has at most 65536: restore the key's certificate from the repository's history",
		},
		{
			Name: "100,000 files", By: Load, Files: many("resources", "objects/"),
			Want: "load the repository: kustomization.yaml:2: resources: has 100001 entries, and at most 2000 files are composed; split the domain",
		},
		{
			Name: "100,000 certificates in the record", By: Record, Files: many("", "anchors/fleet-root/"),
			Want: "load the record of the repository: anchors:1: holds more than 5000 certificates: split the domain",
		},
	}
}

// bomb is a document of a few hundred bytes whose aliases write out to gigabytes.
func bomb() string {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\ndata:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		text += fmt.Sprintf("  a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return text
}

// many is the good fleet with 100,000 small files, which the kustomization names under a
// field unless that is empty.
func many(field, folder string) fstest.MapFS {
	var names strings.Builder
	tree, small := with(""), &fstest.MapFile{Data: []byte("# small\n"), Mode: 0o644}
	if field != "" {
		names.WriteString(field + ":\n- pki.yaml\n")
	}
	for i := range manyFiles {
		name := fmt.Sprintf("%s%05d.pem", folder, i)
		tree[name] = small
		fmt.Fprintf(&names, "- %s\n", name)
	}
	if field != "" {
		tree["kustomization.yaml"] = &fstest.MapFile{Data: []byte(names.String()), Mode: 0o644}
	}
	return tree
}

func paths() []Tree {
	return []Tree{
		{
			Name: "a path that is not there", By: Load, Files: with(""), Folder: "clusters/plant",
			Want: "load clusters/plant: clusters/plant: there is no such folder in the repository; commit it, or correct the path",
		},
		{
			Name: "a path without a kustomization", By: Load, Files: with("-- clusters/plant/README.md --\nThe plant.\n"), Folder: "clusters/plant",
			Want: "load clusters/plant: clusters/plant: has no kustomization.yaml; write one that lists what belongs to it",
		},
		{
			Name: "a path to a file", By: Record, Files: with(""), Folder: "pki.yaml",
			Want: "load the record of pki.yaml: pki.yaml: is a file, and the path of a domain leads to the folder of its kustomization.yaml; write .",
		},
		{
			Name: "a path out of the repository", By: Record, Files: with(""), Folder: "../other",
			Want: `load the record of ../other: the path "../other" leads out of the repository; copy what it names into it`,
		},
		{
			Name: "a path by a symbolic link", By: Record, Files: linked("", "clusters", "/etc"), Folder: "clusters",
			Want: "load the record of clusters: clusters: is a symbolic link; put the file itself there",
		},
		{
			Name: "two kustomizations", By: Load, Files: with("-- kustomization.yml --\nresources: [pki.yaml]\n"),
			Want: `load the repository: .: has more than one kustomization file (["kustomization.yaml" "kustomization.yml"]); keep one`,
		},
	}
}
