package oip

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// scattered is an echo that reads pieces.
type scattered struct {
	*echo
	seen []Input
}

func (*scattered) ReadsPieces() bool { return true }

func (s *scattered) Infer(ctx context.Context, r *Request) (*Response, error) {
	s.seen = append(s.seen, r.Inputs[0])
	return s.echo.Infer(ctx, r)
}

// counter counts the bytes that it lends, and lends no more than it has.
type counter struct{ left int }

var errNoMemory = fault.New(fault.Exhausted, "no memory")

func (c *counter) Allocate(n int) ([]byte, error) {
	if n > c.left {
		return nil, errNoMemory
	}
	c.left -= n
	return make([]byte, n), nil
}

func inPieces(in Input, n int) Input {
	var parts [][]byte
	for b := in.Data; len(b) > 0; b = b[min(n, len(b)):] {
		parts = append(parts, b[:min(n, len(b))])
	}
	in.Data, in.Pieces = nil, tensor.PiecesOf(parts)
	return in
}

func TestPiecesAreJoinedUnlessTheModelReadsThem(t *testing.T) {
	reader := &scattered{echo: newEcho("pieces", "1")}
	s := server(t, newEcho("m", "1"), reader)
	data := []byte("0123456789abcdef")
	for _, n := range []int{1, 3, 15, 16} {
		r := request(data)
		memory := &counter{len(data)}
		r.Inputs[0], r.Allocator = inPieces(r.Inputs[0], n), memory
		got, err := s.Infer(t.Context(), r)
		if err != nil || !bytes.Equal(got.Outputs[0].Data, data) {
			t.Errorf("pieces of %d bytes: %v, %v", n, got, err)
		}
		if copied := memory.left == 0; copied != (n < len(data)) {
			t.Errorf("pieces of %d bytes: copied %v", n, copied)
		}
		r.Model, r.Inputs[0] = "pieces", inPieces(request(data).Inputs[0], n)
		if _, err := s.Infer(t.Context(), r); err != nil {
			t.Error(err)
		}
		if in := reader.seen[len(reader.seen)-1]; in.Data != nil || in.Len() != len(data) {
			t.Errorf("pieces of %d bytes: the model saw %+v", n, in)
		}
	}
	r := request(data)
	r.Inputs[0], r.Allocator = inPieces(r.Inputs[0], 4), &counter{3}
	if _, err := s.Infer(t.Context(), r); !errors.Is(err, errNoMemory) {
		t.Errorf("%v, want the allocator's error", err)
	}
	r = request(data[:7])
	r.Inputs[0] = inPieces(Input{Name: "x", DType: tensor.FP32, Shape: []int64{1, 2}, Data: data[:7]}, 2)
	_, err := s.Infer(t.Context(), r)
	want(t, err, fault.Invalid, "Expected 8, got 7")
}

func TestStringsInPieces(t *testing.T) {
	m := &scattered{echo: newEcho("m", "1")}
	m.meta.Inputs[0].DType = tensor.Bytes
	s := server(t, m)
	data := []byte("\x03\x00\x00\x00abc\x00\x00\x00\x00")
	for n := 1; n <= len(data); n++ {
		in := inPieces(Input{Name: "x", DType: tensor.Bytes, Shape: []int64{1, 2}, Data: data}, n)
		got, err := s.Infer(t.Context(), &Request{Model: "m", Inputs: []Input{in}})
		if err != nil || !bytes.Equal(got.Outputs[0].Data, data) {
			t.Errorf("pieces of %d bytes: %v, %v", n, got, err)
		}
		in = inPieces(Input{Name: "x", DType: tensor.Bytes, Shape: []int64{1, 2}, Data: data[:len(data)-1]}, n)
		_, err = s.Infer(t.Context(), &Request{Model: "m", Inputs: []Input{in}})
		want(t, err, fault.Invalid, "incomplete string length indicator")
	}
}
