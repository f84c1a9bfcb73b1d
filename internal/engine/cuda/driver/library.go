package driver

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/dynlib"
)

// library is the part of libcuda that is used, with C's types: int and enum are int32, size_t is uint64,
// CUdeviceptr is Pointer.
type library struct {
	cuInit                      func(flags uint32) Code
	cuDriverGetVersion          func(version *int32) Code
	cuGetErrorName              func(code Code, name *unsafe.Pointer) Code
	cuGetErrorString            func(code Code, text *unsafe.Pointer) Code
	cuDeviceGetCount            func(count *int32) Code
	cuDeviceGet                 func(device *int32, ordinal int32) Code
	cuDeviceGetName             func(name *byte, length, device int32) Code
	cuDeviceGetAttribute        func(value *int32, attribute, device int32) Code
	cuDeviceTotalMem            func(bytes *uint64, device int32) Code
	cuDeviceGetUuid             func(id *[16]byte, device int32) Code
	cuDeviceGetPCIBusId         func(address *byte, length, device int32) Code
	cuDevicePrimaryCtxRetain    func(context *uintptr, device int32) Code
	cuDevicePrimaryCtxRelease   func(device int32) Code
	cuCtxSetCurrent             func(context uintptr) Code
	cuMemGetInfo                func(free, total *uint64) Code
	cuMemAlloc                  func(p *Pointer, bytes uint64) Code
	cuMemFree                   func(p Pointer) Code
	cuMemHostAlloc              func(p *unsafe.Pointer, bytes uint64, flags uint32) Code
	cuMemFreeHost               func(p unsafe.Pointer) Code
	cuMemcpyHtoD                func(to Pointer, from unsafe.Pointer, bytes uint64) Code
	cuMemcpyDtoH                func(to unsafe.Pointer, from Pointer, bytes uint64) Code
	cuMemcpyHtoDAsync           func(to Pointer, from unsafe.Pointer, bytes uint64, s Stream) Code
	cuMemcpyDtoHAsync           func(to unsafe.Pointer, from Pointer, bytes uint64, s Stream) Code
	cuMemsetD8                  func(to Pointer, value uint8, bytes uint64) Code
	cuMemGetAddressRange        func(base *Pointer, bytes *uint64, p Pointer) Code
	cuIpcOpenMemHandle          openShared
	cuIpcCloseMemHandle         func(p Pointer) Code
	cuStreamCreate              func(s *Stream, flags uint32) Code
	cuStreamDestroy             func(s Stream) Code
	cuStreamSynchronize         func(s Stream) Code
	cuEventCreate               func(e *Event, flags uint32) Code
	cuEventDestroy              func(e Event) Code
	cuEventRecord               func(e Event, s Stream) Code
	cuEventQuery                func(e Event) Code
	cuEventElapsedTime          func(milliseconds *float32, from, to Event) Code
	cuModuleLoadData            func(m *Module, image unsafe.Pointer) Code
	cuModuleUnload              func(m Module) Code
	cuModuleGetFunction         func(f *Function, m Module, name *byte) Code
	cuFuncSetAttribute          func(f Function, attribute, value int32) Code
	cuLaunchKernelEx            func(config *launchConfig, f Function, args *unsafe.Pointer, extra unsafe.Pointer) Code
	cuTensorMapEncodeTiled      func(m *TensorMap, element int32, rank uint32, data Pointer, dims, strides *uint64, box, steps *uint32, interleave, swizzle, promotion, fill int32) Code
	cuStreamBeginCapture        func(s Stream, mode int32) Code
	cuStreamEndCapture          func(s Stream, graph *uintptr) Code
	cuGraphInstantiateWithFlags func(g *Graph, graph uintptr, flags uint64) Code
	cuGraphLaunch               func(g Graph, s Stream) Code
	cuGraphDestroy              func(graph uintptr) Code
	cuGraphExecDestroy          func(g Graph) Code
}

// symbol is a function of the library under the name by which it was exported last: later versions of a
// call have a suffix. Optional ones came with CUDA 11.4 and with
// compute capability 9.0.
type symbol struct {
	fn       any
	name     string
	optional bool
}

