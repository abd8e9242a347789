package forecast_test

import (
	"strings"
	"testing"

	"github.com/reanchor/reanchor/planner/forecast"
)

func TestPlanned(t *testing.T) {
	one, other := "sha256:"+strings.Repeat("1a", 32), "sha256:"+strings.Repeat("2b", 32)
	for name, test := range map[string]struct{ message, want, fails string }{
		"none":                 {message: "Roll the root\n\nReanchor-Planned: soon\n"},
		"as the last line":     {message: "Roll the root\n\nReanchor-Plan: " + one + "\n", want: one},
		"among other trailers": {message: "Roll (#7)\n\nSigned-off-by: a\nreanchor-plan:" + strings.ToUpper(one) + " \r\nCo-authored-by: b", want: one},
		"twice the same":       {message: "a\n\nReanchor-Plan: " + one + "\n\n* b\n\nReanchor-Plan: " + one, want: one},
		"two that differ":      {message: "Reanchor-Plan: " + one + "\nReanchor-Plan: " + other, fails: "two trailers"},
		"no digest":            {message: "Reanchor-Plan: yes", fails: `is "yes": write it as sha256:`},
		"empty":                {message: "Reanchor-Plan:", fails: `is "": write it as sha256:`},
		"in the subject":       {message: "About Reanchor-Plan: " + one},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := forecast.Planned(test.message)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got %v, want an error that says %q", err, test.fails)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func FuzzPlanned(f *testing.F) {
	f.Add("Roll\n\nReanchor-Plan: sha256:" + strings.Repeat("0", 64))
	f.Add("Reanchor-Plan: \x00\nReanchor-Plan:x")
	f.Fuzz(func(t *testing.T, message string) {
		got, err := forecast.Planned(message)
		if err != nil && got != "" || got != "" && !strings.Contains(strings.ToLower(message), got) {
			t.Errorf("got %q and %v from %q", got, err, message)
		}
	})
}
