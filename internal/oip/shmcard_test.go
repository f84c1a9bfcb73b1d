package oip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// pretendedCard is memory of card 3 that the handle of 64 sevens names.
type pretendedCard struct {
	mu      sync.Mutex
	content []byte
	open    int
	fail    error         // of copies
	closing chan struct{} // is told of each close
}

func (p *pretendedCard) card(device int, handle [HandleSize]byte) (CardMemory, error) {
	if device != 3 || !bytes.Equal(handle[:], sevens) {
		return nil, errors.New("the driver knows no such memory")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
	return p, nil
}

func (p *pretendedCard) Size() uint64 { return uint64(len(p.content)) }

func (p *pretendedCard) Read(to []byte, offset uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	copy(to, p.content[offset:])
	return p.fail
}

func (p *pretendedCard) Write(from []byte, offset uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	copy(p.content[offset:], from)
	return p.fail
}

func (p *pretendedCard) Close() error {
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
	p.closing <- struct{}{}
	return nil
}

var sevens = bytes.Repeat([]byte{7}, HandleSize)

// withCard is a server of one echoing model, with a card.
func withCard(t *testing.T, size int) (*Server, *pretendedCard) {
	t.Helper()
	s := server(t, newEcho("m", "1"))
	p := &pretendedCard{content: make([]byte, size), closing: make(chan struct{}, 9)}
	s.Regions.Card = p.card
	return s, p
}

func TestCUDAMemory(t *testing.T) {
	s, p := withCard(t, 64)
	for i := range p.content {
		p.content[i] = byte(i)
	}
	if err := s.Regions.RegisterCUDA("c", sevens, 3, 48); err != nil {
		t.Fatal(err)
	}
	r := request(make([]byte, 8))
	r.Inputs[0].Data, r.Inputs[0].Memory = nil, &Memory{"c", 8, 8}
	r.Outputs = []RequestedOutput{{Name: "y", Memory: &Memory{"c", 32, 16}}}
	got, err := s.Infer(t.Context(), r)
	if err != nil || got.Outputs[0].Data != nil || *got.Outputs[0].Memory != (Memory{"c", 32, 8}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if x := binary.LittleEndian.Uint64(p.content[32:]); x != 0x0f0e0d0c0b0a0908 || p.content[40] != 40 {
		t.Errorf("the card holds %x", p.content)
	}
	// The allocation has 64 bytes, the region 48: no request reaches beyond the region.
	for _, m := range []Memory{{"none", 0, 8}, {"c", 48, 8}, {"c", 44, 8}, {"c", 1<<64 - 4, 8}, {"c", 0, 0}} {
		r.Inputs[0].Memory = &m
		if _, err := s.Infer(t.Context(), r); err == nil {
			t.Errorf("%+v was read", m)
		}
	}
	r.Inputs[0].Memory = &Memory{"c", 0, 8}
	r.Outputs[0].Memory = &Memory{"c", 44, 8}
	_, err = s.Infer(t.Context(), r)
	want(t, err, fault.Invalid, "Invalid offset + byte size for shared memory region: 'c'")
	r.Outputs[0].Memory = &Memory{"c", 0, 4}
	_, err = s.Infer(t.Context(), r)
	want(t, err, fault.Mistaken, "shared memory size specified with the request for output 'y' (4 bytes) should be at least 8 bytes to hold the results")

	p.fail = fault.New(fault.Unavailable, "the GPU failed")
	r.Outputs = nil
	_, err = s.Infer(t.Context(), r)
	want(t, err, fault.Unavailable, "the GPU failed")
}

func TestCUDARegistration(t *testing.T) {
	s, p := withCard(t, 64)
	var log bytes.Buffer
	s.Regions.log = slog.New(slog.NewTextHandler(&log, nil))
	register := func(name string, handle []byte, device, size uint64) error {
		return s.Regions.RegisterCUDA(name, handle, device, size)
	}
	for _, c := range []struct {
		name, text   string
		handle       []byte
		device, size uint64
	}{
		{"a", "failed to register shared memory region: invalid args", []byte("1"), 3, 8},
		{"a", "failed to register shared memory region: invalid args", append([]byte{0}, sevens...), 3, 8},
		{"a", "failed to register shared memory region: invalid args", sevens, 0, 8},
		{"a", "failed to register shared memory region: invalid args", sevens, 1 << 63, 8},
		{"a", "failed to register shared memory region 'a': invalid args", sevens, 3, 65},
	} {
		want(t, register(c.name, c.handle, c.device, c.size), fault.Invalid, c.text)
	}
	if !strings.Contains(log.String(), "the driver knows no such memory") {
		t.Errorf("the log does not say why: %s", &log)
	}
	<-p.closing // of the memory that was too small
	for _, name := range []string{"b", "a"} {
		if err := register(name, sevens, 3, 64); err != nil {
			t.Fatal(err)
		}
	}
	want(t, register("a", sevens, 3, 8), fault.Exists, "shared memory region 'a' already in manager")
	want(t, s.Regions.Register("a", "/k", 0, 8), fault.Exists, "shared memory region 'a' already in manager")
	all, err := s.Regions.CUDAStatus("")
	if d := cmp.Diff([]CUDARegionStatus{{"a", 3, 64}, {"b", 3, 64}}, all); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	named, err := s.Regions.CUDAStatus("b")
	if d := cmp.Diff([]CUDARegionStatus{{"b", 3, 64}}, named); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	if system, err := s.Regions.Status(""); err != nil || len(system) != 0 {
		t.Errorf("system memory: %v, %v", system, err)
	}
	_, err = s.Regions.Status("a")
	want(t, err, fault.NotFound, "The region named 'a' is registered as CUDA shared memory, not system shared memory")
	_, err = s.Regions.CUDAStatus("none")
	want(t, err, fault.NotFound, "Unable to find cuda shared memory region: 'none'")

	s.Regions.Unregister("") // of system memory
	if all, _ := s.Regions.CUDAStatus(""); len(all) != 2 {
		t.Errorf("left: %v", all)
	}
	s.Regions.UnregisterCUDA("b")
	<-p.closing
	s.Regions.UnregisterCUDA("")
	<-p.closing
	if all, err := s.Regions.CUDAStatus(""); err != nil || all == nil || len(all) != 0 || p.open != 0 {
		t.Errorf("left: %v, %v; %d open", all, err, p.open)
	}
}

// TestCUDARegionInUse: a region is closed after its last use, and is out of sight at once.
func TestCUDARegionInUse(t *testing.T) {
	s, p := withCard(t, 64)
	if err := s.Regions.RegisterCUDA("c", sevens, 3, 64); err != nil {
		t.Fatal(err)
	}
	r, err := s.Regions.use(&Memory{"c", 0, 8})
	if err != nil {
		t.Fatal(err)
	}
	s.Regions.UnregisterCUDA("c")
	if _, err := s.Regions.use(&Memory{"c", 0, 8}); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	select {
	case <-p.closing:
		t.Error("closed under its user")
	default:
	}
	r.users.Done()
	<-p.closing
}

// TestWithoutCards: what a server without an engine on cards answers.
func TestWithoutCards(t *testing.T) {
	s := server(t, newEcho("m", "1"))
	if err := s.Regions.RegisterCUDA("c", sevens, 0, 8); !errors.Is(err, ErrCUDA) {
		t.Error(err)
	}
	if all, err := s.Regions.CUDAStatus(""); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	s.Regions.UnregisterCUDA("")
}
