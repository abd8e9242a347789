package gitsource

import (
	"net"
	"strings"
	"testing"
)

// Whatever the lines hold: they are refused, or a key that is in none of them is not
// accepted.
func FuzzKnownHosts(f *testing.F) {
	known, stranger := newSSHKey(f, "").signer, newSSHKey(f, "").signer
	line := authorized(known)
	for _, lines := range []string{
		"git.example " + line, "*," + "!git.example " + line, "@revoked * " + line, "@cert-authority *.example " + line,
		"[git.example]:2222 " + line, "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= " + line, "# nothing\n\n", "git.example ssh-ed25519 AAAA",
	} {
		f.Add([]byte(lines))
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		folder := t.TempDir()
		db, err := readKnownHosts(lines, folder)
		if err != nil {
			if strings.Contains(err.Error(), folder) {
				t.Errorf("%q names a file that is not there any more", err)
			}
			return
		}
		address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 22}
		if db.check("git.example:22", address, stranger.PublicKey()) == nil {
			t.Errorf("a stranger is accepted by %q", lines)
		}
		if len(db.algorithms("git.example:22")) == 0 {
			t.Error("no algorithm is left")
		}
	})
}

// Whatever the lines hold: they are refused, or each is a key with a name that can be
// printed.
func FuzzAllowedSigners(f *testing.F) {
	key := strings.TrimSpace(authorized(newSSHKey(f, "").signer))
	for _, lines := range []string{
		key, key + " comment", "jane@example.com " + key, `jane,joe namespaces="git,file",valid-after="20200101",valid-before="20300101Z" ` + key,
		`"jane doe" ` + key, "cert-authority " + key, "* cert-authority " + key, "# none\n", `x="y" ` + key, "ssh-ed25519", "\"",
	} {
		f.Add([]byte(lines))
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		signers, err := readAllowedSigners(lines)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		for _, signer := range signers {
			if signer.key == nil || !strings.HasPrefix(signer.String(), "SSH SHA256:") || strings.ContainsAny(signer.String(), "\n\x00") {
				t.Errorf("%q gave %q", lines, signer)
			}
			_ = signer.signsCommits()
			if signer.validAt(testTime) && !signer.before.IsZero() && !testTime.Before(signer.before) {
				t.Errorf("%q is valid too long", lines)
			}
		}
	})
}

// A commit is what was signed and its signature, and nothing of it is lost.
func FuzzSplitSignature(f *testing.F) {
	f.Add("tree 1\nauthor A\ngpgsig -----BEGIN\n two\n-\nx y\n\nmessage\ngpgsig no\n")
	f.Add("gpgsig a\ngpgsig b\n\n")
	f.Add("gpgsig-sha256 a\n b\n c")
	f.Add(" x")
	f.Fuzz(func(t *testing.T, commit string) {
		signed, signature, err := splitSignature([]byte(commit))
		if err != nil {
			return
		}
		if !strings.Contains("\n"+commit, "\ngpgsig") && (string(signed) != commit || signature != "") {
			t.Errorf("%q became %q and %q", commit, signed, signature)
		}
		again, none, err := splitSignature(signed)
		if err != nil || none != "" || string(again) != string(signed) {
			t.Errorf("%q is still signed: %q, %q (%v)", signed, again, none, err)
		}
	})
}
