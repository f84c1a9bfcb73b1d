package oip

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// shmRoot is where POSIX shared memory objects are files.
const shmRoot = "/dev/shm"

// mapped is a part of a shared memory object. The client may shrink the object at any time, so every access
// is guarded against the fault that the machine then raises.
type mapped struct {
	name   string // of the region
	memory []byte
	offset uint64 // in the object
	file   *os.File
}

// noRegion are Triton's answers, internal errors though they are the client's.
func noRegion(verb, key string) error {
	return fault.New(fault.Mistaken, "%s shared memory region: '%s'", verb, key)
}

// mapObject opens and maps. A key is a name of one part, and never a path; an offset is a multiple of
// the page size, as Triton needs it.
func mapObject(root, name, key string, offset, size uint64) (*mapped, error) {
	object := strings.TrimLeft(key, "/")
	if object == "" || object == "." || object == ".." || strings.ContainsAny(object, "/\x00") {
		return nil, noRegion("Unable to open", key)
	}
	fd, err := unix.Open(filepath.Join(root, object), unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, noRegion("Unable to open", key)
	}
	file := os.NewFile(uintptr(fd), object)
	memory, err := mapFile(file, offset, size)
	if err != nil {
		_ = file.Close() // nothing was written
		if errors.Is(err, errObject) {
			return nil, noRegion("Invalid", key)
		}
		return nil, fault.New(fault.Invalid, "failed to register shared memory region '%s': %s", name, err)
	}
	return &mapped{name, memory, offset, file}, nil
}

var (
	errObject  = errors.New("not an object of this size")
	errOutside = errors.New("invalid args")
	errPage    = errors.New("unable to process address spaceInvalid argument") // Triton's own text
)

func mapFile(file *os.File, offset, size uint64) ([]byte, error) {
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
	return unix.Mmap(int(file.Fd()), int64(offset), int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func regularSize(file *os.File) (uint64, error) {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, errObject
	}
	return uint64(info.Size()), nil
}

func (m *mapped) reaches(end uint64) error {
	if length, err := regularSize(m.file); err != nil || length < m.offset+end {
		return fault.New(fault.Invalid, "shared memory region '%s' was made smaller than it was registered", m.name)
	}
	return nil
}

func (m *mapped) read(to []byte, offset uint64) error {
	return guardedCopy(to, m.memory[offset:], m.name)
}

func (m *mapped) write(from []byte, offset uint64) error {
	return guardedCopy(m.memory[offset:], from, m.name)
}

func (m *mapped) close() error {
	return errors.Join(unix.Munmap(m.memory), m.file.Close())
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
