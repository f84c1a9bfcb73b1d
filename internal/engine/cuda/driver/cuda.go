package driver

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/numa"
)

// cuda is a GPU behind libcuda.
type cuda struct {
	*library
	device  int32
	context uintptr
	info    Info
	place   numa.Place
}

// The numbers of CUdevice_attribute, CUfunction_attribute and CUlaunchAttributeID that are used.
const (
	attributeClock           = 13
	attributeMultiprocessors = 16
	attributeMemoryClock     = 36
	attributeBusWidth        = 37
	attributeMajor           = 75
	attributeMinor           = 76
	attributeSharedOptIn     = 97

	functionMaxDynamicShared = 8

	launchProgrammaticSerialization = 6
)

// Count is the number of devices; it fails with ErrNoDriver where there is no driver.
func Count() (int, error) {
	l, err := load()
	if err != nil {
		return 0, err
	}
	var n int32
	if err := l.check("cuDeviceGetCount", l.cuDeviceGetCount(&n)); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoDriver, err)
	}
	return int(n), nil
}

// Open retains the primary context of a device, which costs some 100 ms for the first one.
func Open(ordinal int) (GPU, error) {
	g, err := find(ordinal)
	if err != nil {
		return nil, err
	}
	if g.info, err = g.describe(ordinal); err != nil {
		return nil, err
	}
	g.place = numa.Of(g.info.PCI)
	return g, g.check("cuDevicePrimaryCtxRetain", g.cuDevicePrimaryCtxRetain(&g.context, g.device))
}

// find is a device without a context.
func find(ordinal int) (*cuda, error) {
	n, err := Count()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("no device cuda:%d: the driver has %d", ordinal, n)
	}
	l, err := load()
	if err != nil {
		return nil, err
	}
	g := &cuda{library: l}
	return g, l.check("cuDeviceGet", l.cuDeviceGet(&g.device, int32(ordinal)))
}

func (g *cuda) describe(ordinal int) (Info, error) {
	id, err := g.identify()
	i := Info{Ordinal: ordinal, Name: id.Name, UUID: id.UUID, PCI: id.PCI}
	var memory uint64
	var driver, major, minor, multiprocessors, shared int32
	errs := []error{
		err,
		g.check("cuDeviceTotalMem", g.cuDeviceTotalMem(&memory, g.device)),
		g.check("cuDriverGetVersion", g.cuDriverGetVersion(&driver)),
	}
	for _, a := range []struct {
		to *int32
		id int32
	}{{&major, attributeMajor}, {&minor, attributeMinor}, {&multiprocessors, attributeMultiprocessors}, {&shared, attributeSharedOptIn}} {
		errs = append(errs, g.check("cuDeviceGetAttribute", g.cuDeviceGetAttribute(a.to, a.id, g.device)))
	}
	i.Memory, i.Driver = int64(memory), int(driver)
	i.Capability, i.Multiprocessors, i.SharedPerBlock = Capability(10*major+minor), int(multiprocessors), int(shared)
	i.Clock, i.MemoryClock, i.BusWidth = g.known(attributeClock), g.known(attributeMemoryClock), g.known(attributeBusWidth)
	return i, errors.Join(errs...)
}

// known is an attribute, or 0 where the driver does not tell.
func (g *cuda) known(attribute int32) int {
	var v int32
	if g.cuDeviceGetAttribute(&v, attribute, g.device) != 0 {
		return 0
	}
	return int(v)
}

func (g *cuda) Info() Info  { return g.info }
func (g *cuda) Bind() error { return g.check("cuCtxSetCurrent", g.cuCtxSetCurrent(g.context)) }

func (g *cuda) Alloc(n int) (p Pointer, err error) {
	return p, g.check("cuMemAlloc", g.cuMemAlloc(&p, uint64(n)))
}

func (g *cuda) Free(p Pointer) error { return g.check("cuMemFree", g.cuMemFree(p)) }

// Portable (for every context) and mapped (the device reads it where it lies).
const hostPortable, hostMapped = 1, 2

