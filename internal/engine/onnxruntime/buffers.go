package onnxruntime

import (
	"errors"
	"runtime"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/numa"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// memory is an instance's input and output, of the largest batch.
type memory interface {
	describe(api *capi.API) (capi.MemoryInfo, error)
	addresses() (input, output uintptr) // as ONNX Runtime sees them
	hostInput() []byte
	hostOutput() []byte
	copyIn(bytes int) error  // the first bytes of the input, to where ONNX Runtime sees it
	copyOut(bytes int) error // the first bytes of the output, back
	// do calls f where the memory can be used: for a device, on the one thread that is its own.
	do(f func() error) error
	close() error
}

// hostMemory is Go's, pinned, so that C may keep its address.
type hostMemory struct {
	input, output []byte
	pinner        runtime.Pinner
}

func newHostMemory(input, output int) *hostMemory {
	m := &hostMemory{input: tensor.AlignedBytes(input), output: tensor.AlignedBytes(output)}
	m.pinner.Pin(&m.input[0])
	m.pinner.Pin(&m.output[0])
	return m
}

func (m *hostMemory) describe(api *capi.API) (capi.MemoryInfo, error) { return api.HostMemory() }
func (m *hostMemory) addresses() (input, output uintptr) {
	return uintptr(unsafe.Pointer(&m.input[0])), uintptr(unsafe.Pointer(&m.output[0]))
}
func (m *hostMemory) hostInput() []byte       { return m.input }
func (m *hostMemory) hostOutput() []byte      { return m.output }
func (m *hostMemory) copyIn(int) error        { return nil }
func (m *hostMemory) copyOut(int) error       { return nil }
func (m *hostMemory) do(f func() error) error { return f() }
func (m *hostMemory) close() error            { m.pinner.Unpin(); return nil }

// deviceMemory is a CUDA device's, with pinned host memory to copy from and to. ONNX Runtime's CUDA
// provider keeps captured graphs by thread, so everything of an instance happens on one thread.
type deviceMemory struct {
	gpu           driver.GPU
	device        int
	input, output driver.Pointer
	in, out       []byte // pinned
	jobs          chan func()
}

func newDeviceMemory(device, input, output int) (*deviceMemory, error) {
	m := &deviceMemory{device: device, jobs: make(chan func())}
	var err error
	if m.gpu, err = driver.Open(device); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "cuda:%d", device)
	}
	go m.serve(numa.Of(m.gpu.Info().PCI))
	err = m.do(func() (err error) {
		if err = m.gpu.Bind(); err != nil {
			return err
		}
		if m.input, err = m.gpu.Alloc(input); err != nil {
			return err
		}
		if m.output, err = m.gpu.Alloc(output); err != nil {
			return err
		}
		if m.in, err = m.gpu.AllocHost(input); err != nil {
			return err
		}
		m.out, err = m.gpu.AllocHost(output)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// serve is the instance's thread. It stays near the device where the kernel lets it; the library's own threads,
// which it starts, stay there with it.
func (m *deviceMemory) serve(near numa.Place) {
	runtime.LockOSThread() // the thread ends with the goroutine, and its context with it
	_ = near.Stay()        // far away it computes the same
	for job := range m.jobs {
		job()
	}
}

// do passes a panic of f on to its caller.
func (m *deviceMemory) do(f func() error) (err error) {
	done := make(chan any, 1)
	m.jobs <- func() {
		defer func() { done <- recover() }()
		err = f()
	}
	if p := <-done; p != nil {
		panic(p)
	}
	return err
}

func (m *deviceMemory) describe(api *capi.API) (capi.MemoryInfo, error) {
	return api.CUDAMemory(m.device)
}

func (m *deviceMemory) addresses() (input, output uintptr) {
	return uintptr(m.input), uintptr(m.output)
}
func (m *deviceMemory) hostInput() []byte   { return m.in }
func (m *deviceMemory) hostOutput() []byte  { return m.out }
func (m *deviceMemory) copyIn(n int) error  { return m.gpu.CopyIn(m.input, m.in[:n]) }
func (m *deviceMemory) copyOut(n int) error { return m.gpu.CopyOut(m.out[:n], m.output) }

func (m *deviceMemory) close() error {
	err := m.do(func() (err error) {
		for _, p := range []driver.Pointer{m.input, m.output} {
			if p != 0 {
				err = errors.Join(err, m.gpu.Free(p))
			}
		}
		for _, b := range [][]byte{m.in, m.out} {
			if b != nil {
				err = errors.Join(err, m.gpu.FreeHost(b))
			}
		}
		return err
	})
	close(m.jobs)
	return errors.Join(err, m.gpu.Close())
}
