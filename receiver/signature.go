package receiver

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// signed reports whether whoever sent a webhook knows the token. It takes the same time
// whatever the signature is.
func signed(sender v1alpha1.WebhookType, token []byte, header http.Header, body []byte) bool {
	if len(token) == 0 {
		return false
	}
	switch sender {
	case v1alpha1.WebhookGitHub:
		return matches(token, body, header.Get("X-Hub-Signature-256"), prefixSHA256)
	case v1alpha1.WebhookGitea:
		for _, name := range []string{"X-Forgejo-Signature", "X-Gitea-Signature"} {
			if given := header.Get(name); given != "" {
				return matches(token, body, given, "")
			}
		}
		return matches(token, body, header.Get("X-Hub-Signature-256"), prefixSHA256)
	case v1alpha1.WebhookGitLab:
		given, want := sha256.Sum256([]byte(header.Get("X-Gitlab-Token"))), sha256.Sum256(token)
		return subtle.ConstantTimeCompare(given[:], want[:]) == 1
	case v1alpha1.WebhookGeneric:
		return matches(token, body, header.Get("X-Signature"), prefixSHA256)
	}
	return false
}

const prefixSHA256 = "sha256="

// matches reports whether given is prefix and the hexadecimal HMAC-SHA256 of the body.
func matches(token, body []byte, given, prefix string) bool {
	digits, prefixed := strings.CutPrefix(given, prefix)
	signature, err := hex.DecodeString(digits)
	mac := hmac.New(sha256.New, token)
	mac.Write(body)
	return hmac.Equal(signature, mac.Sum(nil)) && prefixed && err == nil
}
