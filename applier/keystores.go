package applier

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/reanchor/reanchor/pki"
)

// Keystores come from whoever writes the copies, which in a namespace may be anybody. The
// libraries that read them allocate and compute as much as a file asks for, so its claims
// are checked first.

// maxKeystore is the size in bytes that is read of a keystore: no ConfigMap or Secret
// holds more.
const maxKeystore = 1 << 20

// readJKS reads a Java keystore of trusted certificates.
func readJKS(content []byte, password string) (pki.Anchors, error) {
	if err := checkJKS(content); err != nil {
		return nil, err
	}
	store := keystore.New(keystore.WithCaseExactAliases()) // as they stand in the file
	if err := store.Load(bytes.NewReader(content), []byte(password)); err != nil {
		return nil, fmt.Errorf("not a Java keystore with the password of the target: %w", err)
	}
	var found []pki.Certificate
	for _, alias := range store.Aliases() {
		entry, err := store.GetTrustedCertificateEntry(alias)
		if err != nil {
			return nil, fmt.Errorf("an entry of the Java keystore is no trusted certificate: %w", err)
		}
		certificate, err := pki.Parse(entry.Certificate.Content)
		if err != nil {
			return nil, fmt.Errorf("an entry of the Java keystore: %w", err)
		}
		found = append(found, certificate)
	}
	return pki.NewAnchors(found...), nil
}

// The parts of a Java keystore: a magic number, a version and the number of entries; of
// each entry a tag, an alias, a time in 8 bytes and a certificate, which from version 2 on
// has its type in front. Texts have their length before them in 2 bytes, certificates in
// 4. A SHA-1 ends it.
const (
	jksMagic          = 0xfeedfeed
	jksTrustedEntry   = 2
	jksTimestampBytes = 8
)

var errNoJKS = errors.New("not a Java keystore of trusted certificates")

// checkJKS walks through a Java keystore and refuses one that claims to hold more than
// is there, or anything but trusted certificates.
func checkJKS(content []byte) error {
	if len(content) > maxKeystore {
		return fmt.Errorf("the Java keystore is larger than %d bytes", maxKeystore)
	}
	w := &jksWalk{rest: content}
	if magic := w.uint32(); magic != jksMagic {
		return errNoJKS
	}
	version := w.uint32()
	for range w.uint32() {
		if tag := w.uint32(); w.short || tag != jksTrustedEntry {
			return errNoJKS
		}
		w.skip(w.uint16())
		w.skip(jksTimestampBytes)
		if version > 1 {
			w.skip(w.uint16())
		}
		w.skip(w.uint32())
	}
	if w.short {
		return errNoJKS
	}
	return nil
}

// A jksWalk goes through big-endian numbers and what they tell the length of.
type jksWalk struct {
	rest  []byte
	short bool
}

func (w *jksWalk) take(n uint32) []byte {
	if w.short || uint64(n) > uint64(len(w.rest)) {
		w.short = true
		return make([]byte, 4)
	}
	taken := w.rest[:n]
	w.rest = w.rest[n:]
	return taken
}

func (w *jksWalk) skip(n uint32)  { _ = w.take(n) }
func (w *jksWalk) uint16() uint32 { return uint32(binary.BigEndian.Uint16(w.take(2))) }
func (w *jksWalk) uint32() uint32 { return binary.BigEndian.Uint32(w.take(4)) }

// readPKCS12 reads a PKCS#12 store of trusted certificates (RFC 7292).
func readPKCS12(content []byte, password string) (pki.Anchors, error) {
	if err := checkPKCS12(content); err != nil {
		return nil, err
	}
	certificates, err := decodePKCS12(content, password)
	if err != nil {
		return nil, fmt.Errorf("not a PKCS#12 store of trusted certificates with the password of the target: %w", err)
	}
	found := make([]pki.Certificate, 0, len(certificates))
	for _, certificate := range certificates {
		found = append(found, pki.Of(certificate))
	}
	return pki.NewAnchors(found...), nil
}

// decodePKCS12 takes a panic for an error: crypto/cipher panics at an initialisation
// vector of the wrong length, and the library hands over the file's.
func decodePKCS12(content []byte, password string) (certificates []*x509.Certificate, err error) {
	defer func() {
		if recover() != nil {
			err = errNoPKCS12
		}
	}()
	return pkcs12.DecodeTrustStore(content, password)
}

// maxDerivation bounds every number that a PKCS#12 store gives for the derivation of its
// keys: rounds and lengths. trust-manager uses 2,048 rounds, Java 10,000.
const maxDerivation = 100_000

var errNoPKCS12 = errors.New("not a PKCS#12 store")

// The parts of a PKCS#12 store (RFC 7292, section 4, and RFC 5652, section 8) that say how
// its keys are derived.
type (
	pkcs12Store struct {
		Version int
		Content pkcs12Content
		MAC     pkcs12MAC `asn1:"optional"`
	}
	pkcs12Content struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	pkcs12MAC struct {
		Digest struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt   []byte
		Rounds int `asn1:"optional,default:1"`
	}
	pkcs12Encrypted struct {
		Version int
		Content struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Encrypted []byte `asn1:"tag:0,optional"`
		}
	}
)

// oidEncryptedData marks content that is encrypted with a password (RFC 5652, section 8).
var oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}

// checkPKCS12 refuses a store whose keys would take long to derive.
func checkPKCS12(content []byte) error {
	if len(content) > maxKeystore {
		return fmt.Errorf("the PKCS#12 store is larger than %d bytes", maxKeystore)
	}
	var store pkcs12Store
	var safe []byte
	var parts []pkcs12Content
	if !whole(content, &store) || !whole(store.Content.Content.Bytes, &safe) || !whole(safe, &parts) {
		return errNoPKCS12
	}
	costs := []asn1.RawValue{store.MAC.Digest.Algorithm.Parameters}
	for _, part := range parts {
		var encrypted pkcs12Encrypted
		switch {
		case !part.Type.Equal(oidEncryptedData):
		case !whole(part.Content.Bytes, &encrypted):
			return errNoPKCS12
		default:
			costs = append(costs, encrypted.Content.Algorithm.Parameters)
		}
	}
	if store.MAC.Rounds < 0 || store.MAC.Rounds > maxDerivation || !allCheap(costs) {
		return fmt.Errorf("the keys of the PKCS#12 store are not derived in 0 to %d rounds", maxDerivation)
	}
	return nil
}

// whole reports whether the content is one DER value of that form.
func whole(content []byte, into any) bool {
	rest, err := asn1.Unmarshal(content, into)
	return err == nil && len(rest) == 0
}

// allCheap reports whether no number within the values is above the bound.
func allCheap(values []asn1.RawValue) bool {
	for _, value := range values {
		if value.Class == asn1.ClassUniversal && value.Tag == asn1.TagInteger && !isCheap(value) {
			return false
		}
		if within, ok := parts(value); !ok || !allCheap(within) {
			return false
		}
	}
	return true
}

func isCheap(value asn1.RawValue) bool {
	var number int
	return whole(value.FullBytes, &number) && number >= 0 && number <= maxDerivation
}

// parts of a value that is made of others; false if they are not DER.
func parts(value asn1.RawValue) ([]asn1.RawValue, bool) {
	if !value.IsCompound {
		return nil, true
	}
	var found []asn1.RawValue
	for rest := value.Bytes; len(rest) > 0; {
		var part asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &part); err != nil {
			return nil, false
		}
		found = append(found, part)
	}
	return found, true
}
