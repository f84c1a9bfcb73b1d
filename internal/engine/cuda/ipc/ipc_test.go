package ipc

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/fault"
)

// pretended are cards on pretended drivers, the newest last.
type pretended struct {
	gpus []*drivertest.GPU
	fail error
	next func() *drivertest.GPU
}

func (p *pretended) open(ordinal int) (driver.GPU, error) {
	if p.fail != nil {
		return nil, p.fail
	}
	g := p.next()
	g.Device.Ordinal = ordinal
	p.gpus = append(p.gpus, g)
	return g, nil
}

// one is one card, and memory with that content that another process has there.
func one(content []byte) (*pretended, driver.SharedHandle) {
	return &pretended{next: func() *drivertest.GPU {
		g := drivertest.New()
		g.Lend(content)
		return g
	}}, drivertest.New().Lend(content) // the first handle is the same on each card
}

func open(t *testing.T, c *Cards, device int, h driver.SharedHandle) *Memory {
	t.Helper()
	m, err := c.Open(device, h)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func kind(t *testing.T, err error, want fault.Kind, text string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want a fault of kind %v that says %q", err, want, text)
	}
}

// leaks fails for what a card still has open, and for a context that was kept.
func leaks(t *testing.T, g *drivertest.GPU) {
	t.Helper()
	if all := g.Leaks(); len(all) > 0 {
		t.Errorf("left open: %v", all)
	}
	if err := g.Bind(); driver.CodeOf(err) != 709 {
		t.Errorf("the context is kept (%v)", err)
	}
}

func TestMemory(t *testing.T) {
	content := []byte("0123456789abcdef")
	p, h := one(content)
	c := New(p.open)
	m := open(t, c, 0, h)
	again := open(t, c, 0, h)
	if len(p.gpus) != 1 || m.Size() != 16 {
		t.Fatalf("%d contexts, %d bytes", len(p.gpus), m.Size())
	}
	b := make([]byte, 4)
	if err := m.Read(b, 10); err != nil || string(b) != "abcd" {
		t.Errorf("%q, %v", b, err)
	}
	if err := again.Write([]byte("XY"), 14); err != nil || string(content) != "0123456789abcdXY" {
		t.Errorf("%q, %v", content, err)
	}
	if err := m.Read(nil, 16); err != nil {
		t.Error(err)
	}
	for _, outside := range []uint64{13, 16, 17, 1<<64 - 2} {
		kind(t, m.Read(b, outside), fault.Invalid, "outside of shared memory of 16 bytes")
		kind(t, m.Write(b, outside), fault.Invalid, "outside of shared memory of 16 bytes")
	}
	for range 2 { // a second time does nothing
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := again.Read(b, 0); err != nil {
		t.Errorf("closing one memory took the other: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	leaks(t, p.gpus[0])
	kind(t, again.Read(b, 0), fault.Unavailable, "register it again")
}

// TestWritesAreThere: the driver is waited for after a copy to the device, and its error is the write's.
func TestWritesAreThere(t *testing.T) {
	p, h := one(make([]byte, 8))
	c := New(p.open)
	m := open(t, c, 0, h)
	var calls []string
	p.gpus[0].Fail = func(call string) error {
		calls = append(calls, call)
		return nil
	}
	if err := m.Write([]byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(calls, " "); got != "Bind CopyIn Synchronize" {
		t.Errorf("calls: %s", got)
	}
	p.gpus[0].Fail = func(call string) error {
		if call == "Synchronize" {
			return &driver.Error{Call: call, Code: 999, Name: "CUDA_ERROR_UNKNOWN", Text: "unknown error"}
		}
		return nil
	}
	kind(t, m.Write([]byte{1}, 0), fault.Internal, "unknown error")
	p.gpus[0].Fail = nil
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestRefused: what cannot be opened leaves no context behind.
func TestRefused(t *testing.T) {
	p, _ := one(nil)
	c := New(p.open)
	if _, err := c.Open(0, driver.SharedHandle{1}); driver.CodeOf(err) != 1 || !strings.Contains(err.Error(), "cuda:0") {
		t.Error(err)
	}
	leaks(t, p.gpus[0])
	p.fail = driver.ErrNoDriver
	if _, err := c.Open(3, driver.SharedHandle{}); !errors.Is(err, driver.ErrNoDriver) {
		t.Error(err)
	}
	c.Forget(3)
}

// TestLostCard: a copy that loses the context gives it back, memory stays lost, and the next registration
// makes a new context.
func TestLostCard(t *testing.T) {
	content := []byte("content")
	p, h := one(content)
	c := New(p.open)
	m, idle := open(t, c, 0, h), open(t, c, 0, h)
	p.gpus[0].Fail = func(string) error {
		return &driver.Error{Call: "cuMemcpyDtoH", Code: 719, Name: "CUDA_ERROR_LAUNCH_FAILED", Text: "unspecified launch failure"}
	}
	kind(t, m.Read(make([]byte, 1), 0), fault.Unavailable, "the GPU failed")
	p.gpus[0].Fail = nil
	if err := p.gpus[0].Bind(); driver.CodeOf(err) != 709 {
		t.Error("the lost context is kept")
	}
	kind(t, idle.Read(make([]byte, 1), 0), fault.Unavailable, "register it again")
	for _, old := range []*Memory{m, idle} {
		if err := old.Close(); err != nil {
			t.Error(err)
		}
	}
	anew := open(t, c, 0, h)
	b := make([]byte, len(content))
	if err := anew.Read(b, 0); err != nil || !bytes.Equal(b, content) || len(p.gpus) != 2 {
		t.Errorf("%q, %v, %d contexts", b, err, len(p.gpus))
	}
	if err := anew.Close(); err != nil {
		t.Error(err)
	}
	leaks(t, p.gpus[1])
}

// TestForget: only a card whose context is lost is let go.
func TestForget(t *testing.T) {
	p, h := one([]byte("x"))
	c := New(p.open)
	m := open(t, c, 2, h)
	c.Forget(1)
	c.Forget(2)
	if err := m.Read(make([]byte, 1), 0); err != nil {
		t.Errorf("a card that answers was let go: %v", err)
	}
	p.gpus[0].Fail = func(string) error { return &driver.Error{Code: 719} }
	c.Forget(2)
	p.gpus[0].Fail = nil
	kind(t, m.Read(make([]byte, 1), 0), fault.Unavailable, "register it again")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestCopiesWhileACardIsLost has copies, registrations and a loss at once, for the race detector.
func TestCopiesWhileACardIsLost(t *testing.T) {
	p, h := one(make([]byte, 64))
	var opening sync.Mutex
	c := New(func(ordinal int) (driver.GPU, error) {
		opening.Lock()
		defer opening.Unlock()
		return p.open(ordinal)
	})
	m := open(t, c, 0, h)
	var lost atomic.Bool
	p.gpus[0].Fail = func(string) error {
		if lost.Load() {
			return &driver.Error{Code: 719}
		}
		return nil
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			b := make([]byte, 64)
			for m.Read(b, 0) == nil { // until it is lost
			}
		})
		all.Go(func() {
			other, err := c.Open(0, h)
			if err == nil {
				err = other.Close()
			}
			if err != nil && !driver.Fatal(err) {
				t.Error(err)
			}
		})
	}
	all.Go(func() { lost.Store(true) })
	all.Wait()
	if err := m.Close(); err != nil && !driver.Fatal(err) {
		t.Error(err)
	}
}
