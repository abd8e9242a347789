package registrar_test

import (
	"bytes"
	"testing"

	"github.com/reanchor/reanchor/fixtures/golden"
	"github.com/reanchor/reanchor/registrar"
)

// docs/reference/openapi.yaml is what is served at /openapi.yaml.
func TestOpenAPI(t *testing.T) {
	const path = "../docs/reference/openapi.yaml"
	want, err := registrar.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	golden.File(t, path, want)
	e := open(t)
	if served := e.ask(e.client(nil), "GET", "/openapi.yaml", ""); served.StatusCode != 200 || !bytes.Equal(served.body, want) {
		t.Errorf("served is %d, %d bytes, and not what is documented", served.StatusCode, len(served.body))
	}
}
