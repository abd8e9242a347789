package pki_test

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/reanchor/reanchor/pki"
)

// link is a root's public key and name, signed by another CA.
func link(tb testing.TB, to, by entity, change ...func(*x509.Certificate)) entity {
	tb.Helper()
	template := caTemplate(to.CommonName())
	template.SerialNumber = big.NewInt(3)
	return issue(tb, template, to.private, &by, change...)
}

func named(name string) func(*x509.Certificate) {
	return func(template *x509.Certificate) { template.Subject.CommonName = name }
}

// A link bears the new root's name, key and key identifier, and the old one signed it.
func TestLinks(t *testing.T) {
	old, next := root(t, "Root 2025", "2025"), root(t, "Root 2026", "2026")
	stranger, namesake := root(t, "Root 2025", "stranger"), root(t, "Root 2025", "2026")
	for name, test := range map[string]struct {
		link entity
		to   entity
		want bool
	}{
		"as it should be":                  {link(t, next, old), next, true},
		"signed by a stranger of its name": {link(t, next, stranger), next, false},
		"of another key":                   {link(t, stranger, old, named("Root 2026")), next, false},
		"under another name":               {link(t, next, old, named("Root 2027")), next, false},
		"with another key identifier": {link(t, next, old, func(template *x509.Certificate) {
			template.SubjectKeyId = []byte{1, 2, 3}
		}), next, false},
		"of a root of the same name, which does not say who signed it": {link(t, namesake, old), namesake, false},
		"no CA":               {link(t, next, old, func(template *x509.Certificate) { template.IsCA = false }), next, false},
		"the new root itself": {next, next, false},
	} {
		t.Run(name, func(t *testing.T) {
			if is := test.link.Links(test.to.Certificate, old.Certificate); is != test.want {
				t.Errorf("it is a link: %v, want %v", is, test.want)
			}
		})
	}
}

// Whoever knows an old root alone verifies a leaf of the newest with the links between the
// two, by crypto/x509 and by OpenSSL alike, and not without them.
func TestBridge(t *testing.T) {
	var roots []entity
	for _, name := range []string{"2024", "2025", "2026", "2027"} {
		roots = append(roots, root(t, "Root "+name, name))
	}
	newest := roots[3]
	presented := leaf(t, "server", newest)
	steps := []entity{link(t, roots[1], roots[0]), link(t, roots[2], roots[1]), link(t, newest, roots[2])}
	direct := link(t, newest, roots[1])
	certificates := func(entities ...entity) []pki.Certificate {
		var all []pki.Certificate
		for _, e := range entities {
			all = append(all, e.Certificate)
		}
		return all
	}
	day := born.Add(24 * time.Hour)
	for name, test := range map[string]struct {
		links  []pki.Certificate
		anchor entity
		at     time.Time
		want   []pki.Certificate
	}{
		"one rollover":                         {certificates(steps...), roots[2], day, certificates(steps[2])},
		"three rollovers":                      {certificates(steps...), roots[0], day, certificates(steps[2], steps[1], steps[0])},
		"the shortest of two ways":             {certificates(append(steps, direct)...), roots[0], day, certificates(direct, steps[0])},
		"a step is missing":                    {certificates(steps[0], steps[2]), roots[0], day, nil},
		"the anchor signs itself":              {certificates(steps...), newest, day, nil},
		"a stranger":                           {certificates(steps...), root(t, "Root 2025", "stranger"), day, nil},
		"the links have ended":                 {certificates(steps...), roots[0], born.Add(11 * year), nil},
		"one that has ended is gone round":     {certificates(append(steps[:2:2], direct, link(t, newest, roots[2], lives(born, born.Add(time.Hour))))...), roots[0], day, certificates(direct, steps[0])},
		"two that sign each other have no end": {certificates(link(t, roots[1], roots[2]), steps[1], steps[2]), roots[0], day, nil},
		"no links":                             {nil, roots[0], day, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := pki.Bridge(newest.Certificate, test.links, test.anchor.Certificate, test.at)
			if !slices.EqualFunc(got, test.want, pki.Certificate.Equal) {
				t.Fatalf("the bridge is %v, want %v", got, test.want)
			}
			slices.Reverse(test.links)
			if again := pki.Bridge(newest.Certificate, test.links, test.anchor.Certificate, test.at); !slices.EqualFunc(got, again, pki.Certificate.Equal) {
				t.Errorf("of the same links in another order it is %v", again)
			}
			if len(got) == 0 {
				return
			}
			alone := pki.NewAnchors(test.anchor.Certificate)
			if err := pki.Verify(slices.Concat(certificates(presented), got), alone, test.at); err != nil {
				t.Error(err)
			}
			if pki.Verify(certificates(presented), alone, test.at) == nil {
				t.Error("without the bridge the leaf verifies as well")
			}
			openSSL(t, presented.Certificate, got, test.anchor.Certificate, test.at)
		})
	}
}

// openSSL verifies a leaf with intermediates and one anchor, where it is installed.
func openSSL(t *testing.T, leaf pki.Certificate, above []pki.Certificate, anchor pki.Certificate, at time.Time) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Log(err)
		return
	}
	folder := t.TempDir()
	var chain []byte
	for _, certificate := range above {
		chain = append(chain, certificate.PEM()...)
	}
	for name, content := range map[string][]byte{"leaf": leaf.PEM(), "chain": chain, "anchor": anchor.PEM()} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("openssl", "verify", "-x509_strict", "-attime", strconv.FormatInt(at.Unix(), 10), "-CAfile", "anchor", "-untrusted", "chain", "leaf")
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil || !bytes.Contains(output, []byte("leaf: OK")) {
		t.Errorf("openssl verify: %v: %s", err, output)
	}
}
