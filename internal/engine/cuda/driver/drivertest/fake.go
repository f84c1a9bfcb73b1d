// Package drivertest is a GPU without a GPU: it hands out addresses, keeps what is copied, records
// launches and graphs, and computes nothing. It refuses what a driver would refuse.
package drivertest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// Record is one launch, with the name of its kernel.
type Record struct {
	driver.Launch
	Name   string
	Stream driver.Stream
}

// GPU is a driver.GPU. Its fields may be read between calls.
type GPU struct {
	Device driver.Info
	// Room is how many bytes can be allocated on the device; 0 is no limit.
	Room int
	// Takes, if set, is how long a kernel takes, in milliseconds; events tell it.
	Takes func(kernel string) float32
	// Lag is how many of the next questions whether an event has happened find that it has, as on a host that is
	// slower than the device.
	Lag int
	// Unbacked device memory has addresses but no content, so that it may be larger than the machine's.
	Unbacked bool
	// Fail, if set, is asked before every call that can fail and makes it fail with that error. It may block.
	Fail func(call string) error
	// Ran, if set, sees every kernel of a graph when that is launched, and may write to memory
	// (View) what the kernel would.
	Ran func(Record)
	// Compute, if set, is called with each launch of no graph: a test may do in Go what the kernel does.
	Compute func(Record) error

	mu        sync.Mutex
	next      driver.Pointer
	device    map[driver.Pointer][]byte
	unbacked  map[driver.Pointer]int
	host      map[driver.Pointer][]byte
	lent      map[driver.SharedHandle][]byte // memory of other processes
	opened    map[driver.Pointer][]byte      // what of it is mapped
	functions map[driver.Function]string
	shared    map[driver.Function]int // bytes that it may have
	handles   map[uintptr]string      // of streams, events, modules: what is open
	graphs    map[driver.Graph][]Record
	launched  []Record
	maps      map[driver.TensorMap]driver.Matrix
	recording *[]Record
	clock     float64 // milliseconds of all kernels
	events    map[driver.Event]float64
	closed    bool
}

var _ driver.GPU = (*GPU)(nil)

// New is an H100 that is not there.
func New() *GPU {
	return &GPU{
		Device: driver.Info{Name: "pretended H100", Capability: 90, Multiprocessors: 132, SharedPerBlock: 227 << 10, Memory: 80 << 30, Driver: 13000,
			Clock: 1980000, MemoryClock: 2619000, BusWidth: 5120},
		next: 1 << 32, device: map[driver.Pointer][]byte{}, unbacked: map[driver.Pointer]int{}, host: map[driver.Pointer][]byte{},
		functions: map[driver.Function]string{}, handles: map[uintptr]string{}, graphs: map[driver.Graph][]Record{},
		lent: map[driver.SharedHandle][]byte{}, opened: map[driver.Pointer][]byte{},
		maps: map[driver.TensorMap]driver.Matrix{}, events: map[driver.Event]float64{}, shared: map[driver.Function]int{},
	}
}

// begin asks Fail and locks.
func (g *GPU) begin(call string) (unlock func(), err error) {
	if g.Fail != nil {
		err = g.Fail(call)
	}
	g.mu.Lock()
	if g.closed {
		err = &driver.Error{Call: call, Code: 709, Name: "CUDA_ERROR_CONTEXT_IS_DESTROYED", Text: "closed"}
	}
	return g.mu.Unlock, err
}

func (g *GPU) handle(kind string) uintptr {
	g.next++
	g.handles[uintptr(g.next)] = kind
	return uintptr(g.next)
}

func (g *GPU) drop(call string, h uintptr) error {
	unlock, err := g.begin(call)
	defer unlock()
	if _, ok := g.handles[h]; !ok && err == nil {
		return &driver.Error{Call: call, Code: 400, Name: "CUDA_ERROR_INVALID_HANDLE", Text: "invalid resource handle"}
	}
	delete(g.handles, h)
	return err
}

// Info describes the device.
func (g *GPU) Info() driver.Info { return g.Device }

// Bind does nothing.
func (g *GPU) Bind() error {
	unlock, err := g.begin("Bind")
	defer unlock()
	return err
}

func (g *GPU) used() (n int) {
	for _, b := range g.device {
		n += len(b)
	}
	for _, size := range g.unbacked {
		n += size
	}
	return n
}

// Alloc allocates.
func (g *GPU) Alloc(n int) (driver.Pointer, error) {
	unlock, err := g.begin("Alloc")
	defer unlock()
	if err == nil && g.Room > 0 && g.used()+n > g.Room {
		err = &driver.Error{Call: "cuMemAlloc", Code: driver.OutOfMemory, Name: "CUDA_ERROR_OUT_OF_MEMORY", Text: "out of memory"}
	}
	if err != nil {
		return 0, err
	}
	p := (g.next + 511) &^ 511
	g.next = p + driver.Pointer(n)
	if g.Unbacked {
		g.unbacked[p] = n
	} else {
		g.device[p] = make([]byte, n)
	}
	return p, nil
}

