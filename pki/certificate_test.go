package pki_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/pki"
)

// A bundle is read whole or not at all.
func TestParsePEM(t *testing.T) {
	a, b := root(t, "A", "a"), root(t, "B", "b")
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	text := func(s string) []byte { return []byte(s) }
	for name, test := range map[string]struct {
		data []byte
		want []pki.Certificate // in the order of the data
		err  string
	}{
		"one":                      {data: a.PEM(), want: []pki.Certificate{a.Certificate}},
		"two keep their order":     {data: join(b.PEM(), a.PEM()), want: []pki.Certificate{b.Certificate, a.Certificate}},
		"twice is twice":           {data: join(a.PEM(), a.PEM()), want: []pki.Certificate{a.Certificate, a.Certificate}},
		"words around":             {data: join(text("# A, the root of the plant\n"), a.PEM(), text("and that was it\n")), want: []pki.Certificate{a.Certificate}},
		"CRLF":                     {data: bytes.ReplaceAll(a.PEM(), text("\n"), text("\r\n")), want: []pki.Certificate{a.Certificate}},
		"no newline at the end":    {data: bytes.TrimSpace(a.PEM()), want: []pki.Certificate{a.Certificate}},
		"headers":                  {data: bytes.Replace(a.PEM(), text("-----\n"), text("-----\nFrom: plant\n\n"), 1), want: []pki.Certificate{a.Certificate}},
		"nothing":                  {data: nil, err: pki.ErrNoCertificate.Error()},
		"words alone":              {data: text("to be done\n"), err: pki.ErrNoCertificate.Error()},
		"a key":                    {data: keyPEM(t, a.private), err: "PEM block 1 is a PRIVATE KEY, not a CERTIFICATE"},
		"a key behind":             {data: join(a.PEM(), keyPEM(t, a.private)), err: "PEM block 2 is a PRIVATE KEY, not a CERTIFICATE"},
		"OpenSSL's trusted format": {data: bytes.ReplaceAll(a.PEM(), text("CERTIFICATE"), text("TRUSTED CERTIFICATE")), err: "PEM block 1 is a TRUSTED CERTIFICATE, not a CERTIFICATE"},
		"not DER":                  {data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hello")}), err: "PEM block 1: parse certificate: x509: malformed certificate"},
		"an empty block":           {data: text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), err: "PEM block 1: parse certificate: x509: malformed certificate"},
		"two in one block":         {data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: join(a.X509().Raw, b.X509().Raw)}), err: "PEM block 1: parse certificate: x509: trailing data"},
		"cut short":                {data: a.PEM()[:100], err: "PEM block 1 is malformed"},
		"the second cut short":     {data: join(a.PEM(), b.PEM()[:100]), err: "PEM block 2 is malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pki.ParsePEM(test.data)
			if test.err != "" {
				if err == nil || err.Error() != test.err || got != nil {
					t.Fatalf("ParsePEM gave %v and the error %v, want %s", got, err, test.err)
				}
				return
			}
			if err != nil || !slices.EqualFunc(got, test.want, pki.Certificate.Equal) {
				t.Fatalf("ParsePEM gave %v and the error %v, want %v", got, err, test.want)
			}
		})
	}
	if _, err := pki.ParsePEM(nil); !errors.Is(err, pki.ErrNoCertificate) {
		t.Errorf("nothing gave %v, want ErrNoCertificate", err)
	}
}

// FuzzParsePEM: whatever the bytes, ParsePEM answers; what it takes can be written
// and read again; what it refuses it refuses whole.
func FuzzParsePEM(f *testing.F) {
	a, b := root(f, "A", "a"), root(f, "B", "b")
	for _, seed := range [][]byte{
		nil, a.PEM(), bytes.Join([][]byte{b.PEM(), []byte("text\n"), a.PEM(), b.PEM()}, nil), a.PEM()[:80],
		keyPEM(f, a.private), []byte("-----BEGIN CERTIFICATE-----"), []byte("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := pki.ParsePEM(data)
		if err != nil {
			if read != nil {
				t.Fatalf("refused with %v, and yet gave %v", err, read)
			}
			return
		}
		anchors := pki.NewAnchors(read...)
		again, err := pki.ParsePEM(anchors.PEM())
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if !anchors.Equal(pki.NewAnchors(again...)) || !bytes.Equal(anchors.PEM(), pki.NewAnchors(again...).PEM()) {
			t.Fatalf("read %v, wrote and read %v", anchors, again)
		}
	})
}

// FuzzKeysAreNotQuoted: a block that does not belong is refused, wherever it stands,
// and nothing of its content is in the error, neither as it is nor in base64.
func FuzzKeysAreNotQuoted(f *testing.F) {
	a := root(f, "A", "a")
	block, _ := pem.Decode(keyPEM(f, a.private))
	f.Add(block.Bytes, "PRIVATE KEY", false)
	f.Add(block.Bytes, "CERTIFICATE", true)
	f.Add([]byte("correct horse battery staple"), "ENCRYPTED PRIVATE KEY", true)
	f.Fuzz(func(t *testing.T, secret []byte, kind string, behind bool) {
		if len(secret) < 16 || strings.ContainsAny(kind, "\r\n-") || strings.TrimSpace(kind) != kind {
			t.Skip("not a secret, or not a PEM type")
		}
		if _, err := pki.Parse(secret); err == nil {
			t.Skip("a certificate is no secret")
		}
		data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: secret})
		if behind {
			data = append(a.PEM(), data...)
		}
		_, err := pki.ParsePEM(data)
		if err == nil {
			t.Fatalf("a %s was taken for certificates", kind)
		}
		told := strings.ReplaceAll(err.Error(), " "+kind+",", " …,") // the type may be told, whatever it is
		for _, form := range []string{string(secret), base64.StdEncoding.EncodeToString(secret)[:16]} {
			if !strings.Contains(kind, form) && strings.Contains(told, form) {
				t.Fatalf("the error quotes the content: %v", err)
			}
		}
	})
}

