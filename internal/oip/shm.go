package oip

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// RegionStatus describes a registered region of system memory.
type RegionStatus struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Offset   uint64 `json:"offset"`
	ByteSize uint64 `json:"byte_size"`
}

// Regions are the shared memory regions that clients registered: system memory, and memory of cards. A name
// is one of the two.
type Regions struct {
	Card OpenCard // nil where no engine computes on cards; set before the first request

	log     *slog.Logger
	root    string
	mu      sync.RWMutex
	regions map[string]*region
}

// region is a registered region, with a status of its kind.
type region struct {
	name   string
	size   uint64
	memory backing
	users  sync.WaitGroup
	system *RegionStatus
	card   *CUDARegionStatus
}

// backing is where a region's bytes are. Offsets and lengths are inside of the region.
type backing interface {
	// reaches makes sure that the bytes up to end are still there.
	reaches(end uint64) error
	read(to []byte, offset uint64) error
	write(from []byte, offset uint64) error
	close() error
}

// NewRegions returns no regions. The log is told what clients are not.
func NewRegions(log *slog.Logger) *Regions {
	return &Regions{log: log, root: shmRoot, regions: map[string]*region{}}
}

// Register maps size bytes at offset of the shared memory object key under a name.
func (g *Regions) Register(name, key string, offset, size uint64) error {
	if err := g.vacant(name); err != nil {
		return err
	}
	m, err := mapObject(g.root, name, key, offset, size)
	if err != nil {
		return err
	}
	err = g.add(&region{name: name, size: size, memory: m, system: &RegionStatus{Name: name, Key: key, Offset: offset, ByteSize: size}})
	if err != nil {
		g.closed(name, m.close())
	}
	return err
}

// vacant makes sure that a name is free, for the time being.
func (g *Regions) vacant(name string) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if _, ok := g.regions[name]; ok {
		return fault.New(fault.Exists, "shared memory region '%s' already in manager", name)
	}
	return nil
}

func (g *Regions) add(r *region) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.regions[r.name]; ok {
		return fault.New(fault.Exists, "shared memory region '%s' already in manager", r.name)
	}
	g.regions[r.name] = r
	return nil
}

// Unregister unmaps a region of system memory; one that is not there is no error, as in Triton. An empty
// name is all.
func (g *Regions) Unregister(name string) { g.remove(name, false) }

// remove takes regions of one kind out, and closes each when nobody uses it any more.
func (g *Regions) remove(name string, card bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, r := range g.regions {
		if (name == "" || n == name) && (r.card != nil) == card {
			delete(g.regions, n)
			go func() {
				r.users.Wait()
				g.closed(n, r.memory.close())
			}()
		}
	}
}

// closed tells the log of memory that could not be given back.
func (g *Regions) closed(name string, err error) {
	if err != nil {
		g.log.Error("shared memory cannot be closed", "region", name, "error", err)
	}
}

// Status lists the regions of system memory by name; a name that is not empty must be one of them.
func (g *Regions) Status(name string) ([]RegionStatus, error) {
	found, err := g.list(name, false)
	all := make([]RegionStatus, 0, len(found))
	for _, r := range found {
		all = append(all, *r.system)
	}
	return all, err
}

// kinds are Triton's names of system memory and memory of cards: in an error, and as what one is registered.
var kinds = map[bool][2]string{false: {"system", "system shared memory"}, true: {"cuda", "CUDA shared memory"}}

// list finds the regions of one kind.
func (g *Regions) list(name string, card bool) (found []*region, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for n, r := range g.regions {
		if (name == "" || n == name) && (r.card != nil) == card {
			found = append(found, r)
		}
	}
	switch r := g.regions[name]; {
	case name == "" || found != nil:
	case r != nil:
		return nil, fault.New(fault.NotFound, "The region named '%s' is registered as %s, not %s", name, kinds[!card][1], kinds[card][1])
	default:
		return nil, fault.New(fault.NotFound, "Unable to find %s shared memory region: '%s'", kinds[card][0], name)
	}
	slices.SortFunc(found, func(a, b *region) int { return strings.Compare(a.name, b.name) })
	return found, nil
}

// use finds the region of m, which lies inside; the region's users must be told after its last use.
func (g *Regions) use(m *Memory) (*region, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	r := g.regions[m.Region]
	if r == nil {
		return nil, fault.New(fault.NotFound, "Unable to find shared memory region: '%s'", m.Region)
	}
	if m.Offset >= r.size {
		return nil, fault.New(fault.Invalid, "Invalid offset for shared memory region: '%s'", m.Region)
	}
	if m.Size == 0 || m.Size > r.size-m.Offset {
		return nil, fault.New(fault.Invalid, "Invalid offset + byte size for shared memory region: '%s'", m.Region)
	}
	if err := r.memory.reaches(m.Offset + m.Size); err != nil {
		return nil, err
	}
	r.users.Add(1)
	return r, nil
}

// exists makes sure that the region and the part of it that m names are there.
func (g *Regions) exists(m *Memory) error {
	r, err := g.use(m)
	if err == nil {
		r.users.Done()
	}
	return err
}

// read copies the bytes of m out of its region.
func (g *Regions) read(m *Memory) ([]byte, error) {
	r, err := g.use(m)
	if err != nil {
		return nil, err
	}
	defer r.users.Done()
	b := make([]byte, m.Size)
	return b, r.memory.read(b, m.Offset)
}

// write copies b to the start of m, which is as large or larger.
func (g *Regions) write(m *Memory, b []byte) error {
	r, err := g.use(m)
	if err != nil {
		return err
	}
	defer r.users.Done()
	return r.memory.write(b, m.Offset)
}
