package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

const (
	prefixSize = 8
	// MaxHeader is the format's limit of the JSON header, bytes.
	MaxHeader = 100_000_000
	// maxRank bounds a shape; no tensor of a model comes near it.
	maxRank = 32

	metadataKey = "__metadata__"
)

// Parse reads a file's content. Tensors' Data are views into data, which must outlive them.
func Parse(data []byte) (*File, error) {
	header, body, err := split(data)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	return h.place(body)
}

func split(data []byte) (header, body []byte, err error) {
	if len(data) < prefixSize {
		return nil, nil, fmt.Errorf("%d bytes: not a safetensors file (the header length alone takes %d)", len(data), prefixSize)
	}
	n := binary.LittleEndian.Uint64(data)
	rest := data[prefixSize:]
	if n > MaxHeader {
		return nil, nil, fmt.Errorf("header of %d bytes, the format's limit is %d: not a safetensors file", n, MaxHeader)
	}
	if n > uint64(len(rest)) {
		return nil, nil, fmt.Errorf("truncated: header of %d bytes, but the file has %d after the header length", n, len(rest))
	}
	header = rest[:n]
	if n < 2 || header[0] != '{' {
		return nil, nil, errors.New("the header does not start with '{': not a safetensors file")
	}
	if !utf8.Valid(header) {
		return nil, nil, errors.New("the header is not UTF-8")
	}
	return header, rest[n:], nil
}

// entry is a header entry before its place was checked.
type entry struct {
	Tensor
	begin, end uint64
}

type header struct {
	metadata map[string]string
	entries  []entry
}

// parser walks the header's tokens. The grammar is three levels deep and has no recursion, so depth
// needs no limit of its own; duplicate keys, which encoding/json lets the last win, are errors.
type parser struct{ *json.Decoder }

func parseHeader(text []byte) (*header, error) {
	p := parser{json.NewDecoder(bytes.NewReader(text))}
	p.UseNumber()
	h := &header{}
	err := p.object("header", func(name string) (err error) {
		if name == metadataKey {
			h.metadata, err = p.metadata()
			return err
		}
		e, err := p.entry(name)
		h.entries = append(h.entries, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := p.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("header: more follows the closing brace")
	}
	return h, nil
}

// object reads {"key": ..., ...} and calls value for each key, which must read exactly one value.
func (p parser) object(where string, value func(key string) error) error {
	if err := p.delim(where, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.More() {
		t, err := p.Token()
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		key, ok := t.(string)
		if !ok {
			return fmt.Errorf("%s: a key is no string", where)
		}
		if seen[key] {
			return fmt.Errorf("%s: key %q occurs twice", where, key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim(where, '}')
}

func (p parser) delim(where string, want json.Delim) error {
	t, err := p.Token()
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if t != want {
		return fmt.Errorf("%s: want %q, got %v", where, want.String(), t)
	}
	return nil
}

func (p parser) str(where string) (string, error) {
	t, err := p.Token()
	if err != nil {
		return "", fmt.Errorf("%s: %w", where, err)
	}
	s, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("%s: want a string, got %v", where, t)
	}
	return s, nil
}

// uints reads an array of at most limit non-negative integers.
func (p parser) uints(where string, limit int) ([]uint64, error) {
	if err := p.delim(where, '['); err != nil {
		return nil, err
	}
	list := []uint64{}
	for p.More() {
		t, err := p.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		num, ok := t.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%s: want an integer, got %v", where, t)
		}
		u, err := strconv.ParseUint(num.String(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not an integer of 0 to 2^64-1", where, num)
		}
		if list = append(list, u); len(list) > limit {
			return nil, fmt.Errorf("%s: more than %d numbers", where, limit)
		}
	}
	return list, p.delim(where, ']')
}

func (p parser) metadata() (map[string]string, error) {
	m := map[string]string{}
	err := p.object(metadataKey, func(key string) (err error) {
		m[key], err = p.str(fmt.Sprintf("%s[%q]", metadataKey, key))
		return err
	})
	return m, err
}

func (p parser) entry(name string) (entry, error) {
	where := fmt.Sprintf("tensor %q", name)
	e := entry{Tensor: Tensor{Name: name}}
	var shape, offsets []uint64
	err := p.object(where, func(key string) (err error) {
		at := where + ": " + key
		switch key {
		case "dtype":
			var s string
			s, err = p.str(at)
			e.DType = DType(s)
		case "shape":
			shape, err = p.uints(at, maxRank)
		case "data_offsets":
			offsets, err = p.uints(at, 2)
		default:
			err = fmt.Errorf("%s: unknown key", at)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if e.DType == "" || shape == nil || len(offsets) != 2 {
		return e, fmt.Errorf("%s: dtype, shape and two data_offsets are all needed", where)
	}
	e.begin, e.end = offsets[0], offsets[1]
	return e, e.measure(shape)
}

// measure checks shape x dtype against the offsets and keeps the shape.
func (e *entry) measure(shape []uint64) error {
	if e.begin > e.end {
		return fmt.Errorf("tensor %q: data_offsets [%d, %d] run backwards", e.Name, e.begin, e.end)
	}
	count := uint64(1)
	e.Shape = make([]int, len(shape))
	for i, d := range shape {
		if e.Shape[i] = int(d); e.Shape[i] < 0 || uint64(e.Shape[i]) != d {
			return fmt.Errorf("tensor %q: dimension %d is too large", e.Name, d)
		}
		var over uint64
		if over, count = bits.Mul64(count, d); over != 0 {
			return fmt.Errorf("tensor %q: the number of elements of shape %v overflows 64 bits", e.Name, shape)
		}
	}
	size, known := sizes[e.DType]
	if !known {
		return nil
	}
	over, total := bits.Mul64(count, size)
	if over != 0 || total%8 != 0 || total/8 != e.end-e.begin {
		return fmt.Errorf("tensor %q: %s of shape %v does not take the %d bytes of data_offsets [%d, %d]",
			e.Name, e.DType, shape, e.end-e.begin, e.begin, e.end)
	}
	return nil
}

// place checks that the entries tile body: no overlap, no hole, nothing outside.
func (h *header) place(body []byte) (*File, error) {
	slices.SortStableFunc(h.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	f := &File{Metadata: h.metadata, byName: make(map[string]int, len(h.entries)), Tensors: make([]Tensor, len(h.entries))}
	var at uint64
	for i, e := range h.entries {
		switch {
		case e.end > uint64(len(body)):
			return nil, fmt.Errorf("truncated: tensor %q ends at byte %d of the data, the file has %d", e.Name, e.end, len(body))
		case e.begin < at:
			return nil, fmt.Errorf("tensor %q starts at byte %d of the data, inside tensor %q that ends at %d", e.Name, e.begin, h.entries[i-1].Name, at)
		case e.begin > at:
			return nil, fmt.Errorf("tensor %q starts at byte %d of the data: a hole after byte %d", e.Name, e.begin, at)
		}
		at = e.end
		e.Data = body[e.begin:e.end:e.end]
		f.Tensors[i] = e.Tensor
		f.byName[e.Name] = i
	}
	if at != uint64(len(body)) {
		return nil, fmt.Errorf("%d bytes follow the last tensor, which ends at byte %d of the data", uint64(len(body))-at, at)
	}
	return f, nil
}