func TestFingerprintText(t *testing.T) {
	a := root(t, "A", "a")
	text, err := a.Fingerprint().MarshalText()
	if err != nil || string(text) != a.Fingerprint().String() || len(text) != 64 {
		t.Fatalf("MarshalText gave %q, %v", text, err)
	}
	if short := a.Fingerprint().Short(); short != string(text[:12]) {
		t.Errorf("Short is %q, of %q", short, text)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("g", 64), strings.Repeat("00:", 32)} {
		var f pki.Fingerprint
		if err := f.UnmarshalText([]byte(bad)); err == nil || !f.IsZero() {
			t.Errorf("%q was read as %s, with the error %v", bad, f, err)
		}
	}
}

// FuzzFingerprint: what is read is what was written, but for the case of its digits.
func FuzzFingerprint(f *testing.F) {
	f.Add(strings.Repeat("0f", 32))
	f.Add(strings.Repeat("0F", 32))
	f.Add("sha256:00")
	f.Fuzz(func(t *testing.T, text string) {
		var read pki.Fingerprint
		if err := read.UnmarshalText([]byte(text)); err != nil {
			return
		}
		if read.String() != strings.ToLower(text) {
			t.Fatalf("%q was read as %s", text, read)
		}
	})
}

// A certificate's identity is its bytes, and its key's is the key: a renewed
// certificate is another one, of the same key.
func TestIdentity(t *testing.T) {
	first, again := root(t, "A", "a"), root(t, "A", "a")
	renewed := root(t, "A", "a", lives(born.Add(year), born.Add(11*year)))
	rekeyed := root(t, "A", "another")
	if !first.Equal(again.Certificate) {
		t.Error("the same bytes are not equal")
	}
	if first.Equal(renewed.Certificate) || first.SPKI() != renewed.SPKI() {
		t.Error("a renewed certificate is to be another one of the same key")
	}
	if first.Equal(rekeyed.Certificate) || first.SPKI() == rekeyed.SPKI() || first.Subject() != rekeyed.Subject() {
		t.Error("a new key under the same subject is to be neither the same certificate nor the same key")
	}
	if first.String() != "A ("+first.Fingerprint().Short()+")" || (pki.Certificate{}).String() != "no certificate" {
		t.Errorf("told as %q and %q", first, pki.Certificate{})
	}
}

func TestCertificateTextIsPEM(t *testing.T) {
	type holder struct {
		Certificate pki.Certificate `json:"certificate"`
	}
	a := root(t, "A", "a").Certificate
	for name, want := range map[string]pki.Certificate{"one": a, "none": {}} {
		t.Run(name, func(t *testing.T) {
			data, err := json.Marshal(holder{want})
			if err != nil {
				t.Fatal(err)
			}
			got := holder{a}
			if err := json.Unmarshal(data, &got); err != nil || !got.Certificate.Equal(want) || got.Certificate.IsZero() != want.IsZero() {
				t.Errorf("wrote %s, read %v with the error %v", data, got.Certificate, err)
			}
		})
	}
	var certificate pki.Certificate
	if err := certificate.UnmarshalText(append(a.PEM(), a.PEM()...)); err == nil || err.Error() != "want one certificate, not 2" {
		t.Errorf("two certificates gave the error %v", err)
	}
	if err := certificate.UnmarshalText([]byte("none")); !errors.Is(err, pki.ErrNoCertificate) {
		t.Errorf("no certificate gave the error %v", err)
	}
}

// Who signed a certificate is told by the signature: names may lie, and key
// identifiers may be missing.
func TestSignedBy(t *testing.T) {
	ca, namesake := root(t, "CA", "one"), root(t, "CA", "two")
	bare, bareNamesake := root(t, "CA", "one", withoutSKI), root(t, "CA", "two", withoutSKI)
	other := root(t, "Other", "one")
	middle := intermediate(t, "Middle", ca)
	for name, test := range map[string]struct {
		certificate, by entity
		want            bool
	}{
		"its CA":                            {leaf(t, "x", ca), ca, true},
		"a namesake with another key":       {leaf(t, "x", ca), namesake, false},
		"no AKI, its CA":                    {leaf(t, "x", bare), bare, true},
		"no AKI, a namesake":                {leaf(t, "x", bare), bareNamesake, false},
		"an AKI, its CA without SKI":        {leaf(t, "x", ca), bare, true},
		"an AKI, a namesake without SKI":    {leaf(t, "x", ca), bareNamesake, false},
		"no AKI, its CA with an SKI":        {leaf(t, "x", bare), ca, true},
		"the same key under another name":   {leaf(t, "x", ca), other, false},
		"the CA of its CA":                  {leaf(t, "x", middle), ca, false},
		"an intermediate and its root":      {middle, ca, true},
		"a leaf cannot have signed a leaf":  {leaf(t, "x", ca), leaf(t, "CA", ca), false},
		"a root signs itself":               {ca, ca, true},
		"a root without SKI signs itself":   {bare, bare, true},
		"a root is not signed by namesakes": {bare, bareNamesake, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.certificate.SignedBy(test.by.Certificate); got != test.want {
				t.Errorf("%v signed by %v: %t, want %t", test.certificate, test.by, got, test.want)
			}
		})
	}
	if !ca.SelfSigned() || middle.SelfSigned() || len(bare.SubjectKeyID()) != 0 || !bare.IsCA() || len(ca.SubjectKeyID()) == 0 {
		t.Error("the certificates of this test are not what it says")
	}
}
