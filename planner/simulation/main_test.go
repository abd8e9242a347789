package simulation_test

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// The tests look at so many worlds for each property, the same ones each time: what a change
// breaks is told from what luck finds. `make soak` looks at other worlds, and at many more.
const worldsEach = 100

// enough is how many worlds all properties together have to look at: fewer fail.
const enough = 2000

// shortened is what rapid divides the number of worlds by under -short, which is to leave
// other things out.
const shortened = 5

// looked counts the worlds that were looked at.
var looked atomic.Int64

// inWorlds asks a property of random worlds, and counts them.
func inWorlds(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		looked.Add(1)
		property(t)
	})
}

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // worlds are small, and soon forgotten
	asked := given("rapid.checks") || given("rapid.seed") || given("rapid.failfile")
	if !asked {
		for name, value := range choices() {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	code := m.Run()
	isWhole := !asked && !given("test.run") && !given("test.skip") && !given("test.list")
	fmt.Println(looked.Load(), "random worlds were looked at")
	if isWhole && code == 0 && looked.Load() < enough {
		fmt.Println("FAIL: that is fewer than", enough)
		code = 1
	}
	os.Exit(code)
}

// choices are the flags of whoever does not ask for others.
func choices() map[string]string {
	checks := worldsEach
	if testing.Short() {
		checks *= shortened
	}
	return map[string]string{"rapid.checks": strconv.Itoa(checks), "rapid.seed": "1", "rapid.shrinktime": "10s"}
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
