package policies

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The tests make their keys as they run: none stands in the repository.

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func pkcs8(key any) []byte { return must(x509.MarshalPKCS8PrivateKey(key)) }

func block(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

var (
	rsaKey     = must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey      = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, edKey   = must2(ed25519.GenerateKey(rand.Reader))
	sec1       = must(x509.MarshalECPrivateKey(ecKey))
	spki       = must(x509.MarshalPKIXPublicKey(&rsaKey.PublicKey))
	request    = must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "sensor"}}, ecKey))
	jks        = append([]byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 1}, bytes.Repeat([]byte("x"), 40)...)
	jceks      = append([]byte{0xce, 0xce, 0xce, 0xce, 0, 0, 0, 2, 0, 0, 0, 1}, bytes.Repeat([]byte("x"), 40)...)
	opensshKey = append([]byte("openssh-key-v1\x00"), bytes.Repeat([]byte("x"), 40)...)
)

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

// pfx is the beginning of a PKCS #12 file as DER and as the BER of Java.
func pfx() (der, ber []byte) {
	type content struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}
	der = must(asn1.Marshal(struct {
		Version int
		Safe    content
	}{3, content{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: make([]byte, 300)}}}))
	ber = append([]byte{0x30, 0x80, 0x02, 0x01, 0x03, 0x30, 0x80}, pkcs7...)
	return der, append(ber, 1, 0xa0, 0x80, 0x24, 0x80)
}

func encryptedPKCS8() []byte {
	return must(asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}}, make([]byte, 64)}))
}

