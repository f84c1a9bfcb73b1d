package fp8

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vitrine-project/vitrine/internal/model"
)

// Options of a calibration. Zero values are usable, but for Progress.
type Options struct {
	Threads   int     // 0 means one a processor
	MinCosine float64 // that every image must reach; 0 means goal
	Model     string  // what people call it
	Plan      string  // the preprocessing
	Program   string  // the version of this program
	// Progress, if set, is told how many of all forward passes are done; passes that are found to be needed
	// later add to all.
	Progress func(done, all int)
}

// goal is what every image of a calibration must reach: MinCosine with a fifth of its error left for images
// that were not seen.
const goal = 1 - 0.8*(1-MinCosine)

// judged is how many images, at most, the search looks at. Scales come from all.
const judged = 32

// chunk is how many images are computed at a time.
const chunk = 8

// Calibrate finds the scales of a model's inputs, and which layers can be in fp8: as many as leave every
// image's embedding at a cosine of at least MinCosine with float32's. Images are pixels as FormatUint8HWC rows
// hold them.
func Calibrate(ctx context.Context, m *model.Model, images [][]byte, o Options) (*Calibration, error) {
	if len(images) == 0 {
		return nil, errors.New("fp8: no images to calibrate with")
	}
	if o.MinCosine == 0 {
		o.MinCosine = goal
	}
	t, err := newTower(m, ours, o.Threads)
	if err != nil {
		return nil, err
	}
	defer t.close()
	s := &search{tower: t, images: images, options: o}
	s.all = s.passes(len(images)) + (len(s.parts())+1)*s.passes(s.judged())
	blocks, err := s.run(ctx)
	if err != nil {
		return nil, err
	}
	return &Calibration{
		Format: fileFormat, Version: fileVersion, Program: o.Program, Model: o.Model, WeightsHash: m.WeightsHash, Plan: o.Plan,
		Images: len(images), MinCosine: s.worst, MeanCosine: s.mean, Share: share(m.Config, blocks), Blocks: blocks,
	}, nil
}

// search is one calibration under way.
type search struct {
	tower       *tower
	images      [][]byte
	options     Options
	want        [][]float32 // float32's embeddings
	scales      []Block     // of everything that may be in fp8
	done, all   int         // forward passes
	worst, mean float64     // cosine of the choice
}

func (s *search) passes(images int) int { return (images + chunk - 1) / chunk }

func (s *search) judged() int { return min(len(s.images), judged) }

// part is what is in fp8 as a whole: a block's qkv, or its MLP.
type part struct {
	block int
	mlp   bool
}

// parts are all that may be in fp8, in the model's order.
func (s *search) parts() (all []part) {
	for i := range s.tower.blocks {
		if i > 0 {
			all = append(all, part{i, false})
		}
		if i < len(s.tower.blocks)-1 {
			all = append(all, part{i, true})
		}
	}
	return all
}

// put copies a part's scales from one list to another.
func (p part) put(to, from []Block) {
	if p.mlp {
		to[p.block].FC1, to[p.block].FC2 = from[p.block].FC1, from[p.block].FC2
	} else {
		to[p.block].QKV = from[p.block].QKV
	}
}

// run observes, measures each part alone, leaves out what costs most for its work until every image is good enough,
// and takes back what there is room for.
func (s *search) run(ctx context.Context) ([]Block, error) {
	if err := s.observe(ctx); err != nil {
		return nil, err
	}
	errs, err := s.alone(ctx)
	if err != nil {
		return nil, err
	}
	chosen, err := s.reduce(ctx, errs)
	if err != nil {
		return nil, err
	}
	if chosen, err = s.refill(ctx, chosen, errs); err != nil {
		return nil, err
	}
	return s.choice(chosen, errs), nil
}

// alone is what each part costs, the others in float32: mean 1 - cosine.
func (s *search) alone(ctx context.Context) (map[part]float64, error) {
	errs := map[part]float64{}
	for _, p := range s.parts() {
		blocks := make([]Block, len(s.scales))
		p.put(blocks, s.scales)
		_, mean, err := s.measure(ctx, blocks, s.judged())
		if err != nil {
			return nil, err
		}
		errs[p] = 1 - mean
	}
	return errs, nil
}

// reduce leaves parts out until the others reach the goal.
func (s *search) reduce(ctx context.Context, errs map[part]float64) ([]part, error) {
	for chosen := s.parts(); ; {
		worst, err := s.try(ctx, chosen, errs)
		switch {
		case err != nil || worst >= s.options.MinCosine:
			return chosen, err
		case len(chosen) == 0:
			return nil, fmt.Errorf("fp8: cosine %.6f with nothing in fp8, want %g", worst, s.options.MinCosine)
		}
		chosen = s.without(chosen, errs, (1-worst)/(1-s.options.MinCosine))
	}
}