// Free frees what Alloc gave.
func (g *GPU) Free(p driver.Pointer) error {
	unlock, err := g.begin("Free")
	defer unlock()
	_, backed := g.device[p]
	if _, ok := g.unbacked[p]; !ok && !backed {
		return fmt.Errorf("free of %#x, which was not allocated", p)
	}
	delete(g.device, p)
	delete(g.unbacked, p)
	return err
}

// AllocHost allocates Go memory.
func (g *GPU) AllocHost(n int) ([]byte, error) {
	unlock, err := g.begin("AllocHost")
	defer unlock()
	if err != nil {
		return nil, err
	}
	b := tensor.AlignedBytes(n)
	g.host[driver.Address(b)] = b
	return b, nil
}

// FreeHost forgets it.
func (g *GPU) FreeHost(b []byte) error {
	unlock, err := g.begin("FreeHost")
	defer unlock()
	if _, ok := g.host[driver.Address(b)]; !ok {
		return fmt.Errorf("free of host memory that was not allocated")
	}
	delete(g.host, driver.Address(b))
	return err
}

// MemoryInfo tells the device's room.
func (g *GPU) MemoryInfo() (free, total int64, err error) {
	unlock, err := g.begin("MemoryInfo")
	defer unlock()
	total = g.Device.Memory
	if g.Room > 0 {
		total = int64(g.Room)
	}
	return total - int64(g.used()), total, err
}

// Allocated tells whether the n bytes of device or pinned memory at p are; the error is a driver's.
func (g *GPU) Allocated(p driver.Pointer, n int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for at, size := range g.unbacked {
		if p >= at && int(p-at)+n <= size {
			return nil
		}
	}
	_, err := g.view(p, n)
	return err
}

// View is the n bytes of device or pinned memory at p, or an error if they are not all allocated.
func (g *GPU) View(p driver.Pointer, n int) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.view(p, n)
}

func (g *GPU) view(p driver.Pointer, n int) ([]byte, error) {
	for _, memory := range []map[driver.Pointer][]byte{g.device, g.host, g.opened} {
		for at, b := range memory {
			if p >= at && int(p-at)+n <= len(b) {
				return b[p-at:][:n], nil
			}
		}
	}
	return nil, &driver.Error{Call: "access", Code: 700, Name: "CUDA_ERROR_ILLEGAL_ADDRESS",
		Text: fmt.Sprintf("%d bytes at %#x are not allocated", n, uint64(p))}
}

// CopyIn copies.
func (g *GPU) CopyIn(to driver.Pointer, from []byte) error { return g.copy("CopyIn", to, from, true) }

// CopyOut copies.
func (g *GPU) CopyOut(to []byte, from driver.Pointer) error {
	return g.copy("CopyOut", from, to, false)
}

func (g *GPU) copy(call string, at driver.Pointer, b []byte, in bool) error {
	unlock, err := g.begin(call)
	defer unlock()
	if err != nil {
		return err
	}
	v, err := g.view(at, len(b))
	if err != nil {
		return err
	}
	if in {
		copy(v, b)
	} else {
		copy(b, v)
	}
	return nil
}

// CopyInAsync copies at once, from pinned memory only.
func (g *GPU) CopyInAsync(to driver.Pointer, from []byte, _ driver.Stream) error {
	if _, err := g.View(driver.Address(from), len(from)); err != nil {
		return err
	}
	return g.copy("CopyInAsync", to, from, true)
}

// CopyOutAsync copies at once, to pinned memory only.
func (g *GPU) CopyOutAsync(to []byte, from driver.Pointer, _ driver.Stream) error {
	if _, err := g.View(driver.Address(to), len(to)); err != nil {
		return err
	}
	return g.copy("CopyOutAsync", from, to, false)
}

// Fill fills.
func (g *GPU) Fill(to driver.Pointer, value byte, n int) error {
	return g.CopyIn(to, slices.Repeat([]byte{value}, n))
}

// Lend makes device memory of another process with that content, and the handle by which OpenShared finds it.
func (g *GPU) Lend(content []byte) (h driver.SharedHandle) {
	g.mu.Lock()
	defer g.mu.Unlock()
	binary.LittleEndian.PutUint64(h[56:], uint64(len(g.lent)+1))
	g.lent[h] = content
	return h
}

