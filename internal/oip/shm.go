package oip

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// shmRoot is where POSIX shared memory objects are files.
const shmRoot = "/dev/shm"

// RegionStatus describes a registered region.
type RegionStatus struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Offset   uint64 `json:"offset"`
	ByteSize uint64 `json:"byte_size"`
}

// Regions are the system shared memory regions that clients registered.
type Regions struct {
	mu      sync.RWMutex
	root    string
	regions map[string]*region
}

// region is a mapped part of a shared memory object. The client may shrink the object at any time, so
// every access is guarded against the fault that the machine then raises.
type region struct {
	status RegionStatus
	memory []byte
	file   *os.File
	users  sync.WaitGroup
}

// NewRegions returns no regions.
func NewRegions() *Regions { return &Regions{root: shmRoot, regions: map[string]*region{}} }

// Register maps size bytes at offset of the shared memory object key under a name.
func (g *Regions) Register(name, key string, offset, size uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.regions[name]; ok {
		return fault.New(fault.Exists, "shared memory region '%s' already in manager", name)
	}
	r, err := mapRegion(g.root, name, key, offset, size)
	if err != nil {
		return err
	}
	r.status = RegionStatus{Name: name, Key: key, Offset: offset, ByteSize: size}
	g.regions[name] = r
	return nil
}

// noRegion are Triton's answers, internal errors though they are the client's.
func noRegion(verb, key string) error {
	return fault.New(fault.Mistaken, "%s shared memory region: '%s'", verb, key)
}

// mapRegion opens and maps. A key is a name of one part, and never a path; an offset is a multiple of
// the page size, as Triton needs it.
func mapRegion(root, name, key string, offset, size uint64) (*region, error) {
	object := strings.TrimLeft(key, "/")
	if object == "" || object == "." || object == ".." || strings.ContainsAny(object, "/\x00") {
		return nil, noRegion("Unable to open", key)
	}
	fd, err := unix.Open(filepath.Join(root, object), unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, noRegion("Unable to open", key)
	}
	file := os.NewFile(uintptr(fd), object)
	r, err := mapFile(file, offset, size)
	if err != nil {
		_ = file.Close() // nothing was written
		if errors.Is(err, errObject) {
			return nil, noRegion("Invalid", key)
		}
		return nil, fault.New(fault.Invalid, "failed to register shared memory region '%s': %s", name, err)
	}
	return r, nil
}

var (
	errObject  = errors.New("not an object of this size")
	errOutside = errors.New("invalid args")
	errPage    = errors.New("unable to process address spaceInvalid argument") // Triton's own text
)

func mapFile(file *os.File, offset, size uint64) (*region, error) {
	length, err := regularSize(file)
	if err != nil {
		return nil, err
	}
	switch {
	case size == 0 || size > math.MaxInt || offset > math.MaxInt64-size:
		return nil, errObject
	case offset > length || size > length-offset:
		return nil, errOutside
	case offset%uint64(os.Getpagesize()) != 0:
		return nil, errPage
	}
	memory, err := unix.Mmap(int(file.Fd()), int64(offset), int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &region{memory: memory, file: file}, nil
}

func regularSize(file *os.File) (uint64, error) {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, errObject
	}
	return uint64(info.Size()), nil
}

// Unregister unmaps a region; one that is not there is no error, as in Triton. An empty name is all.
func (g *Regions) Unregister(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, r := range g.regions {
		if name == "" || n == name {
			delete(g.regions, n)
			go r.close()
		}
	}
}

func (r *region) close() {
	r.users.Wait()
	_ = unix.Munmap(r.memory) // a mapping of ours always unmaps
	_ = r.file.Close()        // nothing was written through it
}

// Status lists the regions by name; a name that is not empty must be one of them.
func (g *Regions) Status(name string) ([]RegionStatus, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	all := []RegionStatus{}
	for n, r := range g.regions {
		if name == "" || n == name {
			all = append(all, r.status)
		}
	}
	if name != "" && len(all) == 0 {
		return nil, fault.New(fault.NotFound, "Unable to find system shared memory region: '%s'", name)
	}
	slices.SortFunc(all, func(a, b RegionStatus) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// use finds the bytes of m; done must be called after their last use.
func (g *Regions) use(m *Memory) (b []byte, done func(), err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	r := g.regions[m.Region]
	if r == nil {
		return nil, nil, fault.New(fault.NotFound, "Unable to find shared memory region: '%s'", m.Region)
	}
	total := r.status.ByteSize
	if m.Offset >= total {
		return nil, nil, fault.New(fault.Invalid, "Invalid offset for shared memory region: '%s'", m.Region)
	}
	if m.Size == 0 || m.Size > total-m.Offset {
		return nil, nil, fault.New(fault.Invalid, "Invalid offset + byte size for shared memory region: '%s'", m.Region)
	}
	length, err := regularSize(r.file)
	if err != nil || length < r.status.Offset+m.Offset+m.Size {
		return nil, nil, fault.New(fault.Invalid, "shared memory region '%s' was made smaller than it was registered", m.Region)
	}
	r.users.Add(1)
	return r.memory[m.Offset : m.Offset+m.Size : m.Offset+m.Size], r.users.Done, nil
}

// exists makes sure that the region and the part of it that m names are there.
func (g *Regions) exists(m *Memory) error {
	_, done, err := g.use(m)
	if err == nil {
		done()
	}
	return err
}

// read copies the bytes of m out of its region.
func (g *Regions) read(m *Memory) ([]byte, error) {
	from, done, err := g.use(m)
	if err != nil {
		return nil, err
	}
	defer done()
	b := make([]byte, len(from))
	return b, guardedCopy(b, from, m.Region)
}

// write copies b to the start of m.
func (g *Regions) write(m *Memory, b []byte) error {
	to, done, err := g.use(m)
	if err != nil {
		return err
	}
	defer done()
	return guardedCopy(to, b, m.Region)
}

// guardedCopy is copy between memory that another process may take away: the fault becomes an error.
func guardedCopy(dst, src []byte, name string) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = fault.New(fault.Invalid, "shared memory region '%s' was made smaller while it was used", name)
		}
	}()
	copy(dst, src)
	return nil
}

// ErrCUDA is the answer to a request that would register CUDA shared memory.
var ErrCUDA = fault.New(fault.Unimplemented, "CUDA shared memory is not supported: this server has no CUDA engine")

// CUDAStatus lists the CUDA regions: none.
func CUDAStatus(name string) ([]RegionStatus, error) {
	if name != "" {
		return nil, fault.New(fault.NotFound, "Unable to find cuda shared memory region: '%s'", name)
	}
	return []RegionStatus{}, nil
}
