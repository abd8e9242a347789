package reconciler

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
	"github.com/reanchor/reanchor/renderer"
)

// authority is a self-signed CA certificate, the same each time.
func authority(t testing.TB, commonName string) pki.Certificate {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, commonName)
	key := ed25519.NewKeyFromSeed(seed)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: commonName, Organization: []string{"Example"}},
		NotBefore: epoch, NotAfter: epoch.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func recordedKey(t testing.TB, name string) planner.RecordedKey {
	t.Helper()
	return planner.RecordedKey{Authority: "root", Name: name, Certificate: authority(t, "Fleet Root "+name)}
}

func retiredKey(t testing.TB, name string) planner.RecordedKey {
	t.Helper()
	key := recordedKey(t, name)
	key.Retired = true
	return key
}

func TestRecordFile(t *testing.T) {
	certificate := authority(t, "Fleet Root 2026")
	want := "Subject: CN=Fleet Root 2026,O=Example\n" +
		"SHA-256: " + certificate.Fingerprint().String() + "\n" +
		"Valid: from 2026-03-01T12:00:00Z until 2036-03-01T12:00:00Z\n" +
		"-----BEGIN CERTIFICATE-----\n"
	file := string(recordFile(certificate))
	if !strings.HasPrefix(file, want) {
		t.Errorf("the file is\n%s\nwant it to begin\n%s", file, want)
	}
	if !strings.HasSuffix(file, "-----END CERTIFICATE-----\n") {
		t.Errorf("the file ends with %q", file[len(file)-40:])
	}
}

