package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Write writes a file: tensors in the given order, metadata where it is not empty. The data starts at
// a multiple of 8 bytes.
func Write(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	header, err := encodeHeader(tensors, metadata)
	if err != nil {
		return err
	}
	if err := binary.Write(w, binary.LittleEndian, uint64(len(header))); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

func encodeHeader(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	type info struct {
		DType   DType     `json:"dtype"`
		Shape   []int     `json:"shape"`
		Offsets [2]uint64 `json:"data_offsets"`
	}
	var b bytes.Buffer
	put := func(key string, v any) error {
		sep := byte(',')
		if b.Len() == 0 {
			sep = '{'
		}
		b.WriteByte(sep)
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		text, err := json.Marshal(v)
		b.Write(k)
		b.WriteByte(':')
		b.Write(text)
		return err
	}
	if len(metadata) > 0 {
		if err := put(metadataKey, metadata); err != nil {
			return nil, err
		}
	}
	var at uint64
	seen := map[string]bool{metadataKey: true}
	for _, t := range tensors {
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor name %q occurs twice or is reserved", t.Name)
		}
		seen[t.Name] = true
		end := at + uint64(len(t.Data))
		e := entry{Tensor: t, begin: at, end: end}
		if err := e.measure(unsigned(t.Shape)); err != nil {
			return nil, err
		}
		if err := put(t.Name, info{t.DType, e.Shape, [2]uint64{at, end}}); err != nil {
			return nil, err
		}
		at = end
	}
	if b.Len() == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > MaxHeader {
		return nil, errors.New("the header exceeds the format's limit")
	}
	return b.Bytes(), nil
}

func unsigned(shape []int) []uint64 {
	u := make([]uint64, len(shape))
	for i, d := range shape {
		u[i] = uint64(d)
	}
	return u
}
