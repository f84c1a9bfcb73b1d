package telemetry

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
)

// NewRequestID returns a new request id: 128 random bits as 32 lower-case hexadecimal digits, the
// form of a trace id.
func NewRequestID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails since Go 1.24
	return hex.EncodeToString(id[:])
}

// maxRequestID bounds the ids that clients send; they are written to logs and sent back.
const maxRequestID = 128

// ValidRequestID tells whether a client's request id may be logged and sent back as it is: 1 to 128
// printable ASCII characters, no space, no quote, no backslash.
func ValidRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Trace is a position in a distributed trace (W3C Trace Context, level 2). The zero value is none.
type Trace struct {
	ID     [16]byte // the whole trace
	Parent [8]byte  // the caller's span
	Flags  byte     // bit 0: sampled
}

// ErrTraceparent says that a traceparent header breaks the format and must be ignored.
var ErrTraceparent = errors.New("traceparent is malformed")

// Lengths and places of traceparent's fields: version-traceid-parentid-flags.
const (
	traceparentLen = 55
	traceIDAt      = 3
	parentAt       = 36
	flagsAt        = 53
)

// ParseTraceparent reads a traceparent header. Version 00 has exactly 55 characters; a later version
// may go on after a dash, and what follows is ignored; version ff, upper-case digits and all-zero
// ids are malformed.
func ParseTraceparent(s string) (Trace, error) {
	if !framed(s) {
		return Trace{}, ErrTraceparent
	}
	var t Trace
	var version, flags [1]byte
	ok := lowerHex(version[:], s[:2]) && lowerHex(t.ID[:], s[traceIDAt:parentAt-1]) &&
		lowerHex(t.Parent[:], s[parentAt:flagsAt-1]) && lowerHex(flags[:], s[flagsAt:traceparentLen])
	later := len(s) > traceparentLen
	switch {
	case !ok, version[0] == 0xff, later && version[0] == 0:
		return Trace{}, ErrTraceparent
	case t.ID == [16]byte{}, t.Parent == [8]byte{}:
		return Trace{}, ErrTraceparent
	}
	t.Flags = flags[0]
	return t, nil
}

// framed tells whether the dashes stand where they must.
func framed(s string) bool {
	return len(s) >= traceparentLen &&
		s[traceIDAt-1] == '-' && s[parentAt-1] == '-' && s[flagsAt-1] == '-' &&
		(len(s) == traceparentLen || s[traceparentLen] == '-')
}

// lowerHex decodes lower-case hexadecimal digits that fill dst exactly.
func lowerHex(dst []byte, s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	n, err := hex.Decode(dst, []byte(s))
	return err == nil && n == len(dst)
}

// IsZero tells whether there is no trace.
func (t Trace) IsZero() bool { return t == Trace{} }

// Sampled tells whether the caller records this trace.
func (t Trace) Sampled() bool { return t.Flags&1 != 0 }

// TraceID is the trace's id as 32 hexadecimal digits.
func (t Trace) TraceID() string { return hex.EncodeToString(t.ID[:]) }

// String is the trace as a traceparent header of version 00.
func (t Trace) String() string {
	b := make([]byte, 0, traceparentLen)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, t.ID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, t.Parent[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{t.Flags})
	return string(b)
}

// Child is the same trace seen from a new span of this server.
func (t Trace) Child() Trace {
	rand.Read(t.Parent[:])
	return t
}
