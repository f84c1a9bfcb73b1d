package preproc

import (
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/preproc/resize"
)

// The hash is part of the identity of every stored vector: if this test fails, all of them change.
func TestPlanHashIsStable(t *testing.T) {
	const want = "resize shortest 224 bicubic antialias; centre-crop 224; rgb; scale 1/255; " +
		"normalise mean 0.48145467,0.4578275,0.40821072 std 0.26862955,0.2613026,0.2757771"
	p := clip224()
	if got := p.String(); got != want {
		t.Errorf("the plan reads\n%s, want\n%s", got, want)
	}
	if got := p.Hash(); got != "sha256:078b0e2d3e53590f55b122640dbeedbbbd66d87c9067c22c47c14c79e76627b6" {
		t.Errorf("hash %s", got)
	}
}

func TestPlanHashTellsPlansApart(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*Plan){
		"default":  func(*Plan) {},
		"size":     func(p *Plan) { p.Size = 336 },
		"squash":   func(p *Plan) { p.Resize = Squash },
		"longest":  func(p *Plan) { p.Resize = Longest },
		"bilinear": func(p *Plan) { p.Filter = resize.Bilinear },
		"mean":     func(p *Plan) { p.Mean[2] = 0.40821074 },
		"std":      func(p *Plan) { p.Std[0] = 0.5 },
		"exif":     func(p *Plan) { p.EXIF = true },
	} {
		p := clip224()
		change(&p)
		if other, ok := seen[p.Hash()]; ok {
			t.Errorf("%s and %s have one hash", name, other)
		}
		seen[p.Hash()] = name
	}
}

func TestPlanFor(t *testing.T) {
	c := model.Config{ImageSize: 336, Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.25, 0.5, 1}, Interpolation: "bilinear", ResizeMode: "squash"}
	want := Plan{Size: 336, Resize: Squash, Filter: resize.Bilinear, Mean: c.Mean, Std: c.Std}
	if got := PlanFor(c); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := PlanFor(model.Config{ImageSize: 224}); got.Resize != Shortest || got.Filter != resize.Bicubic || got.Std != clipStd {
		t.Errorf("defaults: %+v", got)
	}
}

func TestNewRefusesImpossiblePlans(t *testing.T) {
	for name, change := range map[string]func(*Plan){
		"impossible image size 0": func(p *Plan) { p.Size = 0 },
		"unknown resize mode":     func(p *Plan) { p.Resize = "fit" },
		"unknown filter":          func(p *Plan) { p.Filter = 7 },
		"deviation":               func(p *Plan) { p.Std[1] = 0 },
	} {
		p := clip224()
		change(&p)
		if _, err := New(p, Options{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(clip224(), Options{JPEG: "mozjpeg"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an unknown JPEG decoder: %v", err)
	}
}

func TestGeometry(t *testing.T) {
	rect := func(x, y, w, h int) resize.Rect { return resize.Rect{X: x, Y: y, W: w, H: h} }
	for _, c := range []struct {
		mode Resize
		w, h int
		want geometry
	}{
		{Shortest, 640, 480, geometry{298, 224, rect(37, 0, 224, 224), 0, 0}},
		{Shortest, 480, 640, geometry{224, 298, rect(0, 37, 224, 224), 0, 0}},
		{Shortest, 224, 225, geometry{224, 225, rect(0, 0, 224, 224), 0, 0}}, // 0.5 rounds to 0
		{Shortest, 224, 227, geometry{224, 227, rect(0, 2, 224, 224), 0, 0}}, // 1.5 rounds to 2
		{Shortest, 1, 1, geometry{224, 224, rect(0, 0, 224, 224), 0, 0}},
		{Shortest, 1, 3, geometry{224, 672, rect(0, 224, 224, 224), 0, 0}},
		{Squash, 640, 480, geometry{224, 224, rect(0, 0, 224, 224), 0, 0}},
		{Longest, 640, 480, geometry{224, 168, rect(0, 0, 224, 168), 0, 28}},
		{Longest, 3, 400, geometry{2, 224, rect(0, 0, 2, 224), 111, 0}},
		{Longest, 1, 4000, geometry{1, 224, rect(0, 0, 1, 224), 111, 0}},
	} {
		p := clip224()
		p.Resize = c.mode
		if got := p.geometry(c.w, c.h); got != c.want {
			t.Errorf("%s %dx%d: %+v, want %+v", c.mode, c.w, c.h, got, c.want)
		}
	}
}