// refill takes parts back, the cheapest for its work first, as long as the goal is reached: reduce expects errors
// to add up, which is a little too much.
func (s *search) refill(ctx context.Context, chosen []part, errs map[part]float64) ([]part, error) {
	left := slices.DeleteFunc(s.parts(), func(p part) bool { return slices.Contains(chosen, p) })
	slices.SortFunc(left, func(p, q part) int { return cmp.Compare(errs[p]/s.work(p), errs[q]/s.work(q)) })
	for _, p := range left {
		more := append(slices.Clone(chosen), p)
		worst, err := s.try(ctx, more, errs)
		if err != nil || worst < s.options.MinCosine {
			return chosen, err
		}
		chosen = more
	}
	return chosen, nil
}

// try is the lowest cosine with these parts in fp8; of a choice that reaches the goal over all images it keeps what
// is told of it.
func (s *search) try(ctx context.Context, chosen []part, errs map[part]float64) (float64, error) {
	blocks := s.choice(chosen, errs)
	worst, mean, err := s.measure(ctx, blocks, s.judged())
	if err == nil && worst >= s.options.MinCosine && s.judged() < len(s.images) {
		worst, mean, err = s.measure(ctx, blocks, len(s.images)) // the others too
	}
	if err == nil && worst >= s.options.MinCosine {
		s.worst, s.mean = worst, mean
	}
	return worst, err
}

// choice is the blocks with the parts in fp8, and what is known of all.
func (s *search) choice(chosen []part, errs map[part]float64) []Block {
	blocks := make([]Block, len(s.scales))
	for p, e := range errs {
		if p.mlp {
			blocks[p.block].MLPError = e
		} else {
			blocks[p.block].QKVError = e
		}
	}
	for _, p := range chosen {
		p.put(blocks, s.scales)
	}
	return blocks
}

// without leaves out what costs most for its work. Errors of parts add up, nearly: if the error is excess times
// what is allowed, as much is left out as brings the sum down to that, and one part at least.
func (s *search) without(chosen []part, errs map[part]float64, excess float64) []part {
	var sum float64
	for _, p := range chosen {
		sum += errs[p]
	}
	left := slices.Clone(chosen)
	for allowed := sum / excess; len(left) > 0; {
		top := 0
		for i, p := range left {
			if errs[p]/s.work(p) > errs[left[top]]/s.work(left[top]) {
				top = i
			}
		}
		sum -= errs[left[top]]
		left = slices.Delete(left, top, top+1)
		if sum <= allowed {
			break
		}
	}
	return left
}

// work is a part's share of a block's matrix products.
func (s *search) work(p part) float64 {
	qkv, mlp, all := work(s.tower.config)
	if p.mlp {
		return mlp / all
	}
	return qkv / all
}

// work is a token's multiply-accumulates in a block's products: qkv, MLP, and all.
func work(c model.Config) (qkv, mlp, all float64) {
	w := float64(c.Width)
	qkv, mlp = 3*w*w, 2*w*float64(c.MLP)
	return qkv, mlp, qkv + mlp + w*w
}

// share is the part of the work of all blocks' products that is in fp8.
func share(c model.Config, blocks []Block) float64 {
	qkv, mlp, all := work(c)
	var in8 float64
	for _, b := range blocks {
		if b.QKV != 0 {
			in8 += qkv
		}
		if b.FC1 != 0 {
			in8 += mlp
		}
	}
	return in8 / (all * float64(len(blocks)))
}

// observe computes all images in float32 and notes how large the inputs of the layers become.
func (s *search) observe(ctx context.Context) error {
	top := make([][layers]float32, len(s.tower.blocks))
	watch := func(block int, l layer, x []float32) { top[block][l] = max(top[block][l], magnitude(x)) }
	err := s.each(ctx, len(s.images), func(lo, hi int) error {
		got, err := s.tower.embed(s.images[lo:hi], nil, watch)
		s.want = append(s.want, got...)
		return err
	})
	for i, t := range top {
		b := Block{QKV: inputScale(t[layerQKV]), FC1: inputScale(t[layerFC1]), FC2: inputScale(t[layerFC2])}
		for _, v := range t {
			if err == nil && math.IsInf(float64(v), 1) {
				err = fmt.Errorf("fp8: block %d: the model's numbers are infinite or not numbers", i)
			}
		}
		s.scales = append(s.scales, b)
	}
	return err
}

// measure is the lowest and the mean cosine over the first n images.
func (s *search) measure(ctx context.Context, blocks []Block, n int) (worst, mean float64, err error) {
	worst = 1
	err = s.each(ctx, n, func(lo, hi int) error {
		got, err := s.tower.embed(s.images[lo:hi], blocks, nil)
		for i := range got {
			c := Cosine(got[i], s.want[lo+i])
			worst, mean = min(worst, c), mean+c/float64(n)
		}
		return err
	})
	return worst, mean, err
}

// each calls f for chunks of the first n images.
func (s *search) each(ctx context.Context, n int, f func(lo, hi int) error) error {
	for lo := 0; lo < n; lo += chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(lo, min(lo+chunk, n)); err != nil {
			return err
		}
		s.done++
		s.all = max(s.all, s.done)
		if s.options.Progress != nil {
			s.options.Progress(s.done, s.all)
		}
	}
	return nil
}

// Cosine is the cosine of the angle between two vectors, 0 if one of them is zero.
func Cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i, x := range a {
		y := float64(b[i])
		ab += float64(x) * y
		aa += float64(x) * float64(x)
		bb += y * y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}
