// Package driver is what the engine needs of a GPU's driver: memory, streams, events, machine code,
// launches and graphs. libcuda is loaded at run time (package dynlib); drivertest has a stand-in that
// records what is asked of it, so that everything above is tested without a GPU.
package driver

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Pointer is an address in the device's memory, or in pinned host memory, which the device sees at the
// same address.
type Pointer uint64

// Handles of the driver's objects. Zero is none.
type (
	Stream   uintptr
	Event    uintptr
	Module   uintptr
	Function uintptr
	Graph    uintptr // instantiated, ready to launch
)

// Capability is a compute capability: 90 for 9.0.
type Capability int

// String is the usual notation, "9.0".
func (c Capability) String() string { return fmt.Sprintf("%d.%d", c/10, c%10) }

// Info describes a device.
type Info struct {
	Ordinal         int
	Name            string
	UUID            string // as the driver's tools write it, "GPU-..."; "" where the driver does not tell
	PCI             string // "0000:3B:00.0"
	Capability      Capability
	Multiprocessors int
	SharedPerBlock  int // bytes, with the opt-in
	Memory          int64
	Clock           int // of the multiprocessors, the highest, kHz; 0 is unknown
	MemoryClock     int // the highest, kHz; 0 is unknown
	BusWidth        int // of the memory, bits
	Driver          int // the newest CUDA version that the driver knows: 13000 for 13.0
}

// Dim is the extent of a grid or a block.
type Dim struct{ X, Y, Z uint32 }

// Launch is one kernel. Every kernel takes one struct; Args is its bytes.
type Launch struct {
	Function    Function
	Grid, Block Dim
	Shared      int // bytes of dynamic shared memory
	Args        []byte
	// Overlap lets the kernel start before its predecessor in the stream has ended (programmatic
	// dependent launch, compute capability 9.0): the kernel itself waits where it must.
	Overlap bool
}

// TensorMap is the description of a matrix that Hopper's tensor memory accelerator takes.
type TensorMap [128]byte

// Element is the type of a matrix's elements.
type Element int

// The driver's numbers for CUtensorMapDataType.
const (
	Uint8    Element = 0
	Float16  Element = 6
	Float32  Element = 7
	BFloat16 Element = 9
)

// SharedHandle names device memory that another process of this machine allocated (CUipcMemHandle). Whoever
// has it can read and write that memory.
type SharedHandle [64]byte

// Matrix is what a TensorMap describes: boxes of rows of 128 bytes of a row-major matrix, swizzled in shared memory
// by 128 bytes; what lies outside is read as zero.
type Matrix struct {
	Data          Pointer
	Element       Element
	Rows, Columns int
	Stride        int // bytes from one row to the next, a multiple of 16
	BoxRows       int // at most 256
}

// BoxColumns is how many elements a row of a box has.
func (m Matrix) BoxColumns() int {
	const bytes = 128
	switch m.Element {
	case Uint8:
		return bytes
	case Float32:
		return bytes / 4
	}
	return bytes / 2
}

// GPU is one device. Its methods must be called from a goroutine inside Do, except for Info.
type GPU interface {
	Info() Info
	// Bind makes the device's context current on the calling thread. Do calls it.
	Bind() error

	Alloc(bytes int) (Pointer, error)
	Free(Pointer) error
	// AllocHost is pinned memory that the device reads and writes at the address of its first byte.
	AllocHost(bytes int) ([]byte, error)
	FreeHost([]byte) error
	MemoryInfo() (free, total int64, err error)
	CopyIn(to Pointer, from []byte) error
	CopyOut(to []byte, from Pointer) error
	Fill(to Pointer, value byte, bytes int) error
	// CopyInAsync and CopyOutAsync copy between the device and pinned memory, in a stream.
	CopyInAsync(to Pointer, from []byte, s Stream) error
	CopyOutAsync(to []byte, from Pointer, s Stream) error

	// OpenShared maps memory of another process, and tells how many bytes there are from p on. It fails for memory
	// of this process.
	OpenShared(SharedHandle) (p Pointer, bytes int, err error)
	CloseShared(Pointer) error

	NewStream() (Stream, error)
	CloseStream(Stream) error
	Synchronize(Stream) error
	NewEvent() (Event, error)
	CloseEvent(Event) error
	Record(Event, Stream) error
	// Happened tells whether everything before the event has been done, without waiting for it.
	Happened(Event) (bool, error)
	// Elapsed is the time between two events that have happened, in milliseconds.
	Elapsed(from, to Event) (float32, error)

	// Load loads a cubin, or compiles PTX.
	Load(image []byte) (Module, error)
	Unload(Module) error
	// Function finds a kernel and lets it have that much dynamic shared memory.
	Function(m Module, name string, shared int) (Function, error)
	TensorMap(Matrix) (TensorMap, error)
	Launch(Launch, Stream) error

	// Capture calls record, which launches on the stream, and makes a graph of what was launched instead
	// of running it.
	Capture(s Stream, record func() error) (Graph, error)
	LaunchGraph(Graph, Stream) error
	CloseGraph(Graph) error

	Close() error
}

// Do calls f on a thread where the GPU's context is current. The driver's state belongs to threads; a
// goroutine that moved to another one would find no context there.
func Do(g GPU, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.Bind(); err != nil {
		return err
	}
	return f()
}

// Bytes views a struct of kernel arguments.
func Bytes[T any](args *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(args)), unsafe.Sizeof(*args))
}

// Address is where the device sees pinned memory.
func Address(pinned []byte) Pointer {
	return Pointer(uintptr(unsafe.Pointer(unsafe.SliceData(pinned))))
}
