package inventory

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/reanchor/reanchor/api/v1alpha1"
)

// csr is a device's request in PEM, for a key that follows from its name.
func csr(t testing.TB, name string) string {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// document of a device, whose spec has these lines beside its group.
func document(group, id, spec string) string {
	return "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: '" + id + "'}\nspec:\n  group: " + group + "\n" + spec
}

func withRequest(request string) string {
	return "  request: |\n    " + strings.ReplaceAll(strings.TrimSuffix(request, "\n"), "\n", "\n    ") + "\n"
}

// active is the document of a device with a key of its own.
func active(t testing.TB, group, id string) string {
	return document(group, id, withRequest(csr(t, group+"/"+id)))
}

func groupNamed(name string, keys v1alpha1.DeviceKeys) v1alpha1.DeviceGroup {
	group := v1alpha1.DeviceGroup{Metadata: v1alpha1.Metadata{Name: name}}
	group.Spec.Issuer = v1alpha1.IssuerReference{Name: "fleet", Kind: v1alpha1.KindClusterIssuer}
	group.Spec.Namespace, group.Spec.Keys = "plant", keys
	group.Default()
	return group
}

// tree is a repository's files by their paths.
func tree(files map[string]string) fstest.MapFS {
	made := fstest.MapFS{}
	for name, text := range files {
		made[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return made
}
