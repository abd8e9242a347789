package renderer

import (
	"bytes"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// manyCertificates is the small repository with a hundred Certificates beside the
// documents, and a thousand files that belong to nobody.
func manyCertificates(b *testing.B) fstest.MapFS {
	tree := repository(smallRepository(b))
	var leaves bytes.Buffer
	for i := range 100 {
		fmt.Fprintf(&leaves, "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: leaf-%d, namespace: plant}\n"+
			"spec: {secretName: leaf-%d, dnsNames: [leaf-%d.example], issuerRef: {name: fleet, kind: ClusterIssuer}}\n", i, i, i)
	}
	broker := tree["clusters/plant/broker.yaml"]
	broker.Data = append(broker.Data, leaves.Bytes()...)
	for i := range 1000 {
		tree[fmt.Sprintf("clusters/plant/devices/sensors/%d.yaml", i)] = &fstest.MapFile{Data: []byte("{}")}
	}
	return tree
}

func BenchmarkColdTurn(b *testing.B) {
	tree, target := manyCertificates(b), distributing(b)
	b.ReportAllocs()
	for b.Loop() {
		mustRender(b, mustLoad(b, tree, "clusters/plant"), target)
	}
}

func BenchmarkSameTarget(b *testing.B) {
	loaded, target := mustLoad(b, manyCertificates(b), "clusters/plant"), distributing(b)
	mustRender(b, loaded, target)
	b.ReportAllocs()
	for b.Loop() {
		mustRender(b, loaded, target)
	}
}

func BenchmarkTargetChanged(b *testing.B) {
	loaded, target := mustLoad(b, manyCertificates(b), "clusters/plant"), distributing(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		target.Issuers[0].Key = []string{"2025", "2026"}[i%2]
		mustRender(b, loaded, target)
	}
}

func BenchmarkOneDocumentChanged(b *testing.B) {
	tree, target := manyCertificates(b), distributing(b)
	keys := tree["clusters/plant/keys.yaml"]
	before := keys.Data
	after := bytes.ReplaceAll(before, []byte("2026"), []byte("2027"))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		keys.Data = [][]byte{before, after}[i%2]
		mustRender(b, mustLoad(b, tree, "clusters/plant"), target)
	}
}

// The overlay is applied to one template of a bundle's copies, whatever their number.
func BenchmarkCopies(b *testing.B) {
	const overlay = "-- overlay/kustomization.yaml --\nkind: Component\nlabels: [{pairs: {team: plant}}]\n"
	for _, namespaces := range []int{1, 500} {
		b.Run(fmt.Sprint(namespaces), func(b *testing.B) {
			loaded, target := mustLoad(b, repository(fleet+overlay), ""), distributing(b)
			target.Bundles[0].Via = v1alpha1.ViaConfigMap
			for i := range namespaces {
				target.Bundles[0].Namespaces = append(target.Bundles[0].Namespaces, fmt.Sprintf("line-%d", i))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				target.Issuers[0].Key = []string{"2025", "2026"}[i%2]
				mustRender(b, loaded, target)
			}
		})
	}
}
