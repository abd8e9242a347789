package main

import (
	"errors"
	"fmt"
	"io"
)

// ended is an error with which the program ends with another status than 1. Without an
// err nothing is said: what there is to say stands on stdout.
type ended struct {
	status int
	err    error
}

// Error is the error's own, if there is one.
func (e ended) Error() string {
	if e.err == nil {
		return fmt.Sprintf("ended with status %d", e.status)
	}
	return e.err.Error()
}

// Unwrap is the error itself.
func (e ended) Unwrap() error { return e.err }

// farewell tells an error, if it has anything to say, and returns the status to end with.
func farewell(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if last, is := errors.AsType[ended](err); is {
		if last.err != nil {
			fmt.Fprintln(stderr, "reanchor:", err)
		}
		return last.status
	}
	fmt.Fprintln(stderr, "reanchor:", err)
	return 1
}