func (l *library) symbols() []symbol {
	return []symbol{
		{&l.cuInit, "cuInit", false},
		{&l.cuDriverGetVersion, "cuDriverGetVersion", false},
		{&l.cuGetErrorName, "cuGetErrorName", false},
		{&l.cuGetErrorString, "cuGetErrorString", false},
		{&l.cuDeviceGetCount, "cuDeviceGetCount", false},
		{&l.cuDeviceGet, "cuDeviceGet", false},
		{&l.cuDeviceGetName, "cuDeviceGetName", false},
		{&l.cuDeviceGetAttribute, "cuDeviceGetAttribute", false},
		{&l.cuDeviceTotalMem, "cuDeviceTotalMem_v2", false},
		{&l.cuDeviceGetUuid, "cuDeviceGetUuid_v2", true},
		{&l.cuDeviceGetPCIBusId, "cuDeviceGetPCIBusId", false},
		{&l.cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", false},
		{&l.cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", false},
		{&l.cuCtxSetCurrent, "cuCtxSetCurrent", false},
		{&l.cuMemGetInfo, "cuMemGetInfo_v2", false},
		{&l.cuMemAlloc, "cuMemAlloc_v2", false},
		{&l.cuMemFree, "cuMemFree_v2", false},
		{&l.cuMemHostAlloc, "cuMemHostAlloc", false},
		{&l.cuMemFreeHost, "cuMemFreeHost", false},
		{&l.cuMemcpyHtoD, "cuMemcpyHtoD_v2", false},
		{&l.cuMemcpyDtoH, "cuMemcpyDtoH_v2", false},
		{&l.cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", false},
		{&l.cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", false},
		{&l.cuMemsetD8, "cuMemsetD8_v2", false},
		{&l.cuMemGetAddressRange, "cuMemGetAddressRange_v2", false},
		{&l.cuIpcOpenMemHandle, "cuIpcOpenMemHandle_v2", false},
		{&l.cuIpcCloseMemHandle, "cuIpcCloseMemHandle", false},
		{&l.cuStreamCreate, "cuStreamCreate", false},
		{&l.cuStreamDestroy, "cuStreamDestroy_v2", false},
		{&l.cuStreamSynchronize, "cuStreamSynchronize", false},
		{&l.cuEventCreate, "cuEventCreate", false},
		{&l.cuEventDestroy, "cuEventDestroy_v2", false},
		{&l.cuEventRecord, "cuEventRecord", false},
		{&l.cuEventQuery, "cuEventQuery", false},
		{&l.cuEventElapsedTime, "cuEventElapsedTime", false},
		{&l.cuModuleLoadData, "cuModuleLoadData", false},
		{&l.cuModuleUnload, "cuModuleUnload", false},
		{&l.cuModuleGetFunction, "cuModuleGetFunction", false},
		{&l.cuFuncSetAttribute, "cuFuncSetAttribute", false},
		{&l.cuLaunchKernelEx, "cuLaunchKernelEx", false},
		{&l.cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled", true},
		{&l.cuStreamBeginCapture, "cuStreamBeginCapture_v2", false},
		{&l.cuStreamEndCapture, "cuStreamEndCapture", false},
		{&l.cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags", false},
		{&l.cuGraphLaunch, "cuGraphLaunch", false},
		{&l.cuGraphDestroy, "cuGraphDestroy", false},
		{&l.cuGraphExecDestroy, "cuGraphExecDestroy", false},
	}
}

// load loads libcuda once for the process; the driver cannot be unloaded while contexts live.
var load = sync.OnceValues(func() (*library, error) {
	so, err := dynlib.Open("libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDriver, err)
	}
	l := new(library)
	for _, s := range l.symbols() {
		if err := so.Bind(s.fn, s.name); err != nil && !s.optional {
			return nil, fmt.Errorf("%w: the driver is too old: %w", ErrNoDriver, err)
		}
	}
	if err := l.check("cuInit", l.cuInit(0)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDriver, err)
	}
	return l, nil
})

// check turns a code into an error with the driver's own text.
func (l *library) check(call string, c Code) error {
	if c == 0 {
		return nil
	}
	var name, text unsafe.Pointer
	l.cuGetErrorName(c, &name)
	l.cuGetErrorString(c, &text)
	return &Error{Call: call, Code: c, Name: cString(name), Text: cString(text)}
}

// cString copies a C string; a nil pointer is an unknown code.
func cString(p unsafe.Pointer) string {
	if p == nil {
		return "unknown"
	}
	var b []byte
	for ; *(*byte)(p) != 0; p = unsafe.Add(p, 1) {
		b = append(b, *(*byte)(p))
	}
	return string(b)
}
