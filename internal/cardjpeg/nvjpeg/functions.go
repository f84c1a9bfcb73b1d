package nvjpeg

import "unsafe"

// functions are what is called, with C's types: int and enum are int32, size_t is uint64, handles and
// cudaStream_t are uintptr.
type functions struct {
	nvjpegGetProperty             func(property int32, value *int32) Status
	nvjpegCreateEx                func(backend int32, device, pinned unsafe.Pointer, flags uint32, handle *uintptr) Status
	nvjpegDestroy                 func(handle uintptr) Status
	nvjpegJpegStateCreate         func(handle uintptr, state *uintptr) Status
	nvjpegJpegStateDestroy        func(state uintptr) Status
	nvjpegJpegStreamCreate        func(handle uintptr, header *uintptr) Status
	nvjpegJpegStreamDestroy       func(header uintptr) Status
	nvjpegJpegStreamParseHeader   func(handle uintptr, data *byte, length uint64, header uintptr) Status
	nvjpegDecodeBatchedSupported  func(handle, header uintptr, no *int32) Status
	nvjpegDecodeBatchedInitialize func(handle, state uintptr, size, threads, format int32) Status
	nvjpegDecodeBatched           func(handle, state uintptr, data **byte, lengths *uint64, to *image, stream uintptr) Status
}

type symbol struct {
	fn   any
	name string
}

func (f *functions) symbols() []symbol {
	return []symbol{
		{&f.nvjpegGetProperty, "nvjpegGetProperty"},
		{&f.nvjpegCreateEx, "nvjpegCreateEx"},
		{&f.nvjpegDestroy, "nvjpegDestroy"},
		{&f.nvjpegJpegStateCreate, "nvjpegJpegStateCreate"},
		{&f.nvjpegJpegStateDestroy, "nvjpegJpegStateDestroy"},
		{&f.nvjpegJpegStreamCreate, "nvjpegJpegStreamCreate"},
		{&f.nvjpegJpegStreamDestroy, "nvjpegJpegStreamDestroy"},
		{&f.nvjpegJpegStreamParseHeader, "nvjpegJpegStreamParseHeader"},
		{&f.nvjpegDecodeBatchedSupported, "nvjpegDecodeBatchedSupported"},
		{&f.nvjpegDecodeBatchedInitialize, "nvjpegDecodeBatchedInitialize"},
		{&f.nvjpegDecodeBatched, "nvjpegDecodeBatched"},
	}
}
