package fp8

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/model"
)

func images(n int) (all [][]byte) {
	for i := range n {
		all = append(all, pixels(i))
	}
	return all
}

// reached is the lowest cosine of a calibration over images, computed anew.
func reached(t *testing.T, m *model.Model, c *Calibration, all [][]byte) float64 {
	t.Helper()
	w := open(t, m, ours)
	want, err := w.embed(all, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.embed(all, c.Blocks, nil)
	if err != nil {
		t.Fatal(err)
	}
	worst := 1.0
	for i := range got {
		worst = min(worst, Cosine(got[i], want[i]))
	}
	return worst
}

// TestCalibrateKeepsItsGoal: the stricter the goal, the less is in fp8; what is chosen reaches it.
func TestCalibrateKeepsItsGoal(t *testing.T) {
	for _, outliers := range []bool{false, true} {
		m := synthetic(t, tiny(model.GELU), outliers)
		all := images(11)
		last := 1.1
		for _, goal := range []float64{0.5, 1 - 3e-4, 1 - 5e-5, 1 - 1e-9} {
			c, err := Calibrate(t.Context(), m, all, Options{Threads: 2, MinCosine: goal, Model: "tiny", Plan: "p", Program: "test"})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("outliers %v, goal %.9f: share %.2f, cosine %.6f", outliers, goal, c.Share, c.MinCosine)
			if err := errors.Join(c.validate(), c.Check(m)); err != nil {
				t.Error(err)
			}
			if got := reached(t, m, c, all); got < goal || math.Abs(got-c.MinCosine) > 1e-9 {
				t.Errorf("goal %.9f: cosine %.9f, reported %.9f", goal, got, c.MinCosine)
			}
			if c.Share > last {
				t.Errorf("goal %.9f: %.2f is in fp8, of a lower goal %.2f", goal, c.Share, last)
			}
			last = c.Share
			if c.Images != 11 || c.Model != "tiny" || c.MeanCosine < c.MinCosine {
				t.Errorf("%+v", c)
			}
		}
		if last != 0 {
			t.Errorf("fp8 within 1e-9 of float32: %.2f", last)
		}
	}
}

// TestCalibrateChoosesEverything where anything will do, but what no kernel computes.
func TestCalibrateChoosesEverything(t *testing.T) {
	m := synthetic(t, tiny(model.QuickGELU), false)
	c, err := Calibrate(t.Context(), m, images(2), Options{MinCosine: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range c.Blocks {
		if (b.QKV != 0) != (i > 0) || (b.FC1 != 0) != (i < 2) || (b.FC2 != 0) != (i < 2) {
			t.Errorf("block %d: %+v", i, b)
		}
		if (b.QKVError > 0) != (i > 0) || (b.MLPError > 0) != (i < 2) {
			t.Errorf("block %d: what a part costs is not told: %+v", i, b)
		}
	}
	// qkv of two blocks and the MLP of two, width 128 and MLP 256.
	if want := (2*3*128*128 + 2*2*128*256) / (3 * (4.*128*128 + 2*128*256)); math.Abs(c.Share-want) > 1e-9 {
		t.Errorf("share %.4f, want %.4f", c.Share, want)
	}
}

func TestCalibrateRefuses(t *testing.T) {
	m := synthetic(t, tiny(model.GELU), false)
	if _, err := Calibrate(t.Context(), m, nil, Options{}); err == nil {
		t.Error("no images: want an error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Calibrate(ctx, m, images(1), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Calibrate(t.Context(), m, [][]byte{{1, 2}}, Options{}); err == nil || !strings.Contains(err.Error(), "2 bytes") {
		t.Errorf("a short image: %v", err)
	}
}

func TestProgress(t *testing.T) {
	m := synthetic(t, tiny(model.GELU), false)
	var done, all int
	_, err := Calibrate(t.Context(), m, images(9), Options{MinCosine: 1 - 1e-9, Progress: func(d, a int) {
		if d != done+1 || a < d || a < all {
			t.Errorf("%d of %d after %d of %d", d, a, done, all)
		}
		done, all = d, a
	}})
	if err != nil {
		t.Fatal(err)
	}
	if done == 0 {
		t.Error("no progress")
	}
}

func valid() *Calibration {
	return &Calibration{Format: fileFormat, Version: fileVersion, Model: "m", WeightsHash: "sha256:1", Images: 3, MinCosine: 0.9995,
		Blocks: []Block{{FC1: 0.1, FC2: 0.2, MLPError: 1e-4}, {QKV: 0.3}}}
}

func TestFileRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.json")
	want := valid()
	if err := want.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestFileRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Calibration)
		want   string
	}{
		"format":     {func(c *Calibration) { c.Format = "x" }, "no calibration"},
		"version":    {func(c *Calibration) { c.Version = 2 }, "version 2"},
		"no blocks":  {func(c *Calibration) { c.Blocks = nil }, "no blocks"},
		"negative":   {func(c *Calibration) { c.Blocks[1].QKV = -1 }, "block 1: a scale of -1"},
		"huge":       {func(c *Calibration) { c.Blocks[0].FC1 = 1e20 }, "a scale of 1e+20"},
		"half":       {func(c *Calibration) { c.Blocks[0].FC2 = 0 }, "only one is in fp8"},
		"first qkv":  {func(c *Calibration) { c.Blocks[0].QKV = 1 }, "qkv of the first block"},
		"last mlp":   {func(c *Calibration) { c.Blocks[1].FC1, c.Blocks[1].FC2 = 1, 1 }, "MLP of the last block"},
		"not finite": {func(c *Calibration) { c.Blocks[1].QKV = float32(math.Inf(1)) }, "a scale of +Inf"},
	} {
		v := valid()
		c.change(v)
		if err := v.validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", name, c.want, err)
		}
	}
	for _, text := range []string{"", "[]", `{"format":"vitrine fp8 calibration","version":1}`, strings.Repeat(" ", maxFile+1)} {
		path := filepath.Join(t.TempDir(), "c.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%.40q: want an error that names the file, got %v", text, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestCheck(t *testing.T) {
	c := valid()
	m := &model.Model{WeightsHash: c.WeightsHash}
	m.Config.Layers = 2
	if err := c.Check(m); err != nil {
		t.Error(err)
	}
	m.Config.Layers = 3
	if err := c.Check(m); err == nil {
		t.Error("three blocks: want an error")
	}
	m.WeightsHash = "sha256:2"
	if err := c.Check(m); err == nil || !strings.Contains(err.Error(), "vitrine model calibrate") {
		t.Errorf("other weights: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"format":"vitrine fp8 calibration","version":1,"blocks":[{"fc1":0.1,"fc2":0.2},{"qkv":0.3}]}`))
	f.Add([]byte(`{"blocks":[{"qkv":1e400}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(text)
		if err != nil {
			return
		}
		for i, b := range c.Blocks {
			for _, s := range []float32{b.QKV, b.FC1, b.FC2} {
				if s != 0 && !(s > 0 && !math.IsInf(float64(1/s), 0)) {
					t.Errorf("block %d: a scale of %g was believed", i, s)
				}
			}
		}
		if c.Blocks[0].QKV != 0 || c.Blocks[len(c.Blocks)-1].FC1 != 0 {
			t.Error("a layer that no kernel computes was believed")
		}
	})
}

// TestPhotos: they are photographs, of the right size, and not all the same.
func TestPhotos(t *testing.T) {
	for _, size := range []int{32, 64, 224, 336} {
		all := Photos(size)
		if len(all) < 4 {
			t.Fatalf("%d photographs", len(all))
		}
		for i, p := range all {
			if len(p) != 3*size*size {
				t.Fatalf("size %d: %d bytes", size, len(p))
			}
			var sum, squares float64
			for _, v := range p {
				sum, squares = sum+float64(v), squares+float64(v)*float64(v)
			}
			n := float64(len(p))
			if d := math.Sqrt(squares/n - sum*sum/n/n); d < 20 {
				t.Errorf("photograph %d: deviation %.1f", i, d)
			}
		}
	}
	if got := Photos(thumb)[0]; string(got) != string(photos[:len(got)]) {
		t.Error("a photograph of its own size has changed")
	}
}
