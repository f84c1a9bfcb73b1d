package nvjpeg

import "fmt"

// Status is nvjpegStatus_t.
type Status int32

const success Status = 0

// statusNames are nvjpeg.h's, without their common beginning.
var statusNames = [...]string{"SUCCESS", "NOT_INITIALIZED", "INVALID_PARAMETER", "BAD_JPEG", "JPEG_NOT_SUPPORTED",
	"ALLOCATOR_FAILURE", "EXECUTION_FAILED", "ARCH_MISMATCH", "INTERNAL_ERROR", "IMPLEMENTATION_NOT_SUPPORTED", "INCOMPLETE_BITSTREAM"}

// Error is a call that the library refused.
type Error struct {
	Call   string // "nvjpegDecodeBatched"
	Status Status
}

// Error says which call failed and what the library calls the reason.
func (e *Error) Error() string {
	name := "unknown"
	if e.Status >= 0 && int(e.Status) < len(statusNames) {
		name = "NVJPEG_STATUS_" + statusNames[e.Status]
	}
	return fmt.Sprintf("%s: %s (%d)", e.Call, name, e.Status)
}

func check(call string, s Status) error {
	if s == success {
		return nil
	}
	return &Error{Call: call, Status: s}
}
