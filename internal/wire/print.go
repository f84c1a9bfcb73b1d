package wire

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// AppendFloat prints a float64 with Triton's digits: plain from 1e-6 up to 1e21 and then always with a
// fraction, else with an exponent that has neither plus nor padding; NaN and Infinity where JSON has no
// words.
func AppendFloat(b []byte, f float64) []byte {
	if math.Signbit(f) && f == f {
		b = append(b, '-')
		f = -f
	}
	switch {
	case f != f:
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case f == 0:
		return append(b, "0.0"...)
	}
	var buffer [24]byte
	n, k := grisu(&buffer, f)
	return layOut(b, buffer[:n], k)
}

const zeros = "00000000000000000000000"

// layOut prints digits * 10^k.
func layOut(b, digits []byte, k int) []byte {
	point := len(digits) + k // digits before the point
	switch {
	case k >= 0 && point <= 21:
		b = append(append(b, digits...), zeros[:k]...)
		return append(b, ".0"...)
	case point > 0 && point <= 21:
		b = append(append(b, digits[:point]...), '.')
		return append(b, digits[point:]...)
	case point > -6 && point <= 0:
		b = append(append(b, "0."...), zeros[:-point]...)
		return append(b, digits...)
	}
	b = append(b, digits[0])
	if len(digits) > 1 {
		b = append(append(b, '.'), digits[1:]...)
	}
	return strconv.AppendInt(append(b, 'e'), int64(point-1), 10)
}

// AppendString prints a string with the escapes that Triton writes; bytes that are not UTF-8 pass.
func AppendString[T string | []byte](b []byte, s T) []byte {
	const hex = "0123456789ABCDEF"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\f':
			b = append(b, '\\', 'f')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}

// AppendData prints a tensor's elements as one flat array. The half precisions have no JSON in Triton.
func AppendData(b []byte, d tensor.DType, data []byte, name string) ([]byte, error) {
	b = append(b, '[')
	var err error
	switch d {
	case tensor.FP16, tensor.BF16:
		return b, invalid("sending %v data via JSON is not supported. Please use the binary data format for output", d)
	case tensor.Bytes:
		b, err = appendStrings(b, data, name)
	default:
		b = appendNumbers(b, d, data)
	}
	if n := len(b); b[n-1] == ',' {
		b = b[:n-1]
	}
	return append(b, ']'), err
}

func appendNumbers(b []byte, d tensor.DType, data []byte) []byte {
	size := d.Size()
	if size == 0 {
		return b
	}
	for ; len(data) >= size; data = data[size:] {
		b = append(appendNumber(b, d, data), ',')
	}
	return b
}

func appendNumber(b []byte, d tensor.DType, e []byte) []byte {
	le := binary.LittleEndian
	switch d {
	case tensor.Bool:
		return strconv.AppendBool(b, e[0] != 0)
	case tensor.Uint8:
		return strconv.AppendUint(b, uint64(e[0]), 10)
	case tensor.Uint16:
		return strconv.AppendUint(b, uint64(le.Uint16(e)), 10)
	case tensor.Uint32:
		return strconv.AppendUint(b, uint64(le.Uint32(e)), 10)
	case tensor.Uint64:
		return strconv.AppendUint(b, le.Uint64(e), 10)
	case tensor.Int8:
		return strconv.AppendInt(b, int64(int8(e[0])), 10)
	case tensor.Int16:
		return strconv.AppendInt(b, int64(int16(le.Uint16(e))), 10)
	case tensor.Int32:
		return strconv.AppendInt(b, int64(int32(le.Uint32(e))), 10)
	case tensor.Int64:
		return strconv.AppendInt(b, int64(le.Uint64(e)), 10)
	case tensor.FP32:
		return AppendFloat(b, float64(math.Float32frombits(le.Uint32(e))))
	}
	return AppendFloat(b, math.Float64frombits(le.Uint64(e)))
}

func appendStrings(b, data []byte, name string) ([]byte, error) {
	for len(data) > 0 {
		if len(data) < 4 || uint64(len(data)-4) < uint64(binary.LittleEndian.Uint32(data)) {
			return b, fault.New(fault.Internal, "output tensor shape does not match size of output for '%s'", name)
		}
		end := 4 + int(binary.LittleEndian.Uint32(data))
		b = append(AppendString(b, data[4:end]), ',')
		data = data[end:]
	}
	return b, nil
}
