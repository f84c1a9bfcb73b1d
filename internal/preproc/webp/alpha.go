package webp

import (
	"errors"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/vp8l"
)

// readAlpha decodes the ALPH chunk: its first byte holds the compression (bits 0, 1) and the filter
// (bits 2, 3). nil means that there is none.
func (f *frame) readAlpha() ([]byte, error) {
	if f.alpha == nil {
		return nil, nil
	}
	if len(f.alpha) == 0 {
		return nil, errTruncated
	}
	head, data := f.alpha[0], f.alpha[1:]
	var alpha []byte
	switch head & 3 {
	case 0:
		if len(data) < f.w*f.h {
			return nil, errTruncated
		}
		alpha = append(alpha, data[:f.w*f.h]...)
	case 1:
		var err error
		if alpha, err = f.losslessAlpha(data); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("unknown compression")
	}
	unfilter(alpha, f.w, head>>2&3)
	return alpha, nil
}

// losslessAlpha decodes a VP8L stream without its header, whose green samples are the alpha.
func (f *frame) losslessAlpha(data []byte) ([]byte, error) {
	w, h := uint32(f.w-1), uint32(f.h-1)
	v := w | h<<14
	m, err := vp8l.Decode(&joined{head: []byte{0x2f, byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}, tail: data})
	if err != nil {
		return nil, err
	}
	src, ok := m.(*image.NRGBA)
	if !ok || len(src.Pix) < 4*f.w*f.h {
		return nil, fmt.Errorf("unexpected image %T", m)
	}
	alpha := make([]byte, f.w*f.h)
	for i := range alpha {
		alpha[i] = src.Pix[4*i+1]
	}
	return alpha, nil
}

// joined reads head and then tail.
type joined struct{ head, tail []byte }

// Read implements io.Reader.
func (j *joined) Read(p []byte) (int, error) {
	if len(j.head) == 0 {
		j.head, j.tail = j.tail, nil
	}
	if len(j.head) == 0 {
		return 0, io.EOF
	}
	n := copy(p, j.head)
	j.head = j.head[n:]
	return n, nil
}

// ReadByte implements io.ByteReader.
func (j *joined) ReadByte() (byte, error) {
	var b [1]byte
	if _, err := j.Read(b[:]); err != nil {
		return 0, err
	}
	return b[0], nil
}

// unfilter undoes a filter of alpha: 1 predicts from the left, 2 from above, 3 by the gradient left +
// above - above left, clipped. The first row is predicted from the left, the first column from above.
func unfilter(alpha []byte, width int, filter byte) {
	if filter == 0 {
		return
	}
	for i := 1; i < width; i++ {
		alpha[i] += alpha[i-1]
	}
	for from := width; from < len(alpha); from += width {
		up, row := alpha[from-width:from], alpha[from:from+width]
		row[0] += up[0]
		for i := 1; i < width; i++ {
			switch filter {
			case 1:
				row[i] += row[i-1]
			case 2:
				row[i] += up[i]
			default:
				g := int(row[i-1]) + int(up[i]) - int(up[i-1])
				row[i] += byte(min(max(g, 0), 255))
			}
		}
	}
}
