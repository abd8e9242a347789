package v1alpha1

import (
	"strings"
	"testing"
)

const twoKeys = `# our root
apiVersion: reanchor.dev/v1alpha1
kind: Authority
metadata: {name: fleet-root, namespace: pki}
spec:
  subject: {commonName: Fleet Root}
  keys:
  - {name: "2024", state: Trusted}
  - name: "2025"   # in the safe
    state: Signing # since spring
`

// What is written by hand stays as it was: comments, quotes and spaces.
func TestCompromise(t *testing.T) {
	for name, test := range map[string]struct{ file, key, successor, want, err string }{
		"the key that signs, and a new one": {
			twoKeys, "2025", "2026",
			strings.NewReplacer("  - name: \"2025\"", "  - {name: \"2026\", state: Signing}\n  - name: \"2025\"", "state: Signing #", "state: Compromised #").Replace(twoKeys), "",
		},
		"the key that signs, and one that is trusted": {
			twoKeys, "2025", "2024",
			strings.NewReplacer("Trusted", "Signing", "state: Signing #", "state: Compromised #").Replace(twoKeys), "",
		},
		"a key that does not sign": {twoKeys, "2024", "", strings.Replace(twoKeys, "Trusted", "Compromised", 1), ""},
		"no successor":             {twoKeys, "2025", "", "", "f.yaml:9: spec.keys: 2025 signs: name the key that takes over, a new one or one of the list"},
		"itself":                   {twoKeys, "2025", "2025", "", "f.yaml:9: spec.keys: 2025 cannot take over from itself: name another key"},
		"one too many":             {twoKeys, "2024", "2026", "", "f.yaml:8: spec.keys: 2024 does not sign, so that none takes over: leave the successor out"},
		"no such key":              {twoKeys, "2023", "2026", "", `f.yaml:8: spec.keys: Authority fleet-root has no key "2023": name one of 2024 or 2025`},
		"one that has gone": {
			strings.Replace(twoKeys, "Trusted", "Retired", 1), "2025", "2024", "",
			"f.yaml:8: spec.keys: 2024 is Retired: name another key",
		},
		"no keys": {strings.Split(twoKeys, "  keys:")[0], "2025", "2026", "", `f.yaml:1: spec.keys: Authority fleet-root has no key "2025": name one of none`},
		"a list in brackets": {
			strings.Split(twoKeys, "  keys:")[0] + "  keys: [{name: a, state: Signing}]\n", "a", "b", "",
			"f.yaml:7: spec.keys: is a list in brackets, to which a line cannot be added: write each key on a line of its own",
		},
		"a quoted state": {
			strings.Replace(twoKeys, "state: Signing", `state: "Signing"`, 1), "2025", "2026", "",
			"f.yaml:10: spec.keys: the state is quoted or an alias: write it as a plain word",
		},
	} {
		t.Run(name, func(t *testing.T) {
			edited, found, err := Compromise("f.yaml", []byte(test.file), "fleet-root", test.key, test.successor)
			switch {
			case !found:
				t.Error("the authority is not found")
			case test.err != "" && (err == nil || err.Error() != test.err):
				t.Errorf("refused with %v, want %s", err, test.err)
			case test.err == "" && (err != nil || string(edited) != test.want):
				t.Errorf("%v\n%s\nwant\n%s", err, edited, test.want)
			}
		})
	}
	if edited, found, err := Compromise("f.yaml", []byte(twoKeys), "press-root", "2025", "2026"); found || err != nil || string(edited) != twoKeys {
		t.Errorf("another authority: found %v, %v\n%s", found, err, edited)
	}
}

func FuzzCompromise(f *testing.F) {
	f.Add(twoKeys, "2025", "2026")
	f.Add("metadata: {name: fleet-root}\nkind: Authority\napiVersion: reanchor.dev/v1alpha1\n", "a", "")
	f.Fuzz(func(t *testing.T, file, key, successor string) {
		edited, found, err := Compromise("f.yaml", []byte(file), "fleet-root", key, successor)
		if !found || err != nil {
			return
		}
		again, found, err := Compromise("f.yaml", edited, "fleet-root", key, "")
		if !found || err == nil && string(again) != string(edited) {
			t.Errorf("edited once more:\n%s\nis\n%s", edited, again)
		}
	})
}
