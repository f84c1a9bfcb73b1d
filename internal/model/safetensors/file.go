// Package safetensors reads and writes the safetensors format: an 8-byte little-endian header length,
// a JSON header {name: {dtype, shape, data_offsets}}, and the tensors' bytes without gaps.
//
// A file is untrusted: whatever it claims is checked before it is used, and every error names the
// tensor and the limit. Tensors are views into the file's memory map, at any alignment.
package safetensors

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
)

// DType is an element type as the format spells it. Names that this package does not know are kept,
// so that a file is refused only if such a tensor is needed.
type DType string

const (
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
)

// sizes are the bits of one element of every type that the format defines.
var sizes = map[DType]uint64{
	"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
	F16: 16, BF16: 16, F32: 32, "F64": 64, "C64": 64,
	"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}

// Tensor is one entry. Data is little-endian and row-major.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// File is a parsed file.
type File struct {
	Metadata map[string]string // the header's __metadata__, nil if it has none
	Tensors  []Tensor          // in the order of their data

	byName map[string]int
	unmap  func() error
}

// Tensor returns the entry of that name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

// Close unmaps the file; its tensors' Data must not be touched afterwards. A second Close does nothing.
func (f *File) Close() error {
	if f.unmap == nil {
		return nil
	}
	unmap := f.unmap
	f.unmap = nil
	return unmap()
}

// Open maps and parses a file. The tensors stay valid until Close.
//
// The map is of the file itself: a file that is overwritten or cut while it is open changes or loses
// tensors under the reader (replace files by rename). Reading a page that no longer exists is a fault;
// Guard turns it into an error.
func Open(path string) (*File, error) {
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	var f *File
	err = Guard(func() (err error) {
		f, err = Parse(data)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), unmap())
	}
	f.unmap = unmap
	return f, nil
}

// ErrShrunk is a file that lost pages while it was mapped.
var ErrShrunk = errors.New("the file shrank while it was being read")

// Guard runs read and returns its error, or ErrShrunk if it touched a page that its file no longer
// has. It covers Go code on this goroutine; a fault in a goroutine that read starts, or in assembly
// that has no frame, is not caught.
func Guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		// The runtime's memory error carries the address; every other panic is a bug and goes on.
		if _, fault := r.(interface{ Addr() uintptr }); !fault {
			panic(r)
		}
		err = ErrShrunk
	}()
	return read()
}

// statRegular returns the file's size, refusing what is not a plain file or cannot be addressed.
func statRegular(f *os.File) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s: not a regular file", f.Name())
	}
	size := info.Size()
	if size < prefixSize {
		return 0, fmt.Errorf("%s: %d bytes: not a safetensors file (the header length alone takes %d)", f.Name(), size, prefixSize)
	}
	if int64(int(size)) != size {
		return 0, fmt.Errorf("%s: %d bytes do not fit this machine's address space", f.Name(), size)
	}
	return int(size), nil
}
