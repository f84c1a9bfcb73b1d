package model

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

// SyntheticOptions choose among synthetic weights. docs/synthetic-weights.md is their definition.
type SyntheticOptions struct {
	Seed     uint64
	Outliers bool // plant a few channels of large magnitude, as trained transformers have them
}

// Synthetic makes a model whose weights are numbers without meaning, of the magnitudes that a trained
// model has. Element i of a tensor depends on the seed, the tensor's name and i alone, so that any
// part can be computed anywhere, in any order.
func Synthetic(c Config, o SyntheticOptions) (*Model, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("synthetic: %w", err)
	}
	m := &Model{Config: c, Source: Source{Reference: "synthetic", ModelName: c.Architecture, Synthetic: true}}
	params := m.Weights.parameters(c)
	if err := generate(params, c, o.Seed); err != nil {
		return nil, err
	}
	if o.Outliers {
		m.plantOutliers(o.Seed)
	}
	var err error
	m.WeightsHash, err = m.hash()
	return m, err
}

// span is a part of a tensor that one worker fills.
type span struct {
	dst         []byte
	key, first  uint64
	scale, mean float32
}

const spanLen = 1 << 20 // elements

// generate gives every parameter memory in one arena and fills it in parallel.
func generate(params []parameter, c Config, seed uint64) error {
	total := 0
	for _, p := range params {
		total += p.len()
	}
	arena := asBytes(make([]float32, total))
	var spans []span
	for _, p := range params {
		n := p.len()
		data := arena[: 4*n : 4*n]
		arena = arena[4*n:]
		*p.dst = Tensor{Name: towerPrefix + p.name, DType: tensor.FP32, Shape: p.shape, Data: data}
		mean, sigma := p.distribution(c)
		s := span{key: syntheticKey(seed, towerPrefix+p.name), mean: float32(mean), scale: float32(sigma * unit)}
		for first := 0; first < n; first += spanLen {
			s.first, s.dst = uint64(first), data[4*first:4*min(first+spanLen, n)]
			spans = append(spans, s)
		}
	}
	return parallel(len(spans), func(i int) error { spans[i].fill(); return nil })
}

// distribution is the mean and deviation of a parameter's elements.
func (p parameter) distribution(c Config) (mean, sigma float64) {
	w, depth := float64(c.Width), float64(2*c.Layers)
	switch name := p.name[strings.LastIndex("."+p.name, "."):]; {
	case p.name == "conv1.weight":
		return 0, 1 / math.Sqrt(float64(3*c.PatchSize*c.PatchSize))
	case strings.Contains(p.name, "ln_") && name == "weight":
		return 1, 0.125
	case name == "bias" || name == "in_proj_bias":
		return 0, 0.0625
	case strings.HasSuffix(p.name, "attn.out_proj.weight"):
		return 0, 2 / math.Sqrt(w*depth)
	case strings.HasSuffix(p.name, "mlp.c_proj.weight"):
		return 0, 2 / math.Sqrt(float64(c.MLP)*depth)
	}
	return 0, 1 / math.Sqrt(w) // embeddings, in_proj, c_fc, proj
}

// unit makes the sum of four 16-bit numbers, whose deviation is 65536/sqrt(3), one of deviation 1.
var unit = math.Sqrt(3) / 65536

const (
	gamma   = 0x9e3779b97f4a7c15 // 2^64 divided by the gamma ratio: splitmix64's increment
	middle  = 2 * 65535          // of the sum of four 16-bit numbers
	version = "vitrine synthetic 1"
)

// syntheticKey is the first 8 bytes, little-endian, of SHA-256("vitrine synthetic 1/<seed>/<name>").
func syntheticKey(seed uint64, name string) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%s", version, seed, name))
	return binary.LittleEndian.Uint64(sum[:])
}

// mix is splitmix64's output function (Steele, Lea and Flood 2014, with Stafford's constants).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// counted is the number that a key has at index i.
func counted(key, i uint64) uint64 { return mix(key + (i+1)*gamma) }

// fill writes float32(sum of the number's four 16-bit parts - middle) * scale + mean, rounded after
// each operation: the conversions keep a compiler from fusing them.
func (s span) fill() {
	state := s.key + s.first*gamma
	for i := 0; i+4 <= len(s.dst); i += 4 {
		state += gamma
		z := mix(state)
		sum := int32(z&0xffff+z>>16&0xffff+z>>32&0xffff+z>>48) - middle
		f := float32(float32(sum)*s.scale) + s.mean
		binary.LittleEndian.PutUint32(s.dst[i:], math.Float32bits(f))
	}
}

// outlierChannels chooses max(1, width/192) different channels.
func outlierChannels(c Config, seed uint64) []int {
	key := syntheticKey(seed, "outliers")
	taken := make([]bool, c.Width)
	list := make([]int, max(1, c.Width/192))
	for k := range list {
		ch := int(counted(key, uint64(k)) % uint64(c.Width))
		for taken[ch] {
			ch = (ch + 1) % c.Width
		}
		taken[ch] = true
		list[k] = ch
	}
	return list
}

// plantOutliers gives a few channels of the residual stream values some thirty times as large as the
// others', as trained transformers have them (Dettmers et al. 2022; Sun et al. 2024): an early MLP
// writes them, LayerNorms pass them on, and the matrices that read them have small columns there, so
// that the information stays in the other channels. What a coarse quantisation of activations loses
// shows there.
func (m *Model) plantOutliers(seed uint64) {
	w := &m.Weights
	writer := &w.Blocks[min(1, m.Config.Layers-1)]
	for k, ch := range outlierChannels(m.Config, seed) {
		w.PreNorm.Weight.scale(ch, 1, 4)
		writer.FC2.Weight.scale(ch*m.Config.MLP, m.Config.MLP, 8)
		writer.FC2.Bias.set(ch, []float32{32, -32}[k%2])
		for i := range w.Blocks {
			b := &w.Blocks[i]
			b.LN1.Weight.scale(ch, 1, 2)
			b.LN2.Weight.scale(ch, 1, 2)
			b.QKV.Weight.scaleColumn(ch, 1.0/32)
			b.FC1.Weight.scaleColumn(ch, 1.0/32)
		}
		w.PostNorm.Weight.scale(ch, 1, 1.0/32)
	}
}

// scale multiplies n elements from first on; factors are powers of two, so the products are exact.
func (t Tensor) scale(first, n int, factor float32) {
	for i := first; i < first+n; i++ {
		t.set(i, t.at(i)*factor)
	}
}

func (t Tensor) scaleColumn(col int, factor float32) {
	for i := col; i < t.Len(); i += t.Shape[1] {
		t.scale(i, 1, factor)
	}
}

func (t Tensor) at(i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
}

func (t Tensor) set(i int, f float32) {
	binary.LittleEndian.PutUint32(t.Data[4*i:], math.Float32bits(f))
}