func (g *cuda) AllocHost(n int) ([]byte, error) {
	var p unsafe.Pointer
	err := g.place.During(func() error {
		return g.check("cuMemHostAlloc", g.cuMemHostAlloc(&p, uint64(n), hostPortable|hostMapped))
	})
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

func (g *cuda) FreeHost(b []byte) error {
	return g.check("cuMemFreeHost", g.cuMemFreeHost(unsafe.Pointer(unsafe.SliceData(b))))
}

func (g *cuda) MemoryInfo() (free, total int64, err error) {
	var f, t uint64
	err = g.check("cuMemGetInfo", g.cuMemGetInfo(&f, &t))
	return int64(f), int64(t), err
}

func (g *cuda) CopyIn(to Pointer, from []byte) error {
	err := g.check("cuMemcpyHtoD", g.cuMemcpyHtoD(to, unsafe.Pointer(unsafe.SliceData(from)), uint64(len(from))))
	runtime.KeepAlive(from)
	return err
}

func (g *cuda) CopyOut(to []byte, from Pointer) error {
	err := g.check("cuMemcpyDtoH", g.cuMemcpyDtoH(unsafe.Pointer(unsafe.SliceData(to)), from, uint64(len(to))))
	runtime.KeepAlive(to)
	return err
}

func (g *cuda) CopyInAsync(to Pointer, from []byte, s Stream) error {
	return g.check("cuMemcpyHtoDAsync", g.cuMemcpyHtoDAsync(to, unsafe.Pointer(unsafe.SliceData(from)), uint64(len(from)), s))
}

func (g *cuda) CopyOutAsync(to []byte, from Pointer, s Stream) error {
	return g.check("cuMemcpyDtoHAsync", g.cuMemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(to)), from, uint64(len(to)), s))
}

func (g *cuda) Fill(to Pointer, value byte, n int) error {
	return g.check("cuMemsetD8", g.cuMemsetD8(to, value, uint64(n)))
}

// lazyPeerAccess is CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS: the only flag there is.
const lazyPeerAccess = 1

func (g *cuda) OpenShared(h SharedHandle) (p Pointer, bytes int, err error) {
	if err := g.check("cuIpcOpenMemHandle", g.cuIpcOpenMemHandle.call(&p, &h, lazyPeerAccess)); err != nil {
		return 0, 0, err
	}
	var base Pointer
	var size uint64
	if err := g.check("cuMemGetAddressRange", g.cuMemGetAddressRange(&base, &size, p)); err != nil {
		return 0, 0, errors.Join(err, g.CloseShared(p))
	}
	return p, int(size - uint64(p-base)), nil
}

func (g *cuda) CloseShared(p Pointer) error {
	return g.check("cuIpcCloseMemHandle", g.cuIpcCloseMemHandle(p))
}

// nonBlocking streams do not wait for the legacy default stream.
const nonBlocking = 1

func (g *cuda) NewStream() (s Stream, err error) {
	return s, g.check("cuStreamCreate", g.cuStreamCreate(&s, nonBlocking))
}

func (g *cuda) CloseStream(s Stream) error {
	return g.check("cuStreamDestroy", g.cuStreamDestroy(s))
}

func (g *cuda) Synchronize(s Stream) error {
	return g.check("cuStreamSynchronize", g.cuStreamSynchronize(s))
}

func (g *cuda) NewEvent() (e Event, err error) {
	return e, g.check("cuEventCreate", g.cuEventCreate(&e, 0))
}

func (g *cuda) CloseEvent(e Event) error { return g.check("cuEventDestroy", g.cuEventDestroy(e)) }

func (g *cuda) Record(e Event, s Stream) error {
	return g.check("cuEventRecord", g.cuEventRecord(e, s))
}

// notReady is CUDA_ERROR_NOT_READY: no failure but an answer.
const notReady Code = 600

func (g *cuda) Happened(e Event) (bool, error) {
	code := g.cuEventQuery(e)
	if code == notReady {
		return false, nil
	}
	return code == 0, g.check("cuEventQuery", code)
}

func (g *cuda) Elapsed(from, to Event) (ms float32, err error) {
	return ms, g.check("cuEventElapsedTime", g.cuEventElapsedTime(&ms, from, to))
}

func (g *cuda) Load(image []byte) (m Module, err error) {
	image = append(bytes.Clone(image), 0) // PTX is a C string
	err = g.check("cuModuleLoadData", g.cuModuleLoadData(&m, unsafe.Pointer(&image[0])))
	runtime.KeepAlive(image)
	return m, err
}

