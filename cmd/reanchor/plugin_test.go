package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

func TestInvocation(t *testing.T) {
	for name, test := range map[string]struct {
		args  []string
		shown string
		rest  string
	}{
		"itself":          {[]string{"/usr/bin/reanchor", "status"}, "", "status"},
		"a plugin":        {[]string{"/usr/bin/kubectl-reanchor", "status", "-A"}, "kubectl reanchor", "status -A"},
		"on Windows":      {[]string{"kubectl-reanchor.exe", "status"}, "kubectl reanchor", "status"},
		"the plugin's":    {[]string{"kubectl_complete-reanchor", "sta"}, "kubectl reanchor", "__complete sta"},
		"without a name":  {nil, "", ""},
		"nothing but one": {[]string{"reanchor"}, "", ""},
	} {
		shown, rest := invocation(test.args)
		if shown != test.shown || strings.Join(rest, " ") != test.rest {
			t.Errorf("%s: %q, %q", name, shown, rest)
		}
	}
}

func TestFarewell(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		said   string
	}{
		"well":               {nil, 0, ""},
		"an error":           {errors.New("no"), 1, "reanchor: no\n"},
		"another status":     {ended{2, errors.New("no")}, 2, "reanchor: no\n"},
		"nothing to be said": {ended{status: 1}, 1, ""},
	} {
		var out bytes.Buffer
		if status := farewell(&out, test.err); status != test.status || out.String() != test.said {
			t.Errorf("%s: %d, %q", name, status, out.String())
		}
	}
}

// TestDiffNeverFailsWithOne: that means that there is a difference.
func TestDiffNeverFailsWithOne(t *testing.T) {
	for _, args := range [][]string{{"diff", "--nonsense"}, {"diff", "a", "b"}, {"diff", "/does/not/exist"}} {
		err := run(context.Background(), append([]string{"reanchor"}, args...), &bytes.Buffer{}, &bytes.Buffer{})
		if status := farewell(&bytes.Buffer{}, err); status <= 1 {
			t.Errorf("%q ends with %d: %v", args, status, err)
		}
	}
}
