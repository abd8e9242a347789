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

// forwardedChain reads the one element of the header: Chain, or Cert where there is none, in
// PEM, encoded as in URLs.
func forwardedChain(header string) ([]pki.Certificate, *admission.Refusal) {
	pairs, whole := splitQuoted(header)
	if !whole {
		return nil, badForward("cannot be read, or tells of more than one hop")
	}
	text := pairs["chain"]
	if text == "" {
		text = pairs["cert"]
	}
	decoded, err := url.PathUnescape(text)
	if err != nil {
		return nil, badForward("holds a certificate that is not encoded as in URLs")
	}
	chain, err := pki.ParsePEM([]byte(decoded))
	if err != nil {
		return nil, badForward("holds no certificate in PEM")
	}
	return chain, nil
}

// splitQuoted reads key=value pairs with semicolons between, of which values may be quoted.
// It is not whole if there is a comma, which begins the word of another proxy.
func splitQuoted(header string) (pairs map[string]string, whole bool) {
	pairs = map[string]string{}
	for header != "" {
		key, rest, found := strings.Cut(header, "=")
		if !found {
			return nil, false
		}
		value, after := cutValue(rest)
		if _, twice := pairs[strings.ToLower(key)]; twice || (after != "" && after[0] != ';') {
			return nil, false
		}
		pairs[strings.ToLower(key)] = value
		header = strings.TrimPrefix(after, ";")
	}
	return pairs, true
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
