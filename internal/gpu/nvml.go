package gpu

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/dynlib"
)

// ErrNoDriver is a machine without NVIDIA's driver, or with one that does not answer.
var ErrNoDriver = errors.New("no NVIDIA driver")

// code is nvmlReturn_t.
type code int32

const success code = 0

// handle is nvmlDevice_t.
type handle uintptr

// Structures and constants of nvml.h.
type (
	memoryInfo  struct{ total, free, used uint64 } // nvmlMemory_t
	utilization struct{ gpu, memory uint32 }       // nvmlUtilization_t, percent
)

const (
	sensorGPU   = 0  // NVML_TEMPERATURE_GPU
	clockSM     = 1  // NVML_CLOCK_SM
	clockMemory = 2  // NVML_CLOCK_MEM
	textLength  = 96 // at least NVML_DEVICE_NAME_V2_BUFFER_SIZE and NVML_DEVICE_UUID_V2_BUFFER_SIZE
)

// library is the part of libnvidia-ml that is used, with C's types: unsigned int is uint32.
type library struct {
	init              func() code
	errorString       func(c code) string
	driverVersion     func(text *byte, length uint32) code
	cudaDriverVersion func(version *int32) code
	count             func(n *uint32) code
	handleByIndex     func(index uint32, h *handle) code
	name              func(h handle, text *byte, length uint32) code
	uuid              func(h handle, text *byte, length uint32) code
	memory            func(h handle, m *memoryInfo) code
	utilization       func(h handle, u *utilization) code
	power             func(h handle, milliwatts *uint32) code
	powerLimit        func(h handle, milliwatts *uint32) code
	energy            func(h handle, millijoules *uint64) code
	temperature       func(h handle, sensor uint32, celsius *uint32) code
	clock             func(h handle, kind uint32, megahertz *uint32) code
}

// symbol is a function under the names that drivers have it, the latest first. What an old driver lacks
// and only reads a value is optional.
type symbol struct {
	fn       any
	names    []string
	optional bool
}

func (l *library) symbols() []symbol {
	return []symbol{
		{&l.init, []string{"nvmlInit_v2", "nvmlInit"}, false},
		{&l.errorString, []string{"nvmlErrorString"}, false},
		{&l.driverVersion, []string{"nvmlSystemGetDriverVersion"}, false},
		{&l.cudaDriverVersion, []string{"nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"}, true},
		{&l.count, []string{"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"}, false},
		{&l.handleByIndex, []string{"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"}, false},
		{&l.name, []string{"nvmlDeviceGetName"}, false},
		{&l.uuid, []string{"nvmlDeviceGetUUID"}, false},
		{&l.memory, []string{"nvmlDeviceGetMemoryInfo"}, false},
		{&l.utilization, []string{"nvmlDeviceGetUtilizationRates"}, true},
		{&l.power, []string{"nvmlDeviceGetPowerUsage"}, true},
		{&l.powerLimit, []string{"nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit"}, true},
		{&l.energy, []string{"nvmlDeviceGetTotalEnergyConsumption"}, true},
		{&l.temperature, []string{"nvmlDeviceGetTemperature"}, true},
		{&l.clock, []string{"nvmlDeviceGetClockInfo"}, true},
	}
}

// Names are what Open looks for.
var Names = []string{"libnvidia-ml.so.1", "/usr/local/nvidia/lib64/libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1"}

// NVML is NVIDIA's management library with the machine's cards.
type NVML struct {
	lib     *library
	cards   []Card
	handles []handle
	driver  string
	cuda    int32
}

var _ Source = (*NVML)(nil)

// Open loads the library once for the process. Its error is in the chain of ErrNoDriver.
var Open = sync.OnceValues(func() (*NVML, error) {
	so, err := dynlib.Open(Names...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDriver, err)
	}
	l := new(library)
	for _, s := range l.symbols() {
		if err := bind(so, s); err != nil {
			return nil, fmt.Errorf("%w: the driver is too old: %w", ErrNoDriver, err)
		}
	}
	return l.open()
})

func bind(so *dynlib.Library, s symbol) (err error) {
	for _, name := range s.names {
		if err = so.Bind(s.fn, name); err == nil {
			return nil
		}
	}
	if s.optional {
		return nil
	}
	return err
}

