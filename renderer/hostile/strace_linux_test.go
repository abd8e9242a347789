package hostile_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reanchor/reanchor/renderer/hostile"
)

// helperMode asks the test's own binary to be the process that is looked at.
const helperMode = "REANCHOR_HOSTILE_HELPER"

// What the helper does: it builds every tree, and for the sake of proof opens a socket or
// runs a program.
const (
	modeBuild = "build"
	modeDial  = "dial"
	modeRun   = "run"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperMode); mode != "" {
		if err := help(mode); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// help builds all trees, the good ones to their end, and says how many.
func help(mode string) error {
	switch mode {
	case modeDial:
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		return listener.Close()
	case modeRun:
		return exec.Command("true").Run()
	}
	trees := append(hostile.Good(), hostile.Trees()...)
	for _, tree := range trees {
		if got := judge(tree); got.by != tree.By {
			return fmt.Errorf("%s: refused by %q: %s", tree.Name, got.by, got.why)
		}
	}
	fmt.Println(len(trees))
	return nil
}

// call is a line of strace about a call; one that another thread interrupts stands in two
// lines, of which the first counts.
var call = regexp.MustCompile(`^\d+ +(\w+)\(`)

// traced runs the helper under strace, and counts its calls to the network and the programs
// that it ran.
func traced(t *testing.T, mode string) (output string, calls []string, programs int) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is not installed, and without it nothing shows that a build opens no socket: run make deps, or install the package strace")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	command := exec.Command(strace, "-f", "-qq", "--seccomp-bpf", "-e", "trace=%network,execve,execveat", "-e", "signal=none", "-o", trace, os.Args[0])
	command.Env = append(os.Environ(), helperMode+"="+mode)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("strace could not look at a process (%v): let it trace (in a container with the capability SYS_PTRACE): %s", err, stderr.String())
	}
	lines, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		switch found := call.FindStringSubmatch(line); {
		case found == nil:
		case strings.HasPrefix(found[1], "execve"):
			programs++
		default:
			calls = append(calls, strings.TrimSpace(line))
		}
	}
	return strings.TrimSpace(stdout.String()), calls, programs
}

// No build opens a socket or runs a program, whatever a repository asks for: the kernel is
// asked, not kustomize.
func TestBuildsOpenNoSocket(t *testing.T) {
	output, calls, programs := traced(t, modeBuild)
	if want := fmt.Sprint(len(hostile.Good()) + len(hostile.Trees())); output != want {
		t.Errorf("%q trees were built, want %s", output, want)
	}
	if len(calls) > 0 {
		t.Errorf("%d calls to the network were made:\n%s", len(calls), strings.Join(calls, "\n"))
	}
	if programs != 1 {
		t.Errorf("%d programs were run, want the helper itself alone", programs)
	}
}

// What the test above counts, it would see.
func TestASocketWouldBeSeen(t *testing.T) {
	if _, calls, _ := traced(t, modeDial); len(calls) == 0 {
		t.Error("a process that listens on loopback makes no call to the network: the count is worth nothing")
	}
	if _, _, programs := traced(t, modeRun); programs != 2 {
		t.Errorf("a process that runs another counts %d programs, want 2", programs)
	}
}
