package simulation_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

// fewWorlds are enough to answer in seconds; `make soak` asks for many more.
const fewWorlds = "25"

func TestMain(m *testing.M) {
	flag.Parse()
	if !slices.ContainsFunc(os.Args, func(a string) bool { return strings.Contains(a, "rapid.checks") }) {
		if err := flag.Set("rapid.checks", fewWorlds); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
