// Command mutation shows that the tests of the planner bite: it puts one deliberate fault
// after the other into the planner, and runs the simulation, and then the planner's own
// tables, until one of them fails.
//
//	go run ./planner/mutation docs/explanation/mutations.md
//
// It writes a page that tells of every fault what caught it, and ends with an error if one
// survives that is not known to. The sources stay as they are: the compiler is given the
// faulty file in the place of the right one.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mutation PAGE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

// suites are what a fault must get past, in this order: worlds enough to find it, the same
// ones each time, and no time lost on making a failure smaller.
var suites = []string{"./planner/simulation", "./planner"}

func run(page string) error {
	var outcomes []outcome
	var survivors []string
	for _, m := range mutations {
		caught, err := m.catch()
		if err != nil {
			return fmt.Errorf("%s: %w", m.fault, err)
		}
		fmt.Printf("%-60s %s\n", m.fault, orSurvives(caught))
		outcomes = append(outcomes, outcome{m, caught})
		if caught == "" && m.survives == "" {
			survivors = append(survivors, m.fault)
		}
	}
	if err := os.WriteFile(page, written(outcomes), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	if len(survivors) > 0 {
		return fmt.Errorf("nothing catches %s: write a property that does, or say in the list why none can", strings.Join(survivors, "; "))
	}
	return nil
}

// outcome is a fault and the test that caught it; empty if none did.
type outcome struct {
	mutation
	caught string
}

func orSurvives(caught string) string {
	if caught == "" {
		return "survives"
	}
	return caught
}

// catch runs the suites over the fault, and names the first test that fails.
func (m mutation) catch() (test string, err error) {
	folder, err := os.MkdirTemp("", "mutation-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // it is a folder for a moment
	overlay, err := m.overlay(folder)
	if err != nil {
		return "", err
	}
	for _, suite := range suites {
		if caught, err := failing(suite, overlay); err != nil || caught != "" {
			return caught, err
		}
	}
	return "", nil
}

// overlay writes the faulty file, and the list that has the compiler take it.
func (m mutation) overlay(folder string) (string, error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	faulty, err := m.apply(source)
	if err != nil {
		return "", err
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	replaced := filepath.Join(folder, "faulty.go")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: replaced}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(folder, "overlay.json")
	return name, errors.Join(os.WriteFile(replaced, faulty, 0o600), os.WriteFile(name, list, 0o600))
}

// failed is the line by which go test tells of a test that fails.
var failed = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// failing is the first test of a suite that fails over the fault; empty if all pass.
func failing(suite, overlay string) (test string, err error) {
	var output bytes.Buffer
	command := exec.Command("go", "test", "-overlay", overlay, "-failfast", "-timeout", "20m", suite,
		"-rapid.checks=40", "-rapid.seed=1", "-rapid.shrinktime=0s")
	command.Stdout, command.Stderr = &output, &output
	err = command.Run()
	found := failed.FindSubmatch(output.Bytes())
	switch {
	case err == nil:
		return "", nil
	case found == nil:
		return "", fmt.Errorf("go test %s did not get as far as a test: %w\n%s", suite, err, output.String())
	}
	return string(found[1]) + broken(output.Bytes()), nil
}

// named is how the simulation tells which invariant was broken.
var named = regexp.MustCompile(`(?:invariant broken(?: at [0-9:]+)?|failed after [0-9]+ tests): ([a-z' .]+): `)

// broken is the invariant that was broken, in brackets; empty if it was something else.
func broken(output []byte) string {
	found := named.FindSubmatch(output)
	if found == nil {
		return ""
	}
	return " (" + string(found[1]) + ")"
}
