package vectorfile

import (
	"encoding/json"
	"math"
	"strconv"
)

// jsonlSink writes one JSON object a line. Every line carries the space id, so that any line of any
// file says what it is comparable with, and every line has the same keys.
type jsonlSink struct {
	space string
	lines *spool
	buf   []byte
}

func openJSONL(o Options) (*jsonlSink, error) {
	lines, err := openSpool(o.Output + partial)
	if err != nil {
		return nil, err
	}
	return &jsonlSink{space: o.Info.Space, lines: lines}, nil
}

func (s *jsonlSink) files() []*spool { return []*spool{s.lines} }

func (s *jsonlSink) append(n int, r Row) error {
	b := append(s.buf[:0], `{"row":`...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, `,"path":`...)
	b = appendString(b, r.Path)
	b = append(b, `,"space":`...)
	b = appendString(b, s.space)
	b = append(b, `,"embedding":`...)
	if r.Err != "" {
		b = append(b, `null,"error":`...)
		b = appendString(b, r.Err)
	} else {
		b = appendFloats(b, r.Vector)
		b = append(b, `,"error":null`...)
	}
	s.buf = append(b, "}\n"...)
	_, err := s.lines.Write(s.buf)
	return err
}

func (s *jsonlSink) seal(int) error { return nil }

// appendString appends s as JSON; bytes that are no UTF-8 become U+FFFD, as encoding/json has it.
func appendString(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always marshals
	}
	return append(b, text...)
}

// appendFloats appends the shortest decimals that read back as the same float32; JSON has no word for
// what is not finite, so that becomes null.
func appendFloats(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, f := range v {
		if i > 0 {
			b = append(b, ',')
		}
		if d := float64(f); math.IsNaN(d) || math.IsInf(d, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, d, 'g', -1, 32)
		}
	}
	return append(b, ']')
}
