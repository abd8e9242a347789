package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/planner/forecast"
)

// What is wrong with a device's file blocks, with file, line and field, whether it came with
// the change or stood in the base, where it was read.
func TestEveryDeviceOfTheHeadIsChecked(t *testing.T) {
	file := func(id, request, comment string) string {
		return "apiVersion: reanchor.dev/v1alpha1\nkind: Device\nmetadata: {name: " + id + "}\nspec:\n  group: sensors\n  request: |\n" + indented(request) + comment
	}
	forged := func(id string) string {
		block, _ := pem.Decode([]byte(requestOf(id)))
		block.Bytes[len(block.Bytes)-1] ^= 1
		return string(pem.EncodeToMemory(block))
	}
	path := func(id string) string { return v1alpha1.DevicePath("sensors", id) }
	const leak = "# -----BEGIN EC PRIVATE KEY-----\n# MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49\n"
	pkiYAML := fleetOf(factoryCA(), `{name: "2025", state: Signing}`)
	var stream bytes.Buffer
	importCommit(&stream, "base", map[string]string{
		"kustomization.yaml": "resources: [pki.yaml]\n", "pki.yaml": pkiYAML,
		path("good"): file("good", requestOf("good"), ""), path("forged"): file("forged", forged("forged"), ""), path("leaked"): file("leaked", requestOf("leaked"), leak),
	})
	importCommit(&stream, "head", map[string]string{
		path("new"): file("new", requestOf("new"), ""), path("new-forged"): file("new-forged", forged("new-forged"), ""), path("new-leaked"): file("new-leaked", requestOf("new-leaked"), leak),
	})
	clone := t.TempDir()
	runGit(t, clone, nil, "init", "--quiet", "--initial-branch=main")
	runGit(t, clone, &stream, "fast-import", "--quiet")
	runGit(t, clone, nil, "reset", "--quiet", "--hard", "main")
	for _, head := range []string{"main", ""} { // as Git has it, and on the disk
		made, err := forecastOf(t.Context(), clone, planFlags{base: "main~1", head: head, clusterResourceNamespace: v1alpha1.DefaultClusterResourceNamespace}, time.Now)
		if err != nil || made.Verdict != forecast.Blocked {
			t.Fatalf("head %q: %s, %v", head, made.Verdict, err)
		}
		var told []string
		for _, block := range made.Blocks {
			told = append(told, block.Place+" "+block.Subject)
		}
		leakLine := strings.Count(file("leaked", requestOf("leaked"), ""), "\n") + 1
		for _, want := range []string{path("forged") + ":6 spec.request", path("new-forged") + ":6 spec.request", fmt.Sprintf("%s:%d ", path("leaked"), leakLine), fmt.Sprintf("%s:%d ", path("new-leaked"), leakLine)} {
			if !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, want) }) {
				t.Errorf("head %q: nothing is told of %s in\n%s", head, want, strings.Join(told, "\n"))
			}
		}
		if len(told) != 4 {
			t.Errorf("head %q: told are\n%s", head, strings.Join(told, "\n"))
		}
	}
}
