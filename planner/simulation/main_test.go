package simulation_test

import (
	"flag"
	"os"
	"strings"
	"testing"
)

// checks are enough worlds to answer in seconds, the same ones each time: what a change
// breaks is told from what luck finds. `make soak` looks at other worlds, and at many more.
var checks = map[string]string{"rapid.checks": "40", "rapid.seed": "1", "rapid.shrinktime": "10s"}

func TestMain(m *testing.M) {
	flag.Parse()
	asked := given("rapid.checks") || given("rapid.seed") || given("rapid.failfile")
	for name, value := range checks {
		if !asked {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}

// given reports whether the command line gives the flag.
func given(name string) bool {
	for _, argument := range os.Args[1:] {
		if strings.HasPrefix(strings.TrimLeft(argument, "-"), name+"=") {
			return true
		}
	}
	return false
}
