package main

import (
	"context"
	"errors"

	"github.com/vitrine-project/vitrine/internal/cli"
)

// Exit codes, as `vitrine --help` documents them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitPartial     = 3
	exitInterrupted = 130
)

const exitHelp = `Exit codes: 0 all done; 1 failed; 2 the command line or the configuration is wrong; 3 done, but
some inputs failed (each is named); 130 interrupted (embed goes on from there when run again).`

// partial is a command that did its work although some inputs failed; it has said which.
type partial struct{ failed int }

func (partial) Error() string { return "some inputs failed" }

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case cli.IsUsage(err):
		return exitUsage
	case errors.As(err, new(partial)):
		return exitPartial
	case errors.As(err, new(interrupted)), errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailure
}
