package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err  *Error
		want string
	}{
		{New(Invalid, "must be positive").In("priority"), "priority: must be positive"},
		{Wrap(Invalid, io.ErrUnexpectedEOF, "truncated JPEG").In("images").At(2), "images[2]: truncated JPEG: unexpected EOF"},
		{New(Invalid, "no").At(0), "item 0: no"},
		{New(Exhausted, "queue full"), "queue full"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestOf(t *testing.T) {
	inner := New(NotFound, "no model")
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{inner, NotFound},
		{fmt.Errorf("infer: %w", inner), NotFound},
		{fmt.Errorf("run: %w", context.Canceled), Canceled},
		{context.DeadlineExceeded, Timeout},
		{errors.New("boom"), Internal},
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
	if Of(nil) != nil {
		t.Error("nil became a fault")
	}
	if Of(fmt.Errorf("x: %w", inner)) != inner {
		t.Error("the fault in the chain was copied")
	}
}
