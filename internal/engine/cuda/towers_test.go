package cuda

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/model"
)

// towers are the models that are served, each with its number of tokens.
var towers = map[string]int{"ViT-B-32": 50, "ViT-B-16": 197, "ViT-L-14": 257, "ViT-L-14-336": 577}

// planOnly plans an instance as New does, for weights that have a place and no numbers.
func planOnly(t *testing.T, c model.Config, g *drivertest.GPU, o Options) *Engine {
	t.Helper()
	g.Unbacked = true
	o, err := quiet(g, o).resolve(c)
	if err != nil {
		t.Fatal(err)
	}
	w, p, err := plan(&model.Model{Config: c, Weights: model.Weights{Blocks: make([]model.Block, c.Layers)}}, o.Precision, o.blocks())
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{gpu: g, weights: w, rows: newRowPool(g, c.ImageSize, o.PinnedMemory), idle: make(chan *instance, o.Instances), closing: make(chan struct{})}
	e.spec = e.describe(o)
	size := sharedSizes{patch: patchShared(w), attention: attentionShared(o.Precision, c.Tokens())}
	if e.module, err = load(g, o.Precision, size, o.target); err != nil {
		t.Fatal(err)
	}
	if w.memory, err = g.Alloc(p.bytes); err != nil {
		t.Fatal(err)
	}
	p.place(w.memory)
	for number := range o.Instances {
		r, err := newInstance(e, number)
		if err != nil {
			t.Fatal(err)
		}
		e.idle <- r
		e.spec.Memory.DeviceFixed += int64(r.arena.bytes)
	}
	t.Cleanup(func() { checkClosed(t, e, g) })
	return e
}

// TestTowers plans the models at their full depth, up to batches of 512: every kernel of the smallest and the
// largest batch fits the card's limits (which the pretended driver refuses to pass) and the memory that there is.
func TestTowers(t *testing.T) {
	for name, tokens := range towers {
		c, ok := model.Preset(name)
		if !ok || c.Tokens() != tokens {
			t.Fatalf("%s has %d tokens, want %d", name, c.Tokens(), tokens)
		}
		for _, capability := range []driver.Capability{80, 89, 90, 100} {
			for _, p := range []engine.Precision{engine.FP16, engine.BF16, engine.FP32} {
				t.Run(fmt.Sprintf("%s/%d/%s", name, capability, p), func(t *testing.T) {
					g := drivertest.New()
					g.Device.Capability = capability
					if capability == 89 {
						g.Device.Multiprocessors, g.Device.SharedPerBlock = 58, 99<<10 // an L4
					}
					e := planOnly(t, c, g, Options{Instances: 1, MaxBatch: 512, Precision: p})
					checkTower(t, e, g, 1)
					checkTower(t, e, g, 512)
				})
			}
		}
	}
}

func checkTower(t *testing.T, e *Engine, g *drivertest.GPU, n int) {
	t.Helper()
	r := <-e.idle
	defer func() { e.idle <- r }()
	i := slices.Index(r.batches, n)
	if i < 0 {
		t.Fatalf("batches of %d are not planned: %v", n, r.batches)
	}
	g.Launched()
	if err := g.LaunchGraph(r.graphs[i], r.stream); err != nil {
		t.Fatal(err)
	}
	launches := g.Launched()
	// patch, product, norm, five a block, projection; many rows split the last query from its keys and values.
	want := 4 + 5*e.weights.config.Layers
	if n*e.weights.config.Tokens() > fewRows {
		want++
	}
	if len(launches) != want {
		t.Errorf("batch of %d: %d kernels, want %d", n, len(launches), want)
	}
	for _, l := range launches {
		size := elementSize(e.spec.Precision)
		switch {
		case strings.HasPrefix(l.Name, "gemm_"):
			checkProduct(t, g, l, size)
		case strings.HasPrefix(l.Name, "attention_"):
			checkAttention(t, e, g, l, size)
		case strings.HasPrefix(l.Name, "norm_"):
			a := *(*normArgs)(unsafe.Pointer(&l.Args[0]))
			checkSpan(t, g, l, "rows", a.x, int(a.rows), int(a.width), int(a.width), size)
			checkSpan(t, g, l, "sums", a.stats, int(a.rows), 1, 1, 8)
			if a.width > maxWidth || int(l.Grid.X)*4 < int(a.rows) {
				t.Errorf("%s: %d rows of %d in %d blocks", l.Name, a.rows, a.width, l.Grid.X)
			}
		case strings.HasPrefix(l.Name, "patch_"):
			a := *(*patchArgs)(unsafe.Pointer(&l.Args[0]))
			checkSpan(t, g, l, "patches", a.out, n*int(a.tokens), int(a.ld), int(a.ld), size)
			if rows := int(l.Grid.X) * int(l.Grid.X); rows+1 != int(a.tokens) || int(l.Grid.Y) != n || l.Shared < int(3*a.size*a.patch) {
				t.Errorf("%s: a grid of %v with %d bytes of shared memory for %d tokens", l.Name, l.Grid, l.Shared, a.tokens)
			}
		default:
			t.Errorf("%s is not looked at", l.Name)
		}
	}
}

