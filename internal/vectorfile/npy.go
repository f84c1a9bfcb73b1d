package vectorfile

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// npySink writes NumPy's format 1.0: a header, padded so that the data is aligned to 64 bytes, and the
// rows as they are. The row count is set when the file is complete; its field is wide enough for any.
type npySink struct {
	info    Info
	vectors *spool
	index   *spool
	buf     []byte
}

const npyHeaderSize = 128

func openNPY(o Options) (*npySink, error) {
	vectors, err := openSpool(o.Output + partial)
	if err != nil {
		return nil, err
	}
	index, err := openSpool(o.Output + indexPartial)
	if err != nil {
		return nil, errors.Join(err, vectors.close())
	}
	return &npySink{info: o.Info, vectors: vectors, index: index}, nil
}

func (s *npySink) files() []*spool { return []*spool{s.vectors, s.index} }

// indexHeader is the first line of the index file.
type indexHeader struct {
	VitrineIndex int `json:"vitrine_index"` // version of the index file
	Info
}

type indexLine struct {
	Row   int    `json:"row"`
	Path  string `json:"path"`
	Error string `json:"error,omitempty"`
}

func (s *npySink) begin() error {
	if s.vectors.size == 0 {
		if _, err := s.vectors.Write(npyHeader(0, s.info.Dim)); err != nil {
			return err
		}
	}
	if s.index.size == 0 {
		return json.NewEncoder(s.index).Encode(indexHeader{1, s.info})
	}
	return nil
}

func (s *npySink) append(n int, r Row) error {
	if err := s.begin(); err != nil {
		return err
	}
	s.buf = s.buf[:0]
	for i := range s.info.Dim {
		v := float32(math.NaN())
		if r.Err == "" {
			v = r.Vector[i]
		}
		s.buf = binary.LittleEndian.AppendUint32(s.buf, math.Float32bits(v))
	}
	if _, err := s.vectors.Write(s.buf); err != nil {
		return err
	}
	return json.NewEncoder(s.index).Encode(indexLine{n, r.Path, r.Err})
}

// seal writes the final row count into the header.
func (s *npySink) seal(rows int) error {
	if err := s.begin(); err != nil {
		return err
	}
	if _, err := s.vectors.sync(); err != nil {
		return err
	}
	_, err := s.vectors.f.WriteAt(npyHeader(rows, s.info.Dim), 0)
	return err
}

// npyHeader is the first npyHeaderSize bytes of a float32 [rows, dim] file.
func npyHeader(rows, dim int) []byte {
	h := make([]byte, 0, npyHeaderSize)
	h = append(h, "\x93NUMPY\x01\x00"...)
	h = binary.LittleEndian.AppendUint16(h, npyHeaderSize-10)
	h = fmt.Appendf(h, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, dim)
	for len(h) < npyHeaderSize-1 {
		h = append(h, ' ')
	}
	return append(h, '\n')
}
