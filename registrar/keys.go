package registrar

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// privateKey that cert-manager made for a certificate. It is checked against it: while a key
// is made anew the two may differ for a moment.
func (d *desk) privateKey(ctx context.Context, v *visit, holder Holder, issued Issued) (crypto.Signer, *admission.Refusal) {
	later := unavailable(retryCertificate, "the key is not there yet, or not the certificate's: come again later")
	if d.Keys == nil {
		v.entry.Error = "no keys are read here"
		return nil, later
	}
	key, err := d.Keys.PrivateKey(ctx, holder)
	if err != nil {
		v.entry.Error = err.Error()
		return nil, later
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil || pki.Fingerprint(sha256.Sum256(public)) != issued.Certificate.SPKI() {
		return nil, later
	}
	return key, nil
}

// pkcs8 is that key in DER, as it is handed to the device.
func (d *desk) pkcs8(ctx context.Context, v *visit, holder Holder, issued Issued) ([]byte, *admission.Refusal) {
	key, refusal := d.privateKey(ctx, v, holder, issued)
	if refusal != nil {
		return nil, refusal
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		v.entry.Error = "the key is of a kind that has no PKCS#8"
		return nil, unavailable(retryCertificate, "the key cannot be sent: ask whoever runs the fleet")
	}
	return der, nil
}
