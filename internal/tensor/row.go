package tensor

import "unsafe"

// Format names what a row's memory holds. Every row of one batch has the same format.
type Format uint8

const (
	// FormatInvalid is the zero value and no format.
	FormatInvalid Format = iota
	// FormatUint8HWC is RGB pixels of the model's own size, [height, width, 3], 0 to 255, not
	// normalised: the engine subtracts the mean and divides by the deviation.
	FormatUint8HWC
	// FormatFloat32CHW is planar float32, [3, height, width], already normalised, in the machine's
	// byte order.
	FormatFloat32CHW
	// FormatFloat16CHW is planar IEEE 754 binary16, [3, height, width], already normalised.
	FormatFloat16CHW
)

// String returns the format's name as metadata prints it.
func (f Format) String() string {
	switch f {
	case FormatUint8HWC:
		return "uint8_hwc"
	case FormatFloat32CHW:
		return "float32_chw"
	case FormatFloat16CHW:
		return "float16_chw"
	}
	return "invalid"
}

// Size is the number of bytes of one width x height RGB image in this format.
func (f Format) Size(width, height int) int {
	n := 3 * width * height
	switch f {
	case FormatUint8HWC:
		return n
	case FormatFloat32CHW:
		return 4 * n
	case FormatFloat16CHW:
		return 2 * n
	}
	return 0
}

// Row is the input memory of one item. An engine owns the memory; a request owns the row from
// Engine.NewRow until the row's batch is answered, and then calls Release exactly once.
type Row interface {
	Format() Format
	// Bytes is the whole memory, aligned to 64 bytes. It may be written until the row is queued and
	// must not be touched after Release.
	Bytes() []byte
	// Release gives the memory back to its engine.
	Release()
}

// Float32s views b as float32 values in the machine's byte order. b must be aligned to four bytes;
// a length that is no multiple of four loses its remainder.
func Float32s(b []byte) []float32 {
	if len(b) < 4 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(b)/4)
}

// BytesOf views f as bytes in the machine's byte order.
func BytesOf(f []float32) []byte {
	if len(f) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&f[0])), len(f)*4)
}

// AlignedBytes allocates n zeroed bytes on Go's heap, aligned to 64 bytes (a cache line, and the
// widest vector register).
func AlignedBytes(n int) []byte {
	const align = 64
	b := make([]byte, n+align)
	off := int(-uintptr(unsafe.Pointer(&b[0])) & (align - 1))
	return b[off : off+n : off+n]
}

// AlignedFloat32s allocates n zeroed float32 values aligned to 64 bytes.
func AlignedFloat32s(n int) []float32 {
	if n == 0 {
		return nil
	}
	return Float32s(AlignedBytes(4 * n))[:n:n]
}