// What is written is what is read, by the reader that every turn reads with.
func TestTheRecordIsReadAsItWasWritten(t *testing.T) {
	for _, folder := range []string{".", "sites/plant"} {
		intermediate := planner.RecordedKey{Authority: "issuing", Name: "a.2026", Certificate: authority(t, "Issuing a.2026")}
		earlier := []planner.RecordedKey{recordedKey(t, "2025"), recordedKey(t, "2026")}
		later := []planner.RecordedKey{retiredKey(t, "2025"), intermediate}
		files := commitTo(fstest.MapFS{"keep": {}}, Commit{Files: recordFiles(folder, earlier)})
		files = commitTo(files, Commit{Files: recordFiles(folder, later)})
		record, err := renderer.LoadRecord(files, folder, renderer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want := []planner.RecordedKey{intermediate, recordedKey(t, "2026"), retiredKey(t, "2025")}
		slices.SortFunc(want, planner.RecordedKey.Compare)
		same := func(a, b planner.RecordedKey) bool { return a.Path() == b.Path() && a.Certificate.Equal(b.Certificate) }
		if !slices.EqualFunc(record.Keys, want, same) {
			t.Errorf("in %s: read %v, want %v", folder, record.Keys, want)
		}
	}
}

// A key that came to be and is retired in one commit leaves no file in use.
func TestARetiredKeyIsNotInUse(t *testing.T) {
	files := recordFiles("site", []planner.RecordedKey{retiredKey(t, "2025"), recordedKey(t, "2025")})
	used, there := files["site/anchors/root/2025.pem"]
	if !there || used != nil || files["site/anchors/root/retired/2025.pem"] == nil {
		t.Errorf("the files are %q", files)
	}
}

func TestRecordMessage(t *testing.T) {
	first := func(keys ...planner.RecordedKey) string {
		title, _, _ := strings.Cut(recordMessage("site", keys), "\n")
		return title
	}
	a, b, c, d := recordedKey(t, "a"), recordedKey(t, "b"), recordedKey(t, "c"), recordedKey(t, "d")
	for _, test := range []struct{ got, want string }{
		{first(a), "Record root a"},
		{first(retiredKey(t, "a")), "Retire root a"},
		{first(c, a, b), "Record 3 keys: root a, root b, root c"},
		{first(c, d, a, b), "Record 4 keys: root a, root b, root c and 1 more"},
		{first(retiredKey(t, "a"), b), "Record root b, retire root a"},
	} {
		if test.got != test.want {
			t.Errorf("the message begins %q, want %q", test.got, test.want)
		}
	}
	want := `Record root b, retire root a

site/anchors/root/retired/a.pem
    CN=Fleet Root a,O=Example
    SHA-256 ` + a.Certificate.Fingerprint().String() + `
site/anchors/root/b.pem
    CN=Fleet Root b,O=Example
    SHA-256 ` + b.Certificate.Fingerprint().String() + "\n"
	for _, keys := range [][]planner.RecordedKey{{b, retiredKey(t, "a")}, {retiredKey(t, "a"), b}} {
		if got := recordMessage("site", keys); got != want {
			t.Errorf("the message is\n%s\nwant\n%s", got, want)
		}
	}
}

// Whoever had a certificate made chose its subject: it must not be able to end what
// explains the certificate, nor to begin another.
func FuzzSubjectsInTheRecord(f *testing.F) {
	for _, subject := range []string{"Fleet Root", "a\n-----BEGIN CERTIFICATE-----\nb", "------BEGIN X", "-----END CERTIFICATE-----", "\x00\x1b[31m", strings.Repeat("ä", 300)} {
		f.Add(subject)
	}
	f.Fuzz(func(t *testing.T, commonName string) {
		words := oneLine("CN=" + commonName)
		if strings.ContainsAny(words, "\n\r\x00\x1b") || len(words) > maxSubject {
			t.Errorf("%q is not one line of text", words)
		}
		certificate := authority(t, "Fleet Root")
		file := strings.Replace(string(recordFile(certificate)), "CN=Fleet Root,O=Example", words, 1)
		read, err := pki.ParsePEM([]byte(file))
		if err != nil || len(read) != 1 || !read[0].Equal(certificate) {
			t.Errorf("under the subject %q: %v, %v", words, read, err)
		}
	})
}

// recordedLink is the key of one root signed by another, as the record holds it.
func recordedLink(t testing.TB, key, under string) planner.RecordedLink {
	t.Helper()
	to, from := authority(t, "Fleet Root "+key), authority(t, "Fleet Root "+under)
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, "Fleet Root "+under)
	template := *to.X509()
	template.AuthorityKeyId = nil
	der, err := x509.CreateCertificate(nil, &template, from.X509(), to.X509().PublicKey, ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return planner.RecordedLink{Authority: "root", Key: key, Under: under, Certificate: certificate}
}

// A link is read as it was written, and one that is withdrawn is in use no more.
func TestLinksAreReadAsTheyWereWritten(t *testing.T) {
	link := recordedLink(t, "2026", "2025")
	keys := []planner.RecordedKey{recordedKey(t, "2025"), recordedKey(t, "2026")}
	files := commitTo(fstest.MapFS{}, Commit{Files: recordFiles("site", keys, link)})
	withdrawn := link
	withdrawn.Withdrawn = true
	for _, want := range []planner.RecordedLink{link, withdrawn} {
		if want.Withdrawn {
			files = commitTo(files, Commit{Files: recordFiles("site", nil, withdrawn)})
		}
		record, err := renderer.LoadRecord(files, "site", renderer.Limits{})
		if err != nil || len(record.Keys) != 2 || len(record.Links) != 1 || record.Links[0].Path() != want.Path() || !record.Links[0].Certificate.Equal(want.Certificate) {
			t.Errorf("read %v, with the error %v, want %s", record.Links, err, want.Path())
		}
	}
}

func TestLinksInTheMessage(t *testing.T) {
	link, withdrawn := recordedLink(t, "2026", "2025"), recordedLink(t, "2025", "2024")
	withdrawn.Withdrawn = true
	want := "Retire root 2024, link root 2026 under 2025, withdraw root 2025 under 2024\n\n" +
		"site/anchors/root/retired/2024.pem\n    CN=Fleet Root 2024,O=Example\n    SHA-256 " + retiredKey(t, "2024").Certificate.Fingerprint().String() + "\n" +
		"site/anchors/root/links/withdrawn/2025.2024.pem\n    CN=Fleet Root 2025,O=Example\n    SHA-256 " + withdrawn.Certificate.Fingerprint().String() + "\n" +
		"site/anchors/root/links/2026.2025.pem\n    CN=Fleet Root 2026,O=Example\n    SHA-256 " + link.Certificate.Fingerprint().String() + "\n"
	if got := recordMessage("site", []planner.RecordedKey{retiredKey(t, "2024")}, link, withdrawn); got != want {
		t.Errorf("the message is\n%s\nwant\n%s", got, want)
	}
}
