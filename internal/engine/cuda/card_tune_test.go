package cuda

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestCardTune writes tuned.txt to the file that VITRINE_CARD_TUNE names: for each batch size it exchanges one
// product's variant after the other in a whole forward pass, and keeps what makes that faster. A product alone is
// a bad judge: in the pass its inputs have just been written and its successor wants to start beside it.
// VITRINE_CARD_PRECISION=fp8 tries the products around fp8, as calibrated.
func TestCardTune(t *testing.T) {
	path := os.Getenv("VITRINE_CARD_TUNE")
	if path == "" {
		t.Skip("VITRINE_CARD_TUNE is not set")
	}
	m, _ := model.Preset("ViT-B-32-quickgelu")
	w, o, tried := synthetic(t, m, false), Options{Precision: engine.FP16, Instances: 1, MaxBatch: 512}, layers
	if os.Getenv("VITRINE_CARD_PRECISION") == string(engine.FP8) {
		needHopper(t)
		o.Precision, o.Calibration, tried = engine.FP8, calibrated(t, w, photographs(t, m), 0), fp8Layers
	}
	e := openCard(t, w, o)
	r := <-e.idle
	defer func() { e.idle <- r }()
	rows, _ := filled(t, e, 1)
	err := driver.Do(e.gpu, func() error {
		c := &card{GPU: e.gpu, t: t, stream: r.stream}
		pixels := c.alloc(len(rows[0].Bytes()))
		c.check(e.gpu.CopyIn(pixels, rows[0].Bytes()))
		at := make([]driver.Pointer, e.spec.MaxBatch)
		for i := range at {
			at[i] = pixels
		}
		for _, n := range r.batches {
			r.fill(tensor.FormatUint8HWC, at[:n])
			e.tune(c, r, n, tried)
		}
		return c.Free(pixels)
	})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, l := range slices.Concat(layers, fp8Layers) {
		for _, w := range tuned()[kind(l.e, l.n, l.k)] {
			fmt.Fprintf(&table, "%s %d %d %d %s\n", kind(l.e, l.n, l.k).e, l.n, l.k, w.m, w.name)
		}
	}
	if err := os.WriteFile(path, []byte(table.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// kind is the shape that the table has.
func kind(e epilogue, n, k int) shape { return shape{e.measuredAs(), n, k} }

// tune improves the table's entries for batches of n.
func (e *Engine) tune(c *card, r *instance, n int, tried []layer) {
	rows := n * e.weights.config.Tokens()
	measure := func() float64 {
		const launches = 4
		best := math.Inf(1)
		for range 2 {
			best = min(best, c.time(launches, func(int) { c.check(r.arena.forward(e.launcher(r.stream), e.weights, n)) }))
		}
		return best
	}
	before := measure()
	best := before
	for _, l := range tried {
		entry := entryFor(kind(l.e, l.n, l.k), rows)
		if entry.name == "" {
			v, err := choose(e.module.variants, rows, l.n, l.k, l.e, e.gpu.Info().Multiprocessors)
			c.check(err)
			entry.name = v.name
		}
		for _, v := range e.module.variants {
			if !v.hopper || !v.fits(l.n, l.k, l.e) || rows > 3200 && v.cols < 128 || v.name == entry.name {
				continue
			}
			old := entry.name
			entry.name = v.name
			if us := measure(); us < 0.997*best {
				best = us
			} else {
				entry.name = old
			}
		}
		fmt.Printf("b%d %s: %s\n", n, l.name, entry.name)
	}
	fmt.Printf("b%d: %.1f -> %.1f us\n", n, before, best)
}

// entryFor is the table's entry for exactly that many rows.
func entryFor(s shape, rows int) *winner {
	for i := range tuned()[s] {
		if w := &tuned()[s][i]; w.m == rows {
			return w
		}
	}
	tuned()[s] = append(tuned()[s], winner{rows, ""})
	return &tuned()[s][len(tuned()[s])-1]
}
