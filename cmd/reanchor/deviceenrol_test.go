package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/reanchor/reanchor/api/v1alpha1"
	"github.com/reanchor/reanchor/pki"
	"github.com/reanchor/reanchor/registrar"
	"github.com/reanchor/reanchor/registrar/admission"
	"github.com/reanchor/reanchor/registrar/registrartest"
)

// A device's side of the command line, against the endpoint itself: each script has one at
// $SERVER, and what sensor-1 brings from its factory.
func TestDeviceEnrol(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/enrol",
		Setup: func(env *testscript.Env) error {
			y, err := openYard(t, env.WorkDir)
			if err != nil {
				return err
			}
			env.Values[yardKey{}] = y
			env.Setenv("SERVER", "https://"+y.Address)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"world": changeWorld},
	})
}

type yardKey struct{}

// yard is an endpoint with a root that rolls over.
type yard struct {
	*registrartest.Endpoint
	older, newer *registrartest.Authority
	link         pki.Certificate
}

func openYard(t *testing.T, folder string) (*yard, error) {
	now := time.Now()
	factory := registrartest.Root("Factory", now)
	y := &yard{older: registrartest.Root("Fleet 2025", now), newer: registrartest.Root("Fleet 2026", now)}
	y.link = y.older.Link(y.newer, now)
	world := registrartest.NewWorld(y.older, time.Now)
	world.Group("sensors", factory, func(spec *v1alpha1.DeviceGroupSpec) {
		spec.Certificate.DNSNames = []string{"{{ .ID }}.sensors.example"}
	})
	y.Endpoint = registrartest.Serve(t, world, y.shown(y.older))
	key := registrartest.Key()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	leaf := factory.Sign(registrartest.Leaf("sensor-1", now.Add(-time.Hour), now.AddDate(1, 0, 0)), key.Public())
	return y, errors.Join(err,
		os.WriteFile(filepath.Join(folder, "factory.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(folder, "factory.pem"), leaf.PEM(), 0o600),
		os.WriteFile(filepath.Join(folder, "anchors.pem"), y.older.PEM(), 0o600),
	)
}

// shown by the endpoint, once its certificate is of a root.
func (y *yard) shown(root *registrartest.Authority) *registrar.Serving {
	const name, proof = "registrar.test", "proof.registrar.test"
	return &registrar.Serving{
		Certificate: root.ServerCredential(name, time.Now()), Links: []pki.Certificate{y.link},
		ProofName: proof, Proof: root.ServerCredential(proof, time.Now()), ProofAnchor: root.Certificate,
	}
}

// changes of what the endpoint knows, by their names in scripts.
var changes = map[string]func(*yard){
	"distributes": func(y *yard) {
		y.Trust("sensors", registrartest.TrustOf(pki.NewAnchors(y.older.Certificate, y.newer.Certificate), y.link))
	},
	"switches":   func(y *yard) { y.Switch(y.newer); y.Show(y.shown(y.newer)) },
	"retires":    func(y *yard) { y.Trust("sensors", registrartest.TrustOf(pki.NewAnchors(y.newer.Certificate))) },
	"is-held":    func(y *yard) { y.HoldIssuance(true) },
	"has-no-git": func(y *yard) { y.FailCommits(registrar.ErrUnreachable) },
	"blocks": func(y *yard) {
		y.Put(admission.Device{Group: "sensors", ID: "sensor-1", State: v1alpha1.DeviceBlocked})
	},
}

// changeWorld is the command world of scripts: a change, or the wait until a device has
// confirmed what the endpoint hands out.
func changeWorld(ts *testscript.TestScript, _ bool, args []string) {
	y := ts.Value(yardKey{}).(*yard)
	if args[0] == "is-confirmed" {
		if !y.awaitConfirmation() {
			ts.Fatalf("nobody has confirmed the bundle")
		}
		return
	}
	change, known := changes[args[0]]
	if !known {
		ts.Fatalf("world %s: there is no such change", args[0])
	}
	change(y)
}

func (y *yard) awaitConfirmation() bool {
	fleet, _ := y.Fleet()
	var want []pki.Fingerprint
	for _, anchor := range fleet.Trust("sensors").Anchors {
		want = append(want, anchor.Fingerprint())
	}
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !slices.ContainsFunc(y.Seen(), func(e registrar.Evidence) bool { return slices.Equal(e.Trusts, want) }) {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}

// What a command leaves behind holds nobody up: neither when it succeeds nor when it is ended.
func TestOnChangeLeavesChildren(t *testing.T) {
	child := filepath.Join(t.TempDir(), "child")
	for name, test := range map[string]struct {
		command string
		ends    time.Duration
		fails   bool
	}{
		"it succeeds": {`sleep 60 & echo $! >"$0"`, time.Minute, false},
		"it hangs":    {`sleep 60 & echo $! >"$0"; wait`, 3 * time.Second, true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), test.ends)
		began := time.Now()
		err := runShell(ctx, strings.ReplaceAll(test.command, "$0", child), &strings.Builder{})
		cancel()
		if (err != nil) != test.fails || time.Since(began) > 30*time.Second {
			t.Errorf("%s: %v after %s", name, err, time.Since(began))
		}
		endChild(t, child)
	}
}

// endChild ends the process whose number a file holds.
func endChild(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err := errors.Join(err, process.Kill()); err != nil {
		t.Error(err)
	}
}

// The unit for systemd that the page shows runs the program as it can be run.
func TestUnits(t *testing.T) {
	page, err := os.ReadFile("../../docs/how-to/register-devices.md")
	if err != nil {
		t.Fatal(err)
	}
	_, unit, _ := strings.Cut(string(page), "```ini\n")
	unit, _, _ = strings.Cut(unit, "```")
	section := ""
	keys := map[string]bool{}
	for line := range strings.Lines(strings.ReplaceAll(unit, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		key, value, isKey := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = line
		case !isKey:
			t.Errorf("%q is neither a section nor a key", line)
		default:
			keys[section+key] = true
			if key == "ExecStart" {
				expectEnrol(t, value)
			}
		}
	}
	for _, key := range []string{"[Unit]Description", "[Service]ExecStart", "[Service]StateDirectory", "[Install]WantedBy"} {
		if !keys[key] {
			t.Errorf("the unit has no %s", key)
		}
	}
}

// unitWord is a word of a command line as systemd splits it (systemd.service(5), Command Lines).
var unitWord = regexp.MustCompile(`"([^"]*)"|(\S+)`)

// expectEnrol fails unless a command line is one of reanchor device enrol.
func expectEnrol(t *testing.T, line string) {
	t.Helper()
	var words []string
	for _, match := range unitWord.FindAllStringSubmatch(line, -1) {
		words = append(words, match[1]+match[2])
	}
	command, rest, err := newRoot().Find(words[1:])
	if err != nil || filepath.Base(words[0]) != "reanchor" || command.Name() != "enrol" {
		t.Fatalf("%q runs %v (%v)", line, command, err)
	}
	if err := errors.Join(command.ParseFlags(rest), command.ValidateRequiredFlags(), command.ValidateFlagGroups()); err != nil || command.Flags().NArg() > 0 {
		t.Errorf("%q: %v, arguments %v", line, err, command.Flags().Args())
	}
}
