package admission_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/reanchor/reanchor/registrar/registrartest"
)

// sha1Request is signed as the standard library does not sign any more.
var sha1Request = func() []byte {
	key := rsaKey(2048)
	var request struct {
		Info      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(registrartest.CSR(key, "sensor-1", []string{name}), &request); err != nil {
		panic(err)
	}
	digest := sha1.Sum(request.Info.FullBytes)
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA1, digest[:])
	if err != nil {
		panic(err)
	}
	request.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}
	request.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	der, err := asn1.Marshal(request)
	if err != nil {
		panic(err)
	}
	return der
}()
