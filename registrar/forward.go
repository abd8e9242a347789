package registrar

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar/admission"
)

// forwardedHeader is how a proxy that ends TLS tells whose certificate it has seen. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
const forwardedHeader = "X-Forwarded-Client-Cert"

// forward takes a proxy's word for whose certificate it has seen. A proxy is known by the key
// of its own client certificate; of anybody else the header is not looked at. One that says
// nothing of a client speaks for one without a certificate, not for itself.
func (d *desk) forward(v *visit, r *http.Request) *admission.Refusal {
	if len(v.chain) == 0 || !slices.Contains(d.Proxies, v.chain[0].SPKI()) {
		return nil
	}
	v.forwarded, v.entry.Forwarded = true, true
	v.chain, v.tls, v.proved = nil, nil, pki.Fingerprint{}
	switch headers := r.Header.Values(forwardedHeader); len(headers) {
	case 0:
		return nil
	case 1:
		chain, problem := forwardedChain(headers[0])
		v.chain = chain
		return problem
	}
	return badForward("came more than once")
}

func badForward(problem string) *admission.Refusal {
	return &admission.Refusal{
		Status: http.StatusBadRequest, Problem: admission.ProblemRequest,
		Detail: forwardedHeader + " " + problem + ": have the proxy set it anew (SANITIZE_SET), with Cert or Chain",
	}
}

// element is the header's one: what it says of a client's certificate. Envoy writes Hash, Cert
// and Chain first, quoted or in hex, and then what the certificate says of itself, URI and DNS
// without quotes, so that whoever made the certificate may write there what they like.
type element struct{ hash, cert, chain string }

// forwardedChain reads the element: Cert and Chain in PEM, encoded as in URLs. The leaf is
// Cert's, where there is one: Chain must begin with the same, and Hash must be its own.
func forwardedChain(header string) ([]pki.Certificate, *admission.Refusal) {
	read, whole := readElement(header)
	if !whole {
		return nil, badForward("cannot be read, tells of more than one hop, or names a certificate twice or after its details")
	}
	cert, problem := decodedPEM(read.cert)
	if problem != nil {
		return nil, problem
	}
	chain, problem := decodedPEM(read.chain)
	if problem != nil {
		return nil, problem
	}
	switch {
	case len(cert)+len(chain) == 0:
		return nil, badForward("holds no certificate in PEM")
	case len(chain) == 0:
		chain = cert
	case len(cert) > 0 && !chain[0].Equal(cert[0]):
		return nil, badForward("has a Chain that does not begin with the certificate in Cert")
	}
	if read.hash != "" && !strings.EqualFold(read.hash, chain[0].Fingerprint().String()) {
		return nil, badForward("has a Hash that is not the SHA-256 of the client's certificate")
	}
	return chain, nil
}

// decodedPEM are the certificates of a value; none of an empty one.
func decodedPEM(value string) ([]pki.Certificate, *admission.Refusal) {
	if value == "" {
		return nil, nil
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return nil, badForward("holds a certificate that is not encoded as in URLs")
	}
	chain, err := pki.ParsePEM([]byte(decoded))
	if err != nil {
		return nil, badForward("holds no certificate in PEM")
	}
	return chain, nil
}

// readElement reads key=value pairs with semicolons between, of which values may be quoted.
// It is not whole if there is a comma, which begins the word of another proxy, if what tells of
// the certificate comes twice, or if Cert or Chain come after a detail: they may be its words.
func readElement(header string) (read element, whole bool) {
	values := map[string]*string{"hash": &read.hash, "cert": &read.cert, "chain": &read.chain}
	seen, details := map[string]bool{}, false
	for header != "" {
		key, rest, found := strings.Cut(header, "=")
		if !found {
			return element{}, false
		}
		value, after := cutValue(rest)
		if after != "" && after[0] != ';' {
			return element{}, false
		}
		switch key = strings.ToLower(key); key {
		case "subject", "uri", "dns":
			details = true
		case "hash", "cert", "chain":
			if seen[key] || details && key != "hash" {
				return element{}, false
			}
			seen[key], *values[key] = true, value
		}
		header = strings.TrimPrefix(after, ";")
	}
	return read, true
}

// cutValue takes a value off, quoted or not. Quotes inside are escaped by backslashes.
func cutValue(text string) (value, rest string) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, ";,")
		if end < 0 {
			return text, ""
		}
		return text[:end], text[end:]
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return text[1:i], text[i+1:]
		}
	}
	return "", "," // never closed
}
