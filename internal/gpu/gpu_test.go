package gpu

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

func put(p *byte, length uint32, text string) code {
	b := append([]byte(text), 0)
	for i, c := range b {
		if uint32(i) < length {
			*at(p, i) = c
		}
	}
	return success
}

// fakeLibrary answers as NVML does for two cards: the second is an old one that reads only its memory.
func fakeLibrary() *library {
	const unsupported code = 3
	second := func(h handle) bool { return h == 101 }
	number := func(v uint32) func(handle, *uint32) code {
		return func(h handle, p *uint32) code {
			if second(h) {
				return unsupported
			}
			*p = v
			return success
		}
	}
	kinds := func(values ...uint32) func(handle, uint32, *uint32) code {
		return func(h handle, kind uint32, p *uint32) code { return number(values[kind])(h, p) }
	}
	return &library{
		init: func() code { return success },
		errorString: func(c code) string {
			return map[code]string{3: "Not Supported", 9: "Driver Not Loaded", 15: "GPU is lost"}[c]
		},
		driverVersion:     func(p *byte, n uint32) code { return put(p, n, "580.95.05") },
		cudaDriverVersion: func(v *int32) code { *v = 13020; return success },
		count:             func(n *uint32) code { *n = 2; return success },
		handleByIndex:     func(i uint32, h *handle) code { *h = handle(100 + i); return success },
		name: func(h handle, p *byte, n uint32) code {
			return put(p, n, map[bool]string{false: "NVIDIA H100 80GB HBM3", true: "Tesla K80"}[second(h)])
		},
		uuid: func(h handle, p *byte, n uint32) code {
			return put(p, n, map[bool]string{false: "GPU-aa", true: "GPU-bb"}[second(h)])
		},
		memory: func(_ handle, m *memoryInfo) code {
			*m = memoryInfo{total: 80 << 30, free: 70 << 30, used: 10 << 30}
			return success
		},
		utilization: func(h handle, u *utilization) code { u.gpu, u.memory = 37, 5; return number(0)(h, new(uint32)) },
		power:       number(67_500),
		powerLimit:  number(700_000),
		energy:      func(h handle, p *uint64) code { *p = 1_234_567; return number(0)(h, new(uint32)) },
		temperature: kinds(41),
		clock:       kinds(0, 1980, 2619),
	}
}

func TestReadsCards(t *testing.T) {
	n, err := fakeLibrary().open()
	if err != nil {
		t.Fatal(err)
	}
	want := []Card{{0, "NVIDIA H100 80GB HBM3", "GPU-aa", "580.95.05"}, {1, "Tesla K80", "GPU-bb", "580.95.05"}}
	if diff := cmp.Diff(want, n.Cards()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n.Driver() != "580.95.05" || n.CUDA() != "13.2" {
		t.Errorf("driver %q, CUDA %q", n.Driver(), n.CUDA())
	}
	for i, want := range []Reading{
		{MemoryTotal: 80 << 30, MemoryUsed: 10 << 30, Utilization: .37, Power: 67.5, PowerLimit: 700, Energy: 1234.567, Temperature: 41, ClockSM: 1980e6, ClockMemory: 2619e6},
		{MemoryTotal: 80 << 30, MemoryUsed: 10 << 30, Utilization: -1, Power: -1, PowerLimit: -1, Energy: -1, Temperature: -1, ClockSM: -1, ClockMemory: -1},
	} {
		got, err := n.Read(i)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("card %d: %v (-want +got)\n%s", i, err, diff)
		}
	}
}

// TestAnOldDriverLacksFunctions leaves out what is optional.
func TestAnOldDriverLacksFunctions(t *testing.T) {
	l := fakeLibrary()
	l.cudaDriverVersion, l.utilization, l.power, l.powerLimit, l.energy, l.temperature, l.clock = nil, nil, nil, nil, nil, nil, nil
	n, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	r, err := n.Read(0)
	if err != nil || r.MemoryUsed != 10<<30 || r.Power != -1 || r.ClockSM != -1 || r.Energy != -1 || n.CUDA() != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestErrorsHaveTheLibrarysText(t *testing.T) {
	l := fakeLibrary()
	l.init = func() code { return 9 }
	if _, err := l.open(); !errors.Is(err, ErrNoDriver) || !strings.Contains(err.Error(), "Driver Not Loaded") {
		t.Errorf("got %v", err)
	}
	l = fakeLibrary()
	l.memory = func(handle, *memoryInfo) code { return 15 }
	n, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Read(1); err == nil || !strings.Contains(err.Error(), "GPU is lost (NVML error 15)") {
		t.Errorf("got %v", err)
	}
}

// counter is a card that counts its readings and spends a joule for each.
type counter struct {
	reads  int
	broken bool
}

func (c *counter) Cards() []Card { return []Card{{Index: 0, Name: "card", UUID: "GPU-1"}} }

func (c *counter) Read(int) (Reading, error) {
	c.reads++
	if c.broken {
		return Reading{}, errors.New("lost")
	}
	return Reading{Energy: 1000 + float64(c.reads)}, nil
}

func TestSamplesAtMostOnceInAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(counter)
		s := NewSampler(c, 2*time.Second)
		for i, step := range []struct {
			wait  time.Duration
			reads int
			spent float64
		}{{0, 2, 1}, {time.Second, 2, 1}, {time.Second, 3, 2}, {time.Hour, 4, 3}} {
			time.Sleep(step.wait)
			got := s.Sample()
			if len(got) != 1 || c.reads != step.reads || got[0].Spent != step.spent || got[0].UUID != "GPU-1" {
				t.Errorf("step %d: %d reads, %+v", i, c.reads, got)
			}
		}
		c.broken = true
		time.Sleep(time.Minute)
		if got := s.Sample(); len(got) != 0 {
			t.Errorf("a card that cannot be read: %+v", got)
		}
	})
}

func TestAMachineWithoutTheDriverSaysSo(t *testing.T) {
	n, err := Open()
	if err == nil {
		t.Skipf("this machine has a driver: %s", n.Driver())
	}
	if !errors.Is(err, ErrNoDriver) {
		t.Errorf("got %v", err)
	}
}

// TestThisMachinesCards reads what there is.
func TestThisMachinesCards(t *testing.T) {
	n, err := Open()
	if err != nil || len(n.Cards()) == 0 {
		t.Skipf("no card: %v", err)
	}
	for i, c := range n.Cards() {
		r, err := n.Read(i)
		t.Logf("%+v %+v, driver %s, CUDA %s", c, r, n.Driver(), n.CUDA())
		if err != nil || c.Name == "" || !strings.HasPrefix(c.UUID, "GPU-") || r.MemoryTotal < 1<<30 || r.MemoryUsed > r.MemoryTotal {
			t.Errorf("card %d: %+v %+v %v", i, c, r, err)
		}
	}
}

func at(p *byte, i int) *byte { return (*byte)(unsafe.Add(unsafe.Pointer(p), i)) }