func checkSpan(t *testing.T, g *drivertest.GPU, l drivertest.Record, what string, at driver.Pointer, rows, stride, columns, size int) {
	t.Helper()
	if err := g.Allocated(at, ((rows-1)*stride+columns)*size); err != nil {
		t.Errorf("%s: %s: %v", l.Name, what, err)
	}
}

// checkAttention checks addresses, the grid and the shared memory.
func checkAttention(t *testing.T, e *Engine, g *drivertest.GPU, l drivertest.Record, size int) {
	t.Helper()
	a := *(*attentionArgs)(unsafe.Pointer(&l.Args[0]))
	images, tokens, queries, width := int(l.Grid.Y), int(a.tokens), int(a.queries), e.weights.config.Width
	checkSpan(t, g, l, "queries", a.q, (images-1)*int(a.queryRowsPerImage)+queries, int(a.ldq), width, size)
	checkSpan(t, g, l, "keys", a.k, images*tokens, int(a.ldkv), width, size)
	checkSpan(t, g, l, "values", a.v, images*tokens, int(a.ldkv), width, size)
	checkSpan(t, g, l, "out", a.out, images*queries, int(a.ldOut), width, size)
	if tokens != e.weights.config.Tokens() || int(l.Grid.X) != e.weights.config.Heads || int(l.Grid.Z)*attentionTile < queries {
		t.Errorf("%s: a grid of %v for %d queries of %d tokens", l.Name, l.Grid, queries, tokens)
	}
	if want := attentionShared(e.spec.Precision, tokens); l.Shared != want {
		t.Errorf("%s: %d bytes of shared memory, want %d", l.Name, l.Shared, want)
	}
}

// TestTowerMemory: what a batch of the widest model takes, counted by hand, and the sentence where it is not there.
func TestTowerMemory(t *testing.T) {
	c, _ := model.Preset("ViT-L-14-336")
	g := drivertest.New()
	e := planOnly(t, c, g, Options{Instances: 1, MaxBatch: 512})
	// The residual stream, attention's result and the hidden layer, in fp16; 43 pairs of sums a row; class tokens.
	const rows = 512 * 577
	want := int64(2*rows*(1024+1024+4096) + 8*43*rows + 2*2*512*1024)
	if got := e.spec.Memory.DeviceFixed; got < want || got > want+8*alignment {
		t.Errorf("%d bytes, want %d", got, want)
	}
	small := drivertest.New()
	small.Room, small.Unbacked = 2<<30, true
	if _, err := newArena(small, e.weights, e.spec.Precision, 512); err == nil || !strings.Contains(err.Error(), "activations of a batch need 3") || !strings.Contains(err.Error(), "2048 of 2048 MiB are free") {
		t.Errorf("got %v", err)
	}
}

// TestPretendedLimits: the pretended driver refuses what a card would, or the tests above would show nothing.
func TestPretendedLimits(t *testing.T) {
	g := drivertest.New()
	f, err := g.Function(1, "kernel", 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	one := driver.Dim{X: 1, Y: 1, Z: 1}
	for _, c := range []struct {
		name string
		l    driver.Launch
		ok   bool
	}{
		{"plain", driver.Launch{Grid: one, Block: driver.Dim{X: 1024, Y: 1, Z: 1}, Shared: 64 << 10}, true},
		{"tall", driver.Launch{Grid: driver.Dim{X: 1 << 20, Y: 65535, Z: 65535}, Block: one}, true},
		{"too tall", driver.Launch{Grid: driver.Dim{X: 1, Y: 65536, Z: 1}, Block: one}, false},
		{"too deep", driver.Launch{Grid: driver.Dim{X: 1, Y: 1, Z: 65536}, Block: one}, false},
		{"too wide", driver.Launch{Grid: driver.Dim{X: 1 << 31, Y: 1, Z: 1}, Block: one}, false},
		{"empty", driver.Launch{Grid: driver.Dim{X: 1, Y: 0, Z: 1}, Block: one}, false},
		{"many threads", driver.Launch{Grid: one, Block: driver.Dim{X: 1024, Y: 2, Z: 1}}, false},
		{"much shared", driver.Launch{Grid: one, Block: one, Shared: 64<<10 + 1}, false},
	} {
		c.l.Function = f
		if err := g.Launch(c.l, 0); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
