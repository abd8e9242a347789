package policies

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/reanchor/reanchor/pki"
)

// The functions that expressions have beside CEL's own.
const (
	functionCertificate  = "certificate"
	functionCertificates = "certificates"
	functionRequest      = "request"
)

// Name is a distinguished name (RFC 5280, section 4.1.2.4).
type Name struct {
	// Text is the whole of it (RFC 2253).
	Text                string   `cel:"text"`
	CommonName          string   `cel:"commonName"`
	SerialNumber        string   `cel:"serialNumber"`
	Organizations       []string `cel:"organizations"`
	OrganizationalUnits []string `cel:"organizationalUnits"`
	Countries           []string `cel:"countries"`
}

// Certificate is a certificate as expressions see it.
type Certificate struct {
	Subject Name `cel:"subject"`
	Issuer  Name `cel:"issuer"`
	// SerialNumber and Fingerprint (SHA-256) in lower-case hex.
	SerialNumber string    `cel:"serialNumber"`
	Fingerprint  string    `cel:"fingerprint"`
	NotBefore    time.Time `cel:"notBefore"`
	NotAfter     time.Time `cel:"notAfter"`
	IsCA         bool      `cel:"isCA"`
	// SelfSigned reports that its own key signed it.
	SelfSigned bool `cel:"selfSigned"`
	// MaxPathLen is -1 where it is not limited.
	MaxPathLen int64 `cel:"maxPathLen"`
	// KeyAlgorithm is RSA, ECDSA or Ed25519, and KeySize in bits.
	KeyAlgorithm string `cel:"keyAlgorithm"`
	KeySize      int64  `cel:"keySize"`
	// SignatureAlgorithm as Go names it: ECDSA-SHA384.
	SignatureAlgorithm string   `cel:"signatureAlgorithm"`
	DNSNames           []string `cel:"dnsNames"`
	IPAddresses        []string `cel:"ipAddresses"`
	URIs               []string `cel:"uris"`
	EmailAddresses     []string `cel:"emailAddresses"`
}

// Request is a certificate signing request as expressions see it.
type Request struct {
	// ID of the device that sent it; empty of one that an expression parsed.
	ID                 string   `cel:"id"`
	Subject            Name     `cel:"subject"`
	KeyAlgorithm       string   `cel:"keyAlgorithm"`
	KeySize            int64    `cel:"keySize"`
	SignatureAlgorithm string   `cel:"signatureAlgorithm"`
	DNSNames           []string `cel:"dnsNames"`
	IPAddresses        []string `cel:"ipAddresses"`
	URIs               []string `cel:"uris"`
	EmailAddresses     []string `cel:"emailAddresses"`
}

var (
	certificateGoType = reflect.TypeFor[Certificate]()
	requestGoType     = reflect.TypeFor[Request]()
)

// certificateFunctions read PEM. What cannot be read is an error of the expression.
func certificateFunctions() cel.EnvOption {
	return func(env *cel.Env) (*cel.Env, error) {
		adapter := env.CELTypeAdapter()
		for _, declare := range []cel.EnvOption{
			function(adapter, functionCertificate, certificateType, readCertificate),
			function(adapter, functionCertificates, cel.ListType(certificateType), readCertificates),
			function(adapter, functionRequest, requestType, readRequest),
		} {
			var err error
			if env, err = declare(env); err != nil {
				return nil, err
			}
		}
		return env, nil
	}
}

// function declares a function of a text; the adapter makes its results values of CEL.
func function[T any](adapter types.Adapter, name string, result *cel.Type, read func(string) (T, error)) cel.EnvOption {
	binding := cel.UnaryBinding(func(argument ref.Val) ref.Val {
		text, _ := argument.Value().(string)
		value, err := read(text)
		if err != nil {
			return types.NewErr("%s: %s", name, err)
		}
		return adapter.NativeToValue(value)
	})
	return cel.Function(name, cel.Overload(name+"_string", []*cel.Type{cel.StringType}, result, binding))
}

var errNotOne = errors.New("is not one certificate")

func readCertificate(text string) (Certificate, error) {
	certificates, err := pki.ParsePEM([]byte(text))
	if err != nil {
		return Certificate{}, err
	}
	if len(certificates) != 1 {
		return Certificate{}, fmt.Errorf("%w but %d: use certificates()", errNotOne, len(certificates))
	}
	return describe(certificates[0]), nil
}

func readCertificates(text string) ([]Certificate, error) {
	certificates, err := pki.ParsePEM([]byte(text))
	if err != nil {
		return nil, err
	}
	described := make([]Certificate, len(certificates))
	for i, certificate := range certificates {
		described[i] = describe(certificate)
	}
	return described, nil
}

func describe(certificate pki.Certificate) Certificate {
	parsed := certificate.X509()
	public := keyOf(parsed.PublicKey)
	length := int64(-1)
	if allowed, limited := pathLength(parsed); limited {
		length = int64(allowed)
	}
	return Certificate{
		Subject: nameOf(parsed.Subject), Issuer: nameOf(parsed.Issuer),
		SerialNumber: fmt.Sprintf("%x", parsed.SerialNumber), Fingerprint: certificate.Fingerprint().String(),
		NotBefore: parsed.NotBefore, NotAfter: parsed.NotAfter,
		IsCA: certificate.IsCA(), SelfSigned: certificate.SelfSigned(), MaxPathLen: length,
		KeyAlgorithm: public.algorithm, KeySize: int64(public.size), SignatureAlgorithm: parsed.SignatureAlgorithm.String(),
		DNSNames: parsed.DNSNames, IPAddresses: texts(parsed.IPAddresses), URIs: texts(parsed.URIs),
		EmailAddresses: parsed.EmailAddresses,
	}
}

var errNotRequest = errors.New("is not one PEM block of type CERTIFICATE REQUEST")

// readRequest reads a CSR whose signature is its own key's (RFC 2986).
func readRequest(text string) (Request, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return Request{}, errNotRequest
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return Request{}, err
	}
	if err := parsed.CheckSignature(); err != nil {
		return Request{}, err
	}
	public := keyOf(parsed.PublicKey)
	return Request{
		Subject: nameOf(parsed.Subject), KeyAlgorithm: public.algorithm, KeySize: int64(public.size),
		SignatureAlgorithm: parsed.SignatureAlgorithm.String(), DNSNames: parsed.DNSNames,
		IPAddresses: texts(parsed.IPAddresses), URIs: texts(parsed.URIs),
		EmailAddresses: parsed.EmailAddresses,
	}, nil
}

func nameOf(name pkix.Name) Name {
	return Name{
		Text: name.String(), CommonName: name.CommonName, SerialNumber: name.SerialNumber,
		Organizations: name.Organization, OrganizationalUnits: name.OrganizationalUnit, Countries: name.Country,
	}
}

func texts[T fmt.Stringer](values []T) []string {
	found := make([]string, len(values))
	for i, value := range values {
		found[i] = value.String()
	}
	return found
}
