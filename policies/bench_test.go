package policies

import (
	"bytes"
	"testing"
)

// Every file of a snapshot goes through CheckFile: 50,000 devices are 30 MB.
func BenchmarkCheckFile(b *testing.B) {
	for name, data := range map[string][]byte{
		"device": append([]byte("apiVersion: reanchor.dev/v1alpha1\nkind: Device\nspec:\n  request: |\n"), block("CERTIFICATE REQUEST", request)...),
		"text":   bytes.Repeat([]byte("key: some ordinary value here\n"), 10_000),
		"base64": bytes.Repeat(append([]byte(encode64(bytes.Repeat([]byte("ab\x00"), 16))), '\n'), 5_000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				CheckFile("f", data)
			}
		})
	}
}
