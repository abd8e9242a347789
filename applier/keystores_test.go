package applier

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/reanchor/reanchor/pki"
)

// jks is a Java keystore as trust-manager and keytool write it.
func jks(t testing.TB, password string, certificates ...pki.Certificate) []byte {
	t.Helper()
	store := keystore.New()
	for _, c := range certificates {
		entry := keystore.TrustedCertificateEntry{CreationTime: epoch, Certificate: keystore.Certificate{Type: "X509", Content: c.X509().Raw}}
		if err := store.SetTrustedCertificateEntry(c.Fingerprint().Short()+"|CN="+c.CommonName(), entry); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := store.Store(&out, []byte(password)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func p12(t testing.TB, encoder *pkcs12.Encoder, password string, certificates ...pki.Certificate) []byte {
	t.Helper()
	var entries []pkcs12.TrustStoreEntry
	for _, c := range certificates {
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: c.X509(), FriendlyName: c.CommonName()})
	}
	content, err := encoder.EncodeTrustStoreEntries(entries, password)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestKeystoresAreRead(t *testing.T) {
	root, next := newRoot(t, "Root"), newRoot(t, "Next")
	want := pki.NewAnchors(root.Certificate, next.Certificate)
	cases := map[string]struct {
		read     func([]byte, string) (pki.Anchors, error)
		content  []byte
		password string
	}{
		"JKS":                  {readJKS, jks(t, "changeit", root.Certificate, next.Certificate), "changeit"},
		"PKCS#12, no password": {readPKCS12, p12(t, pkcs12.Passwordless, "", root.Certificate, next.Certificate), ""},
		"PKCS#12, LegacyRC2":   {readPKCS12, p12(t, pkcs12.LegacyRC2, "secret", root.Certificate, next.Certificate), "secret"},
		"PKCS#12, LegacyDES":   {readPKCS12, p12(t, pkcs12.LegacyDES, "secret", root.Certificate, next.Certificate), "secret"},
		"PKCS#12, Modern2023":  {readPKCS12, p12(t, pkcs12.Modern2023, "secret", root.Certificate, next.Certificate), "secret"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := c.read(c.content, c.password); err != nil || !got.Equal(want) {
				t.Errorf("read %v, %v", got, err)
			}
			for problem, content := range map[string][]byte{"cut": c.content[:len(c.content)-30], "empty": nil, "too large": append(bytes.Clone(c.content), make([]byte, maxKeystore)...)} {
				if got, err := c.read(content, c.password); err == nil {
					t.Errorf("%s: read as %v", problem, got)
				}
			}
			if got, err := c.read(c.content, "wrong"); c.password != "" && (err == nil || strings.Contains(err.Error(), "wrong")) {
				t.Errorf("with another password: read as %v, %v", got, err)
			}
		})
	}
}

// A Java keystore that claims more than it holds would make the library ask for as much
// memory before it reads on.
func TestAJavaKeystoreIsNotBelieved(t *testing.T) {
	good := jks(t, "changeit", newRoot(t, "Root").Certificate)
	changed := func(at int, value uint32) []byte {
		content := bytes.Clone(good)
		binary.BigEndian.PutUint32(content[at:], value)
		return content
	}
	alias := int(binary.BigEndian.Uint16(good[16:]))
	length := 12 + 4 + 2 + alias + 8 + 2 + len("X509")
	if size := int(binary.BigEndian.Uint32(good[length:])); length+4+size+20 != len(good) {
		t.Fatalf("the length of the certificate does not stand at %d", length)
	}
	for name, content := range map[string][]byte{
		"another magic number":  changed(0, 0xcececece),
		"4 billion entries":     changed(8, 1<<32-1),
		"a private key":         changed(12, 1),
		"4 GB of a certificate": changed(length, 1<<32-1),
	} {
		if allocated := testing.AllocsPerRun(1, func() {
			if got, err := readJKS(content, "changeit"); err == nil {
				t.Errorf("%s: read as %v", name, got)
			}
		}); allocated > 1000 {
			t.Errorf("%s: %f allocations", name, allocated)
		}
	}
}

// A PKCS#12 store says itself how many rounds its keys take.
func TestAPKCS12StoreMayNotTakeItsTime(t *testing.T) {
	root := newRoot(t, "Root")
	for name, encoder := range map[string]*pkcs12.Encoder{"PBE": pkcs12.LegacyDES, "PBES2": pkcs12.Modern2023} {
		started := time.Now()
		_, err := readPKCS12(p12(t, encoder.WithIterations(maxDerivation), "x", root.Certificate), "x")
		if err != nil {
			t.Errorf("%s: as many rounds as are allowed: %v", name, err)
		}
		bound := 10 * time.Since(started)
		content := p12(t, encoder.WithIterations(maxDerivation), "x", root.Certificate)
		rounds, err := asn1.Marshal(maxDerivation)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(content, rounds); n == 0 {
			t.Fatalf("%s: its rounds do not stand in the store", name)
		}
		huge := bytes.Replace(content, rounds, []byte{2, 3, 0x7f, 0xff, 0xff}, 1)
		started = time.Now()
		if got, err := readPKCS12(huge, "x"); err == nil || !strings.Contains(err.Error(), "rounds") || time.Since(started) > bound {
			t.Errorf("%s: read as %v, %v after %s", name, got, err, time.Since(started))
		}
	}
}

func FuzzKeystores(f *testing.F) {
	root := newRoot(f, "Root")
	f.Add(jks(f, "changeit", root.Certificate))
	f.Add(p12(f, pkcs12.Passwordless, "", root.Certificate))
	f.Add(p12(f, pkcs12.LegacyRC2.WithIterations(1), "changeit", root.Certificate))
	f.Add(p12(f, pkcs12.Modern2023.WithIterations(1), "changeit", root.Certificate))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, read := range []func([]byte, string) (pki.Anchors, error){readJKS, readPKCS12} {
			for _, password := range []string{"", "changeit"} {
				if anchors, err := read(content, password); err != nil && len(anchors) > 0 {
					t.Fatalf("%v beside %v", anchors, err)
				}
			}
		}
	})
}
