package driver

import (
	"errors"
	"fmt"
)

// Code is the driver's result code.
type Code int32

// OutOfMemory is the code that callers tell apart.
const OutOfMemory Code = 2

// Error is a call that the driver refused, in its own words.
type Error struct {
	Call string // "cuMemAlloc"
	Code Code
	Name string // "CUDA_ERROR_OUT_OF_MEMORY"
	Text string // "out of memory"
}

// Error says which call failed and what the driver said.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s (%s, %d)", e.Call, e.Text, e.Name, e.Code) }

// CodeOf is the driver's code in err's chain, 0 if there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// Fatal tells whether the device's context is lost: after such an error every further call fails
// (launch failures, illegal addresses, ECC errors, errors that the device contained, a device that fell off the bus).
func Fatal(err error) bool {
	switch c := CodeOf(err); c {
	case 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 720:
		return true
	}
	return false
}

// ErrNoDriver is in the chain of Open's error on a machine without an NVIDIA driver or device.
var ErrNoDriver = errors.New("no NVIDIA GPU can be used")
