package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
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

// failingWith has every mistake of a command, flags and arguments included, end with a
// status, so that 1 is left to mean something else.
func failingWith(status int, command *cobra.Command) *cobra.Command {
	wrapped := func(err error) error {
		if _, is := errors.AsType[ended](err); is || err == nil {
			return err
		}
		return ended{status, err}
	}
	args, run := command.Args, command.RunE
	command.Args = func(cmd *cobra.Command, given []string) error { return wrapped(args(cmd, given)) }
	command.RunE = func(cmd *cobra.Command, given []string) error { return wrapped(run(cmd, given)) }
	command.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return wrapped(seeHelp(cmd, err)) })
	return command
}

// seeHelp ends the error of a flag in what to do next.
func seeHelp(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath())
}

// atMostOne argument may be given, which is a FOLDER or a NAME.
func atMostOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return seeHelp(cmd, fmt.Errorf("%q: give one %s at most", args, what))
		}
		return nil
	}
}