// OpenShared maps what Lend made.
func (g *GPU) OpenShared(h driver.SharedHandle) (driver.Pointer, int, error) {
	unlock, err := g.begin("OpenShared")
	defer unlock()
	content, ok := g.lent[h]
	if !ok && err == nil {
		err = &driver.Error{Call: "cuIpcOpenMemHandle", Code: 1, Name: "CUDA_ERROR_INVALID_VALUE", Text: "invalid argument"}
	}
	if err != nil {
		return 0, 0, err
	}
	p := (g.next + 511) &^ 511
	g.next = p + driver.Pointer(len(content))
	g.opened[p] = content
	return p, len(content), nil
}

// CloseShared unmaps it.
func (g *GPU) CloseShared(p driver.Pointer) error {
	unlock, err := g.begin("CloseShared")
	defer unlock()
	if _, ok := g.opened[p]; !ok && err == nil {
		err = &driver.Error{Call: "cuIpcCloseMemHandle", Code: 1, Name: "CUDA_ERROR_INVALID_VALUE", Text: "invalid argument"}
	}
	delete(g.opened, p)
	return err
}

// NewStream opens one.
func (g *GPU) NewStream() (driver.Stream, error) {
	unlock, err := g.begin("NewStream")
	defer unlock()
	if err != nil {
		return 0, err
	}
	return driver.Stream(g.handle("stream")), nil
}

// CloseStream closes it.
func (g *GPU) CloseStream(s driver.Stream) error { return g.drop("CloseStream", uintptr(s)) }

// Synchronize does nothing: everything has happened.
func (g *GPU) Synchronize(driver.Stream) error {
	unlock, err := g.begin("Synchronize")
	defer unlock()
	return err
}

// NewEvent opens one.
func (g *GPU) NewEvent() (driver.Event, error) {
	unlock, err := g.begin("NewEvent")
	defer unlock()
	if err != nil {
		return 0, err
	}
	return driver.Event(g.handle("event")), nil
}

// CloseEvent closes it.
func (g *GPU) CloseEvent(e driver.Event) error { return g.drop("CloseEvent", uintptr(e)) }

// Record notes the time.
func (g *GPU) Record(e driver.Event, _ driver.Stream) error {
	unlock, err := g.begin("Record")
	defer unlock()
	if _, ok := g.handles[uintptr(e)]; !ok && err == nil {
		err = invalidHandle("cuEventRecord")
	}
	g.events[e] = g.clock
	return err
}

// Happened answers by Lag.
func (g *GPU) Happened(e driver.Event) (bool, error) {
	unlock, err := g.begin("Happened")
	defer unlock()
	if _, ok := g.events[e]; !ok && err == nil {
		err = invalidHandle("cuEventQuery")
	}
	g.Lag--
	return g.Lag >= 0, err
}

// Elapsed is the time of the kernels between.
func (g *GPU) Elapsed(from, to driver.Event) (float32, error) {
	unlock, err := g.begin("Elapsed")
	defer unlock()
	start, ok := g.events[from]
	end, too := g.events[to]
	if err == nil && !(ok && too) {
		err = invalidHandle("cuEventElapsedTime")
	}
	return float32(end - start), err
}

func invalidHandle(call string) error {
	return &driver.Error{Call: call, Code: 400, Name: "CUDA_ERROR_INVALID_HANDLE", Text: "invalid resource handle"}
}

// Load takes anything.
func (g *GPU) Load([]byte) (driver.Module, error) {
	unlock, err := g.begin("Load")
	defer unlock()
	if err != nil {
		return 0, err
	}
	return driver.Module(g.handle("module")), nil
}

// Unload closes a module.
func (g *GPU) Unload(m driver.Module) error { return g.drop("Unload", uintptr(m)) }

// Function finds any name.
func (g *GPU) Function(_ driver.Module, name string, shared int) (driver.Function, error) {
	unlock, err := g.begin("Function")
	defer unlock()
	if err == nil && shared > g.Device.SharedPerBlock {
		err = fmt.Errorf("%s wants %d bytes of shared memory: there are %d", name, shared, g.Device.SharedPerBlock)
	}
	g.next++
	g.functions[driver.Function(g.next)] = name
	g.shared[driver.Function(g.next)] = max(shared, 48<<10)
	return driver.Function(g.next), err
}

// TensorMap is a number by which Matrix finds what was described.
func (g *GPU) TensorMap(m driver.Matrix) (t driver.TensorMap, err error) {
	unlock, err := g.begin("TensorMap")
	defer unlock()
	if err == nil && (m.Stride%16 != 0 || m.Data%16 != 0 || m.BoxRows < 1 || m.BoxRows > 256) {
		err = &driver.Error{Call: "cuTensorMapEncodeTiled", Code: 1, Name: "CUDA_ERROR_INVALID_VALUE", Text: fmt.Sprintf("invalid argument: %+v", m)}
	}
	n := len(g.maps) + 1
	t[0], t[1], t[2] = byte(n), byte(n>>8), byte(n>>16)
	g.maps[t] = m
	return t, err
}