// open asks for the cards.
func (l *library) open() (*NVML, error) {
	n := &NVML{lib: l}
	if err := l.check("nvmlInit", l.init()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDriver, err)
	}
	var err error
	if n.driver, err = l.text("nvmlSystemGetDriverVersion", l.driverVersion); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDriver, err)
	}
	if l.cudaDriverVersion != nil && l.cudaDriverVersion(&n.cuda) != success {
		n.cuda = 0
	}
	var count uint32
	if err := l.check("nvmlDeviceGetCount", l.count(&count)); err != nil {
		return nil, err
	}
	for i := range count {
		if err := n.add(i); err != nil {
			return nil, fmt.Errorf("GPU %d: %w", i, err)
		}
	}
	return n, nil
}

func (n *NVML) add(index uint32) error {
	var h handle
	if err := n.lib.check("nvmlDeviceGetHandleByIndex", n.lib.handleByIndex(index, &h)); err != nil {
		return err
	}
	of := func(f func(handle, *byte, uint32) code) func(*byte, uint32) code {
		return func(p *byte, length uint32) code { return f(h, p, length) }
	}
	name, err := n.lib.text("nvmlDeviceGetName", of(n.lib.name))
	if err != nil {
		return err
	}
	uuid, err := n.lib.text("nvmlDeviceGetUUID", of(n.lib.uuid))
	if err != nil {
		return err
	}
	n.cards = append(n.cards, Card{Index: int(index), Name: name, UUID: uuid, Driver: n.driver})
	n.handles = append(n.handles, h)
	return nil
}

// text calls a function that fills a C string.
func (l *library) text(call string, f func(*byte, uint32) code) (string, error) {
	var b [textLength]byte
	if err := l.check(call, f(&b[0], uint32(len(b)))); err != nil {
		return "", err
	}
	text, _, _ := bytes.Cut(b[:], []byte{0})
	return string(text), nil
}

// check turns a code into an error with the library's own text.
func (l *library) check(call string, c code) error {
	if c == success {
		return nil
	}
	return fmt.Errorf("%s: %s (NVML error %d)", call, l.errorString(c), c)
}

// Cards are the cards that the driver shows to this process; CUDA_VISIBLE_DEVICES does not count here.
func (n *NVML) Cards() []Card { return n.cards }

// Driver is the driver's version.
func (n *NVML) Driver() string { return n.driver }

// CUDA is the highest CUDA version that the driver serves, as "13.0"; "" if it does not tell.
func (n *NVML) CUDA() string {
	if n.cuda == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d", n.cuda/1000, n.cuda%1000/10)
}

// Read reads a card.
func (n *NVML) Read(index int) (Reading, error) {
	l, h := n.lib, n.handles[index]
	var m memoryInfo
	if err := l.check("nvmlDeviceGetMemoryInfo", l.memory(h, &m)); err != nil {
		return Reading{}, err
	}
	r := Reading{MemoryTotal: int64(m.total), MemoryUsed: int64(m.used), Utilization: -1, Energy: -1}
	var u utilization
	if l.utilization != nil && l.utilization(h, &u) == success {
		r.Utilization = float64(u.gpu) / 100
	}
	var mJ uint64
	if l.energy != nil && l.energy(h, &mJ) == success {
		r.Energy = float64(mJ) / 1e3
	}
	of := func(f func(handle, uint32, *uint32) code, kind uint32) func(handle, *uint32) code {
		if f == nil {
			return nil
		}
		return func(h handle, v *uint32) code { return f(h, kind, v) }
	}
	r.Power = value(l.power, h, 1e-3)
	r.PowerLimit = value(l.powerLimit, h, 1e-3)
	r.Temperature = value(of(l.temperature, sensorGPU), h, 1)
	r.ClockSM = value(of(l.clock, clockSM), h, 1e6)
	r.ClockMemory = value(of(l.clock, clockMemory), h, 1e6)
	return r, nil
}

// value is a number in base units, -1 where the card or the driver does not have it.
func value(f func(handle, *uint32) code, h handle, unit float64) float64 {
	var v uint32
	if f == nil || f(h, &v) != success {
		return -1
	}
	return float64(v) * unit
}

// The structures must be as large as C has them.
const (
	_ = uint(unsafe.Sizeof(memoryInfo{}) - 24)
	_ = uint(24 - unsafe.Sizeof(memoryInfo{}))
	_ = uint(unsafe.Sizeof(utilization{}) - 8)
	_ = uint(8 - unsafe.Sizeof(utilization{}))
)
