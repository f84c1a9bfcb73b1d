// Package ipc opens device memory that other processes of this machine allocated and shared by CUDA's
// inter-process handles, and copies between it and the host's memory.
package ipc

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/fault"
)

// Cards opens memory on the cards of this machine. A card's context is retained while memory on it is open
// and no longer: the driver makes a new context only when nobody holds the old one.
type Cards struct {
	open func(ordinal int) (driver.GPU, error)

	mu   sync.Mutex
	held map[int]*card // by ordinal
}

// card is a context that is held.
type card struct {
	ordinal int
	gpu     driver.GPU
	users   int // open memories; Cards.mu guards it

	mu   sync.RWMutex // copies hold it for reading
	lost bool         // the context is given back; nothing may be asked of gpu
}

// Memory is memory of another process. Its methods are safe for concurrent use; the other process may write
// to the memory at any time.
type Memory struct {
	cards *Cards
	card  *card
	at    driver.Pointer
	size  uint64
	once  sync.Once
}

// New opens cards with open, driver.Open where there are any.
func New(open func(ordinal int) (driver.GPU, error)) *Cards {
	return &Cards{open: open, held: map[int]*card{}}
}

// Open maps the memory that a handle names, as a device sees it.
func (c *Cards) Open(device int, handle driver.SharedHandle) (*Memory, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, err := c.hold(device)
	if err != nil {
		return nil, err
	}
	m := &Memory{cards: c, card: k}
	err = driver.Do(k.gpu, func() error {
		at, bytes, err := k.gpu.OpenShared(handle)
		m.at, m.size = at, uint64(bytes)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open shared memory on cuda:%d: %w", device, err), c.letGo(k))
	}
	return m, nil
}

// hold counts one more user of a card.
func (c *Cards) hold(device int) (*card, error) {
	k := c.held[device]
	if k == nil {
		g, err := c.open(device)
		if err != nil {
			return nil, err
		}
		k = &card{ordinal: device, gpu: g}
		c.held[device] = k
	}
	k.users++
	return k, nil
}

// letGo counts one less, and gives the context back after the last.
func (c *Cards) letGo(k *card) error {
	if k.users--; k.users > 0 || k.lost {
		return nil
	}
	return c.drop(k)
}

// drop gives a card's context back, with all that is open on it.
func (c *Cards) drop(k *card) error {
	delete(c.held, k.ordinal)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost = true
	return release(k.gpu)
}

// release gives a context back, though it be lost and cannot be bound any more.
func release(g driver.GPU) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return errors.Join(g.Bind(), g.Close())
}

// lose drops a card that failed, once.
func (c *Cards) lose(k *card) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !k.lost {
		_ = c.drop(k) // what a lost context says at its end is known
	}
}

// Forget lets go of a card whose context is lost, so that the driver can make a new one; memory that was open
// there stays lost. A card that still answers is left alone.
func (c *Cards) Forget(device int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.held[device]
	if k == nil {
		return
	}
	err := driver.Do(k.gpu, func() error {
		_, _, err := k.gpu.MemoryInfo()
		return err
	})
	if driver.Fatal(err) {
		_ = c.drop(k) // what a lost context says at its end is known
	}
}

// Size is how many bytes there are.
func (m *Memory) Size() uint64 { return m.size }

// Read copies len(to) bytes from offset on.
func (m *Memory) Read(to []byte, offset uint64) error {
	return m.use(len(to), offset, func(g driver.GPU, at driver.Pointer) error { return g.CopyOut(to, at) })
}

// Write copies len(from) bytes to offset. They are there when it returns: a copy from pageable memory alone may
// still be on its way to the device then.
func (m *Memory) Write(from []byte, offset uint64) error {
	return m.use(len(from), offset, func(g driver.GPU, at driver.Pointer) error {
		if err := g.CopyIn(at, from); err != nil {
			return err
		}
		return g.Synchronize(defaultStream)
	})
}

// defaultStream is the one that copies without a stream are in. The engine's streams do not wait for it, nor it
// for them.
const defaultStream driver.Stream = 0

// use has a copy of n bytes at offset made, and takes the card out if that loses its context.
func (m *Memory) use(n int, offset uint64, copies func(g driver.GPU, at driver.Pointer) error) error {
	if offset > m.size || uint64(n) > m.size-offset {
		return fault.New(fault.Invalid, "%d bytes at %d are outside of shared memory of %d bytes", n, offset, m.size)
	}
	if n == 0 {
		return nil
	}
	err := m.card.do(func(g driver.GPU) error { return copies(g, m.at+driver.Pointer(offset)) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errLost):
		return fault.Wrap(fault.Unavailable, err, "shared memory on cuda:%d", m.card.ordinal)
	case driver.Fatal(err):
		m.cards.lose(m.card)
		return fault.Wrap(fault.Unavailable, err, "the GPU failed")
	}
	return fault.Wrap(fault.Internal, err, "copy shared memory on cuda:%d", m.card.ordinal)
}

var errLost = errors.New("the card was lost after the memory was opened: register it again")

func (k *card) do(f func(driver.GPU) error) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.lost {
		return errLost
	}
	return driver.Do(k.gpu, func() error { return f(k.gpu) })
}

// Close unmaps the memory. No Read or Write may be under way.
func (m *Memory) Close() (err error) {
	m.once.Do(func() {
		m.cards.mu.Lock()
		defer m.cards.mu.Unlock()
		if !m.card.lost {
			err = driver.Do(m.card.gpu, func() error { return m.card.gpu.CloseShared(m.at) })
		}
		err = errors.Join(err, m.cards.letGo(m.card))
	})
	return err
}
