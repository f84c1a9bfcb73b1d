// Package cli is what a person types and sees: where a flag's value comes from, help that can be read,
// values with units, and progress on a terminal. It knows nothing of what the commands do.
package cli

import "errors"

// Usage is an error of whoever typed the command, not of the program or the machine.
type Usage struct{ Err error }

func (u Usage) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u Usage) Unwrap() error { return u.Err }

// IsUsage tells whether err is the fault of whoever typed the command.
func IsUsage(err error) bool {
	var u Usage
	return errors.As(err, &u)
}
