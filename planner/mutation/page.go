package main

import (
	"bytes"
	"fmt"
)

const heading = `# What the planner's tests catch

<!-- Written by make mutate. -->

A test that cannot fail proves nothing. Each of these faults was put into the planner, one at a
time; beside it stands the first test that failed, and in brackets the invariant that was
broken. Those of the simulation are asked first, the planner's own tables after them.

| Invariant | Fault | Caught by |
| --- | --- | --- |
`

// written is the page.
func written(outcomes []outcome) []byte {
	var page bytes.Buffer
	page.WriteString(heading)
	for _, o := range outcomes {
		caught := "`" + o.caught + "`"
		if o.caught == "" {
			caught = "**survives**: " + o.survives
		}
		fmt.Fprintf(&page, "| %s | %s | %s |\n", o.invariant, o.fault, caught)
	}
	return page.Bytes()
}
