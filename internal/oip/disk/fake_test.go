package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// side and dim are those of the fake plants' model.
const (
	side = 2
	dim  = 4
)

// fakePlant embeds whatever comes as its version; "bad" image files fail.
type fakePlant struct {
	order Order
	works *works
	hold  chan struct{} // requests wait until it is closed; nil does not wait
	warm  bool
}

func (p *fakePlant) Metadata() service.Metadata {
	return service.Metadata{Name: p.order.Name, Version: p.order.Version, ImageSize: side, Dim: dim, Space: "s" + p.order.Version, MaxBatch: int(p.order.Config.MaxBatchSize)}
}
func (p *fakePlant) Ready() bool { return p.warm }
func (p *fakePlant) Infer(_ context.Context, r *service.Request) (*service.Response, error) {
	if p.hold != nil && !r.Trial {
		<-p.hold
	}
	p.works.note(func(w *works) { w.requests = append(w.requests, *r) })
	results := make([]service.Result, len(r.Items))
	for i, item := range r.Items {
		if string(item.Data) == "bad" {
			return nil, fault.New(fault.Invalid, "not an image")
		}
		results[i].Embedding = make([]float32, dim)
	}
	return &service.Response{Results: results}, nil
}
func (p *fakePlant) WarmUp(context.Context) error { p.warm = true; return nil }
func (p *fakePlant) Close() error {
	p.works.note(func(w *works) { w.events = append(w.events, "close "+p.String()); w.live-- })
	return nil
}
func (p *fakePlant) String() string { return p.order.Name + "/" + p.order.Version }

// works makes fake plants. A version whose folder holds a file "fails" cannot be made; its content says why.
type works struct {
	mu        sync.Mutex
	events    []string
	requests  []service.Request
	live      int
	busy, top int           // builds at the same time
	gate      chan struct{} // builds wait for one element each; nil does not wait
	hold      chan struct{} // of the next plants
	built     []*fakePlant
	full      bool // there is no memory
}

func (w *works) note(f func(*works)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

func (w *works) build(_ context.Context, o Order) (Plant, error) {
	w.note(func(w *works) { w.busy++; w.top = max(w.top, w.busy) })
	defer w.note(func(w *works) { w.busy-- })
	if w.gate != nil {
		<-w.gate
	}
	if w.full {
		return nil, fault.New(fault.Exhausted, "no memory")
	}
	if why, err := os.ReadFile(filepath.Join(o.Path, "fails")); err == nil {
		return nil, errors.New(string(why))
	}
	p := &fakePlant{order: o, works: w, hold: w.hold}
	w.note(func(w *works) {
		w.events = append(w.events, "build "+p.String())
		w.live++
		w.built = append(w.built, p)
	})
	return p, nil
}

// since returns what happened since the last call.
func (w *works) since() (events []string) {
	w.note(func(w *works) { events, w.events = w.events, nil })
	slices.Sort(events)
	return events
}

// bench is a repository on disk, what serves it and what keeps both in step.
type bench struct {
	t        *testing.T
	root     string
	works    *works
	registry *oip.Registry
	keeper   *Keeper
	server   *oip.Server
	staged   int
}

const imageConfig = `backend: "vitrine"
max_batch_size: 8
input { name: "INPUT0" data_type: TYPE_FP32 dims: [ 3, 2, 2 ] }
output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ] }
`

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, root: t.TempDir(), works: &works{}}
	b.open(4)
	t.Cleanup(func() {
		if err := b.registry.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if b.works.live != 0 {
			t.Errorf("%d plants were not closed", b.works.live)
		}
	})
	return b
}

func (b *bench) open(threads int) {
	b.t.Helper()
	r, err := Open(Options{Dirs: []string{b.root}, Build: b.works.build, Threads: threads, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.registry = oip.NewRegistry(r)
	b.keeper = NewKeeper(r, b.registry)
	b.server = oip.NewServer(b.registry, nil)
}

// put writes a file of the repository, in one step.
func (b *bench) put(path, text string) {
	b.t.Helper()
	full := filepath.Join(b.root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.staged++
	next := filepath.Join(b.root, fmt.Sprintf(".staged%d", b.staged))
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(next, full); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) remove(path string) {
	b.t.Helper()
	if err := os.RemoveAll(filepath.Join(b.root, path)); err != nil {
		b.t.Fatal(err)
	}
}

// version writes a version that can be made, or that fails.
func (b *bench) version(model, version string, fails bool) {
	b.t.Helper()
	b.put(filepath.Join(model, version, "weights"), strings.Repeat("x", b.staged+1)) // another size each time
	if fails {
		b.put(filepath.Join(model, version, "fails"), "RuntimeError: this version does not start")
	} else {
		b.remove(filepath.Join(model, version, "fails"))
	}
}

// poll looks twice: a change is acted upon when it is seen the second time.
func (b *bench) poll() {
	b.keeper.Poll(b.t.Context())
	b.keeper.Poll(b.t.Context())
}

// answer is the version that answers a request to a model, or what it is told.
func (b *bench) answer(model string) string {
	r := &oip.Request{Model: model, Inputs: []oip.Input{{Name: "INPUT0", DType: tensor.FP32, Shape: []int64{1, 3, side, side}, Data: make([]byte, 4*3*side*side)}}}
	got, err := b.server.Infer(b.t.Context(), r)
	if err != nil {
		return err.Error()
	}
	return got.Version
}
