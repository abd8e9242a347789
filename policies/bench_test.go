package policies

import (
	"bytes"
	"fmt"
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

// A turn of a large domain: 1,000 Certificates in Git and ten rules of the team's own.
func BenchmarkCheck(b *testing.B) {
	input := Input{Plan: thePlan(), Manifests: rendered(), Now: today}
	for i := range 1000 {
		input.Manifests = append(input.Manifests, renamed(fmt.Sprintf("leaf-%d", i), asks(map[string]any{"dnsNames": []any{"a.plant.svc", "b.plant.svc"}})))
	}
	built := input
	for i := range 10 {
		own := ruleOf("Certificate", "has(object.spec.isCA) || duration(object.spec.duration) <= duration('2160h') && object.spec.dnsNames.all(n, n.endsWith('.svc'))")
		own.Metadata.Name = fmt.Sprintf("own-%d", i)
		input.Documents = append(input.Documents, own)
	}
	for name, input := range map[string]Input{"built-in": built, "ten policies": input} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if found := of(Check(input), RulePolicy); len(found) > 0 {
					b.Fatal(found)
				}
			}
		})
	}
}
