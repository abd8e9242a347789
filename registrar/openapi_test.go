package registrar_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/reanchor/reanchor/registrar"
)

// docs/reference/openapi.yaml is what is served at /openapi.yaml.
func TestOpenAPI(t *testing.T) {
	const path = "../docs/reference/openapi.yaml"
	want, err := registrar.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run make generate (%v)", path, err)
	}
	e := open(t)
	if served := e.ask(e.client(nil), "GET", "/openapi.yaml", ""); served.StatusCode != 200 || !bytes.Equal(served.body, want) {
		t.Errorf("served is %d, %d bytes, and not what is documented", served.StatusCode, len(served.body))
	}
}
