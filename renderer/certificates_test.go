package renderer

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"testing/fstest"
	"time"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/planner"
)

var (
	now  = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	year = 365 * 24 * time.Hour
)

// ca makes a CA's certificate that is valid from a year before now, for ten years,
// with a key of its own. Equal names and changes give equal bytes.
func ca(t testing.TB, name string, change ...func(*x509.Certificate)) pki.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-year), NotAfter: now.Add(9 * year),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	for _, edit := range change {
		edit(template)
	}
	seed := sha256.Sum256([]byte(name))
	private := ed25519.NewKeyFromSeed(seed[:])
	der, err := x509.CreateCertificate(nil, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// below makes an intermediate's certificate that the root of that name signed.
func below(t testing.TB, name, root string, change ...func(*x509.Certificate)) pki.Certificate {
	t.Helper()
	template := ca(t, name, change...).X509()
	seed := sha256.Sum256([]byte(root))
	der, err := x509.CreateCertificate(nil, template, ca(t, root).X509(), template.PublicKey, ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pki.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func ends(at time.Time) func(*x509.Certificate) {
	return func(template *x509.Certificate) { template.NotAfter = at }
}

func identified(ski string) func(*x509.Certificate) {
	return func(template *x509.Certificate) { template.SubjectKeyId = []byte(ski) }
}

func notCA(template *x509.Certificate) { template.IsCA, template.KeyUsage = false, 0 }

// unidentified takes the subject key identifier away: the extension that says CA is
// written by hand, so that crypto/x509 adds none.
func unidentified(template *x509.Certificate) {
	template.IsCA, template.BasicConstraintsValid = false, false
	value, err := asn1.Marshal(struct{ IsCA bool }{true})
	if err != nil {
		panic(err)
	}
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: value}}
}

// recorded is a record of the keys, in its order.
func recorded(keys ...planner.RecordedKey) planner.Record {
	return planner.Record{Enabled: true, Keys: keys}
}

// files are the record's files below a folder.
func files(folder string, record planner.Record) fstest.MapFS {
	tree := fstest.MapFS{}
	for _, key := range record.Keys {
		tree[folder+key.Path()] = &fstest.MapFile{Data: key.Certificate.PEM(), Mode: 0o644}
	}
	return tree
}