// Matrix is what a TensorMap describes.
func (g *GPU) Matrix(t driver.TensorMap) (driver.Matrix, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.maps[t]
	return m, ok
}

// Launch records, and has it computed where a test wants that.
func (g *GPU) Launch(l driver.Launch, s driver.Stream) error {
	r, captured, err := g.record(l, s)
	if err == nil && g.Compute != nil && !captured {
		err = g.Compute(r)
	}
	return err
}

func (g *GPU) record(l driver.Launch, s driver.Stream) (r Record, captured bool, err error) {
	unlock, err := g.begin("Launch")
	defer unlock()
	name, ok := g.functions[l.Function]
	if !ok && err == nil {
		err = &driver.Error{Call: "cuLaunchKernelEx", Code: 400, Name: "CUDA_ERROR_INVALID_HANDLE", Text: "no such function"}
	}
	if err == nil {
		err = g.refuse(l, name)
	}
	l.Args = slices.Clone(l.Args)
	r = Record{l, name, s}
	if g.recording != nil {
		*g.recording = append(*g.recording, r)
		return r, true, err
	}
	g.pass(name)
	g.launched = append(g.launched, r)
	return r, false, err
}

// pass lets a kernel run.
func (g *GPU) pass(kernel string) {
	if g.Takes != nil {
		g.clock += float64(g.Takes(kernel))
	}
}

// What every device of compute capability 8.0 or later allows of a launch.
const maxGridX, maxGridYZ, maxThreads = 1<<31 - 1, 1<<16 - 1, 1024

// refuse tells what a driver would refuse of a launch.
func (g *GPU) refuse(l driver.Launch, name string) error {
	d, b := l.Grid, l.Block
	threads := uint64(b.X) * uint64(b.Y) * uint64(b.Z)
	fits := d.X >= 1 && d.Y >= 1 && d.Z >= 1 && d.X <= maxGridX && d.Y <= maxGridYZ && d.Z <= maxGridYZ
	if fits && threads >= 1 && threads <= maxThreads && l.Shared >= 0 && l.Shared <= g.shared[l.Function] {
		return nil
	}
	return &driver.Error{Call: "cuLaunchKernelEx", Code: 1, Name: "CUDA_ERROR_INVALID_VALUE",
		Text: fmt.Sprintf("invalid argument: %s with a grid of %v, blocks of %v and %d bytes of shared memory", name, d, b, l.Shared)}
}

// Capture records what is launched as a graph.
func (g *GPU) Capture(_ driver.Stream, record func() error) (driver.Graph, error) {
	unlock, err := g.begin("Capture")
	var launches []Record
	g.recording = &launches
	unlock()
	if err == nil {
		err = record()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.recording = nil
	if err != nil {
		return 0, err
	}
	graph := driver.Graph(g.handle("graph"))
	g.graphs[graph] = launches
	return graph, nil
}

// LaunchGraph records all that the graph launches.
func (g *GPU) LaunchGraph(graph driver.Graph, _ driver.Stream) error {
	unlock, err := g.begin("LaunchGraph")
	records := g.graphs[graph]
	for _, r := range records {
		g.pass(r.Name)
	}
	g.launched = append(g.launched, records...)
	unlock()
	if g.Ran != nil && err == nil {
		for _, r := range records {
			g.Ran(r)
		}
	}
	return err
}

// CloseGraph closes it.
func (g *GPU) CloseGraph(graph driver.Graph) error { return g.drop("CloseGraph", uintptr(graph)) }

// Close closes the device; every later call fails.
func (g *GPU) Close() error {
	unlock, err := g.begin("Close")
	defer unlock()
	g.closed = true
	return err
}

// Launched is what was launched since the last call, graphs' kernels one by one.
func (g *GPU) Launched() []Record {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.launched
	g.launched = nil
	return l
}

// Leaks lists what was not given back.
func (g *GPU) Leaks() (leaks []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, b := range g.device {
		leaks = append(leaks, fmt.Sprintf("%d bytes on the device at %#x", len(b), uint64(p)))
	}
	for _, b := range g.opened {
		leaks = append(leaks, fmt.Sprintf("%d bytes of another process", len(b)))
	}
	for p, n := range g.unbacked {
		leaks = append(leaks, fmt.Sprintf("%d bytes on the device at %#x", n, uint64(p)))
	}
	for _, b := range g.host {
		leaks = append(leaks, fmt.Sprintf("%d pinned bytes", len(b)))
	}
	for _, kind := range g.handles {
		leaks = append(leaks, "a "+kind)
	}
	slices.Sort(leaks)
	return leaks
}
