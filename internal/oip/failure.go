package oip

import (
	"fmt"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// Failure is why a version of a model could not be made.
type Failure struct {
	Version string
	Err     error
}

// Reason is the failure as the index shows it: Triton's word for the kind, and the message.
func (f Failure) Reason() string { return statusName(fault.KindOf(f.Err)) + ": " + message(f.Err) }

// Failures are the versions of a model that could not be made: a Loader's error where the model is
// known and its versions are to blame.
type Failures []Failure

// Error names each version, in Triton's words.
func (f Failures) Error() string {
	var b strings.Builder
	for _, v := range f {
		fmt.Fprintf(&b, "version %s is at UNAVAILABLE state: %s;", v.Version, v.Reason())
	}
	return b.String()
}

// Unwrap are the versions' errors.
func (f Failures) Unwrap() (all []error) {
	for _, v := range f {
		all = append(all, v.Err)
	}
	return all
}

// statusName is what Triton's core calls a kind of error.
func statusName(k fault.Kind) string {
	switch k {
	case fault.Invalid, fault.TooLarge, fault.UnsupportedMedia:
		return "Invalid argument"
	case fault.NotFound:
		return "Not found"
	case fault.Unimplemented:
		return "Unsupported"
	case fault.Unavailable, fault.Exhausted, fault.Timeout, fault.Canceled:
		return "Unavailable"
	}
	return "Internal"
}
