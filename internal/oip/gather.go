package oip

import "github.com/vitrine-project/vitrine/internal/tensor"

// PieceReader is a model that takes its inputs in pieces (Input.Pieces), for it copies them to where it needs them
// anyhow. For every other model the server joins them, so that such a model finds all bytes in Input.Data.
type PieceReader interface{ ReadsPieces() bool }

// Allocator gives memory that lives as long as a request's inputs, or says why not.
type Allocator interface {
	Allocate(n int) ([]byte, error)
}

// Len is the number of an input's bytes, however they lie; those in shared memory are not counted.
func (in *Input) Len() int { return len(in.Data) + in.Pieces.Len() }

// join makes an input's bytes one run, in Data.
func (r *Request) join(in *Input) error {
	if in.Pieces.Len() == 0 {
		return nil
	}
	b, ok := in.Pieces.Contiguous()
	if !ok {
		var err error
		if b, err = r.allocate(in.Pieces.Len()); err != nil {
			return err
		}
		in.Pieces.CopyTo(b)
	}
	in.Data, in.Pieces = b, tensor.Pieces{}
	return nil
}

func (r *Request) allocate(n int) ([]byte, error) {
	if r.Allocator == nil {
		return make([]byte, n), nil
	}
	return r.Allocator.Allocate(n)
}

// gather joins the inputs of a model that does not read pieces.
func (r *Request) gather(m Model) error {
	if p, ok := m.(PieceReader); ok && p.ReadsPieces() {
		return nil
	}
	for i := range r.Inputs {
		if err := r.join(&r.Inputs[i]); err != nil {
			return err
		}
	}
	return nil
}
