// Package fault names the ways in which a request can fail. A fault says whose fault it is, which
// field and which item of the request it concerns, and never which protocol carried it: each front
// turns the kind into its own code, in internal/front, once.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind classifies a fault.
type Kind uint8

const (
	// Internal is a fault of the server; the zero value, so that an unknown error is never the client's.
	Internal Kind = iota
	// Invalid is a request whose content breaks a rule: malformed, wrong type, out of range, corrupt image.
	Invalid
	// NotFound is a model, version or route that does not exist.
	NotFound
	// TooLarge is a body, image, frame count or pixel count over a limit.
	TooLarge
	// UnsupportedMedia is an image format or content type that the server does not read.
	UnsupportedMedia
	// Unimplemented is a feature of the protocol that this server does not have.
	Unimplemented
	// Exhausted is a full queue or a spent budget; the same request may succeed later.
	Exhausted
	// Unavailable is a server that is not ready, is draining, or lost the engine.
	Unavailable
	// Timeout is a request whose own or configured time ran out.
	Timeout
	// Canceled is a request that its client abandoned.
	Canceled
	// Unauthenticated is a missing or wrong key.
	Unauthenticated
	// Forbidden is a restricted API group.
	Forbidden
	// Exists is something that is to be made and is there already.
	Exists
	// Mistaken is a request that cannot be followed and that Triton answers as an internal error: the client's
	// mistake all the same, such as JSON that is none. It has Internal's codes on the wire and nowhere else
	// counts as the server's.
	Mistaken
)

var kindNames = [...]string{
	"internal", "invalid", "not_found", "too_large", "unsupported_media", "unimplemented",
	"exhausted", "unavailable", "timeout", "canceled", "unauthenticated", "forbidden", "exists", "mistaken",
}

// String is the kind's name in logs and metrics.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Internal]
}

// Error is a fault with its context. Msg is written for whoever sent the request; Err, where there is
// one, is the cause and goes to the log.
type Error struct {
	Kind  Kind
	Field string // the request field, as the client wrote it ("images", "priority"); may be empty
	Item  int    // index of the item concerned, -1 if the whole request is
	Msg   string
	// RetryAfter is how long a client should wait before the same request (Exhausted, Unavailable); 0 if unknown.
	RetryAfter time.Duration
	Err        error
}

// New makes a fault that concerns the whole request.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Item: -1, Msg: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault with a cause; the message says what was being done, the cause what went wrong.
func Wrap(kind Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: kind, Item: -1, Msg: fmt.Sprintf(format, args...), Err: err}
}

// In names the field that the fault concerns and returns the same fault.
func (e *Error) In(field string) *Error { e.Field = field; return e }

// At names the item that the fault concerns and returns the same fault.
func (e *Error) At(item int) *Error { e.Item = item; return e }

// After sets RetryAfter and returns the same fault.
func (e *Error) After(d time.Duration) *Error { e.RetryAfter = d; return e }

// Error is the message with its place and cause: `images[2]: not an image: unexpected EOF`.
func (e *Error) Error() string {
	s := e.Msg
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if p := e.Place(); p != "" {
		s = p + ": " + s
	}
	return s
}

// Place is the field and item as one string: "images[2]", "priority", "item 2" or "".
func (e *Error) Place() string {
	switch {
	case e.Field != "" && e.Item >= 0:
		return fmt.Sprintf("%s[%d]", e.Field, e.Item)
	case e.Item >= 0:
		return fmt.Sprintf("item %d", e.Item)
	}
	return e.Field
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of returns err as a fault. A context's end becomes Timeout or Canceled, an error that is no fault
// becomes Internal; nil stays nil. The fault found in err's chain is returned itself, not a copy.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var f *Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(Timeout, err, "the request's time ran out")
	case errors.Is(err, context.Canceled):
		return Wrap(Canceled, err, "the request was cancelled")
	}
	return Wrap(Internal, err, "internal error")
}

// KindOf is the kind of err, Internal for an error that is no fault.
func KindOf(err error) Kind {
	if f := Of(err); f != nil {
		return f.Kind
	}
	return Internal
}
