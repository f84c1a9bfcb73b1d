package oip

import (
	"github.com/vitrine-project/vitrine/internal/fault"
)

// HandleSize is the size of a CUDA inter-process handle (cudaIpcMemHandle_t), bytes.
const HandleSize = 64

// CardMemory is memory of a card that another process allocated. Read and Write copy whole slices or fail,
// and may be called at once.
type CardMemory interface {
	Size() uint64
	Read(to []byte, offset uint64) error
	Write(from []byte, offset uint64) error
	Close() error
}

// OpenCard opens the memory that a handle names, as a card sees it.
type OpenCard func(device int, handle [HandleSize]byte) (CardMemory, error)

// CUDARegionStatus describes a registered region of a card.
type CUDARegionStatus struct {
	Name     string `json:"name"`
	Device   uint64 `json:"device_id"`
	ByteSize uint64 `json:"byte_size"`
}

// ErrCUDA is the answer to a request that would register CUDA shared memory where no engine computes on cards.
var ErrCUDA = fault.New(fault.Unimplemented, "CUDA shared memory is not supported: this server has no CUDA engine")

// errHandle is Triton's answer whatever the driver said; that goes to the log.
var errHandle = fault.New(fault.Invalid, "failed to register shared memory region: invalid args")

// RegisterCUDA opens size bytes of a card's memory under a name.
func (g *Regions) RegisterCUDA(name string, handle []byte, device, size uint64) error {
	if g.Card == nil {
		return ErrCUDA
	}
	if err := g.vacant(name); err != nil {
		return err
	}
	memory, err := g.openCard(name, handle, device)
	if err != nil {
		return err
	}
	if size > memory.Size() {
		g.closed(name, memory.Close())
		return fault.New(fault.Invalid, "failed to register shared memory region '%s': invalid args", name)
	}
	// The lock was not held meanwhile: a card may take long to open.
	err = g.add(&region{name: name, size: size, memory: onCard{memory}, card: &CUDARegionStatus{name, device, size}})
	if err != nil {
		g.closed(name, memory.Close())
	}
	return err
}

func (g *Regions) openCard(name string, handle []byte, device uint64) (CardMemory, error) {
	const devices = 1 << 16
	if len(handle) != HandleSize || device >= devices {
		return nil, errHandle
	}
	memory, err := g.Card(int(device), [HandleSize]byte(handle))
	if err != nil {
		g.log.Error("CUDA shared memory cannot be opened", "region", name, "device", device, "error", err)
		return nil, errHandle
	}
	return memory, nil
}

// CUDAStatus lists the regions of cards by name; a name that is not empty must be one of them.
func (g *Regions) CUDAStatus(name string) ([]CUDARegionStatus, error) {
	found, err := g.list(name, true)
	all := make([]CUDARegionStatus, 0, len(found))
	for _, r := range found {
		all = append(all, *r.card)
	}
	return all, err
}

// UnregisterCUDA closes a region of a card; one that is not there is no error, as in Triton. An empty name is all.
func (g *Regions) UnregisterCUDA(name string) { g.remove(name, true) }

// onCard is a region's memory on a card. Its end was checked when it was opened: an allocation does not shrink.
type onCard struct{ memory CardMemory }

func (onCard) reaches(uint64) error                     { return nil }
func (c onCard) read(to []byte, offset uint64) error    { return c.memory.Read(to, offset) }
func (c onCard) write(from []byte, offset uint64) error { return c.memory.Write(from, offset) }
func (c onCard) close() error                           { return c.memory.Close() }