func (g *cuda) Unload(m Module) error { return g.check("cuModuleUnload", g.cuModuleUnload(m)) }

// Static shared memory alone is allowed up to 48 KiB without asking.
const sharedWithoutOptIn = 48 << 10

func (g *cuda) Function(m Module, name string, shared int) (f Function, err error) {
	cName := append([]byte(name), 0)
	if err := g.check("cuModuleGetFunction "+name, g.cuModuleGetFunction(&f, m, &cName[0])); err != nil {
		return 0, err
	}
	if shared > sharedWithoutOptIn {
		err = g.check("cuFuncSetAttribute "+name, g.cuFuncSetAttribute(f, functionMaxDynamicShared, int32(shared)))
	}
	return f, err
}

// CU_TENSOR_MAP_SWIZZLE_128B and CU_TENSOR_MAP_L2_PROMOTION_L2_256B.
const swizzle128, promotion256 = 3, 3

func (g *cuda) TensorMap(m Matrix) (t TensorMap, err error) {
	if g.cuTensorMapEncodeTiled == nil {
		return t, errors.New("the driver has no cuTensorMapEncodeTiled: it is older than CUDA 12.0")
	}
	dims := [2]uint64{uint64(m.Columns), uint64(m.Rows)}
	stride := uint64(m.Stride)
	box := [2]uint32{uint32(m.BoxColumns()), uint32(m.BoxRows)}
	steps := [2]uint32{1, 1}
	aligned := new(struct {
		_    [0]uint64
		room [192]byte
	})
	at := (*TensorMap)(unsafe.Pointer(&aligned.room[(64-uintptr(unsafe.Pointer(&aligned.room))%64)%64]))
	err = g.check("cuTensorMapEncodeTiled", g.cuTensorMapEncodeTiled(at, int32(m.Element), 2, m.Data,
		&dims[0], &stride, &box[0], &steps[0], 0, swizzle128, promotion256, 0))
	return *at, err
}

// launchConfig is CUlaunchConfig.
type launchConfig struct {
	grid, block Dim
	shared      uint32
	_           uint32
	stream      Stream
	attributes  *launchAttribute
	count       uint32
	_           uint32
}

// launchAttribute is CUlaunchAttribute: a number, padding to eight bytes, a union of 64.
type launchAttribute struct {
	id    int32
	_     int32
	value [16]int32
}

func (g *cuda) Launch(l Launch, s Stream) error {
	c := &launchConfig{grid: l.Grid, block: l.Block, shared: uint32(l.Shared), stream: s}
	if l.Overlap {
		c.attributes, c.count = &launchAttribute{id: launchProgrammaticSerialization, value: [16]int32{1}}, 1
	}
	args := unsafe.Pointer(unsafe.SliceData(l.Args))
	err := g.check("cuLaunchKernelEx", g.cuLaunchKernelEx(c, l.Function, &args, nil))
	runtime.KeepAlive(l.Args)
	return err
}

// captureThreadLocal: calls of other threads do not disturb the capture.
const captureThreadLocal = 1

func (g *cuda) Capture(s Stream, record func() error) (Graph, error) {
	if err := g.check("cuStreamBeginCapture", g.cuStreamBeginCapture(s, captureThreadLocal)); err != nil {
		return 0, err
	}
	err := record()
	var template uintptr
	end := g.check("cuStreamEndCapture", g.cuStreamEndCapture(s, &template))
	if err = errors.Join(err, end); err != nil {
		return 0, err
	}
	var graph Graph
	err = g.check("cuGraphInstantiate", g.cuGraphInstantiateWithFlags(&graph, template, 0))
	return graph, errors.Join(err, g.check("cuGraphDestroy", g.cuGraphDestroy(template)))
}

func (g *cuda) LaunchGraph(graph Graph, s Stream) error {
	return g.check("cuGraphLaunch", g.cuGraphLaunch(graph, s))
}

func (g *cuda) CloseGraph(graph Graph) error {
	return g.check("cuGraphExecDestroy", g.cuGraphExecDestroy(graph))
}

func (g *cuda) Close() error {
	return g.check("cuDevicePrimaryCtxRelease", g.cuDevicePrimaryCtxRelease(g.device))
}