func utf16LE(text string) []byte {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

func encode64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// wrapped is base64 in lines of 64, indented as in a YAML block.
func wrapped(data []byte) string {
	var out strings.Builder
	for text := encode64(data); text != ""; {
		n := min(64, len(text))
		out.WriteString("\n    " + text[:n])
		text = text[n:]
	}
	return out.String()
}

func TestCheckFileFindsPrivateKeys(t *testing.T) {
	der, ber := pfx()
	for name, test := range map[string]struct {
		data []byte
		want []string
	}{
		"PKCS #8":            {block("PRIVATE KEY", pkcs8(ecKey)), []string{"1 PRIVATE KEY"}},
		"PKCS #1":            {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), []string{"1 RSA PRIVATE KEY"}},
		"SEC 1":              {block("EC PRIVATE KEY", sec1), []string{"1 EC PRIVATE KEY"}},
		"OpenSSH":            {block("OPENSSH PRIVATE KEY", opensshKey), []string{"1 OPENSSH PRIVATE KEY"}},
		"encrypted":          {block("ENCRYPTED PRIVATE KEY", encryptedPKCS8()), []string{"1 ENCRYPTED PRIVATE KEY"}},
		"PGP":                {[]byte("\n-----BEGIN PGP PRIVATE KEY BLOCK-----\n"), []string{"2 PGP PRIVATE KEY BLOCK"}},
		"SSH2":               {[]byte("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n"), []string{"1 SSH2 ENCRYPTED PRIVATE KEY"}},
		"CRLF":               {bytes.ReplaceAll(block("EC PRIVATE KEY", sec1), []byte("\n"), []byte("\r\n")), []string{"1 EC PRIVATE KEY"}},
		"in JSON":            {[]byte(fmt.Sprintf("{\n\"key\": %q}", block("EC PRIVATE KEY", sec1))), []string{"2 EC PRIVATE KEY"}},
		"in UTF-16":          {utf16LE("# key\r\n" + string(block("EC PRIVATE KEY", sec1))), []string{"2 EC PRIVATE KEY"}},
		"after a request":    {append(block("CERTIFICATE REQUEST", request), block("EC PRIVATE KEY", sec1)...), []string{"8 EC PRIVATE KEY"}},
		"two":                {append(block("EC PRIVATE KEY", sec1), block("PRIVATE KEY", pkcs8(edKey))...), []string{"1 EC PRIVATE KEY", "6 PRIVATE KEY"}},
		"DER, PKCS #8":       {pkcs8(edKey), []string{"1 PRIVATE KEY"}},
		"DER, PKCS #1":       {x509.MarshalPKCS1PrivateKey(rsaKey), []string{"1 RSA PRIVATE KEY"}},
		"DER, SEC 1":         {sec1, []string{"1 EC PRIVATE KEY"}},
		"DER, encrypted":     {encryptedPKCS8(), []string{"1 ENCRYPTED PRIVATE KEY"}},
		"PKCS #12, DER":      {der, []string{"1 PKCS#12 keystore"}},
		"PKCS #12, BER":      {ber, []string{"1 PKCS#12 keystore"}},
		"JKS":                {jks, []string{"1 JKS keystore"}},
		"JCEKS":              {jceks, []string{"1 JCEKS keystore"}},
		"Secret":             {[]byte("kind: Secret\ndata:\n  tls.key: " + encode64(block("PRIVATE KEY", pkcs8(rsaKey))) + "\n"), []string{"3 PRIVATE KEY"}},
		"Secret, wrapped":    {[]byte("kind: Secret\ndata:\n  tls.key: |" + wrapped(block("PRIVATE KEY", pkcs8(rsaKey))) + "\n  next: x\n"), []string{"4 PRIVATE KEY"}},
		"Secret, both":       {[]byte("data:\n  both.pem: " + encode64(append(block("CERTIFICATE REQUEST", request), block("EC PRIVATE KEY", sec1)...))), []string{"2 EC PRIVATE KEY"}},
		"Secret, JKS":        {[]byte("data:\n  keystore.jks: " + encode64(jks)), []string{"2 JKS keystore"}},
		"Secret, PKCS #12":   {[]byte("data:\n  keystore.p12: " + encode64(der)), []string{"2 PKCS#12 keystore"}},
		"bare base64":        {[]byte(encode64(pkcs8(ecKey))), []string{"1 PRIVATE KEY"}},
		"Secret, kubeconfig": {[]byte("data:\n  config: " + encode64([]byte("users:\n- user:\n    client-key-data: "+encode64(block("EC PRIVATE KEY", sec1))))), []string{"2 EC PRIVATE KEY"}},
		"for a certificate":  {[]byte("spec:\n  keys:\n  - certificate: |" + strings.ReplaceAll("\n"+string(block("EC PRIVATE KEY", sec1)), "\n", "\n      ")), []string{"4 EC PRIVATE KEY"}},
		"in a list of them":  {[]byte(fmt.Sprintf("spec:\n  certificates: [%q,\n    %q]\n", anchor("Root 2025").PEM(), block("EC PRIVATE KEY", sec1))), []string{"3 EC PRIVATE KEY"}},
		"mislabelled":        {block("CERTIFICATE", sec1), []string{"2 EC PRIVATE KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, violation := range CheckFile("k", test.data) {
				where := strings.TrimPrefix(violation.Subject, "k:")
				what := strings.TrimSuffix(strings.TrimPrefix(violation.Message, "holds a private key ("), ")")
				got = append(got, where+" "+what)
				if violation.Severity != Deny || violation.Rule != RulePrivateKey {
					t.Errorf("%+v does not deny", violation)
				}
			}
			if strings.Join(got, ", ") != strings.Join(test.want, ", ") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCheckFileTakesWhatIsPublic(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":             nil,
		"request":             block("CERTIFICATE REQUEST", request),
		"request in DER":      request,
		"public key":          block("PUBLIC KEY", spki),
		"RSA public key":      x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey),
		"certificate":         anchor("Root 2025").PEM(),
		"certificate, DER":    anchor("Root 2025").X509().Raw,
		"certificate, base64": []byte("caBundle: " + encode64(anchor("Root 2025").PEM())),
		"signature":           must(ecdsa.SignASN1(rand.Reader, ecKey, make([]byte, 32))),
		"prose":               []byte("Never commit a PRIVATE KEY. It BEGINs with five dashes, and internationalizationsupport\nhelps nobody\n"),
		"encrypted by SOPS":   []byte("tls.key: ENC[AES256_GCM,data:p0lyT3xt,iv:c29tZSBpdg==,tag:c29tZSB0YWc=,type:str]\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if violations := CheckFile("f", data); len(violations) != 0 {
				t.Errorf("got %v", violations)
			}
		})
	}
}

func TestCheckFileSaysWhatToDo(t *testing.T) {
	got := CheckFile("keys/ca.pem", append([]byte("# the root\n"), block("EC PRIVATE KEY", sec1)...))[0].String()
	want := "private-key: keys/ca.pem:2: holds a private key (EC PRIVATE KEY): take it out of the repository and its history, " +
		"and replace the key wherever it is used: it has left the cluster"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got = CheckFile("trust.jks", jks)[0].String()
	want = "private-key: trust.jks:1: holds a private key (JKS keystore): if it holds certificates alone, commit them as PEM; " +
		"else take it out of the repository and its history, and replace the key wherever it is used: it has left the cluster"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func secretManifest(field, name, value string) *unstructured.Unstructured {
	return object("v1", "Secret", "pki", "ca", map[string]any{field: map[string]any{name: value}})
}

func TestPrivateKeysInManifests(t *testing.T) {
	key := block("EC PRIVATE KEY", sec1)
	for name, test := range map[string]struct {
		manifest *unstructured.Unstructured
		want     string
	}{
		"data":             {secretManifest("data", "ca.key", encode64(key)), "Secret pki/ca: holds a private key under data.ca.key (EC PRIVATE KEY)"},
		"stringData":       {secretManifest("stringData", "ca.key", string(key)), "Secret pki/ca: holds a private key under stringData.ca.key (EC PRIVATE KEY)"},
		"keystore":         {secretManifest("data", "store", encode64(jks)), "Secret pki/ca: holds a private key under data.store (JKS keystore)"},
		"tls.key":          {secretManifest("data", "tls.key", "c2VjcmV0"), "Secret pki/ca: holds a private key under data.tls.key (in whatever form)"},
		"tls.key, plain":   {secretManifest("stringData", "tls.key", "secret"), "Secret pki/ca: holds a private key under stringData.tls.key (in whatever form)"},
		"empty tls.key":    {secretManifest("data", "tls.key", ""), ""},
		"password":         {secretManifest("data", "password", "c2VjcmV0"), ""},
		"ConfigMap":        {object("v1", "ConfigMap", "pki", "c", map[string]any{"data": map[string]any{"k": string(key)}}), "ConfigMap pki/c: holds a private key under data.k (EC PRIVATE KEY)"},
		"list of a custom": {object("x/v1", "X", "", "x", map[string]any{"spec": map[string]any{"files": []any{"a", string(key)}}}), "X x: holds a private key under spec.files[1] (EC PRIVATE KEY)"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, checkPlan(noPlan, []*unstructured.Unstructured{test.manifest}), test.want)
		})
	}
}

func FuzzCheckFile(f *testing.F) {
	der, ber := pfx()
	for _, seed := range [][]byte{
		block("EC PRIVATE KEY", sec1), []byte(encode64(block("PRIVATE KEY", pkcs8(rsaKey)))), der, ber, jks, pkcs8(edKey), encryptedPKCS8(),
		utf16LE("-----BEGIN PRIVATE KEY-----"), request,
		[]byte("keys:\n- name: \"2026\"\n  certificate: |" + strings.ReplaceAll("\n"+string(anchor("Root 2026").PEM()), "\n", "\n    ")),
		[]byte(fmt.Sprintf("certificates: [%q]", block("EC PRIVATE KEY", sec1))),
	} {
		f.Add(seed)
	}
	key := block("EC PRIVATE KEY", sec1)
	body := strings.Split(string(key), "\n")[1]
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := 1 + bytes.Count(data, []byte("\n"))
		for _, violation := range CheckFile("f", data) {
			var line int
			if _, err := fmt.Sscanf(violation.Subject, "f:%d", &line); err != nil || line < 1 || line > lines {
				t.Fatalf("%q is not a line of a file of %d", violation.Subject, lines)
			}
			if strings.Contains(violation.String(), body) {
				t.Fatal("the content is shown")
			}
		}
		// Whatever stands before it, a key is found, unless the file is no text.
		if container(data) == "" && !bytes.HasPrefix(data, []byte{0xff}) && !bytes.HasPrefix(data, []byte{0xfe}) {
			if found := CheckFile("f", append(append(bytes.Clone(data), '\n'), key...)); len(found) == 0 {
				t.Fatalf("the key behind %q is not found", data)
			}
		}
	})
}
